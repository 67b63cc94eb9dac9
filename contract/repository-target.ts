import * as z from 'zod/mini'
import { type ContractError, contractError } from './errors.ts'
import { sha256Field } from './fields.ts'
import { LIMITS } from './limits.ts'
import { targetPathOf } from './metadata-file.ts'
import {
  LATER_PATCHES_FIELD,
  parseContent,
  type Release,
  releasePatchesSchema,
  releaseSchema,
  withLaterPatches,
} from './release.ts'
import { err, ok, type Result } from './result.ts'
import type { TrustedRole } from './signed.ts'
import type { TargetFile } from './tuf/metadata.ts'

/** What Kinglet puts into the image repository beside what TUF defines: where a release is found, what is said of it, and who directs.
 *  All of it lies in signed parts.
 */

/** The release a target stands for, from `custom.kinglet`, with the later patches that stand beside it. The role that speaks for the target
 *  has signed all of it, and it must agree.
 *  @param target as a search found it
 *  @returns `malformed` | `unknown-schema-version` | `contradicts-repository`
 */
export function releaseOfTarget(target: TargetFile): Result<Release, ContractError> {
  const custom = target.custom as { kinglet?: unknown; [LATER_PATCHES_FIELD]?: unknown } | null | undefined
  const parsed = parseContent(releaseSchema, custom?.kinglet, 'release')
  if (!parsed.ok) return parsed
  const later = z.optional(releasePatchesSchema).safeParse(custom?.[LATER_PATCHES_FIELD])
  if (!later.success) return err(contractError('malformed', `${target.path}: ${LATER_PATCHES_FIELD}`))
  const release = parsed.value
  const agrees =
    target.path === targetPathOf(release) &&
    target.length === release.bytes &&
    target.hashes.get('sha256') === release.sha256
  return agrees
    ? ok(withLaterPatches(release, later.data))
    : err(contractError('contradicts-repository', `${target.path} and its release differ`))
}

/** Field of root that names the director: whose assignments devices follow. */
export const DIRECTOR_FIELD = 'x-kinglet-director'

const directorSchema = z.strictObject({
  keys: z
    .array(
      z.strictObject({
        keyId: sha256Field,
        publicKey: sha256Field,
      }),
    )
    .check(z.minLength(1), z.maxLength(LIMITS.signatures)),
  threshold: z.int().check(z.minimum(1), z.maximum(LIMITS.signatures)),
})

const NOBODY: TrustedRole = { keys: [], threshold: 1 }

/** The director as root names it: so its key is rotated and revoked as every other one is, and a cloud whose director key was stolen is
 *  left behind by one new root.
 *  @param root verified bytes of a trusted root
 *  @returns nobody when root names none that can be read: every assignment is refused then
 */
export function directorOf(root: Uint8Array): TrustedRole {
  try {
    const document = JSON.parse(new TextDecoder().decode(root)) as { signed?: Record<string, unknown> }
    const parsed = directorSchema.safeParse(document.signed?.[DIRECTOR_FIELD])
    return parsed.success ? parsed.data : NOBODY
  } catch {
    return NOBODY
  }
}
