import { UINT_BITS } from './bit-coder.ts'
import { BYTE_BITS } from './patch-bytes.ts'
import type { PatchMethod } from './patch-header.ts'
import { NUMBER_BITS } from './patch-numbers.ts'

/** The payload of a patch that is coded: stretches of bytes (a length, then literals and copies for as many bytes) and runs of numbers (a
 *  description, then the numbers) in turn, a stretch first, until the result is whole. All of it is one range code. Here is where the
 *  adaptive bits of its parts lie. */
export const STRETCH_AT = 0
export const BYTES_AT = STRETCH_AT + UINT_BITS
export const NUMBERS_AT = BYTES_AT + BYTE_BITS

/** What a method keeps in memory: adaptive bits, of 3 bytes, and slots for literals, of 2. `bytes` has no runs of numbers, and gives
 *  literals the room. */
export interface PatchMemory {
  readonly bits: number
  readonly slots: number
}

export const PATCH_MEMORY: Readonly<Record<Exclude<PatchMethod, 'stored'>, PatchMemory>> = {
  numbers: { bits: NUMBERS_AT + NUMBER_BITS, slots: 2_048 },
  bytes: { bits: NUMBERS_AT, slots: 5_888 },
}
