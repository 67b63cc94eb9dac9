import { clamp, requantize } from './fixed-point'
import { clampFloat, requantizeLong } from './wide-arithmetic'

/** Products of a window of the input with one filter, added in the reference's order: rows, columns, channels.
 *  @param image of the batch, from the filter's first channel on */
function sumOfWindow<I, W, S>(words: usize, image: usize, y: i32, x: i32, weights: usize): S {
  const height = load<i32>(words, 32)
  const width = load<i32>(words, 36)
  const channels = load<i32>(words, 40)
  const rows = load<i32>(words, 44)
  const columns = load<i32>(words, 48)
  const depth = load<i32>(words, 52)
  const dilationY = load<i32>(words, 76)
  const dilationX = load<i32>(words, 80)
  const place = load<i32>(words, 108)
  let sum: S = 0
  for (let row = 0; row < rows; row++) {
    const fromY = y + row * dilationY
    if (fromY < 0 || fromY >= height) continue
    for (let column = 0; column < columns; column++) {
      const fromX = x + column * dilationX
      if (fromX < 0 || fromX >= width) continue
      let from = image + <usize>((fromY * width + fromX) * channels) * sizeof<I>()
      let by = weights + <usize>((row * columns + column) * place) * sizeof<W>()
      for (let at = 0; at < depth; at++, from += sizeof<I>(), by += sizeof<W>()) {
        sum += <S>load<I>(from) * <S>load<W>(by)
      }
    }
  }
  return sum
}

/** Convolution, depthwise convolution and rows times matrix, of float32, or of int16 by int8 weights around 0; NHWC.
 *  Words: input, weights, bias (0 for none), output, multipliers, shifts, kind (0 float32, 1 int16 with sums of 32 bits, 2 of 64), batches, height,
 *  width, channels, rows, columns, depth of a filter, output height, width, channels, stride y, x, dilation y, x, padding y, x,
 *  least, most, outputs that read the same channels, elements from a filter's weights to the next, and from a place to the next. */
export function convWide(words: usize): void {
  const weights = <usize>load<u32>(words, 4)
  const bias = <usize>load<u32>(words, 8)
  let out = <usize>load<u32>(words, 12)
  const kind = load<i32>(words, 24)
  const bytes: i32 = kind === 0 ? 4 : 2
  const weightBytes: i32 = kind === 0 ? 4 : 1
  const batches = load<i32>(words, 28)
  const imageBytes = load<i32>(words, 32) * load<i32>(words, 36) * load<i32>(words, 40) * bytes
  const outputs = load<i32>(words, 64)
  const together = load<i32>(words, 100)
  const filter = load<i32>(words, 104)
  for (let batch = 0; batch < batches; batch++) {
    const image = <usize>load<u32>(words) + <usize>(batch * imageBytes)
    for (let outY = 0; outY < load<i32>(words, 56); outY++) {
      const y = outY * load<i32>(words, 68) - load<i32>(words, 84)
      for (let outX = 0; outX < load<i32>(words, 60); outX++) {
        const x = outX * load<i32>(words, 72) - load<i32>(words, 88)
        for (let output = 0; output < outputs; output++, out += <usize>bytes) {
          const from = image + <usize>((output / together) * load<i32>(words, 52) * bytes)
          const by = weights + <usize>(output * filter * weightBytes)
          if (kind === 0) {
            let sum = sumOfWindow<f32, f32, f32>(words, from, y, x, by)
            if (bias !== 0) sum += load<f32>(bias + ((<usize>output) << 2))
            store<f32>(out, clampFloat(sum, load<f32>(words, 92), load<f32>(words, 96)))
            continue
          }
          const multiplier = load<i32>(<usize>load<u32>(words, 16) + ((<usize>output) << 2))
          const shift = load<i32>(<usize>load<u32>(words, 20) + ((<usize>output) << 2))
          let scaled: i32
          if (kind === 1) {
            let sum = sumOfWindow<i16, i8, i32>(words, from, y, x, by)
            if (bias !== 0) sum += load<i32>(bias + ((<usize>output) << 2))
            scaled = requantize(sum, multiplier, shift)
          } else {
            let sum = sumOfWindow<i16, i8, i64>(words, from, y, x, by)
            if (bias !== 0) sum += load<i64>(bias + ((<usize>output) << 3))
            scaled = requantizeLong(sum, multiplier, shift)
          }
          store<i16>(out, <i16>clamp(scaled, load<i32>(words, 92), load<i32>(words, 96)))
        }
      }
    }
  }
}

/** Transposed convolution of float32, each output gathered in the order in which the reference scatters into it.
 *  Words: as `transposeConv`, with least and most where that has offsets. */
export function transposeConvFloat(words: usize): void {
  const down = load<i32>(words, 52)
  const across = load<i32>(words, 56)
  const outputs = load<i32>(words, 48)
  const filterWidth = load<i32>(words, 36)
  const filterHeight = load<i32>(words, 32)
  const channels = load<i32>(words, 28)
  const inputWidth = load<i32>(words, 24)
  const inputHeight = load<i32>(words, 20)
  const batches = load<i32>(words, 16)
  let to = <usize>load<u32>(words, 12)
  const bias = <usize>load<u32>(words, 8)
  const weights = <usize>load<u32>(words, 4)
  const input = <usize>load<u32>(words)
  for (let batch = 0; batch < batches; batch++) {
    for (let y = 0; y < load<i32>(words, 40); y++) {
      for (let x = 0; x < load<i32>(words, 44); x++) {
        for (let output = 0; output < outputs; output++, to += 4) {
          let sum: f32 = 0
          for (let row = filterHeight - 1; row >= 0; row--) {
            const above = y + load<i32>(words, 60) - row
            if (above < 0 || above % down !== 0 || above / down >= inputHeight) continue
            for (let column = filterWidth - 1; column >= 0; column--) {
              const before = x + load<i32>(words, 64) - column
              if (before < 0 || before % across !== 0 || before / across >= inputWidth) continue
              const place = (batch * inputHeight + above / down) * inputWidth + before / across
              const from = input + ((<usize>(place * channels)) << 2)
              const filter = (output * filterHeight + row) * filterWidth + column
              const by = weights + ((<usize>(filter * channels)) << 2)
              for (let at: usize = 0; at < <usize>channels; at++) {
                sum += load<f32>(from + (at << 2)) * load<f32>(by + (at << 2))
              }
            }
          }
          if (bias !== 0) sum += load<f32>(bias + ((<usize>output) << 2))
          store<f32>(to, clampFloat(sum, load<f32>(words, 68), load<f32>(words, 72)))
        }
      }
    }
  }
}
