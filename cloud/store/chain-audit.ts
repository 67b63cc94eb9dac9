import type { Database } from 'better-sqlite3'
import { AUDIT_BEGINNING, auditHash } from '../../contract/audit-chain.ts'

interface Unchained {
  id: number
  at_ms: number
  actor: string
  action: string
  subject: string
  detail: string
}

/** Chains the entries of an audit log that was kept without: part of a migration. */
export function chainAudit(db: Database): void {
  const update = db.prepare<[string, string, number]>('UPDATE audit SET prev = ?, hash = ? WHERE id = ?')
  const after = db.prepare<[number], Unchained>('SELECT * FROM audit WHERE id > ? ORDER BY id LIMIT 1')
  let prev = AUDIT_BEGINNING
  for (let row = after.get(0); row !== undefined; row = after.get(row.id)) {
    const { id, at_ms: atMs, actor, action, subject } = row
    const hash = auditHash(prev, { id, atMs, actor, action, subject, detail: JSON.parse(row.detail) })
    update.run(prev, hash, id)
    prev = hash
  }
}
