import { COUNTER_NAMES, ENERGY_NAMES } from '../../contract/messages.ts'
import { present } from '../../contract/present.ts'
import type { AggregateRow, EventRow, IngestBatch, ReportRow, VerdictRow } from '../../contract/uplink.ts'
import type { SqliteDatabase, Statement } from './database.ts'
import type { DeviceKeyRecord, IdentityStore } from './identity-store.ts'

export const HOUR_MS = 3_600_000
/** Number of an hour since the epoch, as the tables name it. */
export const hourIndex = (ms: number): number => Math.floor(ms / HOUR_MS)
/** Unix ms at which the hour of a moment began. */
export const hourStartMs = (ms: number): number => hourIndex(ms) * HOUR_MS

/** chosen: a device's clock may be ahead of the gateway's by this much and still be believed */
const AHEAD_MS_MAX = 5 * 60_000
/** chosen: a report may wait this long in a device's store-and-forward queue */
const BEHIND_MS_MAX = 7 * 24 * HOUR_MS

/** When a row happened: by the device's own clock where that is plausible against the time of receipt (a report that waited
 *  out an outage belongs to the hour it tells of), else by the time of receipt (clocks are wrong by years, or absent). */
export function rowTime(wallMs: number, receivedMs: number): number {
  return wallMs <= receivedMs + AHEAD_MS_MAX && wallMs >= receivedMs - BEHIND_MS_MAX ? wallMs : receivedMs
}

const GATED = (table: string): string => `WHERE excluded.seq > ${table}.seq`

const SQL = {
  device: 'SELECT id FROM devices WHERE name = ?',
  addDevice: "INSERT INTO devices (name, site, board) VALUES (?, ?, '')",
  seen: 'UPDATE devices SET last_seen_ms = max(last_seen_ms, ?) WHERE id = ?',
  report: `INSERT INTO reports (device, boot, seq, time_ms, received_ms, body) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET time_ms = excluded.time_ms, received_ms = excluded.received_ms, body = excluded.body
    WHERE (excluded.received_ms, excluded.body) < (received_ms, body)`,
  boot: `INSERT INTO boots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET seq = excluded.seq, model = excluded.model, time_ms = excluded.time_ms,
      started_ms = excluded.started_ms, listening_ms = excluded.listening_ms, slot = excluded.slot, level = excluded.level,
      battery_permille = excluded.battery_permille, assignment_seq = excluded.assignment_seq, counters = excluded.counters,
      level_ms = excluded.level_ms, energy_mj = excluded.energy_mj, posterior_bins = excluded.posterior_bins,
      noise_bins = excluded.noise_bins ${GATED('boots')}`,
  hour: `INSERT INTO device_hours VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET seq = excluded.seq, model = excluded.model, time_ms = excluded.time_ms,
      uptime_ms = excluded.uptime_ms, listening_ms = excluded.listening_ms, active_ms = excluded.active_ms,
      wakes = excluded.wakes, gate_openings = excluded.gate_openings, energy_mj = excluded.energy_mj,
      radio_bytes = excluded.radio_bytes, noise_bins = excluded.noise_bins ${GATED('device_hours')}`,
  nextHour: 'SELECT min(hour) AS hour FROM device_hours WHERE device = ? AND boot = ? AND hour > ?',
  dirtyHour: 'INSERT INTO dirty_hours (hour) VALUES (?) ON CONFLICT DO NOTHING',
  verdict: `INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET confirmed = max(confirmed, excluded.confirmed), rejected = max(rejected, excluded.rejected)
    WHERE excluded.confirmed > confirmed OR excluded.rejected > rejected`,
  // What was made up cannot keep out what the device signed.
  event: `INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET time_ms = excluded.time_ms, received_ms = excluded.received_ms, code = excluded.code,
      model = excluded.model, error = excluded.error, detail = excluded.detail, assignment_seq = excluded.assignment_seq,
      attested = 1 WHERE excluded.attested = 1 AND events.attested IS NOT 1`,
  aggregate: `INSERT INTO aggregates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET revision = excluded.revision, listening_ms = excluded.listening_ms,
      active_ms = excluded.active_ms, wakes = excluded.wakes, gate_openings = excluded.gate_openings,
      confirmed = excluded.confirmed, rejected = excluded.rejected, energy_mj = excluded.energy_mj,
      radio_bytes = excluded.radio_bytes WHERE excluded.revision > aggregates.revision`,
} as const

/** Whether an event is the device's own word, given all keys that the device ever had. 1: it is. 0: it has a key, and this is not signed by
 *  it. null: it never had one. The store keeps the answer and verifies nothing itself. */
export type Attest = (row: EventRow, keys: readonly DeviceKeyRecord[]) => 0 | 1 | null

/** What an ingest changed; rows seen before change nothing. */
export type IngestOutcome = Readonly<Record<'reports' | 'verdicts' | 'events' | 'aggregates', number>>

/** Upserts of what gateways send. Every table is a join over its rows (the report with the highest number, the larger count,
 *  the higher revision), so batches may come any number of times, in any order, through any gateway.
 */
export class TelemetryStore {
  readonly #db: SqliteDatabase
  readonly #identities: IdentityStore
  readonly #run: { readonly [K in keyof typeof SQL]: Statement<unknown[]> }
  /** at most one entry a device */
  readonly #ids = new Map<string, number>()

  constructor(db: SqliteDatabase, identities: IdentityStore) {
    this.#db = db
    this.#identities = identities
    this.#run = Object.fromEntries(Object.entries(SQL).map(([name, sql]) => [name, db.prepare(sql)])) as never
  }

  /** Stores a validated batch in one transaction.
   *  @param attest asked in it, so that it sees the keys as they are then */
  ingest(batch: IngestBatch, attest: Attest): IngestOutcome {
    const outcome = { reports: 0, verdicts: 0, events: 0, aggregates: 0 }
    const work = this.#db.transaction(() => {
      for (const row of batch.reports) outcome.reports += this.#report(row)
      for (const row of batch.verdicts) outcome.verdicts += this.#verdict(row)
      for (const row of batch.events) outcome.events += this.#event(row, attest)
      for (const row of batch.aggregates) outcome.aggregates += this.#aggregate(batch.gateway, row)
    })
    try {
      work.immediate()
    } catch (cause) {
      // A transaction that fails takes its new devices with it.
      this.#ids.clear()
      throw cause
    }
    return outcome
  }

  /** The name belongs to another row from now on, or to none. */
  forget(name: string): void {
    this.#ids.delete(name)
  }

  #device(name: string, site: string): number {
    const cached = this.#ids.get(name)
    if (cached !== undefined) return cached
    const found = this.#run.device.get(name) as { id: number } | undefined
    const id = found?.id ?? Number(this.#run.addDevice.run(name, site).lastInsertRowid)
    this.#ids.set(name, id)
    return id
  }

  #report(row: ReportRow): number {
    const device = this.#device(row.device, row.site)
    const time = rowTime(row.wallMs, row.receivedMs)
    const c = row.counters
    const counters = JSON.stringify(c)
    const levels = JSON.stringify(row.levelMs)
    const energy = JSON.stringify(row.energyMj)
    const posterior = JSON.stringify(row.posteriorBins)
    const noise = JSON.stringify(row.noiseBins)
    const { receivedMs, site: _, device: __, boot, seq, ...body } = row
    const raw = this.#run.report.run(device, boot, seq, time, receivedMs, JSON.stringify(body))
    if (raw.changes === 0) return 0
    this.#run.seen.run(receivedMs, device)
    const started = Math.max(0, time - row.uptimeMs)
    const counter = (name: (typeof COUNTER_NAMES)[number]): number => present(c[COUNTER_NAMES.indexOf(name)], name)
    const listening = counter('listeningMs')
    this.#run.boot.run(
      ...[device, boot, seq, row.model, time, started, listening, row.slot, row.level, row.batteryPermille],
      ...[row.assignmentSeq, counters, levels, energy, posterior, noise],
    )
    const hour = hourIndex(time)
    const energyMj = row.energyMj.slice(0, ENERGY_NAMES.length).reduce((sum, value) => sum + value, 0)
    this.#run.hour.run(
      ...[device, boot, hour, seq, row.model, time, row.uptimeMs, listening, counter('activeMs'), counter('wakes')],
      ...[counter('gateOpenings'), energyMj, counter('radioRxBytes') + counter('radioTxBytes'), noise],
    )
    this.#run.dirtyHour.run(hour)
    // A late report also changes the difference that the boot's next hour stands for.
    const next = (this.#run.nextHour.get(device, boot, hour) as { hour: number | null }).hour
    if (next !== null) this.#run.dirtyHour.run(next)
    return 1
  }

  #verdict(row: VerdictRow): number {
    const device = this.#device(row.device, row.site)
    const hour = hourIndex(row.hourMs)
    const { changes } = this.#run.verdict.run(device, row.boot, hour, row.model, row.confirmed, row.rejected)
    if (changes > 0) this.#run.dirtyHour.run(hour)
    return changes
  }

  #event(row: EventRow, attest: Attest): number {
    const device = this.#device(row.device, row.site)
    const { changes } = this.#run.event.run(
      ...[device, row.boot, row.seq, rowTime(row.wallMs, row.receivedMs), row.receivedMs, row.code],
      ...[row.model ?? null, row.error ?? null, row.detail ?? null, row.assignmentSeq ?? null],
      attest(row, this.#identities.keysOf(device)),
    )
    if (changes > 0) this.#run.seen.run(row.receivedMs, device)
    return changes
  }

  #aggregate(gateway: string, row: AggregateRow): number {
    return this.#run.aggregate.run(
      ...[gateway, row.hourMs, row.model, row.board, row.site, row.rollout, row.stage, row.arm, row.revision],
      ...[row.listeningMs, row.activeMs, row.wakes, row.gateOpenings, row.confirmed, row.rejected],
      ...[row.energyMj, row.radioBytes],
    ).changes
  }
}
