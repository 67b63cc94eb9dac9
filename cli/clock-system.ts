import { performance } from 'node:perf_hooks'
import type { Clock } from '../contract/clock.ts'

/** setTimeout fires at once beyond this, 24.8 days: longer waits are made of several. */
const TIMEOUT_MS_MAX = 2_147_483_647

/** The machine's own clock. */
export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    let timer: NodeJS.Timeout
    const wait = (leftMs: number): void => {
      const part = Math.min(Math.max(0, leftMs), TIMEOUT_MS_MAX)
      timer = setTimeout(() => (leftMs > part ? wait(leftMs - part) : callback()), part)
    }
    wait(delayMs)
    return () => clearTimeout(timer)
  },
}
