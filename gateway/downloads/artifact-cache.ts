import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { open, readFile, rename, rm, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../contract/clock.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { isSha256Hex } from '../../contract/fields.ts'
import { LIMITS } from '../../contract/limits.ts'
import type { SecureRandom } from '../../contract/random.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { CloudClient } from '../cloud-link/cloud-client.ts'
import type { MessageCounters } from '../message-counters.ts'

export interface ArtifactCacheLimits {
  /** on disk; the least recently used go first */
  readonly totalBytes: number
  /** whole artifacts in memory, so that a block costs no file access */
  readonly memoryBytes: number
  /** artifacts fetched from the cloud at a time; further ones are `unavailable` and asked again by the device */
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

/** Content-addressed folder of artifacts, filled from the cloud once however many devices ask. Nothing under a final name is
 *  ever unverified: a download is hashed while it streams to a temporary file, synced and renamed. A file is hashed again
 *  when it is first read after a start, so that bit rot on the gateway's medium costs a download and not a fleet of failed installs.
 */
export class ArtifactCache {
  readonly #folder: string
  readonly #cloud: CloudClient
  readonly #clock: Clock
  readonly #secureRandom: SecureRandom
  readonly #counters: MessageCounters
  readonly #limits: ArtifactCacheLimits
  /** in order of use, oldest first */
  readonly #files = new Map<string, number>()
  readonly #memory = new Map<string, Buffer>()
  readonly #loading = new Map<string, Promise<Result<Buffer, ContractError>>>()
  readonly #missing = new Map<string, number>()
  #fileBytes = 0
  #memoryBytes = 0
  #fetching = 0

  constructor(
    folder: string,
    parts: {
      readonly cloud: CloudClient
      readonly clock: Clock
      readonly secureRandom: SecureRandom
      readonly counters: MessageCounters
    },
    limits: ArtifactCacheLimits,
  ) {
    this.#folder = folder
    this.#cloud = parts.cloud
    this.#clock = parts.clock
    this.#secureRandom = parts.secureRandom
    this.#counters = parts.counters
    this.#limits = limits
    mkdirSync(folder, { recursive: true })
    this.#readFolder()
  }

  get bytes(): number {
    return this.#fileBytes
  }

  /** The whole artifact, from memory, disk or cloud.
   *  @returns `artifact-not-found` | `unavailable` | `hash-mismatch` | `too-large` */
  get(sha256: string): Promise<Result<Buffer, ContractError>> {
    const held = this.#memory.get(sha256)
    if (held !== undefined) {
      this.#memory.delete(sha256)
      this.#memory.set(sha256, held)
      if (this.#files.has(sha256)) this.#touchFile(sha256, held.length)
      return Promise.resolve(ok(held))
    }
    let loading = this.#loading.get(sha256)
    if (loading === undefined) {
      loading = this.#load(sha256).finally(() => this.#loading.delete(sha256))
      this.#loading.set(sha256, loading)
    }
    return loading
  }

  async #load(sha256: string): Promise<Result<Buffer, ContractError>> {
    if (this.#files.has(sha256)) {
      const stored = await this.#readFile(sha256)
      if (stored !== undefined) return ok(this.#remember(sha256, stored))
    }
    const missingSince = this.#missing.get(sha256)
    if (missingSince !== undefined && this.#clock.monotonicMs() - missingSince < MISSING_MS) {
      return err(contractError('artifact-not-found', sha256))
    }
    if (this.#fetching >= this.#limits.fetches) return err(contractError('unavailable', 'too many artifacts at once'))
    this.#fetching++
    try {
      const fetched = await this.#fetch(sha256)
      this.#counters.add('artifact', fetched.ok ? 'fetched' : fetched.error.code)
      return fetched.ok ? ok(this.#remember(sha256, fetched.value)) : fetched
    } finally {
      this.#fetching--
    }
  }

  async #fetch(sha256: string): Promise<Result<Buffer, ContractError>> {
    const answer = await this.#cloud.stream(`/v1/artifacts/${sha256}`)
    if (!answer.ok) {
      if (answer.error.status !== 404) return err(contractError('unavailable', answer.error.detail))
      this.#missing.set(sha256, this.#clock.monotonicMs())
      if (this.#missing.size > MISSING_MAX) this.#missing.delete(this.#missing.keys().next().value!)
      return err(contractError('artifact-not-found', sha256))
    }
    const suffix = Buffer.from(this.#secureRandom.bytes(6)).toString('hex')
    const temporary = join(this.#folder, `.${sha256}.${suffix}`)
    const chunks: Uint8Array[] = []
    const hash = createHash('sha256')
    let bytes = 0
    try {
      const file = await open(temporary, 'wx')
      try {
        for await (const chunk of answer.value) {
          bytes += chunk.length
          if (bytes > LIMITS.bundleBytes)
            return err(contractError('too-large', `more than ${LIMITS.bundleBytes} bytes`))
          hash.update(chunk)
          chunks.push(chunk)
          await file.writeFile(chunk)
        }
        if (hash.digest('hex') !== sha256) return err(contractError('hash-mismatch', `the cloud's ${sha256} is not it`))
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, join(this.#folder, sha256))
    } catch (cause) {
      return err(contractError('unavailable', cause instanceof Error ? cause.message : String(cause)))
    } finally {
      await rm(temporary, { force: true })
    }
    this.#touchFile(sha256, bytes)
    await this.#evict()
    return ok(Buffer.concat(chunks))
  }

  async #readFile(sha256: string): Promise<Buffer | undefined> {
    const path = join(this.#folder, sha256)
    const content = await readFile(path).catch(() => undefined)
    if (content !== undefined && createHash('sha256').update(content).digest('hex') === sha256) {
      this.#touchFile(sha256, content.length)
      // The order of use survives a restart through the file's times.
      const seconds = this.#clock.wallMs() / 1000
      await utimes(path, seconds, seconds).catch(() => {})
      return content
    }
    this.#counters.add('artifact', 'corrupt')
    await this.#removeFile(sha256)
    return undefined
  }

  #touchFile(sha256: string, bytes: number): void {
    this.#fileBytes += bytes - (this.#files.get(sha256) ?? 0)
    this.#files.delete(sha256)
    this.#files.set(sha256, bytes)
  }

  async #removeFile(sha256: string): Promise<void> {
    this.#fileBytes -= this.#files.get(sha256) ?? 0
    this.#files.delete(sha256)
    await rm(join(this.#folder, sha256), { force: true }).catch(() => {})
  }

  /** Down to the bound, but for the newest: an artifact larger than the whole cache is still served. */
  async #evict(): Promise<void> {
    for (const sha256 of this.#files.keys()) {
      if (this.#fileBytes <= this.#limits.totalBytes || this.#files.size === 1) return
      this.#counters.add('artifact', 'evicted')
      await this.#removeFile(sha256)
    }
  }

  #remember(sha256: string, content: Buffer): Buffer {
    this.#memory.set(sha256, content)
    this.#memoryBytes += content.length
    for (const [oldest, { length }] of this.#memory) {
      if (this.#memoryBytes <= this.#limits.memoryBytes || this.#memory.size === 1) break
      this.#memory.delete(oldest)
      this.#memoryBytes -= length
    }
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
    for (const { sha256, bytes } of found) this.#touchFile(sha256, bytes)
  }
}
