import type { SqliteDatabase } from './database.ts'

/** How many devices of a rollout install at once; null: any number. */
export interface InstallingMax {
  readonly fleet: number | null
  readonly site: number | null
}

export const NO_INSTALLING_MAX: InstallingMax = { fleet: null, site: null }

interface Parameters {
  readonly rollout: string
  readonly release: number
  readonly model: string
}

const NEWEST_MODEL = '(SELECT model FROM boots b WHERE b.device = d.id ORDER BY boot DESC LIMIT 1)'

/** Turns of devices to install what a rollout gives them, where it has a limit: an assignment that would be beyond it is not signed yet. A turn is over
 *  when the device runs the release, is to run something else, waits again, or has had it for too long: it may be off, or fail each time. */
export class InstallTurns {
  readonly #wait
  readonly #rollouts
  readonly #over
  readonly #taken
  readonly #waiting
  readonly #give
  readonly #note
  readonly #waits
  readonly #count

  constructor(db: SqliteDatabase) {
    this.#wait = db.prepare<[Parameters]>(
      `UPDATE devices AS d SET dirty = 2 WHERE d.dirty = 1 AND d.rollout = @rollout AND d.target = @release
         AND ${NEWEST_MODEL} IS NOT @model
         AND NOT EXISTS (SELECT 1 FROM assignments a WHERE a.device = d.id AND a.release = @release)`,
    )
    this.#rollouts = db
      .prepare<[], string>('SELECT DISTINCT rollout FROM devices WHERE dirty = 2 AND rollout IS NOT NULL')
      .pluck()
    this.#over = db.prepare<[Parameters & { sinceMs: number }]>(
      `DELETE FROM install_turns AS t WHERE t.rollout = @rollout AND (t.given_ms < @sinceMs OR NOT EXISTS (
         SELECT 1 FROM devices d WHERE d.id = t.device AND d.rollout = @rollout AND d.target = @release
           AND d.dirty < 2 AND ${NEWEST_MODEL} IS NOT @model))`,
    )
    this.#taken = db.prepare<[string], { site: string; n: number }>(
      'SELECT d.site, count(*) AS n FROM install_turns t JOIN devices d ON d.id = t.device WHERE t.rollout = ? GROUP BY d.site',
    )
    this.#waiting = db.prepare<[string], { id: number; site: string }>(
      'SELECT id, site FROM devices WHERE dirty = 2 AND rollout = ? ORDER BY id',
    )
    this.#give = db.prepare<[string]>(
      'UPDATE devices SET dirty = 1 WHERE id IN (SELECT value FROM json_each(?)) AND dirty = 2',
    )
    this.#note = db.prepare<[string, number, string]>(
      `INSERT INTO install_turns (device, rollout, given_ms) SELECT value, ?, ? FROM json_each(?) WHERE true
         ON CONFLICT DO UPDATE SET rollout = excluded.rollout, given_ms = excluded.given_ms`,
    )
    this.#waits = db.prepare<[number]>('SELECT 1 FROM devices WHERE id = ? AND dirty = 2')
    this.#count = db.prepare<[string], number>('SELECT count(*) FROM devices WHERE dirty = 2 AND rollout = ?').pluck()
  }

  /** Has the devices of a rollout wait that are to be told of its release and were not yet. Inside a transaction. */
  wait(of: Parameters): void {
    this.#wait.run(of)
  }

  /** Rollouts with devices that wait. */
  rollouts(): readonly string[] {
    return this.#rollouts.all()
  }

  /** Whether a device waits for its turn. */
  waits(device: number): boolean {
    return this.#waits.get(device) !== undefined
  }

  /** Devices of a rollout that wait. */
  count(rollout: string): number {
    return this.#count.get(rollout) ?? 0
  }

  /** Gives turns as far as the limit goes, in order of row numbers. Inside a transaction.
   *  @param sinceMs turns that were given before are over
   *  @returns how many */
  give(of: Parameters, max: InstallingMax, sinceMs: number, nowMs: number): number {
    this.#over.run({ ...of, sinceMs })
    const taken = new Map(this.#taken.all(of.rollout).map(({ site, n }) => [site, n]))
    let free = (max.fleet ?? Number.POSITIVE_INFINITY) - [...taken.values()].reduce((sum, n) => sum + n, 0)
    const given: number[] = []
    for (const { id, site } of free > 0 ? this.#waiting.iterate(of.rollout) : []) {
      if (free <= 0) break
      const here = taken.get(site) ?? 0
      if (max.site !== null && here >= max.site) continue
      taken.set(site, here + 1)
      given.push(id)
      free--
    }
    this.#give.run(JSON.stringify(given))
    this.#note.run(of.rollout, nowMs, JSON.stringify(given))
    return given.length
  }
}
