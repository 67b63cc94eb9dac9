import { z } from '@hono/zod-openapi'
import { hexPattern } from '../../contract/fields.ts'
import { LIMITS } from '../../contract/limits.ts'
import { board, id, name, sha256 } from './schemas.ts'

/** Shapes of claims, keys and tokens of devices; contract/enrolment.ts has the device's side of them. */
const hex = (bytes: number) => z.string().regex(hexPattern(bytes))
const time = z.number().int().nonnegative()
const signature = hex(64)
const challengeText = hex(LIMITS.challengeBytes)

/** chosen: a device that is not switched on within a month gets another claim */
const CLAIM_SECONDS_MAX = 31 * 86_400

export const claimRequest = z.strictObject({
  site: id,
  board,
  device: id.optional(),
  tags: z.array(z.string().min(1).max(LIMITS.nameLength)).max(16).optional(),
  /** name of the release it comes with; the production model when absent */
  model: name.optional(),
  /** what it is to follow; default: that of `model`, the only one there is, or `default` */
  family: name.optional(),
  ttlSeconds: z.number().int().min(60).max(CLAIM_SECONDS_MAX).optional(),
  /** the device has a key, and this claim is to replace it */
  replace: z.boolean().optional(),
})
export const claim = z
  .object({
    v: z.literal(1),
    claim: z.string(),
    secret: z.string(),
    device: z.string(),
    site: z.string(),
    board: z.string(),
    expiresMs: time,
  })
  .openapi('Claim')
export const gatewayClaimRequest = z.strictObject({
  gateway: id,
  sites: z.array(id).min(1).max(LIMITS.gatewaySites),
  ttlSeconds: z.number().int().min(60).max(CLAIM_SECONDS_MAX).optional(),
  /** the gateway is enrolled, and this claim is to put another in its place */
  replace: z.boolean().optional(),
})
export const gatewayClaim = z
  .object({
    v: z.literal(1),
    claim: z.string(),
    secret: z.string(),
    gateway: z.string(),
    sites: z.array(z.string()).readonly(),
    expiresMs: time,
  })
  .openapi('GatewayClaim')
export const challenge = z.object({ challenge: z.string() }).openapi('Challenge')
const claimProof = {
  claim: hex(LIMITS.claimIdBytes),
  publicKey: hex(32),
  challenge: challengeText,
  claimSignature: signature,
  signature,
}
export const enrolmentProof = z.strictObject({ ...claimProof, device: id })
export const gatewayProof = z.strictObject(claimProof)
export const gatewayEnrolment = z.object({ gateway: z.string(), keyId: z.string() }).openapi('GatewayEnrolment')
export const enrolment = z
  .object({ device: z.string(), site: z.string(), board: z.string(), keyId: z.string() })
  .openapi('DeviceEnrolment')
export const tokenProof = z.strictObject({ keyId: sha256, challenge: challengeText, signature })
export const token = z.object({ token: z.string(), expiresMs: time, expiresInSeconds: time }).openapi('DeviceToken')
export const rotationProof = z.strictObject({
  formerKeyId: sha256,
  publicKey: hex(32),
  challenge: challengeText,
  formerSignature: signature,
  signature,
})
export const rotation = z.object({ keyId: z.string() }).openapi('DeviceKey')
export const revocation = z.object({ device: z.string(), beforeMs: time }).openapi('Revocation')
export const removal = z.object({ device: z.string(), removedMs: time, erased: z.boolean() }).openapi('Removal')
export const revocations = z.object({
  cursor: time,
  items: z.array(z.object({ device: z.string(), beforeMs: time })),
})
export const notice = z.strictObject({
  device: id,
  /** how often one connection of it took the place of another since `sinceMs` */
  takenOver: z.number().int().min(1).max(1_000_000),
  sinceMs: time,
})
