/** chosen: sources remembered; one that is forgotten starts anew, which costs an attacker as many addresses */
const SOURCES_MAX = 10_000

export interface AttemptLimits {
  /** failures that a source may make at once, and how many it gets back a second */
  readonly burst: number
  readonly perSecond: number
}

/** Bounds failed proofs by source. Only failures count: a fleet that comes back after an outage is not held up behind one address. It
 *  bounds work and noise; what keeps a secret is its length. */
export class AttemptLimit {
  readonly #limits: AttemptLimits
  readonly #sources = new Map<string, { left: number; atMs: number }>()

  constructor(limits: AttemptLimits) {
    this.#limits = limits
  }

  /** @param nowMs monotonic
   *  @returns seconds to wait, or 0 when the source may try */
  waitSeconds(source: string, nowMs: number): number {
    const { left } = this.#refilled(source, nowMs)
    return left >= 1 ? 0 : Math.ceil((1 - left) / this.#limits.perSecond)
  }

  failed(source: string, nowMs: number): void {
    const state = this.#refilled(source, nowMs)
    // Moved to the end: the source that was quiet for longest is forgotten first.
    this.#sources.delete(source)
    this.#sources.set(source, { left: Math.max(0, state.left - 1), atMs: nowMs })
    if (this.#sources.size > SOURCES_MAX) this.#sources.delete(this.#sources.keys().next().value!)
  }

  #refilled(source: string, nowMs: number): { left: number; atMs: number } {
    const { burst, perSecond } = this.#limits
    const state = this.#sources.get(source)
    if (state === undefined) return { left: burst, atMs: nowMs }
    return { left: Math.min(burst, state.left + ((nowMs - state.atMs) * perSecond) / 1000), atMs: nowMs }
  }
}
