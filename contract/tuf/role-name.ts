export const TOP_LEVEL_ROLES = ['root', 'timestamp', 'snapshot', 'targets'] as const
export type TopLevelRole = (typeof TOP_LEVEL_ROLES)[number]

export const isTopLevelRole = (name: string): name is TopLevelRole =>
  (TOP_LEVEL_ROLES as readonly string[]).includes(name)

/** A name as one component of an URL or a file path: all but letters, digits and `-._~` percent-encoded, as Python's
 *  `urllib.parse.quote(name, safe='')` does. A slash, NUL or percent sign of a hostile name ends here.
 *  @param name without half surrogate pairs
 */
export const quoteName = (name: string): string =>
  encodeURIComponent(name).replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`)

/** Name of a role's file below the repository's metadata address. `version` only with consistent snapshots, and for root. */
export const metadataFile = (role: string, version?: number): string =>
  version === undefined ? `${quoteName(role)}.json` : `${version}.${quoteName(role)}.json`

const CONTROL = /\p{Cc}/u
const LONE_SURROGATE = /\p{Surrogate}/u

/** Whether a target path stays where it is put: relative, no empty, `.` or `..` component, no backslash and no control character.
 *  An address is normalised by whoever fetches it, so a path that climbs must not get that far.
 */
export const isSafeTargetPath = (path: string): boolean =>
  path !== '' &&
  !path.includes('\\') &&
  !CONTROL.test(path) &&
  !LONE_SURROGATE.test(path) &&
  path.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
