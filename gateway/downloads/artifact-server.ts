import type { ServerResponse } from 'node:http'
import { bearerToken } from '../../contract/bearer.ts'
import { type RangeRequest, servedBytes } from '../../contract/byte-range.ts'
import type { Clock } from '../../contract/clock.ts'
import { contractError } from '../../contract/errors.ts'
import { isSha256Hex } from '../../contract/fields.ts'
import { LIMITS } from '../../contract/limits.ts'
import { problemResponse } from '../../platform/problem-response.ts'
import { admitBearer } from '../broker/admission.ts'
import type { KeySource } from '../broker/key-source.ts'
import type { Revocations } from '../broker/revocations.ts'
import type { MessageCounters } from '../message-counters.ts'
import { fetchProblem, type HttpContext } from '../route.ts'
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

/** chosen: a second of the default allowance */
const RETRY_AFTER = { 'retry-after': '1' }

/** `GET /v1/artifacts/{sha256}` with a device token: the same artifacts as over MQTT, for devices that speak HTTP, from the same cache and
 *  under the same allowance, in which a request costs as many as it has blocks, and HEAD one. */
export class ArtifactServer {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async answer(c: HttpContext): Promise<Response> {
    const { counters, keys, clock, revocations, allowances } = this.#parts
    const sha256 = c.req.param('sha256') ?? ''
    if (!isSha256Hex(sha256)) {
      return problemResponse(contractError('invalid-request', 'an artifact is named by its sha256'))
    }
    const token = bearerToken(c.req.header('authorization')) ?? ''
    const session = await admitBearer(token, keys, clock, revocations)
    if (!session.ok) {
      counters.add('artifact-get', session.error.code)
      return problemResponse(session.error, { headers: { 'www-authenticate': 'Bearer' } })
    }
    const underWay = allowances.begin(session.value.device)
    if (underWay === undefined) {
      counters.add('artifact-get', 'rate-limited')
      const error = contractError('rate-limited', 'too many requests of this device or of all')
      return problemResponse(error, { headers: RETRY_AFTER })
    }
    let spent: Spent | undefined
    try {
      const { method } = c.req
      const answer = await this.#read(sha256, session.value.device, {
        method,
        range: c.req.header('range'),
        ifRange: c.req.header('if-range'),
        ifNoneMatch: c.req.header('if-none-match'),
      })
      spent = answer.spent
      return answer.response
    } finally {
      // It is under way until the client has it or is gone.
      if (spent === undefined) underWay.end(undefined)
      else whenDone(c.env.outgoing, () => underWay.end(spent))
    }
  }

  async #read(sha256: string, device: string, request: RangeRequest): Promise<{ response: Response; spent?: Spent }> {
    const { cache, counters } = this.#parts
    const artifact = await cache.get(sha256, device)
    counters.add('artifact-get', artifact.ok ? 'served' : artifact.error.code)
    if (!artifact.ok) return { response: fetchProblem(artifact.error) }
    const content = artifact.value
    const part = servedBytes(request, `"${sha256}"`, content.length)
    if (part.status === 416) {
      const error = contractError('invalid-request', `${request.range} of ${content.length} bytes`)
      return { response: problemResponse(error, part) }
    }
    // A name is a hash, so what it names never changes.
    const cached = { 'cache-control': 'public, max-age=31536000, immutable', ...part.headers }
    if (part.status === 304)
      return { response: new Response(null, { status: 304, headers: cached }), spent: { requests: 1, bytes: 0 } }
    const { status, start, end } = part
    const headers = { 'content-type': 'application/octet-stream', 'x-content-type-options': 'nosniff', ...cached }
    const response = new Response(content.subarray(start, end), { status, headers })
    const bytes = request.method === 'GET' ? end - start : 0
    return { response, spent: { requests: Math.max(1, Math.ceil(bytes / LIMITS.blockBytes)), bytes } }
  }
}

/** Calls back when a response has been handed to the socket, or its client has gone, perhaps before it was begun. */
function whenDone(response: Pick<ServerResponse, 'closed' | 'once'>, callback: () => void): void {
  if (response.closed) callback()
  else response.once('close', callback)
}
