import type { IncomingMessage, ServerResponse } from 'node:http'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../../contract/clock.ts'
import { LIMITS } from '../../contract/limits.ts'
import { isId } from '../../contract/topics.ts'
import { readBounded } from '../../platform/bounded-body.ts'
import { TokenBucket } from '../../platform/token-bucket.ts'
import type { CloudClient } from '../cloud-link/cloud-client.ts'
import type { MessageCounters } from '../message-counters.ts'

/** chosen: a device asks for two things an hour; a site behind one address may come back at once after an outage */
const REQUESTS = { perSecond: 5, burst: 200 }
/** chosen: addresses remembered; the one that was quiet for longest is forgotten and starts anew */
const ADDRESSES_MAX = 10_000
/** chosen: requests of all devices under way */
const UNDER_WAY_MAX = 64
/** chosen: longer than a slow radio takes for 700 bytes */
const BODY_TIMEOUT_MS = 20_000

/** The requests about identity that a device which reaches only its gateway makes here, at the port of MQTT over WebSocket, and that
 *  the gateway carries to the cloud as they are. It cannot use them: each is signed by a key it does not have over a challenge of the
 *  cloud, and no secret is in them. What it sees is the token, which it is to be shown anyway. */
export class IdentityRelay {
  readonly #clock: Clock
  readonly #cloud: CloudClient
  readonly #counters: MessageCounters
  readonly #allowances = new LRUCache<string, TokenBucket>({ max: ADDRESSES_MAX })
  #underWay = 0

  constructor(parts: { readonly clock: Clock; readonly cloud: CloudClient; readonly counters: MessageCounters }) {
    this.#clock = parts.clock
    this.#cloud = parts.cloud
    this.#counters = parts.counters
  }

  /** Answers a request of the device-facing HTTP port; whatever is not about identity is told to speak WebSocket. */
  readonly answer = (request: IncomingMessage, response: ServerResponse): void => {
    this.#answer(request, response).catch(() => response.destroy())
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? ''
    if (request.method !== 'POST' || !isRelayed(path)) {
      response.writeHead(426, { connection: 'close' }).end()
      return
    }
    const address = request.socket.remoteAddress ?? 'unknown'
    if (!this.#mayAsk(address))
      return this.#refuse(response, 429, 'rate-limited', 'too many requests from this address')
    if (this.#underWay >= UNDER_WAY_MAX) return this.#refuse(response, 503, 'unavailable', 'too many requests at once')
    this.#underWay++
    try {
      const body = await readBody(request)
      if (body === undefined) return this.#refuse(response, 413, 'too-large', `more than ${LIMITS.identityBytes} bytes`)
      const answer = await this.#cloud.relay(path, body, LIMITS.identityBytes)
      if (!answer.ok) return this.#refuse(response, 503, 'unavailable', 'the cloud does not answer')
      const { status, type, body: content } = answer.value
      this.#counters.add('identity', status < 300 ? 'relayed' : 'refused')
      response.writeHead(status, { 'content-type': type }).end(content)
    } finally {
      this.#underWay--
    }
  }

  #mayAsk(address: string): boolean {
    const now = this.#clock.monotonicMs()
    let allowance = this.#allowances.get(address)
    if (allowance === undefined) {
      allowance = new TokenBucket(REQUESTS, now)
      this.#allowances.set(address, allowance)
    }
    const left = allowance.left(now)
    // A refused request takes what there is of one, so that an address that does not let up gets nothing.
    allowance.take(Math.min(1, left))
    return left >= 1
  }

  #refuse(response: ServerResponse, status: number, code: string, detail: string): void {
    this.#counters.add('identity', code)
    const body = JSON.stringify({ type: `urn:kinglet:error:${code}`, title: code, status, code, detail })
    response.writeHead(status, { 'content-type': 'application/problem+json', connection: 'close' }).end(body)
  }
}

function isRelayed(path: string): boolean {
  if (path === '/v1/challenges' || path === '/v1/enrolments') return true
  const [, device = '', what] = /^\/v1\/devices\/([^/]*)\/(token|key)$/.exec(path) ?? []
  return what !== undefined && isId(device)
}

async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  // Socket time: a device that stops in mid-request must not hold one of the places.
  const timer = setTimeout(() => request.destroy(), BODY_TIMEOUT_MS)
  try {
    return await readBounded(request, LIMITS.identityBytes)
  } finally {
    clearTimeout(timer)
  }
}
