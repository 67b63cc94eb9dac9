import type { Clock } from '../../contract/clock.ts'
import type { SeededRandom } from '../../contract/random.ts'

export interface RetryLimits {
  readonly firstMs: number
  readonly maxMs: number
}

/** chosen: a short first pause, since most failures are a restart; at most a minute, so that a cloud that is back is used */
const RETRY_LIMITS: RetryLimits = { firstMs: 500, maxMs: 60_000 }

/** Exponential back-off with full jitter, so that many gateways do not come back in step.
 *  @see M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 */
export class Retry {
  readonly #clock: Clock
  readonly #random: SeededRandom
  readonly #limits: RetryLimits
  #attempt = 0
  #closed = false
  #wake: (() => void) | undefined
  #running: Promise<void> | undefined

  constructor(clock: Clock, random: SeededRandom, limits: RetryLimits = RETRY_LIMITS) {
    this.#clock = clock
    this.#random = random
    this.#limits = limits
  }

  succeeded(): void {
    this.#attempt = 0
  }

  /** Waits for a uniformly random part of the current bound, at least a tenth of the first; ends early at `close`. */
  pause(): Promise<void> {
    const { firstMs, maxMs } = this.#limits
    const bound = Math.min(maxMs, firstMs * 2 ** Math.min(this.#attempt++, 30))
    return this.wait(Math.max(firstMs / 10, bound * this.#random.next()))
  }

  /** Waits that long of the injected clock; ends early at `close`. */
  async wait(delayMs: number): Promise<void> {
    if (this.#closed) return
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.after(delayMs, resolve)
      this.#wake = () => {
        cancel()
        resolve()
      }
    })
    this.#wake = undefined
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** Takes one turn after the other until `close`. A turn waits by itself. */
  start(turn: () => Promise<void>): void {
    const run = async (): Promise<void> => {
      while (!this.#closed) await turn()
    }
    this.#running = run()
  }

  /** Ends a wait, and is done when the turn under way is. @throws what a turn has thrown */
  async close(): Promise<void> {
    this.#closed = true
    this.#wake?.()
    await this.#running
  }
}
