import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import nacl from 'tweetnacl'
import { afterAll, describe, expect, it } from 'vitest'
import { readTrustRoot } from '../../../cli/device/trust-root.ts'
import { CommandFailure } from '../../../cli/failure.ts'
import { readCloudKeys, readDirectorKeyFile } from '../../../cli/keys/cloud-key-file.ts'
import { integerOption, numberOption } from '../../../cli/number-option.ts'
import { openSoundBank } from '../../../cli/sound-bank-folder.ts'
import { readToken } from '../../../cli/token-file.ts'
import { bytesToHex } from '../../../contract/bytes.ts'
import { DIRECTOR_FIELD, directorOf } from '../../../contract/repository-target.ts'
import { publicKeyOf } from '../../../contract/signed.ts'
import {
  addSignature,
  draftRoot,
  encodeDocument,
  signedBytes,
  tufKeyId,
  tufKeyOf,
} from '../../../release/tuf-document.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-files-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const written = (name: string, content: unknown): string => {
  const path = join(dir, name)
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

describe('the public keys of a cloud', () => {
  const online = { keyId: tufKeyId('b'.repeat(64)), publicKey: 'b'.repeat(64) }
  const director = publicKeyOf(new Uint8Array(32).fill(3))
  const cloudKeys = { online: online.publicKey, director }

  it('are the answer of GET /v1/keys, or the two files that lie together in its folder', () => {
    expect(readCloudKeys(written('keys.json', { online, director, jwks: { keys: [] } }))).toEqual(cloudKeys)
    const file = written('online.pub.json', online)
    expect(() => readCloudKeys(file)).toThrow(/director\.pub\.json: there is no such file/)
    written('director.pub.json', director)
    expect(readCloudKeys(file)).toEqual(cloudKeys)
    expect(readDirectorKeyFile(join(dir, 'keys.json'))).toEqual(director)
  })

  it.each([
    ['null', null],
    ['an online key', online],
    ['a short key', { ...director, publicKey: 'bb' }],
    ['another key´s id', { ...director, keyId: 'a'.repeat(64) }],
    ['a director that is a number', { director: 1 }],
  ])('%s is no director key, and the file is named', (_, content) => {
    const path = written('no-director.json', content)
    expect(() => readDirectorKeyFile(path)).toThrow(CommandFailure)
    expect(() => readDirectorKeyFile(path)).toThrow(/no-director\.json: /)
  })
})

describe('the root that a device starts from', () => {
  const rootKey = nacl.sign.keyPair.fromSeed(new Uint8Array(32).fill(1))
  const publicKey = bytesToHex(rootKey.publicKey)
  const role = { keyids: [tufKeyId(publicKey)], threshold: 1 }
  const director = { keys: [publicKeyOf(new Uint8Array(32).fill(3))], threshold: 1 }
  const rootFile = (more: object, signed = true): string => {
    const root = draftRoot({
      ...{ _type: 'root', spec_version: '1.0.31', version: 1, expires: '2030-01-01T00:00:00Z' },
      consistent_snapshot: true,
      keys: { [tufKeyId(publicKey)]: tufKeyOf(publicKey) },
      roles: { root: role, targets: role, snapshot: role, timestamp: role },
      ...more,
    })
    const sig = bytesToHex(nacl.sign.detached(signedBytes(root), rootKey.secretKey))
    if (signed) addSignature(root, tufKeyId(publicKey), sig)
    return written('factory.json', new TextDecoder().decode(encodeDocument(root)))
  }

  it('is a root with its own signatures, byte for byte, whatever the file is called', () => {
    const path = rootFile({ [DIRECTOR_FIELD]: director })
    const bytes = readTrustRoot(path)
    expect(bytes).toEqual(new Uint8Array(readFileSync(path)))
    expect(directorOf(bytes)).toEqual(director)
  })

  it('is refused unsigned, without a director, cut, too large, or when it is the answer of GET /v1/keys', () => {
    expect(() => readTrustRoot(rootFile({ [DIRECTOR_FIELD]: director }, false))).toThrow(/has 0 of 1 signatures/)
    expect(() => readTrustRoot(rootFile({}))).toThrow(/names no director/)
    const whole = readFileSync(rootFile({ [DIRECTOR_FIELD]: director }), 'utf8')
    expect(() => readTrustRoot(written('cut.json', whole.slice(0, -9)))).toThrow(
      /cut\.json: root: not JSON\n {2}expected/,
    )
    expect(() => readTrustRoot(written('large.json', ' '.repeat(1_000_000)))).toThrow(/too large for a root/)
    expect(() => readTrustRoot(written('keys-answer.json', { director: {}, jwks: {} }))).toThrow(/1\.root\.json/)
    expect(() => readTrustRoot(join(dir, 'nowhere.json'))).toThrow(CommandFailure)
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
