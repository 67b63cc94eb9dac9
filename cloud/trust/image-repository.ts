import { sha256Hex } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { parseMetadataFile, targetPathOf } from '../../contract/metadata-file.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { Logger } from '../../platform/logger.ts'
import type { MetadataUpload, RepositoryState } from '../../release/repository-review.ts'
import { parseRoot, parseTargets, type RootDocument, type TargetsDocument } from '../../release/tuf-document.ts'
import type { ArtifactFolder } from '../registry/artifact-folder.ts'
import type { Store } from '../store/store.ts'
import type { DirectorKeys, OnlineKeys } from './key-succession.ts'
import { KEPT_VERSIONS, type OnlineEnd, OnlineMetadata } from './online-metadata.ts'
import { PublicationReview } from './publication-review.ts'
import { type FoundRelease, findRelease } from './release-search.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** chosen: the wall clock may jump, so what is due is looked at this often at least */
const LOOK_EVERY_MS = HOUR_MS
/** chosen: after a failure (a full disk) */
const RETRY_MS = 60_000
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
  readonly #publications: PublicationReview
  readonly #made: OnlineMetadata
  #state: RepositoryState
  #cancel: (() => void) | undefined
  #stopped = false

  constructor(parts: Parts) {
    this.#parts = parts
    this.online = parts.online
    this.directors = parts.directors
    this.#publications = new PublicationReview(parts)
    this.#made = new OnlineMetadata(parts.store.metadata)
    this.#state = readState(parts.store)
    // A crash between storing a root and taking its keys into use.
    if (this.#state.root !== undefined) this.#publications.adopt(this.#state.root)
  }

  /** Offline metadata as it was published last. */
  get state(): RepositoryState {
    return this.#state
  }

  /** When what the cloud makes itself ends. */
  get onlineEnds(): readonly OnlineEnd[] {
    return this.#made.ends()
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
  release(name: string, version: number): Result<FoundRelease, ContractError> {
    const found = findRelease(this.#state.targets, name, version)
    if (found !== undefined) return ok(found)
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
   *  @returns newest versions, or the codes of PublicationReview; files that are stored already are passed over */
  publish(uploads: readonly MetadataUpload[], by: string): Result<Readonly<Record<string, number>>, ContractError> {
    const { store, clock, logger } = this.#parts
    const now = clock.wallMs()
    const fresh = uploads.filter(({ file, content }) => !this.#isStored(file, content))
    if (fresh.length === 0) return ok(this.versions())
    const reviewed = this.#publications.review(this.#state, fresh, now)
    if (!reviewed.ok) return reviewed
    const { review, online, directorKeyId } = reviewed.value
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
      if (directorKeyId !== this.directors.current.publicKey.keyId) store.devices.markAllAssigned()
      this.#made.makeSnapshot(online, now)
      this.#made.makeTimestamp(online, now)
    })
    this.#state = { root: review.root, targets: review.targets }
    this.#publications.adopt(review.root)
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
    const key = this.#publications.onlineKey(root)
    if (!key.ok) throw new Error(key.error.detail)
    const snapshotDueMs = this.#made.snapshotDueMs(now)
    const timestampDueMs = this.#made.timestampDueMs(now)
    if (snapshotDueMs <= 0 || timestampDueMs <= 0) {
      store.atomically(() => {
        if (snapshotDueMs <= 0) this.#made.makeSnapshot(key.value, now)
        this.#made.makeTimestamp(key.value, now)
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

  #warnOfExpiry(now: number): void {
    const { root, targets } = this.#state
    for (const [role, document] of [['root', root] as const, ...targets]) {
      if (document === undefined || Date.parse(document.content.expires) - now > WARN_BEFORE_MS) continue
      const { expires } = document.content
      this.#parts.logger.warn({ role, expires }, 'offline metadata expires soon: "kinglet keys renew" makes it anew')
    }
  }
}

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
