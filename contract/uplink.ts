import * as z from 'zod/mini'
import { LIMITS } from './limits.ts'
import { COUNTER_NAMES, ENERGY_NAMES, EVENT_CODES, LADDER_LEVELS } from './messages.ts'

/** What a gateway and the cloud say to each other over HTTP (JSON, bounded by LIMITS.ingestBytes and ingestRows). Every row is
 *  cumulative or carries its own identity, so a batch may be sent any number of times.
 */
const uintNumber = z.int().check(z.minimum(0), z.maximum(LIMITS.counter))
const idText = z.string().check(z.regex(/^[a-z0-9][a-z0-9-]*$/), z.maxLength(LIMITS.idLength))
/** first 8 bytes of the active bundle's sha256, hex */
const modelPrefix = z.string().check(z.regex(/^[0-9a-f]{16}$/))
const numbers = (length: number) => z.array(uintNumber).check(z.length(length))
const origin = { site: idText, device: idText, boot: uintNumber, receivedMs: uintNumber }

/** A device report as the gateway decoded it; identity (device, boot, seq). */
export const reportRowSchema = z.strictObject({
  ...origin,
  seq: uintNumber,
  uptimeMs: uintNumber,
  wallMs: uintNumber,
  model: modelPrefix,
  slot: z.int().check(z.minimum(0), z.maximum(1)),
  level: z.int().check(z.minimum(0), z.maximum(LADDER_LEVELS.length - 1)),
  counters: numbers(COUNTER_NAMES.length),
  levelMs: numbers(LADDER_LEVELS.length),
  energyMj: numbers(ENERGY_NAMES.length),
  batteryPermille: z.int().check(z.minimum(0), z.maximum(1000)),
  posteriorBins: numbers(LIMITS.histogramBins),
  noiseBins: numbers(LIMITS.histogramBins),
  assignmentSeq: uintNumber,
})
export type ReportRow = z.infer<typeof reportRowSchema>

/** What the verifier said of a device's wakes in one hour of one boot: cumulative, identity (device, boot, hourMs). */
export const verdictRowSchema = z.strictObject({
  site: idText,
  device: idText,
  boot: uintNumber,
  model: modelPrefix,
  /** start of the hour of receipt, Unix ms */
  hourMs: uintNumber,
  confirmed: uintNumber,
  rejected: uintNumber,
})
export type VerdictRow = z.infer<typeof verdictRowSchema>

/** identity (device, boot, seq) */
export const eventRowSchema = z.strictObject({
  ...origin,
  seq: uintNumber,
  wallMs: uintNumber,
  code: z.enum(EVENT_CODES),
  model: z.optional(modelPrefix),
  error: z.optional(z.string().check(z.maxLength(40))),
  detail: z.optional(z.string().check(z.maxLength(LIMITS.eventDetailLength))),
  assignmentSeq: z.optional(uintNumber),
  /** the event as the device sent it, hex, when the device has signed it: the cloud believes these bytes and not the fields */
  signed: z.optional(z.string().check(z.regex(/^([0-9a-f]{2})+$/), z.maxLength(2 * LIMITS.eventBytes))),
})
export type EventRow = z.infer<typeof eventRowSchema>

/** Sums over devices of one group in one hour: mergeable over gateways by addition, replaced by a row of the same identity
 *  (gateway, hourMs and the group) with a higher revision. */
export const aggregateRowSchema = z.strictObject({
  hourMs: uintNumber,
  revision: uintNumber,
  model: modelPrefix,
  board: z.string().check(z.maxLength(LIMITS.idLength)),
  site: idText,
  /** rollout id, or "" outside of one */
  rollout: z.string().check(z.maxLength(LIMITS.idLength)),
  stage: uintNumber,
  arm: z.enum(['canary', 'control', 'none']),
  listeningMs: uintNumber,
  activeMs: uintNumber,
  wakes: uintNumber,
  gateOpenings: uintNumber,
  confirmed: uintNumber,
  rejected: uintNumber,
  energyMj: uintNumber,
  radioBytes: uintNumber,
})
export type AggregateRow = z.infer<typeof aggregateRowSchema>

const rows = <T extends z.ZodMiniType>(schema: T) => z.array(schema).check(z.maxLength(LIMITS.ingestRows))

/** `POST /v1/ingest` */
export const ingestBatchSchema = z.strictObject({
  v: z.literal(1),
  gateway: idText,
  reports: rows(reportRowSchema),
  verdicts: rows(verdictRowSchema),
  events: rows(eventRowSchema),
  aggregates: rows(aggregateRowSchema),
})
export type IngestBatch = z.infer<typeof ingestBatchSchema>

/** `GET /v1/assignments?after={cursor}&waitSeconds={0..25}`: newest assignment of each device changed after the cursor. */
export const assignmentFeedSchema = z.strictObject({
  v: z.literal(1),
  cursor: uintNumber,
  items: z
    .array(
      z.strictObject({
        site: idText,
        device: idText,
        board: z.string().check(z.maxLength(LIMITS.idLength)),
        /** the signed assignment, to be published as it is */
        document: z.unknown(),
      }),
    )
    .check(z.maxLength(LIMITS.ingestRows)),
})
export type AssignmentFeed = z.infer<typeof assignmentFeedSchema>
