import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../../contract/clock.ts'
import { isSha256Hex } from '../../contract/fields.ts'
import { LIMITS } from '../../contract/limits.ts'
import { admitBearer } from '../broker/admission.ts'
import type { KeySource } from '../broker/key-source.ts'
import type { Revocations } from '../broker/revocations.ts'
import type { MessageCounters } from '../message-counters.ts'
import { problem } from '../problem.ts'
import type { Allowances, Spent } from './allowance.ts'
import type { ArtifactCache } from './artifact-cache.ts'

interface Parts {
  readonly cache: ArtifactCache
  readonly clock: Clock
  readonly counters: MessageCounters
  readonly keys: Pick<KeySource, 'key'>
  readonly revocations: Pick<Revocations, 'refuses'>
  /** the one that blocks over MQTT draw on too */
  readonly allowances: Allowances
}

const PATH = /^\/v1\/artifacts\/([^/]*)$/
const RANGE = /^bytes=(\d{0,15})-(\d{0,15})$/
/** chosen: a second of the default allowance */
const RETRY_AFTER = { 'retry-after': '1' }

/** `GET /v1/artifacts/{sha256}` with a device token: the same artifacts as over MQTT, for devices that speak HTTP, from the same cache and
 *  under the same allowance, in which a request costs as many as it has blocks. One range (RFC 9110 section 14); several at once, or
 *  what is no range, are answered with the whole. */
export class ArtifactServer {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { counters, keys, clock, revocations, allowances } = this.#parts
    if (request.method !== 'GET') {
      return problem(response, 'invalid-request', 'artifacts are read with GET', {
        status: 405,
        headers: { allow: 'GET' },
      })
    }
    const sha256 = PATH.exec(request.url?.split('?')[0] ?? '')?.[1] ?? ''
    if (!isSha256Hex(sha256)) return problem(response, 'invalid-request', 'an artifact is named by its sha256')
    const token = /^Bearer ([\w.-]+)$/.exec(request.headers.authorization ?? '')?.[1] ?? ''
    const session = await admitBearer(token, keys, clock, revocations)
    if (!session.ok) {
      counters.add('artifact-get', session.error.code)
      return problem(response, session.error.code, session.error.detail, { headers: { 'www-authenticate': 'Bearer' } })
    }
    const allowed = await allowances.spend(session.value.device, () => this.#serve(sha256, request, response))
    if (allowed) return
    counters.add('artifact-get', 'rate-limited')
    problem(response, 'rate-limited', 'too many requests of this device or of all', { headers: RETRY_AFTER })
  }

  async #serve(sha256: string, { headers }: IncomingMessage, response: ServerResponse): Promise<Spent | undefined> {
    const { cache, counters } = this.#parts
    const artifact = await cache.get(sha256)
    counters.add('artifact-get', artifact.ok ? 'served' : artifact.error.code)
    if (!artifact.ok) {
      problem(response, artifact.error.code, artifact.error.detail)
      return undefined
    }
    const content = artifact.value
    const etag = `"${sha256}"`
    // A range of another artifact than the one the client has begun is of no use to it.
    const ifRange = headers['if-range']
    const range = ifRange === undefined || ifRange === etag ? rangeOf(headers.range, content.length) : undefined
    if (range === 'unsatisfiable') {
      const detail = `${headers.range} of ${content.length} bytes`
      problem(response, 'invalid-request', detail, {
        status: 416,
        headers: { 'content-range': `bytes */${content.length}` },
      })
      return undefined
    }
    const [start, end] = range ?? [0, content.length]
    response.writeHead(range === undefined ? 200 : 206, {
      'content-type': 'application/octet-stream',
      'content-length': end - start,
      'accept-ranges': 'bytes',
      etag,
      // A name is a hash, so what it names never changes.
      'cache-control': 'public, max-age=31536000, immutable',
      'x-content-type-options': 'nosniff',
      ...(range && { 'content-range': `bytes ${start}-${end - 1}/${content.length}` }),
    })
    // It is under way until the client has it or is gone.
    const done = Promise.race([once(response, 'finish'), once(response, 'close')])
    response.end(content.subarray(start, end))
    await done.catch(() => undefined)
    const bytes = end - start
    return { requests: Math.max(1, Math.ceil(bytes / LIMITS.blockBytes)), bytes }
  }
}

/** @returns first byte and the one after the last; undefined: no range that could be served alone */
function rangeOf(header: string | undefined, bytes: number): readonly [number, number] | 'unsatisfiable' | undefined {
  const [, first = '', last = ''] = RANGE.exec(header ?? '') ?? []
  if (first === '' && last === '') return undefined
  if (first === '') return Number(last) === 0 ? 'unsatisfiable' : [Math.max(0, bytes - Number(last)), bytes]
  const start = Number(first)
  const end = last === '' ? bytes : Math.min(bytes, Number(last) + 1)
  if (last !== '' && Number(last) < start) return undefined
  return start < bytes ? [start, end] : 'unsatisfiable'
}
