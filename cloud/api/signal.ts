import type { Clock } from '../../contract/clock.ts'

/** chosen: one poll a gateway and some to spare; beyond it a poll is answered at once */
const WAITERS_MAX = 512

/** Lets requests wait until something happens, a time passes, or the client goes away. */
export class Signal {
  readonly #clock: Clock
  readonly #waiters = new Set<() => void>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** how many requests wait */
  get waiters(): number {
    return this.#waiters.size
  }

  raise(): void {
    for (const wake of [...this.#waiters]) wake()
  }

  /** Resolves when raised, after `ms` of the injected clock, or when `abort` fires. */
  wait(ms: number, abort?: AbortSignal): Promise<void> {
    if (ms <= 0 || this.#waiters.size >= WAITERS_MAX || abort?.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiters.delete(done)
        cancel()
        abort?.removeEventListener('abort', done)
        resolve()
      }
      const cancel = this.#clock.after(ms, done)
      this.#waiters.add(done)
      abort?.addEventListener('abort', done)
    })
  }
}
