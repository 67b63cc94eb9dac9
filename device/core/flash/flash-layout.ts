import { type ContractError, contractError } from '../../../contract/errors.ts'
import { PATCH_STATE_BYTES } from '../../../contract/patch/patch-state.ts'
import { err, ok, type Result } from '../../../contract/result.ts'
import type { Flash } from '../../ports/flash.ts'
import { FRAME_HEADER_BYTES } from './flash-frame.ts'
import type { PairRegion } from './record-pair.ts'

/** Where things are in flash: boot record, identity, trust, spool, progress (two areas each), slot 0, slot 1; all on sector
 *  boundaries. */
export interface FlashLayout {
  readonly boot: PairRegion
  /** who this device is; one sector an area, so content is at least 496 bytes and on common flash 4 080 */
  readonly identity: PairRegion
  /** what this device trusts; content up to TRUST_BYTES */
  readonly trust: PairRegion
  /** a second copy of messages that nobody has acknowledged; content up to SPOOL_BYTES / 2 */
  readonly spool: PairRegion
  /** how far a download has come; content up to a decoder's state, a sector and PROGRESS_FIELDS_BYTES */
  readonly progress: PairRegion
  readonly slots: readonly [number, number]
  readonly slotBytes: number
}

export type SlotIndex = 0 | 1

export const otherSlot = (slot: SlotIndex): SlotIndex => (slot === 0 ? 1 : 0)

/** Chosen: either half holds the reports and events of an outbox at its bound, as long as they commonly are, and some 20 wakes (see
 *  outbox.ts). */
const SPOOL_BYTES = 64 * 1024
/** Chosen: root, timestamp, snapshot and targets metadata of a small repository. */
export const TRUST_BYTES = 32 * 1024

/** Chosen: the fields of a progress record beside a decoder's checkpoint take 150 bytes. */
export const PROGRESS_FIELDS_BYTES = 256

/** @returns `flash-over-budget` when the chip has no room for two slots of at least one sector */
export function layoutOf(flash: Pick<Flash, 'sizeBytes' | 'sectorBytes'>): Result<FlashLayout, ContractError> {
  const { sectorBytes } = flash
  let end = 0
  const take = (bytes: number): number => {
    const offset = end
    end += Math.ceil(bytes / sectorBytes) * sectorBytes
    return offset
  }
  const pair = (bytes: number): PairRegion => {
    const areas = [take(bytes), take(bytes)] as const
    return { areas, areaBytes: areas[1] - areas[0] }
  }
  const boot = pair(sectorBytes)
  const identity = pair(sectorBytes)
  const trust = pair(TRUST_BYTES + FRAME_HEADER_BYTES)
  const spool = pair(SPOOL_BYTES / 2)
  const progress = pair(PATCH_STATE_BYTES + sectorBytes + PROGRESS_FIELDS_BYTES + FRAME_HEADER_BYTES)
  const slotBytes = Math.floor((flash.sizeBytes - end) / 2 / sectorBytes) * sectorBytes
  if (slotBytes < sectorBytes) {
    return err(contractError('flash-over-budget', `${flash.sizeBytes} bytes of flash have no room for two slots`))
  }
  return ok({ boot, identity, trust, spool, progress, slots: [end, end + slotBytes], slotBytes })
}
