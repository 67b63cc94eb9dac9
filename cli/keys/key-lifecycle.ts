import { canonicalize } from '@tufjs/canonical-json'
import { LIMITS } from '../../contract/limits.ts'
import { targetPathOf } from '../../contract/metadata-file.ts'
import { present } from '../../contract/present.ts'
import {
  LATER_PATCHES_FIELD,
  type Release,
  type ReleasePatch,
  type ReleaseVerifier,
  VERIFIER_FIELD,
} from '../../contract/release.ts'
import { DIRECTOR_FIELD } from '../../contract/repository-target.ts'
import type { PublicKey } from '../../contract/signed.ts'
import { matchesPattern } from '../../contract/tuf/delegation.ts'
import type { RepositoryState } from '../../release/repository-review.ts'
import { roleOf, type TargetsContent, tufKeyId, tufKeyOf } from '../../release/tuf-document.ts'
import { CommandFailure } from '../failure.ts'
import { readCloudKeys, readDirectorKeyFile } from './cloud-key-file.ts'
import { readPublicKeyFile } from './key-folder.ts'
import { assertOfflineRole, editTrust, findKey, setThreshold, short, trustOf } from './key-trust.ts'
import { RepositoryChange } from './repository-change.ts'
import type { CeremonyParts, SigningCeremony } from './signing-ceremony.ts'

interface Parts extends CeremonyParts {
  readonly ceremony: SigningCeremony
}

export interface InitOptions {
  /** public keys of the cloud, see readCloudKeys */
  readonly cloudKeyFile: string
  readonly rootKeys: number
  readonly rootThreshold: number
  readonly targetsKeys: number
  /** public keys of root holders elsewhere */
  readonly rootKeyFiles: readonly string[]
}

/** The life of the offline keys: each operation authors the next metadata and hands it to the signing ceremony. */
export class KeyLifecycle {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  init(options: InitOptions): Promise<void> {
    return this.#orUnmake(() => this.#init(options))
  }

  async #init(options: InitOptions): Promise<void> {
    const { folder, repository, print } = this.#parts
    if (!repository.isEmpty) {
      throw new CommandFailure(`${repository.path} holds a repository; it is never overwritten`, {
        hint: 'give another folder with --repo, or change this one with "kinglet keys rotate"',
      })
    }
    const others = options.rootKeyFiles.map(readPublicKeyFile)
    const rootCount = options.rootKeys + others.length
    if (rootCount > LIMITS.signatures || options.rootThreshold > rootCount) {
      throw new CommandFailure(`a threshold of ${options.rootThreshold} of ${rootCount} root keys is not possible`, {
        hint: `at most ${LIMITS.signatures} keys, and no more signatures than keys`,
        exitCode: 2,
      })
    }
    // Read before any key is made: a wrong file leaves nothing behind.
    const { online, director } = readCloudKeys(options.cloudKeyFile)
    const make = async (role: string, count: number): Promise<string[]> => {
      const made: string[] = []
      for (let i = 0; i < count; i++) made.push((await folder.make(role)).publicKey)
      return made
    }
    const root = [...(await make('root', options.rootKeys)), ...others]
    const targets = await make('targets', options.targetsKeys)
    const keys = Object.fromEntries([...root, ...targets, online].map((key) => [tufKeyId(key), tufKeyOf(key)]))
    const roleWith = (members: readonly string[], threshold: number) => ({ keyids: members.map(tufKeyId), threshold })
    const change = this.#change()
    change.firstRoot({
      keys,
      roles: {
        root: roleWith(root, options.rootThreshold),
        targets: roleWith(targets, 1),
        snapshot: roleWith([online], 1),
        timestamp: roleWith([online], 1),
      },
      [DIRECTOR_FIELD]: directedBy(director),
    })
    change.targets()
    await this.#finish(change)
    print('')
    print('what goes where:')
    print(
      `  ${folder.path}/root-*.key     offline, each with another person or safe; ${options.rootThreshold} of ${rootCount} sign a new root`,
    )
    print(`  ${folder.path}/targets-*.key  with whoever releases models; not on a server`)
    print(`  ${repository.path}/metadata/1.root.json  into every device; it finds every later root from there`)
    print(`  ${repository.path}             keep it and back it up; "kinglet keys publish" sends it to the cloud`)
  }

  async make(role: string, count: number, command: string | undefined): Promise<void> {
    const { folder, print } = this.#parts
    assertOfflineRole(role)
    for (let i = 0; i < count; i++) {
      const key = command === undefined ? await folder.make(role) : await folder.addExec(role, command)
      print(`${key.path}: key ${key.keyId} for ${role}`)
    }
    print(`nobody trusts it yet: "kinglet keys add ${role} FILE.pub.json" where the repository is`)
  }

  /** New keys in place of all of a role's, as many as before. */
  rotate(roles: readonly string[]): Promise<void> {
    return this.#orUnmake(() => this.#rotate(roles))
  }

  async #rotate(roles: readonly string[]): Promise<void> {
    const { folder } = this.#parts
    const state = this.#state()
    const held = new Map(folder.list().map((key) => [key.keyId, key]))
    for (const role of roles) {
      if (role === 'director') {
        throw new CommandFailure("the key of director is the cloud's", {
          hint: '"kinglet keys director --cloud URL --token-file FILE" asks the cloud for the next one',
        })
      }
      if (role === 'online' || role === 'snapshot' || role === 'timestamp') {
        throw new CommandFailure(`the key of ${role} is the cloud's`, {
          hint: '"kinglet keys online --cloud URL --token-file FILE" asks the cloud for the next one',
        })
      }
      const elsewhere = trustOf(state, role).keyids.filter((id) => held.get(id)?.held !== 'file')
      if (elsewhere.length > 0) {
        throw new CommandFailure(
          `${role} has keys that are not files of ${folder.path}: ${elsewhere.map(short).join(', ')}`,
          {
            hint: 'their holders make new ones; then "kinglet keys add" and "kinglet keys revoke"',
          },
        )
      }
    }
    const change = this.#change()
    // A mistyped passphrase is found before new keys are sealed with it.
    for (const role of roles) await folder.signer(present(trustOf(state, role).keyids[0], `a key of ${role}`))
    for (const role of new Set(roles)) {
      const trust = editTrust(change, role)
      const made: string[] = []
      for (const _ of trust.role.keyids) made.push((await folder.make(role)).publicKey)
      trust.role.keyids = made.map(tufKeyId)
      for (const key of made) trust.keys[tufKeyId(key)] = tufKeyOf(key)
    }
    await this.#finish(change)
  }

  async add(role: string, files: readonly string[], threshold: number | undefined): Promise<void> {
    trustOf(this.#state(), role)
    const added = files.map(readPublicKeyFile)
    const change = this.#change()
    const trust = editTrust(change, role)
    for (const key of added) {
      const id = tufKeyId(key)
      if (trust.role.keyids.includes(id)) throw new CommandFailure(`${role} trusts ${short(id)} already`)
      trust.role.keyids.push(id)
      trust.keys[id] = tufKeyOf(key)
    }
    setThreshold(role, trust, threshold)
    await this.#finish(change)
  }

  async revoke(prefix: string, threshold: number | undefined): Promise<void> {
    const { role, keyId } = findKey(this.#state(), prefix)
    if (role === 'snapshot' || role === 'timestamp') {
      throw new CommandFailure(`${short(keyId)} is the cloud's online key`, {
        hint: '"kinglet keys online --cloud URL --token-file FILE" puts the next one in its place',
      })
    }
    if (role === 'director') {
      throw new CommandFailure(`${short(keyId)} is the cloud's director key`, {
        hint: '"kinglet keys director --cloud URL --token-file FILE" puts the next one in its place',
      })
    }
    const change = this.#change()
    const trust = editTrust(change, role)
    trust.role.keyids = trust.role.keyids.filter((id) => id !== keyId)
    if (trust.role.keyids.length < (threshold ?? trust.role.threshold)) {
      throw new CommandFailure(`without ${short(keyId)}, ${role} has fewer keys than its threshold`, {
        hint: `"kinglet keys rotate ${role}" replaces all its keys; or add one first ("kinglet keys make", "keys add")`,
      })
    }
    setThreshold(role, trust, threshold)
    await this.#finish(change)
  }

  /** Gives snapshot and timestamp to another key of the cloud. */
  async online(file: string): Promise<void> {
    const key = readPublicKeyFile(file)
    const change = this.#change()
    const root = change.root()
    if (root.roles.timestamp.keyids.includes(tufKeyId(key)))
      throw new CommandFailure(`root trusts ${short(tufKeyId(key))} already`)
    root.keys[tufKeyId(key)] = tufKeyOf(key)
    root.roles.snapshot = { keyids: [tufKeyId(key)], threshold: 1 }
    root.roles.timestamp = { keyids: [tufKeyId(key)], threshold: 1 }
    await this.#finish(change)
  }

  /** Lets another key of the cloud direct the devices; what the former one signed holds no longer. */
  async director(file: string): Promise<void> {
    const key = readDirectorKeyFile(file)
    const change = this.#change()
    const root = change.root()
    const named = root[DIRECTOR_FIELD]?.keys ?? []
    if (named.length === 1 && named[0]?.keyId === key.keyId)
      throw new CommandFailure(`root names ${short(key.keyId)} as director already`)
    root[DIRECTOR_FIELD] = directedBy(key)
    await this.#finish(change)
  }

  /** Lets a key of its own sign the releases whose path matches. */
  delegate(family: string, patterns: readonly string[]): Promise<void> {
    return this.#orUnmake(() => this.#delegate(family, patterns))
  }

  async #delegate(family: string, patterns: readonly string[]): Promise<void> {
    const { folder } = this.#parts
    assertOfflineRole(family)
    if (family === 'root' || family === 'targets')
      throw new CommandFailure(`${family} is no model family`, { exitCode: 2 })
    const targets = this.#state().targets.get('targets')
    if (targets !== undefined && roleOf(targets, family) !== undefined) {
      throw new CommandFailure(`targets delegate to ${family} already`, {
        hint: '"kinglet keys list" shows who may sign what',
      })
    }
    const change = this.#change()
    const next = change.targets()
    // A mistyped passphrase is found before a new key is sealed with it.
    for (const keyId of trustOf(this.#state(), 'targets').keyids) await folder.signer(keyId)
    const { publicKey } = await folder.make(family)
    next.delegations ??= { keys: {}, roles: [] }
    next.delegations.keys[tufKeyId(publicKey)] = tufKeyOf(publicKey)
    const role = { name: family, keyids: [tufKeyId(publicKey)], threshold: 1, terminating: true, paths: [...patterns] }
    next.delegations.roles.push(role)
    change.targets(family)
    await this.#finish(change)
  }

  /** The same content with a new expiry. */
  async renew(roles: readonly string[]): Promise<void> {
    const state = this.#state()
    const change = this.#change()
    for (const role of roles.length > 0 ? roles : ['root', ...state.targets.keys()]) {
      trustOf(state, role)
      if (role === 'root') change.root()
      else change.targets(role)
    }
    await this.#finish(change)
  }

  /** The release of this name and version as it was signed, and its later patches; undefined when there is none. */
  release(
    of: Pick<Release, 'name' | 'version'>,
  ): { readonly release: Release; readonly later: readonly ReleasePatch[] } | undefined {
    const path = targetPathOf(of)
    for (const { content } of this.#state().targets.values()) {
      const target = ownTarget(content, path)
      if (target === undefined) continue
      const { kinglet, [LATER_PATCHES_FIELD]: later = [] } = target.custom
      return { release: kinglet, later }
    }
    return undefined
  }

  /** The role that speaks for a release of this name and version: a family, or targets. */
  familyOf(of: Pick<Release, 'name' | 'version'>): string {
    const families = this.#state().targets.get('targets')?.content.delegations?.roles ?? []
    const path = targetPathOf(of)
    return families.find(({ paths }) => paths.some((pattern) => matchesPattern(path, pattern)))?.name ?? 'targets'
  }

  /** Adds a release to targets, or to the family whose paths match. The same release again is no change.
   *  @param verifier what is to judge its wakes; undefined: what gateways have
   *  @param later its patches of version 2
   *  @returns the role that signs it */
  async addRelease(release: Release, verifier?: ReleaseVerifier, later: readonly ReleasePatch[] = []): Promise<string> {
    const path = targetPathOf(release)
    const state = this.#state()
    const role = this.familyOf(release)
    const custom = {
      kinglet: release,
      ...(verifier && { [VERIFIER_FIELD]: verifier }),
      ...(later.length > 0 && { [LATER_PATCHES_FIELD]: [...later] }),
    }
    const target = { length: release.bytes, hashes: { sha256: release.sha256 }, custom }
    // Released before its family had a key of its own, it stands in targets, which devices ask first.
    for (const [holder, { content }] of state.targets) {
      const released = ownTarget(content, path)
      if (released === undefined) continue
      if (canonicalize(released.custom) === canonicalize(custom)) return holder
      const isOther = canonicalize(released.custom.kinglet) !== canonicalize(release)
      throw new CommandFailure(`${path} is released with ${isOther ? 'other content' : 'another verifier or none'}`, {
        hint: isOther
          ? 'a release is never changed: pack the bundle with a higher version'
          : 'a release is never changed: name the verifier that it was signed with, or pack the bundle with a higher version',
      })
    }
    const change = this.#change()
    change.targets(role).targets[path] = target
    await this.#finish(change)
    return role
  }

  /** Does what makes keys, and takes them away again when no metadata came of it. */
  async #orUnmake(act: () => Promise<void>): Promise<void> {
    const { folder, repository } = this.#parts
    const history = repository.history().length
    try {
      await act()
    } catch (cause) {
      if (repository.history().length === history && repository.staged().length === 0) folder.unmake()
      throw cause
    }
  }

  #state(): RepositoryState {
    return this.#parts.repository.state()
  }

  #change(): RepositoryChange {
    this.#parts.repository.assertNothingStaged()
    return new RepositoryChange(this.#state(), this.#parts.clock.wallMs())
  }

  #finish(change: RepositoryChange): Promise<void> {
    return this.#parts.ceremony.finish(change)
  }
}

/** A target that the content has itself: a path may be the name of something that every object has. */
const ownTarget = (content: TargetsContent, path: string) =>
  Object.hasOwn(content.targets, path) ? content.targets[path] : undefined

const directedBy = ({ keyId, publicKey }: PublicKey) => ({ keys: [{ keyId, publicKey }], threshold: 1 })
