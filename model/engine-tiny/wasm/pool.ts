import { clamp } from './fixed-point'

/** Words: input, output, batches, height, width, channels, filter rows, columns, output height, width, stride y, x, padding y, x, least, most,
 *  1 for the largest value and 0 for the average. Every filter has a part inside the input. */
export function pool2d(words: usize): void {
  const input = <usize>load<u32>(words)
  let out = <usize>load<u32>(words, 4)
  const batches = load<i32>(words, 8)
  const height = load<i32>(words, 12)
  const width = load<i32>(words, 16)
  const channels = load<i32>(words, 20)
  const rows = load<i32>(words, 24)
  const columns = load<i32>(words, 28)
  const outputHeight = load<i32>(words, 32)
  const outputWidth = load<i32>(words, 36)
  const strideY = load<i32>(words, 40)
  const strideX = load<i32>(words, 44)
  const paddingY = load<i32>(words, 48)
  const paddingX = load<i32>(words, 52)
  const least = load<i32>(words, 56)
  const most = load<i32>(words, 60)
  const largest = load<i32>(words, 64) !== 0
  for (let batch = 0; batch < batches; batch++) {
    const image = input + <usize>(batch * height * width * channels)
    for (let outY = 0; outY < outputHeight; outY++) {
      const y = outY * strideY - paddingY
      const top = max(0, y)
      const bottom = min(y + rows, height)
      for (let outX = 0; outX < outputWidth; outX++, out += <usize>channels) {
        const x = outX * strideX - paddingX
        const left = max(0, x)
        const right = min(x + columns, width)
        const count = (bottom - top) * (right - left)
        let channel = 0
        for (; channel + 8 <= channels; channel += 8) {
          let low = i32x4.splat(0)
          let high = low
          let most8 = i16x8.splat(-128)
          for (let row = top; row < bottom; row++) {
            let at = image + <usize>((row * width + left) * channels + channel)
            for (let column = left; column < right; column++, at += <usize>channels) {
              const elements = v128.load_ext<i8>(at)
              most8 = i16x8.max_s(most8, elements)
              low = i32x4.add(low, i32x4.extend_low_i16x8_s(elements))
              high = i32x4.add(high, i32x4.extend_high_i16x8_s(elements))
            }
          }
          for (let lane: usize = 0; lane < 8; lane++) {
            let value: i32
            if (largest) {
              value = i16x8.extract_lane_s(most8, 0)
              most8 = v128.shuffle<i16>(most8, most8, 1, 2, 3, 4, 5, 6, 7, 0)
            } else {
              const sum = i32x4.extract_lane(low, 0)
              value = (sum > 0 ? sum + count / 2 : sum - count / 2) / count
              low = v128.shuffle<i32>(low, high, 1, 2, 3, 4)
              high = v128.shuffle<i32>(high, high, 1, 2, 3, 0)
            }
            store<i8>(out + channel + lane, clamp(value, least, most))
          }
        }
        for (; channel < channels; channel++) {
          let value = largest ? -128 : 0
          for (let row = top; row < bottom; row++) {
            let at = image + <usize>((row * width + left) * channels + channel)
            for (let column = left; column < right; column++, at += <usize>channels) {
              const element = <i32>load<i8>(at)
              value = largest ? max(value, element) : value + element
            }
          }
          if (!largest) value = (value > 0 ? value + count / 2 : value - count / 2) / count
          store<i8>(out + channel, clamp(value, least, most))
        }
      }
    }
  }
}
