import type { GatePolicy, SignalPolicy } from '../store/gate-policy.ts'
import type {
  BatchEvidence,
  Exposure,
  GateReading,
  SignalReading,
  SliceReading,
  TestPart,
  TestReading,
  Verdict,
} from '../store/gate-reading.ts'
import type { FleetSlice, SliceName } from '../store/rollout-plan.ts'
import { gates } from './declared-signals.ts'
import { exactLogE } from './exact-test.ts'
import { type FirstEventTest, firstEventTest, type Spell } from './first-event.ts'
import { bySlice } from './fleet-slices.ts'
import { type DeviceOutcome, type LogRatio, logRatio, pairedLogRatio } from './log-ratio.ts'
import { informationForPower, oneSidedLogE, oneSidedRho } from './normal-mixture.ts'
import { type Signal, signalOf } from './signals.ts'

/** The gate of a rollout: what the devices with the candidate measured against what the others measured, looked at as often as one
 *  likes. Pure: `kinglet gate eval` computes the same from the inputs that were kept.
 *  @see docs of each test in `log-ratio.ts`, `first-event.ts`, `normal-mixture.ts`, `exact-test.ts`
 */

export interface ArmOutcomes {
  readonly canary: readonly DeviceOutcome[]
  /** of a comparison with the past: the same devices before, in the same order */
  readonly control: readonly DeviceOutcome[]
}

export interface SignalInput {
  /** the running stage's new canaries against control; null: no comparison yet */
  readonly batch: ArmOutcomes | null
  /** everybody exposed so far against control in the running stage, from the second stage on */
  readonly later: ArmOutcomes | null
  readonly spells: readonly Spell[]
  /** evidence frozen when earlier stages ended */
  readonly frozen: readonly BatchEvidence[]
  /** log e-values of `later`, frozen likewise */
  readonly frozenLater: readonly { readonly stage: number; readonly logE: number }[]
  /** both of each slice, by its index; absent: none has been frozen */
  readonly frozenSlices?: readonly FrozenSlice[] | undefined
}

export interface FrozenSlice {
  readonly slice: number
  readonly stage: number
  readonly batch: BatchEvidence | null
  readonly later: number
}

/** What a stage is judged by beside what its devices measured. */
export interface GateFrame {
  readonly stage: number
  readonly isLast: boolean
  readonly comparison: GateReading['comparison']
  /** whether the stage is large enough to decide; if not it only watches */
  readonly decides: boolean
  /** hours since the stage began, without those in which it was paused */
  readonly elapsedHours: number
  /** the gate does not end this stage but to take it back; absent: it does */
  readonly manual?: boolean | undefined
  /** how long a stage watches that cannot decide */
  readonly watchHours: number
  /** hours after which an undecided stage pauses: the policy's, plus what a person granted by resuming */
  readonly maxHours: number
  /** the plan's; absent: the fleet is not sliced */
  readonly slices?: readonly FleetSlice[] | undefined
  /** devices of the whole rollout that began to install the candidate, and those that failed or reverted */
  readonly installs: { readonly started: number; readonly failed: number }
  readonly exposure: Omit<Exposure, 'minShare'>
  readonly counted: GateReading['counted']
}

export interface GateInput extends GateFrame {
  readonly signals: Readonly<Record<string, SignalInput>>
}

/** chosen: with fewer pairs than this the variance over devices is a guess */
const PAIRS_MIN = 10
/** chosen: share of canaries with data may lag behind the control's by so much, or by what chance makes of it */
const LOST_SHARE = 0.1
const LOST_Z = 3.3

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

const signOf = (signal: Signal): 1 | -1 => (signal.worse === 'higher' ? 1 : -1)

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
function meanLogE(parts: readonly { readonly weight: number; readonly logE: number }[]): number {
  const rest = Math.max(0, 1 - parts.reduce((sum, { weight }) => sum + weight, 0))
  const all = rest > 1e-12 ? [...parts, { weight: rest, logE: 0 }] : parts
  const top = Math.max(...all.map(({ logE }) => logE))
  return top + Math.log(all.reduce((sum, { weight, logE }) => sum + weight * Math.exp(logE - top), 0))
}

const test = (logE: number, alpha: number): TestReading => ({ logE, threshold: Math.log(1 / alpha), alpha })

const decided = (reading: TestReading | null): boolean => reading !== null && reading.logE >= reading.threshold

type Shortage = 'too-few-devices' | 'too-few-events' | 'too-few-canary-events'

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

/** chosen: with fewer devices in an arm a slice says nothing but by first events */
export const SLICE_DEVICES_PER_ARM = 10

/** Weights of the parts of a signal's roll back test. */
const WEIGHTS = {
  count: { ratio: 1 / 2, later: 1 / 4, first: 1 / 4 },
  amount: { ratio: 2 / 3, later: 1 / 3, first: 0 },
  first: { ratio: 0, later: 0, first: 1 },
} as const

export const partWeights = (kind: Signal['kind']): (typeof WEIGHTS)[Signal['kind']] => WEIGHTS[kind]

/** Share of the k-th stage (from the second) in the test of what begins later; they add up to one over any number of stages. */
const laterShare = (stage: number): number => 1 / (stage * (stage - 1))

interface Read {
  readonly reading: SignalReading
  readonly missing: readonly Shortage[]
  /** estimated beyond the margin, and above one with what people call confidence */
  readonly suspect: boolean
  /** slices that are why it is rolled back, beside the whole or alone */
  readonly harmed: readonly SliceName[]
  /** whether the whole is why */
  readonly wholeHarmed: boolean
  /** the slice that looks worst where slices look worse than chance makes them */
  readonly sliceSuspect: SliceName | null
}

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
interface Tests {
  readonly comparison: LogRatio | undefined
  readonly missing: readonly Shortage[]
  readonly running: BatchEvidence | null
  readonly batches: readonly BatchEvidence[]
  readonly later: number
  readonly first: FirstEventTest | null
  readonly parts: readonly TestPart[]
}

function testsOf(
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
function estimateOf(batches: readonly BatchEvidence[]): { mean: number; spread: number; information: number } {
  const { s, information } = evidence(batches, 1, 0)
  return information > 0
    ? { mean: s / information, spread: 1.96 / Math.sqrt(information), information }
    : { mean: 0, spread: 0, information }
}

function readSignal(policy: SignalPolicy, signal: Signal, gate: GatePolicy, input: GateInput): Read {
  const data = input.signals[signal.name]
  const whole = testsOf(policy, signal, gate, input, data, 'whole')
  const { comparison, missing, running, batches, later, first } = whole
  const slices = sliceTests(policy, signal, gate, input, data)
  const parts = slices.length === 0 ? whole.parts : withSlices(whole.parts, slices)
  const { mean, spread, information } = estimateOf(batches)
  const harm = signOf(signal) * mean
  const rollback = policy.alphaRollback > 0 && parts.length > 0 ? test(meanLogE(parts), policy.alphaRollback) : null
  return {
    missing,
    // What a policy gives no share to is told, and holds nothing up.
    suspect: gates(policy) && information > 0 && harm > Math.log(policy.marginRatio) && harm - spread > 0,
    ...blame(policy, signal, rollback, parts, harm, slices),
    reading: {
      name: signal.name,
      worse: signal.worse,
      canary: comparison?.canary ?? null,
      control: comparison?.control ?? null,
      ratio: information > 0 ? Math.exp(mean) : null,
      interval: information > 0 ? [Math.exp(mean - spread), Math.exp(mean + spread)] : null,
      marginRatio: policy.marginRatio,
      information,
      batches,
      running,
      later,
      first: first ?? (signal.level === undefined ? null : exposedFirst(data)),
      enough: missing.length === 0,
      parts,
      ...(slices.length > 0 && { slices: slices.map(sliceReading) }),
      rollback,
      advance: policy.alphaAdvance > 0 ? advanceTest(policy, signal, input, batches) : null,
    },
  }
}

interface SliceTests {
  readonly slice: FleetSlice
  readonly tests: Tests
  readonly logE: number
}

/** The tests of each slice on its own devices. Without a control drawn by lot there are none: what has changed at one site would be harm. */
function sliceTests(
  policy: SignalPolicy,
  signal: Signal,
  gate: GatePolicy,
  input: GateInput,
  data: SignalInput | undefined,
): readonly SliceTests[] {
  const { slices = [] } = input
  if (slices.length === 0 || policy.alphaRollback === 0 || input.comparison !== 'control') return []
  const divide = (arms: ArmOutcomes | null): (ArmOutcomes | null)[] => {
    if (arms === null) return slices.map(() => null)
    const control = bySlice(arms.control, slices.length)
    return bySlice(arms.canary, slices.length).map((canary, i) => ({ canary, control: control[i] ?? [] }))
  }
  const small = { ...gate, minDevicesPerArm: Math.min(gate.minDevicesPerArm, SLICE_DEVICES_PER_ARM) }
  const batch = divide(data?.batch ?? null)
  const later = divide(data?.later ?? null)
  const spells = bySlice(data?.spells ?? [], slices.length)
  return slices.map((slice, i) => {
    const frozen = data?.frozenSlices?.filter((each) => each.slice === i) ?? []
    const own: SignalInput = {
      batch: batch[i] ?? null,
      later: later[i] ?? null,
      spells: spells[i] ?? [],
      frozen: frozen.flatMap((each) => each.batch ?? []),
      frozenLater: frozen.filter(({ stage }) => stage > 1).map((each) => ({ stage: each.stage, logE: each.later })),
    }
    const tests = testsOf(policy, signal, small, input, own, 'slice')
    return { slice, tests, logE: meanLogE(tests.parts) }
  })
}

/** The signal's test with its slices: the mean of e-values is one again, whatever they have in common, and at least as strong as any division
 *  of the error probability by the same weights (a weighted mean reaches 1/α whenever one of its terms does). */
function withSlices(parts: readonly TestPart[], slices: readonly SliceTests[]): readonly TestPart[] {
  const share = slices.reduce((sum, { slice }) => sum + slice.weight, 0)
  const mean = meanLogE(slices.map(({ slice, logE }) => ({ weight: slice.weight / share, logE })))
  return [
    ...parts.map((part) => ({ ...part, weight: part.weight * (1 - share) })),
    { kind: 'slices', weight: share, logE: mean },
  ]
}

function sliceReading({ tests, logE }: SliceTests): SliceReading {
  const { comparison, batches, first, running, later } = tests
  const { mean, information } = estimateOf(batches)
  return {
    ...{ canary: comparison?.canary ?? null, control: comparison?.control ?? null },
    ratio: information > 0 ? Math.exp(mean) : null,
    ...{ first, logE, running, later },
  }
}

/** chosen: slices hold an equal model by their looks with this probability at most, and with no more than so many times what it is rolled back with */
const SLICE_SUSPECT = 0.05
const SLICE_SUSPECT_TIMES = 5

/** Who is named. The whole, where its own parts decide; a slice, where it decides alone and, beside the whole, is worse than the whole by
 *  more than the margin; and where only all together decide, the one that adds most. */
function blame(
  policy: SignalPolicy,
  signal: Signal,
  rollback: TestReading | null,
  parts: readonly TestPart[],
  harm: number,
  slices: readonly SliceTests[],
): Pick<Read, 'harmed' | 'wholeHarmed' | 'sliceSuspect'> {
  const name = ({ slice: { by, value } }: SliceTests): SliceName => ({ by, value })
  const added = ({ slice, logE }: SliceTests): number => Math.log(slice.weight) + logE
  const [worst] = [...slices].sort((a, b) => added(b) - added(a))
  const suspectAlpha = Math.min(SLICE_SUSPECT, SLICE_SUSPECT_TIMES * policy.alphaRollback)
  const mean = parts.find(({ kind }) => kind === 'slices')?.logE ?? 0
  const sliceSuspect = worst !== undefined && mean >= Math.log(1 / suspectAlpha) ? name(worst) : null
  if (worst === undefined || rollback === null || !decided(rollback)) {
    return { harmed: [], wholeHarmed: decided(rollback), sliceSuspect }
  }
  const whole = meanLogE(
    parts.map((part) => (part.kind === 'slices' ? { ...part, logE: Number.NEGATIVE_INFINITY } : part)),
  )
  const wholeHarmed = whole >= rollback.threshold
  const harmed = slices.filter((each) => {
    if (added(each) < rollback.threshold) return false
    const { mean: own, information } = estimateOf(each.tests.batches)
    return !wholeHarmed || (information > 0 && signOf(signal) * own - harm > Math.log(policy.marginRatio))
  })
  const named = harmed.length === 0 && !wholeHarmed ? [worst] : harmed
  return { harmed: named.map(name), wholeHarmed, sliceSuspect }
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
function exposedFirst(data: SignalInput | undefined): FirstEventTest {
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
function advanceTest(
  policy: SignalPolicy,
  signal: Signal,
  input: GateInput,
  batches: readonly BatchEvidence[],
): TestReading {
  const ratio = harmlessLogE(batches, policy, signal)
  if (signal.kind !== 'count' || input.comparison !== 'control') return test(ratio, policy.alphaAdvance)
  const spells = input.signals[signal.name]?.spells ?? []
  const first = firstEventTest(spells, signal.worse === 'higher' ? 'lower' : 'higher', 1)
  return test(
    meanLogE([
      { weight: 1 / 2, logE: ratio },
      { weight: 1 / 2, logE: first.logE },
    ]),
    policy.alphaAdvance,
  )
}

/** Whether canaries without data are too many for chance: the comparison would then be one of those that were left. */
function lostCanaries({ canary: [c, ofC], control: [o, ofO] }: GateReading['counted']): boolean {
  if (ofC === 0 || ofO === 0) return false
  const gap = o / ofO - c / ofC
  const p = (c + o) / (ofC + ofO)
  const error = Math.sqrt(p * (1 - p) * (1 / ofC + 1 / ofO))
  return gap > LOST_SHARE && gap > LOST_Z * error
}

type Reasons = GateReading['reasons']

/** Judges a stage as it stands.
 *  @returns roll back as soon as one test has decided (Σ alpha over them is the false-rollback probability); advance when
 *    every signal that is asked for a proof has given it and the minimum exposure is met; pause at maximum exposure; otherwise hold
 */
export function judgeStage(policy: GatePolicy, input: GateInput): GateReading {
  return judgeRead(policy, input, readStage(policy, input))
}

/** What the tests of each signal say: the dear part, which holds until what devices measured changes. */
export type StageRead = readonly (Read & { readonly advisory: boolean })[]

export function readStage(policy: GatePolicy, input: GateInput): StageRead {
  return policy.metrics.flatMap((each) => {
    const signal = signalOf(each)
    return signal === undefined
      ? []
      : [{ ...readSignal(each, signal, policy, input), advisory: each.advisory === true }]
  })
}

/** The verdict on what was read, at the time that the frame says. */
export function judgeRead(policy: GatePolicy, input: GateFrame, all: StageRead): GateReading {
  const reads = all.filter(({ advisory }) => !advisory)
  const { started, failed } = input.installs
  const { p0, alpha } = policy.installFailures
  const installs = { ...test(exactLogE(Math.min(failed, started), started, p0), alpha), started, failed, p0 }
  const harmful: Reasons = [
    ...(alpha > 0 && decided(installs) ? [{ code: 'installs-failing', metric: 'installFailures' } as const] : []),
    ...reads.flatMap(harmOf),
  ]
  const advice = all.filter(({ advisory }) => advisory).flatMap(harmOf)
  const kind = stageKind(policy, input)
  const hours = hoursOf(policy, input, kind)
  const [verdict, reasons] = byHand(input, choose(policy, input, kind, hours, harmful, reads))
  return {
    ...{ verdict, reasons, comparison: input.comparison, elapsedHours: input.elapsedHours, minHours: hours },
    ...(advice.length > 0 && { advice }),
    maxHours: Math.max(hours, input.maxHours),
    metrics: all.map(({ reading }) => reading),
    ...(input.slices !== undefined && input.slices.length > 0 && { slices: input.slices }),
    installs,
    exposure: { ...input.exposure, minShare: policy.minInstalledShare },
    counted: input.counted,
  }
}

/** Why a signal takes the candidate back, if it does. */
function harmOf({ reading, wholeHarmed, harmed }: Read): Reasons {
  if (!decided(reading.rollback)) return []
  const reason = { code: 'metric-worse', metric: reading.name } as const
  return [...(wholeHarmed ? [reason] : []), ...harmed.map((slice) => ({ ...reason, slice }))]
}

/** A stage that a person ends is ready instead of over. */
const byHand = (
  { manual = false }: GateFrame,
  [verdict, reasons]: readonly [Verdict, Reasons],
): readonly [Verdict, Reasons] =>
  manual && verdict === 'advance' ? ['hold', [{ code: 'waits-for-person' }, ...reasons]] : [verdict, reasons]

/** What a stage is for: `prove` that the candidate is no worse, `watch` for harm since it cannot prove, `soak` at the end. */
type StageKind = 'prove' | 'watch' | 'soak' | 'ungated'

function stageKind(policy: GatePolicy, input: GateFrame): StageKind {
  if (policy.ungated) return 'ungated'
  if (input.isLast && input.stage > 1) return 'soak'
  return input.decides || policy.undecided !== 'auto' ? 'prove' : 'watch'
}

function hoursOf(policy: GatePolicy, input: GateFrame, kind: StageKind): number {
  if (kind === 'soak' || kind === 'ungated') return policy.soakHours
  return input.isLast ? Math.max(policy.minHours, policy.soakHours) : policy.minHours
}

function choose(
  policy: GatePolicy,
  input: GateFrame,
  kind: StageKind,
  hours: number,
  harmful: Reasons,
  reads: readonly Read[],
): readonly [Verdict, Reasons] {
  if (harmful.length > 0) return ['rollback', harmful]
  const { assigned, heard, installed } = input.exposure
  const early: Reasons = input.elapsedHours < hours ? [{ code: 'too-early' }] : []
  // Half of those that were told must have been heard, or what is measured is who could be reached.
  const installs: Reasons =
    2 * heard < assigned || installed < policy.minInstalledShare * heard ? [{ code: 'too-few-installed' }] : []
  const doubts: Reasons = [
    ...(input.comparison === 'control' && kind !== 'soak' && lostCanaries(input.counted)
      ? [{ code: 'lost-canaries' } as const]
      : []),
    ...reads
      .filter(({ suspect, reading }) => suspect && !decided(reading.advance) && kind !== 'ungated')
      .map(({ reading }) => ({ code: 'suspect', metric: reading.name }) as const),
    ...reads.flatMap(
      ({ reading, sliceSuspect }): Reasons =>
        sliceSuspect === null ? [] : [{ code: 'slice-suspect', metric: reading.name, slice: sliceSuspect }],
    ),
  ]
  const unproven: Reasons = reads
    .filter(({ reading }) => reading.advance !== null && !decided(reading.advance))
    .flatMap(
      ({ reading, missing }): Reasons =>
        missing.length > 0
          ? missing.map((code) => ({ code, metric: reading.name }))
          : [{ code: 'undecided', metric: reading.name }],
    )
  const blocking = [...early, ...installs, ...doubts]
  if (kind === 'soak' || kind === 'ungated') {
    if (blocking.length === 0) return ['advance', [{ code: kind === 'soak' ? 'soaked' : 'ungated' }]]
  } else {
    if (blocking.length === 0 && unproven.length === 0) return ['advance', [{ code: 'not-inferior' }]]
    blocking.push(...unproven)
    if (installs.length === 0 && doubts.length === 0) {
      if (kind === 'watch' && input.elapsedHours >= input.watchHours) return ['advance', [{ code: 'watched' }]]
      // A small fleet could wait for ever: no harm was found, nothing is proven, and it goes on under that name.
      const goesOn = policy.undecided === 'advance' || (policy.undecided === 'auto' && input.comparison === 'past')
      if (goesOn && input.elapsedHours >= input.maxHours) {
        return ['advance', [{ code: 'not-proven' }]]
      }
    }
  }
  if (input.elapsedHours >= Math.max(hours, input.maxHours)) {
    return ['pause', [{ code: 'max-exposure' }, ...blocking]]
  }
  return ['hold', blocking]
}
