import type { Clock } from '../../contract/clock.ts'
import type { ErrorCode } from '../../contract/errors.ts'
import { LIMITS } from '../../contract/limits.ts'
import { type Meta, type MetaGet, metaCodec, metaGetCodec } from '../../contract/messages.ts'
import { topicOf } from '../../contract/topics.ts'
import { networkOf } from '../broker/network.ts'
import type { MessageCounters } from '../message-counters.ts'
import type { Origin } from '../origin.ts'
import { fetchProblem, type HttpContext } from '../route.ts'
import { type AllowanceLimits, Allowances } from './allowance.ts'
import type { MetadataCache } from './metadata-cache.ts'

/** chosen: a cycle asks for about six files of few blocks; a device that has slept through many rotations asks for a root a request */
export const METADATA_LIMITS: AllowanceLimits = { concurrent: 2, perSecond: 8, burst: 64 }

interface Parts {
  readonly cache: MetadataCache
  readonly clock: Clock
  readonly counters: MessageCounters
  /** best effort: what is lost is asked for again
   *  @returns false when the device reads too slowly and nothing was sent */
  send(origin: Origin, topic: string, payload: Uint8Array): boolean
}

/** Answers `meta-get` with `meta`: the next LIMITS.blockBytes of a file, or an error code and no data (`rate-limited`, `not-found`,
 *  `unavailable`, `too-large`, `invalid-request` for what is no file name or an offset at or past the end). With `orTimestamp` the
 *  timestamp stands in for a file that is not there. */
export class MetadataServer {
  readonly #parts: Parts
  readonly #allowances: Allowances

  constructor(parts: Parts, limits: AllowanceLimits = METADATA_LIMITS) {
    this.#parts = parts
    this.#allowances = new Allowances(parts.clock, limits)
  }

  async handle(origin: Origin, payload: Uint8Array): Promise<void> {
    const decoded = metaGetCodec.decode(payload)
    // Without a file there is nothing that the device could relate an answer to.
    if (!decoded.ok) return this.#parts.counters.add('meta-get', decoded.error.code)
    const get = decoded.value
    const allowed = await this.#allowances.spend(origin.device, async () => {
      await this.#serve(origin, get)
      return undefined
    })
    if (!allowed) this.#refuse(origin, get, 'rate-limited')
  }

  /** `GET /metadata/{file}` on the gateway's HTTP listener. */
  async answer(c: HttpContext): Promise<Response> {
    const name = c.req.param('file') ?? ''
    const file = await this.#parts.cache.get(name, networkOf(c.env.incoming.socket.remoteAddress))
    if (!file.ok) return fetchProblem(file.error)
    return new Response(file.value, {
      headers: {
        'content-type': 'application/json',
        'content-length': String(file.value.length),
        'cache-control': name === 'timestamp.json' ? 'no-cache' : 'public, max-age=31536000, immutable',
        'x-content-type-options': 'nosniff',
      },
    })
  }

  async #serve(origin: Origin, get: MetaGet): Promise<void> {
    const file = await this.#parts.cache.get(get.file, origin.device)
    if (!file.ok) {
      const instead = get.orTimestamp && get.offset === 0 && file.error.code === 'not-found'
      if (instead) return this.#serve(origin, { file: 'timestamp.json', offset: 0 })
      return this.#refuse(origin, get, file.error.code)
    }
    const { offset } = get
    const { length } = file.value
    if (offset >= length) return this.#refuse(origin, get, 'invalid-request', length)
    const data = file.value.subarray(offset, Math.min(length, offset + LIMITS.blockBytes))
    this.#send(origin, { file: get.file, offset, totalBytes: length, data, error: undefined }, 'served')
  }

  #refuse(origin: Origin, { file, offset }: MetaGet, error: ErrorCode, totalBytes = 0): void {
    this.#send(origin, { file, offset, totalBytes, data: undefined, error }, error)
  }

  #send(origin: Origin, meta: Meta, outcome: string): void {
    const sent = this.#parts.send(origin, topicOf(origin.site, origin.device, 'meta'), metaCodec.encode(meta))
    this.#parts.counters.add('meta-get', sent ? outcome : 'device-too-slow')
  }
}
