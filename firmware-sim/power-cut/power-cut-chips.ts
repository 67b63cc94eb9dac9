import type { Flash } from '../../device/ports/flash.ts'

/** A kind of flash, by what it erases and programs at once. */
export interface CutChip extends Pick<Flash, 'sizeBytes' | 'sectorBytes' | 'programBytes'> {
  readonly name: string
}

/** Small sectors as of common serial NOR and of a file, the first of the list; the internal flash of an STM32U5; serial NOR that is erased in blocks and
 *  programmed in pages. Size: room for two of the zoo's images behind the records, whose areas are whole sectors. */
export const CUT_CHIPS = [
  { name: '4 KiB/16 B', sizeBytes: 1_048_576, sectorBytes: 4_096, programBytes: 16 },
  { name: '8 KiB/8 B', sizeBytes: 1_048_576, sectorBytes: 8_192, programBytes: 8 },
  { name: '64 KiB/256 B', sizeBytes: 4 * 1_048_576, sectorBytes: 65_536, programBytes: 256 },
] as const satisfies readonly CutChip[]
