import type { Clock } from '../../contract/clock.ts'
import { contractError } from '../../contract/errors.ts'
import type { SeededRandom } from '../../contract/random.ts'
import { err } from '../../contract/result.ts'
import type { Logger } from '../../platform/logger.ts'
import type { MessageCounters } from '../message-counters.ts'
import type { CloudClient } from './cloud-client.ts'
import type { GatewayIdentity } from './gateway-identity.ts'

/** The token by which the cloud knows a gateway, however it comes by it. */
export interface CloudToken {
  /** empty: none yet */
  readonly current: string
  /** Unix ms by the gateway's clock; undefined: it is not known */
  readonly expiresMs: number | undefined
  /** Whether the token should have been renewed by now and was not. */
  isOverdue(nowMs: number): boolean
  /** Looks after the token until `close`. */
  start(parts: TokenParts): void
  close(): Promise<void>
  /** Renews the token when that is due. */
  look(): Promise<void>
  /** The cloud does not take the token. */
  refused(): void
}

export interface TokenParts {
  readonly cloud: Pick<CloudClient, 'exchange'>
  readonly clock: Clock
  readonly random: SeededRandom
  readonly logger: Logger
  readonly counters: MessageCounters
}

/** chosen: as devices do; half an hour is left for whatever is in the way */
const RENEW_SHARE = 0.5
/** chosen: between two attempts that failed; times a random half to one and a half. The first token is waited for by everything. */
const RETRY_MS = 10_000
const RETRY_MS_MAX = 10 * 60_000

/** The token of a gateway with a key: asked for anew with a proof of the key, long before it ends, and at once where the cloud refuses it.
 *  It is in memory alone. What time it is does not matter: only how long it lives. */
export class KeyedToken implements CloudToken {
  readonly #identity: GatewayIdentity
  #token = ''
  #expiresMs: number | undefined
  /** monotonic */
  #dueMs = Number.NEGATIVE_INFINITY
  #failures = 0
  #parts: TokenParts | undefined
  #running: Promise<void> | undefined
  #cancel: () => void = () => {}

  constructor(identity: GatewayIdentity) {
    this.#identity = identity
  }

  get current(): string {
    return this.#token
  }

  get expiresMs(): number | undefined {
    return this.#expiresMs
  }

  isOverdue(): boolean {
    return this.#failures > 0
  }

  start(parts: TokenParts): void {
    this.#parts = parts
    void this.look()
  }

  close(): Promise<void> {
    this.#cancel()
    this.#parts = undefined
    return this.#running ?? Promise.resolve()
  }

  look(): Promise<void> {
    const parts = this.#parts
    if (parts === undefined) return Promise.resolve()
    const warning = this.#identity.keepToOwner()
    if (warning !== undefined) parts.logger.warn({ path: this.#identity.path }, warning)
    if (parts.clock.monotonicMs() < this.#dueMs) return Promise.resolve()
    this.#running ??= this.#renew(parts).finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  refused(): void {
    // While it asks it is refused too; and what has just failed is not tried again at once.
    if (this.#running !== undefined || this.#failures > 0) return
    this.#dueMs = Number.NEGATIVE_INFINITY
    void this.look()
  }

  async #renew(parts: TokenParts): Promise<void> {
    const { cloud, clock, random, logger, counters } = parts
    const granted = await this.#identity.token(cloud).catch((cause: unknown) => {
      logger.error({ err: cause }, 'the identity of the gateway could not be written')
      return err(contractError('internal', 'the identity could not be written'))
    })
    if (this.#parts === undefined) return
    let waitMs: number
    if (granted.ok) {
      const lifeMs = granted.value.expiresInSeconds * 1000
      this.#token = granted.value.token
      this.#expiresMs = clock.wallMs() + lifeMs
      this.#failures = 0
      waitMs = lifeMs * RENEW_SHARE
      counters.add('service-token', 'renewed')
    } else {
      waitMs = Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** this.#failures++) * (0.5 + random.next())
      counters.add('service-token', 'not-renewed')
      const words = 'the gateway got no token for its key; it asks again'
      logger.warn({ error: granted.error, waitSeconds: Math.round(waitMs / 1000) }, words)
    }
    this.#dueMs = clock.monotonicMs() + waitMs
    this.#cancel()
    this.#cancel = clock.after(waitMs, () => void this.look())
  }
}
