import canonicalize from 'canonicalize'
import { sha256Hex } from './bytes.ts'

/** What an entry of the audit log says. */
export interface AuditContent {
  /** ascending from 1; the oldest go by age */
  readonly id: number
  /** Unix ms of the cloud's clock */
  readonly atMs: number
  /** subject of the token, or "kinglet" for what the cloud decided itself */
  readonly actor: string
  /** dotted, past tense: `rollout.started` */
  readonly action: string
  readonly subject: string
  /** JSON */
  readonly detail: unknown
}

/** An entry and its place in the chain. Hashes are SHA-256, as 64 hex digits. */
export interface AuditEntry extends AuditContent {
  /** hash of the entry before; AUDIT_BEGINNING for the first */
  readonly prev: string
  readonly hash: string
}

/** What the first entry ever follows. */
export const AUDIT_BEGINNING = '0'.repeat(64)

/** An entry's hash: of the one before and of the entry's canonical JSON (RFC 8785), so that nothing can be changed, taken out or put in
 *  without a new hash for every entry after it. */
export function auditHash(prev: string, { id, atMs, actor, action, subject, detail }: AuditContent): string {
  const text = canonicalize({ prev, id, atMs, actor, action, subject, detail }) ?? ''
  return sha256Hex(new TextEncoder().encode(text))
}

/** What is wrong with an entry that stands right after another.
 *  @param before undefined: it is the first that is there
 *  @returns undefined when nothing is */
export function auditFault(entry: AuditEntry, before: AuditEntry | undefined): string | undefined {
  if (entry.hash !== auditHash(entry.prev, entry)) return `entry ${entry.id} is not what its hash says: it was changed`
  if (before === undefined) {
    return entry.id === 1 && entry.prev !== AUDIT_BEGINNING ? 'entry 1 says that another was before it' : undefined
  }
  if (entry.prev === before.hash) return undefined
  return entry.id === before.id + 1
    ? `entry ${entry.id} does not follow entry ${before.id}: one of them was put in the place of another`
    : `between entries ${before.id} and ${entry.id} some were taken out`
}
