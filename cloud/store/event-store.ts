import type { SqliteDatabase } from './database.ts'

export interface EventRecord {
  readonly device: string
  readonly boot: number
  readonly seq: number
  readonly atMs: number
  readonly receivedMs: number
  readonly code: string
  /** first 8 bytes of the sha256 of the model that it is about, hex */
  readonly model: string | null
  readonly error: string | null
  readonly detail: string | null
  readonly assignmentSeq: number | null
  /** true: signed by the device's key. false: it has one, and this is not. null: it had none */
  readonly attested: boolean | null
}

export interface EventFilter {
  readonly device?: number | undefined
  readonly code?: string | undefined
  /** Unix ms */
  readonly sinceMs?: number | undefined
}

/** Where a page ended. */
export type EventPosition = readonly [timeMs: number, device: number, boot: number, seq: number]

type Row = Omit<EventRecord, 'attested'> & { readonly attested: 0 | 1 | null; readonly deviceId: number }

/** Events as devices told them, newest first. */
export class EventStore {
  readonly #db: SqliteDatabase
  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  /** @param before the page goes on after this position
   *  @returns at most `limit` events, and where the next page begins; null: there is none */
  list(
    { device, code, sinceMs = 0 }: EventFilter,
    limit: number,
    before?: EventPosition,
  ): { readonly events: readonly EventRecord[]; readonly next: EventPosition | null } {
    const position = before ?? [Number.MAX_SAFE_INTEGER, 0, 0, 0]
    const only = [
      ...(device === undefined ? [] : ['e.device = @only']),
      ...(code === undefined ? [] : ['e.code = @code']),
    ]
    const rows = this.#db
      .prepare<[Record<string, number | string | null>], Row>(
        `SELECT d.name AS device, e.device AS deviceId, e.boot, e.seq, e.time_ms AS atMs, e.received_ms AS receivedMs, e.code, e.model,
           e.error, e.detail, e.assignment_seq AS assignmentSeq, e.attested
         FROM events e JOIN devices d ON d.id = e.device
         WHERE ${only.map((condition) => `${condition} AND `).join('')} e.time_ms >= @sinceMs
           AND (e.time_ms, e.device, e.boot, e.seq) < (@time, @device, @boot, @seq)
         ORDER BY e.time_ms DESC, e.device DESC, e.boot DESC, e.seq DESC LIMIT @limit`,
      )
      .all({
        ...{ only: device ?? null, code: code ?? null, sinceMs, limit: limit + 1 },
        ...{ time: position[0], device: position[1], boot: position[2], seq: position[3] },
      })
    const page = rows.slice(0, limit)
    const last = rows.length > limit ? page.at(-1) : undefined
    return {
      events: page.map(({ deviceId: _, attested, ...row }) => ({
        ...row,
        attested: attested === null ? null : attested === 1,
      })),
      next: last === undefined ? null : [last.atMs, last.deviceId, last.boot, last.seq],
    }
  }
}
