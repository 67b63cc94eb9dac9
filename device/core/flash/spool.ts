import type { ContractError } from '../../../contract/errors.ts'
import { ok, type Result } from '../../../contract/result.ts'
import type { Flash } from '../../ports/flash.ts'
import { decodeSpool, EMPTY_OUTBOX, encodeSpool, leastMissed, type Outbox } from '../outbox.ts'
import { FRAME_HEADER_BYTES, readFrame } from './flash-frame.ts'
import type { FlashLayout } from './flash-layout.ts'
import { readPair, writePair } from './record-pair.ts'

/** Writes the outbox to the spool; when it does not fit, those that are missed least stay out. What was spooled before stays in flash
 *  until this is whole: a message leaves the spool when it has been acknowledged, or for want of room.
 *  @returns how many messages stayed out, or the flash's error; then the spool before it still holds */
export function saveSpool(flash: Flash, layout: FlashLayout, outbox: Outbox): Result<number, ContractError> {
  const room = layout.spool.areaBytes - FRAME_HEADER_BYTES
  let left = outbox.messages
  let payload = encodeSpool(left)
  while (payload.length > room) {
    const victim = leastMissed(left)
    left = left.filter((message) => message !== victim)
    payload = encodeSpool(left)
  }
  const written = writePair(flash, layout.spool, payload)
  return written.ok ? ok(outbox.messages.length - left.length) : written
}

/** Reads the spooled messages; they stay in flash until `clearSpool`, so that a cut before they are acknowledged loses nothing.
 *  An erased, torn or rotten spool is an empty outbox: it must not stop a boot. */
export function readSpool(flash: Flash, layout: FlashLayout): Outbox {
  const payload = spooled(flash, layout)
  return payload.length === 0 ? EMPTY_OUTBOX : decodeSpool(payload)
}

/** Before there were two areas one frame could go over both. */
const spooled = (flash: Flash, { spool }: FlashLayout): Uint8Array =>
  readPair(flash, spool) ?? readFrame(flash, spool.areas[0], 2 * spool.areaBytes)?.payload ?? NOTHING

const NOTHING = new Uint8Array(0)

/** Everything is acknowledged. Nothing spooled takes the older place, so that what is struck out does not come back with it; nothing is
 *  written when there is nothing.
 *  @returns the flash's error; then the messages are sent once more after a reset, which receivers tolerate */
export const clearSpool = (flash: Flash, layout: FlashLayout): Result<void, ContractError> =>
  spooled(flash, layout).length === 0 ? ok(undefined) : writePair(flash, layout.spool, NOTHING)
