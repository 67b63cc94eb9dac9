import * as z from 'zod/mini'
import { type ContractError, contractError } from './errors.ts'
import { LIMITS } from './limits.ts'
import { err, ok, type Result } from './result.ts'
import { asSigned, type Signed, type TrustedRole, verifySigned } from './signed.ts'

const sha256Text = z.string().check(z.regex(/^[0-9a-f]{64}$/))
const idText = z.string().check(z.regex(/^[a-z0-9][a-z0-9-]*$/), z.maxLength(LIMITS.idLength))
const uintNumber = z.int().check(z.minimum(0), z.maximum(LIMITS.counter))

/** What the release key vouches for, small enough to travel inside an assignment, so that a device can refuse before it
 *  downloads a byte. */
export const releaseSchema = z.strictObject({
  v: z.literal(1),
  type: z.literal('release'),
  name: idText,
  /** rises with every release of this model family */
  version: uintNumber,
  sha256: sha256Text,
  bytes: z.int().check(z.minimum(1), z.maximum(LIMITS.bundleBytes)),
  /** devices never go below the highest they confirmed; only the release key raises it */
  securityCounter: uintNumber,
  /** peak RAM over the bundle's graphs, from the planner: activations, persistent records, kernel scratch */
  arenaBytes: uintNumber,
  /** weights and biases of the largest graph, from the planner; they stay in flash */
  constantBytes: uintNumber,
  /** sha256 of the canonical feature definition; a device refuses one it does not implement */
  featuresSha256: sha256Text,
  /** boards it was packed for; empty: any */
  boards: z.array(z.string().check(z.maxLength(LIMITS.idLength))).check(z.maxLength(LIMITS.boards)),
})
export type Release = z.infer<typeof releaseSchema>

const rolloutTagSchema = z.strictObject({
  id: idText,
  stage: uintNumber,
  arm: z.enum(['canary', 'control', 'none']),
})
/** Which comparison a device takes part in; echoed by nobody, kept by gateway and cloud for attribution. */
export type RolloutTag = z.infer<typeof rolloutTagSchema>

/** What one device is to run. Honoured only where it agrees with the release document it carries. */
export const assignmentSchema = z.strictObject({
  v: z.literal(1),
  type: z.literal('assignment'),
  device: idText,
  site: idText,
  board: z.string().check(z.maxLength(LIMITS.idLength)),
  /** rises with every new assignment of a device */
  seq: uintNumber,
  /** Unix ms */
  issuedMs: uintNumber,
  expiresMs: uintNumber,
  target: z.strictObject({ name: idText, version: uintNumber, sha256: sha256Text }),
  rollout: z.nullable(rolloutTagSchema),
  /** the release document of `target`, signed by the release key */
  release: z.unknown(),
})
export type Assignment = Omit<z.infer<typeof assignmentSchema>, 'release'> & { readonly release: Signed<Release> }

/** Parses verified content, strict about unknown fields.
 *  @returns `malformed` | `unknown-schema-version`
 */
export function parseContent<T>(schema: z.ZodMiniType<T>, content: unknown, what: string): Result<T, ContractError> {
  const version = (content as { v?: unknown } | null)?.v
  if (version !== 1) {
    // Not String(): an object of a hostile document may bring a `toString` that is no function.
    const found =
      typeof version === 'number' || typeof version === 'string' ? String(version).slice(0, 20) : typeof version
    return err(contractError('unknown-schema-version', `${what} version ${found}, known: 1`))
  }
  const parsed = schema.safeParse(content)
  if (parsed.success) return ok(parsed.data)
  const issue = parsed.error.issues[0]
  return err(contractError('malformed', `${what}.${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`))
}

/** Verifies a release document against the release role. */
export function verifyRelease(document: Signed<unknown>, role: TrustedRole): Result<Release, ContractError> {
  const content = verifySigned(document, role)
  return content.ok ? parseContent(releaseSchema, content.value, 'release') : content
}

/** What a device knows of itself when it judges an assignment. */
export interface AssignmentContext {
  readonly device: string
  readonly site: string
  readonly board: string
  readonly director: TrustedRole
  readonly release: TrustedRole
  /** newest sequence number accepted so far; 0 for none */
  readonly lastSeq: number
  /** lowest security counter the device accepts */
  readonly securityCounter: number
  /** wall time in Unix ms, fixed for the whole update cycle; 0 when the device has no wall clock (no expiry check then) */
  readonly nowMs: number
}

/** Verifies an assignment before any byte of a slot is written: both signatures, binding, freshness, agreement.
 *  @returns the assignment and the release it agrees with, or `malformed` | `unknown-schema-version` | `unknown-key` |
 *    `bad-signature` | `wrong-device` | `wrong-board` | `replayed` | `expired` | `contradicts-release` |
 *    `security-counter-too-low`
 *  @see Uptane 2.1 "full verification" (director and image repository must agree)
 */
export function verifyAssignment(
  document: Signed<unknown>,
  context: AssignmentContext,
): Result<{ assignment: Assignment; release: Release }, ContractError> {
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
  const envelope = asSigned(assignment.release)
  if (!envelope.ok) return envelope
  const verified = verifyRelease(envelope.value, context.release)
  if (!verified.ok) return verified
  const release = verified.value
  const { target } = assignment
  if (target.sha256 !== release.sha256 || target.name !== release.name || target.version !== release.version) {
    return err(contractError('contradicts-release', `assignment names ${target.name}, release is ${release.name}`))
  }
  if (release.boards.length > 0 && !release.boards.includes(context.board)) {
    return err(contractError('wrong-board', `release is for ${release.boards.join(', ')}`))
  }
  if (release.securityCounter < context.securityCounter) {
    return err(
      contractError(
        'security-counter-too-low',
        `release has ${release.securityCounter}, device ${context.securityCounter}`,
      ),
    )
  }
  return ok({ assignment: { ...assignment, release: envelope.value as Signed<Release> }, release })
}
