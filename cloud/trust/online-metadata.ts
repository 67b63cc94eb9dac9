import { canonicalize } from '@tufjs/canonical-json'
import { Metadata, MetaFile, Signature, Snapshot, Timestamp } from '@tufjs/models'
import { sha256Hex } from '../../contract/bytes.ts'
import { present } from '../../contract/present.ts'
import { SPEC_VERSION, tufTime } from '../../release/tuf-document.ts'
import type { MetadataStore } from '../store/metadata-store.ts'
import type { OnlineKey } from './key-succession.ts'

const DAY_MS = 24 * 3_600_000
/** chosen: a device that sees no newer timestamp for a day is being held back; renewed at half life, so a cloud may be down for 12 hours */
const TIMESTAMP_TTL_MS = DAY_MS
/** chosen: made anew with every release anyway; a week, because only the timestamp has to be young */
const SNAPSHOT_TTL_MS = 7 * DAY_MS
/** chosen: superseded files kept for devices in the middle of a cycle and gateways with an older timestamp; roots are kept for ever */
export const KEPT_VERSIONS = 32

/** When a file ends. */
export interface OnlineEnd {
  readonly role: 'snapshot' | 'timestamp'
  /** Unix ms */
  readonly expiresMs: number
  /** of its kind, ms */
  readonly ttlMs: number
}

/** Makes snapshot and timestamp over the metadata that is stored. Whoever calls it sees to the transaction. */
export class OnlineMetadata {
  readonly #metadata: MetadataStore

  constructor(metadata: MetadataStore) {
    this.#metadata = metadata
  }

  /** ms until the snapshot is to be made anew: at half of its life; not above 0 when it is due */
  snapshotDueMs(nowMs: number): number {
    return this.#dueMs('snapshot', SNAPSHOT_TTL_MS, nowMs)
  }

  timestampDueMs(nowMs: number): number {
    return this.#dueMs('timestamp', TIMESTAMP_TTL_MS, nowMs)
  }

  /** Of those that were made. */
  ends(): readonly OnlineEnd[] {
    const kinds = [
      { role: 'snapshot', ttlMs: SNAPSHOT_TTL_MS },
      { role: 'timestamp', ttlMs: TIMESTAMP_TTL_MS },
    ] as const
    return kinds.flatMap(({ role, ttlMs }) => {
      const content = this.#metadata.newest(role)
      return content === undefined ? [] : [{ role, ttlMs, expiresMs: expiryOf(content) }]
    })
  }

  /** Version, length and hash of each targets file. The hash costs 85 bytes a role and is what keeps a stolen targets key harmless
   *  without the online key: another file of the same version, signed well, does not match. */
  makeSnapshot(key: OnlineKey, nowMs: number): void {
    const metadata = this.#metadata
    // Every role ever published stays listed: clients refuse a snapshot from which a file has vanished (TUF 5.5.5).
    const roles = Object.entries(metadata.versions()).filter(
      ([role]) => !['root', 'snapshot', 'timestamp'].includes(role),
    )
    const meta = Object.fromEntries(
      roles.map(([role, version]) => {
        const content = present(metadata.newest(role), 'a file whose version is known')
        return [
          `${role}.json`,
          new MetaFile({ version, length: content.length, hashes: { sha256: sha256Hex(content) } }),
        ]
      }),
    )
    const version = metadata.version('snapshot') + 1
    const signed = new Snapshot({ specVersion: SPEC_VERSION, version, expires: tufTime(nowMs + SNAPSHOT_TTL_MS), meta })
    metadata.add({ role: 'snapshot', version, content: signWith(key, new Metadata(signed)) }, nowMs)
    metadata.prune('snapshot', KEPT_VERSIONS)
  }

  /** Version and length of the snapshot; no hash, since the same key signs both and the version names the file. */
  makeTimestamp(key: OnlineKey, nowMs: number): void {
    const metadata = this.#metadata
    const snapshot = metadata.version('snapshot')
    const version = metadata.version('timestamp') + 1
    const signed = new Timestamp({
      specVersion: SPEC_VERSION,
      version,
      expires: tufTime(nowMs + TIMESTAMP_TTL_MS),
      snapshotMeta: new MetaFile({
        version: snapshot,
        length: present(metadata.newest('snapshot'), 'the snapshot').length,
      }),
      // When it was made, for devices that take their time from it; TUF leaves unknown fields to the reader.
      unrecognizedFields: { 'x-kinglet-issued': nowMs },
    })
    metadata.add({ role: 'timestamp', version, content: signWith(key, new Metadata(signed)) }, nowMs)
    metadata.prune('timestamp', 1)
  }

  #dueMs(role: string, ttlMs: number, nowMs: number): number {
    const content = this.#metadata.newest(role)
    const leftMs = content === undefined ? 0 : expiryOf(content) - nowMs
    // What lives longer than we make anything live was made by a clock that has since fallen back: made anew too.
    return leftMs > ttlMs ? 0 : leftMs - ttlMs / 2
  }
}

function signWith(key: OnlineKey, metadata: Metadata<Snapshot> | Metadata<Timestamp>): Uint8Array {
  metadata.sign((bytes) => new Signature({ keyID: key.publicKey.keyId, sig: key.sign(bytes) }))
  return new TextEncoder().encode(canonicalize(metadata.toJSON()))
}

const expiryOf = (content: Uint8Array): number =>
  Date.parse((JSON.parse(new TextDecoder().decode(content)) as { signed: { expires: string } }).signed.expires)
