import * as z from 'zod/mini'
import { boardField, hexField, idField, uintField } from './fields.ts'
import { LIMITS } from './limits.ts'

/** What devices and the cloud say to each other about identity, over HTTP, directly or through a gateway. Requests carry hex. */

/** One-time right to enrol one device, given to it by hand. The secret is the seed of an Ed25519 key whose public half is all that
 *  the cloud keeps: it does not cross the wire, so who relays an enrolment or reads the cloud's database cannot use it. */
export const claimFileSchema = z.strictObject({
  v: z.literal(1),
  claim: hexField(LIMITS.claimIdBytes),
  secret: hexField(32),
  device: idField,
  site: idField,
  board: boardField,
  expiresMs: uintField,
})
export type ClaimFile = z.infer<typeof claimFileSchema>

/** `POST /v1/challenges` */
export const challengeAnswerSchema = z.object({ challenge: hexField(LIMITS.challengeBytes) })

/** `POST /v1/enrolments` */
export const enrolmentAnswerSchema = z.object({
  device: idField,
  site: idField,
  board: z.string(),
  keyId: hexField(32),
})

/** `POST /v1/devices/{id}/token`; the lifetime beside the time, since a device may have no clock to read the time with */
export const tokenAnswerSchema = z.object({
  token: z.string().check(z.minLength(1), z.maxLength(LIMITS.tokenLength)),
  expiresInSeconds: z.int().check(z.minimum(1), z.maximum(86_400)),
})

/** `POST /v1/devices/{id}/key` */
export const rotationAnswerSchema = z.object({ keyId: hexField(32) })

/** `GET /v1/revocations?after={cursor}`: tokens of `device` that were issued before `beforeMs` are refused. */
export const revocationFeedSchema = z.object({
  cursor: uintField,
  items: z.array(z.object({ device: idField, beforeMs: uintField })).check(z.maxLength(LIMITS.ingestRows)),
})
