import { clamp, divideByPowerOfTwo, highMul, requantize, saturatingShiftLeft } from './fixed-point'

/** The largest int8 over some dimensions, or the least.
 *  Words: input, output, three sizes kept and their strides, three sizes gone over and their strides; at 56: 1 for the least. */
export function maxElements(words: usize): void {
  // The least of bytes is the largest of those turned around.
  const turn = load<i32>(words, 56) !== 0 ? -1 : 0
  const input = <usize>load<u32>(words)
  let out = <usize>load<u32>(words, 4)
  for (let i = 0; i < load<i32>(words, 8); i++) {
    for (let j = 0; j < load<i32>(words, 12); j++) {
      for (let k = 0; k < load<i32>(words, 16); k++, out++) {
        const from = input + <usize>(i * load<i32>(words, 20) + j * load<i32>(words, 24) + k * load<i32>(words, 28))
        let most = -128
        for (let l = 0; l < load<i32>(words, 32); l++) {
          for (let m = 0; m < load<i32>(words, 36); m++) {
            for (let n = 0; n < load<i32>(words, 40); n++) {
              const at = l * load<i32>(words, 44) + m * load<i32>(words, 48) + n * load<i32>(words, 52)
              most = max(most, <i32>load<i8>(from + <usize>at) ^ turn)
            }
          }
        }
        store<i8>(out, most ^ turn)
      }
    }
  }
}

/** The first index of the largest along an axis, or of the least.
 *  Words: input, output, outer, axis size, inner, bytes of an index (4 or 8), type (0 int8, 1 uint8, 2 float32), 1 for the least. */
export function argMax(words: usize): void {
  const input = <usize>load<u32>(words)
  let to = <usize>load<u32>(words, 4)
  const outer = load<i32>(words, 8)
  const size = load<i32>(words, 12)
  const inner = load<i32>(words, 16)
  const indexBytes = load<i32>(words, 20)
  const type = load<i32>(words, 24)
  const least = load<i32>(words, 28) !== 0
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      let best = 0
      let most = valueAt(input, o * size * inner + i, type)
      for (let at = 1; at < size; at++) {
        const value = valueAt(input, (o * size + at) * inner + i, type)
        if (least ? value < most : value > most) {
          most = value
          best = at
        }
      }
      if (indexBytes === 8) store<i64>(to, <i64>best)
      else store<i32>(to, best)
      to += <usize>indexBytes
    }
  }
}

function valueAt(input: usize, at: i32, type: i32): f32 {
  if (type === 0) return <f32>load<i8>(input + <usize>at)
  if (type === 1) return <f32>load<u8>(input + <usize>at)
  return load<f32>(input + ((<usize>at) << 2))
}

/** Each row of `depth` divided by its length, in 1/128. Words: input, output, rows, depth, input zero point. */
export function l2Normalization(words: usize): void {
  let from = <usize>load<u32>(words)
  let to = <usize>load<u32>(words, 4)
  const rows = load<i32>(words, 8)
  const depth = <usize>load<u32>(words, 12)
  const zeroPoint = load<i32>(words, 16)
  for (let row = 0; row < rows; row++) {
    let squares = 0
    for (let at: usize = 0; at < depth; at++) {
      const x = <i32>load<i8>(from + at) - zeroPoint
      squares += x * x
    }
    let shift = 0
    const multiplier = inverseSquareRoot(squares)
    if (squares > 1) shift = inverseSquareRootShift(squares)
    for (let at: usize = 0; at < depth; at++) {
      const x = <i32>load<i8>(from + at) - zeroPoint
      store<i8>(to + at, clamp(requantize(x, multiplier, shift + 7), -128, 127))
    }
    from += depth
    to += depth
  }
}

/** How far the input of the root is moved to the left, in pairs of bits; negative to the right. */
function pairsToLeft(input: i32): i32 {
  let pairs = 0
  let left = input
  while (left >= 1 << 29) {
    left /= 4
    pairs--
  }
  return pairs + (clz(left) - 1) / 2 - 1
}

function inverseSquareRootShift(input: i32): i32 {
  return -max(11 - pairsToLeft(input), 0)
}

/** 1 / sqrt(input) by five steps of Newton and Raphson from 1, three integer bits.
 *  @see GetInvSqrtQuantizedMultiplierExp of TensorFlow Lite's common.h */
function inverseSquareRoot(input: i32): i32 {
  if (input <= 1) return 0x7fffffff
  let normal = input
  while (normal >= 1 << 29) normal /= 4
  normal <<= 2 * ((clz(normal) - 1) / 2 - 1)
  // As three integer bits, and half of that.
  const half = divideByPowerOfTwo(normal >> 1, 1)
  let x = 1 << 28
  for (let step = 0; step < 5; step++) {
    const cube = saturatingShiftLeft(highMul(highMul(x, x), x), 6)
    x = saturatingShiftLeft(highMul((1 << 28) + (1 << 27), x) - highMul(half, cube), 3)
  }
  const root = highMul(x, 1518500250)
  const shift = 11 - pairsToLeft(input)
  return shift < 0 ? root << -shift : root
}
