import { eventMessage, type Sign } from './device-proof.ts'
import type { ContractError } from './errors.ts'
import { type DeviceEvent, EVENT_CODES, type EventCode, eventCodec } from './messages.ts'
import { ok, type Result } from './result.ts'

/** Events whose model is the one that runs. */
export const RUNNING_CODES = [
  'booted',
  'install-confirmed',
  'fell-back',
  'image-found',
  'already-installed',
] as const satisfies EventCode[]

/** What `booted` says of how it came about. */
export const bootedDetail = (slot: number, outcome: string): string => `slot ${slot}, ${outcome}`

/** Of a boot on trial: its image runs and may be gone with the next boot, so that it is no word of an install. */
export const TRIAL_DETAILS = [bootedDetail(0, 'trial'), bootedDetail(1, 'trial')] as const

/** Events that a device with a key signs: those a rollout is judged by. Others tell people something and decide nothing. */
export const ATTESTED_CODES: readonly EventCode[] = [
  ...RUNNING_CODES,
  'install-started',
  'install-refused',
  'install-failed',
  'reverted',
]

/** Encodes an event, signed if there is a key and the event is one that counts.
 *  @param sign undefined for a device without a key */
export function encodeEvent(device: string, event: Omit<DeviceEvent, 'signature'>, sign: Sign | undefined): Uint8Array {
  const code = EVENT_CODES[event.code]
  if (sign === undefined || code === undefined || !ATTESTED_CODES.includes(code)) return eventCodec.encode(event)
  return eventCodec.encode({ ...event, signature: sign(eventMessage(device, event)) })
}

/** A signed event taken apart: what it says, what was signed, and by what. */
export interface SignedEvent {
  readonly event: DeviceEvent
  readonly message: Uint8Array
  /** 64 bytes, not yet verified; undefined when the event carries none */
  readonly signature: Uint8Array | undefined
}

/** Reads an event as the device sent it. @param device who is said to have sent it; another name makes another message */
export function readSignedEvent(data: Uint8Array, device: string): Result<SignedEvent, ContractError> {
  const decoded = eventCodec.decode(data)
  if (!decoded.ok) return decoded
  const { signature, ...event } = decoded.value
  return ok({ event: decoded.value, message: eventMessage(device, event), signature })
}
