import type { SqliteDatabase } from './database.ts'
import { isRunningWord } from './identity-store.ts'
import type { Retained, RetentionPolicy } from './retention-ages.ts'
import { HOUR_MS } from './telemetry-store.ts'

const DAY_MS = 24 * HOUR_MS

/** Chosen: boots kept of each device however old, so that a device out of a drawer is still known by its last ones. */
const BOOTS_KEPT = 16
/** Chosen: rows looked at between two looks at the time; some take a page each, so that this is about a millisecond. */
const ROWS_A_STEP = 32

/** Whether the boot is one of the newest of its device, or the first of those in which it ran its present model (drift measures from it). */
const BOOT_KEPT = `t.boot >= coalesce(
    (SELECT n.boot FROM boots n WHERE n.device = t.device ORDER BY n.boot DESC LIMIT 1 OFFSET ${BOOTS_KEPT - 1}), 0)
  OR (t.model IS NOT (SELECT p.model FROM boots p WHERE p.device = t.device AND p.boot < t.boot ORDER BY p.boot DESC LIMIT 1)
    AND NOT EXISTS (SELECT 1 FROM boots n WHERE n.device = t.device AND n.boot > t.boot AND n.model <> t.model))`

/** Whether it is the newest hour of its device: what its next report, perhaps months later, is the difference to. */
const HOUR_KEPT = `(t.boot, t.slot) = (SELECT n.boot, n.slot FROM device_hours n WHERE n.device = t.device
    ORDER BY n.boot DESC, n.slot DESC LIMIT 1)`

/** Whether its boot stays. */
const START_KEPT = 'EXISTS (SELECT 1 FROM boots b WHERE b.device = t.device AND b.boot = t.boot)'

/** Whether it is what the device last signed of the model it runs (IdentityStore.attestedRun). */
const EVENT_KEPT = `${isRunningWord('t')} AND
  (t.boot, t.seq) = (SELECT n.boot, n.seq FROM events n WHERE n.device = t.device AND ${isRunningWord('n')}
    ORDER BY n.boot DESC, n.seq DESC LIMIT 1)`

/** Whether one before it is young enough to stay (the clock was set back), or it is the newest: the chain has no gaps, and goes on from its end. */
const AUDIT_KEPT = `EXISTS (SELECT 1 FROM audit n NOT INDEXED WHERE n.id < t.id AND n.at_ms >= @cutoff)
  OR NOT EXISTS (SELECT 1 FROM audit n WHERE n.id > t.id)`

interface Plan {
  readonly of: Retained
  readonly table: string
  /** column of an index that begins with it */
  readonly age: string
  readonly unitMs: 1 | typeof HOUR_MS
  /** columns of the primary key, which every index of the table ends in */
  readonly key: readonly string[]
  /** of a partial index */
  readonly where?: string
  /** rows that stay however old */
  readonly kept?: string
}

const PLANS: readonly Plan[] = [
  { of: 'reports', table: 'reports', age: 'time_ms', unitMs: 1, key: ['device', 'boot', 'seq'] },
  {
    ...{ of: 'hours', table: 'device_hours', age: 'hour', unitMs: HOUR_MS, key: ['device', 'boot', 'slot'] },
    kept: HOUR_KEPT,
  },
  {
    ...{ of: 'hours', table: 'verdicts', age: 'hour', unitMs: HOUR_MS },
    key: ['device', 'boot', 'slot', 'model', 'pipeline', 'gateway'],
  },
  { of: 'hours', table: 'gateway_devices', age: 'last_ms', unitMs: 1, key: ['gateway', 'device'] },
  { of: 'hours', table: 'wake_checks', age: 'asked_ms', unitMs: 1, key: ['id'] },
  { of: 'boots', table: 'boots', age: 'time_ms', unitMs: 1, key: ['device', 'boot'], kept: BOOT_KEPT },
  { of: 'boots', table: 'boot_starts', age: 'started_ms', unitMs: 1, key: ['device', 'boot'], kept: START_KEPT },
  { of: 'events', table: 'events', age: 'time_ms', unitMs: 1, key: ['device', 'boot', 'seq'], kept: EVENT_KEPT },
  {
    ...{ of: 'aggregates', table: 'aggregates', age: 'hour_ms', unitMs: 1 },
    key: ['gateway', 'hour_ms', 'model', 'board', 'site', 'rollout', 'stage', 'arm'],
  },
  { of: 'fleet-hours', table: 'fleet_hours', age: 'hour', unitMs: HOUR_MS, key: ['hour', 'model'] },
  { of: 'readings', table: 'gate_readings', age: 'at_ms', unitMs: 1, key: ['rollout', 'at_ms'] },
  { of: 'alerts', table: 'alerts', age: 'resolved_ms', unitMs: 1, key: ['id'], where: "t.state = 'resolved'" },
  { of: 'alerts', table: 'silences', age: 'ended_ms', unitMs: 1, key: ['id'], where: 't.ended_ms IS NOT NULL' },
  { of: 'audit', table: 'audit', age: 'at_ms', unitMs: 1, key: ['id'], kept: AUDIT_KEPT },
  { of: 'claims', table: 'claims', age: 'expires_ms', unitMs: 1, key: ['id'] },
  { of: 'tokens', table: 'tokens', age: 'expires_ms', unitMs: 1, key: ['jti'] },
]

/** The oldest rows after a position, by index. Named parameters: `cutoff`, `limit`, `age` and `k0`, `k1` … of the position. */
function oldestSql({ table, age, key, where, kept }: Plan): string {
  const order = [age, ...key.filter((column) => column !== age)]
  const after = order.map((_, i) => (i === 0 ? '@age' : `@k${i - 1}`)).join(', ')
  return `SELECT ${order.map((column) => `t.${column}`).join(', ')}, ${kept === undefined ? '0' : `(${kept})`} AS kept
    FROM ${table} t WHERE t.${age} < @cutoff AND (${order.map((column) => `t.${column}`).join(', ')}) > (${after})
    ${where === undefined ? '' : `AND ${where}`} ORDER BY ${order.map((column) => `t.${column}`).join(', ')} LIMIT @limit`
}

/** Members of rollouts that ended long ago, and who was chosen for them. The rollout itself and its stages stay, and what devices keep by it. */
const MEMBER_TABLES = ['rollout_devices', 'rollout_cohort'] as const
const membersSql = (table: (typeof MEMBER_TABLES)[number]): string =>
  `SELECT d.rollout, d.device FROM rollouts r JOIN ${table} d ON d.rollout = r.id WHERE r.ended_ms < @cutoff LIMIT @limit`
const STALE_HOURS_SQL = 'DELETE FROM dirty_hours WHERE hour < ?'

/** Statements that a pass runs to find what is old; a test holds each to an index. */
export const retentionQueries = (): readonly string[] => [
  ...PLANS.map(oldestSql),
  ...MEMBER_TABLES.map(membersSql),
  STALE_HOURS_SQL,
]

type Value = number | string

/** One table's part of a pass: where it has come to. */
interface Task {
  /** looks at some of the oldest rows and deletes those that may go; fewer than asked: the end */
  readonly step: (limit: number) => { seen: number; removed: number }
}

/** Drops what is older than its age, oldest first and by index, in slices. A pass goes on until all that is old is gone, so it
 *  follows the inflow, whatever that is. It may end at any point: the next begins anew. */
export class Retention {
  readonly #db: SqliteDatabase
  readonly #policy: RetentionPolicy
  #tasks: Task[] = []

  constructor(db: SqliteDatabase, policy: RetentionPolicy) {
    this.#db = db
    this.#policy = policy
  }

  /** Begins a pass, and forgets hours that wait for their sums but whose rows are gone, so that nothing overwrites the sums of then.
   *  @param nowMs wall time, Unix ms */
  begin(nowMs: number): void {
    const cutoff = (of: Retained, unitMs: number): number => Math.floor((nowMs - this.#policy[of] * DAY_MS) / unitMs)
    this.#db.prepare(STALE_HOURS_SQL).run(cutoff('hours', HOUR_MS) + 1)
    this.#tasks = PLANS.map((plan) => this.#task(plan, cutoff(plan.of, plan.unitMs)))
    for (const table of MEMBER_TABLES) this.#tasks.push(this.#members(table, cutoff('rollouts', 1)))
  }

  /** Does some of the pass in one transaction.
   *  @param enough asked every few rows whether the slice has taken long enough
   *  @returns rows removed; `more`: the pass is not over */
  slice(enough: () => boolean): { removed: number; more: boolean } {
    let removed = 0
    this.#db
      .transaction(() => {
        for (let task = this.#tasks[0]; task !== undefined; task = this.#tasks[0]) {
          const done = task.step(ROWS_A_STEP)
          removed += done.removed
          if (done.seen < ROWS_A_STEP) this.#tasks.shift()
          if (enough()) break
        }
      })
      .immediate()
    return { removed, more: this.#tasks.length > 0 }
  }

  #task(plan: Plan, cutoff: number): Task {
    const others = plan.key.filter((column) => column !== plan.age)
    const oldest = this.#db.prepare<[Record<string, Value>], Value[]>(oldestSql(plan)).raw()
    const columns = [plan.age, ...others]
    const remove = this.#db.prepare(
      `DELETE FROM ${plan.table} WHERE ${plan.key.map((column) => `${column} = ?`).join(' AND ')}`,
    )
    const at = plan.key.map((column) => columns.indexOf(column))
    // Below every row: numbers sort before texts.
    let position: Value[] = columns.map(() => Number.MIN_SAFE_INTEGER)
    return {
      step: (limit) => {
        const [age, ...rest] = position
        const named = Object.fromEntries(rest.map((value, i) => [`k${i}`, value]))
        const rows = oldest.all({ ...named, age: age ?? 0, cutoff, limit })
        let removed = 0
        for (const row of rows) {
          if (row[columns.length] === 1) continue
          removed += remove.run(...at.map((i) => row[i])).changes
        }
        position = rows.at(-1)?.slice(0, columns.length) ?? position
        return { seen: rows.length, removed }
      },
    }
  }

  #members(table: (typeof MEMBER_TABLES)[number], cutoff: number): Task {
    const oldest = this.#db.prepare<[Record<string, Value>], { rollout: string; device: number }>(membersSql(table))
    const remove = this.#db.prepare(`DELETE FROM ${table} WHERE rollout = ? AND device = ?`)
    return {
      step: (limit) => {
        const rows = oldest.all({ cutoff, limit })
        for (const { rollout, device } of rows) remove.run(rollout, device)
        return { seen: rows.length, removed: rows.length }
      },
    }
  }
}
