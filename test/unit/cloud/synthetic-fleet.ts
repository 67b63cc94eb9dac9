import { COUNTER_NAMES, ENERGY_NAMES, LADDER_LEVELS } from '../../../contract/messages.ts'
import type { SeededRandom } from '../../../contract/random.ts'
import type { EventRow, IngestBatch, ReportRow, VerdictRow } from '../../../contract/uplink.ts'

export const HOUR = 3_600_000
/** A wall time on an hour boundary. */
export const T0 = 1_700_000_400_000 - (1_700_000_400_000 % HOUR)

export function poisson(random: SeededRandom, mean: number): number {
  if (mean > 30) return poisson(random, mean / 2) + poisson(random, mean / 2)
  const limit = Math.exp(-mean)
  let product = random.next()
  let count = 0
  while (product > limit) {
    product *= random.next()
    count++
  }
  return count
}

/** One device that reports hourly at its own phase of the hour; its counters are cumulative per boot. */
export class SyntheticDevice {
  readonly name: string
  readonly site: string
  readonly random: SeededRandom
  /** device's own factor on every rate (mean 1) */
  readonly temper: number
  readonly phaseMs: number
  model: string
  boot = 1
  seq = 0
  eventSeq = 0
  startedMs: number
  atMs: number
  assignmentSeq = 0
  counters: number[] = COUNTER_NAMES.map(() => 0)
  noise: number[] = [0, 0, 0, 0, 0, 0, 0, 0]
  energy: number[] = ENERGY_NAMES.map(() => 0)
  hours = new Map<number, { confirmed: number; rejected: number }>()

  constructor(name: string, model: string, startMs: number, random: SeededRandom, site = 'site-1') {
    this.name = name
    this.site = site
    this.random = random
    this.model = model
    this.temper = -Math.log(1 - random.next() * 0.98) * 0.7 + 0.3
    this.phaseMs = Math.floor(random.next() * HOUR)
    this.startedMs = startMs
    this.atMs = startMs
  }

  reboot(model: string, atMs: number): void {
    this.model = model
    this.boot++
    this.seq = 0
    this.eventSeq = 0
    this.startedMs = atMs
    this.atMs = atMs
    this.counters = COUNTER_NAMES.map(() => 0)
    this.noise = [0, 0, 0, 0, 0, 0, 0, 0]
    this.energy = ENERGY_NAMES.map(() => 0)
    this.hours = new Map()
  }

  event(code: EventRow['code'], atMs: number): EventRow {
    const { name: device, site, boot, model } = this
    return { site, device, boot, receivedMs: atMs, seq: this.eventSeq++, wallMs: atMs, code, model }
  }

  /** Lives until `toMs`, reporting once an hour. Wakes fall in their true hour.
   *  @param rates per hour, before the device's temper
   *  @param noiseBin bin that most windows fall into
   */
  live(
    toMs: number,
    rates: { falseWakes: number; verified: number; noiseBin?: number },
  ): { reports: ReportRow[]; verdicts: VerdictRow[] } {
    const reports: ReportRow[] = []
    const touched = new Set<number>()
    while (true) {
      const next = Math.floor((this.atMs - this.phaseMs) / HOUR + 1) * HOUR + this.phaseMs
      if (next > toMs) break
      // Split at the hour boundary so that verdicts are in the hour they belong to.
      for (let at = this.atMs; at < next; ) {
        const end = Math.min(next, (Math.floor(at / HOUR) + 1) * HOUR)
        const share = (end - at) / HOUR
        const rejected = poisson(this.random, rates.falseWakes * this.temper * share)
        const confirmed = poisson(this.random, rates.verified * this.temper * share)
        const hour = Math.floor(at / HOUR) * HOUR
        const row = this.hours.get(hour) ?? { confirmed: 0, rejected: 0 }
        this.hours.set(hour, { confirmed: row.confirmed + confirmed, rejected: row.rejected + rejected })
        if (rejected + confirmed > 0) touched.add(hour)
        this.#count('listeningMs', end - at)
        this.#count('wakes', rejected + confirmed)
        this.#count('activeMs', Math.round((end - at) * 0.02) + (rejected + confirmed) * 5_000)
        this.#count('windows', Math.round((end - at) / 500))
        this.energy[1]! += Math.round((end - at) / 100)
        at = end
      }
      const bin = rates.noiseBin ?? 3
      for (let i = 0; i < 100; i++) {
        const drawn = bin + (this.random.next() < 0.6 ? 0 : this.random.next() < 0.5 ? -1 : 1)
        this.noise[Math.min(7, Math.max(0, drawn))]! += 72
      }
      this.atMs = next
      reports.push(this.report())
    }
    const { name: device, site, boot, model } = this
    const verdicts = [...touched].map((hourMs) => ({ site, device, boot, model, hourMs, ...this.hours.get(hourMs)! }))
    return { reports, verdicts }
  }

  report(): ReportRow {
    const { name: device, site, boot, model } = this
    return {
      site,
      device,
      boot,
      model,
      receivedMs: this.atMs + 1_000,
      seq: this.seq++,
      uptimeMs: this.atMs - this.startedMs,
      wallMs: this.atMs,
      slot: 0,
      level: 0,
      counters: [...this.counters],
      levelMs: LADDER_LEVELS.map((_, i) => (i === 0 ? this.atMs - this.startedMs : 0)),
      energyMj: [...this.energy],
      batteryPermille: 900,
      posteriorBins: [0, 0, 0, 0, 0, 0, 0, 0],
      noiseBins: [...this.noise],
      assignmentSeq: this.assignmentSeq,
    }
  }

  #count(name: (typeof COUNTER_NAMES)[number], value: number): void {
    this.counters[COUNTER_NAMES.indexOf(name)]! += value
  }
}

export const batchOf = (rows: Partial<Omit<IngestBatch, 'v' | 'gateway'>>): IngestBatch => ({
  v: 1,
  gateway: 'gateway-1',
  reports: [],
  verdicts: [],
  events: [],
  aggregates: [],
  ...rows,
})
