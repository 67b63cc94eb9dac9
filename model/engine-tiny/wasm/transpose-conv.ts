import { clamp, requantize } from './fixed-point'
import { requantizeLong } from './wide-arithmetic'

export function transposeConv(words: usize): void {
  gathered<i8>(words)
}

/** int16 around 0 by int8; sums of 64 bits. */
export function transposeConv16(words: usize): void {
  gathered<i16>(words)
}

/** Words: input, weights [outputs, rows, columns, channels], bias (0 for none), output, batches, input height, width and channels, filter
 *  height and width, output height, width and channels, stride down and across, padding at the top and left, input offset, output offset,
 *  multipliers, shifts. The bias is int32 for int8, int64 for int16.
 *
 *  Each output is gathered from the inputs that reach it, where the reference scatters into integers of 32 bits: sums are the same in any order. */
function gathered<T>(words: usize): void {
  const input = <usize>load<u32>(words)
  const weights = <usize>load<u32>(words, 4)
  const bias = <usize>load<u32>(words, 8)
  let to = <usize>load<u32>(words, 12)
  const batches = load<i32>(words, 16)
  const inputHeight = load<i32>(words, 20)
  const inputWidth = load<i32>(words, 24)
  const channels = load<i32>(words, 28)
  const filterHeight = load<i32>(words, 32)
  const filterWidth = load<i32>(words, 36)
  const outputHeight = load<i32>(words, 40)
  const outputWidth = load<i32>(words, 44)
  const outputs = load<i32>(words, 48)
  const down = load<i32>(words, 52)
  const across = load<i32>(words, 56)
  const top = load<i32>(words, 60)
  const left = load<i32>(words, 64)
  const inputOffset = load<i32>(words, 68)
  const outputOffset = load<i32>(words, 72)
  const multipliers = <usize>load<u32>(words, 76)
  const shifts = <usize>load<u32>(words, 80)
  for (let batch = 0; batch < batches; batch++) {
    for (let y = 0; y < outputHeight; y++) {
      for (let x = 0; x < outputWidth; x++) {
        for (let output = 0; output < outputs; output++) {
          const channel = (<usize>output) << 2
          let sum: i64 = 0
          if (bias !== 0) sum = sizeof<T>() === 1 ? <i64>load<i32>(bias + channel) : load<i64>(bias + (channel << 1))
          for (let row = 0; row < filterHeight; row++) {
            const above = y + top - row
            if (above < 0) break
            const inputY = above / down
            if (above % down !== 0 || inputY >= inputHeight) continue
            for (let column = 0; column < filterWidth; column++) {
              const before = x + left - column
              if (before < 0) break
              const inputX = before / across
              if (before % across !== 0 || inputX >= inputWidth) continue
              const place = (batch * inputHeight + inputY) * inputWidth + inputX
              const from = input + <usize>(place * channels) * sizeof<T>()
              const by = weights + <usize>(((output * filterHeight + row) * filterWidth + column) * channels)
              for (let at: usize = 0; at < <usize>channels; at++) {
                sum += <i64>((<i32>load<T>(from + at * sizeof<T>()) + inputOffset) * load<i8>(by + at))
              }
            }
          }
          const multiplier = load<i32>(multipliers + channel)
          const shift = load<i32>(shifts + channel)
          if (sizeof<T>() === 1) {
            store<i8>(to, clamp(requantize(<i32>sum, multiplier, shift) + outputOffset, -128, 127))
          } else {
            store<i16>(to, clamp(requantizeLong(sum, multiplier, shift), -0x8000, 0x7fff))
          }
          to += sizeof<T>()
        }
      }
    }
  }
}
