import { type ContractError, contractError } from './errors.ts'
import { isName } from './fields.ts'
import { LIMITS } from './limits.ts'
import { err, ok, type Result } from './result.ts'
import { isTopLevelRole } from './tuf/role-name.ts'

/** Which metadata file a name means. The timestamp alone has no version in its name: it is what a device asks for first. */
export interface MetadataFile {
  /** one of the four that every repository has, or the name of a delegated role: a family of models */
  readonly role: string
  /** undefined for `timestamp.json` only */
  readonly version: number | undefined
}

const VERSIONED = /^([1-9]\d{0,9})\.([a-z0-9][a-z0-9-]*)\.json$/

/** Names a metadata file as consistent snapshots do. @see TUF 1.0.33 section 6.2 */
export const metadataFileName = (role: string, version: number): string =>
  role === 'timestamp' ? 'timestamp.json' : `${version}.${role}.json`

/** Whether a model family may have this name as a delegated role. `mirrors` is a role of the specification too. */
export const isDelegatedRoleName = (name: string): boolean =>
  isName(name) && name !== 'mirrors' && !isTopLevelRole(name)

/** Reads a file name from a request. What passes has no path, no escape, no second spelling.
 *  @returns `invalid-request`
 */
export function parseMetadataFile(name: string): Result<MetadataFile, ContractError> {
  if (name === 'timestamp.json') return ok({ role: 'timestamp', version: undefined })
  const match = name.length <= LIMITS.metadataFileLength ? VERSIONED.exec(name) : null
  const [, version, role] = match ?? []
  if (version === undefined || role === undefined || role === 'timestamp' || role === 'mirrors' || !isName(role)) {
    return err(contractError('invalid-request', `"${name.slice(0, 80)}" is no metadata file`))
  }
  return ok({ role, version: Number(version) })
}

/** Where a release lies in the image repository: `kws-2/2.kinglet`. */
export const targetPathOf = (release: { readonly name: string; readonly version: number }): string =>
  `${release.name}/${release.version}.kinglet`
