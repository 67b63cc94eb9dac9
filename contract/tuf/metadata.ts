import * as z from 'zod/mini'
import { type ContractError, contractError } from '../errors.ts'
import type { TufLimits } from '../limits.ts'
import { err, ok, type Result } from '../result.ts'
import { isJsonObject, type JsonObject, parseBoundedJson } from './bounded-json.ts'
import { isTopLevelRole, TOP_LEVEL_ROLES, type TopLevelRole } from './role-name.ts'

/** A document whose signatures nobody has checked yet. `signed` keeps fields this code does not know: they are signed too. */
export interface Envelope {
  readonly signed: JsonObject
  /** signature in hex by key id; may be anything, since one bad signature must not spoil the good ones */
  readonly signatures: ReadonlyMap<string, string>
}

/** A public key as metadata lists it; the id it is listed under is opaque. */
export interface TufKey {
  readonly keyType: string
  readonly scheme: string
  /** hex of 32 bytes for Ed25519, PEM for the others */
  readonly publicKey: string
}

export interface RoleKeys {
  readonly keyIds: readonly string[]
  readonly threshold: number
}

interface Common {
  readonly version: number
  /** Unix ms */
  readonly expiresMs: number
  /** Unix ms at which it was signed, from our own signed field `x-kinglet-issued`; TUF itself tells no such time */
  readonly issuedMs: number | undefined
}

export interface RootMetadata extends Common {
  readonly consistentSnapshot: boolean
  readonly keys: ReadonlyMap<string, TufKey>
  readonly roles: Readonly<Record<TopLevelRole, RoleKeys>>
}

/** What one role says of a file of another: hashes (hex by algorithm) and length only where the repository gives them. */
export interface FileMeta {
  readonly version: number
  readonly length: number | undefined
  readonly hashes: ReadonlyMap<string, string> | undefined
}

export interface TimestampMetadata extends Common {
  readonly snapshot: FileMeta
}

export interface SnapshotMetadata extends Common {
  /** by file name, `targets.json` and one for each delegated role */
  readonly files: ReadonlyMap<string, FileMeta>
}

export interface TargetFile {
  readonly path: string
  readonly length: number
  /** hex by algorithm, at least one */
  readonly hashes: ReadonlyMap<string, string>
  /** what the application says of it, signed with the rest */
  readonly custom?: unknown
}

/** A delegation speaks for paths by pattern or by the first digits of their sha256, never by both. */
export interface Delegation extends RoleKeys {
  readonly name: string
  readonly terminating: boolean
  readonly paths: readonly string[] | undefined
  readonly pathHashPrefixes: readonly string[] | undefined
}

/** Hash bins that are named by rule instead of listed (TAP 15). */
export interface HashBins extends RoleKeys {
  readonly bitLength: number
  readonly namePrefix: string
}

export interface Delegations {
  readonly keys: ReadonlyMap<string, TufKey>
  /** in order of trust */
  readonly roles: readonly Delegation[]
  readonly hashBins: HashBins | undefined
}

export interface TargetsMetadata extends Common {
  readonly targets: ReadonlyMap<string, TargetFile>
  readonly delegations: Delegations | undefined
}

const EXPIRES = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/
const instant = z.string().check(
  z.regex(EXPIRES),
  // Date.parse takes 30 February for 2 March.
  z.refine((text) => isInstant(text), 'no such date'),
)
const isInstant = (text: string): boolean => {
  const ms = Date.parse(text)
  return Number.isFinite(ms) && new Date(ms).toISOString().slice(0, 19) === text.slice(0, 19)
}
const positive = z.int().check(z.minimum(1))
const common = {
  // Section 4.3: another major version may mean anything.
  spec_version: z.string().check(z.regex(/^1\.\d{1,4}(\.\d{1,4})?$/)),
  version: positive,
  expires: instant,
  'x-kinglet-issued': z.optional(z.int().check(z.minimum(0))),
}
const hashes = z.record(z.string(), z.string()).check(z.refine((all) => Object.keys(all).length > 0, 'no hash'))
const fileMeta = z.looseObject({ version: positive, length: z.optional(positive), hashes: z.optional(hashes) })

function schemasOf(limits: TufLimits) {
  const name = z.string().check(z.maxLength(limits.nameLength))
  const key = z.looseObject({
    keytype: name,
    scheme: name,
    // A key of an unknown type may have another shape; it counts for nothing then.
    keyval: z.looseObject({ public: z.optional(z.string().check(z.maxLength(limits.keyLength))) }),
  })
  const keys = z
    .record(z.string(), key)
    .check(z.refine((all) => Object.keys(all).length <= limits.keys, `more than ${limits.keys} keys`))
  const role = {
    keyids: z.array(z.string()).check(
      z.maxLength(limits.keysPerRole),
      z.refine((ids) => new Set(ids).size === ids.length, 'a key id twice'),
    ),
    threshold: positive,
  }
  const patterns = z.array(name).check(z.maxLength(limits.patterns))
  const delegatedName = name.check(
    z.minLength(1),
    z.refine((text) => !isTopLevelRole(text), 'the name of a top-level role'),
  )
  return {
    envelope: z.looseObject({
      signatures: z.array(z.looseObject({ keyid: z.string(), sig: z.string() })).check(
        z.maxLength(limits.keysPerRole * 2),
        // Section 4.2.1: key ids must be unique here, even where enough others have signed.
        z.refine((all) => new Set(all.map(({ keyid }) => keyid)).size === all.length, 'a key id twice'),
      ),
    }),
    root: z.looseObject({
      ...common,
      consistent_snapshot: z.optional(z.boolean()),
      keys,
      roles: z.looseObject({
        root: z.looseObject(role),
        timestamp: z.looseObject(role),
        snapshot: z.looseObject(role),
        targets: z.looseObject(role),
      }),
    }),
    timestamp: z.looseObject({ ...common, meta: z.looseObject({ 'snapshot.json': fileMeta }) }),
    snapshot: z.looseObject({ ...common, meta: z.record(z.string(), fileMeta) }),
    targets: z.looseObject({
      ...common,
      targets: z.record(
        name,
        z.looseObject({ length: z.int().check(z.minimum(0)), hashes, custom: z.optional(z.unknown()) }),
      ),
      delegations: z.optional(
        z
          .looseObject({
            keys,
            roles: z.optional(
              z
                .array(
                  z
                    .looseObject({
                      ...role,
                      name: delegatedName,
                      terminating: z.boolean(),
                      paths: z.optional(patterns),
                      path_hash_prefixes: z.optional(patterns),
                    })
                    .check(
                      z.refine(
                        (one) => (one.paths === undefined) !== (one.path_hash_prefixes === undefined),
                        'needs either "paths" or "path_hash_prefixes"',
                      ),
                    ),
                )
                .check(
                  z.maxLength(limits.delegations),
                  z.refine((all) => new Set(all.map((one) => one.name)).size === all.length, 'a role twice'),
                ),
            ),
            succinct_roles: z.optional(
              z.looseObject({
                ...role,
                bit_length: z.int().check(z.minimum(1), z.maximum(32)),
                name_prefix: delegatedName,
              }),
            ),
          })
          .check(
            z.refine(
              (one) => (one.roles === undefined) !== (one.succinct_roles === undefined),
              'needs either "roles" or "succinct_roles"',
            ),
          ),
      ),
    }),
  }
}
type Schemas = ReturnType<typeof schemasOf>

const schemasByLimits = new WeakMap<TufLimits, Schemas>()

function schemasFor(limits: TufLimits): Schemas {
  const known = schemasByLimits.get(limits)
  if (known !== undefined) return known
  const made = schemasOf(limits)
  schemasByLimits.set(limits, made)
  return made
}

function check<T>(schema: z.ZodMiniType<T>, value: unknown, what: string): Result<T, ContractError> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return ok(parsed.data)
  const issue = parsed.error.issues[0]
  const where = issue?.path.map(String).join('.').slice(0, 80) ?? ''
  return err(contractError('metadata-malformed', `${what}.${where}: ${issue?.message ?? 'invalid'}`))
}

/** The kinds of document; every delegated role is a `targets`. */
export interface ContentOf {
  readonly root: RootMetadata
  readonly timestamp: TimestampMetadata
  readonly snapshot: SnapshotMetadata
  readonly targets: TargetsMetadata
}

export const maxBytesOf = (kind: TopLevelRole, limits: TufLimits): number =>
  ({
    root: limits.rootBytes,
    timestamp: limits.timestampBytes,
    snapshot: limits.snapshotBytes,
    targets: limits.targetsBytes,
  })[kind]

/** Parses a document and its content, after its size was checked. Nothing of it is to be believed before its signatures are.
 *  @returns `metadata-too-large` | `metadata-malformed`
 *  @see TUF 1.0.33, section 4 "document formats"
 */
export function parseMetadata<K extends TopLevelRole>(
  data: Uint8Array,
  kind: K,
  limits: TufLimits,
): Result<{ readonly envelope: Envelope; readonly content: ContentOf[K] }, ContractError> {
  const json = parseBoundedJson(data, maxBytesOf(kind, limits), limits.jsonDepth)
  if (!json.ok) return json
  const schemas = schemasFor(limits)
  const outer = check(schemas.envelope, json.value, kind)
  if (!outer.ok) return outer
  const signed = isJsonObject(json.value) ? json.value.signed : undefined
  if (!isJsonObject(signed) || signed._type !== kind) {
    return err(contractError('metadata-malformed', `"signed" is no ${kind}`))
  }
  const content = contentOf[kind](schemas, signed)
  if (!content.ok) return content
  const signatures = new Map(outer.value.signatures.map(({ keyid, sig }) => [keyid, sig]))
  return ok({ envelope: { signed, signatures }, content: content.value })
}

const contentOf: {
  readonly [K in TopLevelRole]: (schemas: Schemas, signed: JsonObject) => Result<ContentOf[K], ContractError>
} = {
  root(schemas, signed) {
    const parsed = check(schemas.root, signed, 'root')
    if (!parsed.ok) return parsed
    const roles = Object.fromEntries(
      TOP_LEVEL_ROLES.map((role) => [role, roleKeysOf(parsed.value.roles[role])]),
    ) as unknown as RootMetadata['roles']
    const consistentSnapshot = parsed.value.consistent_snapshot ?? false
    return ok({ ...commonOf(parsed.value), consistentSnapshot, keys: keysOf(parsed.value.keys), roles })
  },
  timestamp(schemas, signed) {
    const parsed = check(schemas.timestamp, signed, 'timestamp')
    if (!parsed.ok) return parsed
    return ok({ ...commonOf(parsed.value), snapshot: fileMetaOf(parsed.value.meta['snapshot.json']) })
  },
  snapshot(schemas, signed) {
    const parsed = check(schemas.snapshot, signed, 'snapshot')
    if (!parsed.ok) return parsed
    const files = new Map(Object.entries(parsed.value.meta).map(([file, meta]) => [file, fileMetaOf(meta)]))
    return ok({ ...commonOf(parsed.value), files })
  },
  targets(schemas, signed) {
    const parsed = check(schemas.targets, signed, 'targets')
    if (!parsed.ok) return parsed
    const targets = new Map(
      Object.entries(parsed.value.targets).map(([path, one]): [string, TargetFile] => [
        path,
        {
          path,
          length: one.length,
          hashes: new Map(Object.entries(one.hashes)),
          ...(one.custom === undefined ? {} : { custom: one.custom }),
        },
      ]),
    )
    const { delegations } = parsed.value
    if (delegations === undefined) return ok({ ...commonOf(parsed.value), targets, delegations: undefined })
    const roles = (delegations.roles ?? []).map((one) => ({
      ...roleKeysOf(one),
      name: one.name,
      terminating: one.terminating,
      paths: one.paths,
      pathHashPrefixes: one.path_hash_prefixes,
    }))
    const bins = delegations.succinct_roles
    const hashBins =
      bins === undefined ? undefined : { ...roleKeysOf(bins), bitLength: bins.bit_length, namePrefix: bins.name_prefix }
    return ok({
      ...commonOf(parsed.value),
      targets,
      delegations: { keys: keysOf(delegations.keys), roles, hashBins },
    })
  },
}

const commonOf = (signed: { version: number; expires: string; 'x-kinglet-issued'?: number | undefined }): Common => ({
  version: signed.version,
  expiresMs: Date.parse(signed.expires),
  issuedMs: signed['x-kinglet-issued'],
})

const roleKeysOf = (role: { keyids: string[]; threshold: number }): RoleKeys => ({
  keyIds: role.keyids,
  threshold: role.threshold,
})

function keysOf(
  keys: Record<string, { keytype: string; scheme: string; keyval: { public?: string | undefined } }>,
): ReadonlyMap<string, TufKey> {
  return new Map(
    Object.entries(keys).map(([id, key]) => [
      id,
      { keyType: key.keytype, scheme: key.scheme, publicKey: key.keyval.public ?? '' },
    ]),
  )
}

const fileMetaOf = (meta: z.infer<typeof fileMeta>): FileMeta => ({
  version: meta.version,
  length: meta.length,
  hashes: meta.hashes === undefined ? undefined : new Map(Object.entries(meta.hashes)),
})
