import { targetPathOf } from '../../contract/metadata-file.ts'
import {
  LATER_PATCHES_FIELD,
  type Release,
  type ReleaseVerifier,
  VERIFIER_FIELD,
  withLaterPatches,
} from '../../contract/release.ts'
import { matchesPattern } from '../../contract/tuf/delegation.ts'
import type { TargetsDocument } from '../../release/tuf-document.ts'

export interface FoundRelease {
  /** with its later patches: whatever a device may ask for has to be here */
  readonly release: Release
  /** what judges its wakes; undefined: what gateways have */
  readonly verifier: ReleaseVerifier | undefined
  /** who has signed it: `targets`, or a delegated role */
  readonly role: string
}

/** The release that a client finds at a path: targets are asked first, then the delegations that match, in their order, and nobody
 *  after a terminating one.
 *  @param targets newest targets by role, one level of delegation as the review allows
 *  @see TUF 1.0.33, 5.6.7
 */
export function findRelease(
  targets: ReadonlyMap<string, TargetsDocument>,
  name: string,
  version: number,
): FoundRelease | undefined {
  const path = targetPathOf({ name, version })
  const releaseOf = (role: string): FoundRelease | undefined => {
    const entries = targets.get(role)?.content.targets ?? {}
    const custom = Object.hasOwn(entries, path) ? entries[path]?.custom : undefined
    if (custom === undefined) return undefined
    const release = withLaterPatches(custom.kinglet, custom[LATER_PATCHES_FIELD])
    return { release, verifier: custom[VERIFIER_FIELD], role }
  }
  const found = releaseOf('targets')
  if (found !== undefined) return found
  for (const role of targets.get('targets')?.content.delegations?.roles ?? []) {
    if (!role.paths.some((pattern) => matchesPattern(path, pattern))) continue
    const delegated = releaseOf(role.name)
    if (delegated !== undefined || role.terminating) return delegated
  }
  return undefined
}
