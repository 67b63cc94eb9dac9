import { AUDIT_BEGINNING, type AuditContent, type AuditEntry, auditHash } from '../../contract/audit-chain.ts'
import type { SqliteDatabase, Statement } from './database.ts'

interface Row {
  id: number
  at_ms: number
  actor: string
  action: string
  subject: string
  detail: string
  prev: string | null
  hash: string | null
}

/** Who did what, when and why. Appended in the transaction of the change itself, never edited; each entry seals the one before
 *  (contract/audit-chain.ts). */
export class AuditStore {
  readonly #db: SqliteDatabase
  readonly #last: Statement<[], { id: number; hash: string | null }>
  readonly #insert: Statement<[number, number, string, string, string, string, string, string]>

  constructor(db: SqliteDatabase) {
    this.#db = db
    this.#last = db.prepare('SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1')
    this.#insert = db.prepare(
      'INSERT INTO audit (id, at_ms, actor, action, subject, detail, prev, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
    )
  }

  append(entry: Omit<AuditContent, 'id'>): void {
    const { atMs, actor, action, subject } = entry
    const detail = JSON.stringify(entry.detail)
    // Read each time: a transaction that was rolled back took its entries along.
    const last = this.#last.get()
    const prev = last === undefined ? AUDIT_BEGINNING : (last.hash ?? '')
    const id = (last?.id ?? 0) + 1
    // As it will be read.
    const hash = auditHash(prev, { id, atMs, actor, action, subject, detail: JSON.parse(detail) })
    this.#insert.run(id, atMs, actor, action, subject, detail, prev, hash)
  }

  /** Newest first. @param before only entries with a smaller id */
  list(limit: number, before = Number.MAX_SAFE_INTEGER): readonly AuditEntry[] {
    return this.#db
      .prepare<[number, number], Row>('SELECT * FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?')
      .all(before, limit)
      .map(entryOf)
  }

  /** Entries from one moment to another, the newest of them first. */
  between(fromMs: number, untilMs: number, limit: number): readonly AuditEntry[] {
    return this.#db
      .prepare<[number, number, number], Row>(
        'SELECT * FROM audit WHERE at_ms >= ? AND at_ms <= ? ORDER BY at_ms DESC, id DESC LIMIT ?',
      )
      .all(fromMs, untilMs, limit)
      .map(entryOf)
  }
}

/** What somebody has changed by hand is told as it is, and is found by its hash. */
const entryOf = ({ at_ms, detail, prev, hash, ...row }: Row): AuditEntry => ({
  ...{ ...row, atMs: at_ms, detail: jsonOr(detail) },
  ...{ prev: prev ?? '', hash: hash ?? '' },
})

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
