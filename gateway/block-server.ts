import { bytesToHex } from '../contract/bytes.ts'
import type { Clock } from '../contract/clock.ts'
import type { ErrorCode } from '../contract/errors.ts'
import { type Block, blockCodec, type Get, getCodec } from '../contract/messages.ts'
import { blockTopic } from '../contract/topics.ts'
import type { ArtifactCache } from './artifact-cache.ts'
import type { MessageCounters } from './message-counters.ts'
import type { Origin } from './origin.ts'

export interface BlockLimits {
  /** requests of one device under way at a time; chosen: a device that pipelines wants a few, not more */
  readonly concurrent: number
  /** requests of one device per second of the gateway's clock, and how many it may save up */
  readonly perSecond: number
  readonly burst: number
}

export const BLOCK_LIMITS: BlockLimits = { concurrent: 4, perSecond: 32, burst: 128 }

interface Allowance {
  running: number
  tokens: number
  refilledMs: number
}

/** chosen: allowances of devices remembered; one that is forgotten starts with a full burst */
const ALLOWANCES_MAX = 20_000

interface Parts {
  readonly cache: ArtifactCache
  readonly clock: Clock
  readonly counters: MessageCounters
  /** best effort: a block that is lost is asked for again
   *  @returns false when the device reads too slowly and the block was not sent */
  send(origin: Origin, topic: string, payload: Uint8Array): boolean
}

/** Answers `get` with `block/{hash}`: data, or an error code and no data (`rate-limited`, `artifact-not-found`, `unavailable`,
 *  `hash-mismatch`, `too-large`, `invalid-request` for an offset at or past the end). A range over the end is cut there; a length of 0
 *  asks for the size alone.
 */
export class BlockServer {
  readonly #parts: Parts
  readonly #limits: BlockLimits
  readonly #allowances = new Map<string, Allowance>()

  constructor(parts: Parts, limits: BlockLimits) {
    this.#parts = parts
    this.#limits = limits
  }

  async handle(origin: Origin, payload: Uint8Array): Promise<void> {
    const { counters } = this.#parts
    const decoded = getCodec.decode(payload)
    // Without a hash there is no topic to answer on.
    if (!decoded.ok) return counters.add('get', decoded.error.code)
    const get = decoded.value
    const allowance = this.#allowance(origin.device)
    if (allowance.running >= this.#limits.concurrent || allowance.tokens < 1) {
      return this.#refuse(origin, get, 'rate-limited')
    }
    allowance.tokens--
    allowance.running++
    try {
      await this.#serve(origin, get)
    } finally {
      allowance.running--
    }
  }

  async #serve(origin: Origin, get: Get): Promise<void> {
    const artifact = await this.#parts.cache.get(bytesToHex(get.sha256))
    if (!artifact.ok) return this.#refuse(origin, get, artifact.error.code)
    const content = artifact.value
    const { offset, length } = get
    if (offset >= content.length) return this.#refuse(origin, get, 'invalid-request', content.length)
    const data = content.subarray(offset, Math.min(content.length, offset + length))
    this.#send(origin, get, { offset, totalBytes: content.length, data, error: undefined }, 'served')
  }

  #refuse(origin: Origin, get: Get, error: ErrorCode, totalBytes = 0): void {
    this.#send(origin, get, { offset: get.offset, totalBytes, data: undefined, error }, error)
  }

  #send(origin: Origin, get: Get, block: Block, outcome: string): void {
    const topic = blockTopic(origin.site, origin.device, bytesToHex(get.sha256))
    const sent = this.#parts.send(origin, topic, blockCodec.encode(block))
    this.#parts.counters.add('get', sent ? outcome : 'device-too-slow')
  }

  #allowance(device: string): Allowance {
    const now = this.#parts.clock.monotonicMs()
    const { burst, perSecond } = this.#limits
    let allowance = this.#allowances.get(device)
    if (allowance === undefined) {
      allowance = { running: 0, tokens: burst, refilledMs: now }
      this.#allowances.set(device, allowance)
      if (this.#allowances.size > ALLOWANCES_MAX) this.#allowances.delete(this.#allowances.keys().next().value!)
    }
    allowance.tokens = Math.min(burst, allowance.tokens + ((now - allowance.refilledMs) * perSecond) / 1000)
    allowance.refilledMs = now
    return allowance
  }
}
