import { canonicalize } from '@tufjs/canonical-json'
import { Metadata, MetadataKind, type Root, Signature, type Targets } from '@tufjs/models'
import nacl from 'tweetnacl'
import * as z from 'zod/mini'
import { hexToBytes, sha256Hex } from '../contract/bytes.ts'
import { type ContractError, contractError } from '../contract/errors.ts'
import { hexField, sha256Field } from '../contract/fields.ts'
import { LIMITS } from '../contract/limits.ts'
import { isDelegatedRoleName } from '../contract/metadata-file.ts'
import {
  LATER_PATCHES_FIELD,
  releasePatchesSchema,
  releaseSchema,
  releaseVerifierSchema,
  VERIFIER_FIELD,
} from '../contract/release.ts'
import { DIRECTOR_FIELD } from '../contract/repository-target.ts'
import { err, ok, type Result } from '../contract/result.ts'
import { keyIdOf } from '../contract/signed.ts'

/** The offline half of the image repository: root, targets and delegated targets, as they are authored on the operator's machine
 *  and judged by the cloud before it takes them. Stricter than TUF asks: Ed25519 only, key ids are hashes, canonical bytes,
 *  one level of delegation, no unknown fields; so that what a device reads has one reading.
 *  @see TUF 1.0.33 section 4
 */
const version = z.int().check(z.minimum(1), z.maximum(LIMITS.metadataVersion))
const expires = z
  .string()
  .check(z.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/))
  .check(z.refine((text) => !Number.isNaN(Date.parse(text)), 'is no time'))
const common = { spec_version: z.string().check(z.regex(/^1\.0(\.\d{1,3})?$/)), version, expires }

const keySchema = z.strictObject({
  keytype: z.literal('ed25519'),
  scheme: z.literal('ed25519'),
  keyval: z.strictObject({ public: sha256Field }),
})
export type TufKey = z.infer<typeof keySchema>

/** The id is the hash of the key, so one key cannot count twice towards a threshold under two ids. */
const keysSchema = z.record(sha256Field, keySchema).check(
  z.refine((keys) => Object.entries(keys).every(([id, key]) => id === tufKeyId(key.keyval.public)), 'key id is wrong'),
  z.refine((keys) => Object.keys(keys).length <= 4 * LIMITS.metadataSignatures, 'too many keys'),
)

const roleFields = {
  keyids: z.array(sha256Field).check(
    z.minLength(1),
    z.maxLength(LIMITS.signatures),
    z.refine((ids) => new Set(ids).size === ids.length, 'a key is named twice'),
  ),
  threshold: z.int().check(z.minimum(1), z.maximum(LIMITS.signatures)),
}
const attainable = ({ keyids, threshold }: { keyids: readonly string[]; threshold: number }) =>
  threshold <= keyids.length
const roleSchema = z.strictObject(roleFields).check(z.refine(attainable, 'more signatures than keys'))
export type TufRole = z.infer<typeof roleSchema>

/** Who directs, in the form that `directorOf` reads on a device; here a wrong id or a key named twice is refused as well. */
const directorSchema = z
  .strictObject({
    keys: z
      .array(
        z
          .strictObject({ keyId: sha256Field, publicKey: sha256Field })
          .check(z.refine(({ keyId, publicKey }) => keyId === keyIdOf(hexToBytes(publicKey)), 'key id is wrong')),
      )
      .check(
        z.minLength(1),
        z.maxLength(LIMITS.signatures),
        z.refine((keys) => new Set(keys.map(({ keyId }) => keyId)).size === keys.length, 'a key is named twice'),
      ),
    threshold: z.int().check(z.minimum(1), z.maximum(LIMITS.signatures)),
  })
  .check(z.refine(({ keys, threshold }) => threshold <= keys.length, 'more signatures than keys'))

const rootSchema = z
  .strictObject({
    _type: z.literal('root'),
    ...common,
    consistent_snapshot: z.literal(true),
    /** Unix ms at which it was authored: the first word about the time that a device has, see contract/time-floor.ts */
    'x-kinglet-issued': z.optional(z.int().check(z.minimum(0))),
    keys: keysSchema,
    roles: z.strictObject({ root: roleSchema, targets: roleSchema, snapshot: roleSchema, timestamp: roleSchema }),
    [DIRECTOR_FIELD]: z.optional(directorSchema),
  })
  .check(
    z.refine(
      ({ keys, roles }) => Object.values(roles).every(({ keyids }) => keyids.every((id) => id in keys)),
      'a role names a key that is not there',
    ),
  )
export type RootContent = z.infer<typeof rootSchema>

/** `*` and `?` of one path segment each; nothing that a matcher could read as more. */
const PATH_PATTERN = /^[a-z0-9*?-]{1,40}\/[a-z0-9*?.-]{1,40}$/
const delegatedRoleSchema = z
  .strictObject({
    name: z.string().check(z.refine(isDelegatedRoleName, 'is no name of a delegated role')),
    ...roleFields,
    terminating: z.boolean(),
    paths: z.array(z.string().check(z.regex(PATH_PATTERN))).check(z.minLength(1), z.maxLength(16)),
  })
  .check(z.refine(attainable, 'more signatures than keys'))
const delegationsSchema = z
  .strictObject({ keys: keysSchema, roles: z.array(delegatedRoleSchema).check(z.maxLength(32)) })
  .check(
    z.refine(
      ({ keys, roles }) => roles.every(({ keyids }) => keyids.every((id) => id in keys)),
      'a role names a key that is not there',
    ),
    z.refine(({ roles }) => new Set(roles.map(({ name }) => name)).size === roles.length, 'a role is named twice'),
  )

const targetSchema = z.strictObject({
  length: z.int().check(z.minimum(1), z.maximum(LIMITS.bundleBytes)),
  hashes: z.strictObject({ sha256: sha256Field }),
  /** what the target stands for, signed with it */
  custom: z.strictObject({
    kinglet: releaseSchema,
    [VERIFIER_FIELD]: z.optional(releaseVerifierSchema),
    [LATER_PATCHES_FIELD]: z.optional(releasePatchesSchema),
  }),
})
const targetsSchema = z
  .strictObject({
    _type: z.literal('targets'),
    ...common,
    targets: z.record(z.string().check(z.regex(/^[a-z0-9-]{1,32}\/\d{1,16}\.kinglet$/)), targetSchema),
    delegations: z.optional(delegationsSchema),
  })
  .check(
    z.refine(
      ({ targets }) =>
        Object.entries(targets).every(
          ([
            path,
            {
              length,
              hashes,
              custom: { kinglet },
            },
          ]) =>
            path === `${kinglet.name}/${kinglet.version}.kinglet` &&
            length === kinglet.bytes &&
            hashes.sha256 === kinglet.sha256,
        ),
      'a target contradicts its release',
    ),
  )
export type TargetsContent = z.infer<typeof targetsSchema>

const signaturesSchema = z
  .array(z.strictObject({ keyid: sha256Field, sig: hexField(64) }))
  .check(z.maxLength(LIMITS.metadataSignatures))

export interface RootDocument {
  readonly kind: 'root'
  readonly content: RootContent
  readonly metadata: Metadata<Root>
}
/** Targets or delegated targets: the content does not say which; the file name and the signatures do. */
export interface TargetsDocument {
  readonly kind: 'targets'
  readonly content: TargetsContent
  readonly metadata: Metadata<Targets>
}
export type OfflineDocument = RootDocument | TargetsDocument

/** What authored metadata says it follows: the revision that @tufjs/models implements. */
export const SPEC_VERSION = '1.0.31'

type Json = Parameters<typeof Metadata.fromJSON>[1]

export const tufKeyOf = (publicKeyHex: string): TufKey => ({
  keytype: 'ed25519',
  scheme: 'ed25519',
  keyval: { public: publicKeyHex },
})

/** @see TUF 1.0.33 section 4.2: the hash of the key's canonical form */
export const tufKeyId = (publicKeyHex: string): string =>
  sha256Hex(new TextEncoder().encode(canonicalize(tufKeyOf(publicKeyHex))))

/** Time as TUF metadata says it, in whole seconds. */
export const tufTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`

/** Makes an unsigned document of authored content. Throws when the content breaks the rules above: the author has a bug. */
export function draftRoot(content: RootContent): RootDocument {
  const signed = rootSchema.parse(content)
  return { kind: 'root', content: signed, metadata: Metadata.fromJSON(MetadataKind.Root, envelope(signed)) }
}
export function draftTargets(content: TargetsContent): TargetsDocument {
  const signed = targetsSchema.parse(content)
  return { kind: 'targets', content: signed, metadata: Metadata.fromJSON(MetadataKind.Targets, envelope(signed)) }
}
const envelope = (signed: unknown): Json => ({ signed, signatures: [] }) as unknown as Json

/** The bytes that are stored, served and hashed: canonical JSON of the whole file. */
export const encodeDocument = (document: OfflineDocument): Uint8Array =>
  new TextEncoder().encode(canonicalize(document.metadata.toJSON()))

/** The bytes that a key signs. */
export const signedBytes = (document: OfflineDocument): Uint8Array =>
  new TextEncoder().encode(canonicalize(document.metadata.signed.toJSON()))

/** Puts a signature on a document, in place of an earlier one by that key. */
export function addSignature(document: OfflineDocument, keyId: string, sig: string): void {
  document.metadata.signatures[keyId] = new Signature({ keyID: keyId, sig })
}

export const parseRoot = (bytes: Uint8Array): Result<RootDocument, ContractError> =>
  parse(bytes, 'root', rootSchema, (json) => Metadata.fromJSON(MetadataKind.Root, json)) as Result<
    RootDocument,
    ContractError
  >

export const parseTargets = (bytes: Uint8Array): Result<TargetsDocument, ContractError> =>
  parse(bytes, 'targets', targetsSchema, (json) => Metadata.fromJSON(MetadataKind.Targets, json)) as Result<
    TargetsDocument,
    ContractError
  >

/** Size, JSON, rules, and then that the bytes are the canonical ones, which leaves nothing that only one of two parsers sees.
 *  @returns `too-large` | `malformed` */
function parse(
  bytes: Uint8Array,
  kind: OfflineDocument['kind'],
  schema: z.ZodMiniType,
  build: (json: Json) => Metadata<Root> | Metadata<Targets>,
): Result<unknown, ContractError> {
  const refuse = (detail: string) => err(contractError('malformed', `${kind}: ${detail}`))
  const bytesMax = kind === 'root' ? LIMITS.metadataRootBytes : LIMITS.metadataFileBytes
  if (bytes.length > bytesMax) {
    return err(contractError('too-large', `${kind} of ${bytes.length} bytes, limit ${bytesMax}`))
  }
  let text: string
  let json: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    json = JSON.parse(text)
  } catch {
    return refuse('not JSON')
  }
  // Parsers disagree on what this key does.
  if (text.includes('"__proto__"')) return refuse('a key named __proto__')
  const parsed = z.strictObject({ signed: schema, signatures: signaturesSchema }).safeParse(json)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    return refuse(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`)
  }
  try {
    const metadata = build(json as Json)
    if (canonicalize(metadata.toJSON()) !== text) return refuse('not in canonical form')
    return ok({ kind, content: parsed.data.signed, metadata })
  } catch (cause) {
    // Two signatures of one key, for example.
    return refuse(cause instanceof Error ? cause.message : 'invalid')
  }
}

/** Who may sign `role`, and how many must, in the eyes of the document that delegates to it. */
export function roleOf(delegator: OfflineDocument, role: string): TufRole | undefined {
  if (delegator.kind === 'targets') return delegator.content.delegations?.roles.find(({ name }) => name === role)
  return Object.hasOwn(delegator.content.roles, role)
    ? delegator.content.roles[role as keyof RootContent['roles']]
    : undefined
}

/** Keys of `role` whose signature on the document is valid. */
export function validSigners(delegator: OfflineDocument, role: string, document: OfflineDocument): readonly string[] {
  const keys = delegator.kind === 'root' ? delegator.content.keys : delegator.content.delegations?.keys
  const message = signedBytes(document)
  return (roleOf(delegator, role)?.keyids ?? []).filter((id) => {
    const key = keys?.[id]
    const signature = document.metadata.signatures[id]
    return (
      key !== undefined &&
      signature !== undefined &&
      nacl.sign.detached.verify(message, hexToBytes(signature.sig), hexToBytes(key.keyval.public))
    )
  })
}

/** @returns `bad-signature` when fewer keys than the threshold have signed, or nobody may */
export function verifyBy(
  delegator: OfflineDocument,
  role: string,
  document: OfflineDocument,
): Result<void, ContractError> {
  const threshold = roleOf(delegator, role)?.threshold
  const valid = validSigners(delegator, role, document).length
  if (threshold !== undefined && valid >= threshold) return ok(undefined)
  const by = `${delegator.kind} ${delegator.content.version}`
  return err(
    contractError(
      'bad-signature',
      threshold === undefined
        ? `${by} knows no role ${role}`
        : `${role} ${document.content.version} has ${valid} of ${threshold} signatures that ${by} asks for`,
    ),
  )
}
