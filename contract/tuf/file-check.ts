import { sha512 } from '@noble/hashes/sha2.js'
import { bytesToHex, sha256Hex } from '../bytes.ts'
import { type ContractError, contractError } from '../errors.ts'
import { present } from '../present.ts'
import { err, ok, type Result } from '../result.ts'
import type { TargetFile } from './metadata.ts'
import { quoteName } from './role-name.ts'

const ALGORITHMS: ReadonlyMap<string, (data: Uint8Array) => string> = new Map([
  ['sha256', sha256Hex],
  ['sha512', (data) => bytesToHex(sha512(data))],
])

/** Checks bytes against the length and the hashes that a verified document names. Every hash that is named must hold, so an
 *  algorithm nobody here knows refuses the file: ignoring it would leave the file to the weakest one.
 *  @returns nothing, or `metadata-hash-mismatch`
 */
export function checkFile(
  data: Uint8Array,
  expected: { readonly length?: number | undefined; readonly hashes?: ReadonlyMap<string, string> | undefined },
): Result<void, ContractError> {
  if (expected.length !== undefined && data.length !== expected.length) {
    return mismatch(`${data.length} bytes instead of ${expected.length}`)
  }
  for (const [algorithm, hex] of expected.hashes ?? []) {
    const hash = ALGORITHMS.get(algorithm)
    if (hash === undefined) return mismatch(`unknown hash algorithm ${algorithm.slice(0, 32)}`)
    if (hash(data) !== hex.toLowerCase()) return mismatch(`${algorithm} differs`)
  }
  return ok(undefined)
}

const mismatch = (detail: string) => err(contractError('metadata-hash-mismatch', detail))

/** Checks a whole target in memory; who streams one compares `hashes` itself.
 *  @returns nothing, or `size-mismatch` | `hash-mismatch`
 */
export function checkTarget(data: Uint8Array, target: TargetFile): Result<void, ContractError> {
  if (data.length !== target.length) {
    return err(contractError('size-mismatch', `${data.length} bytes instead of ${target.length}`))
  }
  const checked = checkFile(data, target)
  return checked.ok ? checked : err(contractError('hash-mismatch', checked.error.detail))
}

/** Name of a target's file below the repository's target address: each component quoted, and with consistent snapshots
 *  `HASH.` before the last one (section 6.2 "consistent snapshots").
 *  @param target with a safe path (`isSafeTargetPath`), as a search returns it
 */
export function targetAddress(target: TargetFile, consistentSnapshot: boolean): string {
  const parts = target.path.split('/').map(quoteName)
  if (!consistentSnapshot) return parts.join('/')
  const hash = target.hashes.get('sha256') ?? present([...target.hashes.values()][0], 'a hash of the target')
  return [...parts.slice(0, -1), `${quoteName(hash)}.${parts.at(-1)}`].join('/')
}
