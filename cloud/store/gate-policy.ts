import * as z from 'zod/mini'

/** What a rollout's gate compares and how strict it is. Chosen before the start and frozen with the rollout: the error
 *  guarantees hold only for a policy that did not see the data.
 */
export const GATE_METRICS = ['falseWakesPerHour', 'verifiedWakesPerHour'] as const
export type GateMetricName = (typeof GATE_METRICS)[number]

const alpha = z.number().check(z.minimum(0), z.maximum(0.2))
const ratio = z.number().check(z.gt(1), z.maximum(10))
const count = z.int().check(z.minimum(0), z.maximum(1_000_000))
const hours = z.number().check(z.minimum(0), z.maximum(8_760))

const metricPolicySchema = z.strictObject({
  name: z.enum(GATE_METRICS),
  /** the direction that harms */
  worse: z.enum(['higher', 'lower']),
  /** this metric's share of the false-rollback probability; 0: it never rolls back */
  alphaRollback: alpha,
  /** probability to advance although the candidate is worse by `margin` or more */
  alphaAdvance: alpha,
  /** largest harm that counts as "no worse", as a ratio above 1 */
  marginRatio: ratio,
  /** a harm estimated below this never rolls back, however sure the test is of it; 1: every harm beyond chance does */
  toleranceRatio: z._default(z.number().check(z.minimum(1), z.maximum(10)), 1),
  /** smallest harm that the roll back test is planned to find with 80 % power; fixes its rho */
  planRatio: ratio,
})
export type MetricPolicy = z.infer<typeof metricPolicySchema>

export const gatePolicySchema = z.strictObject({
  metrics: z.array(metricPolicySchema).check(z.minLength(1), z.maxLength(GATE_METRICS.length)),
  installFailures: z.strictObject({
    /** service level: at most this share of devices may fail to install */
    p0: z.number().check(z.gt(0), z.lt(1)),
    alpha,
  }),
  minDevicesPerArm: count,
  minEvents: count,
  minCanaryEvents: count,
  /** no advance before; a judgement: one day, so that both arms saw every hour of it */
  minHours: hours,
  /** a stage that has not decided by then pauses and asks a person */
  maxHours: hours,
  /** the last stage (100 %) has no control arm: it only soaks this long */
  soakHours: hours,
  /** share of a stage's devices that must run the candidate before the stage may end */
  minInstalledShare: z.number().check(z.minimum(0), z.maximum(1)),
  /** hours before a stage whose rates serve as covariate */
  covariateHours: hours,
})
export type GatePolicy = z.infer<typeof gatePolicySchema>
