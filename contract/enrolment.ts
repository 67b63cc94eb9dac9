import * as z from 'zod/mini'
import { boardField, hexField, idField, uintField } from './fields.ts'
import { LIMITS } from './limits.ts'

/** What devices, gateways and the cloud say to each other about identity, over HTTP, devices directly or through a gateway. Requests carry hex. */

/** Header by which an enrolled gateway tells the cloud the address of the device whose request it carries; from anybody else it says nothing. */
export const DEVICE_ADDRESS_HEADER = 'kinglet-device-address'

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

/** The same of a gateway: what it may speak for is the sites. */
export const gatewayClaimFileSchema = z.strictObject({
  v: z.literal(1),
  claim: hexField(LIMITS.claimIdBytes),
  secret: hexField(32),
  gateway: idField,
  sites: z.array(idField).check(z.minLength(1), z.maxLength(LIMITS.gatewaySites)),
  expiresMs: uintField,
})
export type GatewayClaimFile = z.infer<typeof gatewayClaimFileSchema>

/** `POST /v1/gateways/{id}/enrolment` */
export const gatewayEnrolmentAnswerSchema = z.object({ gateway: idField, keyId: hexField(32) })

/** `POST /v1/challenges` */
export const challengeAnswerSchema = z.object({ challenge: hexField(LIMITS.challengeBytes) })

/** `POST /v1/enrolments` */
export const enrolmentAnswerSchema = z.object({
  device: idField,
  site: idField,
  board: z.string(),
  keyId: hexField(32),
})

/** `POST /v1/devices/{id}/token` and `/v1/gateways/{id}/token`; the lifetime beside the time, since a device may have no clock to read the time with */
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
