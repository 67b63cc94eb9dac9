import { clamp, requantize } from './fixed-point'
import { requantizeLong } from './wide-arithmetic'

/** Matrices by matrices, those of a dimension of one again and again.
 *  Words: left, right, output, four sizes of batches from the outermost, four strides of the left and of the right in elements; at 60: rows, columns, depth, strides of the left by row
 *  and by depth, of the right by depth and by column; at 88: type (0 int8, 1 int16, 2 float32), zero points of left, right and output, multiplier, shift.
 *  @see reference/batch_matmul.h of TensorFlow Lite */
export function batchMatmul(words: usize): void {
  const type = load<i32>(words, 88)
  const bytes: i32 = type === 0 ? 1 : type === 1 ? 2 : 4
  let out = <usize>load<u32>(words, 8)
  for (let i = 0; i < load<i32>(words, 12); i++) {
    for (let j = 0; j < load<i32>(words, 16); j++) {
      for (let k = 0; k < load<i32>(words, 20); k++) {
        for (let l = 0; l < load<i32>(words, 24); l++) {
          const left =
            i * load<i32>(words, 28) + j * load<i32>(words, 32) + k * load<i32>(words, 36) + l * load<i32>(words, 40)
          const right =
            i * load<i32>(words, 44) + j * load<i32>(words, 48) + k * load<i32>(words, 52) + l * load<i32>(words, 56)
          const a = <usize>load<u32>(words) + <usize>(left * bytes)
          const b = <usize>load<u32>(words, 4) + <usize>(right * bytes)
          for (let row = 0; row < load<i32>(words, 60); row++) {
            for (let column = 0; column < load<i32>(words, 64); column++, out += <usize>bytes) {
              one(
                words,
                type,
                a + <usize>(row * load<i32>(words, 72) * bytes),
                b + <usize>(column * load<i32>(words, 84) * bytes),
                out,
              )
            }
          }
        }
      }
    }
  }
}

function one(words: usize, type: i32, left: usize, right: usize, out: usize): void {
  const depth = load<i32>(words, 68)
  const bytes: i32 = type === 0 ? 1 : type === 1 ? 2 : 4
  const leftStep = <usize>(load<i32>(words, 76) * bytes)
  const rightStep = <usize>(load<i32>(words, 80) * bytes)
  let a = left
  let b = right
  if (type === 2) {
    let sum: f32 = 0
    for (let at = 0; at < depth; at++, a += leftStep, b += rightStep) sum += load<f32>(a) * load<f32>(b)
    store<f32>(out, sum)
  } else if (type === 1) {
    let sum: i64 = 0
    for (let at = 0; at < depth; at++, a += leftStep, b += rightStep) sum += <i64>load<i16>(a) * <i64>load<i16>(b)
    store<i16>(out, <i16>clamp(requantizeLong(sum, load<i32>(words, 104), load<i32>(words, 108)), -0x8000, 0x7fff))
  } else {
    let sum = 0
    for (let at = 0; at < depth; at++, a += leftStep, b += rightStep) {
      sum += (load<i8>(a) - load<i32>(words, 92)) * (load<i8>(b) - load<i32>(words, 96))
    }
    const scaled = requantize(sum, load<i32>(words, 104), load<i32>(words, 108)) + load<i32>(words, 100)
    store<i8>(out, <i8>clamp(scaled, -128, 127))
  }
}
