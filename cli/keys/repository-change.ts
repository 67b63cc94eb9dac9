import { metadataFileName } from '../../contract/metadata-file.ts'
import type { DIRECTOR_FIELD } from '../../contract/repository-target.ts'
import type { RepositoryState } from '../../release/repository-review.ts'
import {
  addSignature,
  draftRoot,
  draftTargets,
  type OfflineDocument,
  type RootContent,
  roleOf,
  SPEC_VERSION,
  signedBytes,
  type TargetsContent,
  type TufKey,
  tufTime,
  validSigners,
} from '../../release/tuf-document.ts'
import { CommandFailure } from '../failure.ts'
import type { KeyFolder } from './key-folder.ts'

const DAY_MS = 86_400_000
/** chosen: a ceremony a year; what must be young is the timestamp, which is the cloud's */
const OFFLINE_TTL_MS = 365 * DAY_MS

interface Authored {
  readonly role: string
  readonly document: OfflineDocument
}

/** The next versions of some offline files, authored together: they become valid together or not at all. */
export class RepositoryChange {
  readonly #state: RepositoryState
  readonly #expires: string
  readonly #nowMs: number
  #root: RootContent | undefined
  readonly #targets = new Map<string, TargetsContent>()

  constructor(state: RepositoryState, nowMs: number) {
    this.#state = state
    this.#nowMs = nowMs
    this.#expires = tufTime(nowMs + OFFLINE_TTL_MS)
  }

  /** The first root; later ones are edits of it. */
  firstRoot(content: Pick<RootContent, 'keys' | 'roles' | typeof DIRECTOR_FIELD>): void {
    const fixed = { _type: 'root', spec_version: SPEC_VERSION, consistent_snapshot: true } as const
    this.#root = { ...fixed, version: 1, expires: this.#expires, 'x-kinglet-issued': this.#nowMs, ...content }
  }

  /** The next root, one version up, with a new expiry. */
  root(): RootContent {
    if (this.#root !== undefined) return this.#root
    const current = this.#state.root?.content
    if (current === undefined) throw noRepository()
    this.#root = {
      ...structuredClone(current),
      version: current.version + 1,
      expires: this.#expires,
      'x-kinglet-issued': this.#nowMs,
    }
    return this.#root
  }

  /** The next file of targets or a family; the first one is empty. To ask for it is enough to have it signed anew. */
  targets(role = 'targets'): TargetsContent {
    let next = this.#targets.get(role)
    if (next === undefined) {
      const current = this.#state.targets.get(role)?.content
      next =
        current === undefined
          ? { _type: 'targets', spec_version: SPEC_VERSION, version: 1, expires: this.#expires, targets: {} }
          : { ...structuredClone(current), version: current.version + 1, expires: this.#expires }
      this.#targets.set(role, next)
    }
    return next
  }

  /** Root, targets, families: the order in which each is verified by the one before. Keys that no role names are left out. */
  documents(): readonly Authored[] {
    const authored: Authored[] = []
    if (this.#root !== undefined) {
      const used = Object.values(this.#root.roles).flatMap(({ keyids }) => keyids)
      const root = { ...this.#root, keys: onlyKeys(this.#root.keys, used) }
      authored.push({ role: 'root', document: draftRoot(root) })
    }
    const families = [...this.#targets].sort(([a], [b]) => Number(b === 'targets') - Number(a === 'targets'))
    for (const [role, content] of families) {
      const { delegations } = content
      const used = delegations?.roles.flatMap(({ keyids }) => keyids) ?? []
      const pruned = delegations && { ...delegations, keys: onlyKeys(delegations.keys, used) }
      authored.push({ role, document: draftTargets({ ...content, ...(pruned && { delegations: pruned }) }) })
    }
    return authored
  }
}

export const noRepository = (): CommandFailure =>
  new CommandFailure('there is no repository in that folder', { hint: 'make one with "kinglet keys init"' })

const onlyKeys = (keys: Readonly<Record<string, TufKey>>, used: readonly string[]): Record<string, TufKey> =>
  Object.fromEntries(Object.entries(keys).filter(([id]) => used.includes(id)))

/** Whose signatures a file of a change still needs. */
export interface Missing {
  readonly file: string
  readonly have: number
  readonly threshold: number
  /** keys that may sign and have not */
  readonly keyIds: readonly string[]
}

/** Who delegates to each file of a change: a root answers to the root before it and to itself. */
function* demands(state: RepositoryState, files: readonly Authored[]) {
  const staged = (role: string) => files.find((file) => file.role === role)?.document
  const root = staged('root') ?? state.root
  const top = staged('targets') ?? state.targets.get('targets')
  for (const { role, document } of files) {
    const delegators = role === 'root' ? [state.root, document] : [role === 'targets' ? root : top]
    for (const delegator of delegators) {
      const asked = delegator === undefined ? undefined : roleOf(delegator, role)
      if (delegator !== undefined && asked !== undefined) yield { role, document, delegator, ...asked }
    }
  }
}

export function missingSignatures(state: RepositoryState, files: readonly Authored[]): readonly Missing[] {
  const missing: Missing[] = []
  for (const { role, document, delegator, keyids, threshold } of demands(state, files)) {
    const valid = validSigners(delegator, role, document)
    if (valid.length >= threshold) continue
    const file = metadataFileName(role, document.content.version)
    missing.push({ file, have: valid.length, threshold, keyIds: keyids.filter((id) => !valid.includes(id)) })
  }
  return missing
}

/** Signs each file with keys of the folder until its thresholds are met or no key is left. A key that stays trusted comes before one
 *  that the change takes out; more signatures than asked for would only be bytes on the air. */
export async function signFiles(state: RepositoryState, files: readonly Authored[], folder: KeyFolder): Promise<void> {
  const held = new Set(folder.list().map(({ keyId }) => keyId))
  const newRoot = files.find(({ role }) => role === 'root')?.document
  const stays = (id: string): boolean => newRoot?.kind !== 'root' || newRoot.content.roles.root.keyids.includes(id)
  for (const { role, document, delegator, keyids, threshold } of demands(state, files)) {
    const valid = new Set(validSigners(delegator, role, document))
    const candidates = keyids.filter((id) => held.has(id) && !valid.has(id))
    candidates.sort((a, b) => Number(stays(b)) - Number(stays(a)))
    for (const keyId of candidates) {
      if (valid.size >= threshold) break
      const signer = await folder.signer(keyId)
      if (signer === undefined) continue
      addSignature(document, keyId, await signer.sign(signedBytes(document)))
      valid.add(keyId)
    }
  }
}
