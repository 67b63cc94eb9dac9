import * as z from 'zod/mini'
import { hexField, idField, uintField } from './fields.ts'
import { LADDER_LEVELS } from './ladder-levels.ts'
import { LIMITS } from './limits.ts'
import { COUNTER_NAMES, ENERGY_NAMES, EVENT_CODES } from './messages.ts'

/** Header of the cloud's answers to gateways: its time, Unix ms. A gateway whose clock says something quite different does not know the time. */
export const CLOUD_TIME_HEADER = 'kinglet-time'

/** What a gateway and the cloud say to each other over HTTP (JSON, bounded by LIMITS.ingestBytes and ingestRows). Every row is
 *  cumulative or carries its own identity, so a batch may be sent any number of times.
 */
/** first 8 bytes of the active bundle's sha256, hex */
const modelPrefix = hexField(8)
const numbers = (length: number) => z.array(uintField).check(z.length(length))
/** of all pipelines of a bundle, in its order */
const signalNumbers = (max: number) =>
  z.array(uintField.check(z.maximum(max))).check(z.minLength(1), z.maxLength(LIMITS.signalNumbers))
/** 1 to 2^32 - 1: which run of boot numbers it is; absent: 0, of a device that does not say */
const incarnation = z.optional(z.int().check(z.minimum(1), z.maximum(0xffff_ffff)))
const origin = {
  site: idField,
  device: idField,
  incarnation,
  boot: uintField,
  /** the gateway's time of receipt, Unix ms; 0 when it does not know the time */
  receivedMs: uintField,
}

/** A device report as the gateway decoded it; identity (device, incarnation, boot, seq). */
export const reportRowSchema = z.strictObject({
  ...origin,
  seq: uintField,
  uptimeMs: uintField,
  wallMs: uintField,
  model: modelPrefix,
  slot: z.int().check(z.minimum(0), z.maximum(1)),
  level: z.int().check(z.minimum(0), z.maximum(LADDER_LEVELS.length - 1)),
  counters: numbers(COUNTER_NAMES.length),
  levelMs: numbers(LADDER_LEVELS.length),
  energyMj: numbers(ENERGY_NAMES.length),
  batteryPermille: z.int().check(z.minimum(0), z.maximum(1000)),
  posteriorBins: numbers(LIMITS.histogramBins),
  noiseBins: numbers(LIMITS.histogramBins),
  assignmentSeq: uintField,
  inferenceMs: z.optional(uintField),
  /** of the newest wake of the boot, of devices that sign their reports */
  wakeLink: z.optional(hexField(16)),
  /** what the bundle's pipelines count, cumulative per boot (signals.ts); absent: of a bundle that declares none */
  signals: z.optional(signalNumbers(LIMITS.signalNumber)),
  /** the report as the device sent it, hex, when the device has signed it: the row must say what was signed */
  signed: z.optional(z.string().check(z.regex(/^([0-9a-f]{2})+$/), z.maxLength(2 * LIMITS.reportBytes))),
})
export type ReportRow = z.infer<typeof reportRowSchema>

/** chosen: no device of this kind has run for twenty years since a reset, so a longer uptime is not believed */
export const UPTIME_MS_MAX = 20 * 366 * 86_400_000

/** What one gateway's verifier said of the wakes of one slot of one boot: cumulative, identity (gateway, device, incarnation, boot, slot,
 *  model, pipeline), replaced by a row with a higher revision, whether its counts are higher or lower, and added to what other gateways say of the slot. Slot s of a boot is its uptime from s hours to s + 1 hours, so that wakes and the listening they came from are counted over the
 *  same time whatever any clock says. */
export const verdictRowSchema = z
  .strictObject({
    site: idField,
    device: idField,
    incarnation,
    boot: uintField,
    model: modelPrefix,
    slot: z.optional(z.int().check(z.minimum(0), z.maximum(UPTIME_MS_MAX / 3_600_000))),
    /** index of the pipeline whose wakes they are; absent: the first, or of a gateway that does not tell them apart */
    pipeline: z.optional(z.int().check(z.minimum(1), z.maximum(LIMITS.pipelines - 1))),
    /** of gateways that know no slots: start of the hour of receipt, Unix ms */
    hourMs: z.optional(uintField),
    confirmed: uintField,
    rejected: uintField,
    /** wakes that the verifier could not judge; absent: none */
    unjudged: z.optional(uintField),
    /** absent: of a gateway of before, whose counts only grow; the sum of them stands for it */
    revision: z.optional(uintField),
  })
  .check(
    z.refine(
      ({ slot, hourMs }) => (slot === undefined) !== (hourMs === undefined),
      'a slot, or of old gateways an hour',
    ),
  )
export type VerdictRow = z.infer<typeof verdictRowSchema>

/** identity (device, incarnation, boot, seq) */
export const eventRowSchema = z.strictObject({
  ...origin,
  seq: uintField,
  uptimeMs: z.optional(uintField),
  wallMs: uintField,
  code: z.enum(EVENT_CODES),
  model: z.optional(modelPrefix),
  error: z.optional(z.string().check(z.maxLength(40))),
  detail: z.optional(z.string().check(z.maxLength(LIMITS.eventDetailLength))),
  assignmentSeq: z.optional(uintField),
  /** the event as the device sent it, hex, when the device has signed it: the cloud believes these bytes and not the fields */
  signed: z.optional(z.string().check(z.regex(/^([0-9a-f]{2})+$/), z.maxLength(2 * LIMITS.eventBytes))),
})
export type EventRow = z.infer<typeof eventRowSchema>

/** Sums over devices of one group in one hour: mergeable over gateways by addition, replaced by a row of the same identity
 *  (gateway, hourMs and the group) with a higher revision. */
export const aggregateRowSchema = z.strictObject({
  hourMs: uintField,
  revision: uintField,
  model: modelPrefix,
  board: z.string().check(z.maxLength(LIMITS.nameLength)),
  site: idField,
  /** rollout id, or "" outside of one */
  rollout: z.string().check(z.maxLength(LIMITS.nameLength)),
  stage: uintField,
  arm: z.enum(['canary', 'control', 'none']),
  listeningMs: uintField,
  activeMs: uintField,
  wakes: uintField,
  gateOpenings: uintField,
  confirmed: uintField,
  rejected: uintField,
  /** absent: none */
  unjudged: z.optional(uintField),
  energyMj: uintField,
  radioBytes: uintField,
  /** sums of the model's signals; absent: it declares none */
  signals: z.optional(signalNumbers(LIMITS.counter)),
})
export type AggregateRow = z.infer<typeof aggregateRowSchema>

const rows = <T extends z.ZodMiniType>(schema: T) => z.array(schema).check(z.maxLength(LIMITS.ingestRows))

/** `POST /v1/ingest` */
export const ingestBatchSchema = z.strictObject({
  v: z.literal(1),
  gateway: idField,
  reports: rows(reportRowSchema),
  verdicts: rows(verdictRowSchema),
  events: rows(eventRowSchema),
  aggregates: rows(aggregateRowSchema),
})
export type IngestBatch = z.infer<typeof ingestBatchSchema>

/** `GET /v1/assignments?after={cursor}&waitSeconds={0..25}&gateway={id}&site={id}…`: newest assignment of each device changed after the cursor, of
 *  the sites given or of all. Only a gateway that gives its name is told what to drop. */
export const assignmentFeedSchema = z.strictObject({
  v: z.literal(1),
  cursor: uintField,
  items: z
    .array(
      z.strictObject({
        site: idField,
        device: idField,
        board: z.string().check(z.maxLength(LIMITS.nameLength)),
        /** the signed assignment, to be published as it is; null: what is held for the device at this site is to be dropped */
        document: z.unknown(),
      }),
    )
    .check(z.maxLength(LIMITS.ingestRows)),
})
export type AssignmentFeed = z.infer<typeof assignmentFeedSchema>
