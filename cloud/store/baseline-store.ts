import type { SqliteDatabase } from './database.ts'

export interface BaselineRecord {
  readonly device: number
  readonly model: string
  readonly sinceMs: number
  readonly untilMs: number
  readonly listeningHours: number
  readonly activeHours: number
  readonly rejected: number
  readonly noiseBins: readonly number[]
}

/** What each device did in its first hours on its present model. */
export class BaselineStore {
  readonly #get
  readonly #put
  readonly #present

  constructor(db: SqliteDatabase) {
    this.#get = db.prepare<[number], Omit<BaselineRecord, 'noiseBins'> & { noiseBins: string }>(
      `SELECT device, model, since_ms AS sinceMs, until_ms AS untilMs, listening_hours AS listeningHours,
         active_hours AS activeHours, rejected, noise_bins AS noiseBins FROM baselines WHERE device = ?`,
    )
    this.#put = db.prepare(
      `INSERT OR REPLACE INTO baselines (device, model, since_ms, until_ms, listening_hours, active_hours, rejected, noise_bins)
       VALUES (@device, @model, @sinceMs, @untilMs, @listeningHours, @activeHours, @rejected, @noiseBins)`,
    )
    this.#present = db.prepare<[], { device: number; model: string; sinceMs: number }>(
      `SELECT newest.device AS device, newest.model AS model, (
         SELECT min(b.started_ms) FROM boots b WHERE b.device = newest.device AND b.boot >
           coalesce((SELECT max(o.boot) FROM boots o WHERE o.device = newest.device AND o.model <> newest.model), -1)
       ) AS sinceMs
       FROM boots newest JOIN (SELECT device, max(boot) AS boot FROM boots GROUP BY device) last
         ON last.device = newest.device AND last.boot = newest.boot`,
    )
  }

  get(device: number): BaselineRecord | undefined {
    const row = this.#get.get(device)
    return row && { ...row, noiseBins: JSON.parse(row.noiseBins) as number[] }
  }

  put(baseline: BaselineRecord): void {
    this.#put.run({ ...baseline, noiseBins: JSON.stringify(baseline.noiseBins) })
  }

  /** The model each device runs now and since when without interruption by another. */
  present(): readonly { device: number; model: string; sinceMs: number }[] {
    return this.#present.all()
  }
}
