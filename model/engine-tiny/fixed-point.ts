/** The fixed-point arithmetic of the reference kernels for what is computed once, when a graph is loaded: tables of functions of one byte.
 *  `wasm/fixed-point.ts` has what runs at each inference. Facts from gemmlowp's fixedpoint.h and TensorFlow Lite's common.h; all own code.
 *  A raw integer of n integer bits stands for raw / 2^(31 - n). */

const INT32_MAX = 0x7fffffff
const INT32_MIN = -0x80000000
const BYTE_VALUES = 256

/** The high half of 2 a b, rounded half up; only the least integer squared saturates. */
function highMul(a: number, b: number): number {
  if (a === INT32_MIN && b === INT32_MIN) return INT32_MAX
  return Number((BigInt(a) * BigInt(b) + (1n << 30n)) >> 31n)
}

/** x / 2^exponent, half away from zero; 0 <= exponent <= 31 */
export function divideByPowerOfTwo(x: number, exponent: number): number {
  const divisor = 2 ** exponent
  const rest = x - Math.floor(x / divisor) * divisor
  const threshold = Math.floor((divisor - 1) / 2) + (x < 0 ? 1 : 0)
  return Math.floor(x / divisor) + (rest > threshold ? 1 : 0)
}

/** x · 2^exponent, saturated. */
function shiftLeft(x: number, exponent: number): number {
  return Math.min(Math.max(x * 2 ** exponent, INT32_MIN), INT32_MAX)
}

/** x times a factor of `multiplier.ts`; what is shifted out to the left is lost, as in C. */
export const requantize = (x: number, multiplier: number, shift: number): number =>
  divideByPowerOfTwo(highMul((x * 2 ** Math.max(shift, 0)) | 0, multiplier), Math.max(-shift, 0))

/** e^a for a in [-1/4, 0), without integer bits: a Taylor series around -1/8 to the fourth power. */
function expAboveMinusQuarter(a: number): number {
  const [atMinusEighth, third] = [1_895_147_668, 715_827_883]
  const x = a + 2 ** 28
  const x2 = highMul(x, x)
  const x3 = highMul(x2, x)
  const x4 = highMul(x2, x2)
  const fourth = divideByPowerOfTwo(x4, 2)
  const terms = divideByPowerOfTwo(highMul(fourth + x3, third) + x2, 1)
  return atMinusEighth + highMul(atMinusEighth, x + terms)
}

/** e^(-2^k) without integer bits, for k from -2. */
const EXP_OF_POWERS = [1_672_461_947, 1_302_514_674, 790_015_084, 290_630_308, 39_332_535, 720_401, 242]

/** e^a without integer bits.
 *  @param a at most 0, of so many integer bits: 5 at most */
function expOfNegative(a: number, integerBits: number): number {
  if (a === 0) return INT32_MAX
  const fractionBits = 31 - integerBits
  const quarter = 2 ** (fractionBits - 2)
  const near = (a & (quarter - 1)) - quarter
  let result = expAboveMinusQuarter(shiftLeft(near, integerBits))
  const rest = near - a
  for (const [index, factor] of EXP_OF_POWERS.entries()) {
    const exponent = index - 2
    if (exponent < integerBits && (rest & (2 ** (fractionBits + exponent))) !== 0) result = highMul(result, factor)
  }
  return result
}

/** 1 / half of (1 + a) for a in (0, 1), as Newton and Raphson find it in three steps; two integer bits. */
function reciprocalOfHalfOnePlus(a: number): number {
  const [fortyEightSeventeenths, minusThirtyTwoSeventeenths] = [1_515_870_810, -1_010_580_540]
  const halfDenominator = Math.floor((a + INT32_MAX + 1) / 2)
  let x = fortyEightSeventeenths + highMul(halfDenominator, minusThirtyTwoSeventeenths)
  for (let step = 0; step < 3; step++) {
    x += shiftLeft(highMul(x, 2 ** 29 - highMul(halfDenominator, x)), 2)
  }
  return x
}

/** (1 - a) / (1 + a) for a in (0, 1), without integer bits. */
const oneMinusOverOnePlus = (a: number): number => shiftLeft(reciprocalOfHalfOnePlus(a) - 2 ** 29, 2)

/** tanh a, without integer bits.
 *  @param a of four integer bits */
export function tanhOf(a: number): number {
  if (a === 0) return 0
  // Doubling is one integer bit more for the same raw integer.
  const negative = oneMinusOverOnePlus(expOfNegative(a < 0 ? a : -a, 5))
  return a < 0 ? -negative : negative
}

/** A function of int8 as a table.
 *  @param of saturated to int8
 *  @returns by the byte as it is stored: 0 to 127, then -128 to -1 */
export function byteTable(of: (value: number) => number): Int8Array {
  return Int8Array.from({ length: BYTE_VALUES }, (_, byte) =>
    Math.min(Math.max(of(byte < BYTE_VALUES / 2 ? byte : byte - BYTE_VALUES), -128), 127),
  )
}
