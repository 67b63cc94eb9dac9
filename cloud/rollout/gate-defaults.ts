import { type GatePolicy, type SignalPolicy, SLICES } from '../store/gate-policy.ts'

const signal = (name: string, alphaRollback: number, alphaAdvance = 0, marginRatio = 1.25): SignalPolicy => ({
  ...{ name, alphaRollback, alphaAdvance, marginRatio },
  planRatio: 1.5,
})

/** chosen: what a signal has that is only named: it is read and told, and ends and holds nothing */
export const READ_ONLY = { alphaRollback: 0, alphaAdvance: 0, marginRatio: 1.25, planRatio: 1.5 } as const

/** Defaults. False-rollback probability .05 in all, most of it where the harm is expected: false wakes and, since a deaf model has none
 *  of them, verified wakes. What is beside the model's judgement (energy, time, faults, contact) only withdraws; no proof that it is not
 *  worse is asked before an advance.
 */
export const DEFAULT_GATE_POLICY: GatePolicy = {
  metrics: [
    signal('falseWakesPerHour', 0.015, 0.05),
    signal('verifiedWakesPerHour', 0.008, 0.05),
    signal('contact', 0.005),
    signal('energyPerHour', 0.003),
    signal('activeFraction', 0.002),
    signal('listeningShare', 0.002),
    signal('latency', 0.002),
    signal('restarts', 0.002),
    signal('reverts', 0.002),
    signal('engineFaults', 0.002),
    signal('overruns', 0.001),
  ],
  installFailures: { p0: 0.02, alpha: 0.006 },
  comparison: 'auto',
  ungated: false,
  advisory: false,
  manual: 'none',
  holdbackShare: 0.05,
  undecided: 'auto',
  watchHours: 96,
  slices: SLICES,
  minDevicesPerArm: 30,
  minEvents: 40,
  minCanaryEvents: 5,
  minHours: 24,
  maxHours: 168,
  soakHours: 24,
  afterHours: 336,
  minInstalledShare: 0.8,
  covariateHours: 168,
}
