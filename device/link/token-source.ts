import type { Clock } from '../../contract/clock.ts'
import type { ContractError } from '../../contract/errors.ts'
import type { SeededRandom } from '../../contract/random.ts'
import type { Result } from '../../contract/result.ts'
import type { GrantedToken } from './identity-protocol.ts'

/** chosen: a fifth of an hour is left for a cloud that is away for minutes */
const RENEW_SHARE = 0.8
/** chosen: doubling from 5 s to 10 min, less up to half at random so that a fleet does not return as one */
const RETRY_MS_MIN = 5_000
const RETRY_MS_MAX = 10 * 60_000

/** Keeps a valid token: fetches the next one well before the end, by durations alone since a device may not know the time, and at once
 *  when the gateway has refused the present one. */
export class TokenSource {
  readonly #fetch: () => Promise<Result<GrantedToken, ContractError>>
  readonly #clock: Clock
  readonly #random: SeededRandom
  readonly #told: (error: ContractError | undefined) => void
  #token = ''
  #failures = 0
  #fetching: Promise<void> | undefined
  #askedMs = Number.NEGATIVE_INFINITY
  #cancel: () => void = () => undefined
  #closed = false

  /** @param told after each attempt: what went wrong, or undefined */
  constructor(
    fetch: () => Promise<Result<GrantedToken, ContractError>>,
    clock: Clock,
    random: SeededRandom,
    told: (error: ContractError | undefined) => void = () => undefined,
  ) {
    this.#fetch = fetch
    this.#clock = clock
    this.#random = random
    this.#told = told
  }

  /** The newest token; empty before the first. */
  get current(): string {
    return this.#token
  }

  /** Fetches the first token; resolves after one attempt, and goes on trying. */
  start(): Promise<void> {
    return this.#renew()
  }

  /** The gateway has refused the token: another one is fetched, unless that was tried a moment ago. */
  refused(): void {
    if (this.#clock.monotonicMs() - this.#askedMs >= RETRY_MS_MIN) void this.#renew()
  }

  close(): void {
    this.#closed = true
    this.#cancel()
  }

  #renew(): Promise<void> {
    this.#fetching ??= this.#attempt().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  async #attempt(): Promise<void> {
    this.#cancel()
    this.#askedMs = this.#clock.monotonicMs()
    const granted = await this.#fetch()
    if (this.#closed) return
    let nextMs: number
    if (granted.ok) {
      this.#token = granted.value.token
      this.#failures = 0
      nextMs = granted.value.expiresInSeconds * 1000 * RENEW_SHARE
    } else {
      nextMs = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** this.#failures) * (1 - this.#random.next() / 2)
      this.#failures = Math.min(this.#failures + 1, 16)
    }
    this.#cancel = this.#clock.after(nextMs, () => void this.#renew())
    this.#told(granted.ok ? undefined : granted.error)
  }
}
