import { type ContractError, contractError } from '../../contract/errors.ts'
import { present } from '../../contract/present.ts'
import { DIRECTOR_FIELD } from '../../contract/repository-target.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import {
  type MetadataUpload,
  type RepositoryState,
  type Review,
  reviewUploads,
} from '../../release/repository-review.ts'
import type { RootDocument } from '../../release/tuf-document.ts'
import type { ArtifactFolder } from '../registry/artifact-folder.ts'
import type { DirectorKeys, OnlineKey, OnlineKeys } from './key-succession.ts'

/** What a cloud can do with a publication that passes. */
export interface Publication {
  readonly review: Review
  /** the key of ours that signs snapshot and timestamp under its root */
  readonly online: OnlineKey
  /** id of the director key that its root names */
  readonly directorKeyId: string
}

/** What this cloud takes, beyond what any client would: offline metadata under whose root it can go on working. Knows which keys of ours a
 *  root names. */
export class PublicationReview {
  readonly #online: OnlineKeys
  readonly #directors: DirectorKeys
  readonly #artifacts: Pick<ArtifactFolder, 'size'>

  constructor(parts: {
    readonly online: OnlineKeys
    readonly directors: DirectorKeys
    readonly artifacts: Pick<ArtifactFolder, 'size'>
  }) {
    this.#online = parts.online
    this.#directors = parts.directors
    this.#artifacts = parts.artifacts
  }

  /** @param state what is published now
   *  @returns the codes of reviewUploads, `conflict` for a root that names other keys than ours, `artifact-not-found` and `size-mismatch`
   *    for a target that a device could not download */
  review(
    state: RepositoryState,
    uploads: readonly MetadataUpload[],
    nowMs: number,
  ): Result<Publication, ContractError> {
    const reviewed = reviewUploads(state, uploads, nowMs)
    if (!reviewed.ok) return reviewed
    const online = this.onlineKey(reviewed.value.root)
    if (!online.ok) return online
    const director = this.#directorIn(reviewed.value.root)
    if (!director.ok) return director
    const artifacts = this.#checkArtifacts(state, reviewed.value)
    if (!artifacts.ok) return artifacts
    return ok({ review: reviewed.value, online: online.value, directorKeyId: director.value })
  }

  /** The key of ours that this root trusts for snapshot and timestamp, and it alone.
   *  @returns `conflict` when there is none */
  onlineKey(root: RootDocument): Result<OnlineKey, ContractError> {
    const { snapshot, timestamp } = root.content.roles
    const key = this.#online.byId(onlineKeyId(root))
    const alone = [snapshot, timestamp].every(
      ({ keyids, threshold }) => threshold === 1 && keyids.length === 1 && keyids[0] === key?.publicKey.keyId,
    )
    if (key !== undefined && alone) return ok(key)
    return err(
      contractError(
        'conflict',
        `root ${root.content.version} must give snapshot and timestamp to this cloud's online key, ${this.#online.current.publicKey.publicKey}`,
      ),
    )
  }

  /** Takes keys into use that the root names and that are not yet. Safe to repeat after a crash. */
  adopt(root: RootDocument): void {
    this.#online.adopt(onlineKeyId(root))
    const director = this.#directorIn(root)
    if (director.ok) this.#directors.adopt(director.value)
  }

  /** Id of the director key that this root names: one of ours, and it alone, or nobody could direct the devices. */
  #directorIn(root: RootDocument): Result<string, ContractError> {
    const named = root.content[DIRECTOR_FIELD]
    const key = this.#directors.byId(named?.keys[0]?.keyId ?? '')
    if (key !== undefined && named?.keys.length === 1) return ok(key.publicKey.keyId)
    return err(
      contractError(
        'conflict',
        `root ${root.content.version} must name this cloud's director, ${this.#directors.current.publicKey.publicKey}, and no other`,
      ),
    )
  }

  /** A target that a device could not download is not published. */
  #checkArtifacts(state: RepositoryState, { targets }: Review): Result<void, ContractError> {
    for (const [role, { content }] of targets) {
      const before = state.targets.get(role)?.content.targets
      for (const [path, { hashes, length }] of Object.entries(content.targets)) {
        const former = before !== undefined && Object.hasOwn(before, path) ? before[path] : undefined
        if (former?.hashes.sha256 === hashes.sha256) continue
        const size = this.#artifacts.size(hashes.sha256)
        if (size === undefined)
          return err(contractError('artifact-not-found', `upload ${hashes.sha256} (${path}) first`))
        if (size !== length)
          return err(contractError('size-mismatch', `${path} has ${size} bytes, targets say ${length}`))
      }
    }
    return ok(undefined)
  }
}

const onlineKeyId = (root: RootDocument): string =>
  present(root.content.roles.timestamp.keyids[0], 'a key of the timestamp')
