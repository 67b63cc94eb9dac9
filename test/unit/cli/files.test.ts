import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { CommandFailure } from '../../../cli/failure.ts'
import { makeKeyFile, readKeyFile, readRoleFile, readTrustFile } from '../../../cli/key-file.ts'
import { integerOption, numberOption } from '../../../cli/number-option.ts'
import { openSoundBank } from '../../../cli/sound-bank-folder.ts'
import { readToken } from '../../../cli/token-file.ts'
import { signDocument, verifySigned } from '../../../contract/signed.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-files-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const written = (name: string, content: unknown): string => {
  const path = join(dir, name)
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}
const random = { bytes: (length: number) => new Uint8Array(length).fill(9) }

describe('key files', () => {
  it('sign what their public part verifies', () => {
    const path = join(dir, 'pair.key')
    const role = makeKeyFile(path, random)
    expect(readRoleFile(`${path}.pub.json`)).toEqual(role)
    expect(verifySigned(signDocument({ v: 1 }, readKeyFile(path)), readRoleFile(`${path}.pub.json`)).ok).toBe(true)
  })

  const key = { keyId: 'a'.repeat(64), publicKey: 'b'.repeat(64) }
  it.each([
    ['null', null],
    ['no keys', { keys: [], threshold: 1 }],
    ['a threshold of none', { keys: [key], threshold: 0 }],
    ['a key that is a number', { keys: [1], threshold: 1 }],
    ['a short key', { keys: [{ ...key, publicKey: 'bb' }], threshold: 1 }],
    ['more keys than signatures are read', { keys: Array.from({ length: 9 }, () => key), threshold: 1 }],
    ['text', 'not json'],
  ])('a public role of %s is refused with the file´s name', (_, content) => {
    const path = written('role.json', content)
    expect(() => readRoleFile(path)).toThrow(CommandFailure)
    expect(() => readRoleFile(path)).toThrow(/role\.json: /)
  })

  it('trust is what GET /v1/keys says: one director key, the release role, and the rest is for others', () => {
    const release = { keys: [key], threshold: 1 }
    expect(readTrustFile(written('trust.json', { director: key, release, jwks: { keys: [] } }))).toEqual({
      director: { keys: [key], threshold: 1 },
      release,
    })
    expect(() => readTrustFile(written('half.json', { director: key }))).toThrow(/release: /)
  })
})

describe('token files', () => {
  it('hold one token, with or without a newline', () => {
    expect(readToken(written('good.token', 'aa.b-b.c_c\n'))).toBe('aa.b-b.c_c')
  })
  it.each(['', 'open sesame', 'a.b', 'a.b.c\nd.e.f', 'a.b.ç'])('refuse "%s"', (content) => {
    expect(() => readToken(written('bad.token', content))).toThrow(/holds no token/)
  })
})

describe('numbers of options', () => {
  it.each(['', ' ', 'x', 'NaN', 'Infinity', '-1', '11', '1.5'])('"%s" is no whole number from 0 to 10', (text) => {
    expect(() => integerOption(0, 10)(text)).toThrow(/from 0 to 10/)
  })
  it('fractions pass where they mean something', () => {
    expect(numberOption(0, 2)('0.4')).toBe(0.4)
    expect(integerOption(0, 10)('10')).toBe(10)
  })
})

describe('a sound bank', () => {
  it('that is none is refused with its folder', () => {
    expect(() => openSoundBank(dir)).toThrow(CommandFailure)
    expect(() => openSoundBank(join(dir, 'none'))).toThrow(/none/)
  })
  it('of the zoo has every noise that a scene names', () => {
    expect(openSoundBank(join(import.meta.dirname, '../../../zoo/bank')).keywords.size).toBeGreaterThan(0)
  })
})
