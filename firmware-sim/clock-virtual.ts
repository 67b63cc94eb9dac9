import type { Clock } from '../contract/clock.ts'

interface Timer {
  readonly dueMs: number
  /** breaks ties: timers of the same time run in the order they were set */
  readonly order: number
  callback: (() => void) | undefined
}

const isBefore = (a: Timer, b: Timer): boolean => a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order)

/** Time that moves only when told to: a simulation without a network runs as fast as the machine can. Timers are kept in a binary
 *  heap; a cancelled one stays until its time comes, empty. */
export class VirtualClock implements Clock {
  readonly #startMs: number
  readonly #heap: Timer[] = []
  #nowMs: number
  #order = 0

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
    const timer: Timer = { dueMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, callback }
    this.#push(timer)
    return () => {
      timer.callback = undefined
    }
  }

  /** Moves time forward and runs the timers that fall due, in order of their time. Time never goes back. */
  advanceTo(wallMs: number): void {
    for (let next = this.#heap[0]; next !== undefined && next.dueMs <= wallMs; next = this.#heap[0]) {
      this.#pop()
      if (next.callback === undefined) continue
      this.#nowMs = Math.max(this.#nowMs, next.dueMs)
      next.callback()
    }
    this.#nowMs = Math.max(this.#nowMs, wallMs)
  }

  #push(timer: Timer): void {
    const heap = this.#heap
    let at = heap.push(timer) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(heap[at]!, heap[parent]!)) return
      ;[heap[at], heap[parent]] = [heap[parent]!, heap[at]!]
      at = parent
    }
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    heap[0] = last
    for (let at = 0; ; ) {
      const left = 2 * at + 1
      const right = left + 1
      let least = at
      if (left < heap.length && isBefore(heap[left]!, heap[least]!)) least = left
      if (right < heap.length && isBefore(heap[right]!, heap[least]!)) least = right
      if (least === at) return
      ;[heap[at], heap[least]] = [heap[least]!, heap[at]!]
      at = least
    }
  }
}
