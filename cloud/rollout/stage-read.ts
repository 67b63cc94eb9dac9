import type { GatePolicy, SignalPolicy } from '../store/gate-policy.ts'
import type { SignalReading } from '../store/gate-reading.ts'
import { gates } from './declared-signals.ts'
import type { GateInput } from './gate-input.ts'
import {
  advanceTest,
  estimateOf,
  exposedFirst,
  meanLogE,
  type Shortage,
  signOf,
  testAt,
  testsOf,
} from './signal-tests.ts'
import { type Signal, signalOf } from './signals.ts'
import { type Blame, blame, sliceReading, sliceTests, withSlices } from './slice-tests.ts'

/** What the tests of one signal say together. */
export interface Read extends Blame {
  readonly reading: SignalReading
  readonly missing: readonly Shortage[]
  /** estimated beyond the margin, and above one with what people call confidence */
  readonly suspect: boolean
}

function readSignal(policy: SignalPolicy, signal: Signal, gate: GatePolicy, input: GateInput): Read {
  const data = input.signals[signal.name]
  const whole = testsOf(policy, signal, gate, input, data, 'whole')
  const { comparison, missing, running, batches, later, first } = whole
  const slices = sliceTests(policy, signal, gate, input, data)
  const parts = slices.length === 0 ? whole.parts : withSlices(whole.parts, slices)
  const { mean, spread, information } = estimateOf(batches)
  const harm = signOf(signal) * mean
  const rollback = policy.alphaRollback > 0 && parts.length > 0 ? testAt(meanLogE(parts), policy.alphaRollback) : null
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
