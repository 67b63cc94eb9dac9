import { describe, expect, it } from 'vitest'
import { AttemptLimit } from '../../../../cloud/trust/attempt-limit.ts'

describe('failed proofs of a source', () => {
  it('are allowed in a burst and come back with time; asking costs nothing', () => {
    const limit = new AttemptLimit({ burst: 3, perSecond: 0.5 })
    for (let i = 0; i < 3; i++) {
      expect(limit.waitSeconds('a', 0)).toBe(0)
      limit.failed('a', 0)
    }
    expect(limit.waitSeconds('a', 0)).toBe(2)
    expect(limit.waitSeconds('b', 0)).toBe(0)
    expect(limit.waitSeconds('a', 2_000)).toBe(0)
  })

  it('that were under way at once add up to no longer wait than one', () => {
    const limit = new AttemptLimit({ burst: 1, perSecond: 1 })
    for (let i = 0; i < 50; i++) limit.failed('a', 0)
    expect(limit.waitSeconds('a', 0)).toBe(1)
  })

  it('are forgotten past 10 000 sources: first of the one that has not failed for longest, however often it asked', () => {
    const limit = new AttemptLimit({ burst: 1, perSecond: 0.001 })
    for (let i = 0; i < 10_000; i++) limit.failed(`s${i}`, 0)
    limit.failed('s0', 0)
    expect(limit.waitSeconds('s1', 0)).toBe(1_000)
    limit.failed('new', 0)
    expect(limit.waitSeconds('s1', 0)).toBe(0)
    expect(limit.waitSeconds('s0', 0)).toBe(1_000)
    expect(limit.waitSeconds('s2', 0)).toBe(1_000)
  })
})
