import { LADDER_LEVELS } from '../../contract/ladder-levels.ts'
import { COUNTER_NAMES, ENERGY_NAMES } from '../../contract/messages.ts'
import { present } from '../../contract/present.ts'
import { BOOTS, HOUR_MS } from './boot-timeline.ts'
import type { SqliteDatabase } from './database.ts'
import { HELD_OUT_SQL } from './gateway-store.ts'
import type { Verdicts } from './outcome-store.ts'
import { completeSlots, SLOT_COLUMNS, type SlotPoint } from './slot-points.ts'

/** Sums over devices of one model in one hour, of the slots whose middle lies in it and that are known to their end: what was counted in
 *  them, and the verdicts of the wakes in them. So numerators and denominators are of the same time; an hour fills up until an hour
 *  and a half after it, or later where reports do. */
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
  /** wakes that the verifier could not judge */
  readonly unjudged: number
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
  readonly verdicts: { readonly confirmed: number; readonly rejected: number; readonly unjudged: number }
}

/** What a model's devices have counted, contract/signals.ts. */
export interface SignalSums {
  /** of the same devices and hours */
  readonly listeningMs: number
  readonly signals: readonly number[]
  readonly verdicts: ReadonlyMap<number, FleetCounters['verdicts']>
}

const sums = (column: string, names: readonly string[]): string =>
  names.map((name, i) => `total(json_extract(${column}, '$[${i}]')) AS "${name}"`).join(', ')

/** Devices that are held out are in no sum of the fleet. */
const COUNTED = (table: string): string => `NOT ${HELD_OUT_SQL(`${table}.device`)}`

/** Fleet-wide sums: by hour and model (kept, recomputed where something changed), and overall. */
export class FleetStore {
  readonly #db: SqliteDatabase
  readonly #bootsOf
  readonly #around
  readonly #verdicts
  readonly #write
  readonly #mark
  /** hours that were marked since `begin` */
  #again: Set<number> | undefined

  constructor(db: SqliteDatabase) {
    this.#db = db
    this.#mark = db.prepare<[number]>('INSERT INTO dirty_hours (hour) VALUES (?) ON CONFLICT DO NOTHING')
    this.#bootsOf = db.prepare<[{ hour: number }], BootOfHour>(
      `SELECT device, boot, model, base_hour FROM boots WHERE last_hour > @hour AND base_hour <= @hour
         AND ${COUNTED('boots')}`,
    )
    const reports = 'FROM device_hours WHERE device = @device AND boot = @boot'
    this.#around = db.prepare<[BootOfHour & { slot: number }], SlotPoint>(
      `SELECT uptime_ms, received_ms, ${SLOT_COLUMNS.join(', ')} ${reports}
         AND slot >= coalesce((SELECT max(slot) ${reports} AND slot < @slot), 0)
         AND slot <= (SELECT min(slot) ${reports} AND slot > @slot) ORDER BY slot`,
    )
    this.#verdicts = db.prepare<[BootOfHour & { slot: number }], Verdicts>(
      `SELECT total(confirmed) AS confirmed, total(rejected) AS rejected, total(unjudged) AS unjudged FROM verdicts
       WHERE device = @device AND boot = @boot AND slot = @slot AND model = @model`,
    )
    this.#write = db.prepare('INSERT INTO fleet_hours VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
  }

  /** Recomputes the hours that changed. @param limit hours a call; the rest waits for the next. @returns how many */
  refresh(limit: number): number {
    return this.#db
      .transaction(() => {
        const hours = this.#marked(limit)
        for (const hour of hours) this.#put(hour, this.sums(hour))
        return hours.length
      })
      .immediate()
  }

  #marked(limit: number): readonly number[] {
    const marked = this.#db.prepare<[number], number>('SELECT hour FROM dirty_hours ORDER BY hour DESC LIMIT ?').pluck()
    return marked.all(limit)
  }

  /** Hours that changed, to be summed by who reads beside; from now on it is noted which of them change again.
   *  @param limit at most so many, the newest */
  begin(limit: number): readonly number[] {
    if (this.#again === undefined) {
      const again = new Set<number>()
      this.#db.function('hour_marked', (hour: unknown) => {
        again.add(Number(hour))
        return null
      })
      // Before, since one that is marked already is not inserted again.
      this.#db.exec(
        'CREATE TRIGGER temp.hour_marked BEFORE INSERT ON main.dirty_hours BEGIN SELECT hour_marked(NEW.hour); END',
      )
      this.#again = again
    }
    this.#again.clear()
    return this.#marked(limit)
  }

  /** Stores what was summed beside. An hour that has changed since is summed again. */
  end(hour: number, sums: readonly FleetHour[]): void {
    const stays = this.#again?.has(hour) ?? false
    this.#db
      .transaction(() => {
        this.#put(hour, sums)
        if (stays) this.#mark.run(hour)
      })
      .immediate()
  }

  #put(hour: number, sums: readonly FleetHour[]): void {
    this.#db.prepare('DELETE FROM fleet_hours WHERE hour = ?').run(hour)
    for (const { model, devices, uptimeMs, listeningMs, activeMs, wakes, gateOpenings, ...rest } of sums) {
      const { confirmed, rejected, energyMj, radioBytes, unjudged } = rest
      this.#write.run(
        ...[hour, model, devices, uptimeMs, listeningMs, activeMs, wakes, gateOpenings],
        ...[confirmed, rejected, energyMj, radioBytes, unjudged],
      )
    }
    this.#db.prepare('DELETE FROM dirty_hours WHERE hour = ?').run(hour)
  }

  /** Sums of an hour, from the devices' own rows. */
  sums(hour: number): readonly FleetHour[] {
    const models = new Map<string, HourSums>()
    for (const boot of this.#bootsOf.all({ hour })) {
      const slot = hour - boot.base_hour
      const [known] = completeSlots(this.#around.all({ ...boot, slot }), slot, slot + 1)
      if (known === undefined) continue
      let sums = models.get(boot.model)
      if (sums === undefined) {
        sums = {
          devices: new Set(),
          slots: 0,
          values: SLOT_COLUMNS.map(() => 0),
          confirmed: 0,
          rejected: 0,
          unjudged: 0,
        }
        models.set(boot.model, sums)
      }
      sums.devices.add(boot.device)
      sums.slots++
      for (const [i, name] of SLOT_COLUMNS.entries()) sums.values[i] = (sums.values[i] ?? 0) + known.values[name]
      const verdicts = present(this.#verdicts.get({ ...boot, slot }), 'the row of an aggregate')
      sums.confirmed += verdicts.confirmed
      sums.rejected += verdicts.rejected
      sums.unjudged += verdicts.unjudged
    }
    return [...models].map(([model, { devices, slots, values, ...verdicts }]) => {
      const [listeningMs = 0, activeMs = 0, wakes = 0, gateOpenings = 0, energyMj = 0, radioBytes = 0] = values.map(
        Math.round,
      )
      const { confirmed, rejected, unjudged } = verdicts
      // Interpolation puts parts of a wake into the slots beside its own; what was judged in this one has happened in it.
      const heard = Math.max(wakes, confirmed + rejected + unjudged)
      return {
        ...{ hour, model, devices: devices.size, uptimeMs: slots * HOUR_MS, listeningMs, activeMs, wakes: heard },
        ...{ gateOpenings, energyMj, radioBytes, ...verdicts },
      }
    })
  }

  /** Hours in [from, to), oldest first. */
  hours(from: number, to: number): readonly FleetHour[] {
    return this.#db
      .prepare<[number, number], FleetHour>(
        `SELECT hour, model, devices, uptime_ms AS uptimeMs, listening_ms AS listeningMs, active_ms AS activeMs, wakes,
           gate_openings AS gateOpenings, confirmed, rejected, unjudged, energy_mj AS energyMj, radio_bytes AS radioBytes
         FROM fleet_hours WHERE hour >= ? AND hour < ? ORDER BY hour, model`,
      )
      .all(from, to)
  }

  /** What a model's devices have counted in the hours from `sinceMs` on, as gateways add it up.
   *  @param model first 8 bytes of its hash, hex
   *  @returns the longest list of signals; `verdicts` by pipeline */
  signalSums(model: string, sinceMs: number): SignalSums {
    const signals: number[] = []
    let listeningMs = 0
    const rows = this.#db.prepare<[string, number], { listeningMs: number; signals: string | null }>(
      `SELECT listening_ms AS listeningMs, signals FROM aggregates WHERE model = ? AND hour_ms >= ?
         AND gateway NOT IN (SELECT name FROM gateways WHERE quarantined_ms IS NOT NULL)`,
    )
    for (const row of rows.iterate(model, sinceMs)) {
      listeningMs += row.listeningMs
      if (row.signals === null) continue
      for (const [i, value] of (JSON.parse(row.signals) as number[]).entries()) signals[i] = (signals[i] ?? 0) + value
    }
    const verdicts = this.#db
      .prepare<[string, number], Verdicts & { pipeline: number }>(
        `SELECT pipeline, total(confirmed) AS confirmed, total(rejected) AS rejected, total(unjudged) AS unjudged FROM verdicts
         WHERE model = ? AND hour >= ? AND ${COUNTED('verdicts')} GROUP BY pipeline`,
      )
      .all(model, Math.ceil(sinceMs / HOUR_MS))
    return { listeningMs, signals, verdicts: new Map(verdicts.map(({ pipeline, ...sums }) => [pipeline, sums])) }
  }

  /** Exact sums of every counter over all boots of all devices. Reads every boot: for audits, not for dashboards. */
  counters(): FleetCounters {
    const one = <Row>(sql: string): Row => present(this.#db.prepare<[], Row>(sql).get(), 'the row of an aggregate')
    const { boots, devices } = one<{ boots: number; devices: number }>(
      `SELECT count(*) AS boots, count(DISTINCT device) AS devices FROM boots WHERE ${COUNTED('boots')}`,
    )
    type Sums = Record<string, number>
    return {
      devices,
      boots,
      counters: one<Sums>(`SELECT ${sums('counters', COUNTER_NAMES)} FROM boots WHERE ${COUNTED('boots')}`),
      energyMj: one<Sums>(`SELECT ${sums('energy_mj', ENERGY_NAMES)} FROM boots WHERE ${COUNTED('boots')}`),
      levelMs: one<Sums>(`SELECT ${sums('level_ms', LADDER_LEVELS)} FROM boots WHERE ${COUNTED('boots')}`),
      verdicts: one<Verdicts>(
        `SELECT total(confirmed) AS confirmed, total(rejected) AS rejected, total(unjudged) AS unjudged FROM verdicts
         WHERE ${COUNTED('verdicts')}`,
      ),
    }
  }

  /** Latest report of each device that is not removed, summarised. @param family only of those that follow it */
  present(family?: string): {
    devices: number
    batteryPermille: number | null
    models: Record<string, number>
    levels: number[]
  } {
    const rows = this.#db
      .prepare<[{ family: string | null }], { model: string; level: number; n: number; battery: number }>(
        `SELECT b.model, b.level, count(*) AS n, total(b.battery_permille) AS battery FROM devices d
         CROSS JOIN boots b ON b.device = d.id AND b.boot = (SELECT max(boot) FROM boots WHERE device = d.id)
         WHERE d.removed_ms IS NULL AND (@family IS NULL OR d.family = @family) AND ${COUNTED('b')}
         GROUP BY b.model, b.level`,
      )
      .all({ family: family ?? null })
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
        `SELECT boots.*, incarnation FROM boots JOIN incarnations ON incarnations.device = boots.device
           AND incarnations.ordinal = boots.boot / ${BOOTS} WHERE boots.device = ? ORDER BY boot DESC LIMIT ?`,
      )
      .all(device, limit)
      .map((row) => ({
        incarnation: row.incarnation as number,
        boot: (row.boot as number) % BOOTS,
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

interface BootOfHour {
  readonly device: number
  readonly boot: number
  readonly model: string
  readonly base_hour: number
}
interface HourSums extends Record<keyof Verdicts, number> {
  readonly devices: Set<number>
  slots: number
  /** of SLOT_COLUMNS */
  readonly values: number[]
}

const named = (names: readonly string[], json: string): Record<string, number> => {
  const values = JSON.parse(json) as number[]
  return Object.fromEntries(names.map((name, i) => [name, values[i] ?? 0]))
}

export interface DeviceBoot {
  /** 0: of a device that does not say */
  readonly incarnation: number
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
