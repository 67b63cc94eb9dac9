import { expect, it } from 'vitest'
import { threeDigits } from '../../../contract/three-digits.ts'

it.each([
  [0, '0'],
  [0.0001, '0.0001'],
  [0.000123456, '0.000123'],
  [0.001, '0.001'],
  [0.0995, '0.0995'],
  [0.09999, '0.1'],
  [0.1, '0.1'],
  [0.5, '0.5'],
  [1, '1'],
  [1.005, '1'],
  [9.996, '10'],
  [10, '10'],
  [16.84, '16.8'],
  [99.94, '99.9'],
  [99.96, '100'],
  [100, '100'],
  [110, '110'],
  [168, '168'],
  [999.5, '1000'],
  [1_000, '1000'],
  [1_234.5, '1235'],
  [10_000, '10000'],
  [100_000, '100000'],
  [123_456.7, '123457'],
  [-110, '-110'],
  [-0.0123456, '-0.0123'],
])('%d is written %s', (value, text) => {
  expect(threeDigits(value)).toBe(text)
})

it('is within half of its third digit over nine magnitudes, and never loses a whole digit', () => {
  for (let exponent = -4; exponent <= 5; exponent++) {
    for (let digits = 100; digits < 1_000; digits++) {
      const value = digits * 10 ** (exponent - 2)
      const written = Number(threeDigits(value))
      expect(Math.abs(written - value)).toBeLessThanOrEqual(0.5 * 10 ** Math.min(0, exponent - 2) + 1e-9)
      if (value >= 100) expect(threeDigits(value)).toHaveLength(String(Math.round(value)).length)
    }
  }
})

it('can be sent to a page as it is written', () => {
  const sent = new Function(`return ${threeDigits}`)() as typeof threeDigits
  for (const value of [0.0995, 100, 110, 168, 999.5]) expect(sent(value)).toBe(threeDigits(value))
})
