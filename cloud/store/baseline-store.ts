import type { SqliteDatabase } from './database.ts'

/** What a device did in one hour of the day, summed over the days of its baseline. */
export interface BaselineHour {
  /** hours that are known, as their length */
  readonly uptimeMs: number
  /** by name of the signal: y, x, judged, unjudged */
  readonly sums: Readonly<Record<string, readonly [y: number, x: number, judged: number, unjudged: number]>>
  /** by name of the histogram */
  readonly bins: Readonly<Record<string, readonly number[]>>
}

export interface BaselineRecord {
  readonly device: number
  readonly model: string
  readonly sinceMs: number
  readonly untilMs: number
  /** 24, by hour of the day (UTC); null: nothing is known of that hour */
  readonly hours: readonly (BaselineHour | null)[]
}

export interface PresentRun {
  readonly device: number
  readonly model: string
  readonly site: string
  readonly board: string
  readonly sinceMs: number
}

/** What each device did in its first hours on its present model. */
export class BaselineStore {
  readonly #get
  readonly #put
  readonly #present

  constructor(db: SqliteDatabase) {
    this.#get = db.prepare<[number], Omit<BaselineRecord, 'hours'> & { hours: string }>(
      'SELECT device, model, since_ms AS sinceMs, until_ms AS untilMs, hours FROM baselines WHERE device = ?',
    )
    this.#put = db.prepare(
      `INSERT OR REPLACE INTO baselines (device, model, since_ms, until_ms, hours)
       VALUES (@device, @model, @sinceMs, @untilMs, @hours)`,
    )
    this.#present = db.prepare<[], PresentRun>(
      `SELECT newest.device AS device, newest.model AS model, d.site AS site, d.board AS board, (
         SELECT min(b.started_ms) FROM boots b WHERE b.device = newest.device AND b.boot >
           coalesce((SELECT max(o.boot) FROM boots o WHERE o.device = newest.device AND o.model <> newest.model), -1)
       ) AS sinceMs
       FROM devices d CROSS JOIN boots newest
         ON newest.device = d.id AND newest.boot = (SELECT max(boot) FROM boots WHERE device = d.id)`,
    )
  }

  get(device: number): BaselineRecord | undefined {
    const row = this.#get.get(device)
    return row && { ...row, hours: JSON.parse(row.hours) as BaselineRecord['hours'] }
  }

  put(baseline: BaselineRecord): void {
    this.#put.run({ ...baseline, hours: JSON.stringify(baseline.hours) })
  }

  /** The model each device runs now and since when without interruption by another. */
  present(): readonly PresentRun[] {
    return this.#present.all()
  }
}
