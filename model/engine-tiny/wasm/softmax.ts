import { clamp, divideByPowerOfTwo, exponential, highMul, reciprocalOfOnePlus, saturatingHighMul } from './fixed-point'

/** int8 rows. Words: input, output, rows, depth, multiplier, left shift, least difference to the row's largest that counts,
 *  bits of an output (8 or 16). */
export function softmax(words: usize): void {
  let input = <usize>load<u32>(words)
  let output = <usize>load<u32>(words, 4)
  const rows = load<i32>(words, 8)
  const depth = load<i32>(words, 12)
  const multiplier = load<i32>(words, 16)
  const shift = load<i32>(words, 20)
  const leastDifference = load<i32>(words, 24)
  const bits = load<i32>(words, 28)
  const least = -(1 << (bits - 1))
  const most = -least - 1
  for (let row = 0; row < rows; row++) {
    let largest = -128
    for (let i = 0; i < depth; i++) largest = max(largest, <i32>load<i8>(input + i))
    // Twelve bits before the point.
    let sum = 0
    for (let i = 0; i < depth; i++) {
      const difference = <i32>load<i8>(input + i) - largest
      if (difference < leastDifference) continue
      sum += divideByPowerOfTwo(exponential(highMul(difference << shift, multiplier), 5), 12)
    }
    const headroom = clz(sum)
    const scale = reciprocalOfOnePlus((sum << headroom) - i32.MIN_VALUE)
    const exponent = 12 - headroom + 31 - bits
    for (let i = 0; i < depth; i++) {
      const difference = <i32>load<i8>(input + i) - largest
      let value = least
      if (difference >= leastDifference) {
        const power = exponential(highMul(difference << shift, multiplier), 5)
        value = clamp(divideByPowerOfTwo(saturatingHighMul(scale, power), exponent) + least, least, most)
      }
      if (bits === 8) store<i8>(output + i, <i8>value)
      else store<i16>(output + ((<usize>i) << 1), <i16>value)
    }
    input += <usize>depth
    output += <usize>(depth * (bits >> 3))
  }
}
