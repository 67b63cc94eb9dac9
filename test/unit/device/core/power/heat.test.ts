import { describe, expect, it } from 'vitest'
import { COOL, type HeatState, observeHeat } from '../../../../../device/core/power/heat.ts'

const LIMIT = { maxCelsius: 60, hysteresisCelsius: 5 }
/** Steps after each of the looks, at a ladder of four of which it is always where it was put. */
const steps = (looks: readonly (number | undefined)[], levels = 4): number[] => {
  let state: HeatState = COOL
  return looks.map((celsius) => {
    state = observeHeat(state, LIMIT, celsius, levels, state.steps)
    return state.steps
  })
}

describe('heat', () => {
  it('takes a level away a look while it is too warm, to none, and gives them back one by one when it is cooler by the hysteresis', () => {
    expect(steps([60, 60.1, 70, 70, 70, 70])).toEqual([0, 1, 2, 3, 4, 4])
    expect(steps([61, 61, 58, 55.1, 55, 40, 40])).toEqual([1, 2, 2, 2, 1, 0, 0])
  })

  it('changes nothing in between, nor when nobody can tell', () => {
    expect(steps([61, 59, 56, 60, 59])).toEqual([1, 1, 1, 1, 1])
    expect(steps([61, undefined, Number.NaN, Number.POSITIVE_INFINITY, 50])).toEqual([1, 1, 1, 1, 0])
  })

  it('steps down from the level at which it is, and never further than there are levels', () => {
    // At the third of four because of its battery: to take away the first two would cool nothing.
    expect(observeHeat(COOL, LIMIT, 61, 4, 2)).toEqual({ steps: 3, celsius: 61 })
    expect(observeHeat({ steps: 4, celsius: 70 }, LIMIT, undefined, 2, -1)).toEqual({ steps: 2, celsius: 70 })
  })
})
