import { NO_SUMS, type SignalSums, withHour } from '../rollout/device-hours.ts'
import type { BaselineHour } from '../store/baseline-store.ts'
import type { SlotOutcome } from '../store/outcome-store.ts'
import type { Followed, FollowedHistogram } from './drift-signals.ts'
import { NOISE_FLOOR } from './drift-signals.ts'

/** One hour of a device as its baseline keeps it. @param noiseBins of that hour */
export function baselineHour(
  { places, signals, histograms }: Followed,
  slot: SlotOutcome,
  noiseBins: readonly number[],
): BaselineHour {
  const sums = signals.map((signal) => [signal.name, toTuple(withHour(NO_SUMS, signal, slot, places))] as const)
  const bins = histograms.map((histogram) => [histogram.name, binsOf(histogram, slot)] as const)
  return {
    uptimeMs: slot.uptimeMs,
    sums: Object.fromEntries(sums),
    bins: { [NOISE_FLOOR]: noiseBins, ...Object.fromEntries(bins) },
  }
}

/** Of the same model, so of the same signals. */
export function addHours(one: BaselineHour, other: BaselineHour): BaselineHour {
  const bins = Object.entries(one.bins).map(([name, values]) => {
    const sum = [...values]
    addBins(sum, other.bins[name] ?? [])
    return [name, sum] as const
  })
  const sums = Object.entries(one.sums).map(([name, [y, x, judged, unjudged]]) => {
    const by = other.sums[name] ?? NO_TUPLE
    return [name, toTuple(plus({ y, x, judged, unjudged }, by))] as const
  })
  return { uptimeMs: one.uptimeMs + other.uptimeMs, sums: Object.fromEntries(sums), bins: Object.fromEntries(bins) }
}

export function timesHour({ uptimeMs, sums, bins }: BaselineHour, factor: number): BaselineHour {
  const times = (values: readonly number[]): number[] => values.map((value) => value * factor)
  return {
    uptimeMs: uptimeMs * factor,
    sums: Object.fromEntries(
      Object.entries(sums).map(([name, [y, x, judged, unjudged]]) => [
        name,
        [y * factor, x * factor, judged * factor, unjudged * factor] as const,
      ]),
    ),
    bins: Object.fromEntries(Object.entries(bins).map(([name, values]) => [name, times(values)])),
  }
}

type Sums = BaselineHour['sums'][string]
const NO_TUPLE: Sums = [0, 0, 0, 0]
const toTuple = ({ y, x, judged, unjudged }: SignalSums): Sums => [y, x, judged, unjudged]
export const plus = ({ y, x, judged, unjudged }: SignalSums, by: Sums): SignalSums => ({
  ...{ y: y + by[0], x: x + by[1], judged: judged + by[2], unjudged: unjudged + by[3] },
})

export function addBins(sum: number[], bins: readonly number[]): void {
  for (const [i, value] of bins.entries()) sum[i] = (sum[i] ?? 0) + value
}

export const binsOf = ({ at, length }: FollowedHistogram, { numbers }: SlotOutcome): number[] =>
  Array.from({ length }, (_, i) => numbers[at + i] ?? 0)
