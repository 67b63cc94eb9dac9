import { LIMITS } from '../../contract/limits.ts'
import { present } from '../../contract/present.ts'
import type { SqliteDatabase } from './database.ts'
import { HOUR_MS, hourIndex, hourStartMs } from './telemetry-store.ts'

/** One device's verdicts and the listening time they came from, over the same stretch of time. */
export interface DeviceWindow {
  readonly falseWakes: number
  readonly verifiedWakes: number
  readonly listeningHours: number
  readonly activeHours: number
}

interface BootRow {
  boot: number
  time_ms: number
  started_ms: number
}
interface PointRow {
  time_ms: number
  listening_ms: number
  active_ms: number
}

/** Per-device outcomes of a window, for gates and drift.
 *
 *  Two sources must refer to the same time. Verdicts are counted by hour of receipt, so windows are cut at hour boundaries.
 *  Listening time is cumulative per boot and known at each report, so its value at an hour boundary is interpolated between
 *  the reports around it (listening is steady; an hour at most lies between). A boot's window is
 *
 *      [ max(from, start of the boot), min(to, last full hour before the boot's last report) )
 *
 *  where a boot that starts inside the window counts from its very beginning (its verdict rows carry the boot). Time after
 *  the last report is not counted, and neither are its verdicts: a device that fell silent distorts nothing.
 *  A verdict that arrives hours late (an outage) is counted in its hour of receipt: both arms suffer that alike.
 */
export class OutcomeStore {
  readonly #boots
  readonly #before
  readonly #after
  readonly #verdicts
  readonly #noise

  constructor(db: SqliteDatabase) {
    this.#boots = db.prepare<[number, string, number], BootRow>(
      'SELECT boot, time_ms, started_ms FROM boots WHERE device = ? AND model = ? AND time_ms > ? ORDER BY boot',
    )
    this.#before = db.prepare<[number, number, number], PointRow>(
      `SELECT time_ms, listening_ms, active_ms FROM device_hours
       WHERE device = ? AND boot = ? AND hour < ? ORDER BY hour DESC LIMIT 1`,
    )
    this.#after = db.prepare<[number, number, number], PointRow>(
      `SELECT time_ms, listening_ms, active_ms FROM device_hours
       WHERE device = ? AND boot = ? AND hour >= ? ORDER BY hour LIMIT 1`,
    )
    this.#noise = db.prepare<[number, number, number], { noise_bins: string }>(
      'SELECT noise_bins FROM device_hours WHERE device = ? AND boot = ? AND hour < ? ORDER BY hour DESC LIMIT 1',
    )
    this.#verdicts = db.prepare<[number, number, number, number], { confirmed: number; rejected: number }>(
      `SELECT total(confirmed) AS confirmed, total(rejected) AS rejected FROM verdicts
       WHERE device = ? AND boot = ? AND hour >= ? AND hour < ?`,
    )
  }

  /** When the device first ran the model at or after the time given: start of that boot, or undefined. */
  firstStart(device: number, model: string, fromMs: number): number | undefined {
    const boot = this.#boots.all(device, model, fromMs).find(({ started_ms }) => started_ms >= fromMs)
    return boot?.started_ms
  }

  /** The device's outcomes while it ran the model.
   *  @param fromMs multiple of an hour
   *  @param toMs multiple of an hour
   */
  window(device: number, model: string, fromMs: number, toMs: number): DeviceWindow {
    let falseWakes = 0
    let verifiedWakes = 0
    let listeningMs = 0
    let activeMs = 0
    for (const row of this.#boots.all(device, model, fromMs)) {
      const start = Math.max(fromMs, row.started_ms)
      const end = Math.min(toMs, hourStartMs(row.time_ms))
      if (end <= start) continue
      const low = this.#at(device, row, start)
      const high = this.#at(device, row, end)
      listeningMs += Math.max(0, high.listening - low.listening)
      activeMs += Math.max(0, high.active - low.active)
      const { confirmed, rejected } = present(
        this.#verdicts.get(device, row.boot, hourIndex(start), hourIndex(end)),
        'the row of an aggregate',
      )
      falseWakes += rejected
      verifiedWakes += confirmed
    }
    return { falseWakes, verifiedWakes, listeningHours: listeningMs / HOUR_MS, activeHours: activeMs / HOUR_MS }
  }

  /** Noise floor histogram of a window: differences between the last reports before its ends (no interpolation). */
  noise(device: number, model: string, fromMs: number, toMs: number): number[] {
    const sum = Array.from({ length: LIMITS.histogramBins }, () => 0)
    for (const { boot } of this.#boots.all(device, model, fromMs)) {
      const high = this.#noise.get(device, boot, hourIndex(toMs))
      if (high === undefined) continue
      const low = this.#noise.get(device, boot, hourIndex(fromMs))
      const before = low === undefined ? [] : (JSON.parse(low.noise_bins) as number[])
      const after = JSON.parse(high.noise_bins) as number[]
      for (const [i, value] of sum.entries()) sum[i] = value + Math.max(0, (after[i] ?? 0) - (before[i] ?? 0))
    }
    return sum
  }

  /** Cumulative counters of a boot at a moment, interpolated; zero at its start. */
  #at(device: number, boot: BootRow, ms: number): { listening: number; active: number } {
    if (ms <= boot.started_ms) return { listening: 0, active: 0 }
    const hour = hourIndex(ms)
    const before = this.#before.get(device, boot.boot, hour) ?? {
      time_ms: boot.started_ms,
      listening_ms: 0,
      active_ms: 0,
    }
    const after = this.#after.get(device, boot.boot, hour)
    if (after === undefined || after.time_ms <= before.time_ms) {
      return { listening: before.listening_ms, active: before.active_ms }
    }
    const share = Math.min(1, Math.max(0, (ms - before.time_ms) / (after.time_ms - before.time_ms)))
    return {
      listening: before.listening_ms + share * (after.listening_ms - before.listening_ms),
      active: before.active_ms + share * (after.active_ms - before.active_ms),
    }
  }
}
