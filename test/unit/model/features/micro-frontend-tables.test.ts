import { describe, expect, it } from 'vitest'
import { log1pFloat32 } from '../../../../model/features/float-log1p.ts'
import {
  LOG_TABLE,
  microFilterBank,
  microGainTable,
  microWindow,
} from '../../../../model/features/micro-frontend-tables.ts'

/** All numbers here were printed by a C program that calls cosf, powf and log1pf of glibc 2.36. */
const hash = (values: Iterable<number>): number => {
  let sum = 0
  for (const value of values) sum = (Math.imul(sum, 31) + (value & 0xffff)) >>> 0
  return sum
}

describe('tables of the micro frontend', () => {
  it.each([
    [8, 1050881024],
    [160, 2931573760],
    [240, 214433792],
    [320, 4274741248],
    [400, 3432717312],
    [441, 3216075510],
    [480, 1035824705],
    [512, 4200120320],
    [640, 2023612416],
    [882, 4055777664],
    [1323, 3689514054],
    [2048, 2532835328],
    [4096, 1995964416],
  ])('window of %i samples as in C', (samples, sum) => {
    expect(hash(microWindow(samples))).toBe(sum)
  })

  it.each([
    [0.05, 0.5, 15, 0, 2975040611],
    [0.5, 80, 20, 6, 2744430094],
    [0.95, 80, 21, 6, 3563121473],
    [0.95, 80, 21, 9, 1603022555],
    [1.5, 10, 18, 3, 4097560019],
    [2.0, 4000, 24, 12, 2536264801],
  ])(
    'gains of strength %d, offset %d, %i gain bits, %i input bits as in C',
    (pcanStrength, pcanOffset, pcanGainBits, inputBits, sum) => {
      const table = microGainTable({ pcanStrength, pcanOffset, pcanGainBits }, inputBits)
      // C prints start, middle and end of each octave; the table has start, linear and square coefficients.
      const int16 = (x: number): number => (x << 16) >> 16
      const values = [table[0]!, table[1]!]
      for (let bits = 2; bits <= 32; bits += 1) {
        const [first, linear, square] = table.subarray(4 * bits - 6) as unknown as [number, number, number]
        const toEnd = int16(linear + square)
        // linear = 4 middle - end
        values.push(first, first + (linear + toEnd) / 4, first + toEnd)
      }
      expect(hash(values)).toBe(sum)
    },
  )

  it.each([
    [0x3f58f16b, 0x3f1d21d5],
    [0x3de1054f, 0x3dd57ee8],
    [0x395d6875, 0x395d6279],
    [0x39e2d422, 0x39e2c793],
    [0x42a8ddf1, 0x408e53df],
    [0x3f42c8f4, 0x3f10d91f],
    [0x42052888, 0x40623ad8],
    [0x42704ecd, 0x4083969b],
    [0x3e0aef0c, 0x3e02486d],
    [0x3f4cc634, 0x3f167586],
    [0x4305b058, 0x409ce51c],
    [0x3f1f4b08, 0x3ef7b590],
    [0x420b524d, 0x40650afe],
    [0x3e7fa8ce, 0x3e6439fa],
    [0x42f0ebec, 0x40999641],
    [0x3ea0a986, 0x3e8bbbfe],
    [0x3e46a091, 0x3e358a52],
    [0x3f174367, 0x3eedb66e],
    [0x3bf8b04a, 0x3bf7bfeb],
    [0x4198851c, 0x403fef3c],
    [0x3f22ab9e, 0x3efbdb2a],
    [0x3eb733e8, 0x3e9c9c29],
    [0x42ceae1e, 0x4094b998],
  ])('log1p of float bits %i as in C', (x, y) => {
    const bits = Uint32Array.of(x)
    const float = new Float32Array(bits.buffer)
    float[0] = log1pFloat32(float[0]!)
    expect(bits[0]).toBe(y)
  })

  it('keeps the ends of the logarithm exact', () => {
    expect(log1pFloat32(0)).toBe(0)
    expect(log1pFloat32(1)).toBe(Math.fround(Math.LN2))
    expect([LOG_TABLE[0], LOG_TABLE[1], LOG_TABLE[64], LOG_TABLE[127], LOG_TABLE[128], LOG_TABLE[129]]).toEqual([
      0, 224, 5568, 142, 0, 0,
    ])
  })

  it('weighs each bin between the first and the last centre with one in all', () => {
    const { bands, rising, falling, binStart, binEnd } = microFilterBank(
      { channels: 40, lowerHz: 125, upperHz: 7_500, sampleRateHz: 16_000 },
      512,
    )
    expect([binStart, binEnd]).toEqual([5, 241])
    expect(bands.length).toBe(82)
    expect(rising.length).toBe(binEnd - binStart)
    falling.forEach((weight, i) => {
      expect(Math.abs(weight + rising[i]! - 4_096)).toBeLessThanOrEqual(1)
    })
  })
})
