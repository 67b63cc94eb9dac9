import { type ContractError, contractError } from '../errors.ts'
import { err, ok, type Result } from '../result.ts'
import { metadataFile } from './role-name.ts'
import type { TrustedSet } from './trusted-set.ts'

/** A file to fetch from below the repository's metadata address. */
export interface FetchStep {
  readonly kind: 'fetch'
  /** quoted already: a plain file name, safe in an address and in a folder */
  readonly file: string
  /** reading more than this is wasted and an attack */
  readonly maxBytes: number
}

/** What came of a fetch. `not-found` is the repository's answer that it has no such file; `unavailable` is no answer. */
export type Fetched = Uint8Array | 'not-found' | 'unavailable'

/** How to fetch a targets role.
 *  @returns `metadata-missing` when the snapshot does not name it, `metadata-too-large` when it names too long a file
 */
export function targetsRequest(set: TrustedSet, role: string): Result<FetchStep, ContractError> {
  const meta = set.targetsMeta(role)
  if (!meta.ok) return meta
  const { version, length } = meta.value
  if ((length ?? 0) > set.limits.targetsBytes) {
    return err(contractError('metadata-too-large', `${role} of ${length} bytes`))
  }
  const file = metadataFile(role, set.root.consistentSnapshot ? version : undefined)
  return ok({ kind: 'fetch', file, maxBytes: length ?? set.limits.targetsBytes })
}

/** @returns the bytes, or `metadata-missing` | `metadata-unavailable` | `metadata-too-large` */
export function bytesOf(fetched: Fetched, { file, maxBytes }: FetchStep): Result<Uint8Array, ContractError> {
  if (fetched === 'not-found') return err(contractError('metadata-missing', `the repository has no ${file}`))
  if (fetched === 'unavailable') return err(contractError('metadata-unavailable', `${file} could not be fetched`))
  // Whoever fetched may have stopped one byte past the limit instead of cutting.
  if (fetched.length > maxBytes) {
    return err(contractError('metadata-too-large', `${file}: ${fetched.length} bytes, limit ${maxBytes}`))
  }
  return ok(fetched)
}
