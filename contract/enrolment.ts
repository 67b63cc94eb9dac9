import * as z from 'zod/mini'
import { LIMITS } from './limits.ts'

/** What devices and the cloud say to each other about identity, over HTTP, directly or through a gateway. Requests carry hex. */
const id = z.string().check(z.regex(/^[a-z0-9][a-z0-9-]*$/), z.maxLength(LIMITS.idLength))
const hex = (bytes: number) => z.string().check(z.regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`)))
const uint = z.int().check(z.minimum(0), z.maximum(LIMITS.counter))

/** One-time right to enrol one device, given to it by hand. The secret is the seed of an Ed25519 key whose public half is all that
 *  the cloud keeps: it does not cross the wire, so who relays an enrolment or reads the cloud's database cannot use it. */
export const claimFileSchema = z.strictObject({
  v: z.literal(1),
  claim: hex(LIMITS.claimIdBytes),
  secret: hex(32),
  device: id,
  site: id,
  board: z.string().check(z.minLength(1), z.maxLength(LIMITS.idLength)),
  expiresMs: uint,
})
export type ClaimFile = z.infer<typeof claimFileSchema>

/** `POST /v1/challenges` */
export const challengeAnswerSchema = z.object({ challenge: hex(LIMITS.challengeBytes) })

/** `POST /v1/enrolments` */
export const enrolmentAnswerSchema = z.object({ device: id, site: id, board: z.string(), keyId: hex(32) })

/** `POST /v1/devices/{id}/token`; the lifetime beside the time, since a device may have no clock to read the time with */
export const tokenAnswerSchema = z.object({
  token: z.string().check(z.minLength(1), z.maxLength(LIMITS.tokenLength)),
  expiresInSeconds: z.int().check(z.minimum(1), z.maximum(86_400)),
})

/** `POST /v1/devices/{id}/key` */
export const rotationAnswerSchema = z.object({ keyId: hex(32) })

/** `GET /v1/revocations?after={cursor}`: tokens of `device` that were issued before `beforeMs` are refused. */
export const revocationFeedSchema = z.object({
  cursor: uint,
  items: z.array(z.object({ device: id, beforeMs: uint })).check(z.maxLength(LIMITS.ingestRows)),
})
