import type { SqliteDatabase } from './database.ts'
import type { DeviceCondition } from './device-conditions.ts'

/** A row of an export: plain values by column. */
export type ExportRow = Readonly<Record<string, string | number | null>>

/** A page of an export. @param next where the page that follows begins; null: there is none */
export interface ExportPage {
  readonly rows: readonly ExportRow[]
  readonly next: string | null
}

/** Times that rows are of, Unix ms: from the first on, before the second. */
export interface ExportSpan {
  readonly fromMs: number
  readonly untilMs: number
}

const HOUR_MS = 3_600_000

/** Chosen: rows of a page that are looked at, whether they are chosen or not; some milliseconds. */
const SCAN_ROWS = 1_000

/** Reads tables in pages by their keys: no page looks at more than 1 000 rows, so one may be empty and not the last. What is on a page is as of
 *  when it is read. */
export class ExportStore {
  readonly #db: SqliteDatabase
  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  /** Hours of devices that a condition holds for, by device, boot and slot. Numbers are those of the boot until then, in the unit of each name. */
  hours(after: string, { fromMs, untilMs }: ExportSpan, condition: DeviceCondition): ExportPage {
    const key = after === '' ? [-1, -1, -1] : after.split('.').map(Number)
    const order = 'device_hours WHERE (device, boot, slot) > (?, ?, ?) ORDER BY device, boot, slot LIMIT'
    const rows = this.#db
      .prepare<(string | number)[], ExportRow>(
        `SELECT d.name AS device, d.site AS site, d.board AS board, h.boot, h.slot, h.hour * ${HOUR_MS} AS hour_ms,
           h.model AS model_prefix, h.uptime_ms, h.listening_ms, h.active_ms, h.wakes, h.gate_openings, h.energy_mj, h.radio_bytes,
           h.overruns, h.inferences, h.inference_ms
         FROM (SELECT * FROM ${order} ${SCAN_ROWS}) h JOIN devices d ON d.id = h.device
         WHERE h.hour >= ? AND h.hour < ? AND (${condition.sql}) ORDER BY h.device, h.boot, h.slot`,
      )
      .all(...key, Math.floor(fromMs / HOUR_MS), Math.ceil(untilMs / HOUR_MS), ...condition.parameters)
    return { rows, next: this.#last(`SELECT device || '.' || boot || '.' || slot AS key FROM ${order}`, key) }
  }

  /** What gates said, by rollout and time. @param rollout only of this one */
  verdicts(after: string, { fromMs, untilMs }: ExportSpan, rollout: string | null): ExportPage {
    const [id = '', atMs = '-1'] = after === '' ? [] : after.split(' ')
    const key = [id, Number(atMs)]
    const order = 'gate_readings WHERE (rollout, at_ms) > (?, ?) ORDER BY rollout, at_ms LIMIT'
    const rows = this.#db
      .prepare<(string | number | null)[], ExportRow>(
        `SELECT g.rollout, m.family, m.name AS model, m.version, g.at_ms, g.verdict, g.reading
         FROM (SELECT rollout, at_ms, verdict, reading FROM ${order} ${SCAN_ROWS}) g
           JOIN rollouts r ON r.id = g.rollout JOIN releases m ON m.id = r.release
         WHERE g.at_ms >= ? AND g.at_ms < ? AND (? IS NULL OR g.rollout = ?) ORDER BY g.rollout, g.at_ms`,
      )
      .all(...key, fromMs, untilMs, rollout, rollout)
    return { rows, next: this.#last(`SELECT rollout || ' ' || at_ms AS key FROM ${order}`, key) }
  }

  /** The audit log, oldest first. */
  audit(after: string, { fromMs, untilMs }: ExportSpan): ExportPage {
    const key = [Number(after === '' ? 0 : after)]
    const order = 'audit WHERE id > ? ORDER BY id LIMIT'
    const rows = this.#db
      .prepare<number[], ExportRow>(
        `SELECT id, at_ms, actor, action, subject, detail, prev, hash FROM (SELECT * FROM ${order} ${SCAN_ROWS})
         WHERE at_ms >= ? AND at_ms < ? ORDER BY id`,
      )
      .all(...key, fromMs, untilMs)
    return { rows, next: this.#last(`SELECT CAST(id AS TEXT) AS key FROM ${order}`, key) }
  }

  /** The key of the last row that a page has looked at; null: the table ends on it. */
  #last(keys: string, after: readonly (string | number)[]): string | null {
    const row = this.#db
      .prepare<(string | number)[], { key: string }>(`${keys} 1 OFFSET ${SCAN_ROWS - 1}`)
      .get(...after)
    return row?.key ?? null
  }
}
