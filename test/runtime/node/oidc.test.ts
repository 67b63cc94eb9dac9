import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { systemClock } from '../../../cli/clock-system.ts'
import { type RunningCloud, startCloud } from '../../../cloud/cloud.ts'
import { present } from '../../../contract/present.ts'
import { secureRandom } from '../../fixtures/identity-world.ts'
import { expectRefusal, kinglet } from './cli-process.ts'

type Key = Awaited<ReturnType<typeof generateKeyPair>>['privateKey']

/** An OpenID provider: description, keys that it can change, and whatever else a test makes of it. */
class Provider {
  readonly keys = new Map<string, { readonly signs: Key; readonly jwk: object }>()
  /** undefined: as it should be */
  answer: ((path: string) => { status: number; body: string } | undefined) | undefined
  asked = 0
  #server!: Server

  async start(): Promise<this> {
    this.#server = createServer((request, response) => {
      this.asked++
      const other = this.answer?.(request.url ?? '')
      const { status, body } = other ?? { status: 200, body: JSON.stringify(this.#document(request.url ?? '')) }
      response.writeHead(status, { 'content-type': 'application/json', location: '/elsewhere' }).end(body)
    })
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    await this.addKey('k-1')
    return this
  }
  #document(path: string): object {
    if (path === '/.well-known/openid-configuration') return { issuer: this.issuer, jwks_uri: `${this.issuer}/keys` }
    return { keys: [...this.keys.values()].map(({ jwk }) => jwk) }
  }
  async addKey(kid: string, alg = 'RS256'): Promise<Key> {
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
    this.keys.set(kid, { signs: privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } })
    return privateKey
  }
  get issuer(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }
  token(claims: JWTPayload = {}, { kid = 'k-1', alg = 'RS256', key = this.#keyOf(kid) } = {}) {
    const now = Math.floor(Date.now() / 1000)
    const usual = { iss: this.issuer, aud: 'kinglet', sub: 'u-17', groups: ['fleet-ops'], iat: now, exp: now + 3_600 }
    return new SignJWT({ ...usual, ...claims }).setProtectedHeader({ alg, kid }).sign(key)
  }
  #keyOf(kid: string): Key {
    return present(this.keys.get(kid), 'a key of the provider').signs
  }
  stop(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }
}

const provider = new Provider()
const dir = mkdtempSync(join(tmpdir(), 'kinglet-oidc-'))
const logger = { info: () => undefined, warn: () => undefined, error: (fields: object) => console.error(fields) }
let cloud: RunningCloud
let aheadMs = 0
const machine = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs }

const groups = (of: object) => ({ ...{ admin: [], 'release-manager': [], operator: [], viewer: [] }, ...of })
const start = (more: object = {}) =>
  startCloud({
    ...{ dataDir: join(dir, 'cloud'), host: '127.0.0.1', port: 0, clock: systemClock, machine, secureRandom, logger },
    oidc: {
      ...{ issuer: provider.issuer, audience: 'kinglet', roleClaim: 'groups', nameClaim: 'sub' },
      ...{ roles: groups({ admin: ['fleet-ops'], viewer: ['fleet-readers'] }), ...more },
    },
  })
beforeAll(async () => {
  await provider.start()
  cloud = await start()
})
afterAll(async () => {
  await cloud.close()
  provider.stop()
  rmSync(dir, { recursive: true })
})
beforeEach(() => {
  provider.answer = undefined
})

const call = async (token: string, method: string, path: string, body?: unknown) => {
  const response = await fetch(cloud.url + path, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  // biome-ignore lint/suspicious/noExplicitAny: the shape is what the tests check
  return { status: response.status, json: (await response.json()) as any }
}
const outcome = async (token: string | Promise<string>): Promise<unknown> => {
  const { status, json } = await call(await token, 'GET', '/v1/groups')
  return status === 200 ? 200 : [status, json.code]
}
const group = { query: 'site:lab', reason: 'a test' }

describe('tokens of an OpenID provider', () => {
  it('make operators and viewers of people by their groups, and the audit log has their names', async () => {
    const ann = await provider.token({ sub: 'ann' })
    const set = await call(ann, 'PUT', '/v1/groups/lab', group)
    expect([set.status, set.json.by]).toEqual([200, 'oidc:ann'])
    const { entries } = (await call(ann, 'GET', '/v1/audit')).json
    expect(entries[0]).toMatchObject({ action: 'group.set', actor: 'oidc:ann' })
    const ben = await provider.token({ sub: 'ben', groups: ['x', 'fleet-readers'] })
    expect(await outcome(ben)).toBe(200)
    expect((await call(ben, 'PUT', '/v1/groups/lab', group)).status).toBe(403)
    expect(await outcome(provider.token({ groups: ['others'] }))).toEqual([403, 'not-authorized'])
    expect(await outcome(provider.token({ groups: 'others fleet-readers' }))).toBe(200)
    // Both groups: what is more. The cloud's own tokens go on.
    const both = await provider.token({ groups: ['fleet-readers', 'fleet-ops'] })
    expect((await call(both, 'PUT', '/v1/groups/lab', group)).status).toBe(200)
    expect(await outcome(cloud.operatorToken)).toBe(200)
  })

  it('are refused when they are for another, too old, too long, of nobody, or signed by whoever', async () => {
    const now = Math.floor(Date.now() / 1000)
    const refused = [401, 'token-invalid']
    expect(await outcome(provider.token({ aud: 'other' }))).toEqual(refused)
    expect(await outcome(provider.token({ aud: ['other', 'kinglet'] }))).toBe(200)
    expect(await outcome(provider.token({ iss: 'https://elsewhere.example.org' }))).toEqual(refused)
    expect(await outcome(provider.token({ exp: now - 60 }))).toEqual([401, 'token-expired'])
    expect(await outcome(provider.token({ exp: now + 2 * 86_400 }))).toEqual(refused)
    expect(await outcome(provider.token({ nbf: now + 3_600 }))).toEqual(refused)
    for (const missing of ['iat', 'exp', 'sub', 'aud', 'groups']) {
      const answer = await outcome(provider.token({ [missing]: undefined }))
      expect(answer, missing).toEqual(missing === 'groups' ? [403, 'not-authorized'] : refused)
    }
    for (const sub of ['a b', 'x'.repeat(129), 'a\nb']) expect(await outcome(provider.token({ sub }))).toEqual(refused)
    const stranger = (await generateKeyPair('RS256')).privateKey
    expect(await outcome(provider.token({}, { key: stranger }))).toEqual(refused)
    expect(await outcome(provider.token({}, { kid: 'k-9', key: stranger }))).toEqual(refused)
    const shared = new TextEncoder().encode(JSON.stringify(provider.keys.get('k-1')?.jwk))
    expect(await outcome(provider.token({}, { alg: 'HS256', key: shared as never }))).toEqual(refused)
    const unsigned = new UnsecuredJWT({ groups: ['fleet-ops'], sub: 'ann' })
    expect(await outcome(unsigned.setIssuer(provider.issuer).setExpirationTime('1h').encode())).toEqual(refused)
    const good = await provider.token()
    expect(await outcome(`${good.slice(0, -8)}AAAAAAAA`)).toEqual(refused)
    expect(await outcome(`${good}${'A'.repeat(9_000)}`)).toEqual(refused)
  })

  it('end when they are told to, with what was minted by them; nobody renews them here', async () => {
    const eve = await provider.token({ sub: 'eve' })
    const minted = await call(eve, 'POST', '/v1/tokens', { subject: 'script', role: 'viewer', ttlSeconds: 600 })
    expect(minted.status).toBe(200)
    const tooLong = await call(eve, 'POST', '/v1/tokens', { subject: 'script', role: 'viewer', ttlSeconds: 7_200 })
    expect(tooLong.status).toBe(403)
    const readers = await provider.token({ sub: 'eve', groups: ['fleet-readers'] })
    expect((await call(readers, 'POST', '/v1/tokens/renew', {})).status).toBe(409)
    const ends = { subject: 'oidc:eve', reason: 'she left', minted: true }
    expect((await call(cloud.operatorToken, 'POST', '/v1/tokens/revoke', ends)).json).toMatchObject({ revoked: 2 })
    expect(await outcome(eve)).toEqual([401, 'token-invalid'])
    expect(await outcome(readers)).toEqual([401, 'token-invalid'])
    expect(await outcome(minted.json.token)).toEqual([401, 'token-invalid'])
    expect(await outcome(provider.token({ sub: 'eve-2' }))).toBe(200)
  })

  it('follow the provider’s keys, and are 503 while it is away; the cloud’s own are not held up', async () => {
    await cloud.close()
    provider.answer = () => ({ status: 503, body: 'later' })
    cloud = await start()
    expect(await outcome(provider.token())).toEqual([503, 'unavailable'])
    expect(await outcome(cloud.operatorToken)).toBe(200)
    const { asked } = provider
    for (let i = 0; i < 5; i++) await outcome(provider.token())
    // Asked again after a while, not by each request.
    expect(provider.asked - asked).toBeLessThanOrEqual(1)
    provider.answer = undefined
    await expect.poll(() => outcome(provider.token()), { timeout: 60_000, interval: 500 }).toBe(200)
    await cloud.close()
    cloud = await start()
    provider.keys.clear()
    await provider.addKey('k-2', 'ES256')
    expect(await outcome(provider.token({}, { kid: 'k-2', alg: 'ES256' }))).toBe(200)
    await provider.addKey('k-1')
  })

  it.each([
    ['another name', { issuer: 'https://other.example.org' }],
    ['no keys', { jwks_uri: 7 }],
    ['no end', { padding: 'x'.repeat(300_000) }],
  ])('are 503 when its description has %s', async (_, document) => {
    await cloud.close()
    provider.answer = (path) =>
      path.endsWith('openid-configuration')
        ? {
            status: 200,
            body: JSON.stringify({ issuer: provider.issuer, jwks_uri: `${provider.issuer}/keys`, ...document }),
          }
        : undefined
    cloud = await start()
    expect(await outcome(provider.token())).toEqual([503, 'unavailable'])
  })

  it('are 503 when its description is somewhere else: nobody is followed there', async () => {
    await cloud.close()
    const whole = { issuer: provider.issuer, jwks_uri: `${provider.issuer}/keys` }
    provider.answer = (path) => {
      if (path === '/elsewhere') return { status: 200, body: JSON.stringify(whole) }
      return path.endsWith('openid-configuration') ? { status: 302, body: '' } : undefined
    }
    cloud = await start()
    expect(await outcome(provider.token())).toEqual([503, 'unavailable'])
  })

  it('end ten minutes after the provider has withdrawn their key', async () => {
    await cloud.close()
    cloud = await start()
    await provider.addKey('k-old')
    const token = await provider.token({}, { kid: 'k-old' })
    expect(await outcome(token)).toBe(200)
    const other = await provider.token({ sub: 'late' }, { kid: 'k-old' })
    provider.keys.delete('k-old')
    const refused = [401, 'token-invalid']
    expect(await outcome(token)).toBe(200)
    // The set of keys is aged by Date, what was checked with it by the machine's clock.
    const realMs = Date.now()
    const later = (ms: number): void => {
      vi.useFakeTimers({ toFake: ['Date'], now: realMs + ms })
      aheadMs = ms
    }
    try {
      later(5 * 60_000 - 10_000)
      expect(await outcome(other)).toBe(200)
      later(10 * 60_000 + 1)
      expect([await outcome(token), await outcome(other)]).toEqual([refused, refused])
    } finally {
      vi.useRealTimers()
      aheadMs = 0
    }
  })

  it('take groups and names from where the provider has them, and no address that was not verified', async () => {
    await cloud.close()
    cloud = await start({ roleClaim: 'realm_access.roles', nameClaim: 'email', roles: groups({ admin: ['ops'] }) })
    const claims = { realm_access: { roles: ['ops'] }, email: 'ann@example.org' }
    expect(await outcome(provider.token({ ...claims, email_verified: false }))).toEqual([401, 'token-invalid'])
    const token = await provider.token({ ...claims, email_verified: true })
    expect((await call(token, 'PUT', '/v1/groups/lab', group)).json.by).toBe('oidc:ann@example.org')
    expect(await outcome(provider.token({ ...claims, email_verified: true, realm_access: { roles: 'no' } }))).toEqual([
      ...[403, 'not-authorized'],
    ])
  })
})

describe('kinglet cloud run --oidc-issuer', () => {
  const run = (...more: readonly string[]) =>
    kinglet('cloud', 'run', '--data', join(dir, 'never'), '--port', '0', ...more)
  const issuer = ['--oidc-issuer', 'https://login.example.org']

  it('says what is missing, and what would come in the clear', async () => {
    expectRefusal(await run('--oidc-operator', 'ops'), 2, /go with --oidc-issuer/)
    expectRefusal(await run(...issuer, '--oidc-operator', 'ops'), 2, /needs --oidc-audience/)
    expectRefusal(
      await run(...issuer, '--oidc-audience', 'kinglet'),
      2,
      /needs one of --oidc-admin, --oidc-release-manager, --oidc-operator and --oidc-viewer/,
    )
    const whole = ['--oidc-audience', 'kinglet', '--oidc-viewer', 'all']
    expectRefusal(await run('--oidc-issuer', 'login', ...whole), 2, /"login" is no issuer/)
    expectRefusal(await run('--oidc-issuer', 'http://login.example.org', ...whole), 2, /in the clear/)
  })
})
