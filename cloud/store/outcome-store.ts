import { LIMITS } from '../../contract/limits.ts'
import { baseHour, HOUR_MS } from './boot-timeline.ts'
import type { SqliteDatabase } from './database.ts'
import { completeSlots, GAP_MS_MAX, SLOT_COLUMNS, type SlotPoint } from './slot-points.ts'

/** What a device did in one slot of a boot, an hour of its uptime: wakes and verdicts beside the listening and the energy of the same
 *  time. Counts are interpolated and have fractions; verdicts are whole. */
export interface SlotOutcome {
  /** wall hour of the slot's middle, hours since 1970 */
  readonly hour: number
  /** when the slot was over, Unix ms */
  readonly endMs: number
  readonly uptimeMs: number
  readonly listeningMs: number
  readonly activeMs: number
  readonly wakes: number
  readonly inferences: number
  /** 0 where the device does not measure it */
  readonly inferenceMs: number
  readonly overruns: number
  readonly energyMj: number
  readonly radioBytes: number
  readonly confirmed: number
  readonly rejected: number
  /** wakes that the verifier could not judge */
  readonly unjudged: number
  /** what the signals of the model's bundle counted, contract/signals.ts; empty: it declares none */
  readonly numbers: readonly number[]
  /** verdicts by index of the pipeline; of pipelines that have none it has no entry */
  readonly verdicts: ReadonlyMap<number, Verdicts>
}

export interface Verdicts {
  readonly confirmed: number
  readonly rejected: number
  readonly unjudged: number
}

interface Asked {
  device: number
  model: string
  from: number
  to: number
}
interface ReportRow extends SlotPoint {
  readonly boot: number
  readonly started_ms: number
  readonly signals: string | null
  numbers: readonly number[]
}
interface VerdictSums extends Verdicts {
  boot: number
  slot: number
  pipeline: number
}

/** Slot of a boot in which a moment lies. */
const SLOT_OF = (ms: string): string => `cast(max(0, ${ms} - b.started_ms) / ${HOUR_MS} AS INTEGER)`
const NO_VERDICTS: ReadonlyMap<number, Verdicts> = new Map()

/** Per-device outcomes, for gates and drift.
 *
 *  Two sources must refer to the same time: verdicts are counted by slot of the boot's uptime, and listening time is known at each
 *  report and interpolated at the slots' ends. So only whole slots count, and only where a report has closed them. A device that fell
 *  silent distorts nothing: what came after its last whole slot is not counted, and neither are the verdicts of that time. The
 *  wall hour of a slot follows from when its boot began (boot-timeline.ts).
 *
 *  A slot whose closing report was received more than GAP_MS_MAX after it was made is late: it is no outcome, since what can be asked of
 *  the other devices by then has been decided on.
 */
export class OutcomeStore {
  readonly #boots
  readonly #reports
  readonly #verdicts
  readonly #noise
  readonly #newestNoise
  readonly #restart
  readonly #event
  readonly #isHeldOut: (device: number) => boolean

  /** @param isHeldOut whether a device gives no evidence for now: it has no outcomes then */
  constructor(db: SqliteDatabase, isHeldOut: (device: number) => boolean) {
    this.#isHeldOut = isHeldOut
    this.#boots = db.prepare<[number, string, number], { boot: number; started_ms: number }>(
      'SELECT boot, started_ms FROM boots WHERE device = ? AND model = ? AND time_ms > ? ORDER BY boot',
    )
    // CROSS: SQLite takes the tables in this order. By itself it began with every verdict that a device ever had.
    const running = 'b.device = @device AND b.model = @model AND b.time_ms > @from AND b.started_ms < @to'
    const slots = (edge: string): string =>
      `(SELECT ${edge.startsWith('<') ? 'max' : 'min'}(slot) FROM device_hours WHERE device = b.device AND boot = b.boot AND slot ${edge})`
    this.#reports = db.prepare<[Asked], ReportRow>(
      `SELECT b.boot, b.started_ms, h.uptime_ms, h.received_ms, h.signals, ${SLOT_COLUMNS.map((name) => `h.${name}`).join(', ')}
       FROM boots b CROSS JOIN device_hours h ON h.device = b.device AND h.boot = b.boot WHERE ${running}
         AND h.slot >= coalesce(${slots(`< ${SLOT_OF('@from')}`)}, 0)
         AND h.slot <= coalesce(${slots(`>= ${SLOT_OF('@to')}`)}, ${Number.MAX_SAFE_INTEGER})
       ORDER BY b.boot, h.slot`,
    )
    this.#verdicts = db.prepare<[Asked], VerdictSums>(
      `SELECT v.boot, v.slot, v.pipeline, sum(v.confirmed) AS confirmed, sum(v.rejected) AS rejected, sum(v.unjudged) AS unjudged
       FROM boots b CROSS JOIN verdicts v ON v.device = b.device AND v.boot = b.boot WHERE ${running}
         AND v.model = @model AND v.slot >= ${SLOT_OF('@from')} AND v.slot <= ${SLOT_OF('@to')}
       GROUP BY v.boot, v.slot, v.pipeline`,
    )
    this.#noise = db.prepare<[number, number, number], { noise_bins: string }>(
      'SELECT noise_bins FROM device_hours WHERE device = ? AND boot = ? AND slot < ? ORDER BY slot DESC LIMIT 1',
    )
    this.#newestNoise = db.prepare<[], { device: number; noise_bins: string }>(
      `SELECT b.device, b.noise_bins FROM devices d CROSS JOIN boots b ON b.device = d.id
         AND b.boot = (SELECT max(boot) FROM boots WHERE device = d.id)`,
    )
    this.#restart = db.prepare<[number, number], { ms: number | null }>(
      'SELECT min(started_ms) AS ms FROM boots WHERE device = ? AND started_ms > ?',
    )
    this.#event = db.prepare<[number, number, string], { ms: number | null }>(
      `SELECT min(time_ms) AS ms FROM events WHERE device = ? AND time_ms > ? AND attested IS NOT 0
         AND code IN (SELECT value FROM json_each(?))`,
    )
  }

  /** When the device first ran the model at or after the time given: start of that boot, or undefined. */
  firstStart(device: number, model: string, fromMs: number): number | undefined {
    const boot = this.#boots.all(device, model, fromMs).find(({ started_ms }) => started_ms >= fromMs)
    return boot?.started_ms
  }

  /** When the device first booted after a moment, ms; undefined: it has not. */
  restartAfter(device: number, afterMs: number): number | undefined {
    return this.#restart.get(device, afterMs)?.ms ?? undefined
  }

  /** When the device first said one of these events after a moment, ms; of a device with a key only what it signed counts. */
  eventAfter(device: number, codes: readonly string[], afterMs: number): number | undefined {
    return this.#event.get(device, afterMs, JSON.stringify(codes))?.ms ?? undefined
  }

  /** The known slots, not late, of the device's boots with the model that lie wholly in [fromMs, toMs), in the order of their boots; none
   *  of a device that is held out. */
  slots(device: number, model: string, fromMs: number, toMs: number): readonly SlotOutcome[] {
    if (this.#isHeldOut(device)) return []
    const asked = { device, model, from: fromMs, to: toMs }
    const boots = new Map<number, { readonly startedMs: number; readonly reports: SlotPoint[] }>()
    for (const report of this.#reports.all(asked)) {
      const { boot, started_ms, signals } = report
      report.numbers = signals === null ? [] : (JSON.parse(signals) as number[])
      const known = boots.get(boot)
      if (known === undefined) boots.set(boot, { startedMs: started_ms, reports: [report] })
      else known.reports.push(report)
    }
    if (boots.size === 0) return []
    const verdicts = this.#verdictsOf(asked)
    const outcomes: SlotOutcome[] = []
    for (const [boot, { startedMs, reports }] of boots) {
      const first = Math.ceil(Math.max(0, fromMs - startedMs) / HOUR_MS)
      // No slot is known beyond the last report.
      const known = Math.floor((reports.at(-1)?.uptime_ms ?? 0) / HOUR_MS)
      const end = Math.min(known, Math.floor(Math.max(0, toMs - startedMs) / HOUR_MS))
      for (const { slot, values, numbers, closing } of completeSlots(reports, first, end)) {
        if (closing.received_ms - (startedMs + closing.uptime_ms) > GAP_MS_MAX) continue
        const said = verdicts.get(`${boot}/${slot}`) ?? NO_VERDICTS
        const { confirmed, rejected, unjudged } = sumOf(said)
        outcomes.push({
          hour: baseHour(startedMs) + slot,
          endMs: startedMs + (slot + 1) * HOUR_MS,
          uptimeMs: HOUR_MS,
          listeningMs: values.listening_ms,
          activeMs: values.active_ms,
          wakes: values.wakes,
          inferences: values.inferences,
          inferenceMs: values.inference_ms,
          overruns: values.overruns,
          energyMj: values.energy_mj,
          radioBytes: values.radio_bytes,
          confirmed,
          rejected,
          unjudged,
          numbers,
          verdicts: said,
        })
      }
    }
    return outcomes
  }

  /** By boot and slot, and by pipeline. */
  #verdictsOf(asked: Asked): ReadonlyMap<string, ReadonlyMap<number, Verdicts>> {
    const slots = new Map<string, Map<number, Verdicts>>()
    for (const { boot, slot, pipeline, ...verdicts } of this.#verdicts.all(asked)) {
      const key = `${boot}/${slot}`
      const known = slots.get(key)
      if (known === undefined) slots.set(key, new Map([[pipeline, verdicts]]))
      else known.set(pipeline, verdicts)
    }
    return slots
  }

  /** Noise floor histograms of all devices, of the newest boot of each, in one query. */
  newestNoise(): ReadonlyMap<number, readonly number[]> {
    return new Map(
      this.#newestNoise.all().map(({ device, noise_bins }) => [device, JSON.parse(noise_bins) as number[]]),
    )
  }

  /** Noise floor histogram of a window: differences between the last reports before its ends (no interpolation). */
  noise(device: number, model: string, fromMs: number, toMs: number): number[] {
    const sum = Array.from({ length: LIMITS.histogramBins }, () => 0)
    for (const { boot, started_ms } of this.#boots.all(device, model, fromMs)) {
      const slotAt = (ms: number): number => Math.floor((ms - started_ms) / HOUR_MS)
      const high = this.#noise.get(device, boot, slotAt(toMs))
      if (high === undefined) continue
      const low = this.#noise.get(device, boot, slotAt(fromMs))
      const before = low === undefined ? [] : (JSON.parse(low.noise_bins) as number[])
      const after = JSON.parse(high.noise_bins) as number[]
      for (const [i, value] of sum.entries()) sum[i] = value + Math.max(0, (after[i] ?? 0) - (before[i] ?? 0))
    }
    return sum
  }
}

function sumOf(verdicts: ReadonlyMap<number, Verdicts>): Verdicts {
  const sum = { confirmed: 0, rejected: 0, unjudged: 0 }
  for (const { confirmed, rejected, unjudged } of verdicts.values()) {
    sum.confirmed += confirmed
    sum.rejected += rejected
    sum.unjudged += unjudged
  }
  return sum
}
