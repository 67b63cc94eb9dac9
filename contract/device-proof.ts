import { encode as cborEncode } from 'cborg'
import { type DeviceEvent, eventCodec, type Report, reportCodec } from './messages.ts'

/** Signs a message with a device's Ed25519 key.
 *  @returns 64 bytes; the same for the same message, whichever implementation signs (RFC 8032 is deterministic) */
export type Sign = (message: Uint8Array) => Uint8Array

/** What the key of a device or a gateway, or the key of a claim, signs. Every message is deterministic CBOR of an array that begins with its purpose, so
 *  no signature made for one purpose is good for another, and none is one over JSON, which other keys sign (signed.ts). */
const message = (purpose: string, fields: readonly (string | Uint8Array)[]): Uint8Array =>
  cborEncode([`kinglet/v1/${purpose}`, ...fields])

/** A device claims its place: signed by the claim's key, which only the holder of the claim has, and by the device's new key.
 *  @param given.challenge from the cloud, which knows when it gave it: a device needs no clock */
export const enrolmentMessage = (given: {
  readonly claim: string
  readonly device: string
  /** 32 bytes */
  readonly publicKey: Uint8Array
  readonly challenge: string
}): Uint8Array => message('enrol', [given.claim, given.device, given.publicKey, given.challenge])

/** A device asks for a token. */
export const tokenMessage = (device: string, keyId: string, challenge: string): Uint8Array =>
  message('token', [device, keyId, challenge])

/** A gateway claims its place: as of a device, under a purpose of its own, so that neither is good for the other.
 *  @param given.challenge from the cloud */
export const gatewayEnrolmentMessage = (given: {
  readonly claim: string
  readonly gateway: string
  /** 32 bytes */
  readonly publicKey: Uint8Array
  readonly challenge: string
}): Uint8Array => message('gateway-enrol', [given.claim, given.gateway, given.publicKey, given.challenge])

/** A gateway asks for a service token. */
export const gatewayTokenMessage = (gateway: string, keyId: string, challenge: string): Uint8Array =>
  message('gateway-token', [gateway, keyId, challenge])

/** A device replaces its key: signed by the old and by the new one. */
export const rotationMessage = (given: {
  readonly device: string
  readonly formerKeyId: string
  /** 32 bytes */
  readonly publicKey: Uint8Array
  readonly challenge: string
}): Uint8Array => message('rotate', [given.device, given.formerKeyId, given.publicKey, given.challenge])

/** What is signed of an event: the device, and the event as it goes on the air, without its signature. */
export const eventMessage = (device: string, event: Omit<DeviceEvent, 'signature'>): Uint8Array =>
  message('event', [device, eventCodec.encode({ ...event, signature: undefined })])

/** What is signed of a report, likewise. */
export const reportMessage = (device: string, report: Omit<Report, 'signature'>): Uint8Array =>
  message('report', [device, reportCodec.encode({ ...report, signature: undefined })])
