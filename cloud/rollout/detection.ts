import type { SignalPolicy } from '../store/gate-policy.ts'
import type { SignalFind } from '../store/rollout-plan.ts'
import { firstEventLogE } from './first-event.ts'
import { oneSidedBoundary, oneSidedRho } from './normal-mixture.ts'
import { partWeights } from './signal-tests.ts'
import type { Signal } from './signals.ts'
import { logBetaUpper } from './special-functions.ts'

/** What the tests of a gate find with 80 % power, in closed form from the same boundaries: before the start, from what devices did before. */

/** 80 % normal quantile */
const Z_POWER = 0.84
const POWER = 0.8
/** chosen: devices that differ by less than this are taken to differ by it */
const AMOUNT_UNEXPLAINED_MIN = 1e-6
/** chosen: from so few nothing is known of how devices differ */
const AMOUNT_DEVICES_MIN = 10

/** What devices had of a signal before the rollout: events or amount, and exposure. */
export type FleetPast = readonly (readonly [y: number, x: number])[]

/** The same in two halves of that time, of each device. */
export type FleetHalves = readonly (readonly [earlier: readonly [number, number], later: readonly [number, number]])[]

export interface SignalPast {
  readonly past: FleetPast
  readonly halves: FleetHalves
}

export interface FleetShape {
  /** an hour of a device; of amounts nothing is counted */
  readonly eventsPerHour: number
  /** squared coefficient of variation of the devices' own rates that their past does not explain */
  readonly unexplained: number
}

/** @returns undefined where nothing is known */
export function countShape(past: FleetPast): FleetShape | undefined {
  const known = past.filter(([, x]) => x > 0)
  const y = known.reduce((sum, [events]) => sum + events, 0)
  const x = known.reduce((sum, [, hours]) => sum + hours, 0)
  if (known.length < 3 || y <= 0) return undefined
  const mean = y / x
  const squares = known.reduce((sum, [events, hours]) => sum + (events / hours - mean) ** 2, 0) / (known.length - 1)
  const noise = known.reduce((sum, [, hours]) => sum + mean / hours, 0) / known.length
  const between = Math.max(0, squares - noise)
  const left = between === 0 ? 0 : (between * noise) / (between + noise)
  return { eventsPerHour: mean, unexplained: left / mean ** 2 }
}

/** How far an amount of a device is from what it was: the variance of the log ratio of its halves. A level that wanders does so however many
 *  hours are summed, so this does not fall with the length of a stage. */
export function amountShape(halves: FleetHalves): FleetShape | undefined {
  const logs = halves.flatMap(([[y1, x1], [y2, x2]]) =>
    y1 > 0 && x1 > 0 && y2 > 0 && x2 > 0 ? [Math.log(y2 / x2 / (y1 / x1))] : [],
  )
  if (logs.length < AMOUNT_DEVICES_MIN) return undefined
  const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length
  const variance = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / (logs.length - 1)
  return { eventsPerHour: Number.POSITIVE_INFINITY, unexplained: Math.max(variance, AMOUNT_UNEXPLAINED_MIN) }
}

/** Standard errors beyond which a test of this strictness decides with 80 % power. */
export const reach = (alpha: number): number => oneSidedBoundary(1, alpha, oneSidedRho(1, alpha)) + Z_POWER

/** The same for a slice of few devices: what Student's distribution asks for where the normal one asks for `errors`. The inverse of what the
 *  gate does with such a comparison. */
export function reachOfFew(alpha: number, devicesPerArm: number): number {
  const freedom = devicesPerArm - 1
  const errors = (reach(alpha) * (8 * freedom + 3)) / (8 * freedom + 1)
  return Math.sqrt(freedom * Math.expm1((errors * errors) / freedom))
}

export interface Arms {
  readonly canary: number
  readonly control: number
}

/** Smallest share of the canaries that, having an event no control device has, withdraws with 80 % power.
 *  @returns null: not even all of them would */
function smallestShare({ canary, control }: Arms, policy: SignalPolicy, alpha: number): number | null {
  const threshold = Math.log(1 / alpha)
  let needed = 1
  while (needed <= canary && firstEventLogE(needed, { canary, control }, policy.marginRatio) < threshold) needed++
  if (needed > canary) return null
  let low = 0
  let high = 1
  for (let round = 0; round < 40; round++) {
    const middle = (low + high) / 2
    // The chance of at least as many among the canaries: I_p(k, n - k + 1).
    if (1 - Math.exp(logBetaUpper(middle, needed, canary - needed + 1)) < POWER) low = middle
    else high = middle
  }
  return high
}

/** What a signal's test finds by the end of a stage.
 *  @param information over the batches until then, 0: none
 *  @param arms everybody exposed, and who stays
 *  @param sliced share of the error probability that slices have */
export function findOf(
  policy: SignalPolicy,
  signal: Signal,
  { information, arms, sliced }: { readonly information: number; readonly arms: Arms; readonly sliced: number },
): SignalFind {
  const { name, words, worse } = signal
  const weights = partWeights(signal.kind)
  const found = { name, words, worse, ratio: null, share: null }
  if (signal.kind === 'first') {
    if (arms.control === 0) return found
    return { ...found, share: smallestShare(arms, policy, policy.alphaRollback * weights.first * (1 - sliced)) }
  }
  if (information === 0) return found
  const errors = reach(policy.alphaRollback * weights.ratio * (1 - sliced))
  return { ...found, ratio: policy.marginRatio * Math.exp(errors / Math.sqrt(information)) }
}
