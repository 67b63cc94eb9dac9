const { fround } = Math

/** ln 2 in two parts, whose first has zeros at its end, so that its multiples are exact. */
const LN2_HIGH = fround(0.693_138_122_56)
const LN2_LOW = fround(9.058_000_614_5e-6)
/** Coefficients of (log(1 + s) - log(1 - s)) / s - 2 in powers of s², from the second power on. */
const SERIES = [
  0.666_666_686_53, 0.400_000_005_96, 0.285_714_298_49, 0.222_221_985_46, 0.181_835_725_9, 0.153_138_384_22,
  0.147_981_986_4,
].map(fround)
/** sqrt(2) - 1 as a float: below it 1 + x is not brought nearer to 1. */
const SMALL = fround(0.414_219_975_47)
/** Mantissas from sqrt(2) on are halved. */
const ROOT_MANTISSA = 0x3504f7

/** log(1 + x) as the C library's `log1pf` computes it, in float32 at every step: up to a unit in the last place beside the rounded
 *  logarithm, which decides where the weights of a filter bank are rounded to.
 *  @param x float32, 0 to 2^24
 *  @see the algorithm of Sun's fdlibm, s_log1p.c, and its float form in glibc up to 2.40 and newlib */
export const log1pFloat32 = (x: number): number => {
  // Below 2^-29 the square does not count.
  if (x < 2 ** -29) return x
  let exponent = 0
  let correction = 0
  let f = x
  let tail = 1
  if (x >= SMALL) {
    const float = Float32Array.of(1 + x)
    const word = new Int32Array(float.buffer)
    const sum = float[0]!
    exponent = (word[0]! >> 23) - 127
    const lost = exponent > 0 ? fround(1 - fround(sum - x)) : fround(x - fround(sum - 1))
    correction = fround(lost / sum)
    tail = word[0]! & 0x7fffff
    if (tail < ROOT_MANTISSA) word[0] = tail | 0x3f800000
    else {
      exponent += 1
      word[0] = tail | 0x3f000000
      tail = (0x800000 - tail) >> 2
    }
    f = fround(float[0]! - 1)
  }
  const halfSquare = fround(fround(0.5 * f) * f)
  const high = fround(exponent * LN2_HIGH)
  const low = fround(fround(exponent * LN2_LOW) + correction)
  if (tail === 0) {
    if (f === 0) return fround(high + low)
    const rest = fround(halfSquare * fround(1 - fround(fround(2 / 3) * f)))
    return fround(high - fround(fround(rest - low) - f))
  }
  const s = fround(f / fround(2 + f))
  const z = fround(s * s)
  let series = 0
  for (const coefficient of SERIES.toReversed()) series = fround(z * fround(coefficient + series))
  const product = fround(s * fround(halfSquare + series))
  if (exponent === 0) return fround(f - fround(halfSquare - product))
  return fround(high - fround(fround(halfSquare - fround(product + low)) - f))
}
