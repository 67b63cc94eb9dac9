import type { SqliteDatabase } from './database.ts'

/** Alerts that nobody is to be told of for a while. */
export interface SilenceRecord {
  readonly id: number
  /** of the alerts */
  readonly code: string
  /** null: whatever the metric */
  readonly metric: string | null
  /** null: whatever part of the fleet; '': the whole */
  readonly cohort: string | null
  readonly fromMs: number
  readonly untilMs: number
  readonly by: string
  readonly reason: string
  /** null: it is in force */
  readonly endedMs: number | null
}

const COLUMNS =
  'id, code, metric, cohort, from_ms AS fromMs, until_ms AS untilMs, set_by AS by, reason, ended_ms AS endedMs'

/** The silence that is in force for an alert of the table `alerts`, JSON; NULL: none. The one that lasts longest, if there are several. */
export const SILENCE_OF_ALERT = `(SELECT json_object('id', s.id, 'untilMs', s.until_ms, 'by', s.set_by, 'reason', s.reason)
  FROM silences s WHERE s.ended_ms IS NULL AND s.code = alerts.code AND coalesce(s.metric, alerts.metric) = alerts.metric
    AND coalesce(s.cohort, alerts.cohort) = alerts.cohort ORDER BY s.until_ms DESC LIMIT 1)`

/** Silences: alerts of that kind are raised and listed as ever, and told when it is over if they still are open. */
export class SilenceStore {
  readonly #db: SqliteDatabase
  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  /** @returns its id */
  add(silence: Omit<SilenceRecord, 'id' | 'endedMs'>): number {
    const { lastInsertRowid } = this.#db
      .prepare(
        `INSERT INTO silences (code, metric, cohort, from_ms, until_ms, set_by, reason)
         VALUES (@code, @metric, @cohort, @fromMs, @untilMs, @by, @reason)`,
      )
      .run(silence)
    return Number(lastInsertRowid)
  }

  byId(id: number): SilenceRecord | undefined {
    return this.#db.prepare<[number], SilenceRecord>(`SELECT ${COLUMNS} FROM silences WHERE id = ?`).get(id)
  }

  /** Those in force, the first to end first. */
  inForce(): readonly SilenceRecord[] {
    return this.#db
      .prepare<[], SilenceRecord>(`SELECT ${COLUMNS} FROM silences WHERE ended_ms IS NULL ORDER BY until_ms, id`)
      .all()
  }

  end(id: number, nowMs: number): void {
    this.#db.prepare('UPDATE silences SET ended_ms = ? WHERE id = ? AND ended_ms IS NULL').run(nowMs, id)
  }

  /** Ends those whose time is over. */
  endOver(nowMs: number): void {
    this.#db.prepare('UPDATE silences SET ended_ms = until_ms WHERE ended_ms IS NULL AND until_ms <= ?').run(nowMs)
  }
}
