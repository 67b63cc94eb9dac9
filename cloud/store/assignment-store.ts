import { present } from '../../contract/present.ts'
import type { SqliteDatabase } from './database.ts'

export interface AssignmentRecord {
  readonly device: string
  readonly site: string
  readonly board: string
  readonly seq: number
  readonly cursor: number
  readonly expiresMs: number
  /** canonical JSON of the signed assignment */
  readonly document: string
}

interface Row {
  name: string
  site: string
  board: string
  seq: number
  cursor: number
  expires_ms: number
  document: string
}

/** The newest signed assignment of each device, in the order in which they were made (the cursor of the gateways' feed). */
export class AssignmentStore {
  readonly #db: SqliteDatabase
  // Prepared once: signing runs them for every device of a fleet.
  readonly #lastSeq
  readonly #put
  readonly #floor
  readonly #drop

  constructor(db: SqliteDatabase) {
    this.#db = db
    this.#lastSeq = db.prepare<[number], { seq: number }>(
      `SELECT max(d.seq_floor, coalesce(a.seq, 0)) AS seq FROM devices d LEFT JOIN assignments a ON a.device = d.id WHERE d.id = ?`,
    )
    this.#floor = db.prepare<[number, number]>('UPDATE devices SET seq_floor = max(seq_floor, ?) WHERE id = ?')
    this.#drop = db.prepare<[number]>('DELETE FROM assignments WHERE device = ?')
    this.#put = db.prepare(
      `INSERT INTO assignments (device, seq, cursor, release, issued_ms, expires_ms, document)
         VALUES (@device, @seq, (SELECT coalesce(max(cursor), 0) + 1 FROM assignments), @release, @issuedMs, @expiresMs, @document)
         ON CONFLICT (device) DO UPDATE SET seq = excluded.seq, cursor = excluded.cursor, release = excluded.release,
           issued_ms = excluded.issued_ms, expires_ms = excluded.expires_ms, document = excluded.document
         WHERE excluded.seq > seq`,
    )
  }

  /** Sequence number of the newest assignment that was ever made for the device, 0 for none. */
  lastSeq(device: number): number {
    return this.#lastSeq.get(device)?.seq ?? 0
  }

  /** Number of the document that gateways are given; undefined: none. */
  signedSeq(device: number): number | undefined {
    return this.#db.prepare<[number], { seq: number }>('SELECT seq FROM assignments WHERE device = ?').get(device)?.seq
  }

  /** Replaces the device's assignment by one with a higher sequence number, at the end of the feed. */
  put(row: {
    device: number
    seq: number
    release: number
    issuedMs: number
    expiresMs: number
    document: string
  }): void {
    this.#put.run(row)
  }

  /** Serves the device's assignment no longer; the next one is numbered above it all the same. Inside a transaction. */
  withdraw(device: number): void {
    this.#floor.run(this.lastSeq(device), device)
    this.#drop.run(device)
  }

  newestCursor(): number {
    const newest = this.#db.prepare<[], { c: number }>('SELECT coalesce(max(cursor), 0) AS c FROM assignments')
    return present(newest.get(), 'the row of an aggregate').c
  }

  /** At most `limit` assignments changed after the cursor, oldest first. */
  after(cursor: number, limit: number): readonly AssignmentRecord[] {
    return this.#db
      .prepare<[number, number], Row>(
        `SELECT d.name, d.site, d.board, a.seq, a.cursor, a.expires_ms, a.document
         FROM assignments a JOIN devices d ON d.id = a.device WHERE a.cursor > ? ORDER BY a.cursor LIMIT ?`,
      )
      .all(cursor, limit)
      .map(({ name, expires_ms, ...row }) => ({ ...row, device: name, expiresMs: expires_ms }))
  }

  /** Marks at most `limit` devices for signing whose assignment expires before the time given. @returns how many */
  markExpiring(beforeMs: number, limit: number): number {
    return this.#db
      .prepare(
        `UPDATE devices SET dirty = 1 WHERE id IN
         (SELECT device FROM assignments WHERE expires_ms < ? ORDER BY expires_ms LIMIT ?) AND dirty = 0`,
      )
      .run(beforeMs, limit).changes
  }
}
