import { z } from '@hono/zod-openapi'
import { BOARD_PATTERN, SHA256_PATTERN } from '../../contract/fields.ts'
import { GIVEN_ID_PATTERN, ID_WORDS, NAME_PATTERN } from '../../contract/id.ts'
import { LIMITS } from '../../contract/limits.ts'
import { READINESS_CODES } from '../../platform/readiness.ts'
import { ALERT_SEVERITIES } from '../alert-severity.ts'
import { RELEASE_RISKS } from '../store/approval-store.ts'
import { RELEASE_STATES } from '../store/model-store.ts'
import { POLICY_REFERENCE } from '../store/policy-store.ts'
import { SERVICE_ROLES } from '../store/roles.ts'
import { EXPERIMENT_HOURS_MAX } from '../store/rollout-plan.ts'

/** Request and response shapes of the HTTP API, for validation and for /openapi.json. */

const HISTORY_PATTERN = new RegExp(`${GIVEN_ID_PATTERN.source.slice(0, -1)}(~[0-9]{1,15})?$`)
/** of a device, site or gateway; read in any case, canonical from here on */
export const id = z.string().regex(GIVEN_ID_PATTERN, ID_WORDS).toLowerCase()
export const name = z.string().regex(NAME_PATTERN)
/** of a query: only what belongs to, or follows, this family */
export const ofFamily = name.optional().openapi({ description: 'Only what belongs to, or follows, this family' })
export const board = z
  .string()
  .regex(BOARD_PATTERN, 'a board is named by letters, digits, dots, dashes and underscores')
export const sha256 = z.string().regex(SHA256_PATTERN)
/** A device, or the history of one that was removed and enrolled anew since: its id, `~` and a number. */
export const deviceName = z.string().regex(HISTORY_PATTERN, ID_WORDS).toLowerCase()
export const reason = z.string().min(1).max(500)
const count = z.number().int().nonnegative()
const numberOrNull = z.number().nullable()
const label = z.object({ name: z.string(), version: count })

const problem = z
  .object({ type: z.string(), title: z.string(), status: z.number(), code: z.string(), detail: z.string() })
  .openapi('Problem')

export const enrolRequest = z
  .array(
    z.strictObject({
      device: id,
      site: id,
      board,
      tags: z.array(z.string().min(1).max(LIMITS.nameLength)).max(16).optional(),
      /** name of the release it is to run; the production model when absent */
      model: name.optional(),
      /** what it is to follow; default: what it follows, that of `model`, the only one there is, or `default` */
      family: name.optional(),
      /** Ed25519, hex, vouched for by the operator: for devices whose keys a factory or a simulator has made */
      publicKey: sha256.optional(),
      /** validity of its bearer token; a device with a public key gets one only if this says so */
      ttlSeconds: z.number().int().min(60).max(315_360_000).optional(),
    }),
  )
  .min(1)
  .max(LIMITS.ingestRows)
export const enrolResponse = z
  .object({
    ttlSeconds: count,
    devices: z.array(z.object({ device: z.string(), token: z.string().nullable(), expiresMs: numberOrNull })),
  })
  .openapi('Enrolment')

export const tokenRequest = z.strictObject({
  subject: id,
  role: z.enum(SERVICE_ROLES),
  /** what a gateway without a key may speak for; needed when its name is new */
  sites: z.array(id).min(1).max(LIMITS.gatewaySites).optional(),
  ttlSeconds: z.number().int().min(60).max(315_360_000).optional(),
})
const reasons = z.array(z.object({ code: z.enum(READINESS_CODES), detail: z.string() })).readonly()
export const readiness = z.object({ ready: z.boolean(), reasons, warnings: reasons }).openapi('Readiness')

/** as tokens are named in lists */
const jti = z.string().regex(/^[0-9a-f]{32}$/)
export const tokenRevocation = z
  .strictObject({
    subject: id.optional().openapi({ description: 'all that it was given until now' }),
    jti: jti.optional().openapi({ description: 'one, and what it was renewed to' }),
    minted: z.boolean().optional().openapi({ description: 'with `subject`: also what its tokens have minted' }),
    reason,
  })
  .refine(({ subject, jti }) => (subject === undefined) !== (jti === undefined), 'either "subject" or "jti"')
export const tokenRevoked = z.object({
  subject: z.string(),
  beforeMs: count,
  revoked: count.openapi({ description: 'tokens that were good until now, of `jti` or `minted`' }),
  mintedStill: count.openapi({
    description: 'tokens that those of the subject have minted for others and that are good',
  }),
})
export const serviceTokens = z.object({
  atMs: count,
  tokens: z.array(
    z.object({
      jti: z.string(),
      role: z.enum(SERVICE_ROLES),
      subject: z.string(),
      issuedMs: count,
      expiresMs: count,
      revokedMs: numberOrNull,
      parent: z.string().nullable(),
      parentSubject: z.string().nullable(),
    }),
  ),
  next: z.string().nullable(),
})
export const tokenResponse = z.object({ token: z.string(), expiresMs: count }).openapi('ServiceToken')

/** For `If-Match`: it is another when somebody, or the gate, has decided something else about the thing. */
const etag = z.string().openapi({ example: '"3q2-7wAbCdEfGhIj"' })

export const device = z
  .object({
    etag,
    name: z.string(),
    site: z.string(),
    board: z.string(),
    /** what it follows: its production and rollouts */
    family: z.string(),
    tags: z.array(z.string()).readonly(),
    enrolledMs: numberOrNull,
    lastSeenMs: count,
    key: z.object({ keyId: z.string(), sinceMs: count }).nullable(),
    revokedMs: numberOrNull,
    attested: z.boolean(),
    attestedRun: z.object({ model: z.string(), assignmentSeq: numberOrNull, atMs: count }).nullable(),
    removedMs: numberOrNull,
    updateWindow: z.string().nullable(),
    target: label.nullable(),
    /** a person chose its target; no rollout moves it */
    pinned: z.boolean(),
    assignmentSeq: count,
    rollout: z.object({ id: z.string(), stage: count, arm: z.enum(['canary', 'control', 'none']) }).nullable(),
    /** rollout by whose end it keeps its target beside production, for it was chosen for it; null: it follows production, or a person */
    keptBy: z.string().nullable(),
  })
  .openapi('Device')

const named = z.record(z.string(), z.number())
/** "Europe/Berlin 02:00-05:00", in a zone of the IANA database; null: none */
export const windowRequest = z.strictObject({ window: z.string().max(64).nullable() })
export const windowAnswer = z.object({ name: z.string(), window: z.string().nullable() }).openapi('UpdateWindow')
const latest = z
  .object({
    model: z.string(),
    modelName: z.string().nullable(),
    atMs: count,
    level: z.string(),
    batteryPermille: count,
    acceptedSeq: count,
  })
  .nullable()
/** A device in a list. */
export const deviceRow = device.extend({ latest }).openapi('DeviceRow')
const event = z
  .object({
    device: z.string(),
    boot: count,
    seq: count,
    atMs: count,
    receivedMs: count,
    code: z.string(),
    model: z.string().nullable(),
    modelName: z.string().nullable(),
    error: z.string().nullable(),
    detail: z.string().nullable(),
    assignmentSeq: numberOrNull,
    attested: z.boolean().nullable(),
  })
  .openapi('DeviceEvent')
export const events = z.object({ atMs: count, events: z.array(event), next: z.string().nullable() })
const gatewayFields = {
  name: z.string(),
  /** unenrolled: heard of before gateways were enrolled; nothing of it is taken */
  state: z.enum(['unenrolled', 'active', 'quarantined', 'revoked']),
  sites: z.array(z.string()).readonly(),
  /** null: it is known by its token alone */
  keyId: z.string().nullable(),
  enrolledMs: numberOrNull,
  quarantinedMs: numberOrNull,
  revokedMs: numberOrNull,
  reason: z.string().nullable(),
  firstMs: count,
  /** 0: it has sent nothing yet */
  lastMs: count,
  rows: count,
  /** of those, rows that were refused */
  refused: count,
  silent: z.boolean(),
}
export const gateway = z.object(gatewayFields).openapi('Gateway')
export const gateways = z.object({
  atMs: count,
  gateways: z.array(gateway),
  next: z.string().nullable(),
})
export const deviceDetail = device
  .extend({
    latest,
    /** why it does not run another model; null: it runs what it is to run */
    notUpdating: z.object({ code: z.string(), words: z.string() }).nullable(),
    boots: z
      .array(
        z.object({
          incarnation: count,
          boot: count,
          seq: count,
          model: z.string(),
          atMs: count,
          startedMs: count,
          slot: count,
          level: z.string(),
          batteryPermille: count,
          assignmentSeq: count,
          counters: named,
          energyMj: named,
          levelMs: named,
        }),
      )
      .readonly(),
  })
  .openapi('DeviceDetail')

const risk = z.enum(RELEASE_RISKS)
export const releaseRequest = z.strictObject({
  name,
  version: count.max(LIMITS.counter),
  /** what it belongs to; default: as others of its name or its delegated role, that of its parent, the role's name, `default` */
  family: name.optional(),
  /** that it has at least; it never falls */
  risk: risk.optional(),
})
export const release = z
  .object({
    name: z.string(),
    version: count,
    sha256: z.string(),
    prefix: z.string(),
    bytes: count,
    parent: z.string().nullable(),
    state: z.enum(RELEASE_STATES),
    /** what it belongs to: its versions replace each other */
    family: z.string(),
    /** its own; its family may have a higher one */
    risk,
    registeredMs: count,
    securityCounter: count,
    boards: z.array(z.string()).readonly(),
    /** sha256 of the bundle that judges its wakes; null: what gateways have does */
    verifier: z.string().nullable(),
    history: z
      .array(
        z.object({
          from: z.enum(RELEASE_STATES).nullable(),
          to: z.enum(RELEASE_STATES),
          atMs: count,
          by: z.string(),
          reason: z.string(),
        }),
      )
      .readonly(),
  })
  .openapi('Release')
/** What a family is at. */
export const family = z
  .object({
    name: z.string(),
    releases: count,
    devices: count,
    productions: z.array(label.extend({ boards: z.array(z.string()).readonly() })).readonly(),
    /** ids of rollouts that are running or paused */
    rollouts: z.array(z.string()).readonly(),
  })
  .openapi('Family')
export const releasePatch = z
  .object({
    /** sha256 of the bundle that it turns into the release's; null: it needs none */
    base: z.string().nullable(),
    sha256: z.string(),
    bytes: count,
    /** of the bundle's bytes */
    share: z.number(),
    /** whether its bytes are here; without them all the release cannot be registered */
    stored: z.boolean(),
  })
  .openapi('ReleasePatch')
export const signal = z
  .object({
    pipeline: z.string(),
    name: z.string(),
    kind: z.enum(['count', 'ratio', 'mean', 'histogram']),
    unit: z.string(),
    harm: z.enum(['higher', 'lower']).nullable(),
    /** of a count: how many; of a ratio and a mean: of how many; of a histogram: in all bins */
    count: z.number(),
    /** rate per listening hour, share or mean; null: nothing to divide by */
    value: z.number().nullable(),
    /** of a histogram: upper edge of each bin and how many; the last is open */
    bins: z
      .array(z.object({ most: z.number().nullable(), count: z.number() }))
      .readonly()
      .nullable(),
  })
  .openapi('Signal')
export const releaseParams = z.object({
  name,
  version: z.coerce
    .number<string>()
    .int()
    .min(0)
    .max(LIMITS.counter)
    .openapi({ param: { required: true } }),
})
export const stopRequest = z.strictObject({ reason, version: count.optional() })
export const stopped = z
  .object({
    takenBack: z.array(z.string()).readonly().openapi({ description: 'Ids of rollouts' }),
    moved: count.openapi({ description: 'Devices that were given another release' }),
    refusing: count.openapi({ description: 'Of those: they will refuse it, its security counter is lower' }),
    pinned: count.openapi({ description: 'Devices left with it: a person chose it for them' }),
    inRollouts: count.openapi({ description: 'Devices left with it until the open rollout of another release ends' }),
    stranded: count.openapi({ description: 'Devices left with it: nothing else is production for their board' }),
  })
  .openapi('Stopped')
export const promoteRequest = z.strictObject({
  to: z.enum(RELEASE_STATES),
  reason,
  version: count.optional(),
  /** that it has at least from now on */
  risk: risk.optional(),
})
export const approveRequest = z.strictObject({
  reason,
  version: count.optional(),
  sha256: sha256.optional().openapi({ description: 'of what was looked at: refused when the release has another' }),
})
export const releaseGates = z
  .object({
    sha256: z.string(),
    risk,
    needed: count.openapi({ description: 'how many people besides whoever registered it have to approve it' }),
    approvals: z.array(z.object({ sha256: z.string(), by: z.string(), atMs: count, reason: z.string() })).readonly(),
    lacks: z.array(z.object({ gate: z.string(), lacks: z.string(), how: z.string() })).readonly(),
  })
  .openapi('ReleaseGates')
export const familyRiskRequest = z.strictObject({ risk, reason })
export const familyRisk = z
  .object({ family: z.string(), risk, changedMs: count, by: z.string(), reason: z.string() })
  .openapi('FamilyRisk')

const gateFields = z.record(z.string(), z.unknown())
export const policyReference = z
  .string()
  .regex(POLICY_REFERENCE, 'NAME or NAME@VERSION of a gate policy')
  .openapi({ description: 'NAME for the newest version, or NAME@VERSION' })
export const gatePolicyRequest = z.strictObject({
  name,
  /** fields that differ from the default */
  gate: gateFields,
  reason,
})
export const gatePolicyHead = z.object({
  name: z.string(),
  version: count,
  createdMs: count,
  createdBy: z.string(),
  reason: z.string(),
})
export const gatePolicy = gatePolicyHead
  .extend({ policy: z.any().openapi({ description: 'All fields of the gate policy' }) })
  .openapi('GatePolicy')

export const rolloutRequest = z.strictObject({
  name,
  version: count.optional(),
  percents: z.array(z.number().gt(0).max(100)).min(1).max(10).optional(),
  policy: policyReference.optional(),
  /** fields of the gate policy that differ from those of `policy`, or from the default */
  gate: gateFields.optional(),
  irreversible: z.boolean().optional(),
  devices: z.string().min(1).max(1_000).optional().openapi({
    description: 'Query of the devices that take part, chosen at the start; absent: whoever fits, also later',
  }),
  installingMax: z
    .strictObject({ fleet: z.int().min(1).optional(), site: z.int().min(1).optional() })
    .optional()
    .openapi({ description: 'How many devices install at once, of all and of one site; absent: any number' }),
  experimentHours: z.number().min(1).max(EXPERIMENT_HOURS_MAX).optional().openapi({
    description: 'Runs beside what devices run for so long, then all go back; `percents` is one share below 100 (50)',
  }),
})
export const rollout = z
  .object({
    etag,
    id: z.string(),
    family: z.string(),
    model: z.string(),
    version: count,
    sha256: z.string(),
    previous: label.extend({ sha256: z.string() }),
    state: z.enum(['running', 'paused', 'rolled-back', 'completed']),
    percents: z.array(z.number()).readonly(),
    stage: count,
    stages: z
      .array(z.object({ stage: count, percent: z.number(), startedMs: count, endedMs: numberOrNull }))
      .readonly(),
    stageStartedMs: count,
    reachedPercent: z.number(),
    devicesExposed: count,
    devicesAttested: count,
    devicesUnkeyed: count,
    createdMs: count,
    createdBy: z.string(),
    endedMs: numberOrNull,
    hoursToDecision: numberOrNull,
    why: z.string(),
    gate: z.any().openapi({ description: 'The gate reading: verdict, reasons and every number behind them' }),
    gateWords: z.string().nullable(),
    /** what its comparison is worth: `randomised` against a control drawn by lot, `before-after`, `ungated` */
    evidence: z.enum(['randomised', 'before-after', 'ungated']),
    pausedSinceMs: numberOrNull,
    plan: z.any().openapi({ description: 'What each stage can find, worked out at the start' }),
    policy: z.any().openapi({ description: 'The gate policy, frozen at the start' }),
    cohort: z.string().nullable().openapi({
      description: 'Query that chose its devices at the start, empty: all that there were; null: whoever fits',
    }),
    installingMax: z
      .object({ fleet: numberOrNull, site: numberOrNull })
      .openapi({ description: 'How many of its devices install at once; null: any number' }),
    devicesWaiting: count.openapi({ description: 'Devices that are told of the release when it is their turn' }),
    experimentHours: numberOrNull.openapi({ description: 'How long an experiment lasts; null: it is none' }),
    policyName: z
      .string()
      .nullable()
      .openapi({ description: 'NAME@VERSION that it was started with, before what the request changed; null: none' }),
    manualStages: z
      .array(z.number())
      .readonly()
      .openapi({ description: 'Percentages of the stages that a person ends' }),
  })
  .openapi('Rollout')
export const rowId = z.string().regex(/^[1-9]\d{0,14}$/, 'the id is a whole number')
export const page = z.object({ limit: z.string().optional(), before: z.string().optional() })
/** What a page goes on before; null: it is the last. */
export const nextOf = (rows: readonly { readonly id: number }[], limit: number): number | null =>
  rows.length < limit ? null : (rows.at(-1)?.id ?? null)
export const reasonRequest = z.strictObject({ reason })
export const advanceRequest = z.strictObject({ reason, full: z.boolean().optional() })
export const rolloutChange = z.strictObject({ reason, minInstalledShare: z.number().min(0).max(1) })
export const retargetRequest = z.strictObject({ reason, model: id.nullable() })
export const familyRequest = z.strictObject({ reason, family: name })
export const rolloutPlan = z.any().openapi({
  description: 'Devices that take part, what they are compared with, and for each stage what it can find',
})
const namedCount = z.object({ count, names: z.array(z.string()).readonly() })
export const rolloutCohort = z
  .object({
    query: z.string(),
    chosen: count.openapi({ description: 'Devices that were chosen at the start' }),
    joined: namedCount.nullable().openapi({
      description: 'Would be chosen now and were not: they are not in it; null: the group of its query is gone',
    }),
    departed: namedCount.nullable().openapi({
      description: 'Were chosen and would not be now: they stay in it; null: the same',
    }),
    out: namedCount.openapi({ description: 'Were removed, or have another board: they are in it no more' }),
    keeping: count.openapi({ description: 'Devices that keep its release beside production' }),
  })
  .openapi('RolloutCohort')
const armFigures = z.object({ devices: count, events: z.number(), exposure: z.number(), rate: z.number() }).nullable()
const reportFigures = {
  canary: armFigures,
  control: armFigures,
  ratio: numberOrNull,
  first: z
    .object({ canary: count, canaryAtRisk: count, control: count, controlAtRisk: count })
    .nullable()
    .openapi({ description: 'Devices that had a first event, of those at risk' }),
}
export const rolloutReport = z
  .object({
    id: z.string(),
    family: z.string(),
    model: label,
    previous: label,
    cohort: z.string().nullable(),
    experimentHours: numberOrNull,
    state: z.enum(['running', 'paused', 'rolled-back', 'completed']),
    why: z.string(),
    startedMs: count,
    endedMs: numberOrNull,
    hours: z.number(),
    comparison: z.enum(['control', 'past', 'none']),
    exposure: z.any(),
    installs: z.object({ started: count, failed: count }),
    verdict: z.string(),
    words: z.string(),
    signals: z
      .array(
        z.object({
          name: z.string(),
          words: z.string(),
          worse: z.enum(['higher', 'lower']),
          finding: z.enum(['worse', 'no-worse', 'undecided', 'no-data']),
          marginRatio: z.number(),
          interval: z.tuple([z.number(), z.number()]).nullable(),
          ...reportFigures,
          slices: z.array(z.object({ by: z.string(), value: z.string(), harmed: z.boolean(), ...reportFigures })),
        }),
      )
      .readonly(),
  })
  .openapi('RolloutReport')
export const gateReading = z
  .object({ atMs: count, verdict: z.string(), words: z.string(), reading: z.any() })
  .openapi('GateReading')

const figures = z
  .object({
    uptimeMs: count,
    listeningMs: count,
    activeMs: count,
    wakes: count,
    confirmed: count,
    rejected: count,
    unjudged: count,
    energyMj: count,
    radioBytes: count,
    dutyCycle: numberOrNull,
    wakesPerHour: numberOrNull,
    falseWakesPerHour: numberOrNull,
    verifiedWakesPerHour: numberOrNull,
    falseWakeRate: numberOrNull,
    energyJoulePerDeviceDay: numberOrNull,
  })
  .openapi('FleetFigures')
const modelKey = z.object({ model: z.string(), name: z.string().nullable() })
export const summary = z
  .object({
    atMs: count,
    hours: count,
    devices: z.object({ known: count, enrolled: count, unkeyed: count, reporting: count }),
    /** the one that came last */
    production: label.nullable(),
    /** of each family and its boards (none named: all), the one that came last first */
    productions: z.array(label.extend({ family: z.string(), boards: z.array(z.string()).readonly() })).readonly(),
    batteryPermille: numberOrNull,
    levels: z.array(count),
    running: z.array(modelKey.extend({ devices: count })),
    fleet: figures,
    models: z.array(modelKey.extend(figures.shape)),
    openAlerts: count,
  })
  .openapi('FleetSummary')
export const series = z
  .object({
    atMs: count,
    points: z.array(
      z
        .object({
          hourMs: count,
          devices: count,
          models: z.array(modelKey.extend({ devices: count }).extend(figures.shape)),
        })
        .extend(figures.shape),
    ),
  })
  .openapi('FleetSeries')
export const counters = z
  .object({
    devices: count,
    boots: count,
    counters: named,
    energyMj: named,
    levelMs: named,
    verdicts: z.object({ confirmed: count, rejected: count, unjudged: count }),
  })
  .openapi('FleetCounters')

const severity = z.enum(ALERT_SEVERITIES)
export const alert = z
  .object({
    id: count,
    code: z.string(),
    metric: z.string(),
    model: z.string(),
    modelName: z.string().nullable(),
    /** of the model; null: it is about none */
    family: z.string().nullable(),
    /** the part of the fleet that it is about, as a query of devices; null: all of it */
    cohort: z.string().nullable(),
    state: z.enum(['open', 'resolved']),
    sinceMs: count,
    resolvedMs: numberOrNull,
    ratio: z.number(),
    numbers: named,
    acknowledged: z.object({ ms: count, by: z.string(), reason: z.string() }).nullable(),
    /** nobody is told of it until then; null: people are */
    silence: z.object({ id: count, untilMs: count, by: z.string(), reason: z.string() }).nullable(),
    /** P0: no device can be updated; P1: somebody should act now; P2: today; P3: before it ends */
    severity,
    /** what stands behind it (`site:`, `gateway:`, `rollout:`, `family:` or `code:` and a name): alerts of one cause are one to people */
    cause: z.string(),
    /** where it says what to do */
    runbook: z.string(),
    /** for people */
    title: z.string(),
    words: z.string(),
  })
  .openapi('Alert')
/** chosen: a month; what is to be quiet for longer is to be mended, or its limit is wrong */
const SILENCE_HOURS_MAX = 720
export const silenceRequest = z.strictObject({
  code: z.string().regex(/^[a-z][a-z-]{0,63}$/, 'the code of an alert, such as devices-silent'),
  metric: z.string().min(1).max(200).optional().openapi({ description: 'Only of this metric, site or gateway' }),
  cohort: z
    .string()
    .max(200)
    .optional()
    .openapi({ description: 'Only of this part of the fleet; empty: of all of it' }),
  hours: z.number().gt(0).max(SILENCE_HOURS_MAX),
  reason,
})
export const silence = z
  .object({
    id: count,
    code: z.string(),
    metric: z.string().nullable(),
    cohort: z.string().nullable(),
    fromMs: count,
    untilMs: count,
    by: z.string(),
    reason: z.string(),
    endedMs: numberOrNull,
  })
  .openapi('Silence')
export const alertGroup = z
  .object({
    cause: z.string(),
    severity,
    sinceMs: count,
    /** how many alerts, by code */
    codes: z.record(z.string(), count),
    /** nobody has taken any of them on */
    isUntouched: z.boolean(),
    /** the worst first, at most 50 */
    alerts: z.array(alert).readonly(),
  })
  .openapi('AlertGroup')
export const incidentRequest = z.strictObject({
  title: z.string().min(1).max(200),
  /** default: that of `alert`, else P2 */
  severity: severity.optional(),
  /** what it is about and since when, where the rest does not say */
  alert: z.number().int().min(1).optional(),
  sinceMs: count.optional(),
  family: name.optional(),
  site: id.optional(),
  rollout: name.optional(),
})
export const noteRequest = z.strictObject({ words: z.string().min(1).max(2_000) })
export const closeRequest = z.strictObject({ outcome: z.string().min(1).max(500) })
export const incident = z
  .object({
    id: count,
    severity,
    title: z.string(),
    family: z.string().nullable(),
    site: z.string().nullable(),
    rollout: z.string().nullable(),
    /** from when on its timeline is read */
    beganMs: count,
    openedMs: count,
    openedBy: z.string(),
    closedMs: numberOrNull,
    closedBy: z.string().nullable(),
    outcome: z.string().nullable(),
    runbook: z.string(),
  })
  .openapi('Incident')
export const incidentDetail = incident
  .extend({
    timeline: z.array(
      z.object({
        atMs: count,
        kind: z.enum(['alert', 'audit', 'verdict', 'state', 'note']),
        by: z.string().nullable(),
        words: z.string(),
      }),
    ),
    /** more happened than is read at once: the oldest is left out */
    isCut: z.boolean(),
  })
  .openapi('IncidentDetail')
export const alertFigures = z
  .object({
    code: z.string(),
    raised: count,
    open: count,
    acknowledged: count,
    /** half of the acknowledged were taken on within this; null: none was */
    medianWaitMs: numberOrNull,
  })
  .openapi('AlertFigures')
export const groupRequest = z.strictObject({
  query: z.string().openapi({ description: 'Conditions that hold at once, such as `site:berlin tag:beta`' }),
  reason,
})
export const group = z
  .object({ name: z.string(), query: z.string(), changedMs: count, by: z.string(), etag })
  .openapi('DeviceGroup')
export const audit = z
  .object({
    ...{ id: count, atMs: count, actor: z.string(), action: z.string(), subject: z.string(), detail: z.any() },
    /** hash of the entry before, and its own: see docs/security.md */
    ...{ prev: z.string(), hash: z.string() },
  })
  .openapi('AuditEntry')
export const ingestResponse = z
  .object({
    reports: count,
    verdicts: count,
    events: count,
    aggregates: count,
    late: count,
    contradicted: count,
    beyond: count,
    refused: z.record(z.string(), count),
  })
  .openapi('IngestOutcome')
export const wakeChecks = z
  .object({
    v: z.literal(1),
    checks: z.array(
      z.object({ id: count, device: z.string(), incarnation: count, boot: count, first: count, last: count }),
    ),
  })
  .openapi('WakeChecks')
export const wakeAnswer = z.object({ v: z.literal(1), wakes: z.array(z.string()) }).openapi('WakeAnswer')
export const feed = z
  .object({
    v: z.literal(1),
    cursor: count,
    items: z.array(z.object({ site: z.string(), device: z.string(), board: z.string(), document: z.any() })),
  })
  .openapi('AssignmentFeed')
const publicKey = z.object({ keyId: z.string(), publicKey: z.string() })
export const keys = z
  .object({
    /** signs assignments; named by the offline root */
    director: publicKey,
    /** signs snapshot and timestamp; named by the offline root */
    online: publicKey,
    jwks: z.unknown(),
  })
  .openapi('Keys')

export const metadataRequest = z.strictObject({
  files: z
    .array(
      z.strictObject({
        file: z.string().max(LIMITS.metadataFileLength),
        /** the file's canonical JSON, as text, byte for byte */
        content: z.string().max(LIMITS.metadataFileBytes),
      }),
    )
    .min(1)
    .max(512),
})
export const metadataHeads = z
  .object({
    /** newest version of each role */
    versions: z.record(z.string(), count),
    online: publicKey,
    /** made to take the place of `online` as soon as a root names it */
    nextOnline: publicKey.nullable(),
    director: publicKey,
    /** made to take the place of `director` as soon as a root names it */
    nextDirector: publicKey.nullable(),
  })
  .openapi('MetadataHeads')

export const metadataFile = z
  .object({ signed: z.record(z.string(), z.unknown()), signatures: z.array(z.unknown()) })
  .openapi('MetadataFile')

/** The problems that any route may answer with. */
export const problems = {
  default: {
    description: 'A problem; `code` is one of the contract',
    content: { 'application/problem+json': { schema: problem } },
  },
} as const

/** A JSON response, and problems. */
export const answers = <S extends z.ZodType>(schema: S, description: string) =>
  ({ 200: { description, content: { 'application/json': { schema } } }, ...problems }) as const

/** Content that is no JSON.
 *  @param type its media type */
export const content = (type: string) =>
  ({ [type]: { schema: z.string().openapi(type.startsWith('text/') ? {} : { format: 'binary' }) } }) as const

export const sha256Param = z.object({ sha256: z.string().openapi({ pattern: '^[0-9a-f]{64}$' }) })

/** What a change may carry besides its body. */
const changeHeaders = z.object({
  'idempotency-key': z.string().optional().openapi({
    description: 'The same request with the same key within a day is answered as before and not done again',
  }),
})
const conditionHeaders = changeHeaders.extend({
  'if-match': z
    .string()
    .optional()
    .openapi({ description: 'Entity tag of what is to be changed; refused with 412 when it has changed since' }),
  'if-none-match': z.string().optional().openapi({ description: '`*`: refused with 412 when it is there already' }),
})

export const jsonBody = <S extends z.ZodType>(schema: S) =>
  ({ body: { required: true, content: { 'application/json': { schema } } } }) as const

/** The body of a change that may be sent again. */
export const change = <S extends z.ZodType>(schema: S) => ({ headers: changeHeaders, ...jsonBody(schema) }) as const

/** The body of a change of something that its sender has looked at. */
export const conditionalChange = <S extends z.ZodType>(schema: S) =>
  ({ headers: conditionHeaders, ...jsonBody(schema) }) as const

/** The same of requests without a body. */
export const changed = { headers: changeHeaders } as const
export const conditional = { headers: conditionHeaders } as const
