import type { IncomingMessage } from 'node:http'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../../contract/clock.ts'
import { DEVICE_ADDRESS_HEADER } from '../../contract/enrolment.ts'
import { contractError, type ErrorCode } from '../../contract/errors.ts'
import { canonicalId } from '../../contract/id.ts'
import { LIMITS } from '../../contract/limits.ts'
import { readBounded } from '../../platform/bounded-body.ts'
import type { Logger } from '../../platform/logger.ts'
import { problemResponse } from '../../platform/problem-response.ts'
import { TokenBucket } from '../../platform/token-bucket.ts'
import type { CloudClient } from '../cloud-link/cloud-client.ts'
import type { MessageCounters } from '../message-counters.ts'
import { type HttpApp, type HttpContext, httpApp, onPost } from '../route.ts'
import { networkOf } from './network.ts'
import { Turnstile } from './turnstile.ts'

/** chosen: a device asks for two things an hour; a site behind one address may come back at once after an outage */
const REQUESTS = { perSecond: 5, burst: 200 }
/** chosen: addresses remembered; the one that was quiet for longest is forgotten and starts anew */
const ADDRESSES_MAX = 10_000
/** chosen: requests of all devices under way to the cloud; each ends with the cloud's answer or CloudClient's patience */
const UNDER_WAY_MAX = 64
/** chosen: whole requests of one address that wait for such a place, of a site behind one address that comes back at once */
const WAITING_MAX = 200
/** chosen: longer than a slow radio takes for 700 bytes */
const BODY_TIMEOUT_MS = 20_000

/** The requests about identity that a device which reaches only its gateway makes here, at the port of MQTT over WebSocket, and that
 *  the gateway carries to the cloud as they are. It cannot use them: each is signed by a key it does not have over a challenge of the
 *  cloud, and no secret is in them. It says whose they are by address, so that one that fails uses up nobody else's attempts. What it sees is the token, which it is to be shown anyway. */
export class IdentityRelay {
  readonly #clock: Clock
  readonly #cloud: CloudClient
  readonly #counters: MessageCounters
  readonly #allowances = new LRUCache<string, TokenBucket>({ max: ADDRESSES_MAX })
  /** A place there is for whole requests only: who never ends one holds up nobody. The addresses take turns. */
  readonly #turnstile = new Turnstile(UNDER_WAY_MAX)

  constructor(parts: { readonly clock: Clock; readonly cloud: CloudClient; readonly counters: MessageCounters }) {
    this.#clock = parts.clock
    this.#cloud = parts.cloud
    this.#counters = parts.counters
  }

  /** Answers what comes to the device-facing HTTP port; whatever is not about identity is told to speak WebSocket. */
  app(logger: Logger): HttpApp {
    const app = httpApp(logger, () => new Response(null, { status: 426, headers: { connection: 'close' } }))
    for (const path of ['/v1/challenges', '/v1/enrolments']) onPost(app, path, (c) => this.#carry(c, path))
    onPost(app, '/v1/devices/:device/:what{token|key}', (c) => {
      const { device = '', what } = c.req.param()
      const id = canonicalId(device)
      return id === undefined ? c.notFound() : this.#carry(c, `/v1/devices/${encodeURIComponent(id)}/${what}`)
    })
    return app
  }

  async #carry({ env: { incoming } }: HttpContext, path: string): Promise<Response> {
    const { remoteAddress: address = 'unknown' } = incoming.socket
    const network = networkOf(address)
    const body = await readBody(incoming)
    if (body === 'gone') {
      this.#counters.add('identity', 'gone')
      return new Response(null, { status: 408 })
    }
    if (body === undefined) return this.#refuse('too-large', `more than ${LIMITS.identityBytes} bytes`)
    // What counts are whole requests: those that never end are bounded as connections are (strangers.ts).
    if (!this.#mayAsk(network)) return this.#refuse('rate-limited', 'too many requests from this address')
    if (this.#turnstile.waitingOf(network) >= WAITING_MAX)
      return this.#refuse('unavailable', 'too many requests at once')
    return this.#turnstile.pass(network, async () => {
      if (incoming.socket.destroyed) return new Response(null, { status: 408 })
      const answer = await this.#cloud.relay(path, body, LIMITS.identityBytes, { [DEVICE_ADDRESS_HEADER]: address })
      if (!answer.ok) return this.#refuse('unavailable', 'the cloud does not answer')
      const { status, type, body: content } = answer.value
      this.#counters.add('identity', status < 300 ? 'relayed' : 'refused')
      return new Response(content, { status, headers: { 'content-type': type } })
    })
  }

  #mayAsk(address: string): boolean {
    const now = this.#clock.monotonicMs()
    let allowance = this.#allowances.get(address)
    if (allowance === undefined) {
      allowance = new TokenBucket(REQUESTS, now)
      this.#allowances.set(address, allowance)
    }
    if (allowance.left(now) < 1) return false
    // A refused request takes nothing: others behind the same address have their share of what comes back.
    allowance.take(1)
    return true
  }

  #refuse(code: ErrorCode, detail: string): Response {
    this.#counters.add('identity', code)
    return problemResponse(contractError(code, detail), { headers: { connection: 'close' } })
  }
}

/** Reads the socket's own stream: it is what a deadline can end.
 *  @returns undefined when it is longer than it may be, "gone" when it did not end in time or its sender is gone */
async function readBody(request: IncomingMessage): Promise<Buffer | 'gone' | undefined> {
  // Socket time: a device that stops in mid-request must not hold one of the places.
  const timer = setTimeout(() => request.destroy(), BODY_TIMEOUT_MS)
  try {
    return await readBounded(request as AsyncIterable<Uint8Array>, LIMITS.identityBytes)
  } catch {
    return 'gone'
  } finally {
    clearTimeout(timer)
  }
}
