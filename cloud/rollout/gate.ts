import type { GateMetricName, GatePolicy, MetricPolicy } from '../store/gate-policy.ts'
import type { BatchEvidence, GateReading, MetricReading, TestReading, Verdict } from '../store/gate-reading.ts'
import { exactLogE } from './exact-test.ts'
import { type DeviceOutcome, type LogRatio, logRatio } from './log-ratio.ts'
import { informationForPower, oneSidedLogE, oneSidedRho } from './normal-mixture.ts'

/** The gate of a rollout: what the canary arm measured against what the control arm measured, looked at as often as one
 *  likes. Pure. @see docs of each test in `log-ratio.ts`, `normal-mixture.ts`, `exact-test.ts`
 */

export interface ArmOutcomes {
  readonly canary: readonly DeviceOutcome[]
  readonly control: readonly DeviceOutcome[]
}

export interface GateInput {
  /** hours since the stage began */
  readonly elapsedHours: number
  /** hours after which an undecided stage pauses: the policy's, plus what a person granted by resuming */
  readonly maxHours: number
  /** evidence frozen when earlier stages ended */
  readonly frozen: Readonly<Record<GateMetricName, readonly BatchEvidence[]>>
  /** outcomes of the running stage's batch, or null when no control arm is left (the last stage) */
  readonly current: Readonly<Record<GateMetricName, ArmOutcomes>> | null
  /** devices of the whole rollout that began to install the candidate, and those that failed or reverted */
  readonly installs: { readonly started: number; readonly failed: number }
  /** devices told to run the candidate, and those whose last report says they do */
  readonly exposure: { readonly assigned: number; readonly installed: number }
}

/** S and I of the summed batches at theta0, in the direction in which larger is worse. */
function evidence(batches: readonly BatchEvidence[], sign: 1 | -1, theta0: number): { s: number; information: number } {
  let s = 0
  let information = 0
  for (const { d, variance } of batches) {
    s += (sign * d - theta0) / variance
    information += 1 / variance
  }
  return { s, information }
}

/** The roll back test: evidence against "the candidate is no worse" (theta0 = 0). */
export function rollbackTest(batches: readonly BatchEvidence[], policy: MetricPolicy): TestReading {
  const { s, information } = evidence(batches, policy.worse === 'higher' ? 1 : -1, 0)
  const rho = oneSidedRho(informationForPower(Math.log(policy.planRatio), policy.alphaRollback), policy.alphaRollback)
  return test(information === 0 ? 0 : oneSidedLogE(s, information, rho), policy.alphaRollback, rho)
}

/** The advance test: evidence against "the candidate is worse by the margin or more" (theta0 = ln margin, sign turned). */
export function advanceTest(batches: readonly BatchEvidence[], policy: MetricPolicy): TestReading {
  const theta0 = Math.log(policy.marginRatio)
  const { s, information } = evidence(batches, policy.worse === 'higher' ? 1 : -1, theta0)
  const rho = oneSidedRho(informationForPower(theta0, policy.alphaAdvance), policy.alphaAdvance)
  return test(information === 0 ? 0 : oneSidedLogE(-s, information, rho), policy.alphaAdvance, rho)
}

const test = (logE: number, alpha: number, rho: number): TestReading => ({
  logE,
  threshold: Math.log(1 / alpha),
  alpha,
  rho,
})

const decided = ({ logE, threshold }: TestReading): boolean => logE >= threshold

type Shortage = 'too-few-devices' | 'too-few-events' | 'too-few-canary-events'

/** What the running batch lacks for its normal approximation. Both directions need it: with fewer devices the variance
 *  over devices is itself unknown, with fewer events the log of a count is skewed. The hours are no such condition (a
 *  judgement about the daily cycle), so they hold back an advance only and never a roll back. */
function shortages(comparison: LogRatio | undefined, policy: GatePolicy): readonly Shortage[] {
  if (comparison === undefined) return ['too-few-devices']
  const { canary, control } = comparison
  const missing: Shortage[] = []
  if (Math.min(canary.devices, control.devices) < policy.minDevicesPerArm) missing.push('too-few-devices')
  if (canary.events + control.events < policy.minEvents) missing.push('too-few-events')
  if (canary.events < policy.minCanaryEvents) missing.push('too-few-canary-events')
  return missing
}

function readMetric(
  metric: MetricPolicy,
  policy: GatePolicy,
  input: GateInput,
): { reading: MetricReading; missing: readonly Shortage[] } {
  const outcomes = input.current?.[metric.name]
  const comparison = outcomes === undefined ? undefined : logRatio(outcomes.canary, outcomes.control)
  const missing = input.current === null ? [] : shortages(comparison, policy)
  // A batch below the minima adds nothing yet: its variance cannot be trusted.
  const running = comparison !== undefined && missing.length === 0 ? [comparison] : []
  const batches = [...input.frozen[metric.name], ...running].map(({ d, variance }) => ({ d, variance }))
  const { s, information } = evidence(batches, 1, 0)
  const mean = information > 0 ? s / information : 0
  const harm = metric.worse === 'higher' ? mean : -mean
  const spread = information > 0 ? 1.96 / Math.sqrt(information) : 0
  return {
    missing,
    reading: {
      name: metric.name,
      worse: metric.worse,
      canary: comparison?.canary ?? null,
      control: comparison?.control ?? null,
      ratio: information > 0 ? Math.exp(mean) : null,
      interval: information > 0 ? [Math.exp(mean - spread), Math.exp(mean + spread)] : null,
      harmful: information > 0 && harm > Math.log(metric.toleranceRatio),
      information,
      batches,
      running: batches[input.frozen[metric.name].length] ?? null,
      slope: comparison?.slope ?? 0,
      enough: missing.length === 0,
      rollback: metric.alphaRollback > 0 ? rollbackTest(batches, metric) : null,
      advance: advanceTest(batches, metric),
    },
  }
}

/** Judges a stage as it stands.
 *  @returns roll back as soon as one test has decided (Σ alpha over them is the false-rollback probability); advance when
 *    every metric is not inferior and the minimum exposure is met; pause at maximum exposure; otherwise hold
 */
export function judgeStage(policy: GatePolicy, input: GateInput): GateReading {
  const readings = policy.metrics.map((metric) => readMetric(metric, policy, input))
  const { started, failed } = input.installs
  const { p0, alpha } = policy.installFailures
  const installs = { ...test(exactLogE(Math.min(failed, started), started, p0), alpha, 0), started, failed, p0 }
  const share = input.exposure.assigned === 0 ? 0 : input.exposure.installed / input.exposure.assigned

  const harmful: GateReading['reasons'] = [
    ...(alpha > 0 && decided(installs) ? [{ code: 'installs-failing', metric: 'installFailures' } as const] : []),
    ...readings
      .filter(({ reading }) => reading.rollback !== null && decided(reading.rollback) && reading.harmful)
      .map(({ reading }) => ({ code: 'metric-worse', metric: reading.name }) as const),
  ]
  const hours = input.current === null ? policy.soakHours : policy.minHours
  const blocking: GateReading['reasons'] = [
    ...(input.elapsedHours < hours ? [{ code: 'too-early' } as const] : []),
    ...(share < policy.minInstalledShare ? [{ code: 'too-few-installed' } as const] : []),
    ...(input.current === null
      ? []
      : readings.flatMap(({ reading, missing }) => [
          ...missing.map((code) => ({ code, metric: reading.name }) as const),
          ...(missing.length === 0 && !decided(reading.advance)
            ? [{ code: 'undecided', metric: reading.name } as const]
            : []),
        ])),
  ]
  const [verdict, reasons] = choose(harmful, blocking, input)
  return {
    verdict,
    reasons,
    elapsedHours: input.elapsedHours,
    minHours: hours,
    maxHours: input.maxHours,
    metrics: readings.map(({ reading }) => reading),
    installs,
    exposure: { ...input.exposure, minShare: policy.minInstalledShare },
  }
}

function choose(
  harmful: GateReading['reasons'],
  blocking: GateReading['reasons'],
  input: GateInput,
): readonly [Verdict, GateReading['reasons']] {
  if (harmful.length > 0) return ['rollback', harmful]
  if (blocking.length === 0) return ['advance', [{ code: input.current === null ? 'soaked' : 'not-inferior' }]]
  if (input.elapsedHours >= input.maxHours) return ['pause', [{ code: 'max-exposure' }, ...blocking]]
  return ['hold', blocking]
}
