import { describe, expect, it } from 'vitest'
import {
  AUDIT_BEGINNING,
  type AuditContent,
  type AuditEntry,
  auditFault,
  auditHash,
} from '../../../contract/audit-chain.ts'
import { sha256Hex } from '../../../contract/bytes.ts'

const content = (id: number): AuditContent => ({
  ...{ id, atMs: 1_700_000_000_000 + id, actor: 'operator', action: 'release.promoted', subject: 'kws-2' },
  detail: { reason: 'ü', share: 0.25, none: null },
})
function chain(count: number): AuditEntry[] {
  let prev = AUDIT_BEGINNING
  return Array.from({ length: count }, (_, i) => {
    const entry = { ...content(i + 1), prev, hash: auditHash(prev, content(i + 1)) }
    prev = entry.hash
    return entry
  })
}

describe('the chain of the audit log', () => {
  it('hashes what docs/security.md says: SHA-256 of the canonical JSON with the hash before', () => {
    const text = `{"action":"release.promoted","actor":"operator","atMs":1700000000001,"detail":{"none":null,"reason":"ü","share":0.25},"id":1,"prev":"${AUDIT_BEGINNING}","subject":"kws-2"}`
    expect(auditHash(AUDIT_BEGINNING, content(1))).toBe(sha256Hex(new TextEncoder().encode(text)))
  })

  it('is whole from the first entry on, and from any later one', () => {
    const entries = chain(4)
    for (const from of [0, 2]) {
      const rest = entries.slice(from)
      expect(rest.map((entry, i) => auditFault(entry, rest[i - 1]))).toEqual(rest.map(() => undefined))
    }
  })

  it.each([
    ['atMs', { atMs: 1 }],
    ['actor', { actor: 'somebody' }],
    ['action', { action: 'release.archived' }],
    ['subject', { subject: 'kws-3' }],
    ['detail', { detail: { reason: 'ü', share: 0.5, none: null } }],
    ['id', { id: 7 }],
  ])('tells a changed %s', (_, change) => {
    const [first, second] = chain(2) as [AuditEntry, AuditEntry]
    expect(auditFault({ ...second, ...change }, first)).toMatch(/is not what its hash says: it was changed/)
  })

  it('tells what was taken out, put in, or put in another place, though its own hash was made anew', () => {
    const [first, second, third] = chain(3) as [AuditEntry, AuditEntry, AuditEntry]
    expect(auditFault(third, first)).toBe('between entries 1 and 3 some were taken out')
    const forged = { ...content(2), actor: 'somebody', prev: first.hash }
    expect(auditFault(third, { ...forged, hash: auditHash(first.hash, forged) })).toMatch(/3 does not follow entry 2/)
    expect(auditFault({ ...first, prev: second.hash, hash: auditHash(second.hash, first) }, undefined)).toMatch(
      /entry 1 says that another was before it/,
    )
  })
})
