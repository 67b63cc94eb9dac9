import { present } from '../../contract/present.ts'
import type { GateMetricName } from '../store/gate-policy.ts'
import type { GateReading } from '../store/gate-reading.ts'

/** What a rollout does next, as data; `executor.ts` performs it. */
export type RolloutStep =
  | { readonly kind: 'begin-stage'; readonly stage: number; readonly percent: number }
  | {
      readonly kind: 'end-stage'
      readonly stage: number
      readonly freeze: readonly { readonly metric: GateMetricName; readonly d: number; readonly variance: number }[]
    }
  | { readonly kind: 'withdraw' }
  | { readonly kind: 'pause' }
  | { readonly kind: 'complete' }

export interface RolloutSnapshot {
  readonly state: 'running' | 'paused' | 'rolled-back' | 'completed'
  readonly percents: readonly number[]
  /** from 1; 0 before the first */
  readonly stage: number
}

/** Decides the next steps of a rollout. Pure; the same input gives the same steps.
 *  @param reading the gate's reading of the running stage, null before the first stage
 */
export function planRollout(rollout: RolloutSnapshot, reading: GateReading | null): readonly RolloutStep[] {
  if (rollout.state === 'rolled-back' || rollout.state === 'completed') return []
  // Exposed devices suffer while a rollout is paused, so harm withdraws it all the same.
  if (reading?.verdict === 'rollback') return [{ kind: 'withdraw' }]
  if (rollout.state === 'paused') return []
  if (rollout.stage === 0) return [{ kind: 'begin-stage', stage: 1, percent: present(rollout.percents[0], 'a stage') }]
  switch (reading?.verdict) {
    case 'advance': {
      const freeze = reading.metrics.flatMap(({ name, running }) =>
        running === null ? [] : [{ metric: name, ...running }],
      )
      const end: RolloutStep = { kind: 'end-stage', stage: rollout.stage, freeze }
      const percent = rollout.percents[rollout.stage]
      return percent === undefined
        ? [end, { kind: 'complete' }]
        : [end, { kind: 'begin-stage', stage: rollout.stage + 1, percent }]
    }
    case 'pause':
      return [{ kind: 'pause' }]
    case 'hold':
    case undefined:
      return []
  }
}
