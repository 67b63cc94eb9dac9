import type { SqliteDatabase } from './database.ts'

export interface AuditEntry {
  readonly id: number
  readonly atMs: number
  /** subject of the token, or "kinglet" for what the cloud decided itself */
  readonly actor: string
  /** dotted, past tense: `rollout.started` */
  readonly action: string
  readonly subject: string
  readonly detail: unknown
}

interface Row {
  id: number
  at_ms: number
  actor: string
  action: string
  subject: string
  detail: string
}

/** Who did what, when and why. Appended in the transaction of the change itself, never edited. */
export class AuditStore {
  readonly #db: SqliteDatabase
  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  append(entry: Omit<AuditEntry, 'id'>): void {
    this.#db
      .prepare('INSERT INTO audit (at_ms, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?)')
      .run(entry.atMs, entry.actor, entry.action, entry.subject, JSON.stringify(entry.detail))
  }

  /** Newest first. @param before only entries with a smaller id */
  list(limit: number, before = Number.MAX_SAFE_INTEGER): readonly AuditEntry[] {
    return this.#db
      .prepare<[number, number], Row>('SELECT * FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?')
      .all(before, limit)
      .map(({ at_ms, detail, ...row }) => ({ ...row, atMs: at_ms, detail: JSON.parse(detail) as unknown }))
  }
}
