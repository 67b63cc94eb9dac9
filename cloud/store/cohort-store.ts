import { present } from '../../contract/present.ts'
import type { SqliteDatabase } from './database.ts'
import type { DeviceCondition } from './device-conditions.ts'

/** How many, and the first names. */
export interface NamedCount {
  readonly count: number
  readonly names: readonly string[]
}

/** chosen: what fits a screen; the query itself gives the rest */
const NAMES_MAX = 20

/** A release that a device runs beside production, by the end of a rollout that it was chosen for. */
export interface Keep {
  readonly rollout: string
  readonly release: number
}

/** Why a keep is over when no rollout has ended it. */
export type KeepEnd = 'by-hand' | 'left' | 'archived' | 'production'

const OPEN_KEEP = `SELECT k.rollout, r.release FROM keeps k JOIN rollouts r ON r.id = k.rollout
  WHERE k.device = ? AND k.ended_by IS NULL`

/** Who was chosen for a rollout at its start, and what devices keep when such a rollout has completed. */
export class CohortStore {
  readonly #db: SqliteDatabase
  readonly #keepOf

  constructor(db: SqliteDatabase) {
    this.#db = db
    this.#keepOf = db.prepare<[number], Keep>(OPEN_KEEP)
  }

  /** Enrolled devices of a family for which a condition holds. */
  matching(family: string, condition: DeviceCondition): ReadonlySet<number> {
    const matching = this.#db
      .prepare<(string | number)[], number>(
        `SELECT d.id FROM devices d WHERE d.enrolled_ms IS NOT NULL AND d.family = ? AND ${condition.sql}`,
      )
      .pluck()
    return new Set(matching.all(family, ...condition.parameters))
  }

  /** Freezes who takes part in a rollout. Inside a transaction. */
  freeze(rollout: string, devices: Iterable<number>): void {
    this.#db
      .prepare('INSERT INTO rollout_cohort (rollout, device) SELECT ?, value FROM json_each(?)')
      .run(rollout, JSON.stringify([...devices]))
  }

  /** Who was chosen, without those who left. */
  members(rollout: string): ReadonlySet<number> {
    const members = this.#db
      .prepare<[string], number>('SELECT device FROM rollout_cohort WHERE rollout = ? AND left_ms IS NULL')
      .pluck()
    return new Set(members.all(rollout))
  }

  /** Whether some device was chosen for both. */
  haveCommon(a: string, b: string): boolean {
    const common = this.#db.prepare<[string, string]>(
      'SELECT 1 FROM rollout_cohort x JOIN rollout_cohort y ON y.device = x.device WHERE x.rollout = ? AND y.rollout = ? LIMIT 1',
    )
    return common.get(a, b) !== undefined
  }

  /** How a choice compares with what it would be now.
   *  @param boards of the release; empty: any
   *  @param condition null: nobody knows any more what the choice means, its group is gone
   *  @returns joined: would be chosen and was not; departed: is in it and would not be; out: was removed, or has a board it is not for */
  compare(
    rollout: string,
    family: string,
    boards: readonly string[],
    condition: DeviceCondition | null,
  ): {
    readonly chosen: number
    readonly joined: NamedCount | null
    readonly departed: NamedCount | null
    readonly out: NamedCount
  } {
    const named = (where: string, parameters: readonly (string | number)[]): NamedCount => {
      const names = this.#db
        .prepare<(string | number)[], string>(`SELECT d.name FROM devices d WHERE ${where} ORDER BY d.name`)
        .pluck()
        .all(...parameters)
      return { count: names.length, names: names.slice(0, NAMES_MAX) }
    }
    const of = (left: string): string =>
      `d.id IN (SELECT device FROM rollout_cohort WHERE rollout = ? AND left_ms ${left})`
    const chosen = this.#db.prepare<[string], number>('SELECT count(*) FROM rollout_cohort WHERE rollout = ?').pluck()
    const frozen = {
      chosen: present(chosen.get(rollout), 'the row of an aggregate'),
      out: named(of('IS NOT NULL'), [rollout]),
    }
    if (condition === null) return { ...frozen, joined: null, departed: null }
    const onBoard = boards.length === 0 ? '' : 'AND d.board IN (SELECT value FROM json_each(?))'
    const fit = `d.enrolled_ms IS NOT NULL AND d.family = ? ${onBoard} AND ${condition.sql}`
    const fitting = [family, ...(boards.length === 0 ? [] : [JSON.stringify(boards)]), ...condition.parameters]
    return {
      ...frozen,
      joined: named(`${fit} AND NOT ${of('IS NULL')}`, [...fitting, rollout]),
      departed: named(`${of('IS NULL')} AND NOT (${fit})`, [rollout, ...fitting]),
    }
  }

  /** From now on the devices keep the release of a rollout. Keeps of before are ended by it. Inside a transaction. */
  keep(rollout: string, devices: readonly number[]): void {
    this.endBy(rollout, devices)
    this.#db
      .prepare('INSERT INTO keeps (device, rollout) SELECT value, ? FROM json_each(?)')
      .run(rollout, JSON.stringify(devices))
  }

  /** What a device keeps. */
  keepOf(device: number): Keep | undefined {
    return this.#keepOf.get(device)
  }

  /** Ends what devices keep: they have been given something else by a rollout, or for another reason. */
  endBy(why: string, devices: readonly number[]): void {
    this.#db
      .prepare('UPDATE keeps SET ended_by = ? WHERE ended_by IS NULL AND device IN (SELECT value FROM json_each(?))')
      .run(why, JSON.stringify(devices))
  }

  /** Ends what one device keeps. */
  end(device: number, why: KeepEnd): void {
    this.endBy(why, [device])
  }

  /** Ends whoever keeps a release. */
  endOf(release: number, why: KeepEnd): void {
    this.#db
      .prepare(
        'UPDATE keeps SET ended_by = ? WHERE ended_by IS NULL AND rollout IN (SELECT id FROM rollouts WHERE release = ?)',
      )
      .run(why, release)
  }

  /** Undoes what a rollout did to keeps: nobody keeps its release by it, and who kept another before keeps that again. Inside a transaction. */
  undo(rollout: string): void {
    this.#db.prepare('DELETE FROM keeps WHERE rollout = ?').run(rollout)
    this.#db.prepare('UPDATE keeps SET ended_by = NULL WHERE ended_by = ?').run(rollout)
  }

  /** Devices that keep the release of a rollout by it. */
  keeping(rollout: string): number {
    const count = this.#db
      .prepare<[string], number>('SELECT count(*) FROM keeps WHERE rollout = ? AND ended_by IS NULL')
      .pluck()
    return present(count.get(rollout), 'the row of an aggregate')
  }

  /** Devices that keep a release. */
  keepers(release: number): number {
    const count = this.#db
      .prepare<[number], number>(
        `SELECT count(*) FROM keeps k JOIN rollouts r ON r.id = k.rollout WHERE r.release = ? AND k.ended_by IS NULL`,
      )
      .pluck()
    return present(count.get(release), 'the row of an aggregate')
  }
}
