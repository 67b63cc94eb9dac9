import type { Clock } from '../../contract/clock.ts'

/** setTimeout fires at once beyond this, 24.8 days; the longest wait of an agent is a day. */
const TIMEOUT_MS_MAX = 2_147_483_647

/** The browser's clock. */
export const pageClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    if (delayMs > TIMEOUT_MS_MAX) throw new RangeError(`a page waits no ${delayMs} ms`)
    const timer = setTimeout(callback, Math.max(0, delayMs))
    return () => clearTimeout(timer)
  },
}
