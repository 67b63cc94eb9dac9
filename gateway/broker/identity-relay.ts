import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../../contract/clock.ts'
import { isId } from '../../contract/fields.ts'
import { LIMITS } from '../../contract/limits.ts'
import type { CloudClient } from '../cloud-link/cloud-client.ts'
import type { MessageCounters } from '../message-counters.ts'

/** chosen: a device asks for two things an hour; a site behind one address may come back at once after an outage */
const BURST = 200
const PER_SECOND = 5
/** chosen: addresses remembered */
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
  readonly #allowances = new Map<string, { left: number; atMs: number }>()
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
    const state = this.#allowances.get(address) ?? { left: BURST, atMs: now }
    const left = Math.min(BURST, state.left + ((now - state.atMs) * PER_SECOND) / 1000)
    this.#allowances.delete(address)
    this.#allowances.set(address, { left: Math.max(0, left - 1), atMs: now })
    if (this.#allowances.size > ADDRESSES_MAX) this.#allowances.delete(this.#allowances.keys().next().value!)
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
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > LIMITS.identityBytes) return undefined
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  } finally {
    clearTimeout(timer)
  }
}
