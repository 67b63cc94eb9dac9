import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../contract/limits.ts'
import {
  asSigned,
  encodeSigned,
  parseSigned,
  type Signed,
  signDocument,
  verifySigned,
} from '../../../contract/signed.ts'
import { directorKey, releaseKey, strangerKey } from '../../fixtures/keys.ts'

const utf8 = (text: string) => new TextEncoder().encode(text)
const codeOf = (result: { ok: boolean; error?: { code: string } }) => (result.ok ? 'ok' : result.error!.code)
const content = { v: 1, name: 'kws-2' }
const both = (): Signed<unknown> => ({
  signed: content,
  signatures: [
    ...signDocument(content, directorKey.secretKey).signatures,
    ...signDocument(content, releaseKey.secretKey).signatures,
  ],
})
const twoKeys = { keys: [directorKey.public, releaseKey.public], threshold: 2 }

describe('parseSigned', () => {
  it('checks the size before it parses', () => {
    expect(codeOf(parseSigned(utf8('x'.repeat(11)), 10))).toBe('too-large')
    expect(codeOf(parseSigned(encodeSigned(both()), LIMITS.assignmentBytes))).toBe('ok')
  })

  it.each([
    '',
    'null',
    '[]',
    '1',
    '{}',
    '{"signed":1}',
    '{"signed":1,"signatures":{}}',
    '{"signed":1,"signatures":[null]}',
    '{"signed":1,"signatures":[{}]}',
    '{"signed":1,"signatures":[{"keyId":1,"sig":2}]}',
    `{"signed":1,"signatures":[{"keyId":"${'A'.repeat(64)}","sig":"${'a'.repeat(128)}"}]}`,
    `{"signed":1,"signatures":[{"keyId":"${'a'.repeat(64)}","sig":"${'a'.repeat(127)}"}]}`,
    `{"signatures":[]}`,
    '{"signed":1,"signatures":[]',
    '['.repeat(4_000),
  ])('refuses %.60s as malformed', (text) => {
    expect(codeOf(parseSigned(utf8(text), LIMITS.assignmentBytes))).toBe('malformed')
  })

  it('refuses bytes that are no UTF-8, and more signatures than the limit', () => {
    expect(codeOf(parseSigned(Uint8Array.of(0x22, 0xff, 0x22), 10))).toBe('malformed')
    const { signatures } = signDocument(content, directorKey.secretKey)
    const many = { signed: content, signatures: new Array(LIMITS.signatures + 1).fill(signatures[0]) as never }
    expect(codeOf(asSigned(many))).toBe('malformed')
  })

  it('signs the same document to the same bytes, whatever the order of its keys', () => {
    const a = encodeSigned(signDocument({ a: 1, b: [2] }, directorKey.secretKey))
    expect(encodeSigned(signDocument({ b: [2], a: 1 }, directorKey.secretKey))).toEqual(a)
  })
})

describe('verifySigned', () => {
  it('needs as many distinct keys as the threshold says', () => {
    const one = signDocument(content, directorKey.secretKey)
    expect(verifySigned(one, directorKey.role)).toEqual({ ok: true, value: content })
    expect(codeOf(verifySigned(one, twoKeys))).toBe('bad-signature')
    expect(codeOf(verifySigned(both(), twoKeys))).toBe('ok')
  })

  it('counts a signature once, however often it comes', () => {
    const { signatures } = signDocument(content, directorKey.secretKey)
    const twice = { signed: content, signatures: [...signatures, ...signatures] }
    expect(codeOf(verifySigned(twice, twoKeys))).toBe('bad-signature')
  })

  it('finds the valid signature after a bad one of the same key', () => {
    const [good] = signDocument(content, directorKey.secretKey).signatures
    const [other] = signDocument({ v: 2 }, directorKey.secretKey).signatures
    expect(codeOf(verifySigned({ signed: content, signatures: [other!, good!] }, directorKey.role))).toBe('ok')
  })

  it('does not let a key sign under the id of another', () => {
    const [stranger] = signDocument(content, strangerKey.secretKey).signatures
    const disguised = [{ keyId: directorKey.public.keyId, sig: stranger!.sig }]
    expect(codeOf(verifySigned({ signed: content, signatures: disguised }, directorKey.role))).toBe('bad-signature')
  })

  it('tells no trusted key from a bad signature', () => {
    expect(codeOf(verifySigned(signDocument(content, strangerKey.secretKey), directorKey.role))).toBe('unknown-key')
    expect(codeOf(verifySigned({ signed: content, signatures: [] }, directorKey.role))).toBe('unknown-key')
    const tampered = { ...signDocument(content, directorKey.secretKey), signed: { ...content, name: 'kws-3' } }
    expect(codeOf(verifySigned(tampered, directorKey.role))).toBe('bad-signature')
  })

  it('trusts nothing below a threshold of one', () => {
    for (const threshold of [0, -1, Number.NaN]) {
      expect(verifySigned({ signed: content, signatures: [] }, { keys: [], threshold }).ok).toBe(false)
    }
  })

  it('refuses content that has no canonical form', () => {
    const fraction = { signed: { v: 1.5 }, signatures: signDocument(content, directorKey.secretKey).signatures }
    expect(codeOf(verifySigned(fraction, directorKey.role))).toBe('malformed')
  })
})
