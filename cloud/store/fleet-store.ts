import { COUNTER_NAMES, ENERGY_NAMES, LADDER_LEVELS } from '../../contract/messages.ts'
import { present } from '../../contract/present.ts'
import type { SqliteDatabase } from './database.ts'

/** Sums over devices of one model in one hour: differences of cumulative counters, and the verdicts received in it. */
export interface FleetHour {
  readonly hour: number
  readonly model: string
  readonly devices: number
  readonly uptimeMs: number
  readonly listeningMs: number
  readonly activeMs: number
  readonly wakes: number
  readonly gateOpenings: number
  readonly confirmed: number
  readonly rejected: number
  readonly energyMj: number
  readonly radioBytes: number
}

/** Exact sums over devices and boots. */
export interface FleetCounters {
  readonly devices: number
  readonly boots: number
  readonly counters: Readonly<Record<string, number>>
  readonly energyMj: Readonly<Record<string, number>>
  readonly levelMs: Readonly<Record<string, number>>
  readonly verdicts: { readonly confirmed: number; readonly rejected: number }
}

const sums = (column: string, names: readonly string[]): string =>
  names.map((name, i) => `total(json_extract(${column}, '$[${i}]')) AS "${name}"`).join(', ')

/** Fleet-wide sums: by hour and model (kept, recomputed where something changed), and overall. */
export class FleetStore {
  readonly #db: SqliteDatabase
  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  /** Recomputes the hours that changed. @param limit hours a call; the rest waits for the next. @returns how many */
  refresh(limit: number): number {
    return this.#db
      .transaction(() => {
        const hours = this.#db
          .prepare<[number], { hour: number }>('SELECT hour FROM dirty_hours ORDER BY hour DESC LIMIT ?')
          .all(limit)
        for (const { hour } of hours) this.#recompute(hour)
        return hours.length
      })
      .immediate()
  }

  #recompute(hour: number): void {
    this.#db.prepare('DELETE FROM fleet_hours WHERE hour = ?').run(hour)
    this.#db
      .prepare(
        `INSERT INTO fleet_hours
         SELECT @hour, model, max(devices), sum(uptime), sum(listening), sum(active), sum(wakes), sum(openings),
           sum(confirmed), sum(rejected), sum(energy), sum(radio) FROM (
             SELECT cur.model AS model, count(DISTINCT cur.device) AS devices,
               sum(cur.uptime_ms - coalesce(pre.uptime_ms, 0)) AS uptime,
               sum(cur.listening_ms - coalesce(pre.listening_ms, 0)) AS listening,
               sum(cur.active_ms - coalesce(pre.active_ms, 0)) AS active,
               sum(cur.wakes - coalesce(pre.wakes, 0)) AS wakes,
               sum(cur.gate_openings - coalesce(pre.gate_openings, 0)) AS openings,
               0 AS confirmed, 0 AS rejected,
               sum(cur.energy_mj - coalesce(pre.energy_mj, 0)) AS energy,
               sum(cur.radio_bytes - coalesce(pre.radio_bytes, 0)) AS radio
             FROM device_hours cur LEFT JOIN device_hours pre
               ON pre.device = cur.device AND pre.boot = cur.boot AND pre.hour =
                 (SELECT max(hour) FROM device_hours WHERE device = cur.device AND boot = cur.boot AND hour < cur.hour)
             WHERE cur.hour = @hour GROUP BY cur.model
             UNION ALL
             SELECT model, 0, 0, 0, 0, 0, 0, sum(confirmed), sum(rejected), 0, 0 FROM verdicts WHERE hour = @hour GROUP BY model
           ) GROUP BY model`,
      )
      .run({ hour })
    this.#db.prepare('DELETE FROM dirty_hours WHERE hour = ?').run(hour)
  }

  /** Hours in [from, to), oldest first. */
  hours(from: number, to: number): readonly FleetHour[] {
    return this.#db
      .prepare<[number, number], FleetHour>(
        `SELECT hour, model, devices, uptime_ms AS uptimeMs, listening_ms AS listeningMs, active_ms AS activeMs, wakes,
           gate_openings AS gateOpenings, confirmed, rejected, energy_mj AS energyMj, radio_bytes AS radioBytes
         FROM fleet_hours WHERE hour >= ? AND hour < ? ORDER BY hour, model`,
      )
      .all(from, to)
  }

  /** Exact sums of every counter over all boots of all devices. Reads every boot: for audits, not for dashboards. */
  counters(): FleetCounters {
    const one = <Row>(sql: string): Row => present(this.#db.prepare<[], Row>(sql).get(), 'the row of an aggregate')
    const { boots, devices } = one<{ boots: number; devices: number }>(
      'SELECT count(*) AS boots, count(DISTINCT device) AS devices FROM boots',
    )
    type Sums = Record<string, number>
    return {
      devices,
      boots,
      counters: one<Sums>(`SELECT ${sums('counters', COUNTER_NAMES)} FROM boots`),
      energyMj: one<Sums>(`SELECT ${sums('energy_mj', ENERGY_NAMES)} FROM boots`),
      levelMs: one<Sums>(`SELECT ${sums('level_ms', LADDER_LEVELS)} FROM boots`),
      verdicts: one<{ confirmed: number; rejected: number }>(
        'SELECT total(confirmed) AS confirmed, total(rejected) AS rejected FROM verdicts',
      ),
    }
  }

  /** Latest report of each device, summarised. */
  present(): { devices: number; batteryPermille: number | null; models: Record<string, number>; levels: number[] } {
    const rows = this.#db
      .prepare<[], { model: string; level: number; n: number; battery: number }>(
        `SELECT b.model, b.level, count(*) AS n, total(b.battery_permille) AS battery FROM boots b
         JOIN (SELECT device, max(boot) AS boot FROM boots GROUP BY device) newest
           ON newest.device = b.device AND newest.boot = b.boot GROUP BY b.model, b.level`,
      )
      .all()
    const models: Record<string, number> = {}
    const levels = LADDER_LEVELS.map(() => 0)
    let devices = 0
    let battery = 0
    for (const row of rows) {
      devices += row.n
      battery += row.battery
      models[row.model] = (models[row.model] ?? 0) + row.n
      levels[row.level] = (levels[row.level] ?? 0) + row.n
    }
    return { devices, batteryPermille: devices === 0 ? null : battery / devices, models, levels }
  }

  /** Newest assignment that the device said it accepted, 0 for none. */
  acceptedSeq(device: number): number {
    const newest = this.#db.prepare<[number], { seq: number | null }>(
      'SELECT max(assignment_seq) AS seq FROM boots WHERE device = ?',
    )
    return newest.get(device)?.seq ?? 0
  }

  /** Newest numbers of one device's boots, newest boot first. */
  deviceBoots(device: number, limit: number): readonly DeviceBoot[] {
    return this.#db
      .prepare<[number, number], Record<string, string | number>>(
        'SELECT * FROM boots WHERE device = ? ORDER BY boot DESC LIMIT ?',
      )
      .all(device, limit)
      .map((row) => ({
        boot: row.boot as number,
        seq: row.seq as number,
        model: row.model as string,
        atMs: row.time_ms as number,
        startedMs: row.started_ms as number,
        slot: row.slot as number,
        level: present(LADDER_LEVELS[row.level as number], 'a level of the ladder'),
        batteryPermille: row.battery_permille as number,
        assignmentSeq: row.assignment_seq as number,
        counters: named(COUNTER_NAMES, row.counters as string),
        energyMj: named(ENERGY_NAMES, row.energy_mj as string),
        levelMs: named(LADDER_LEVELS, row.level_ms as string),
      }))
  }
}

const named = (names: readonly string[], json: string): Record<string, number> => {
  const values = JSON.parse(json) as number[]
  return Object.fromEntries(names.map((name, i) => [name, values[i] ?? 0]))
}

export interface DeviceBoot {
  readonly boot: number
  readonly seq: number
  readonly model: string
  readonly atMs: number
  readonly startedMs: number
  readonly slot: number
  readonly level: string
  readonly batteryPermille: number
  readonly assignmentSeq: number
  readonly counters: Record<string, number>
  readonly energyMj: Record<string, number>
  readonly levelMs: Record<string, number>
}
