import { describe, expect, it } from 'vitest'
import { threeDigits } from '../../../../contract/three-digits.ts'

describe('numbers in the words of a gate', () => {
  it.each([
    [0, '0'],
    [0.000123, '0.000123'],
    [0.00123456, '0.00123'],
    [0.0123456, '0.0123'],
    [0.1, '0.1'],
    [0.349, '0.349'],
    [1, '1'],
    [1.5, '1.5'],
    [10, '10'],
    [10.04, '10'],
    [99.94, '99.9'],
    [99.96, '100'],
    [100, '100'],
    [110, '110'],
    [168, '168'],
    [1_234.4, '1234'],
    [100_000, '100000'],
    [1_000_000, '1000000'],
    [-0.5, '-0.5'],
    [-110, '-110'],
  ])('%d is %s', (value, words) => {
    expect(threeDigits(value)).toBe(words)
  })

  it('is within half of the third digit over nine magnitudes', () => {
    for (let exponent = -4; exponent <= 5; exponent++) {
      for (let n = 100; n < 1_000; n++) {
        const value = (n / 100) * 10 ** exponent
        expect(Math.abs(Number(threeDigits(value)) / value - 1), `${value}: ${threeDigits(value)}`).toBeLessThanOrEqual(
          0.005,
        )
      }
    }
  })
})
