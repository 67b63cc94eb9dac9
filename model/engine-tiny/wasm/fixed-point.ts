// The fixed-point arithmetic of the reference kernels: a real factor is a 31-bit multiplier and a power of two, and products are rounded
// twice, once when the high half is taken and once when it is shifted. Facts from gemmlowp's fixedpoint.h and TensorFlow Lite's
// common.h in its double rounding variant; all own code.

/** The high half of 2 a b, rounded half up. The multiplier of a requantization is never the least integer, so nothing saturates. */
export function highMul(a: i32, b: i32): i32 {
  return <i32>((<i64>a * <i64>b + 0x40000000) >> 31)
}

/** x / 2^e, half away from zero; 0 <= e <= 31. */
export function divideByPowerOfTwo(x: i32, e: i32): i32 {
  const mask = (1 << e) - 1
  const threshold = (mask >> 1) + <i32>(x < 0)
  return (x >> e) + <i32>((x & mask) > threshold)
}

/** x times a real factor, as TFLite's MultiplyByQuantizedMultiplier.
 *  @param shift of the factor; above 0 to the left, -31 at least */
export function requantize(x: i32, multiplier: i32, shift: i32): i32 {
  const left = max(shift, 0)
  return divideByPowerOfTwo(highMul(x << left, multiplier), left - shift)
}

export function clamp(x: i32, least: i32, most: i32): i32 {
  return min(max(x, least), most)
}

/** `highMul` lane by lane. */
function highMul4(a: v128, b: v128): v128 {
  const half = i64x2.splat(0x40000000)
  // A logical shift serves: only the low words of the results are kept.
  const low = i64x2.shr_u(i64x2.add(i64x2.extmul_low_i32x4_s(a, b), half), 31)
  const high = i64x2.shr_u(i64x2.add(i64x2.extmul_high_i32x4_s(a, b), half), 31)
  return v128.shuffle<i32>(low, high, 0, 2, 4, 6)
}

/** `requantize` lane by lane, for factors below 1/2. Dividing by 2^e half away from zero is `highMul` by 2^(31 - e) of what has been moved
 *  one towards minus infinity where it is negative, so that lanes may have different shifts.
 *  @param powers 2^(31 + shift), for shifts of -1 to -31 */
export function requantize4(x: v128, multipliers: v128, powers: v128): v128 {
  const high = highMul4(x, multipliers)
  return highMul4(i32x4.add(high, i32x4.shr_s(high, 31)), powers)
}

/** Sum of the lanes of each of four vectors, in one vector. */
export function sums4(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.add(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7))
  const cd = i32x4.add(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7))
  return i32x4.add(v128.shuffle<i32>(ab, cd, 0, 1, 4, 5), v128.shuffle<i32>(ab, cd, 2, 3, 6, 7))
}

/** Saturates four integers to bytes and stores them. */
export function store4(at: usize, x: v128, least: v128, most: v128): void {
  const clamped = i32x4.min_s(i32x4.max_s(x, least), most)
  const words = i16x8.narrow_i32x4_s(clamped, clamped)
  store<i32>(at, i32x4.extract_lane(i8x16.narrow_i16x8_s(words, words), 0))
}
