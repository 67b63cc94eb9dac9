import { sha256Hex } from '../bytes.ts'
import { type ContractError, contractError, type ErrorCode } from '../errors.ts'
import type { TufLimits } from '../limits.ts'
import { present } from '../present.ts'
import { err, ok, type Result } from '../result.ts'
import { checkFile } from './file-check.ts'
import {
  type ContentOf,
  type Envelope,
  type FileMeta,
  parseMetadata,
  type RoleKeys,
  type RootMetadata,
  type TargetsMetadata,
  type TufKey,
} from './metadata.ts'
import type { TopLevelRole } from './role-name.ts'
import {
  identityOf,
  type SignatureSchemes,
  schemeName,
  type VerificationCount,
  verifyThreshold,
} from './signature-scheme.ts'

/** Metadata as it was received, byte for byte. All but root may be absent: a small device keeps root, timestamp and snapshot, and
 *  fetches the others when it needs them. The snapshot is what the versions of the others are held against. */
export interface TrustedFiles {
  readonly root: Uint8Array
  readonly timestamp?: Uint8Array | undefined
  readonly snapshot?: Uint8Array | undefined
  readonly targets?: Uint8Array | undefined
  /** by role name; verified again at every use, since two roles may delegate to one */
  readonly delegated?: ReadonlyMap<string, Uint8Array> | undefined
  /** The caller's word that these are the `trusted` files of an earlier cycle, unchanged (its record carries a checksum or a MAC).
   *  Their signatures are not checked again then. Never to be said of files that somebody else can write. */
  readonly verified?: boolean | undefined
}

/** When a cycle was made, and what may vouch for a time; see `contract/time-floor.ts`. */
export interface TimeEvidence {
  /** names the keys of the timestamp role; another name means that they were rotated */
  readonly witness: string
  readonly rootIssuedMs: number | undefined
  /** of the trusted timestamp */
  readonly issuedMs: number | undefined
}

interface Document<K extends TopLevelRole> {
  readonly bytes: Uint8Array
  readonly envelope: Envelope
  readonly content: ContentOf[K]
}

/** Who signs a role: the part of root, or of the targets role that delegates to it, which names its keys. */
export interface Delegator {
  readonly role: RoleKeys
  readonly keys: ReadonlyMap<string, TufKey>
}

const fail = (code: ErrorCode, detail: string) => err(contractError(code, detail))

/** The metadata that is trusted right now, and the rules by which new metadata replaces it. Knows no order of steps and fetches
 *  nothing. At any moment all of it is signed under its own root.
 *  @see TUF 1.0.33, section 5.3 to 5.6
 */
export class TrustedSet implements VerificationCount {
  readonly nowMs: number
  readonly limits: TufLimits
  /** roles that were replaced or removed since the set was loaded */
  readonly changed = new Set<string>()
  verifications = 0
  readonly #schemes: SignatureSchemes
  #root: Document<'root'>
  #timestamp: Document<'timestamp'> | undefined
  #snapshot: Document<'snapshot'> | undefined
  #targets: Document<'targets'> | undefined
  readonly #delegated: Map<string, Uint8Array>

  /** 5.2: the trusted root must carry the signatures it asks for itself; what else fails its checks is as good as absent.
   *  @throws never; see `load`
   */
  private constructor(
    root: Document<'root'>,
    delegated: ReadonlyMap<string, Uint8Array> | undefined,
    schemes: SignatureSchemes,
    limits: TufLimits,
    nowMs: number,
  ) {
    this.#root = root
    this.#delegated = new Map(delegated)
    this.#schemes = schemes
    this.limits = limits
    this.nowMs = nowMs
  }

  static load(
    files: TrustedFiles,
    schemes: SignatureSchemes,
    limits: TufLimits,
    nowMs: number,
  ): Result<TrustedSet, ContractError> {
    const root = documentOf(files.root, 'root', limits)
    if (!root.ok) return root
    const set = new TrustedSet(root.value, files.delegated, schemes, limits, nowMs)
    const verified = files.verified === true
    const signed = verified ? ok(undefined) : set.#verify(root.value, 'root')
    if (!signed.ok) return signed
    set.#timestamp = set.#loadLocal(files.timestamp, 'timestamp', verified)
    set.#snapshot = set.#loadLocal(files.snapshot, 'snapshot', verified)
    set.#targets = set.#loadLocal(files.targets, 'targets', verified)
    return ok(set)
  }

  #loadLocal<K extends 'timestamp' | 'snapshot' | 'targets'>(
    bytes: Uint8Array | undefined,
    role: K,
    verified: boolean,
  ): Document<K> | undefined {
    if (bytes === undefined) return undefined
    const document = documentOf(bytes, role, this.limits)
    if (document.ok && (verified || this.#verify(document.value, role).ok)) return document.value
    this.changed.add(role)
    return undefined
  }

  get root(): RootMetadata {
    return this.#root.content
  }

  get timestamp(): ContentOf['timestamp'] | undefined {
    return this.#timestamp?.content
  }

  /** What to keep. `verified`, because it is. */
  get files(): TrustedFiles {
    return {
      root: this.#root.bytes,
      timestamp: this.#timestamp?.bytes,
      snapshot: this.#snapshot?.bytes,
      targets: this.#targets?.bytes,
      delegated: new Map(this.#delegated),
      verified: true,
    }
  }

  get timeEvidence(): TimeEvidence {
    const { role, keys } = this.delegatorOf('timestamp')
    const witness = sha256Hex(new TextEncoder().encode(JSON.stringify([role.threshold, ...keySet(role, keys)])))
    return { witness, rootIssuedMs: this.root.issuedMs, issuedMs: this.timestamp?.issuedMs }
  }

  /** 5.3.4 to 5.3.8 and 5.3.11, for one step of the chain of roots. */
  updateRoot(bytes: Uint8Array): Result<void, ContractError> {
    const next = documentOf(bytes, 'root', this.limits)
    if (!next.ok) return next
    // 5.3.4: arbitrary software attack. By the threshold of the old root and by that of the new one.
    const byOld = this.#verify(next.value, 'root')
    if (!byOld.ok) return byOld
    const byNew = this.#verify(next.value, 'root', next.value.content)
    if (!byNew.ok) return byNew
    // 5.3.5: rollback attack.
    const { version } = next.value.content
    if (version !== this.root.version + 1) {
      return fail('root-not-consecutive', `version ${version} after ${this.root.version}`)
    }
    // 5.3.6: its expiry does not matter yet. 5.3.7, 5.3.8: trusted and kept from now on.
    const before = this.root
    this.#root = next.value
    this.changed.add('root')
    this.#dropWhatTheOldRootVouchedFor(before)
    return ok(undefined)
  }

  /** 5.3.11: fast-forward recovery, at every step of the chain instead of at its end, so that what is kept after a cycle that fails
   *  half-way is right too. A role is rotated when a key that could sign for it no longer can. A role whose keys changed in another
   *  way is only asked whether it still has the signatures it needs. */
  #dropWhatTheOldRootVouchedFor(before: RootMetadata): void {
    if (lostKey(before, this.root, 'timestamp') || lostKey(before, this.root, 'snapshot')) {
      this.#drop('timestamp')
      this.#drop('snapshot')
    }
    for (const role of ['timestamp', 'snapshot', 'targets'] as const) {
      const document = { timestamp: this.#timestamp, snapshot: this.#snapshot, targets: this.#targets }[role]
      if (document === undefined || sameRole(before, this.root, role)) continue
      if (!this.#verify(document, role).ok) this.#drop(role)
    }
  }

  #drop(role: 'timestamp' | 'snapshot' | 'targets'): void {
    const had = { timestamp: this.#timestamp, snapshot: this.#snapshot, targets: this.#targets }[role]
    if (had === undefined) return
    if (role === 'timestamp') this.#timestamp = undefined
    if (role === 'snapshot') this.#snapshot = undefined
    if (role === 'targets') this.#targets = undefined
    this.changed.add(role)
  }

  /** 5.3.10 */
  checkRootExpiry(): Result<void, ContractError> {
    return this.#checkExpiry('root', this.root.expiresMs)
  }

  /** 5.4.2 to 5.4.5 */
  updateTimestamp(bytes: Uint8Array): Result<void, ContractError> {
    const next = documentOf(bytes, 'timestamp', this.limits)
    if (!next.ok) return next
    // 5.4.2: arbitrary software attack.
    const signed = this.#verify(next.value, 'timestamp')
    if (!signed.ok) return signed
    const trusted = this.timestamp
    const { version, snapshot, expiresMs } = next.value.content
    if (trusted !== undefined) {
      // 5.4.3.1: rollback attack. The same version again is no error, and not news: the trusted one stays, and it must not have expired.
      if (version === trusted.version) return this.#checkExpiry('timestamp', trusted.expiresMs)
      if (version < trusted.version) {
        return fail('metadata-rollback', `timestamp ${version}, trusted is ${trusted.version}`)
      }
      // 5.4.3.2
      if (snapshot.version < trusted.snapshot.version) {
        return fail('metadata-rollback', `snapshot ${snapshot.version}, trusted is ${trusted.snapshot.version}`)
      }
    }
    // 5.4.4: freeze attack.
    const fresh = this.#checkExpiry('timestamp', expiresMs)
    if (!fresh.ok) return fresh
    this.#timestamp = next.value
    this.changed.add('timestamp')
    return ok(undefined)
  }

  /** Whether the snapshot at hand is the one that the trusted timestamp names, so that none need be fetched. */
  hasCurrentSnapshot(): boolean {
    const document = this.#snapshot
    const expected = this.timestamp?.snapshot
    return (
      document !== undefined &&
      expected !== undefined &&
      document.content.version === expected.version &&
      document.content.expiresMs > this.nowMs &&
      checkFile(document.bytes, expected).ok
    )
  }

  /** 5.5.2 to 5.5.7 */
  updateSnapshot(bytes: Uint8Array): Result<void, ContractError> {
    const expected = present(this.timestamp, 'the timestamp before the snapshot').snapshot
    // 5.5.2: the bytes that the timestamp names, where it names any.
    const sameBytes = checkFile(bytes, expected)
    if (!sameBytes.ok) return sameBytes
    const next = documentOf(bytes, 'snapshot', this.limits)
    if (!next.ok) return next
    // 5.5.3: arbitrary software attack.
    const signed = this.#verify(next.value, 'snapshot')
    if (!signed.ok) return signed
    // 5.5.4: mix-and-match attack.
    const { version, files, expiresMs } = next.value.content
    if (version !== expected.version) {
      return fail('metadata-version-mismatch', `snapshot ${version}, timestamp names ${expected.version}`)
    }
    // 5.5.5: rollback attack. No role goes back, and none disappears.
    for (const [file, trusted] of this.#snapshot?.content.files ?? []) {
      const now = files.get(file)
      if (now === undefined || now.version < trusted.version) {
        return fail('metadata-rollback', `${file} ${now?.version ?? 'is gone'}, trusted is ${trusted.version}`)
      }
    }
    // 5.5.6: freeze attack.
    const fresh = this.#checkExpiry('snapshot', expiresMs)
    if (!fresh.ok) return fresh
    this.#snapshot = next.value
    this.changed.add('snapshot')
    return ok(undefined)
  }

  /** What the snapshot says of a targets role.
   *  @returns `metadata-missing` when it does not name the role
   */
  targetsMeta(role: string): Result<FileMeta, ContractError> {
    const meta = this.#snapshot?.content.files.get(`${role}.json`)
    return meta === undefined ? fail('metadata-missing', `the snapshot does not name ${role}`) : ok(meta)
  }

  /** A targets role that is at hand and still good, checked like one that was fetched.
   *  @returns nothing where it has to be fetched
   */
  localTargets(role: string, delegator: Delegator): TargetsMetadata | undefined {
    if (role === 'targets') {
      const document = this.#targets
      const expected = this.targetsMeta(role)
      if (document === undefined || !expected.ok) return undefined
      // Its signatures hold under this root already; what may be new is the snapshot.
      const { bytes, content } = document
      const good = checkFile(bytes, expected.value).ok && this.#checkVersionAndExpiry(role, expected.value, content).ok
      return good ? content : undefined
    }
    const bytes = this.#delegated.get(role)
    if (bytes === undefined) return undefined
    const checked = this.#checkTargets(role, delegator, bytes)
    return checked.ok ? checked.value.content : undefined
  }

  /** 5.6.2 to 5.6.6, for the top-level targets and for delegated ones alike. */
  updateTargets(role: string, delegator: Delegator, bytes: Uint8Array): Result<TargetsMetadata, ContractError> {
    const checked = this.#checkTargets(role, delegator, bytes)
    if (!checked.ok) return checked
    if (role === 'targets') this.#targets = checked.value
    else this.#delegated.set(role, bytes)
    this.changed.add(role)
    return ok(checked.value.content)
  }

  #checkTargets(role: string, delegator: Delegator, bytes: Uint8Array): Result<Document<'targets'>, ContractError> {
    // 5.6.2: the bytes that the snapshot names, where it names any.
    const expected = this.targetsMeta(role)
    if (!expected.ok) return expected
    const sameBytes = checkFile(bytes, expected.value)
    if (!sameBytes.ok) return sameBytes
    const document = documentOf(bytes, 'targets', this.limits)
    if (!document.ok) return document
    // 5.6.3: arbitrary software attack.
    const signed = verifyThreshold(document.value.envelope, delegator.role, delegator.keys, this.#schemes, this)
    if (!signed.ok) return signed
    const agrees = this.#checkVersionAndExpiry(role, expected.value, document.value.content)
    return agrees.ok ? document : agrees
  }

  #checkVersionAndExpiry(role: string, expected: FileMeta, found: TargetsMetadata): Result<void, ContractError> {
    // 5.6.4: mix-and-match attack.
    if (found.version !== expected.version) {
      return fail('metadata-version-mismatch', `${role} ${found.version}, snapshot names ${expected.version}`)
    }
    // 5.6.5: freeze attack.
    return this.#checkExpiry(role, found.expiresMs)
  }

  delegatorOf(role: TopLevelRole): Delegator {
    return { role: this.root.roles[role], keys: this.root.keys }
  }

  #verify(document: Document<TopLevelRole>, role: TopLevelRole, root = this.root): Result<void, ContractError> {
    return verifyThreshold(document.envelope, root.roles[role], root.keys, this.#schemes, this)
  }

  #checkExpiry(role: string, expiresMs: number): Result<void, ContractError> {
    return expiresMs > this.nowMs
      ? ok(undefined)
      : fail('metadata-expired', `${role} expired ${this.nowMs - expiresMs} ms ago`)
  }
}

function documentOf<K extends TopLevelRole>(
  bytes: Uint8Array,
  kind: K,
  limits: TufLimits,
): Result<Document<K>, ContractError> {
  const parsed = parseMetadata(bytes, kind, limits)
  return parsed.ok ? ok({ bytes, ...parsed.value }) : parsed
}

const keySet = (role: RoleKeys, keys: ReadonlyMap<string, TufKey>): readonly string[] =>
  role.keyIds
    .flatMap((id) => keys.get(id) ?? [])
    .map((key) => `${schemeName(key.keyType, key.scheme)} ${identityOf(key)}`)
    .sort()

const keySetOf = (root: RootMetadata, role: TopLevelRole) => keySet(root.roles[role], root.keys)

function lostKey(before: RootMetadata, after: RootMetadata, role: TopLevelRole): boolean {
  const now = new Set(keySetOf(after, role))
  return keySetOf(before, role).some((key) => !now.has(key))
}

const sameRole = (before: RootMetadata, after: RootMetadata, role: TopLevelRole): boolean =>
  before.roles[role].threshold === after.roles[role].threshold &&
  keySetOf(before, role).join('\n') === keySetOf(after, role).join('\n')
