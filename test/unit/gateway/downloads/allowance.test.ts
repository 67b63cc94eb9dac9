import { describe, expect, it } from 'vitest'
import { Allowances, type Spent, type TotalLimits, type UnderWay } from '../../../../gateway/downloads/allowance.ts'
import { WaitedClock } from '../../../fixtures/timers.ts'

const LIMITS = { concurrent: 2, perSecond: 1, burst: 3 }
const ONE: Spent = { requests: 1, bytes: 100 }

function world(total?: TotalLimits, limits = LIMITS) {
  const clock = new WaitedClock()
  const allowances = new Allowances(clock, limits, total)
  const begin = (device = 'd1') => allowances.begin(device)
  /** Requests that begin and end at once. @returns how many of `count` there might be */
  const spends = (count: number, device = 'd1', spent: Spent | 'nothing' = ONE) => {
    let made = 0
    for (let i = 0; i < count; i++) {
      const underWay = begin(device)
      underWay?.end(spent === 'nothing' ? undefined : spent)
      if (underWay !== undefined) made++
    }
    return made
  }
  return { clock, allowances, begin, spends }
}

describe('the allowance of a device', () => {
  it('is a burst, and then so many a second of its own', () => {
    const { clock, spends } = world()
    expect(spends(10)).toBe(3)
    expect(spends(10, 'd2')).toBe(3)
    clock.nowMs = 999
    expect(spends(1)).toBe(0)
    clock.nowMs = 1_000
    expect(spends(2)).toBe(1)
    clock.nowMs = 100_000
    expect(spends(10)).toBe(3)
  })

  it('is spent by what a request has cost, at its end; a debt is made up for', () => {
    const { clock, spends } = world()
    expect(spends(1, 'd1', { requests: 5, bytes: 0 })).toBe(1)
    // 3 - 5: two are owed, and the one after them takes a third second.
    clock.nowMs = 2_999
    expect(spends(1)).toBe(0)
    clock.nowMs = 3_000
    expect(spends(1)).toBe(1)
  })

  it('is spent by one by a request that came to nothing', () => {
    const { spends } = world()
    expect(spends(10, 'd1', 'nothing')).toBe(3)
  })

  it('has so many under way at a time; the end of one makes room once', () => {
    const { begin } = world(undefined, { concurrent: 2, perSecond: 1, burst: 100 })
    const first = begin()
    expect(first).toBeDefined()
    const second = begin()
    expect([begin(), begin()]).toEqual([undefined, undefined])
    expect(begin('d2')).toBeDefined()
    first?.end(ONE)
    first?.end(ONE)
    const third = begin()
    expect(third).toBeDefined()
    expect(begin()).toBeUndefined()
    second?.end(undefined)
    third?.end(undefined)
    expect(begin()).toBeDefined()
  })
})

describe('the allowance of all', () => {
  const total: TotalLimits = { concurrent: 3, bytesPerSecond: 100, burstBytes: 1_000 }
  const each = { concurrent: 10, perSecond: 1_000, burst: 1_000 }

  it('has so many under way at a time, whoever they are', () => {
    const { begin } = world(total, each)
    const underWay: (UnderWay | undefined)[] = ['d1', 'd2', 'd3'].map((device) => begin(device))
    expect(begin('d4')).toBeUndefined()
    underWay[0]?.end(undefined)
    expect(begin('d4')).toBeDefined()
  })

  it('is spent in bytes; what goes past it is waited for by all', () => {
    const { clock, spends } = world(total, each)
    expect(spends(1, 'd1', { requests: 1, bytes: 1_100 })).toBe(1)
    // 1 000 - 1 100: a second for the debt, and 10 ms for a byte.
    clock.nowMs = 1_009
    expect(spends(1, 'd2')).toBe(0)
    clock.nowMs = 1_010
    expect(spends(1, 'd2')).toBe(1)
  })

  it('costs a device nothing of its own when it is refused for it', () => {
    const { begin, spends } = world({ ...total, concurrent: 1 }, LIMITS)
    const other = begin('d2')
    expect(spends(5)).toBe(0)
    other?.end(undefined)
    expect(spends(5)).toBe(3)
  })

  it('is not spent by what came to nothing', () => {
    const { spends } = world({ ...total, burstBytes: 1 }, each)
    expect(spends(5, 'd1', 'nothing')).toBe(5)
    expect(spends(5, 'd1', { requests: 1, bytes: 1 })).toBe(1)
  })
})

describe('a request', () => {
  it('is run if it may be, and only then', async () => {
    const { allowances } = world()
    let ran = 0
    const request = async () => {
      ran++
      return ONE
    }
    const allowed: boolean[] = []
    for (let i = 0; i < 4; i++) allowed.push(await allowances.spend('d1', request))
    expect([allowed, ran]).toEqual([[true, true, true, false], 3])
  })

  it('that throws has ended', async () => {
    const { allowances, begin } = world(undefined, { concurrent: 1, perSecond: 1, burst: 100 })
    const thrown = allowances.spend('d1', () => Promise.reject(new Error('broken')))
    expect(begin()).toBeUndefined()
    await expect(thrown).rejects.toThrow('broken')
    expect(begin()).toBeDefined()
  })
})

describe('of what all have together, when it is not enough,', () => {
  const total: TotalLimits = { concurrent: 1_000, bytesPerSecond: 1_000, burstBytes: 1_000 }
  const ample = { concurrent: 1_000, perSecond: 1e6, burst: 1e6 }

  it('a device that asks without end gets its part, and one that asks for its part gets that', () => {
    const { clock, spends } = world(total, ample)
    let [flood, honest, asked] = [0, 0, 0]
    for (clock.nowMs = 0; clock.nowMs < 60_000; clock.nowMs += 10) {
      flood += spends(5, 'flood')
      if (clock.nowMs % 250 !== 0) continue
      asked++
      honest += spends(1, 'd1')
    }
    // Four a second of a hundred bytes are less than half.
    expect(asked).toBe(240)
    expect(honest).toBeGreaterThan(225)
    expect(flood * 100).toBeGreaterThan(60_000 * 0.45)
  })

  it('what a large request took beyond its part is owed', () => {
    const { clock, spends } = world(total, ample)
    spends(1, 'd1')
    expect(spends(1, 'flood', { requests: 1, bytes: 5_000 })).toBe(1)
    const turns: string[] = []
    for (clock.nowMs = 0; clock.nowMs < 8_000; clock.nowMs += 100) {
      for (const device of ['flood', 'd1']) if (spends(1, device) > 0) turns.push(device)
    }
    // The other has its part of each second first; what nobody has a claim to is anybody's.
    expect(turns.slice(0, 5)).toEqual(new Array(5).fill('d1'))
    const of = (device: string) => turns.filter((turn) => turn === device).length
    expect(of('d1')).toBeGreaterThanOrEqual(of('flood'))
  })

  it('a device that is alone has all of it', () => {
    const { clock, spends } = world(total, ample)
    let alone = 0
    for (clock.nowMs = 0; clock.nowMs < 20_000; clock.nowMs += 10) alone += spends(1)
    expect(alone * 100).toBeGreaterThan(19_000)
  })
})
