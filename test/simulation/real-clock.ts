import { performance } from 'node:perf_hooks'
import type { Clock } from '../../contract/clock.ts'

/** The machine's clock, for simulations that yield to it now and then. */
export const realClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    return () => clearTimeout(timer)
  },
}
