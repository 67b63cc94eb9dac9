import { clamp, narrowed16, requantize, requantizeEach, sums4 } from './fixed-point'

/** int8 rows times int8 rows of weights.
 *  Words: input, weights, bias (0 for none), output, batches, depth, outputs, input offset, output offset, least, most,
 *  multipliers, shifts, powers (0 for one by one), their shift. Scratch: a vector of sums. */
export function fullyConnected(words: usize): void {
  let input = <usize>load<u32>(words)
  const weights = <usize>load<u32>(words, 4)
  const bias = <usize>load<u32>(words, 8)
  let output = <usize>load<u32>(words, 12)
  const batches = load<i32>(words, 16)
  const depth = <usize>load<u32>(words, 20)
  const outputs = load<i32>(words, 24)
  const inputOffset = load<i32>(words, 28)
  const outputOffset = load<i32>(words, 32)
  const least = load<i32>(words, 36)
  const most = load<i32>(words, 40)
  const multipliers = <usize>load<u32>(words, 44)
  const shifts = <usize>load<u32>(words, 48)
  const powers = <usize>load<u32>(words, 52)
  const shift = load<i32>(words, 56)

  const eights = depth & ~7
  const fours = outputs & ~3
  const scratch = <usize>load<u32>(16)
  const offset8 = i16x8.splat(<i16>inputOffset)
  const outputOffset8 = i16x8.splat(<i16>outputOffset)
  const least16 = i8x16.splat(<i8>least)
  const most16 = i8x16.splat(<i8>most)
  for (let batch = 0; batch < batches; batch++) {
    let row = weights
    let out = 0
    for (; out < fours; out += 4) {
      let a = i32x4.splat(0)
      let b = a
      let c = a
      let d = a
      let at: usize = 0
      for (; at < eights; at += 8) {
        const x = i16x8.add(v128.load_ext<i8>(input + at), offset8)
        a = i32x4.add(a, i32x4.dot_i16x8_s(x, v128.load_ext<i8>(row + at)))
        b = i32x4.add(b, i32x4.dot_i16x8_s(x, v128.load_ext<i8>(row + depth + at)))
        c = i32x4.add(c, i32x4.dot_i16x8_s(x, v128.load_ext<i8>(row + 2 * depth + at)))
        d = i32x4.add(d, i32x4.dot_i16x8_s(x, v128.load_ext<i8>(row + 3 * depth + at)))
      }
      let sums = sums4(a, b, c, d)
      for (; at < depth; at++) {
        const x = <i32>load<i8>(input + at) + inputOffset
        sums = i32x4.add(
          sums,
          i32x4(
            x * load<i8>(row + at),
            x * load<i8>(row + depth + at),
            x * load<i8>(row + 2 * depth + at),
            x * load<i8>(row + 3 * depth + at),
          ),
        )
      }
      const from = (<usize>out) << 2
      if (bias !== 0) sums = i32x4.add(sums, v128.load(bias + from))
      if (powers === 0) {
        v128.store(scratch, sums)
        requantizeEach(scratch, 4, output + out, multipliers + from, shifts + from, outputOffset, least, most)
        row += 4 * depth
        continue
      }
      const four = i16x8.add_sat_s(narrowed16(sums, sums, multipliers + from, powers + from, shift), outputOffset8)
      const bytes = i8x16.narrow_i16x8_s(four, four)
      v128.store32_lane(output + out, i8x16.min_s(i8x16.max_s(bytes, least16), most16), 0)
      row += 4 * depth
    }
    for (; out < outputs; out++) {
      const from = (<usize>out) << 2
      let sum = bias === 0 ? 0 : load<i32>(bias + from)
      for (let at: usize = 0; at < depth; at++) {
        sum += (<i32>load<i8>(input + at) + inputOffset) * load<i8>(row + at)
      }
      const scaled = requantize(sum, load<i32>(multipliers + from), load<i32>(shifts + from))
      store<i8>(output + out, clamp(scaled + outputOffset, least, most))
      row += depth
    }
    input += depth
    output += outputs
  }
}
