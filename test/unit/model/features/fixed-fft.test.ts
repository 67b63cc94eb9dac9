import { describe, expect, it } from 'vitest'
import { createFixedFft } from '../../../../model/features/fixed-fft.ts'

type Complex = readonly [number, number]
const int16 = (x: number): number => Int16Array.of(x)[0]!
const round = (x: number): number => int16((x + 16_384) >> 15)
const times = ([ar, ai]: Complex, [br, bi]: Complex): Complex => [round(ar * br - ai * bi), round(ar * bi + ai * br)]
const over = ([re, im]: Complex, by: number): Complex => {
  const factor = Math.floor(32_767 / by)
  return [round(re * factor), round(im * factor)]
}
const plus = ([ar, ai]: Complex, [br, bi]: Complex): Complex => [int16(ar + br), int16(ai + bi)]
const minus = ([ar, ai]: Complex, [br, bi]: Complex): Complex => [int16(ar - br), int16(ai - bi)]
const unit = (phase: number): Complex => [
  Math.floor(0.5 + 32_767 * Math.cos(phase)),
  Math.floor(0.5 + 32_767 * Math.sin(phase)),
]

/** Kiss FFT's recursion as its text reads: split by 4 while that divides, else by 2, transform the parts, join them. */
const split = (input: readonly Complex[]): Complex[] => {
  const n = input.length
  if (n === 1) return [...input]
  const radix = n % 4 === 0 ? 4 : 2
  const parts = Array.from({ length: radix }, (_, q) => split(input.filter((_, i) => i % radix === q)))
  const out = new Array<Complex>(n)
  const m = n / radix
  for (let k = 0; k < m; k += 1) {
    const [a, ...rest] = parts.map((part) => over(part[k]!, radix)) as [Complex, ...Complex[]]
    const turned = rest.map((value, q) => times(value, unit((-2 * Math.PI * k * (q + 1)) / n)))
    if (radix === 2) {
      out[k] = plus(a, turned[0]!)
      out[k + m] = minus(a, turned[0]!)
      continue
    }
    const [b, c, d] = turned as [Complex, Complex, Complex]
    const [even, less, odd, apart] = [plus(a, c), minus(a, c), plus(b, d), minus(b, d)]
    out[k] = plus(even, odd)
    out[k + 2 * m] = minus(even, odd)
    out[k + m] = plus(less, [apart[1], -apart[0]])
    out[k + 3 * m] = minus(less, [apart[1], -apart[0]])
  }
  return out
}

const signal = (size: number, loud: number): Int16Array =>
  Int16Array.from({ length: size }, (_, i) => loud * (Math.sin(i * i * 0.013) * 0.6 + Math.sin(i * 0.7) * 0.4))

describe('createFixedFft', () => {
  it.each([8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096])(
    'is the recursion of %i samples, rounding for rounding',
    (size) => {
      const fft = createFixedFft(size)
      for (const loud of [3, 900, 32_767]) {
        fft.input.set(signal(size, loud))
        fft.transform()
        const half = split(
          Array.from({ length: size / 2 }, (_, i) => [fft.input[2 * i]!, fft.input[2 * i + 1]!] as const),
        )
        const [sum, other] = over(half[0]!, 2)
        expect([fft.bins[0], fft.bins[size]]).toEqual([sum + other, sum - other])
        for (let k = 1; k <= size / 4; k += 1) {
          const m = size / 2 - k
          const a = over(half[k]!, 2)
          const b = over([half[m]![0], -half[m]![1]], 2)
          const even = plus(a, b)
          const odd = times(minus(a, b), unit(-Math.PI * (k / (size / 2) + 0.5)))
          const low: Complex = [(even[0] + odd[0]) >> 1, (even[1] + odd[1]) >> 1]
          const high: Complex = [(even[0] - odd[0]) >> 1, (odd[1] - even[1]) >> 1]
          if (k < m) expect([fft.bins[2 * k], fft.bins[2 * k + 1]]).toEqual(low)
          expect([fft.bins[2 * m], fft.bins[2 * m + 1]]).toEqual(high)
        }
      }
    },
  )

  it('is the spectrum over the size, within the roundings of its stages', () => {
    const size = 512
    const fft = createFixedFft(size)
    fft.input.set(signal(size, 30_000))
    fft.transform()
    for (let k = 0; k <= size / 2; k += 1) {
      let [re, im] = [0, 0]
      for (let n = 0; n < size; n += 1) {
        re += (fft.input[n]! * Math.cos((2 * Math.PI * k * n) / size)) / size
        im -= (fft.input[n]! * Math.sin((2 * Math.PI * k * n) / size)) / size
      }
      expect(Math.abs(fft.bins[2 * k]! - re)).toBeLessThan(4)
      expect(Math.abs(fft.bins[2 * k + 1]! - im)).toBeLessThan(4)
    }
  })
})
