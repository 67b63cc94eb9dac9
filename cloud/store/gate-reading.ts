import type { GateMetricName } from './gate-policy.ts'

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
  /** (Σy + ½)/Σx for rates, Σy/Σx for means */
  readonly rate: number
}

export type Verdict = 'rollback' | 'advance' | 'hold' | 'pause'

/** Why a verdict is what it is, machine-readable. */
export const GATE_REASONS = [
  'metric-worse',
  'installs-failing',
  'not-inferior',
  'soaked',
  'too-few-devices',
  'too-few-events',
  'too-few-canary-events',
  'too-early',
  'too-few-installed',
  'undecided',
  'max-exposure',
] as const
export type GateReason = (typeof GATE_REASONS)[number]

/** One sequential test: it has decided once `logE >= threshold`. */
export interface TestReading {
  readonly logE: number
  readonly threshold: number
  readonly alpha: number
  readonly rho: number
}

export interface MetricReading {
  readonly name: GateMetricName
  readonly worse: 'higher' | 'lower'
  /** running batch, null before there is a comparison */
  readonly canary: ArmSummary | null
  readonly control: ArmSummary | null
  /** canary / control over all batches, weighted by information; null before there is any */
  readonly ratio: number | null
  /** 95 % interval of the ratio, for people; the tests below decide, not this */
  readonly interval: readonly [low: number, high: number] | null
  /** whether the estimated harm is beyond what the policy tolerates */
  readonly harmful: boolean
  /** sum of 1/variance over the batches */
  readonly information: number
  readonly batches: readonly BatchEvidence[]
  /** the running batch's own evidence, null while it is below the minima; frozen when the stage ends */
  readonly running: BatchEvidence | null
  /** slope of the covariate adjustment in the running batch */
  readonly slope: number
  readonly enough: boolean
  readonly rollback: TestReading | null
  readonly advance: TestReading
}

export interface GateReading {
  readonly verdict: Verdict
  readonly reasons: readonly { readonly code: GateReason; readonly metric?: GateMetricName | 'installFailures' }[]
  readonly elapsedHours: number
  readonly minHours: number
  readonly maxHours: number
  readonly metrics: readonly MetricReading[]
  readonly installs: TestReading & { readonly started: number; readonly failed: number; readonly p0: number }
  readonly exposure: { readonly assigned: number; readonly installed: number; readonly minShare: number }
}
