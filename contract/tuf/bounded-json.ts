import { type ContractError, contractError } from '../errors.ts'
import { err, ok, type Result } from '../result.ts'

/** JSON as this project reads it from metadata: no fractions, so that it has one canonical form. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json
}

export const isJsonObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const LONE_SURROGATE = /\p{Surrogate}/u
const malformed = (detail: string) => err(contractError('metadata-malformed', detail))

/** Parses JSON that an attacker may have written: its size and depth are bounded before a parser sees it.
 *  Refused besides: bytes that are not UTF-8; half surrogates, since they have no UTF-8 form and two documents would share one
 *  signature; numbers that are no safe integers, since they have no canonical form; a key `__proto__`.
 *  @param maxBytes checked first
 *  @param maxDepth levels of objects and lists
 *  @returns `metadata-too-large` | `metadata-malformed`
 */
export function parseBoundedJson(data: Uint8Array, maxBytes: number, maxDepth: number): Result<Json, ContractError> {
  if (data.length > maxBytes) {
    return err(contractError('metadata-too-large', `${data.length} bytes, limit ${maxBytes}`))
  }
  // Before JSON.parse, because some engines' parsers recurse.
  if (exceedsDepth(data, maxDepth)) return malformed(`nested deeper than ${maxDepth}`)
  let value: Json
  try {
    value = JSON.parse(decoder.decode(data)) as Json
  } catch {
    return malformed('not JSON in UTF-8')
  }
  const found = hostile(value)
  return found === undefined ? ok(value) : malformed(found)
}

function exceedsDepth(data: Uint8Array, maxDepth: number): boolean {
  let depth = 0
  let inString = false
  for (let at = 0; at < data.length; at++) {
    const byte = data[at]
    if (inString) {
      if (byte === 0x5c) at++
      else if (byte === 0x22) inString = false
    } else if (byte === 0x22) inString = true
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > maxDepth) return true
    } else if (byte === 0x7d || byte === 0x5d) depth--
  }
  return false
}

/** Recursion is bounded by the depth that was checked before. */
function hostile(value: Json): string | undefined {
  if (typeof value === 'string') return LONE_SURROGATE.test(value) ? 'half a surrogate pair' : undefined
  if (typeof value === 'number') return Number.isSafeInteger(value) ? undefined : 'a number that is no safe integer'
  if (typeof value !== 'object' || value === null) return undefined
  if (Array.isArray(value)) {
    for (const element of value as readonly Json[]) {
      const found = hostile(element)
      if (found !== undefined) return found
    }
    return undefined
  }
  const object = value as JsonObject
  for (const [key, below] of Object.entries(object)) {
    if (key === '__proto__') return 'a key "__proto__"'
    const found = hostile(key) ?? hostile(below)
    if (found !== undefined) return found
  }
  return undefined
}
