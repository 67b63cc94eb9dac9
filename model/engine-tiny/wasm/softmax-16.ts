import { clamp, requantize } from './fixed-point'

/** int16 rows, around 0 to 1/32768 around 0. Words: input, output, rows, depth, multiplier, shift, table of the exponential from -10 to 0, table of 1 / (1 + x)
 *  from 0 to 1.
 *  @see SoftmaxInt16 of reference/softmax.h of TensorFlow Lite */
export function softmax16(words: usize): void {
  const depth = (<usize>load<u32>(words, 12)) << 1
  const multiplier = load<i32>(words, 16)
  const shift = load<i32>(words, 20)
  const powers = <usize>load<u32>(words, 24)
  const reciprocals = <usize>load<u32>(words, 28)
  const end = <usize>load<u32>(words) + <usize>load<u32>(words, 8) * depth
  let output = <usize>load<u32>(words, 4)
  for (let input = <usize>load<u32>(words); input < end; input += depth, output += depth) {
    let largest = -0x8000
    for (let at: usize = 0; at < depth; at += 2) largest = max(largest, <i32>load<i16>(input + at))
    // The output holds the powers until their sum is known.
    let sum = 0
    for (let at: usize = 0; at < depth; at += 2) {
      const scaled = requantize(<i32>load<i16>(input + at) - largest, multiplier, shift)
      const power = between(clamp(scaled, -0xffff, 0) + 0x7fff, powers)
      store<i16>(output + at, <i16>power)
      sum += power
    }
    const headroom = clz(sum)
    // From one to two, as x of 1 + x, around 0.
    const x = <i32>((((<i64>sum) << (headroom - 1)) + (1 << 13)) >> 14) - (1 << 15) - (1 << 16)
    const reciprocal = between(clamp(x, -0x8000, 0x7fff), reciprocals)
    const right = 31 - headroom
    for (let at: usize = 0; at < depth; at += 2) {
      const scaled = <i32>((<i64>load<i16>(output + at) * <i64>reciprocal + (1 << (right - 1))) >> right)
      store<i16>(output + at, <i16>clamp(scaled, 0, 0x7fff))
    }
  }
}

/** On the straight line between two of 513 points. @param value int16 */
function between(value: i32, table: usize): i32 {
  const at = table + ((<usize>(256 + (value >> 7))) << 1)
  const base = <i32>load<i16>(at)
  return <i32>(<i16>(base + (((<i32>load<i16>(at, 2) - base) * (value & 0x7f) + 64) >> 7)))
}
