import { hexToBytes } from '../../contract/bytes.ts'
import { COUNTER_NAMES, ENERGY_NAMES } from '../../contract/messages.ts'
import { present } from '../../contract/present.ts'
import {
  type AggregateRow,
  type EventRow,
  type IngestBatch,
  type ReportRow,
  UPTIME_MS_MAX,
  type VerdictRow,
} from '../../contract/uplink.ts'
import { BootTimeline, baseHour, believedReceiptMs, HOUR_MS } from './boot-timeline.ts'
import type { SqliteDatabase, Statement } from './database.ts'
import type { DeviceKeyRecord, IdentityStore } from './identity-store.ts'
import { GAP_MS_MAX } from './slot-points.ts'
import { WakeBounds } from './wake-bounds.ts'

export { HOUR_MS } from './boot-timeline.ts'

/** Number of an hour since the epoch, as the tables name it. */
export const hourIndex = (ms: number): number => Math.floor(ms / HOUR_MS)
/** Unix ms at which the hour of a moment began. */
export const hourStartMs = (ms: number): number => hourIndex(ms) * HOUR_MS

/** chosen: a gap of more than a fortnight ago says no more how long a device may be silent */
const GAP_REMEMBERED_MS = 14 * 24 * HOUR_MS
/** chosen: hours on either side of a report whose sums follow from it; a report that waited longer is late anyway */
const TOUCHED_HOURS_MAX = GAP_MS_MAX / HOUR_MS

const GATED = (table: string): string => `WHERE excluded.seq > ${table}.seq`

const SQL = {
  device: 'SELECT id FROM devices WHERE name = ? AND enrolled_ms IS NOT NULL',
  seen: `UPDATE devices SET last_seen_ms = @at,
      gap_ms = iif(last_seen_ms > 0 AND (@at - last_seen_ms > gap_ms OR @at - gap_at_ms > @remembered), @at - last_seen_ms, gap_ms),
      gap_at_ms = iif(last_seen_ms > 0 AND (@at - last_seen_ms > gap_ms OR @at - gap_at_ms > @remembered), @at, gap_at_ms)
    WHERE id = @device AND last_seen_ms < @at`,
  // What is signed cannot be kept out by what was made up before the device was known to sign.
  report: `INSERT INTO reports (device, boot, seq, time_ms, received_ms, body, wake_link) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET time_ms = excluded.time_ms, received_ms = excluded.received_ms, body = excluded.body,
      wake_link = excluded.wake_link
    WHERE (excluded.wake_link IS NULL, excluded.received_ms, excluded.body) < (wake_link IS NULL, received_ms, body)`,
  boot: `INSERT INTO boots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET seq = excluded.seq, model = excluded.model, time_ms = excluded.time_ms,
      started_ms = excluded.started_ms, uptime_ms = excluded.uptime_ms, base_hour = excluded.base_hour,
      last_hour = excluded.last_hour, listening_ms = excluded.listening_ms, slot = excluded.slot, level = excluded.level,
      battery_permille = excluded.battery_permille, assignment_seq = excluded.assignment_seq, counters = excluded.counters,
      level_ms = excluded.level_ms, energy_mj = excluded.energy_mj, posterior_bins = excluded.posterior_bins,
      noise_bins = excluded.noise_bins ${GATED('boots')}`,
  hour: `INSERT INTO device_hours VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET seq = excluded.seq, model = excluded.model, received_ms = excluded.received_ms,
      uptime_ms = excluded.uptime_ms, listening_ms = excluded.listening_ms, active_ms = excluded.active_ms,
      wakes = excluded.wakes, gate_openings = excluded.gate_openings, energy_mj = excluded.energy_mj,
      radio_bytes = excluded.radio_bytes, overruns = excluded.overruns, inferences = excluded.inferences,
      inference_ms = excluded.inference_ms, noise_bins = excluded.noise_bins, signals = excluded.signals ${GATED('device_hours')}
      OR (excluded.seq = device_hours.seq AND excluded.received_ms < device_hours.received_ms)`,
  verdict: `INSERT INTO verdicts (device, boot, slot, model, pipeline, gateway, hour, confirmed, rejected, unjudged, revision)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET confirmed = excluded.confirmed, rejected = excluded.rejected, unjudged = excluded.unjudged,
      revision = excluded.revision WHERE excluded.revision > verdicts.revision`,
  dropVerdict: 'DELETE FROM verdicts WHERE device = ? AND boot = ? AND gateway = ?',
  // What was made up cannot keep out what the device signed.
  event: `INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET time_ms = excluded.time_ms, uptime_ms = excluded.uptime_ms, received_ms = excluded.received_ms, code = excluded.code,
      model = excluded.model, error = excluded.error, detail = excluded.detail, assignment_seq = excluded.assignment_seq,
      attested = 1 WHERE excluded.attested = 1 AND events.attested IS NOT 1`,
  aggregate: `INSERT INTO aggregates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET revision = excluded.revision, listening_ms = excluded.listening_ms,
      active_ms = excluded.active_ms, wakes = excluded.wakes, gate_openings = excluded.gate_openings,
      confirmed = excluded.confirmed, rejected = excluded.rejected, energy_mj = excluded.energy_mj,
      radio_bytes = excluded.radio_bytes, unjudged = excluded.unjudged, signals = excluded.signals WHERE excluded.revision > aggregates.revision`,
} as const

/** Whether an event or a report is the device's own word, given all keys that the device ever had. 1: it is. 0: it has a key, and this is not
 *  signed by it. null: it never had one. The store keeps the answer and verifies nothing itself. */
export type Attest = (row: EventRow | ReportRow, keys: readonly DeviceKeyRecord[]) => 0 | 1 | null

/** What an ingest changed; rows seen before change nothing. `late`: reports and events of it that were received more than GAP_MS_MAX after
 *  they were made. `contradicted`: reports that say something else than their device has signed, or come without the signature of a device
 *  that signs; they are refused. `beyond`: verdicts on more wakes than the device signed to have sent, refused or dropped again. */
export type IngestOutcome = Readonly<
  Record<'reports' | 'verdicts' | 'events' | 'aggregates' | 'late' | 'contradicted' | 'beyond', number>
>

/** What one ingest has to remember until its end. */
interface Ingesting {
  /** the cloud's time, Unix ms */
  readonly nowMs: number
  /** believed times of receipt by device */
  readonly contacts: Map<number, number[]>
  /** messages that changed something, which may turn out to be late once the whole batch has said when their boots began */
  readonly told: {
    readonly device: number
    readonly boot: number
    readonly uptimeMs: number
    readonly receivedMs: number
  }[]
  /** verdicts of before that turned out to be too many */
  dropped: number
}

/** Upserts of what gateways send, of devices that are enrolled. Every table is a join over its rows (the report with the highest number, the
 *  higher revision, the earliest start of a boot), so batches may come any number of times, in any order, through any gateway.
 */
export class TelemetryStore {
  readonly #db: SqliteDatabase
  readonly #identities: IdentityStore
  readonly #timeline: BootTimeline
  readonly #bounds: WakeBounds
  readonly #run: { readonly [K in keyof typeof SQL]: Statement<unknown[]> }
  readonly #neighbours: Statement<
    [{ device: number; boot: number; slot: number }],
    { low: number | null; high: number | null }
  >
  readonly #hourly: Statement<[number, number, string, string], HourlyVerdict>
  /** at most one entry a device */
  readonly #ids = new Map<string, number>()

  constructor(db: SqliteDatabase, identities: IdentityStore) {
    this.#db = db
    this.#identities = identities
    this.#timeline = new BootTimeline(db)
    this.#bounds = new WakeBounds(db)
    this.#run = Object.fromEntries(Object.entries(SQL).map(([name, sql]) => [name, db.prepare(sql)])) as never
    this.#neighbours = db.prepare(
      `SELECT (SELECT max(slot) FROM device_hours WHERE device = @device AND boot = @boot AND slot < @slot) AS low,
         (SELECT min(slot) FROM device_hours WHERE device = @device AND boot = @boot AND slot > @slot) AS high`,
    )
    this.#hourly = db.prepare(
      `SELECT gateway, hour, confirmed, rejected, unjudged, revision FROM verdicts
       WHERE device = ? AND boot = ? AND gateway IN (?, ?) ORDER BY length(gateway) DESC LIMIT 1`,
    )
  }

  /** Stores a validated batch in one transaction.
   *  @param attest asked in it, so that it sees the keys as they are then
   *  @param nowMs the cloud's time, Unix ms, for rows whose gateway does not know it; without it the newest time of the rows is taken for it */
  ingest(batch: IngestBatch, attest: Attest, nowMs?: number): IngestOutcome {
    const outcome = { reports: 0, verdicts: 0, events: 0, aggregates: 0, late: 0, contradicted: 0, beyond: 0 }
    const times = [...batch.reports, ...batch.events].map(({ receivedMs }) => receivedMs)
    const newestMs = [...times, ...batch.verdicts.map(({ hourMs = 0 }) => hourMs)].reduce((a, b) => Math.max(a, b), 0)
    const work = this.#db.transaction(() => {
      const ingesting: Ingesting = { nowMs: nowMs ?? newestMs, contacts: new Map(), told: [], dropped: 0 }
      for (const row of batch.reports) {
        const changed = this.#report(row, attest, ingesting)
        if (changed === 'contradicted') outcome.contradicted++
        else outcome.reports += changed
      }
      for (const row of batch.verdicts) {
        const changed = this.#verdict(batch.gateway, row, ingesting)
        if (changed === 'beyond') outcome.beyond++
        else outcome.verdicts += changed
      }
      outcome.beyond += ingesting.dropped
      for (const row of batch.events) outcome.events += this.#event(row, attest, ingesting)
      for (const row of batch.aggregates) outcome.aggregates += this.#aggregate(batch.gateway, row)
      this.#seen(ingesting.contacts)
      outcome.late = this.#countLate(ingesting.told)
    })
    try {
      work.immediate()
    } catch (cause) {
      // A transaction that fails takes its new devices with it.
      this.#ids.clear()
      this.#timeline.reset()
      throw cause
    }
    return outcome
  }

  /** The name belongs to another row from now on, or to none. */
  forget(name: string): void {
    this.#ids.delete(name)
  }

  /** @returns undefined: not enrolled. A gateway makes no devices */
  #device(name: string): number | undefined {
    const cached = this.#ids.get(name)
    if (cached !== undefined) return cached
    const found = this.#run.device.get(name) as { id: number } | undefined
    if (found !== undefined) this.#ids.set(name, found.id)
    return found?.id
  }

  #report(row: ReportRow, attest: Attest, ingesting: Ingesting): number | 'contradicted' {
    // Of no device that lives: it would put its boot before everything.
    if (row.uptimeMs > UPTIME_MS_MAX) return 0
    const device = this.#device(row.device)
    if (device === undefined) return 0
    const keys = this.#identities.keysOf(device)
    const attested = attest(row, keys)
    const signs = keys.some(({ state, signsReports }) => signsReports === 1 && state !== 'revoked')
    // Of firmware that signs no reports yet they are taken at the gateway's word.
    if (attested === 0 && (signs || row.signed !== undefined)) return 'contradicted'
    if (attested === 1) this.#identities.noteSignedReport(device)
    const { receivedMs: _, site: __, device: ___, boot: number, incarnation = 0, seq, ...said } = row
    const { signed: ____, wakeLink, ...body } = said
    const boot = this.#timeline.boot(device, incarnation, number)
    if (boot === undefined) return 0
    const receivedMs = believedReceiptMs(row.receivedMs, ingesting.nowMs)
    const text = JSON.stringify(body)
    const raw = this.#run.report.run(
      ...[device, boot, seq, receivedMs, receivedMs, text],
      attested === 1 && wakeLink !== undefined ? hexToBytes(wakeLink) : null,
    )
    if (raw.changes === 0) return 0
    const { uptimeMs, counters: c } = row
    contact(ingesting.contacts, device, receivedMs)
    ingesting.told.push({ device, boot, uptimeMs, receivedMs })
    const started = this.#timeline.observe(device, boot, receivedMs, uptimeMs)
    const counter = (name: (typeof COUNTER_NAMES)[number]): number => present(c[COUNTER_NAMES.indexOf(name)], name)
    const listening = counter('listeningMs')
    const noise = JSON.stringify(row.noiseBins)
    const base = baseHour(started)
    const slot = Math.floor(uptimeMs / HOUR_MS)
    this.#run.boot.run(
      ...[device, boot, seq, row.model, started + uptimeMs, started, uptimeMs, base, base + slot, listening, row.slot],
      ...[row.level, row.batteryPermille, row.assignmentSeq, JSON.stringify(c), JSON.stringify(row.levelMs)],
      ...[JSON.stringify(row.energyMj), JSON.stringify(row.posteriorBins), noise],
    )
    const energyMj = row.energyMj.slice(0, ENERGY_NAMES.length).reduce((sum, value) => sum + value, 0)
    this.#run.hour.run(
      ...[device, boot, slot, base + slot, seq, row.model, receivedMs, uptimeMs, listening, counter('activeMs')],
      ...[counter('wakes'), counter('gateOpenings'), energyMj, counter('radioRxBytes') + counter('radioTxBytes')],
      ...[counter('overruns'), counter('inferences'), row.inferenceMs ?? 0, noise],
      row.signals === undefined ? null : JSON.stringify(row.signals),
    )
    // It is an end of what is interpolated on both of its sides.
    const { low, high } = present(this.#neighbours.get({ device, boot, slot }), 'the row of an aggregate')
    const from = Math.max(low ?? 0, slot - TOUCHED_HOURS_MAX)
    const to = Math.min(high ?? slot, slot + TOUCHED_HOURS_MAX)
    for (let touched = from; touched <= to; touched++) this.#timeline.dirtyHour(base + touched)
    if (attested !== 1) return 1
    for (const { hour } of this.#bounds.enforce(device, boot, uptimeMs)) {
      ingesting.dropped++
      if (hour !== null) this.#timeline.dirtyHour(hour)
    }
    return 1
  }

  #verdict(gateway: string, row: VerdictRow, ingesting: Ingesting): number | 'beyond' {
    const device = this.#device(row.device)
    if (device === undefined) return 0
    const boot = this.#timeline.boot(device, row.incarnation ?? 0, row.boot)
    if (boot === undefined) return 0
    const { slot, model, pipeline = 0, confirmed, rejected, unjudged = 0 } = row
    const verdicts = confirmed + rejected + unjudged
    if (!this.#bounds.allows({ device, boot, slot, gateway, model, pipeline, verdicts })) return 'beyond'
    const started = this.#timeline.startedMs(device, boot)
    const base = started === undefined ? undefined : baseHour(started)
    if (row.slot === undefined) return this.#hourlyVerdict(device, boot, gateway, row, base, ingesting.nowMs)
    const hour = base === undefined ? null : base + row.slot
    const { changes } = this.#run.verdict.run(
      ...[device, boot, row.slot, model, pipeline, gateway, hour, confirmed, rejected, unjudged],
      revisionOf(row),
    )
    if (changes > 0 && hour !== null) this.#timeline.dirtyHour(hour)
    return changes
  }

  /** The sum of an hour of receipt, from a gateway that knows no slots: it belongs to the slot that the boot was in then. One that was kept
   *  before gateways were told apart is taken over by the first gateway that says it again. */
  #hourlyVerdict(
    device: number,
    boot: number,
    gateway: string,
    row: VerdictRow,
    base: number | undefined,
    nowMs: number,
  ): number {
    const said = hourIndex(row.hourMs ?? 0)
    const nameless = `@${said}`
    const known = this.#hourly.get(device, boot, `${gateway}${nameless}`, nameless)
    const { confirmed, rejected, unjudged = 0 } = row
    const revision = revisionOf(row)
    // Of the same gateway only what it says later; the nameless one is taken over with what is known of it, unless more is said.
    if (known !== undefined && known.gateway !== nameless && revision <= known.revision) return 0
    const kept = known !== undefined && known.revision > revision
    const sums = kept ? [known.confirmed, known.rejected, known.unjudged] : [confirmed, rejected, unjudged]
    const hour = known?.hour ?? hourIndex(believedReceiptMs(row.hourMs ?? 0, nowMs))
    if (known !== undefined) this.#run.dropVerdict.run(device, boot, known.gateway)
    const slot = Math.max(0, hour - (base ?? hour))
    this.#run.verdict.run(
      device,
      boot,
      slot,
      row.model,
      row.pipeline ?? 0,
      `${gateway}${nameless}`,
      hour,
      ...sums,
      kept ? known.revision : revision,
    )
    this.#timeline.dirtyHour(hour)
    return 1
  }

  #event(row: EventRow, attest: Attest, ingesting: Ingesting): number {
    const device = this.#device(row.device)
    if (device === undefined) return 0
    const boot = this.#timeline.boot(device, row.incarnation ?? 0, row.boot)
    if (boot === undefined) return 0
    const receivedMs = believedReceiptMs(row.receivedMs, ingesting.nowMs)
    const uptimeMs = row.uptimeMs === undefined || row.uptimeMs > UPTIME_MS_MAX ? null : row.uptimeMs
    const attested = attest(row, this.#identities.keysOf(device))
    const started = uptimeMs === null ? undefined : this.#timeline.observe(device, boot, receivedMs, uptimeMs)
    const atMs = started === undefined ? receivedMs : started + (uptimeMs ?? 0)
    const { changes } = this.#run.event.run(
      ...[device, boot, row.seq, atMs, receivedMs, row.code],
      ...[row.model ?? null, row.error ?? null, row.detail ?? null, row.assignmentSeq ?? null],
      ...[attested, uptimeMs],
    )
    if (changes === 0) return 0
    contact(ingesting.contacts, device, receivedMs)
    if (uptimeMs !== null) ingesting.told.push({ device, boot, uptimeMs, receivedMs })
    return 1
  }

  #aggregate(gateway: string, row: AggregateRow): number {
    return this.#run.aggregate.run(
      ...[gateway, row.hourMs, row.model, row.board, row.site, row.rollout, row.stage, row.arm, row.revision],
      ...[row.listeningMs, row.activeMs, row.wakes, row.gateOpenings, row.confirmed, row.rejected],
      ...[row.energyMj, row.radioBytes, row.unjudged ?? 0, row.signals ? JSON.stringify(row.signals) : null],
    ).changes
  }

  /** Reports and events of a batch lie apart: gaps are those between contacts in the order of their receipt. */
  #seen(contacts: ReadonlyMap<number, number[]>): void {
    for (const [device, times] of contacts) {
      for (const at of times.sort((a, b) => a - b)) {
        this.#run.seen.run({ device, at, remembered: GAP_REMEMBERED_MS })
      }
    }
  }

  #countLate(told: Ingesting['told']): number {
    return told.filter(({ device, boot, uptimeMs, receivedMs }) => {
      const started = present(this.#timeline.startedMs(device, boot), 'the start of a boot that was heard of')
      return receivedMs - (started + uptimeMs) > GAP_MS_MAX
    }).length
  }
}

interface HourlyVerdict {
  readonly gateway: string
  readonly hour: number | null
  readonly confirmed: number
  readonly rejected: number
  readonly unjudged: number
  readonly revision: number
}

/** A gateway of before says none: the sum of its counts, which only grow, stands for it. */
const revisionOf = ({ revision, confirmed, rejected, unjudged = 0 }: VerdictRow): number =>
  revision ?? confirmed + rejected + unjudged

function contact(contacts: Map<number, number[]>, device: number, atMs: number): void {
  const times = contacts.get(device)
  if (times === undefined) contacts.set(device, [atMs])
  else times.push(atMs)
}
