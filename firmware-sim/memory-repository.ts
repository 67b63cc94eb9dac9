import { canonicalize } from '@tufjs/canonical-json'
import nacl from 'tweetnacl'
import { bytesToHex, sha256Hex } from '../contract/bytes.ts'
import { LIMITS } from '../contract/limits.ts'
import { metaCodec, metaGetCodec } from '../contract/messages.ts'
import { metadataFileName, targetPathOf } from '../contract/metadata-file.ts'
import { present } from '../contract/present.ts'
import type { Release } from '../contract/release.ts'
import { DIRECTOR_FIELD } from '../contract/repository-target.ts'
import type { TrustedRole } from '../contract/signed.ts'

type Role = 'root' | 'targets' | 'snapshot' | 'timestamp'
const ROLES: readonly Role[] = ['root', 'targets', 'snapshot', 'timestamp']
const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
const DECADE_MS = 10 * 365 * 24 * 3_600_000

/** An image repository in memory, for simulations without a cloud: one Ed25519 key a role, made from a seed, consistent snapshots.
 *  It publishes what it is told and checks nothing. */
export class MemoryRepository {
  readonly #director: TrustedRole
  readonly #ttlMs: number
  readonly #seed: number
  #keys: Readonly<Record<Role, nacl.SignKeyPair>>
  readonly #files = new Map<string, Uint8Array>()
  readonly #versions: Record<Role, number> = { root: 0, targets: 0, snapshot: 0, timestamp: 0 }

  /** @param director whose assignments devices follow, named by root
   *  @param nowMs when it is founded, Unix ms
   *  @param seed one byte; other seeds are other keys
   *  @param ttlMs after which everything expires */
  constructor(director: TrustedRole, nowMs: number, seed = 1, ttlMs = DECADE_MS) {
    this.#director = director
    this.#ttlMs = ttlMs
    this.#seed = seed
    this.#keys = { root: this.#pair(0), targets: this.#pair(1), snapshot: this.#pair(2), timestamp: this.#pair(3) }
    this.#signRoot(nowMs)
    this.publish([], nowMs)
  }

  /** A new root, with a new online key or the one of before. A new one begins to count anew, as after a theft of the old one that had run
   *  its numbers up: timestamp and snapshot are those of the next `publish`.
   *  @param online what makes the new key another one, one byte; undefined: it stays */
  renewRoot(nowMs: number, online?: number): void {
    if (online !== undefined) {
      const { root, targets } = this.#keys
      this.#keys = { root, targets, snapshot: this.#pair(online), timestamp: this.#pair(online + 1) }
      Object.assign(this.#versions, { snapshot: 0, timestamp: 0 })
    }
    this.#signRoot(nowMs)
  }

  /** Whoever has stolen the online key runs its numbers up: the next snapshot and timestamp have at least this one. */
  fastForward(version: number): void {
    Object.assign(this.#versions, { snapshot: version - 1, timestamp: version - 1 })
  }

  /** The newest of each role. */
  get versions(): Readonly<Record<Role, number>> {
    return { ...this.#versions }
  }

  #pair(i: number): nacl.SignKeyPair {
    return nacl.sign.keyPair.fromSeed(new Uint8Array(32).fill(this.#seed).fill(i, 0, 1))
  }

  #signRoot(nowMs: number): void {
    const keys = Object.fromEntries(ROLES.map((role) => [this.#keyId(role), this.#key(role)]))
    const roles = Object.fromEntries(ROLES.map((role) => [role, { keyids: [this.#keyId(role)], threshold: 1 }]))
    this.#sign('root', { consistent_snapshot: true, keys, roles, [DIRECTOR_FIELD]: this.#director }, nowMs)
  }

  /** What the factory puts into a device. */
  get root(): Uint8Array {
    return present(this.#files.get('1.root.json'), 'the first root')
  }

  /** Puts exactly these releases into the targets, and a new snapshot and timestamp over them. */
  publish(releases: readonly Release[], nowMs: number): void {
    const targets = Object.fromEntries(
      releases.map((release) => [
        targetPathOf(release),
        { length: release.bytes, hashes: { sha256: release.sha256 }, custom: { kinglet: release } },
      ]),
    )
    const made = this.#sign('targets', { targets }, nowMs)
    const meta = { version: this.#versions.targets, length: made.length, hashes: { sha256: sha256Hex(made) } }
    this.#sign('snapshot', { meta: { 'targets.json': meta } }, nowMs)
    this.#sign(
      'timestamp',
      { meta: { 'snapshot.json': { version: this.#versions.snapshot } }, 'x-kinglet-issued': nowMs },
      nowMs,
    )
  }

  file(name: string): Uint8Array | undefined {
    return this.#files.get(name)
  }

  #key(role: Role) {
    return { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: bytesToHex(this.#keys[role].publicKey) } }
  }

  #keyId(role: Role): string {
    return sha256Hex(encode(canonicalize(this.#key(role))))
  }

  #sign(role: Role, content: Readonly<Record<string, unknown>>, nowMs: number): Uint8Array {
    const version = ++this.#versions[role]
    const expires = `${new Date(nowMs + this.#ttlMs).toISOString().slice(0, 19)}Z`
    const signed = { _type: role, spec_version: '1.0.31', version, expires, ...content }
    const sig = bytesToHex(nacl.sign.detached(encode(canonicalize(signed)), this.#keys[role].secretKey))
    const file = encode(canonicalize({ signed, signatures: [{ keyid: this.#keyId(role), sig }] }))
    this.#files.set(metadataFileName(role, version), file)
    return file
  }
}

/** A gateway's answer to a request for metadata. Throws on a request that is none: the device has a bug.
 *  @param file a repository's files by name */
export function answerMeta(file: (name: string) => Uint8Array | undefined, request: Uint8Array): Uint8Array {
  const get = metaGetCodec.decode(request)
  if (!get.ok) throw new Error(`the device asked for ${get.error.detail}`)
  const { offset, orTimestamp } = get.value
  const asked = file(get.value.file)
  const name = asked === undefined && orTimestamp && offset === 0 ? 'timestamp.json' : get.value.file
  const content = asked ?? file(name)
  return metaCodec.encode(
    content === undefined
      ? { file: name, offset, totalBytes: 0, data: undefined, error: 'not-found' }
      : {
          file: name,
          offset,
          totalBytes: content.length,
          data: content.subarray(offset, offset + LIMITS.blockBytes),
          error: undefined,
        },
  )
}
