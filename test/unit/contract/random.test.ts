import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../../contract/random.ts'

describe('seededRandom', () => {
  it('repeats itself for a seed and differs for another', () => {
    const draw = (seed: number) =>
      Array.from(
        { length: 4 },
        (
          (random) => () =>
            random.next()
        )(seededRandom(seed)),
      )
    expect(draw(7)).toEqual(draw(7))
    expect(draw(7)).not.toEqual(draw(8))
  })

  it('a fork depends on seed and label alone, not on what was drawn before', () => {
    const parent = seededRandom(7)
    const early = parent.fork('device-1').next()
    parent.next()
    expect(parent.fork('device-1').next()).toBe(early)
    expect(parent.fork('device-2').next()).not.toBe(early)
    expect(seededRandom(8).fork('device-1').next()).not.toBe(early)
  })

  it('is uniform enough for arms and jitter, also over forks', () => {
    const root = seededRandom(1)
    for (const draws of [
      Array.from({ length: 10_000 }, () => root.next()),
      Array.from({ length: 10_000 }, (_, i) => root.fork(`device-${i}`).next()),
    ]) {
      expect(draws.every((value) => value >= 0 && value < 1)).toBe(true)
      expect(draws.reduce((sum, value) => sum + value, 0) / draws.length).toBeCloseTo(0.5, 1)
      const bins = new Array(10).fill(0) as number[]
      for (const value of draws) bins[Math.floor(value * 10)]! += 1
      for (const count of bins) expect(Math.abs(count - 1000)).toBeLessThan(150)
    }
  })
})
