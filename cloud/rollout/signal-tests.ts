import type { GatePolicy, SignalPolicy } from '../store/gate-policy.ts'
import type { BatchEvidence, TestPart, TestReading } from '../store/gate-reading.ts'
import { exactLogE } from './exact-test.ts'
import { type FirstEventTest, firstEventTest } from './first-event.ts'
import type { ArmOutcomes, GateInput, SignalInput } from './gate-input.ts'
import { type LogRatio, logRatio, pairedLogRatio } from './log-ratio.ts'
import { informationForPower, oneSidedLogE, oneSidedRho } from './normal-mixture.ts'
import type { Signal } from './signals.ts'

/** The tests of one signal, on the whole fleet or on a slice of it: e-values, which may be looked at as often as one likes.
 *  @see docs of each test in `log-ratio.ts`, `first-event.ts`, `normal-mixture.ts`, `exact-test.ts`
 */

/** chosen: with fewer pairs than this the variance over devices is a guess */
const PAIRS_MIN = 10

/** S and I of the summed batches at theta0, in the direction in which larger is worse. */
function evidence(batches: readonly BatchEvidence[], sign: 1 | -1, theta0: number): { s: number; information: number } {
  let s = 0
  let information = 0
  for (const { d, variance } of batches) {
    s += (sign * d - theta0) / variance
    information += 1 / variance
  }
  return { s, information }
}

export const signOf = (signal: Signal): 1 | -1 => (signal.worse === 'higher' ? 1 : -1)

/** Log e-value against "the candidate is worse by no more than the margin" (theta0 = ln margin). */
export function harmLogE(batches: readonly BatchEvidence[], policy: SignalPolicy, signal: Signal): number {
  // Without a share of the error probability there is no test, and none to plan.
  if (policy.alphaRollback === 0) return 0
  const { s, information } = evidence(batches, signOf(signal), Math.log(policy.marginRatio))
  const rho = oneSidedRho(informationForPower(Math.log(policy.planRatio), policy.alphaRollback), policy.alphaRollback)
  return information === 0 ? 0 : oneSidedLogE(s, information, rho)
}

/** Log e-value against "the candidate is worse by the margin or more" (the same theta0, sign turned). */
export function harmlessLogE(batches: readonly BatchEvidence[], policy: SignalPolicy, signal: Signal): number {
  const theta0 = Math.log(policy.marginRatio)
  if (theta0 === 0) return 0
  const { s, information } = evidence(batches, signOf(signal), theta0)
  const rho = oneSidedRho(informationForPower(theta0, policy.alphaAdvance), policy.alphaAdvance)
  return information === 0 ? 0 : oneSidedLogE(-s, information, rho)
}

/** ln of the weighted mean of e-values; weights that are missing to 1 stand for tests that have not begun (e = 1). */
export function meanLogE(parts: readonly { readonly weight: number; readonly logE: number }[]): number {
  const rest = Math.max(0, 1 - parts.reduce((sum, { weight }) => sum + weight, 0))
  const all = rest > 1e-12 ? [...parts, { weight: rest, logE: 0 }] : parts
  const top = Math.max(...all.map(({ logE }) => logE))
  return top + Math.log(all.reduce((sum, { weight, logE }) => sum + weight * Math.exp(logE - top), 0))
}

export const testAt = (logE: number, alpha: number): TestReading => ({ logE, threshold: Math.log(1 / alpha), alpha })

export const decided = (reading: TestReading | null): boolean => reading !== null && reading.logE >= reading.threshold

export type Shortage = 'too-few-devices' | 'too-few-events' | 'too-few-canary-events'

/** What the running batch lacks for its normal approximation: with few devices the variance over devices is itself unknown, with few
 *  events the log of a count is skewed. The first events of devices need neither and are looked at from the first one on.
 */
function shortages(
  comparison: LogRatio | undefined,
  signal: Signal,
  policy: GatePolicy,
  paired: boolean,
): readonly Shortage[] {
  if (comparison === undefined) return ['too-few-devices']
  const { canary, control } = comparison
  const missing: Shortage[] = []
  const devices = paired ? PAIRS_MIN : policy.minDevicesPerArm
  if (Math.min(canary.devices, control.devices) < devices) missing.push('too-few-devices')
  if (signal.kind === 'count') {
    if (canary.events + control.events < policy.minEvents) missing.push('too-few-events')
    if (!paired && canary.events < policy.minCanaryEvents) missing.push('too-few-canary-events')
  }
  return missing
}

/** The log ratio of two arms, or of the same devices after and before. */
function compare(arms: ArmOutcomes | null, signal: Signal, paired: boolean): LogRatio | undefined {
  if (arms === null || signal.kind === 'first') return undefined
  if (!paired) return logRatio(arms.canary, arms.control, signal.kind)
  const comparison = pairedLogRatio(arms.canary, arms.control, signal.kind)
  const n = comparison?.canary.devices ?? 0
  if (comparison === undefined || n <= 3) return undefined
  // A variance of few pairs is too small more often than too large.
  return { ...comparison, variance: (comparison.variance * (n - 1)) / (n - 3) }
}

/** Weights of the parts of a signal's roll back test. */
const WEIGHTS = {
  count: { ratio: 1 / 2, later: 1 / 4, first: 1 / 4 },
  amount: { ratio: 2 / 3, later: 1 / 3, first: 0 },
  first: { ratio: 0, later: 0, first: 1 },
} as const

export const partWeights = (kind: Signal['kind']): (typeof WEIGHTS)[Signal['kind']] => WEIGHTS[kind]

/** Share of the k-th stage (from the second) in the test of what begins later; they add up to one over any number of stages. */
const laterShare = (stage: number): number => 1 / (stage * (stage - 1))

/** The comparison of few devices with a variance by which the normal distribution is as seldom beyond the margin as Student's is: the
 *  standard error of few is itself a guess, and slices are asked to be surer than one in thousands.
 *  @see Wallace, "Bounds on normal approximations to Student's and the chi-square distributions", Ann. Math. Statist. 30 (1959)
 */
function studentized(comparison: LogRatio | undefined, policy: SignalPolicy, signal: Signal): LogRatio | undefined {
  if (comparison === undefined) return undefined
  const { d, variance, canary, control } = comparison
  // The smaller arm's: at most what Welch's formula gives.
  const freedom = Math.min(canary.devices, control.devices) - 1
  const squared = (signOf(signal) * d - Math.log(policy.marginRatio)) ** 2 / variance
  const shrink = (8 * freedom + 1) / (8 * freedom + 3)
  // Its limit where the two are alike.
  const share = squared < 1e-9 ? 1 : (freedom * Math.log1p(squared / freedom)) / squared
  return { ...comparison, variance: variance / (shrink * shrink * share) }
}

/** What the tests of one signal say of the whole fleet, or of a slice of it. */
export interface Tests {
  readonly comparison: LogRatio | undefined
  readonly missing: readonly Shortage[]
  readonly running: BatchEvidence | null
  readonly batches: readonly BatchEvidence[]
  readonly later: number
  readonly first: FirstEventTest | null
  readonly parts: readonly TestPart[]
}

export function testsOf(
  policy: SignalPolicy,
  signal: Signal,
  gate: GatePolicy,
  input: GateInput,
  data: SignalInput | undefined,
  size: 'whole' | 'slice',
): Tests {
  const paired = input.comparison === 'past'
  const batch = compare(data?.batch ?? null, signal, paired)
  const comparison = size === 'slice' ? studentized(batch, policy, signal) : batch
  const missing = signal.kind === 'first' ? [] : shortages(comparison, signal, gate, paired)
  // A batch below the minima adds nothing yet: its variance cannot be trusted.
  const running =
    comparison === undefined || missing.length > 0 ? null : { d: comparison.d, variance: comparison.variance }
  const batches = [...(data?.frozen ?? []), ...(running === null ? [] : [running])]
  const first: FirstEventTest | null =
    signal.kind === 'amount' || input.comparison !== 'control' || data === undefined
      ? null
      : firstEventTest(
          data.spells,
          signal.worse,
          signal.worse === 'higher' ? policy.marginRatio : 1 / policy.marginRatio,
        )
  const later = laterLogE(policy, signal, gate, data, size)
  const parts = partsOf(policy, signal, input, data, { batches, later, first })
  return { comparison, missing, running, batches, later, first, parts }
}

/** Log ratio over the batches, weighted by information; and what people call a 95 % interval around it. */
export function estimateOf(batches: readonly BatchEvidence[]): { mean: number; spread: number; information: number } {
  const { s, information } = evidence(batches, 1, 0)
  return information > 0
    ? { mean: s / information, spread: 1.96 / Math.sqrt(information), information }
    : { mean: 0, spread: 0, information }
}

/** What everybody who is exposed says in the running stage, which finds what begins long after an install. */
function laterLogE(
  policy: SignalPolicy,
  signal: Signal,
  gate: GatePolicy,
  data: SignalInput | undefined,
  size: 'whole' | 'slice',
): number {
  const later = compare(data?.later ?? null, signal, false)
  const comparison = size === 'slice' ? studentized(later, policy, signal) : later
  if (comparison === undefined || shortages(comparison, signal, gate, false).length > 0) return 0
  return harmLogE([comparison], policy, signal)
}

function partsOf(
  policy: SignalPolicy,
  signal: Signal,
  input: GateInput,
  data: SignalInput | undefined,
  evidenceOf: { batches: readonly BatchEvidence[]; later: number; first: FirstEventTest | null },
): readonly TestPart[] {
  if (policy.alphaRollback === 0) return []
  const { batches, later, first } = evidenceOf
  if (input.comparison !== 'control') {
    if (signal.kind !== 'first') {
      return input.comparison === 'past' ? [{ kind: 'ratio', weight: 1, logE: harmLogE(batches, policy, signal) }] : []
    }
    const { canary: k, canaryAtRisk: n } = exposedFirst(data)
    return signal.level === undefined ? [] : [{ kind: 'level', weight: 1, logE: exactLogE(k, n, signal.level) }]
  }
  const weights = WEIGHTS[signal.kind]
  const stages = [...(data?.frozenLater ?? []), ...(input.stage >= 2 ? [{ stage: input.stage, logE: later }] : [])].map(
    ({ stage, logE }) => ({ weight: laterShare(stage), logE }),
  )
  const parts: TestPart[] = [
    { kind: 'ratio', weight: weights.ratio, logE: harmLogE(batches, policy, signal) },
    { kind: 'later', weight: weights.later, logE: meanLogE(stages) },
    { kind: 'first', weight: weights.first, logE: first?.logE ?? 0 },
  ]
  return parts.filter(({ weight }) => weight > 0)
}

/** First events of exposed devices alone. */
export function exposedFirst(data: SignalInput | undefined): FirstEventTest {
  const exposed = (data?.spells ?? []).filter(({ arm }) => arm === 'canary')
  return {
    canary: exposed.filter(({ event }) => event !== null).length,
    canaryAtRisk: exposed.length,
    control: 0,
    controlAtRisk: 0,
    logE: 0,
  }
}

/** The proof that the harm is within the margin. Where events are few, that fewer canaries than controls had any is one too: it is asked to
 *  hold without the margin, since first events understate a ratio of rates where devices differ.
 */
export function advanceTest(
  policy: SignalPolicy,
  signal: Signal,
  input: GateInput,
  batches: readonly BatchEvidence[],
): TestReading {
  const ratio = harmlessLogE(batches, policy, signal)
  if (signal.kind !== 'count' || input.comparison !== 'control') return testAt(ratio, policy.alphaAdvance)
  const spells = input.signals[signal.name]?.spells ?? []
  const first = firstEventTest(spells, signal.worse === 'higher' ? 'lower' : 'higher', 1)
  return testAt(
    meanLogE([
      { weight: 1 / 2, logE: ratio },
      { weight: 1 / 2, logE: first.logE },
    ]),
    policy.alphaAdvance,
  )
}
