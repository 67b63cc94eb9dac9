import { clamp, requantize, requantize4 } from './fixed-point'

/** int8 depthwise convolution, NHWC, weights [1, rows, columns, channels * multiplier].
 *  Words: as `conv2d`, with the depth multiplier where that has its depth. */
export function depthwiseConv2d(words: usize): void {
  const input = <usize>load<u32>(words)
  const weights = <usize>load<u32>(words, 4)
  const bias = <usize>load<u32>(words, 8)
  let out = <usize>load<u32>(words, 12)
  const multipliers = <usize>load<u32>(words, 16)
  const shifts = <usize>load<u32>(words, 20)
  const powers = <usize>load<u32>(words, 24)
  const batches = load<i32>(words, 28)
  const height = load<i32>(words, 32)
  const width = load<i32>(words, 36)
  const channels = load<i32>(words, 40)
  const rows = load<i32>(words, 44)
  const columns = load<i32>(words, 48)
  const multiplier = load<i32>(words, 52)
  const outputHeight = load<i32>(words, 56)
  const outputWidth = load<i32>(words, 60)
  const outputs = load<i32>(words, 64)
  const strideY = load<i32>(words, 68)
  const strideX = load<i32>(words, 72)
  const dilationY = load<i32>(words, 76)
  const dilationX = load<i32>(words, 80)
  const paddingY = load<i32>(words, 84)
  const paddingX = load<i32>(words, 88)
  const inputOffset = load<i32>(words, 92)
  const outputOffset = load<i32>(words, 96)
  const least = load<i32>(words, 100)
  const most = load<i32>(words, 104)

  const offset8 = i16x8.splat(<i16>inputOffset)
  const offset4 = i32x4.splat(outputOffset)
  const least4 = i32x4.splat(least)
  const most4 = i32x4.splat(most)
  const eights = powers === 0 || multiplier !== 1 ? 0 : outputs & ~7
  for (let batch = 0; batch < batches; batch++) {
    const image = input + <usize>(batch * height * width * channels)
    for (let outY = 0; outY < outputHeight; outY++) {
      const y = outY * strideY - paddingY
      for (let outX = 0; outX < outputWidth; outX++, out += <usize>outputs) {
        const x = outX * strideX - paddingX
        let channel = 0
        for (; channel < eights; channel += 8) {
          const from = (<usize>channel) << 2
          let low = bias === 0 ? i32x4.splat(0) : v128.load(bias + from)
          let high = bias === 0 ? low : v128.load(bias + from, 16)
          for (let row = 0; row < rows; row++) {
            const fromY = y + row * dilationY
            if (fromY < 0 || fromY >= height) continue
            const line = image + <usize>(fromY * width * channels + channel)
            const kernel = weights + <usize>(row * columns * outputs + channel)
            for (let column = 0; column < columns; column++) {
              const fromX = x + column * dilationX
              if (fromX < 0 || fromX >= width) continue
              const values = i16x8.add(v128.load_ext<i8>(line + <usize>(fromX * channels)), offset8)
              const factors = v128.load_ext<i8>(kernel + <usize>(column * outputs))
              low = i32x4.add(low, i32x4.extmul_low_i16x8_s(values, factors))
              high = i32x4.add(high, i32x4.extmul_high_i16x8_s(values, factors))
            }
          }
          low = requantize4(low, v128.load(multipliers + from), v128.load(powers + from))
          high = requantize4(high, v128.load(multipliers + from, 16), v128.load(powers + from, 16))
          low = i32x4.min_s(i32x4.max_s(i32x4.add(low, offset4), least4), most4)
          high = i32x4.min_s(i32x4.max_s(i32x4.add(high, offset4), least4), most4)
          const both = i16x8.narrow_i32x4_s(low, high)
          v128.store64_lane(out + channel, i8x16.narrow_i16x8_s(both, both), 0)
        }
        for (; channel < outputs; channel++) {
          const from = (<usize>channel) << 2
          const source = channel / multiplier
          let sum = bias === 0 ? 0 : load<i32>(bias + from)
          for (let row = 0; row < rows; row++) {
            const fromY = y + row * dilationY
            if (fromY < 0 || fromY >= height) continue
            for (let column = 0; column < columns; column++) {
              const fromX = x + column * dilationX
              if (fromX < 0 || fromX >= width) continue
              const value = <i32>load<i8>(image + <usize>((fromY * width + fromX) * channels + source))
              sum += (value + inputOffset) * load<i8>(weights + <usize>((row * columns + column) * outputs + channel))
            }
          }
          const scaled = requantize(sum, load<i32>(multipliers + from), load<i32>(shifts + from))
          store<i8>(out + channel, clamp(scaled + outputOffset, least, most))
        }
      }
    }
  }
}
