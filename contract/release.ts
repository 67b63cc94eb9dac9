import * as z from 'zod/mini'
import { type ContractError, contractError } from './errors.ts'
import { boardField, nameField, sha256Field, uintField } from './fields.ts'
import { ID_PATTERN } from './id.ts'
import { LIMITS } from './limits.ts'
import { err, ok, type Result } from './result.ts'
import { type Signed, type TrustedRole, verifySigned } from './signed.ts'
import { updateWindowSchema } from './update-window.ts'

/** A way to make the release's bundle that takes fewer bytes on the air than the bundle itself. */
const patchSchema = z.strictObject({
  /** of the bundle that the patch turns into this one; null: a compact full image, which any device can take */
  base: z.nullable(sha256Field),
  /** of the patch file */
  sha256: sha256Field,
  bytes: z.int().check(z.minimum(1), z.maximum(LIMITS.bundleBytes)),
})
export type ReleasePatch = z.infer<typeof patchSchema>

export const releasePatchesSchema = z.array(patchSchema).check(
  z.maxLength(LIMITS.releasePatches),
  z.refine((patches) => new Set(patches.map(({ base }) => base)).size === patches.length, 'two patches of one base'),
)

/** What the release keys vouch for: `custom.kinglet` of a target in the image repository, so that a device can refuse before it
 *  downloads a byte of the bundle. @see repository-target.ts */
export const releaseSchema = z
  .strictObject({
    v: z.literal(1),
    type: z.literal('release'),
    name: nameField,
    /** rises with every release of this model family */
    version: uintField,
    sha256: sha256Field,
    bytes: z.int().check(z.minimum(1), z.maximum(LIMITS.bundleBytes)),
    /** devices never go below the highest they confirmed; only the release key raises it */
    securityCounter: uintField,
    /** peak RAM over the bundle's graphs, from the planner: activations, persistent records, kernel scratch */
    arenaBytes: uintField,
    /** weights and biases of the largest graph, from the planner; they stay in flash */
    constantBytes: uintField,
    /** sha256 of the canonical feature definition; a device refuses one it does not implement */
    featuresSha256: sha256Field,
    /** boards it was packed for; empty: any */
    boards: z.array(boardField).check(z.maxLength(LIMITS.boards)),
    /** of version 1, which every device reads; absent: none. Each is vouched for like the bundle, so a device needs no other word for it */
    patches: z.optional(releasePatchesSchema),
  })
  .check(
    z.refine(
      ({ bytes, patches }) => (patches ?? []).every((patch) => patch.bytes < bytes),
      'a patch as large as the bundle',
    ),
  )
export type Release = z.infer<typeof releaseSchema>

/** What judges the wakes of a release: a bundle of its own, with labels and front end. Signed with the release and beside it, as `VERIFIER_FIELD`
 *  of `custom`, since devices have no use for it. */
export const releaseVerifierSchema = z.strictObject({
  sha256: sha256Field,
  bytes: z.int().check(z.minimum(1), z.maximum(LIMITS.bundleBytes)),
})
export type ReleaseVerifier = z.infer<typeof releaseVerifierSchema>
export const VERIFIER_FIELD = 'kinglet-verifier'

/** Patches of version 2, where one takes fewer bytes than that of version 1. Signed with the release and beside it: agents of before that
 *  version look at the release alone, where a field that they do not know would be malformed. */
export const LATER_PATCHES_FIELD = 'kinglet-patches-2'

/** A release with all of its patches, of which two may begin at the same base: those that take less first. */
export const withLaterPatches = (release: Release, later: readonly ReleasePatch[] = []): Release =>
  later.length === 0 ? release : { ...release, patches: [...later, ...(release.patches ?? [])] }

/** Which comparison a device takes part in; echoed by nobody, kept by gateway and cloud for attribution. */
const rolloutTagSchema = z.strictObject({
  id: nameField,
  stage: uintField,
  arm: z.enum(['canary', 'control', 'none']),
})

/** What one device is to run. Honoured only where the image repository says the same of `target`. */
export const assignmentSchema = z.strictObject({
  v: z.literal(1),
  type: z.literal('assignment'),
  // Signed as they are compared: nothing is read as something else.
  device: z.string().check(z.regex(ID_PATTERN)),
  site: z.string().check(z.regex(ID_PATTERN)),
  board: boardField,
  /** rises with every new assignment of a device */
  seq: uintField,
  /** Unix ms */
  issuedMs: uintField,
  expiresMs: uintField,
  target: z.strictObject({ name: nameField, version: uintField, sha256: sha256Field }),
  rollout: z.nullable(rolloutTagSchema),
  /** absent: at any hour, or as the device is set up. An agent of before this field refuses a document that has it */
  window: z.optional(updateWindowSchema),
})
export type Assignment = z.infer<typeof assignmentSchema>

/** Parses verified content, strict about unknown fields.
 *  @returns `malformed` | `unknown-schema-version`
 */
export function parseContent<T>(
  schema: z.ZodMiniType<T>,
  content: unknown,
  what: string,
  known = 1,
): Result<T, ContractError> {
  const version = (content as { v?: unknown } | null)?.v
  if (version !== known) {
    // Not String(): an object of a hostile document may bring a `toString` that is no function.
    const found =
      typeof version === 'number' || typeof version === 'string' ? String(version).slice(0, 20) : typeof version
    return err(contractError('unknown-schema-version', `${what} version ${found}, known: ${known}`))
  }
  const parsed = schema.safeParse(content)
  if (parsed.success) return ok(parsed.data)
  const issue = parsed.error.issues[0]
  return err(contractError('malformed', `${what}.${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`))
}

/** What a device knows of itself when it judges an assignment. */
export interface AssignmentContext {
  readonly device: string
  readonly site: string
  readonly board: string
  readonly director: TrustedRole
  /** newest sequence number accepted so far; 0 for none */
  readonly lastSeq: number
  /** the time to judge by, Unix ms, see time-floor.ts; 0 when nothing is known of the time (no expiry check then) */
  readonly nowMs: number
}

/** Verifies an assignment: the director's half of what a device accepts. The other half is `agreesWithRepository`.
 *  @returns the assignment, or `malformed` | `unknown-schema-version` | `unknown-key` | `bad-signature` | `wrong-device` |
 *    `wrong-board` | `replayed` | `expired`
 *  @see Uptane 2.1 "full verification" (director and image repository must agree)
 */
export function verifyAssignment(
  document: Signed<unknown>,
  context: AssignmentContext,
): Result<Assignment, ContractError> {
  const content = verifySigned(document, context.director)
  if (!content.ok) return content
  const parsed = parseContent(assignmentSchema, content.value, 'assignment')
  if (!parsed.ok) return parsed
  const assignment = parsed.value
  if (assignment.device !== context.device || assignment.site !== context.site) {
    return err(contractError('wrong-device', `assignment is for ${assignment.site}/${assignment.device}`))
  }
  if (assignment.board !== context.board) {
    return err(contractError('wrong-board', `assignment is for ${assignment.board}, this is ${context.board}`))
  }
  // The same number again is the same document: a broker repeats the retained one at every connection.
  if (assignment.seq < context.lastSeq) {
    return err(contractError('replayed', `sequence ${assignment.seq}, already at ${context.lastSeq}`))
  }
  if (context.nowMs > 0 && assignment.expiresMs <= context.nowMs) {
    return err(contractError('expired', `expired ${context.nowMs - assignment.expiresMs} ms ago`))
  }
  return ok(assignment)
}

/** Checks that the release which the image repository has at the assigned path is the assigned one, and fits this device.
 *  @param release as `releaseOfTarget` gives it
 *  @returns `contradicts-repository` | `wrong-board` | `security-counter-too-low`
 */
export function agreesWithRepository(
  { target }: Assignment,
  release: Release,
  device: {
    readonly board: string
    /** lowest security counter the device accepts */
    readonly securityCounter: number
  },
): Result<void, ContractError> {
  if (target.sha256 !== release.sha256 || target.name !== release.name || target.version !== release.version) {
    const detail = `assigned ${target.sha256.slice(0, 16)}…, the repository has ${release.sha256.slice(0, 16)}… there`
    return err(contractError('contradicts-repository', `${target.name} ${target.version}: ${detail}`))
  }
  if (release.boards.length > 0 && !release.boards.includes(device.board)) {
    return err(contractError('wrong-board', `release is for ${release.boards.join(', ')}`))
  }
  if (release.securityCounter < device.securityCounter) {
    const detail = `release has ${release.securityCounter}, device ${device.securityCounter}`
    return err(contractError('security-counter-too-low', detail))
  }
  return ok(undefined)
}
