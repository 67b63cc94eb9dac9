import type { ContractError } from '../../../contract/errors.ts'
import { ok, type Result } from '../../../contract/result.ts'
import type { Flash } from '../../ports/flash.ts'
import { decodeSpool, EMPTY_OUTBOX, encodeSpool, leastMissed, type Outbox } from '../outbox.ts'
import { encodeFrame, FRAME_HEADER_BYTES, readFrame } from './flash-frame.ts'
import type { FlashLayout } from './flash-layout.ts'
import { writeFrame } from './record-pair.ts'

/** Writes the outbox to the spool region; when it does not fit, those that are missed least stay out.
 *  @returns how many messages stayed out, or the flash's error */
export function saveSpool(flash: Flash, layout: FlashLayout, outbox: Outbox): Result<number, ContractError> {
  const { offset, bytes } = layout.spool
  const room = bytes - FRAME_HEADER_BYTES
  let left = outbox.messages
  let payload = encodeSpool(left)
  while (payload.length > room) {
    const victim = leastMissed(left)
    left = left.filter((message) => message !== victim)
    payload = encodeSpool(left)
  }
  const written = writeFrame(flash, offset, encodeFrame({ seq: 0, payload }, flash.programBytes))
  return written.ok ? ok(outbox.messages.length - left.length) : written
}

/** Reads the spooled messages; they stay in flash until `clearSpool`, so that a cut before they are acknowledged loses nothing.
 *  An erased, torn or rotten spool is an empty outbox: it must not stop a boot. */
export function readSpool(flash: Flash, layout: FlashLayout): Outbox {
  const { offset, bytes } = layout.spool
  const payload = readFrame(flash, offset, bytes)?.payload
  return payload === undefined ? EMPTY_OUTBOX : decodeSpool(payload)
}

export const clearSpool = (flash: Flash, layout: FlashLayout): Result<void, ContractError> =>
  flash.erase(layout.spool.offset)
