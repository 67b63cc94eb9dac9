import { LRUCache } from 'lru-cache'
import type { Clock } from '../../contract/clock.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { LIMITS } from '../../contract/limits.ts'
import { parseMetadataFile } from '../../contract/metadata-file.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { readBounded } from '../../platform/bounded-body.ts'
import { Turnstile } from '../broker/turnstile.ts'
import type { CloudClient } from '../cloud-link/cloud-client.ts'
import type { MessageCounters } from '../message-counters.ts'

export interface MetadataCacheLimits {
  /** how long the timestamp, or "there is no such file", is answered from memory, ms of the clock */
  readonly freshMs: number
  /** how old a timestamp may be that is answered while the cloud is away, ms of the clock */
  readonly staleMs: number
  /** how long a versioned file is answered from memory without asking again, ms of the clock. Such a file never changes, but nobody
   *  here checks its signatures: what a mirror spoiled once must not stay */
  readonly keptMs: number
  /** versioned files in memory; the least recently used go first */
  readonly totalBytes: number
  /** files fetched at a time; others wait, those who ask take turns */
  readonly fetches: number
}

export const METADATA_CACHE_LIMITS: MetadataCacheLimits = {
  // chosen: one request each ten seconds however many devices ask, and a release is seen ten seconds late
  freshMs: 10_000,
  // chosen: an outage of the cloud does not stop updates at once; the timestamp's own expiry is what a device relies on
  staleMs: 3_600_000,
  // chosen: one request an hour and file, whatever the devices do; a spoiled one is gone before a device gives up its attempts
  keptMs: 3_600_000,
  // chosen: 32 of the largest files, some thousand of the usual size
  totalBytes: 4 * 1024 * 1024,
  fetches: 4,
}

/** chosen: names that are believed to be missing; a device asks for the next root at every update cycle */
const MISSING_MAX = 256
/** chosen: files that one device or address waits for; more are `unavailable` and asked for again */
const WAITING_MAX = 4

/** chosen: a file that is larger is answered from here all the same; when it ends is not worth the reading */
const READ_BYTES_MAX = 1024 * 1024

/** When a file that was served ends. */
export interface MetadataEnd {
  readonly role: string
  /** Unix ms */
  readonly expiresMs: number
}

/** Metadata files of the image repository as the cloud serves them. They are signed, and devices verify them; so nothing is checked
 *  here but names and sizes. A versioned file never changes; it is asked for once an hour, and answered from memory while the cloud
 *  is away. */
export class MetadataCache {
  readonly #cloud: Pick<CloudClient, 'stream'>
  readonly #clock: Clock
  readonly #counters: MessageCounters
  readonly #limits: MetadataCacheLimits
  readonly #fetches: Turnstile
  readonly #files: LRUCache<string, { readonly content: Buffer; readonly fetchedMs: number }>
  readonly #loading = new Map<string, Promise<Result<Buffer, ContractError>>>()
  /** the one that was found missing longest ago is forgotten first; asking is no use */
  readonly #missing = new LRUCache<string, number>({ max: MISSING_MAX })
  /** of each role the newest version that was fetched; as many as files are kept */
  readonly #ends = new LRUCache<
    string,
    { readonly version: number; readonly expiresMs: number; readonly fetchedMs: number }
  >({
    max: MISSING_MAX,
  })
  #timestamp: { readonly content: Buffer; readonly fetchedMs: number } | undefined

  constructor(
    parts: {
      readonly cloud: Pick<CloudClient, 'stream'>
      readonly clock: Clock
      readonly counters: MessageCounters
    },
    limits: MetadataCacheLimits = METADATA_CACHE_LIMITS,
  ) {
    this.#cloud = parts.cloud
    this.#clock = parts.clock
    this.#counters = parts.counters
    this.#limits = limits
    this.#fetches = new Turnstile(limits.fetches)
    const maxSize = limits.totalBytes
    // The newest is kept though it be larger than the bound: it counts as all of it.
    this.#files = new LRUCache({
      maxSize,
      sizeCalculation: ({ content }) => Math.max(1, Math.min(content.length, maxSize)),
    })
  }

  /** @param party who asks; parties take turns at the cloud
   *  @returns the whole file, or `invalid-request` | `not-found` | `unavailable` | `too-large` */
  get(name: string, party: string): Promise<Result<Buffer, ContractError>> {
    const file = parseMetadataFile(name)
    if (!file.ok) return Promise.resolve(file)
    const held = file.value.version === undefined ? this.#freshTimestamp() : this.#held(name)
    if (held !== undefined) return Promise.resolve(ok(held))
    if (this.#isMissing(name)) return Promise.resolve(err(contractError('not-found', name)))
    let loading = this.#loading.get(name)
    if (loading === undefined) {
      if (this.#fetches.waitingOf(party) >= WAITING_MAX) {
        return Promise.resolve(err(contractError('unavailable', 'too many metadata files at once')))
      }
      loading = this.#fetches
        .pass(party, () => this.#load(name, file.value.version === undefined))
        .finally(() => this.#loading.delete(name))
      this.#loading.set(name, loading)
    }
    return loading
  }

  /** When what devices were given ends, of each role, as far as it was fetched within `keptMs`: of what is older there may be a newer one
   *  that nobody has asked for. */
  get ends(): readonly MetadataEnd[] {
    return [...this.#ends.entries()]
      .filter(([, { fetchedMs }]) => this.#age(fetchedMs) < this.#limits.keptMs)
      .map(([role, { expiresMs }]) => ({ role, expiresMs }))
  }

  #note(name: string, content: Buffer): void {
    const file = parseMetadataFile(name)
    if (!file.ok || content.length > READ_BYTES_MAX) return
    const { role, version = 0 } = file.value
    const known = this.#ends.peek(role)
    if (known !== undefined && known.version > version) return
    const expiresMs = endOf(content)
    if (expiresMs !== undefined) this.#ends.set(role, { version, expiresMs, fetchedMs: this.#clock.monotonicMs() })
  }

  #age(sinceMs: number): number {
    return this.#clock.monotonicMs() - sinceMs
  }

  #freshTimestamp(): Buffer | undefined {
    const kept = this.#timestamp
    return kept !== undefined && this.#age(kept.fetchedMs) < this.#limits.freshMs ? kept.content : undefined
  }

  #held(name: string): Buffer | undefined {
    const kept = this.#files.get(name)
    return kept !== undefined && this.#age(kept.fetchedMs) < this.#limits.keptMs ? kept.content : undefined
  }

  #isMissing(name: string): boolean {
    const since = this.#missing.peek(name)
    return since !== undefined && this.#age(since) < this.#limits.freshMs
  }

  async #load(name: string, isTimestamp: boolean): Promise<Result<Buffer, ContractError>> {
    const fetched = await this.#fetch(name)
    this.#counters.add('metadata', fetched.ok ? 'fetched' : fetched.error.code)
    if (fetched.ok) {
      this.#missing.delete(name)
      this.#note(name, fetched.value)
      if (isTimestamp) this.#timestamp = { content: fetched.value, fetchedMs: this.#clock.monotonicMs() }
      else this.#files.set(name, { content: fetched.value, fetchedMs: this.#clock.monotonicMs() })
      return fetched
    }
    if (fetched.error.code === 'unavailable') {
      const kept = isTimestamp ? this.#timestamp : this.#files.peek(name)
      if (kept !== undefined && (!isTimestamp || this.#age(kept.fetchedMs) < this.#limits.staleMs))
        return ok(kept.content)
    }
    if (fetched.error.code === 'not-found') this.#missing.set(name, this.#clock.monotonicMs())
    return fetched
  }

  async #fetch(name: string): Promise<Result<Buffer, ContractError>> {
    const answer = await this.#cloud.stream(`/v1/metadata/${name}`)
    if (!answer.ok) {
      const code = answer.error.status === 404 ? 'not-found' : 'unavailable'
      return err(contractError(code, answer.error.detail))
    }
    try {
      const content = await readBounded(answer.value, LIMITS.metadataFileBytes)
      if (content !== undefined) return ok(content)
      return err(contractError('too-large', `${name} has more than ${LIMITS.metadataFileBytes} bytes`))
    } catch (cause) {
      return err(contractError('unavailable', cause instanceof Error ? cause.message : String(cause)))
    }
  }
}

/** Unverified, as everything here: for people and not for devices. */
function endOf(content: Buffer): number | undefined {
  try {
    const { signed } = JSON.parse(content.toString('utf8')) as { signed?: { expires?: unknown } }
    const ms = Date.parse(String(signed?.expires))
    return Number.isNaN(ms) ? undefined : ms
  } catch {
    return undefined
  }
}
