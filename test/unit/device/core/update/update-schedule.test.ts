import { describe, expect, it } from 'vitest'
import { LADDER_LEVELS } from '../../../../../contract/ladder-levels.ts'
import { downloadDelay } from '../../../../../device/core/update/update-schedule.ts'

const HOUR = 3_600_000
/** a midnight, UTC */
const DAY = 19_676 * 24 * HOUR
const window = (fromHour: number, toHour: number, utcOffsetMinutes = 0) => ({ fromHour, toHour, utcOffsetMinutes })
const at = (hour: number, hours: ReturnType<typeof window>) => {
  const delay = downloadDelay(DAY + hour * HOUR, hours, null, 0)
  return delay && [delay.error.code, delay.waitMs / HOUR]
}

describe('hours of updates', () => {
  it.each<[number, number, [number, number], unknown]>([
    [2, 4, [2, 0], undefined],
    [2, 4, [3.99, 0], undefined],
    [2, 4, [4, 0], ['outside-window', 22]],
    [2, 4, [1.5, 0], ['outside-window', 0.5]],
    [22, 6, [23, 0], undefined],
    [22, 6, [5, 0], undefined],
    [22, 6, [6, 0], ['outside-window', 16]],
    [0, 24, [13, 0], undefined],
    // The same hour twice is the whole day, not none of it.
    [8, 8, [13, 0], undefined],
    // 2 to 4 of a zone two hours ahead begins at midnight UTC.
    [2, 4, [0, 120], undefined],
    [2, 4, [2, 120], ['outside-window', 22]],
    [2, 4, [9, -300], ['outside-window', 22]],
    [2, 4, [7, -300], undefined],
  ])('%d to %d', (from, to, [hour, offset], expected) => {
    expect(at(hour, window(from, to, offset))).toEqual(expected)
  })

  it('do not hold up a device that does not know the time', () => {
    expect(downloadDelay(0, window(2, 4), null, 0)).toBeUndefined()
  })
})

describe('charge', () => {
  const code = (charge: number | null, level: (typeof LADDER_LEVELS)[number]) =>
    downloadDelay(DAY, null, charge, LADDER_LEVELS.indexOf(level))?.error.code

  it('a battery that is low, or a governor that saves, waits; mains does not', () => {
    expect(code(0.5, 'full')).toBeUndefined()
    expect(code(0.5, 'lite')).toBeUndefined()
    // What it runs may be why it saves: with charge left it takes the update that may mend that.
    expect(code(0.25, 'sparse')).toBeUndefined()
    expect(code(0.249, 'sparse')).toBe('low-battery')
    // So does one that cannot afford what it runs, at any level.
    expect(code(0.5, 'hibernate')).toBeUndefined()
    expect(code(0.499, 'hibernate')).toBe('low-battery')
    expect(code(0.1, 'full')).toBeUndefined()
    expect(code(0.099, 'full')).toBe('low-battery')
    expect(code(null, 'hibernate')).toBeUndefined()
  })
})
