import type { GatePolicy, SignalPolicy } from '../store/gate-policy.ts'
import type { SliceReading, TestPart, TestReading } from '../store/gate-reading.ts'
import type { FleetSlice, SliceName } from '../store/rollout-plan.ts'
import { bySlice } from './fleet-slices.ts'
import type { ArmOutcomes, GateInput, SignalInput } from './gate-input.ts'
import { decided, estimateOf, meanLogE, signOf, type Tests, testsOf } from './signal-tests.ts'
import type { Signal } from './signals.ts'

/** chosen: with fewer devices in an arm a slice says nothing but by first events */
export const SLICE_DEVICES_PER_ARM = 10

export interface SliceTests {
  readonly slice: FleetSlice
  readonly tests: Tests
  readonly logE: number
}

/** The tests of each slice on its own devices. Without a control drawn by lot there are none: what has changed at one site would be harm. */
export function sliceTests(
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
export function withSlices(parts: readonly TestPart[], slices: readonly SliceTests[]): readonly TestPart[] {
  const share = slices.reduce((sum, { slice }) => sum + slice.weight, 0)
  const mean = meanLogE(slices.map(({ slice, logE }) => ({ weight: slice.weight / share, logE })))
  return [
    ...parts.map((part) => ({ ...part, weight: part.weight * (1 - share) })),
    { kind: 'slices', weight: share, logE: mean },
  ]
}

export function sliceReading({ tests, logE }: SliceTests): SliceReading {
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

/** Which slices or whether the whole is why a signal takes the candidate back, and which slice looks bad. */
export interface Blame {
  /** slices that are why it is rolled back, beside the whole or alone */
  readonly harmed: readonly SliceName[]
  /** whether the whole is why */
  readonly wholeHarmed: boolean
  /** the slice that looks worst where slices look worse than chance makes them */
  readonly sliceSuspect: SliceName | null
}

/** Who is named. The whole, where its own parts decide; a slice, where it decides alone and, beside the whole, is worse than the whole by
 *  more than the margin; and where only all together decide, the one that adds most. */
export function blame(
  policy: SignalPolicy,
  signal: Signal,
  rollback: TestReading | null,
  parts: readonly TestPart[],
  harm: number,
  slices: readonly SliceTests[],
): Blame {
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
