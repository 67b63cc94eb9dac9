import { LRUCache } from 'lru-cache'
import { TokenBucket, type TokenRate } from '../../platform/token-bucket.ts'

/** chosen: sources remembered; one that is forgotten starts anew, which costs an attacker as many addresses */
const SOURCES_MAX = 10_000

/** Bounds failed proofs by source. Only failures count: a fleet that comes back after an outage is not held up behind one address. It
 *  bounds work and noise; what keeps a secret is its length. */
export class AttemptLimit {
  readonly #failures: TokenRate
  /** The source that has not failed for longest is forgotten first: asking is no use of an entry, failing is. */
  readonly #sources = new LRUCache<string, TokenBucket>({ max: SOURCES_MAX })

  /** @param failures that a source may make */
  constructor(failures: TokenRate) {
    this.#failures = failures
  }

  /** @param nowMs monotonic
   *  @returns seconds to wait, or 0 when the source may try */
  waitSeconds(source: string, nowMs: number): number {
    const left = this.#sources.peek(source)?.left(nowMs) ?? this.#failures.burst
    return left >= 1 ? 0 : Math.ceil((1 - left) / this.#failures.perSecond)
  }

  failed(source: string, nowMs: number): void {
    const attempts = this.#sources.get(source) ?? new TokenBucket(this.#failures, nowMs)
    // No debts: proofs that were under way at once and all failed do not add up to a longer wait.
    attempts.take(Math.min(1, attempts.left(nowMs)))
    this.#sources.set(source, attempts)
  }
}
