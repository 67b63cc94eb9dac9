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

/** Eight sums, requantized and saturated to int16; for factors below 1/2.
 *
 *  Dividing by 2^e half away from zero is moving what is negative by one towards minus infinity, adding half and shifting. A lane's own e is made
 *  one for all by a multiplication with a power of two before, where that cannot overflow; else the high half of a product with 2^(31 - e)
 *  is the same thing. `../kernels/channels.ts` decides.
 *  @param low, high the sums of four channels each
 *  @param multipliers, powers addresses of those of the eight
 *  @param shift for all; 0 for the second way */
export function narrowed16(low: v128, high: v128, multipliers: usize, powers: usize, shift: i32): v128 {
  let a = highMul4(low, v128.load(multipliers))
  let b = highMul4(high, v128.load(multipliers, 16))
  a = i32x4.add(a, i32x4.shr_s(a, 31))
  b = i32x4.add(b, i32x4.shr_s(b, 31))
  if (shift !== 0) {
    const half = i32x4.splat(1 << (shift - 1))
    a = i32x4.shr_s(i32x4.add(i32x4.mul(a, v128.load(powers)), half), shift)
    b = i32x4.shr_s(i32x4.add(i32x4.mul(b, v128.load(powers, 16)), half), shift)
  } else {
    a = highMul4(a, v128.load(powers))
    b = highMul4(b, v128.load(powers, 16))
  }
  return i16x8.narrow_i32x4_s(a, b)
}

/** Requantizes some sums of int32, one by one, into bytes. */
export function requantizeEach(
  sums: usize,
  count: i32,
  to: usize,
  multipliers: usize,
  shifts: usize,
  outputOffset: i32,
  least: i32,
  most: i32,
): void {
  for (let at: usize = 0; at < <usize>count; at++) {
    const own = at << 2
    const scaled = requantize(load<i32>(sums + own), load<i32>(multipliers + own), load<i32>(shifts + own))
    store<i8>(to + at, clamp(scaled + outputOffset, least, most))
  }
}

/** Sum of the lanes of each of four vectors, in one vector. */
export function sums4(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.add(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7))
  const cd = i32x4.add(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7))
  return i32x4.add(v128.shuffle<i32>(ab, cd, 0, 1, 4, 5), v128.shuffle<i32>(ab, cd, 2, 3, 6, 7))
}

/** `highMul` of any two integers. */
export function saturatingHighMul(a: i32, b: i32): i32 {
  return a === i32.MIN_VALUE && b === i32.MIN_VALUE ? i32.MAX_VALUE : highMul(a, b)
}

/** x times 2^e, kept within 32 bits. */
export function saturatingShiftLeft(x: i32, e: i32): i32 {
  const most = (1 << (31 - e)) - 1
  return x > most ? i32.MAX_VALUE : x < -most ? i32.MIN_VALUE : x << e
}

/** One step of the exponential: times e^(-2^k) where that bit of the remainder is set. */
function timesWhere(value: i32, remainder: i32, bit: i32, factor: i32): i32 {
  return (remainder & bit) !== 0 ? saturatingHighMul(value, factor) : value
}

/** e^a for a <= 0, by a polynomial on [-1/4, 0) and a factor for each bit above.
 *  @param a with `integerBits` before the point, 4 or 5
 *  @returns with none before the point, where one is the largest integer */
export function exponential(a: i32, integerBits: i32): i32 {
  if (a === 0) return i32.MAX_VALUE
  const fractionBits = 31 - integerBits
  const quarter = 1 << (fractionBits - 2)
  const rest = (a & (quarter - 1)) - quarter
  const remainder = rest - a
  // Around -1/8: x + x^2 / 2 + x^3 / 6 + x^4 / 24.
  const x = (rest << integerBits) + (1 << 28)
  const x2 = saturatingHighMul(x, x)
  const x3 = saturatingHighMul(x2, x)
  const x4 = saturatingHighMul(x2, x2)
  const cubic = saturatingHighMul(divideByPowerOfTwo(x4, 2) + x3, 715827883)
  const polynomial = x + divideByPowerOfTwo(cubic + x2, 1)
  let value = 1895147668 + saturatingHighMul(1895147668, polynomial)
  value = timesWhere(value, remainder, quarter, 1672461947)
  value = timesWhere(value, remainder, quarter << 1, 1302514674)
  value = timesWhere(value, remainder, quarter << 2, 790015084)
  value = timesWhere(value, remainder, quarter << 3, 290630308)
  value = timesWhere(value, remainder, quarter << 4, 39332535)
  value = timesWhere(value, remainder, quarter << 5, 720401)
  return integerBits > 4 ? timesWhere(value, remainder, quarter << 6, 242) : value
}

/** (a + 1) / 2 with no bits before the point, half away from zero. */
function halfOfOnePlus(a: i32): i32 {
  const sum = <i64>a + <i64>i32.MAX_VALUE
  return <i32>((sum + (sum >= 0 ? 1 : -1)) / 2)
}

/** 1 / (1 + a) for a in [0, 1], no bits before the point: three steps of Newton's with two bits before it. */
export function reciprocalOfOnePlus(a: i32): i32 {
  const half = halfOfOnePlus(a)
  let x = 1515870810 + saturatingHighMul(half, -1010580540)
  for (let i = 0; i < 3; i++) {
    const rest = (1 << 29) - saturatingHighMul(half, x)
    x += saturatingShiftLeft(saturatingHighMul(x, rest), 2)
  }
  return saturatingShiftLeft(x, 1)
}
