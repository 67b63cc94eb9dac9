import { present } from '../../contract/present.ts'
import { HOUR_MS } from './boot-timeline.ts'

/** Cumulative counters of a boot that are counted by slot, as columns of device_hours. */
export const SLOT_COLUMNS = [
  'listening_ms',
  'active_ms',
  'wakes',
  'gate_openings',
  'energy_mj',
  'radio_bytes',
  'overruns',
  'inferences',
  'inference_ms',
] as const
export type SlotValues = Readonly<Record<(typeof SLOT_COLUMNS)[number], number>>

/** A report, as a point on the line of its boot. */
export interface SlotPoint extends SlotValues {
  /** cumulative numbers of the signals that its bundle declares, contract/signals.ts; omitted: nobody asks for them */
  readonly numbers?: readonly number[]
  readonly uptime_ms: number
  /** believed time of receipt, Unix ms */
  readonly received_ms: number
}

/** What a boot has counted when it begins. */
const ORIGIN: SlotPoint = {
  uptime_ms: 0,
  received_ms: 0,
  ...(Object.fromEntries(SLOT_COLUMNS.map((name) => [name, 0])) as SlotValues),
}

/** chosen: what happened between two reports further apart is not spread over the time between them. It is the time after which a report
 *  is late, too. */
export const GAP_MS_MAX = 7 * 24 * HOUR_MS

export interface CompleteSlot {
  readonly slot: number
  /** what was counted in it */
  readonly values: SlotValues
  readonly numbers: readonly number[]
  /** the first report after its end: with it the slot was known */
  readonly closing: SlotPoint
}

/** The slots of a boot that are known: values at a slot's ends are interpolated between the reports around them, so that what is counted
 *  by report and what is counted by slot refer to the same time.
 *  @param reports by uptime, from the last before `from` or the first of the boot to the first at or after `to`
 *  @param from first slot @param to slot after the last */
export function* completeSlots(reports: readonly SlotPoint[], from: number, to: number): Generator<CompleteSlot> {
  let index = 0
  let before = ORIGIN
  /** @returns the counters at that uptime, which rises from call to call; undefined where they are not known */
  const at = (uptimeMs: number): Known | undefined => {
    if (uptimeMs === 0) return { values: ORIGIN, numbers: [], closing: ORIGIN }
    while (index < reports.length && present(reports[index], 'a report').uptime_ms < uptimeMs) {
      before = present(reports[index++], 'a report')
    }
    const closing = reports[index]
    if (closing === undefined || closing.uptime_ms - before.uptime_ms > GAP_MS_MAX) return undefined
    const share = (uptimeMs - before.uptime_ms) / (closing.uptime_ms - before.uptime_ms)
    const between = (a: number, b: number): number => a + share * (b - a)
    const numbers = combineNumbers(before.numbers, closing.numbers ?? [], between)
    return { values: combine(before, closing, between), numbers, closing }
  }
  let low = at(from * HOUR_MS)
  for (let slot = from; slot < to; slot++) {
    const high = at((slot + 1) * HOUR_MS)
    if (low !== undefined && high !== undefined) {
      const values = combine(low.values, high.values, difference)
      yield { slot, closing: high.closing, values, numbers: combineNumbers(low.numbers, high.numbers, difference) }
    }
    low = high
  }
}

/** The counters of a boot at a moment. */
interface Known {
  readonly values: SlotValues
  readonly numbers: readonly number[]
  /** the first report at or after it */
  readonly closing: SlotPoint
}

const difference = (a: number, b: number): number => Math.max(0, b - a)

/** A boot begins without any: what is not there yet is 0. */
const combineNumbers = (
  a: readonly number[] = [],
  b: readonly number[],
  by: (a: number, b: number) => number,
): readonly number[] => (b.length === 0 ? b : b.map((value, i) => by(a[i] ?? 0, value)))

/** Written out, since a gate does this for every hour of every device at every look. */
const combine = (a: SlotValues, b: SlotValues, by: (a: number, b: number) => number): SlotValues => ({
  listening_ms: by(a.listening_ms, b.listening_ms),
  active_ms: by(a.active_ms, b.active_ms),
  wakes: by(a.wakes, b.wakes),
  gate_openings: by(a.gate_openings, b.gate_openings),
  energy_mj: by(a.energy_mj, b.energy_mj),
  radio_bytes: by(a.radio_bytes, b.radio_bytes),
  overruns: by(a.overruns, b.overruns),
  inferences: by(a.inferences, b.inferences),
  inference_ms: by(a.inference_ms, b.inference_ms),
})
