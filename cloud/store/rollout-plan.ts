/** chosen: beyond a quarter of a year it is seasons that differ, and a hold-back that nobody ends */
export const EXPERIMENT_HOURS_MAX = 2_160

/** How a fleet is sliced. */
export type SliceBy = 'board' | 'site' | 'environment'

export interface SliceName {
  readonly by: SliceBy
  readonly value: string
}

/** A slice that the gate tests, with its weight in the mean of each signal's e-values. */
export interface FleetSlice extends SliceName {
  /** devices at the start */
  readonly devices: number
  readonly weight: number
}

/** What is worked out when a rollout starts and frozen with it, as the policy is. */
export interface StagePlan {
  readonly percent: number
  /** devices exposed by its end, and how many of them are new */
  readonly exposed: number
  readonly fresh: number
  /** devices that stay on their model meanwhile */
  readonly control: number
  /** whether it is large enough to show that a candidate with half the false wakes is no worse */
  readonly decides: boolean
  /** whether it is large enough to show with 80 % power that an equal candidate is no worse */
  readonly provesEqual: boolean
  /** smallest ratio of false wakes that is withdrawn with 80 % power by its end; null: none that this could tell */
  readonly smallestHarm: number | null
  /** the same of each signal that can take the candidate back; absent in plans of before */
  readonly finds?: readonly SignalFind[]
  /** what the first signal that asks for a proof finds in each slice of the plan, as a ratio; null: nothing */
  readonly slices?: readonly (number | null)[]
  /** bytes on the air of its new devices, as is expected: who they are is drawn by lot. Absent in plans of before */
  readonly bytes?: number
}

/** The smallest harm that a signal's test finds with 80 % power by the end of a stage. */
export interface SignalFind {
  readonly name: string
  readonly words: string
  readonly worse: 'higher' | 'lower'
  /** of rates and amounts, in the direction that harms; null: it finds none, or nothing is known of what devices did before */
  readonly ratio: number | null
  /** of first events (contact, restarts, faults): share of the canaries that have it where no other device does; null: not even all */
  readonly share: number | null
}

export interface RolloutPlan {
  /** devices that take part at the start */
  readonly devices: number
  /** devices that could, and were not heard for too long: they are left out until they are heard */
  readonly unheard: number
  readonly holdback: number
  readonly comparison: 'control' | 'past' | 'none'
  /** devices whose own past is known, and for how many hours in the mean */
  readonly history: { readonly devices: number; readonly hours: number }
  readonly stages: readonly StagePlan[]
  /** boards, sites and environments that are tested beside the whole; absent in plans of before */
  readonly slices?: readonly FleetSlice[]
  /** stages that could decide, when the first of these cannot */
  readonly proposal: readonly number[] | null
}
