import { clamp, requantize } from './fixed-point'

/** Words: input, weights [outputs, rows, columns, channels], bias (0 for none), output, batches, input height, width and channels, filter
 *  height and width, output height, width and channels, stride down and across, padding at the top and left, input offset, output offset,
 *  multipliers, shifts.
 *
 *  Each output is gathered from the inputs that reach it, where the reference scatters into integers of 32 bits: sums are the same in any order. */
export function transposeConv(words: usize): void {
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
          let sum = bias === 0 ? 0 : load<i32>(bias + channel)
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
              const from = input + <usize>(((batch * inputHeight + inputY) * inputWidth + inputX) * channels)
              const by = weights + <usize>(((output * filterHeight + row) * filterWidth + column) * channels)
              for (let at: usize = 0; at < <usize>channels; at++) {
                sum += (<i32>load<i8>(from + at) + inputOffset) * load<i8>(by + at)
              }
            }
          }
          const scaled = requantize(sum, load<i32>(multipliers + channel), load<i32>(shifts + channel))
          store<i8>(to, clamp(scaled + outputOffset, -128, 127))
          to++
        }
      }
    }
  }
}
