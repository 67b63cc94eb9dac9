import { type ContractError, contractError } from '../../contract/errors.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { Flash } from '../ports/flash.ts'

/** Where things are in flash: boot record A, boot record B, spool, slot 0, slot 1; all on sector boundaries. */
export interface FlashLayout {
  readonly bootRecords: readonly [number, number]
  readonly spool: { readonly offset: number; readonly bytes: number }
  readonly slots: readonly [number, number]
  readonly slotBytes: number
}

export type SlotIndex = 0 | 1

export const otherSlot = (slot: SlotIndex): SlotIndex => (slot === 0 ? 1 : 0)

/** Chosen: holds the outbox at its bound (see outbox.ts), whatever the sector size. */
const SPOOL_BYTES = 64 * 1024

/** @returns `flash-over-budget` when the chip has no room for two slots of at least one sector */
export function layoutOf(flash: Pick<Flash, 'sizeBytes' | 'sectorBytes'>): Result<FlashLayout, ContractError> {
  const { sectorBytes } = flash
  const spoolBytes = Math.ceil(SPOOL_BYTES / sectorBytes) * sectorBytes
  const spoolOffset = 2 * sectorBytes
  const slotsOffset = spoolOffset + spoolBytes
  const slotBytes = Math.floor((flash.sizeBytes - slotsOffset) / 2 / sectorBytes) * sectorBytes
  if (slotBytes < sectorBytes) {
    return err(contractError('flash-over-budget', `${flash.sizeBytes} bytes of flash have no room for two slots`))
  }
  return ok({
    bootRecords: [0, sectorBytes],
    spool: { offset: spoolOffset, bytes: spoolBytes },
    slots: [slotsOffset, slotsOffset + slotBytes],
    slotBytes,
  })
}
