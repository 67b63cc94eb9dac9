import { present } from '../../contract/present.ts'
import type { BatchEvidence, GateReading, SliceReading } from '../store/gate-reading.ts'

/** What a rollout does next, as data; `executor.ts` performs it. */
export type RolloutStep =
  | { readonly kind: 'begin-stage'; readonly stage: number; readonly percent: number }
  | {
      readonly kind: 'end-stage'
      readonly stage: number
      readonly freeze: readonly {
        readonly signal: string
        readonly batch: BatchEvidence | null
        readonly later: number
        /** in the order of the rollout's slices */
        readonly slices: readonly Pick<SliceReading, 'running' | 'later'>[]
      }[]
    }
  | { readonly kind: 'withdraw' }
  | { readonly kind: 'pause' }
  | { readonly kind: 'complete' }

export interface RolloutSnapshot {
  readonly state: 'running' | 'paused' | 'rolled-back' | 'completed'
  readonly percents: readonly number[]
  /** from 1; 0 before the first */
  readonly stage: number
  readonly policy: { readonly advisory: boolean }
  /** how long an experiment lasts; absent or null: it is none */
  readonly experimentHours?: number | null
}

/** Decides the next steps of a rollout. Pure; the same input gives the same steps.
 *  @param reading the gate's reading of the running stage, null before the first stage
 */
export function planRollout(rollout: RolloutSnapshot, reading: GateReading | null): readonly RolloutStep[] {
  if (rollout.state === 'rolled-back' || rollout.state === 'completed') return []
  const { experimentHours = null } = rollout
  const isTimeUp = experimentHours !== null && reading !== null && reading.elapsedHours >= experimentHours
  // What the gate says is told, and a person acts on it or does not. An experiment ends all the same: that is no verdict.
  if (rollout.policy.advisory && reading !== null) return isTimeUp ? stepsOn(rollout, reading, false) : []
  // Exposed devices suffer while a rollout is paused, so harm withdraws it all the same.
  if (reading?.verdict === 'rollback') return [{ kind: 'withdraw' }]
  if (rollout.state === 'paused') return []
  if (rollout.stage === 0) return [{ kind: 'begin-stage', stage: 1, percent: present(rollout.percents[0], 'a stage') }]
  // It goes on for its time whatever is proven before, and nothing waits for a person at its end.
  if (experimentHours !== null) return isTimeUp ? stepsOn(rollout, reading, false) : []
  switch (reading?.verdict) {
    case 'advance':
      return stepsOn(rollout, reading, false)
    case 'pause':
      return [{ kind: 'pause' }]
    case 'hold':
    case undefined:
      return []
  }
}

/** The steps out of the running stage into the next one, or out of the rollout.
 *  @param full skip what is between and expose everybody
 */
export function stepsOn(rollout: RolloutSnapshot, reading: GateReading | null, full: boolean): readonly RolloutStep[] {
  const { stage, percents } = rollout
  const next = full && stage < percents.length ? percents.length : stage + 1
  const percent = percents[next - 1]
  const last: RolloutStep = percent === undefined ? { kind: 'complete' } : { kind: 'begin-stage', stage: next, percent }
  if (stage === 0) return [last]
  // A comparison with the past is of everybody exposed each time: adding it up would count the same twice.
  const metrics = reading?.comparison === 'control' ? reading.metrics : []
  const freeze = metrics.map(({ name, running, later, slices = [] }) => ({
    ...{ signal: name, batch: running, later },
    slices: slices.map((slice) => ({ running: slice.running, later: slice.later })),
  }))
  return [{ kind: 'end-stage', stage, freeze }, last]
}
