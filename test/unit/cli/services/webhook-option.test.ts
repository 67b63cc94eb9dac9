import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { webhookOf } from '../../../../cli/services/webhook-option.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-webhook-'))
afterAll(() => rmSync(dir, { recursive: true }))
const file = (name: string, text: string): string => {
  const path = join(dir, name)
  writeFileSync(path, text, { mode: 0o600 })
  return path
}
const base64 = (bytes: number): string => Buffer.alloc(bytes, 7).toString('base64')
const good = file('good', `whsec_${base64(32)}\n`)
const told = (url: string | undefined, secret: string | undefined, insecure = false) =>
  webhookOf({
    ...(url !== undefined && { alertWebhook: url }),
    ...(secret !== undefined && { alertWebhookSecret: secret }),
    alertHeartbeatMinutes: 5,
    insecure,
  })

describe('--alert-webhook', () => {
  it('without it nobody is told', () => {
    expect(told(undefined, undefined)).toBeUndefined()
  })

  it.each(['https://example.org/hook?team=1', 'http://127.0.0.1:9/hook', 'http://[::1]:9/', 'http://localhost/'])(
    'takes %s',
    (url) => {
      expect(told(url, good)).toEqual({ url, secret: Buffer.alloc(32, 7), heartbeatMs: 300_000 })
    },
  )

  it('takes the network in the clear where something else encrypts', () => {
    expect(told('http://example.org/', good, true)).toMatchObject({ url: 'http://example.org/' })
  })

  it.each([
    ['without a secret', 'https://example.org/', undefined, /go together/],
    ['without an address', undefined, good, /go together/],
    ['that is no address', 'example.org', good, /"example\.org" is no address/],
    ['of another protocol', 'ftp://example.org/', good, /is no address/],
    ['in the clear', 'http://example.org/', good, /in the clear/],
    ['in the clear to a name that looks like this machine', 'http://127.0.0.1.example.org/', good, /in the clear/],
    ['with a password', 'https://a:b@example.org/', good, /no name and password/],
    ['with a short secret', 'https://example.org/', file('short', `whsec_${base64(23)}`), /holds no secret/],
    ['with a long secret', 'https://example.org/', file('long', `whsec_${base64(65)}`), /holds no secret/],
    [
      'with a secret that is no base64',
      'https://example.org/',
      file('odd', `whsec_${'*'.repeat(44)}`),
      /holds no secret/,
    ],
    ['with a secret without its prefix', 'https://example.org/', file('bare', base64(32)), /holds no secret/],
    ['with an empty secret', 'https://example.org/', file('empty', ''), /holds no secret/],
    ['with a secret that is not there', 'https://example.org/', join(dir, 'gone'), /gone/],
  ])('%s is refused', (_, url, secret, cause) => {
    expect(() => told(url, secret)).toThrow(cause)
  })
})
