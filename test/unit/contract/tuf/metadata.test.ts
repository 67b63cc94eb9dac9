import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sha256Hex } from '../../../../contract/bytes.ts'
import { TUF_LIMITS } from '../../../../contract/limits.ts'
import { parseBoundedJson } from '../../../../contract/tuf/bounded-json.ts'
import { matchesPattern } from '../../../../contract/tuf/delegation.ts'
import { checkFile } from '../../../../contract/tuf/file-check.ts'
import { parseMetadata } from '../../../../contract/tuf/metadata.ts'
import { isSafeTargetPath, quoteName, type TopLevelRole } from '../../../../contract/tuf/role-name.ts'
import { NOW_MS } from '../../../fixtures/tuf-client.ts'
import { type JsonRecord, TufRepository } from '../../../fixtures/tuf-repository.ts'

const repository = new TufRepository({ nowMs: NOW_MS })
repository.delegate('targets', 'A', { paths: ['a/*'] })
repository.addTarget('targets', 'file', Buffer.from('x'))
const utf8 = (text: string) => Buffer.from(text)

/** The parse of a document whose signed part was changed. */
const parseChanged = <K extends TopLevelRole>(role: K, change: JsonRecord) =>
  parseMetadata(repository.seal(role, { ...repository.signedPart(role), ...change }), role, TUF_LIMITS)
const codeOf = (result: { ok: boolean; error?: { code: string } }) => (result.ok ? 'ok' : result.error!.code)

describe('parseMetadata', () => {
  it.each(['root', 'timestamp', 'snapshot', 'targets'] as const)(
    'reads a %s and refuses it as any other role',
    (role) => {
      const bytes = repository.seal(role, repository.signedPart(role))
      for (const kind of ['root', 'timestamp', 'snapshot', 'targets'] as const) {
        expect(codeOf(parseMetadata(bytes, kind, TUF_LIMITS)), kind).toBe(kind === role ? 'ok' : 'metadata-malformed')
      }
    },
  )

  const key = { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: 'aa' } }
  const role = { keyids: ['k'], threshold: 1 }
  const delegation = { ...role, name: 'A', terminating: false, paths: ['*'] }
  const delegationsOf = (...roles: unknown[]) => ({ delegations: { keys: { k: key }, roles } })
  const many = (n: number) => Array.from({ length: n }, (_, i) => `k${i}`)
  const rolesWith = (root: unknown) => ({ roles: { root, timestamp: role, snapshot: role, targets: role } })

  it.each<[TopLevelRole, JsonRecord]>([
    ['timestamp', { version: 0 }],
    ['timestamp', { version: '1' }],
    ['timestamp', { version: -1 }],
    ['timestamp', { spec_version: '2.0.0' }],
    ['timestamp', { spec_version: '1' }],
    ['timestamp', { expires: '2026-02-30T00:00:00Z' }],
    ['timestamp', { expires: '2026-01-01' }],
    ['timestamp', { expires: '2026-01-01T00:00:00+02:00' }],
    ['timestamp', { meta: {} }],
    ['timestamp', { meta: { 'snapshot.json': { version: 1, length: 0 } } }],
    ['timestamp', { meta: { 'snapshot.json': { version: 1, hashes: {} } } }],
    ['timestamp', { 'x-kinglet-issued': -1 }],
    ['snapshot', { meta: [] }],
    ['snapshot', { meta: { 'targets.json': { version: 0 } } }],
    ['root', rolesWith({ keyids: ['k', 'k'], threshold: 1 })],
    ['root', rolesWith({ keyids: ['k'], threshold: 0 })],
    ['root', rolesWith({ keyids: many(TUF_LIMITS.keysPerRole + 1), threshold: 1 })],
    ['root', { roles: { root: role, timestamp: role, snapshot: role } }],
    ['root', { keys: { k: { keytype: 'ed25519' } } }],
    ['root', { keys: Object.fromEntries(many(TUF_LIMITS.keys + 1).map((id) => [id, key])) }],
    ['root', { consistent_snapshot: 'yes' }],
    ['targets', { targets: { file: { length: -1, hashes: { sha256: 'aa' } } } }],
    ['targets', { targets: { file: { length: 1, hashes: {} } } }],
    ['targets', { targets: { ['p'.repeat(TUF_LIMITS.nameLength + 1)]: { length: 1, hashes: { sha256: 'aa' } } } }],
    ['targets', delegationsOf({ ...delegation, name: '' })],
    ['targets', delegationsOf({ ...delegation, name: 'root' })],
    ['targets', delegationsOf({ ...delegation, path_hash_prefixes: ['a'] })],
    ['targets', delegationsOf({ ...role, name: 'A', terminating: false })],
    ['targets', delegationsOf(delegation, delegation)],
    ['targets', delegationsOf({ ...delegation, paths: many(TUF_LIMITS.patterns + 1) })],
    ['targets', delegationsOf(...many(TUF_LIMITS.delegations + 1).map((name) => ({ ...delegation, name })))],
    ['targets', { delegations: { keys: {} } }],
    ['targets', { delegations: { keys: {}, succinct_roles: { ...role, bit_length: 33, name_prefix: 'bin' } } }],
  ])('refuses a %s with %j', (kind, change) => {
    expect(codeOf(parseChanged(kind, change))).toBe('metadata-malformed')
  })

  it('keeps unknown fields in what is signed, and knows names that objects bring along', () => {
    const hashes = { sha256: 'aa' }
    const parsed = parseChanged('targets', {
      'x-custom': { deep: [1, { a: null }] },
      targets: { constructor: { length: 1, hashes }, toString: { length: 2, hashes, custom: [1] } },
    })
    if (!parsed.ok) throw new Error(parsed.error.detail)
    expect(parsed.value.envelope.signed['x-custom']).toEqual({ deep: [1, { a: null }] })
    expect([...parsed.value.content.targets.keys()]).toEqual(['constructor', 'toString'])
    expect(parsed.value.content.targets.get('toString')?.custom).toEqual([1])
    expect(parsed.value.content.targets.get('valueOf')).toBeUndefined()
  })

  it.each([
    '',
    'null',
    '[]',
    '{}',
    '{"signed":{"_type":"timestamp"}}',
    '{"signed":{"_type":"timestamp"},"signatures":{}}',
    '{"signed":[],"signatures":[]}',
    '{"signed":{"_type":"timestamp"},"signatures":[{"keyid":1,"sig":""}]}',
  ])('refuses the envelope %j', (text) => {
    expect(codeOf(parseMetadata(utf8(text), 'timestamp', TUF_LIMITS))).toBe('metadata-malformed')
  })

  it('never throws, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(utf8)), (bytes) => {
        for (const kind of ['root', 'timestamp', 'snapshot', 'targets'] as const) parseMetadata(bytes, kind, TUF_LIMITS)
      }),
    )
    const good = repository.seal('root', repository.signedPart('root'))
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), (at, byte) => {
        const bytes = Buffer.from(good)
        bytes[at] = byte
        parseMetadata(bytes, 'root', TUF_LIMITS)
      }),
    )
  })
})

describe('parseBoundedJson', () => {
  const parse = (text: string | Uint8Array) => codeOf(parseBoundedJson(Buffer.from(text as string), 1_000, 4))

  it('bounds size and depth before it parses', () => {
    expect(parse('x'.repeat(1_001))).toBe('metadata-too-large')
    expect(parse('[[[[1]]]]')).toBe('ok')
    expect(parse('[[[[[1]]]]]')).toBe('metadata-malformed')
    expect(parse('["[[[[[[\\"[[[[[\\\\"]')).toBe('ok')
  })

  it.each([
    '1.5',
    '1e3000',
    '9007199254740993',
    '"\\ud800"',
    '{"\\udc00":1}',
    '{"__proto__":1}',
    '[{"a":{"__proto__":{}}}]',
  ])('refuses %s', (text) => {
    expect(parse(text)).toBe('metadata-malformed')
  })

  it('refuses bytes that are not UTF-8 or begin with a mark', () => {
    expect(parse(Uint8Array.of(0x22, 0xff, 0x22))).toBe('metadata-malformed')
    expect(parse(Uint8Array.of(0xef, 0xbb, 0xbf, 0x31))).toBe('metadata-malformed')
    expect(parse('"😀"')).toBe('ok')
  })
})

describe('names', () => {
  it('quotes as the conformance suite does, so that no name leaves its folder', () => {
    expect(quoteName("a~b-_.!*'()/ é%\u0000")).toBe('a~b-_.%21%2A%27%28%29%2F%20%C3%A9%25%00')
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (name) => {
        expect(quoteName(name)).toMatch(/^[A-Za-z0-9._~%-]*$/)
        expect(decodeURIComponent(quoteName(name))).toBe(name)
      }),
    )
  })

  it('knows paths that climb', () => {
    for (const path of ['', '/a', 'a/', '../a', 'a/..', 'a/../b', './a', 'a//b', 'a\\b', 'a\0b', 'a\nb', '\ud800']) {
      expect(isSafeTargetPath(path), path).toBe(false)
    }
    for (const path of ['a', 'a/b.c', '..a', 'a..', '...', '%2e%2e/a', 'größe/ß 1']) {
      expect(isSafeTargetPath(path), path).toBe(true)
    }
  })
})

describe('matchesPattern', () => {
  it.each([
    ['*', 'a', true],
    ['*', '.hidden', true],
    ['*', 'a/b', false],
    ['a/*', 'a/b', true],
    ['a/*', 'a/b/c', false],
    ['*.tgz', 'foo.tgz', true],
    ['*.tgz', 'foo.txt', false],
    ['foo-version-?.tgz', 'foo-version-2.tgz', true],
    ['foo-version-?.tgz', 'foo-version-alpha.tgz', false],
    ['?', '😀', true],
    ['**', 'a/b', false],
    ['[ab]', 'a', false],
    ['[ab]', '[ab]', true],
    ['{a,b}', 'a', false],
    ['#a', '#a', true],
    ['!a', 'b', false],
    ['a*b*c', 'axxbxxc', true],
    ['a*b*c', 'axxbxx', false],
    ['', '', true],
  ])('%j on %j: %s', (pattern, path, matches) => {
    expect(matchesPattern(path, pattern)).toBe(matches)
  })

  it('agrees with a regular expression', () => {
    const char = fc.constantFrom('a', 'b', '*', '?')
    const pattern = fc.string({ unit: char, maxLength: 8 })
    fc.assert(
      fc.property(pattern, fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 8 }), (glob, path) => {
        const expression = new RegExp(`^${glob.replaceAll('*', '[^/]*').replaceAll('?', '[^/]')}$`)
        expect(matchesPattern(path, glob)).toBe(expression.test(path))
      }),
    )
  })

  it('takes no exponential time over a hostile pattern', () => {
    expect(matchesPattern('a'.repeat(4_000), `${'*a'.repeat(1_000)}b`)).toBe(false)
  })
})

describe('checkFile', () => {
  const data = utf8('content')
  it('checks length and every hash', () => {
    const sha256 = sha256Hex(data)
    const hashes = (entries: Record<string, string>) => ({ hashes: new Map(Object.entries(entries)) })
    expect(codeOf(checkFile(data, {}))).toBe('ok')
    expect(codeOf(checkFile(data, { length: 7, ...hashes({ sha256: sha256.toUpperCase() }) }))).toBe('ok')
    expect(codeOf(checkFile(data, { length: 8 }))).toBe('metadata-hash-mismatch')
    expect(codeOf(checkFile(data, hashes({ sha256, sha512: 'aa' })))).toBe('metadata-hash-mismatch')
    expect(codeOf(checkFile(data, hashes({ sha256, md5: 'aa' })))).toBe('metadata-hash-mismatch')
  })
})
