import { createHash } from 'node:crypto'
import { readdirSync, rmSync, statSync } from 'node:fs'
import { readFile, rm, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../../contract/clock.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { isSha256Hex } from '../../contract/fields.ts'
import { LIMITS } from '../../contract/limits.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { readBounded } from '../../platform/bounded-body.ts'
import { makeFolderDurably, writeFileDurablyAsync } from '../../platform/durable-file.ts'
import { Turnstile } from '../broker/turnstile.ts'
import type { CloudClient } from '../cloud-link/cloud-client.ts'
import type { MessageCounters } from '../message-counters.ts'

export interface ArtifactCacheLimits {
  /** on disk; the least recently used go first */
  readonly totalBytes: number
  /** whole artifacts in memory, so that a block costs no file access */
  readonly memoryBytes: number
  /** artifacts fetched from the cloud at a time; others wait, those who ask take turns */
  readonly fetches: number
}

export const ARTIFACT_CACHE_LIMITS: ArtifactCacheLimits = {
  totalBytes: 256 * 1024 * 1024,
  memoryBytes: 32 * 1024 * 1024,
  fetches: 4,
}

/** chosen: how long "the cloud does not have it" is believed, so that a bad hash costs one request and not one a block */
const MISSING_MS = 30_000
const MISSING_MAX = 1_000
/** chosen: artifacts that one device waits for to be fetched, as many as it may have under way; more are `unavailable` and asked for again */
const WAITING_MAX = 4

/** Content-addressed folder of artifacts, filled from the cloud once however many devices ask. Nothing under a final name is
 *  ever unverified: a download is hashed before it is written. A file is hashed again when it is first read after a start, so that bit rot on the gateway's medium costs a download and not a fleet of failed installs.
 */
export class ArtifactCache {
  readonly #folder: string
  readonly #cloud: CloudClient
  readonly #clock: Clock
  readonly #counters: MessageCounters
  /** bytes of each file on disk */
  readonly #files: LRUCache<string, number>
  readonly #memory: LRUCache<string, Buffer>
  /** past the bound, and still on disk */
  readonly #evicted: string[] = []
  readonly #loading = new Map<string, Promise<Result<Buffer, ContractError>>>()
  /** the one that was found missing longest ago is forgotten first; asking is no use */
  readonly #missing = new LRUCache<string, number>({ max: MISSING_MAX })
  readonly #fetches: Turnstile

  constructor(
    folder: string,
    parts: {
      readonly cloud: CloudClient
      readonly clock: Clock
      readonly counters: MessageCounters
    },
    limits: ArtifactCacheLimits,
  ) {
    this.#folder = folder
    this.#cloud = parts.cloud
    this.#clock = parts.clock
    this.#counters = parts.counters
    this.#fetches = new Turnstile(limits.fetches)
    // The newest is kept though it be larger than the bound, so that it is served: it counts as all of it.
    const sizeWithin = (bytes: number, most: number) => Math.max(1, Math.min(bytes, most))
    const { totalBytes, memoryBytes } = limits
    this.#files = new LRUCache({
      maxSize: totalBytes,
      sizeCalculation: (bytes) => sizeWithin(bytes, totalBytes),
      dispose: (_bytes, sha256, reason) => {
        if (reason === 'evict') this.#evicted.push(sha256)
      },
    })
    this.#memory = new LRUCache({
      maxSize: memoryBytes,
      sizeCalculation: ({ length }) => sizeWithin(length, memoryBytes),
    })
    makeFolderDurably(folder)
    this.#readFolder()
  }

  get bytes(): number {
    let bytes = 0
    for (const each of this.#files.values()) bytes += each
    return bytes
  }

  /** The whole artifact, from memory, disk or cloud.
   *  @param party who asks; parties take turns at the cloud
   *  @returns `artifact-not-found` | `unavailable` | `hash-mismatch` | `too-large` */
  get(sha256: string, party: string): Promise<Result<Buffer, ContractError>> {
    const held = this.#memory.get(sha256)
    if (held !== undefined) {
      // What is asked for in memory is in use on disk too.
      this.#files.get(sha256)
      return Promise.resolve(ok(held))
    }
    let loading = this.#loading.get(sha256)
    if (loading === undefined) {
      loading = this.#load(sha256, party).finally(() => this.#loading.delete(sha256))
      this.#loading.set(sha256, loading)
    }
    return loading
  }

  async #load(sha256: string, party: string): Promise<Result<Buffer, ContractError>> {
    if (this.#files.has(sha256)) {
      const stored = await this.#readFile(sha256)
      if (stored !== undefined) return ok(this.#remember(sha256, stored))
    }
    const missingSince = this.#missing.peek(sha256)
    if (missingSince !== undefined && this.#clock.monotonicMs() - missingSince < MISSING_MS) {
      return err(contractError('artifact-not-found', sha256))
    }
    if (this.#fetches.waitingOf(party) >= WAITING_MAX)
      return err(contractError('unavailable', 'too many artifacts at once'))
    const fetched = await this.#fetches.pass(party, () => this.#fetch(sha256))
    this.#counters.add('artifact', fetched.ok ? 'fetched' : fetched.error.code)
    return fetched.ok ? ok(this.#remember(sha256, fetched.value)) : fetched
  }

  async #fetch(sha256: string): Promise<Result<Buffer, ContractError>> {
    const answer = await this.#cloud.stream(`/v1/artifacts/${sha256}`)
    if (!answer.ok) {
      if (answer.error.status !== 404) return err(contractError('unavailable', answer.error.detail))
      this.#missing.set(sha256, this.#clock.monotonicMs())
      return err(contractError('artifact-not-found', sha256))
    }
    let content: Buffer | undefined
    try {
      content = await readBounded(answer.value, LIMITS.bundleBytes)
      if (content === undefined) return err(contractError('too-large', `more than ${LIMITS.bundleBytes} bytes`))
      if (!isContentOf(content, sha256)) return err(contractError('hash-mismatch', `the cloud's ${sha256} is not it`))
      await writeFileDurablyAsync(join(this.#folder, sha256), content)
    } catch (cause) {
      return err(contractError('unavailable', cause instanceof Error ? cause.message : String(cause)))
    }
    this.#files.set(sha256, content.length)
    await this.#removeEvicted()
    return ok(content)
  }

  async #readFile(sha256: string): Promise<Buffer | undefined> {
    const path = join(this.#folder, sha256)
    const content = await readFile(path).catch(() => undefined)
    if (content !== undefined && isContentOf(content, sha256)) {
      this.#files.set(sha256, content.length)
      // The order of use survives a restart through the file's times.
      const seconds = this.#clock.wallMs() / 1000
      await utimes(path, seconds, seconds).catch(() => {})
      return content
    }
    this.#counters.add('artifact', 'corrupt')
    await this.#removeFile(sha256)
    return undefined
  }

  async #removeEvicted(): Promise<void> {
    for (const sha256 of this.#evicted.splice(0)) {
      this.#counters.add('artifact', 'evicted')
      await this.#removeFile(sha256)
    }
  }

  async #removeFile(sha256: string): Promise<void> {
    this.#files.delete(sha256)
    await rm(join(this.#folder, sha256), { force: true }).catch(() => {})
  }

  #remember(sha256: string, content: Buffer): Buffer {
    this.#memory.set(sha256, content)
    return content
  }

  #readFolder(): void {
    const found: { sha256: string; bytes: number; usedMs: number }[] = []
    for (const name of readdirSync(this.#folder)) {
      const path = join(this.#folder, name)
      // What is no finished artifact is the rest of a download that a crash cut off.
      if (!isSha256Hex(name)) rmSync(path, { force: true, recursive: true })
      else {
        const { size, mtimeMs } = statSync(path)
        found.push({ sha256: name, bytes: size, usedMs: mtimeMs })
      }
    }
    found.sort((a, b) => a.usedMs - b.usedMs)
    for (const { sha256, bytes } of found) this.#files.set(sha256, bytes)
    for (const sha256 of this.#evicted.splice(0)) rmSync(join(this.#folder, sha256), { force: true })
  }
}

const isContentOf = (content: Uint8Array, sha256: string): boolean =>
  createHash('sha256').update(content).digest('hex') === sha256
