import type { Clock } from '../contract/clock.ts'

interface Timer {
  readonly dueMs: number
  readonly order: number
  readonly callback: () => void
}

/** Time that moves only when told to: a simulation without a network runs as fast as the machine can. */
export class VirtualClock implements Clock {
  #nowMs: number
  readonly #startMs: number
  #order = 0
  #timers: Timer[] = []

  /** @param startMs wall time at the start, Unix ms */
  constructor(startMs: number) {
    this.#nowMs = startMs
    this.#startMs = startMs
  }

  wallMs(): number {
    return this.#nowMs
  }

  monotonicMs(): number {
    return this.#nowMs - this.#startMs
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { dueMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, callback }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }

  /** Moves time forward and runs the timers that fall due, in order of their time. */
  advanceTo(wallMs: number): void {
    for (;;) {
      let next: Timer | undefined
      for (const timer of this.#timers) {
        if (timer.dueMs > wallMs) continue
        if (
          next === undefined ||
          timer.dueMs < next.dueMs ||
          (timer.dueMs === next.dueMs && timer.order < next.order)
        ) {
          next = timer
        }
      }
      if (next === undefined) break
      const due = next
      this.#timers = this.#timers.filter((other) => other !== due)
      this.#nowMs = Math.max(this.#nowMs, due.dueMs)
      due.callback()
    }
    this.#nowMs = Math.max(this.#nowMs, wallMs)
  }
}
