import { describe, expect, it } from 'vitest'
import { updateWindowOption } from '../../../../cli/device/update-window-option.ts'

describe('hours of updates on the command line', () => {
  it.each([
    ['22-6', 22, 6, 0],
    ['0-24', 0, 24, 0],
    ['22-6+02:00', 22, 6, 120],
    ['1-5-03:30', 1, 5, -210],
  ])('%s', (text, fromHour, toHour, utcOffsetMinutes) => {
    expect(updateWindowOption(text)).toEqual({ fromHour, toHour, utcOffsetMinutes })
  })

  it.each(['', '22', '22-', '24-6', '2-25', '2-4+2', '2-4+15:00', 'a-b', '22 - 6'])('refuses "%s"', (text) => {
    expect(() => updateWindowOption(text)).toThrow(/two hours of the day/)
  })
})
