import * as z from 'zod/mini'
import { GIVEN_ID_PATTERN, NAME_PATTERN } from './id.ts'
import { LIMITS } from './limits.ts'

/** Fields that several documents share: one rule each, as pattern, as predicate and as schema. */

/** Names of boards, in their makers' writing. No space and no slash: they stand in tokens, in keys of aggregates and in log lines. */
export const BOARD_PATTERN = new RegExp(`^[A-Za-z0-9._-]{1,${LIMITS.nameLength}}$`)
/** Hashes, public keys and key ids: lower-case hex. */
export const hexPattern = (bytes: number): RegExp => new RegExp(`^[0-9a-f]{${2 * bytes}}$`)
export const SHA256_PATTERN = hexPattern(32)

export const isName = (text: string): boolean => NAME_PATTERN.test(text)
export const isBoard = (text: string): boolean => BOARD_PATTERN.test(text)
export const isSha256Hex = (text: string): boolean => SHA256_PATTERN.test(text)

/** An id that is canonical, or becomes so as it is read. */
export const idField = z.string().check(z.regex(GIVEN_ID_PATTERN), z.toLowerCase())
export const nameField = z.string().check(z.regex(NAME_PATTERN))
export const boardField = z.string().check(z.regex(BOARD_PATTERN))
export const hexField = (bytes: number) => z.string().check(z.regex(hexPattern(bytes)))
export const sha256Field = hexField(32)
/** Counts, sums and times: exact in a double. */
export const uintField = z.int().check(z.minimum(0), z.maximum(LIMITS.counter))
