import * as z from 'zod/mini'
import { LIMITS } from '../../contract/limits.ts'
import { numericSignalSchema } from '../../contract/signals.ts'

/** What a rollout's gate reads and how strict it is. Chosen before the start and frozen with the rollout: the error guarantees
 *  hold only for a policy that did not see the data. Signals are named here and defined in `rollout/signals.ts`, or declared by the bundle: those
 *  are `pipeline/name`.
 */
/** chosen */
export const POLICY_SIGNALS_MAX = 40

const alpha = z.number().check(z.minimum(0), z.maximum(0.2))
const ratio = z.number().check(z.gte(1), z.maximum(10))
const count = z.int().check(z.minimum(0), z.maximum(1_000_000))
const hours = z.number().check(z.minimum(0), z.maximum(8_760))
const share = z.number().check(z.minimum(0), z.maximum(1))

const direction = z.enum(['higher', 'lower'])

/** A signal as the candidate's bundle declares it. */
const declaredSignalSchema = z.strictObject({ signal: numericSignalSchema, worse: direction })
export type DeclaredSignal = z.infer<typeof declaredSignalSchema>

const signalPolicySchema = z.strictObject({
  name: z.string().check(z.minLength(1), z.maxLength(2 * LIMITS.nameLength + 1)),
  /** this signal's share of the false-rollback probability; 0: it never rolls back */
  alphaRollback: alpha,
  /** probability to advance although the candidate is worse by the margin or more; 0: no proof is asked of this signal */
  alphaAdvance: alpha,
  /** the one margin, a ratio: harm within it never withdraws a candidate (but with probability alpha), harm beyond it does, and an
   *  advance is the proof that the harm is within it */
  marginRatio: ratio,
  /** smallest harm beyond the margin that the roll back test is planned to find with 80 % power, as a ratio; fixes its rho */
  planRatio: z.number().check(z.gt(1), z.maximum(10)),
  /** its tests are told and nothing acts on them: it ends, holds and advances nothing, and its alpha is no part of the sum. A gate earns trust
   *  first */
  advisory: z.optional(z.boolean()),
  /** the direction that harms, of a declared signal whose bundle says none */
  worse: z.optional(direction),
  /** what the bundle declares it as, filled in when the rollout is planned: whoever asks for it only names it */
  declared: z.optional(declaredSignalSchema),
})
export type SignalPolicy = z.infer<typeof signalPolicySchema>

/** chosen, `docs/decisions/0022-slices-of-a-fleet.md`: what slices have of each signal's error probability, and from how many devices on */
export const SLICES = { share: 0.2, minDevices: 20 } as const

export const gatePolicySchema = z.strictObject({
  metrics: z.array(signalPolicySchema).check(z.minLength(1), z.maxLength(POLICY_SIGNALS_MAX)),
  installFailures: z.strictObject({
    /** service level: at most this share of devices may fail to install */
    p0: z.number().check(z.gt(0), z.lt(1)),
    alpha,
  }),
  /** what canaries are compared with. `control`: devices that were drawn by lot to stay; `past`: their own hours before, which the time
   *  of day, the weather and everything else that changed may distort; `auto`: control where the fleet is large enough for it */
  comparison: z._default(z.enum(['auto', 'control', 'past']), 'auto'),
  /** no comparison at all: stages follow each other after the soak unless installs fail or devices fall silent; to be asked for by name */
  ungated: z._default(z.boolean(), false),
  /** verdicts are told and nobody acts on them but a person */
  advisory: z._default(z.boolean(), false),
  /** stages that wait at their end for a person (`rollout advance`), by their percentage; harm takes them back all the same */
  manual: z._default(
    z.union([z.enum(['none', 'all']), z.array(z.number().check(z.gt(0), z.maximum(100))).check(z.maxLength(10))]),
    'none',
  ),
  /** share of the devices that stay on their model until the rollout completes, as control of the last stage */
  holdbackShare: z._default(share, 0.05),
  /** what follows when a stage is undecided at its longest exposure. `auto`: a stage that cannot decide by its size only watches for
   *  `watchHours` and goes on, and so does a fleet that is too small for a control, both labelled so; else the rollout pauses */
  undecided: z._default(z.enum(['auto', 'pause', 'advance']), 'auto'),
  /** how long a stage watches that cannot decide by its size */
  watchHours: z._default(hours, 96),
  /** boards, sites and environments of the fleet are tested as the whole is. `share` of each signal's error probability is theirs; one of
   *  fewer than `minDevices` devices at the start is left to the whole */
  slices: z._default(
    z.strictObject({
      share: z.number().check(z.minimum(0), z.maximum(0.9)),
      minDevices: z.int().check(z.minimum(10), z.maximum(1_000_000)),
    }),
    SLICES,
  ),
  minDevicesPerArm: count,
  minEvents: count,
  minCanaryEvents: count,
  /** no advance before; a judgement: one day, so that both arms saw every hour of it */
  minHours: hours,
  /** a stage that has not decided by then pauses and asks a person */
  maxHours: hours,
  /** the last stage soaks this long */
  soakHours: hours,
  /** for so long after the end the devices are compared with what they did before the rollout */
  afterHours: z._default(hours, 336),
  /** share of a stage's devices that must run the candidate before the stage may end, of those that were heard since they were told */
  minInstalledShare: share,
  /** hours before a stage whose rates each device is measured against */
  covariateHours: hours,
})
export type GatePolicy = z.infer<typeof gatePolicySchema>
