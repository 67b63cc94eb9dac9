import { narrowed16, requantizeEach } from './fixed-point'

/** Channels of two outputs from their sums in tiles: factors, offset, bounds. The second is written first: where there is none, it has the place of the
 *  first, which then covers it.
 *
 *  The reference rounds twice: the product with a multiplier of 31 bits to the nearest integer t, and t / 2^s to the nearest, halves away from zero. The second goes up
 *  from t = (2k - 1) 2^(s - 1), which the first reaches half of one earlier: together they round the product itself as one that is 2^(-s - 1) further from zero.
 *  So float32 tells the integer, unless it comes out nearer to a half than its own errors reach, and then all sixteen sums go the long way.
 *  @param words of a convolution
 *  @param sums of the first output; the second's are 32 bytes further, the next eight channels' 128 */
export function finishTiles(
  words: usize,
  sums: usize,
  begin: i32,
  count: i32,
  outFirst: usize,
  outSecond: usize,
): void {
  const multipliers = <usize>load<u32>(words, 16)
  const shifts = <usize>load<u32>(words, 20)
  const powers = <usize>load<u32>(words, 24)
  const shift = load<i32>(words, 28)
  const outputOffset = load<i32>(words, 100)
  const least = load<i32>(words, 104)
  const most = load<i32>(words, 108)
  const factors = <usize>load<u32>(words, 112)
  const distance4 = v128.load32_splat(words, 116)
  const offset8 = i16x8.splat(<i16>outputOffset)
  const least16 = i8x16.splat(<i8>least)
  const most16 = i8x16.splat(<i8>most)
  // From memory: constants would be made anew for every sum. 1.5 · 2^23, to which float32 are added so that their last place is a whole one, and whose bits are
  // taken off again; sign and exponent of a float32.
  const whole4 = v128.load32_splat(20)
  const sign4 = v128.load32_splat(24)
  const exponent4 = v128.load32_splat(28)
  const end = begin + count
  let at = sums
  for (let channel = begin; channel < end; channel += 8, at += 128) {
    const from = (<usize>channel) << 2
    const here = min(8, end - channel)
    if (powers === 0) {
      const own = multipliers + from
      const ownShifts = shifts + from
      requantizeEach(at + 32, here, outSecond + channel, own, ownShifts, outputOffset, least, most)
      requantizeEach(at, here, outFirst + channel, own, ownShifts, outputOffset, least, most)
      continue
    }
    const lowFactors = v128.load(factors + from)
    const highFactors = v128.load(factors + from, 16)
    // A multiplier has all of its 31 bits, so that the power of two in a factor is 2^(-s - 1).
    const lowHalf = v128.and(lowFactors, exponent4)
    const highHalf = v128.and(highFactors, exponent4)
    const productA = f32x4.mul(f32x4.convert_i32x4_s(v128.load(at)), lowFactors)
    const productB = f32x4.mul(f32x4.convert_i32x4_s(v128.load(at, 16)), highFactors)
    const productC = f32x4.mul(f32x4.convert_i32x4_s(v128.load(at, 32)), lowFactors)
    const productD = f32x4.mul(f32x4.convert_i32x4_s(v128.load(at, 48)), highFactors)
    const a = f32x4.add(productA, v128.or(v128.and(productA, sign4), lowHalf))
    const b = f32x4.add(productB, v128.or(v128.and(productB, sign4), highHalf))
    const c = f32x4.add(productC, v128.or(v128.and(productC, sign4), lowHalf))
    const d = f32x4.add(productD, v128.or(v128.and(productD, sign4), highHalf))
    const wholeA = f32x4.add(a, whole4)
    const wholeB = f32x4.add(b, whole4)
    const wholeC = f32x4.add(c, whole4)
    const wholeD = f32x4.add(d, whole4)
    const furthest = f32x4.pmax(
      f32x4.pmax(
        f32x4.abs(f32x4.sub(a, f32x4.sub(wholeA, whole4))),
        f32x4.abs(f32x4.sub(b, f32x4.sub(wholeB, whole4))),
      ),
      f32x4.pmax(
        f32x4.abs(f32x4.sub(c, f32x4.sub(wholeC, whole4))),
        f32x4.abs(f32x4.sub(d, f32x4.sub(wholeD, whole4))),
      ),
    )
    let first = i16x8.narrow_i32x4_s(i32x4.sub(wholeA, whole4), i32x4.sub(wholeB, whole4))
    let second = i16x8.narrow_i32x4_s(i32x4.sub(wholeC, whole4), i32x4.sub(wholeD, whole4))
    if (v128.any_true(f32x4.ge(furthest, distance4))) {
      first = narrowed16(v128.load(at), v128.load(at, 16), multipliers + from, powers + from, shift)
      second = narrowed16(v128.load(at, 32), v128.load(at, 48), multipliers + from, powers + from, shift)
    }
    const bytes = i8x16.narrow_i16x8_s(i16x8.add_sat_s(first, offset8), i16x8.add_sat_s(second, offset8))
    const bounded = i8x16.min_s(i8x16.max_s(bytes, least16), most16)
    if (here === 8) {
      v128.store64_lane(outSecond + channel, bounded, 1)
      v128.store64_lane(outFirst + channel, bounded, 0)
      continue
    }
    // What is left of the last eight channels.
    v128.store(at, bounded)
    for (let lane: usize = 0; lane < <usize>here; lane++) store<u8>(outSecond + channel + lane, load<u8>(at + lane, 8))
    for (let lane: usize = 0; lane < <usize>here; lane++) store<u8>(outFirst + channel + lane, load<u8>(at + lane))
  }
}
