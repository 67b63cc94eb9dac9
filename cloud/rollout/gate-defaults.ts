import type { GatePolicy } from '../store/gate-policy.ts'

/** Defaults. False-rollback probability .05 in all: .03 + .01 + .01, most of it where the harm is expected. Minimum exposure
 *  from the simulations behind `test/simulation/gate.test.ts`. A deaf model has no false wakes, so verified wakes are gated
 *  beside them, and a fall of them rolls back too instead of waiting for a person: but only one of the size that would not have
 *  been let through either, since fewer wakes within the margin are the usual price of fewer false ones.
 */
export const DEFAULT_GATE_POLICY: GatePolicy = {
  metrics: [
    {
      name: 'falseWakesPerHour',
      worse: 'higher',
      alphaRollback: 0.03,
      alphaAdvance: 0.05,
      marginRatio: 1.25,
      toleranceRatio: 1,
      planRatio: 1.5,
    },
    {
      name: 'verifiedWakesPerHour',
      worse: 'lower',
      alphaRollback: 0.01,
      alphaAdvance: 0.05,
      marginRatio: 1.25,
      toleranceRatio: 1.25,
      planRatio: 1.5,
    },
  ],
  installFailures: { p0: 0.02, alpha: 0.01 },
  minDevicesPerArm: 30,
  minEvents: 40,
  minCanaryEvents: 5,
  minHours: 24,
  maxHours: 168,
  soakHours: 24,
  minInstalledShare: 0.8,
  covariateHours: 168,
}
