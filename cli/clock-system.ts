import { performance } from 'node:perf_hooks'
import type { Clock } from '../contract/clock.ts'

/** setTimeout fires at once beyond this. */
const TIMEOUT_MS_MAX = 2_147_483_647

/** The machine's own clock. */
export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(Math.max(0, delayMs), TIMEOUT_MS_MAX))
    return () => clearTimeout(timer)
  },
}
