export interface TokenRate {
  /** how many come back a second */
  readonly perSecond: number
  /** how many may be saved up, and how many there are at first */
  readonly burst: number
}

/** A share that fills up again with time. Times are monotonic ms of one clock, never falling. */
export class TokenBucket {
  readonly #rate: TokenRate
  #left: number
  #filledMs: number

  constructor(rate: TokenRate, nowMs: number) {
    this.#rate = rate
    this.#left = rate.burst
    this.#filledMs = nowMs
  }

  /** What may be taken now, in fractions too; at most `burst`, below 0 while a debt is being made up for. */
  left(nowMs: number): number {
    const { perSecond, burst } = this.#rate
    this.#left = Math.min(burst, this.#left + ((nowMs - this.#filledMs) * perSecond) / 1000)
    this.#filledMs = nowMs
    return this.#left
  }

  /** Takes more than is left, too: what comes after waits until that is made up for. */
  take(amount: number): void {
    this.#left -= amount
  }
}
