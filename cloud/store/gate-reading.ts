import type { FleetSlice, SliceName } from './rollout-plan.ts'

/** Evidence of one finished or running batch: its log ratio and variance. Batches are added, raw counts never: pooling
 *  batches under a daily trend has 12 % false alarms.
 */
export interface BatchEvidence {
  readonly d: number
  readonly variance: number
}

export interface ArmSummary {
  readonly devices: number
  readonly events: number
  readonly exposure: number
  /** (Σy + ½)/Σx for counts, Σy/Σx for amounts */
  readonly rate: number
}

export type Verdict = 'rollback' | 'advance' | 'hold' | 'pause'

/** Why a verdict is what it is, machine-readable. */
export const GATE_REASONS = [
  'metric-worse',
  'installs-failing',
  'not-inferior',
  'soaked',
  'watched',
  'ungated',
  'not-proven',
  'too-few-devices',
  'too-few-events',
  'too-few-canary-events',
  'too-early',
  'too-few-installed',
  'lost-canaries',
  'suspect',
  'slice-suspect',
  'undecided',
  'max-exposure',
  'waits-for-person',
] as const
export type GateReason = (typeof GATE_REASONS)[number]

export interface Reason {
  readonly code: GateReason
  readonly metric?: string
  readonly slice?: SliceName
}

/** One sequential test: it has decided once `logE >= threshold`. */
export interface TestReading {
  readonly logE: number
  readonly threshold: number
  readonly alpha: number
}

/** One part of a test. The test's e-value is the mean of its parts' with these weights, which is an e-value again. */
export interface TestPart {
  /** `ratio`: log ratio of the batches; `later`: of everybody exposed, stage by stage; `first`: first events of devices; `level`: against a
   *  service level; `slices`: the same in each slice of the fleet */
  readonly kind: 'ratio' | 'later' | 'first' | 'level' | 'slices'
  readonly weight: number
  readonly logE: number
}

export interface SignalReading {
  readonly name: string
  readonly worse: 'higher' | 'lower'
  /** running batch, null before there is a comparison */
  readonly canary: ArmSummary | null
  readonly control: ArmSummary | null
  /** canary / control over all batches, weighted by information; null before there is any */
  readonly ratio: number | null
  /** 95 % interval of the ratio, for people; the tests below decide, not this */
  readonly interval: readonly [low: number, high: number] | null
  readonly marginRatio: number
  /** sum of 1/variance over the batches */
  readonly information: number
  readonly batches: readonly BatchEvidence[]
  /** the running batch's own evidence, null while it is below the minima; frozen when the stage ends */
  readonly running: BatchEvidence | null
  /** log e-value of the running stage's comparison of everybody exposed; frozen when the stage ends */
  readonly later: number
  /** devices that had a first event, of those that were at risk; null where first events are not looked at */
  readonly first: FirstEvents | null
  readonly enough: boolean
  readonly parts: readonly TestPart[]
  /** of each slice of the reading, in its order; absent where the fleet is not sliced */
  readonly slices?: readonly SliceReading[]
  readonly rollback: TestReading | null
  readonly advance: TestReading | null
}

/** What one slice says of a signal. */
export interface SliceReading {
  readonly canary: ArmSummary | null
  readonly control: ArmSummary | null
  /** canary / control over all batches; null before there is any */
  readonly ratio: number | null
  readonly first: FirstEvents | null
  /** log e-value of its own test, to be weighted */
  readonly logE: number
  /** frozen when the stage ends, as of the whole */
  readonly running: BatchEvidence | null
  readonly later: number
}

export interface FirstEvents {
  readonly canary: number
  readonly canaryAtRisk: number
  readonly control: number
  readonly controlAtRisk: number
}

export interface Exposure {
  /** devices told to run the candidate */
  readonly assigned: number
  /** of those, heard since they were told */
  readonly heard: number
  /** of those, running the candidate and not silent */
  readonly installed: number
  /** of those that were heard, silent now for longer than ever before the rollout */
  readonly silent: number
  /** of those told, without a key, so that what they run and report is their gateway's word; absent in readings of before */
  readonly unkeyed?: number | undefined
  readonly minShare: number
}

export interface GateReading {
  readonly verdict: Verdict
  readonly reasons: readonly Reason[]
  /** what advisory signals say, on which nobody acts; absent: nothing */
  readonly advice?: readonly Reason[]
  /** what canaries were compared with */
  readonly comparison: 'control' | 'past' | 'none'
  readonly elapsedHours: number
  readonly minHours: number
  readonly maxHours: number
  readonly metrics: readonly SignalReading[]
  readonly slices?: readonly FleetSlice[]
  readonly installs: TestReading & { readonly started: number; readonly failed: number; readonly p0: number }
  readonly exposure: Exposure
  /** devices with data over devices that should have some, by arm */
  readonly counted: {
    readonly canary: readonly [counted: number, of: number]
    readonly control: readonly [counted: number, of: number]
  }
}
