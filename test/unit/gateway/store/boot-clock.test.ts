import { describe, expect, it } from 'vitest'
import { type BootClock, hearUptime, momentOf, uptimeOf } from '../../../../gateway/store/boot-clock.ts'

const HOUR = 3_600_000
const T0 = 1_700_000_000_000
const clock = (more: Partial<BootClock> = {}): BootClock => ({
  ...{ startedMs: undefined, uptimeMs: 0, wallOffsetMs: undefined },
  ...more,
})

describe('a boot', () => {
  it('began when its quickest message allows, in whatever order they come', () => {
    const boot = clock()
    expect(momentOf(boot, undefined, HOUR)).toBeUndefined()
    expect(hearUptime(boot, T0 + 9 * HOUR, 2 * HOUR)).toBe(true)
    expect(momentOf(boot, undefined, 2 * HOUR)).toBe(T0 + 9 * HOUR)
    hearUptime(boot, T0 + 3 * HOUR + 400, 3 * HOUR)
    hearUptime(boot, T0 + 7 * HOUR, HOUR)
    expect(boot).toMatchObject({ startedMs: T0 + 400, uptimeMs: 3 * HOUR })
    expect(hearUptime(boot, T0 + 7 * HOUR, HOUR)).toBe(false)
  })

  it('is not moved by a message of which nobody knows when it came', () => {
    const boot = clock()
    hearUptime(boot, 0, HOUR)
    expect(boot).toMatchObject({ startedMs: undefined, uptimeMs: HOUR })
    hearUptime(boot, T0, 0)
    hearUptime(boot, 0, 5 * HOUR)
    expect(boot).toMatchObject({ startedMs: T0, uptimeMs: 5 * HOUR })
  })

  it('was over when the next one began', () => {
    const boot = clock({ startedMs: T0 + 8 * HOUR, uptimeMs: 3 * HOUR })
    expect(momentOf(boot, clock({ startedMs: T0 + 9 * HOUR }), 2 * HOUR)).toBe(T0 + 8 * HOUR)
    expect(momentOf(boot, clock(), 2 * HOUR)).toBe(T0 + 10 * HOUR)
    expect(momentOf(boot, clock({ startedMs: HOUR }), 0)).toBe(0)
  })
})

describe('the uptime of a wake of an old device', () => {
  it('is that of its wall clock, else of its receipt, else unknown; never below nothing', () => {
    const boot = clock({ startedMs: T0, uptimeMs: HOUR, wallOffsetMs: 1_000 })
    expect(uptimeOf(boot, 6_000, T0 + 9_000)).toBe(5_000)
    expect(uptimeOf(boot, 500, T0)).toBe(0)
    expect(uptimeOf(boot, 0, T0 + 9_000)).toBe(9_000)
    expect(uptimeOf({ ...boot, wallOffsetMs: undefined }, 6_000, T0 - 1)).toBe(0)
    expect(uptimeOf(boot, 0, 0)).toBeUndefined()
    expect(uptimeOf(clock({ uptimeMs: HOUR }), 0, T0)).toBeUndefined()
  })
})
