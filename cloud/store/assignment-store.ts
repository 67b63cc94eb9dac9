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

/** One step of the feed of a gateway that says which one it is. */
export interface FeedRecord {
  readonly device: string
  readonly site: string
  readonly board: string
  readonly cursor: number
  /** as above; null: the site's gateways drop what they hold for the device */
  readonly document: string | null
}

/** A later cursor than any before, of either kind. */
const NEWEST_CURSOR = `max((SELECT coalesce(max(cursor), 0) FROM assignments), (SELECT coalesce(max(cursor), 0) FROM departures))`

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
  readonly #leave
  readonly #arrive
  readonly #ofSite
  readonly #departed
  readonly #departedAnywhere
  readonly #at
  readonly #anywhere

  constructor(db: SqliteDatabase) {
    this.#db = db
    this.#lastSeq = db.prepare<[number], { seq: number }>(
      `SELECT max(d.seq_floor, coalesce(a.seq, 0)) AS seq FROM devices d LEFT JOIN assignments a ON a.device = d.id WHERE d.id = ?`,
    )
    this.#floor = db.prepare<[number, number]>('UPDATE devices SET seq_floor = max(seq_floor, ?) WHERE id = ?')
    this.#drop = db.prepare<[number]>('DELETE FROM assignments WHERE device = ?')
    this.#leave = db.prepare<[number]>(
      'DELETE FROM assignments WHERE device = ? AND site <> (SELECT site FROM devices WHERE id = assignments.device)',
    )
    this.#arrive = db.prepare<[number]>(
      'DELETE FROM departures WHERE (site, device) IN (SELECT site, name FROM devices WHERE id = ?)',
    )
    this.#ofSite = db.prepare<[string, number, number], { cursor: number }>(
      'SELECT cursor FROM assignments WHERE site = ? AND cursor > ? ORDER BY cursor LIMIT ?',
    )
    this.#departed = db.prepare<[string, number, number], FeedRecord>(
      `SELECT device, site, '' AS board, cursor, NULL AS document FROM departures
       WHERE site = ? AND cursor > ? ORDER BY cursor LIMIT ?`,
    )
    this.#departedAnywhere = db.prepare<[number, number], FeedRecord>(
      `SELECT device, site, '' AS board, cursor, NULL AS document FROM departures
       WHERE cursor > ? ORDER BY cursor LIMIT ?`,
    )
    this.#at = db.prepare<[number], FeedRecord>(
      `SELECT d.name AS device, a.site, d.board, a.cursor, a.document
       FROM assignments a JOIN devices d ON d.id = a.device WHERE a.cursor = ?`,
    )
    this.#anywhere = db.prepare<[number, number], { cursor: number }>(
      'SELECT cursor FROM assignments WHERE cursor > ? ORDER BY cursor LIMIT ?',
    )
    this.#put = db.prepare(
      `INSERT INTO assignments (device, seq, cursor, release, issued_ms, expires_ms, document, site)
         VALUES (@device, @seq, ${NEWEST_CURSOR} + 1, @release, @issuedMs, @expiresMs, @document,
           (SELECT site FROM devices WHERE id = @device))
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
    // Signed for another site than the last one: the gateways of that one are told.
    this.#leave.run(row.device)
    this.#put.run(row)
    // It has come back. After the row whose cursor is the newest.
    this.#arrive.run(row.device)
  }

  /** Serves the device's assignment no longer; the next one is numbered above it all the same. Inside a transaction. */
  withdraw(device: number): void {
    this.#floor.run(this.lastSeq(device), device)
    this.#drop.run(device)
  }

  newestCursor(): number {
    const newest = this.#db.prepare<[], { c: number }>(`SELECT ${NEWEST_CURSOR} AS c`)
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

  /** What a gateway is to take and to drop after the cursor, oldest first, at most `limit`: found by index, however large the rest of the fleet is.
   *  @param sites undefined: of all */
  feed(cursor: number, limit: number, sites?: readonly string[]): readonly FeedRecord[] {
    const steps: { readonly cursor: number; readonly gone?: FeedRecord }[] = []
    for (const site of sites ?? []) {
      for (const { cursor: at } of this.#ofSite.iterate(site, cursor, limit)) steps.push({ cursor: at })
      for (const gone of this.#departed.iterate(site, cursor, limit)) steps.push({ cursor: gone.cursor, gone })
    }
    if (sites === undefined) {
      for (const { cursor: at } of this.#anywhere.iterate(cursor, limit)) steps.push({ cursor: at })
      for (const gone of this.#departedAnywhere.iterate(cursor, limit)) steps.push({ cursor: gone.cursor, gone })
    }
    steps.sort((a, b) => a.cursor - b.cursor)
    return steps.slice(0, limit).map(({ cursor: at, gone }) => gone ?? present(this.#at.get(at), 'a row just found'))
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
