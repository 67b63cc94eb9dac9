import { describe, expect, it } from 'vitest'
import { poisson, wilson } from '../../../../cli/model/intervals.ts'

describe('wilson', () => {
  it.each([
    [0, 10, 0, 0.2775],
    [5, 10, 0.2366, 0.7634],
    [10, 10, 0.7225, 1],
    [20, 1_000, 0.013, 0.0307],
  ])('%i of %i as in tables', (count, total, low, high) => {
    const interval = wilson(count, total)
    expect(interval.low).toBeCloseTo(low, 4)
    expect(interval.high).toBeCloseTo(high, 4)
  })
  it('says nothing of nothing', () => expect(wilson(0, 0)).toEqual({ low: 0, high: 1 }))
})

describe('poisson', () => {
  it.each([
    [0, 0, 3.6889],
    [1, 0.0253, 5.5716],
    [2, 0.2422, 7.2247],
    [10, 4.7954, 18.3904],
    [100, 81.364, 121.6268],
  ])('%i as in tables', (count, low, high) => {
    const interval = poisson(count)
    expect(interval.low).toBeCloseTo(low, 3)
    expect(interval.high).toBeCloseTo(high, 3)
  })
  it('holds for thousands', () => {
    const { low, high } = poisson(10_000)
    expect(low).toBeCloseTo(9_804.95, 0)
    expect(high).toBeCloseTo(10_197.93, 0)
  })
})
