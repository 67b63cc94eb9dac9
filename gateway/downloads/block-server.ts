import { bytesToHex } from '../../contract/bytes.ts'
import type { ErrorCode } from '../../contract/errors.ts'
import { blockCodec, encodeBlock, type Get, getCodec } from '../../contract/messages.ts'
import { blockTopic } from '../../contract/topics.ts'
import type { MessageCounters } from '../message-counters.ts'
import type { Origin } from '../origin.ts'
import type { AllowanceLimits, Allowances, Spent } from './allowance.ts'
import type { ArtifactCache } from './artifact-cache.ts'

export type BlockLimits = AllowanceLimits

/** chosen: a device that pipelines wants a few at a time, not more */
export const BLOCK_LIMITS: BlockLimits = { concurrent: 4, perSecond: 32, burst: 128 }

interface Parts {
  readonly cache: ArtifactCache
  readonly counters: MessageCounters
  readonly allowances: Allowances
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

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async handle(origin: Origin, payload: Uint8Array): Promise<void> {
    const { counters, allowances } = this.#parts
    const decoded = getCodec.decode(payload)
    // Without a hash there is no topic to answer on.
    if (!decoded.ok) return counters.add('get', decoded.error.code)
    const get = decoded.value
    const allowed = await allowances.spend(origin.device, () => this.#serve(origin, get))
    if (!allowed) this.#refuse(origin, get, 'rate-limited')
  }

  async #serve(origin: Origin, get: Get): Promise<Spent | undefined> {
    const artifact = await this.#parts.cache.get(bytesToHex(get.sha256), origin.device)
    if (!artifact.ok) {
      this.#refuse(origin, get, artifact.error.code)
      return undefined
    }
    const content = artifact.value
    const { offset, length } = get
    if (offset >= content.length) {
      this.#refuse(origin, get, 'invalid-request', content.length)
      return undefined
    }
    this.#send(origin, get, encodeBlock(content, offset, length), 'served')
    return { requests: 1, bytes: Math.min(length, content.length - offset) }
  }

  #refuse(origin: Origin, get: Get, error: ErrorCode, totalBytes = 0): void {
    this.#send(origin, get, blockCodec.encode({ offset: get.offset, totalBytes, error }), error)
  }

  #send(origin: Origin, get: Get, block: Uint8Array, outcome: string): void {
    const topic = blockTopic(origin.site, origin.device, bytesToHex(get.sha256))
    const sent = this.#parts.send(origin, topic, block)
    this.#parts.counters.add('get', sent ? outcome : 'device-too-slow')
  }
}
