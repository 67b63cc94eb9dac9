import { LADDER_LEVELS } from '../../../contract/ladder-levels.ts'
import { COUNTER_NAMES, type CounterName, type Counters } from '../../../contract/messages.ts'
import { zeroBins } from '../listen/heard.ts'
import { type ActiveTime, noActiveTime } from '../power/active-time.ts'
import { type EnergyAccounts, NO_ENERGY } from '../power/energy.ts'

/** What this boot has measured, cumulative since it began: a report is a copy of it. */
export interface Measures {
  readonly counters: Counters
  readonly levelMs: readonly number[]
  readonly energy: EnergyAccounts
  readonly posteriorBins: readonly number[]
  readonly noiseBins: readonly number[]
  /** what `activeMs` is counted from */
  readonly active: ActiveTime
  /** monotonic ms at which the last wake's hold ends, and the last message is off the air */
  readonly heldToMs: number
  readonly onAirToMs: number
  /** ms that inferences took; undefined while nobody has measured any */
  readonly inferenceMs: number | undefined
  /** what the bundle's pipelines count, in the order of its signals; empty: it declares none */
  readonly signals: readonly number[]
}

/** @param signals numbers that the running bundle's signals take */
export const noMeasures = (bootedAtMs: number, signals = 0): Measures => ({
  counters: Object.fromEntries(COUNTER_NAMES.map((name) => [name, 0])) as Record<CounterName, number>,
  levelMs: LADDER_LEVELS.map(() => 0),
  energy: NO_ENERGY,
  posteriorBins: zeroBins(),
  noiseBins: zeroBins(),
  active: noActiveTime(bootedAtMs),
  heldToMs: bootedAtMs,
  onAirToMs: bootedAtMs,
  inferenceMs: undefined,
  signals: new Array<number>(signals).fill(0),
})
