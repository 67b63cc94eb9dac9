import { bytesEqual, sha256 } from '../../../contract/bytes.ts'
import type { Flash } from '../../ports/flash.ts'

/** Frame in flash, little endian: 8 bytes of the sha256 of all that follows, 4 of a sequence number, 4 of the payload's length,
 *  the payload, 0xff to the program unit.
 *
 *  The checksum is the truncated sha256 and no CRC: what it stands against is a torn write and rot, which 64 bits miss once in 2^64
 *  whatever their pattern; a CRC-32 misses one in 2^32 and has known blind patterns, and the agent carries sha256 anyway. It is no
 *  seal: who can write the flash can write a frame. Content that needs one is signed.
 */
export const FRAME_HEADER_BYTES = 16
const CHECKSUM_BYTES = 8

/** A write that was cut may leave bits that read otherwise each time. A frame that is whole in one reading and not in the next would be
 *  believed at one boot and forgotten at another, or be taken for the newest while the copy that could be relied on is erased. So it must
 *  read the same so many times, and is no frame otherwise: nobody had been told that it was written. Chosen: a single bit that reads either
 *  way equally often is taken for decided once in 2^15. */
const READINGS = 16

export interface Frame {
  readonly seq: number
  readonly payload: Uint8Array
}

/** Bytes that a payload takes in flash. */
export const frameBytes = (payloadBytes: number, programBytes: number): number =>
  Math.ceil((FRAME_HEADER_BYTES + payloadBytes) / programBytes) * programBytes

/** Frames a payload, padded to the flash's program unit. */
export function encodeFrame({ seq, payload }: Frame, programBytes: number): Uint8Array {
  const out = new Uint8Array(frameBytes(payload.length, programBytes)).fill(0xff)
  const view = new DataView(out.buffer)
  view.setUint32(CHECKSUM_BYTES, seq, true)
  view.setUint32(CHECKSUM_BYTES + 4, payload.length, true)
  out.set(payload, FRAME_HEADER_BYTES)
  out.set(checksum(out, payload.length))
  return out
}

/** Reads the frame at an offset; at most `roomBytes` of flash are looked at, and only the header of what is no frame.
 *  @param hash sha256, for whoever has a faster one
 *  @returns undefined when its checksum does not hold, or not each time: erased, torn or rotten */
export function readFrame(
  flash: Flash,
  offset: number,
  roomBytes: number,
  hash: (bytes: Uint8Array) => Uint8Array = sha256,
): Frame | undefined {
  if (roomBytes < FRAME_HEADER_BYTES) return undefined
  const length = viewOf(flash.read(offset, FRAME_HEADER_BYTES)).getUint32(CHECKSUM_BYTES + 4, true)
  if (length > roomBytes - FRAME_HEADER_BYTES) return undefined
  // From here on only what this one reading shows: a number from another one would be a number that no checksum has held to.
  const whole = flash.read(offset, FRAME_HEADER_BYTES + length)
  const view = viewOf(whole)
  if (view.getUint32(CHECKSUM_BYTES + 4, true) !== length) return undefined
  if (!bytesEqual(checksum(whole, length, hash), whole.subarray(0, CHECKSUM_BYTES))) return undefined
  for (let i = 1; i < READINGS; i++) {
    if (!bytesEqual(flash.read(offset, whole.length), whole)) return undefined
  }
  return { seq: view.getUint32(CHECKSUM_BYTES, true), payload: whole.subarray(FRAME_HEADER_BYTES) }
}

const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength)

const checksum = (frame: Uint8Array, length: number, hash: (bytes: Uint8Array) => Uint8Array = sha256): Uint8Array =>
  hash(frame.subarray(CHECKSUM_BYTES, FRAME_HEADER_BYTES + length)).subarray(0, CHECKSUM_BYTES)
