import { UINT_BITS } from './bit-coder.ts'
import { BYTE_BITS } from './patch-bytes.ts'
import { NUMBER_BITS } from './patch-numbers.ts'

/** The payload of a coded patch: stretches of bytes (a length, then literals and copies for as many bytes) and runs of numbers (a
 *  description, then the numbers) in turn, a stretch first, until the result is whole. All of it is one range code. Here is where the
 *  adaptive bits of its parts lie. */
export const STRETCH_AT = 0
export const BYTES_AT = STRETCH_AT + UINT_BITS
export const NUMBERS_AT = BYTES_AT + BYTE_BITS
export const PATCH_BITS = NUMBERS_AT + NUMBER_BITS
