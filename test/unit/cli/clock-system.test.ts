import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { systemClock } from '../../../cli/clock-system.ts'

const DAY_MS = 86_400_000

describe("the machine's clock", () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('waits longer than the 24.8 days of setTimeout', () => {
    let fired = 0
    systemClock.after(90 * DAY_MS, () => fired++)
    vi.advanceTimersByTime(89 * DAY_MS)
    expect(fired).toBe(0)
    vi.advanceTimersByTime(DAY_MS)
    expect(fired).toBe(1)
  })

  it('can be cancelled in any part of a long wait, and runs at once for what is overdue', () => {
    let fired = 0
    const cancel = systemClock.after(90 * DAY_MS, () => fired++)
    vi.advanceTimersByTime(50 * DAY_MS)
    cancel()
    vi.advanceTimersByTime(90 * DAY_MS)
    expect(fired).toBe(0)
    systemClock.after(-5, () => fired++)
    vi.advanceTimersByTime(1)
    expect(fired).toBe(1)
  })
})
