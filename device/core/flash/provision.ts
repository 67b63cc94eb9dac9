import { sha256 } from '../../../contract/bytes.ts'
import type { ContractError } from '../../../contract/errors.ts'
import { contractError } from '../../../contract/errors.ts'
import type { SecureRandom } from '../../../contract/random.ts'
import { err, ok, type Result } from '../../../contract/result.ts'
import type { Flash } from '../../ports/flash.ts'
import { type BootRecord, EMPTY_IMAGE, incarnationOf, readRecord, writeRecord } from './boot-record.ts'
import { type FlashLayout, layoutOf, type SlotIndex } from './flash-layout.ts'
import { scanSlot } from './slot-scan.ts'

/** Programs part of a slot, erasing each sector as it is entered. The tail of the last word is padded with 0xff.
 *  @param offset within the slot, a multiple of the program unit
 */
export function programSlot(
  flash: Flash,
  layout: FlashLayout,
  slot: SlotIndex,
  offset: number,
  data: Uint8Array,
): Result<void, ContractError> {
  if (offset + data.length > layout.slotBytes) {
    return err(contractError('flash-over-budget', `${offset + data.length} bytes, a slot has ${layout.slotBytes}`))
  }
  const start = layout.slots[slot] + offset
  const padded = new Uint8Array(Math.ceil(data.length / flash.programBytes) * flash.programBytes).fill(0xff)
  padded.set(data)
  const end = start + padded.length
  const firstErase = Math.ceil(start / flash.sectorBytes) * flash.sectorBytes
  for (let sector = firstErase; sector < end; sector += flash.sectorBytes) {
    const erased = flash.erase(sector)
    if (!erased.ok) return erased
  }
  return flash.program(start, padded)
}

/** Whether a factory has got to the end of its work here, or anybody has left an image that boots: a record, or a whole bundle in a slot. */
export function isProvisioned(flash: Flash): boolean {
  const layout = layoutOf(flash)
  if (!layout.ok) return false
  if (readRecord(flash, layout.value) !== undefined) return true
  return ([0, 1] as const).some((slot) => scanSlot(flash, layout.value, slot) !== undefined)
}

/** Flashes a device as a factory does: the bundle in slot 0, confirmed, and an empty slot 1. Of a flash that was used before, or whose
 *  first flashing was cut short after it had booted, identity, trust, the count of boots, the security counter where it is the higher, and
 *  an event that nobody has heard yet stay. Assignments begin anew, so that the device follows the one that its gateway holds.
 *  @param securityCounter the lowest that the device is to accept
 *  @param random for the incarnation of a new flash; without it the device says none, and one that takes its place under the same id is
 *    taken for its past
 *  @returns the layout, or `flash-over-budget` | `flash-write-failed` | `flash-full`
 */
export function provision(
  flash: Flash,
  bundle: Uint8Array,
  securityCounter: number,
  random?: SecureRandom,
): Result<FlashLayout, ContractError> {
  const layout = layoutOf(flash)
  if (!layout.ok) return layout
  const written = programSlot(flash, layout.value, 0, 0, bundle)
  if (!written.ok) return written
  // On a flash that was used before, boot ids must not come twice.
  const former = readRecord(flash, layout.value)
  const record: BootRecord = {
    boots: former?.boots ?? 0,
    incarnation: former === undefined ? random && incarnationOf(random.bytes(4)) : former.incarnation,
    active: 0,
    phase: 'confirmed',
    images: [{ sha256: sha256(bundle), bytes: bundle.length }, EMPTY_IMAGE],
    assignmentSeq: 0,
    securityCounter: Math.max(former?.securityCounter ?? 0, securityCounter),
    failedSha256: new Uint8Array(32),
    failures: 0,
    ...untoldIn(former),
  }
  const recorded = writeRecord(flash, layout.value, record)
  return recorded.ok ? ok(layout.value) : recorded
}

/** What a record has still to tell. Without the name of the image it is about it would be told of the new one: then it is given up. */
const untoldIn = (former: BootRecord | undefined): Pick<BootRecord, 'untold' | 'untoldSeq' | 'untoldModel'> =>
  former?.untoldModel === undefined
    ? { untold: 'none' }
    : { untold: former.untold, untoldSeq: former.untoldSeq, untoldModel: former.untoldModel }
