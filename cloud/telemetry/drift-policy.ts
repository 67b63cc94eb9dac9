/** Drift: the fleet behaves unlike it did in its first hours on the same model, without any update. */
export interface DriftPolicy {
  /** first hours on a model; a whole day, so that the baseline has every hour of it */
  readonly baselineHours: number
  /** sliding window compared with it */
  readonly recentHours: number
  /** harm below this ratio is nobody's alarm (days differ, rooms differ) */
  readonly toleranceRatio: number
  /** strictness of one look at one cohort. Windows slide, so looks do not add up to one process; with theta0 = ln(tolerance) a quiet
   *  fleet and its parts are so far below that `test/simulation/gate-drift.test.ts` sees no alert over its hours and seeds. */
  readonly alpha: number
  readonly minDevices: number
  /** of a site or a board that is judged by itself */
  readonly minCohortDevices: number
  /** second sliding window of those: few devices take longer to say something */
  readonly cohortHours: number
  /** of a signal that counts, in both windows together */
  readonly minEvents: number
  /** population stability index of a histogram; above .25 is by custom a significant shift, below .1 none */
  readonly psiRaise: number
  readonly psiResolve: number
}

export const DEFAULT_DRIFT_POLICY: DriftPolicy = {
  baselineHours: 24,
  recentHours: 4,
  toleranceRatio: 1.5,
  alpha: 0.001,
  minDevices: 20,
  minCohortDevices: 10,
  cohortHours: 12,
  minEvents: 40,
  psiRaise: 0.25,
  psiResolve: 0.1,
}
