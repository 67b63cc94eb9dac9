import { canonicalize } from '@tufjs/canonical-json'
import { Metadata, MetaFile, Signature, Snapshot, Timestamp } from '@tufjs/models'
import { sha256Hex } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { parseMetadataFile, targetPathOf } from '../../contract/metadata-file.ts'
import type { Release } from '../../contract/release.ts'
import { DIRECTOR_FIELD } from '../../contract/repository-target.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { Logger } from '../../platform/logger.ts'
import {
  type MetadataUpload,
  type RepositoryState,
  type Review,
  reviewUploads,
} from '../../release/repository-review.ts'
import {
  parseRoot,
  parseTargets,
  type RootDocument,
  SPEC_VERSION,
  type TargetsDocument,
  tufTime,
} from '../../release/tuf-document.ts'
import type { ArtifactFolder } from '../registry/artifact-folder.ts'
import type { Store } from '../store/store.ts'
import type { DirectorKeys, OnlineKey, OnlineKeys } from './key-succession.ts'
import { findRelease } from './release-search.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** chosen: a device that sees no newer timestamp for a day is being held back; renewed at half life, so a cloud may be down for 12 hours */
const TIMESTAMP_TTL_MS = DAY_MS
/** chosen: made anew with every release anyway; a week, because only the timestamp has to be young */
const SNAPSHOT_TTL_MS = 7 * DAY_MS
/** chosen: the wall clock may jump, so what is due is looked at this often at least */
const LOOK_EVERY_MS = HOUR_MS
/** chosen: after a failure (a full disk) */
const RETRY_MS = 60_000
/** chosen: superseded files kept for devices in the middle of a cycle and gateways with an older timestamp; roots are kept for ever */
const KEPT_VERSIONS = 32
/** chosen: an offline ceremony takes weeks to arrange */
const WARN_BEFORE_MS = 30 * DAY_MS

interface Parts {
  readonly store: Store
  readonly artifacts: ArtifactFolder
  readonly clock: Clock
  readonly logger: Logger
  readonly online: OnlineKeys
  readonly directors: DirectorKeys
}

/** The image repository as the cloud keeps it: takes offline metadata that the keys of its root have signed, and makes snapshot
 *  and timestamp over it. It holds no key that could make a root or a target.
 *
 *  A publication is one transaction: files, snapshot and timestamp are visible together or not at all, and consistent snapshots keep
 *  the former files where a device in mid-cycle expects them.
 *  @see TUF 1.0.33 section 6, "consistent snapshots"
 */
export class ImageRepository {
  readonly online: OnlineKeys
  readonly directors: DirectorKeys
  readonly #parts: Parts
  #state: RepositoryState
  #cancel: (() => void) | undefined
  #stopped = false

  constructor(parts: Parts) {
    this.#parts = parts
    this.online = parts.online
    this.directors = parts.directors
    this.#state = readState(parts.store)
    // A crash between storing a root and taking its keys into use.
    if (this.#state.root !== undefined) this.#adopt(this.#state.root)
  }

  /** Renews what is due, now and whenever it is. */
  start(): void {
    this.#stopped = false
    let delayMs = RETRY_MS
    try {
      delayMs = this.renew()
    } catch (cause) {
      this.#parts.logger.error({ err: cause }, 'snapshot and timestamp could not be renewed')
    }
    this.#cancel = this.#parts.clock.after(delayMs, () => {
      if (!this.#stopped) this.start()
    })
  }

  stop(): void {
    this.#stopped = true
    this.#cancel?.()
  }

  versions(): Readonly<Record<string, number>> {
    return this.#parts.store.metadata.versions()
  }

  /** A file by its name, exactly as it was stored.
   *  @returns `invalid-request` | `not-found` */
  file(name: string): Result<{ content: Uint8Array; immutable: boolean }, ContractError> {
    const parsed = parseMetadataFile(name)
    if (!parsed.ok) return parsed
    const { role, version } = parsed.value
    const { metadata } = this.#parts.store
    const content = version === undefined ? metadata.newest(role) : metadata.get(role, version)
    if (content === undefined) return err(contractError('not-found', `no ${name}`))
    return ok({ content, immutable: version !== undefined })
  }

  /** The release that devices find under this name and version.
   *  @returns `target-unknown` */
  release(name: string, version: number): Result<Release, ContractError> {
    const release = findRelease(this.#state.targets, name, version)
    if (release !== undefined) return ok(release)
    const path = targetPathOf({ name, version })
    return err(
      contractError(
        'target-unknown',
        `the image repository has no ${path}: "kinglet release add" signs and publishes it`,
      ),
    )
  }

  /** Takes offline metadata, all of it or none.
   *  @param by who sent it, for the audit log
   *  @returns newest versions, or the codes of reviewUploads, `artifact-not-found` and `size-mismatch`; files that are stored already
   *    are passed over */
  publish(uploads: readonly MetadataUpload[], by: string): Result<Readonly<Record<string, number>>, ContractError> {
    const { store, clock, logger } = this.#parts
    const now = clock.wallMs()
    const fresh = uploads.filter(({ file, content }) => !this.#isStored(file, content))
    if (fresh.length === 0) return ok(this.versions())
    const reviewed = reviewUploads(this.#state, fresh, now)
    if (!reviewed.ok) return reviewed
    const review = reviewed.value
    const key = this.#keyOf(review.root)
    if (!key.ok) return key
    const director = this.#directorIn(review.root)
    if (!director.ok) return director
    const artifacts = this.#checkArtifacts(review)
    if (!artifacts.ok) return artifacts
    store.atomically(() => {
      for (const file of review.accepted) {
        store.metadata.add(file, now)
        if (file.role !== 'root') store.metadata.prune(file.role, KEPT_VERSIONS)
        const { role, version } = file
        const detail = { role, version, sha256: sha256Hex(file.content) }
        store.audit.append({
          atMs: now,
          actor: by,
          action: 'metadata.published',
          subject: `${version}.${role}`,
          detail,
        })
      }
      // Devices that know this root refuse what the former key signed. In the same transaction: a crash forgets none of them.
      if (director.value !== this.directors.current.publicKey.keyId) store.devices.markAllAssigned()
      this.#makeSnapshot(key.value, now)
      this.#makeTimestamp(key.value, now)
    })
    this.#state = { root: review.root, targets: review.targets }
    this.#adopt(review.root)
    logger.info({ versions: this.versions(), by }, 'metadata published')
    return ok(this.versions())
  }

  /** Makes what is past half of its life anew.
   *  @returns ms until the next look */
  renew(): number {
    const { store, clock, logger } = this.#parts
    const { root } = this.#state
    if (root === undefined) return LOOK_EVERY_MS
    const now = clock.wallMs()
    const key = this.#keyOf(root)
    if (!key.ok) throw new Error(key.error.detail)
    const leftMs = (role: string): number => {
      const content = store.metadata.newest(role)
      return content === undefined ? 0 : expiryOf(content) - now
    }
    // What lives longer than we make anything live was made by a clock that has since fallen back: made anew too.
    const dueMs = (role: string, ttlMs: number): number => (leftMs(role) > ttlMs ? 0 : leftMs(role) - ttlMs / 2)
    const snapshotDueMs = dueMs('snapshot', SNAPSHOT_TTL_MS)
    const timestampDueMs = dueMs('timestamp', TIMESTAMP_TTL_MS)
    if (snapshotDueMs <= 0 || timestampDueMs <= 0) {
      store.atomically(() => {
        if (snapshotDueMs <= 0) this.#makeSnapshot(key.value, now)
        this.#makeTimestamp(key.value, now)
      })
      logger.info({ versions: this.versions() }, 'timestamp renewed')
      this.#warnOfExpiry(now)
      return this.renew()
    }
    // A second, so that rounding never makes a loop of no wait.
    return Math.max(1_000, Math.min(LOOK_EVERY_MS, snapshotDueMs, timestampDueMs))
  }

  #isStored(file: string, content: Uint8Array): boolean {
    const stored = this.file(file)
    return stored.ok && stored.value.immutable && Buffer.compare(stored.value.content, content) === 0
  }

  /** The key of ours that this root trusts for snapshot and timestamp. */
  #keyOf(root: RootDocument): Result<OnlineKey, ContractError> {
    const { snapshot, timestamp } = root.content.roles
    const key = this.online.byId(onlineKeyId(root))
    const alone = [snapshot, timestamp].every(
      ({ keyids, threshold }) => threshold === 1 && keyids.length === 1 && keyids[0] === key?.publicKey.keyId,
    )
    if (key !== undefined && alone) return ok(key)
    return err(
      contractError(
        'conflict',
        `root ${root.content.version} must give snapshot and timestamp to this cloud's online key, ${this.online.current.publicKey.publicKey}`,
      ),
    )
  }

  /** Id of the director key that this root names: one of ours, and it alone, or nobody could direct the devices. */
  #directorIn(root: RootDocument): Result<string, ContractError> {
    const named = root.content[DIRECTOR_FIELD]
    const key = this.directors.byId(named?.keys[0]?.keyId ?? '')
    if (key !== undefined && named?.keys.length === 1) return ok(key.publicKey.keyId)
    return err(
      contractError(
        'conflict',
        `root ${root.content.version} must name this cloud's director, ${this.directors.current.publicKey.publicKey}, and no other`,
      ),
    )
  }

  /** Takes keys into use that the root names and that are not yet. */
  #adopt(root: RootDocument): void {
    this.online.adopt(onlineKeyId(root))
    const director = this.#directorIn(root)
    if (director.ok) this.directors.adopt(director.value)
  }

  /** A target that a device could not download is not published. */
  #checkArtifacts({ targets }: Review): Result<void, ContractError> {
    for (const [role, { content }] of targets) {
      const before = this.#state.targets.get(role)?.content.targets
      for (const [path, { hashes, length }] of Object.entries(content.targets)) {
        if (before !== undefined && Object.hasOwn(before, path) && before[path]!.hashes.sha256 === hashes.sha256)
          continue
        const size = this.#parts.artifacts.size(hashes.sha256)
        if (size === undefined)
          return err(contractError('artifact-not-found', `upload ${hashes.sha256} (${path}) first`))
        if (size !== length)
          return err(contractError('size-mismatch', `${path} has ${size} bytes, targets say ${length}`))
      }
    }
    return ok(undefined)
  }

  /** Version, length and hash of each targets file. The hash costs 85 bytes a role and is what keeps a stolen targets key harmless
   *  without the online key: another file of the same version, signed well, does not match. */
  #makeSnapshot(key: OnlineKey, now: number): void {
    const { metadata } = this.#parts.store
    // Every role ever published stays listed: clients refuse a snapshot from which a file has vanished (TUF 5.5.5).
    const roles = Object.entries(metadata.versions()).filter(
      ([role]) => !['root', 'snapshot', 'timestamp'].includes(role),
    )
    const meta = Object.fromEntries(
      roles.map(([role, version]) => {
        const content = metadata.newest(role)!
        return [
          `${role}.json`,
          new MetaFile({ version, length: content.length, hashes: { sha256: sha256Hex(content) } }),
        ]
      }),
    )
    const version = metadata.version('snapshot') + 1
    const signed = new Snapshot({ specVersion: SPEC_VERSION, version, expires: tufTime(now + SNAPSHOT_TTL_MS), meta })
    metadata.add({ role: 'snapshot', version, content: signWith(key, new Metadata(signed)) }, now)
    metadata.prune('snapshot', KEPT_VERSIONS)
  }

  /** Version and length of the snapshot; no hash, since the same key signs both and the version names the file. */
  #makeTimestamp(key: OnlineKey, now: number): void {
    const { metadata } = this.#parts.store
    const snapshot = metadata.version('snapshot')
    const version = metadata.version('timestamp') + 1
    const signed = new Timestamp({
      specVersion: SPEC_VERSION,
      version,
      expires: tufTime(now + TIMESTAMP_TTL_MS),
      snapshotMeta: new MetaFile({ version: snapshot, length: metadata.newest('snapshot')!.length }),
      // When it was made, for devices that take their time from it; TUF leaves unknown fields to the reader.
      unrecognizedFields: { 'x-kinglet-issued': now },
    })
    metadata.add({ role: 'timestamp', version, content: signWith(key, new Metadata(signed)) }, now)
    metadata.prune('timestamp', 1)
  }

  #warnOfExpiry(now: number): void {
    const { root, targets } = this.#state
    for (const [role, document] of [['root', root] as const, ...targets]) {
      if (document === undefined || Date.parse(document.content.expires) - now > WARN_BEFORE_MS) continue
      const { expires } = document.content
      this.#parts.logger.warn({ role, expires }, 'offline metadata expires soon: "kinglet keys renew" makes it anew')
    }
  }
}

const onlineKeyId = (root: RootDocument): string => root.content.roles.timestamp.keyids[0]!

function signWith(key: OnlineKey, metadata: Metadata<Snapshot> | Metadata<Timestamp>): Uint8Array {
  metadata.sign((bytes) => new Signature({ keyID: key.publicKey.keyId, sig: key.sign(bytes) }))
  return new TextEncoder().encode(canonicalize(metadata.toJSON()))
}

const expiryOf = (content: Uint8Array): number =>
  Date.parse((JSON.parse(new TextDecoder().decode(content)) as { signed: { expires: string } }).signed.expires)

/** What was stored was reviewed, so only a damaged database fails here. */
function readState({ metadata }: Store): RepositoryState {
  const targets = new Map<string, TargetsDocument>()
  let root: RootDocument | undefined
  for (const role of Object.keys(metadata.versions())) {
    if (role === 'snapshot' || role === 'timestamp') continue
    const content = metadata.newest(role)
    const parsed = content === undefined ? undefined : role === 'root' ? parseRoot(content) : parseTargets(content)
    if (parsed?.ok !== true) throw new Error(`stored metadata of ${role} is damaged`)
    if (parsed.value.kind === 'root') root = parsed.value
    else targets.set(role, parsed.value)
  }
  return { root, targets }
}
