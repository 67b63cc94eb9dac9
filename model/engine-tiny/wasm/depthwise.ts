import { clamp, requantize, requantize8, requantizeEach } from './fixed-point'

/** Two int16, or one int32, for each channel. */
function pairBytes(channels: i32): usize {
  return (<usize>channels) << 2
}

/** Writes the weights of the first `eights` channels two filter places at a time, one channel after the other, as int16, so that one
 *  instruction multiplies both and adds; the last place of an odd number has a partner of zeros. Then what the sums start from: bias, and
 *  the input's offset times the weights. */
function interleave(words: usize, to: usize, starts: usize, eights: i32, places: i32): void {
  const weights = <usize>load<u32>(words, 4)
  const bias = <usize>load<u32>(words, 8)
  const outputs = <usize>load<u32>(words, 68)
  const offset4 = i32x4.splat(load<i32>(words, 96))
  const ones = i16x8.splat(1)
  for (let channel = 0; channel < eights; channel += 8) {
    let low = i32x4.splat(0)
    let high = i32x4.splat(0)
    for (let place = 0; place < places; place += 2) {
      const at = weights + <usize>place * outputs + channel
      const first = v128.load_ext<i8>(at)
      const second = place + 1 < places ? v128.load_ext<i8>(at + outputs) : i16x8.splat(0)
      const even = v128.shuffle<i16>(first, second, 0, 8, 1, 9, 2, 10, 3, 11)
      const odd = v128.shuffle<i16>(first, second, 4, 12, 5, 13, 6, 14, 7, 15)
      const pair = to + <usize>(place >> 1) * pairBytes(eights) + ((<usize>channel) << 2)
      v128.store(pair, even)
      v128.store(pair, odd, 16)
      low = i32x4.add(low, i32x4.dot_i16x8_s(even, ones))
      high = i32x4.add(high, i32x4.dot_i16x8_s(odd, ones))
    }
    low = i32x4.mul(low, offset4)
    high = i32x4.mul(high, offset4)
    const from = (<usize>channel) << 2
    if (bias !== 0) {
      low = i32x4.add(low, v128.load(bias + from))
      high = i32x4.add(high, v128.load(bias + from, 16))
    }
    v128.store(starts + from, low)
    v128.store(starts + from, high, 16)
  }
}

/** The first `eights` channels of one output. Exported so that it stays a function of its own: within its caller the sums would not stay in
 *  registers.
 *  @param addresses of the input under each place of the filter; where that is outside, of zero points, of which nothing is left with the offset in
 *    the starts */
export function convolvePlace(words: usize, addresses: usize, pairs: i32, eights: i32, out: usize): void {
  const multipliers = <usize>load<u32>(words, 16)
  const powers = <usize>load<u32>(words, 24)
  const shift = load<i32>(words, 28)
  const outputOffset = load<i32>(words, 100)
  const least = load<i32>(words, 104)
  const most = load<i32>(words, 108)
  const offset8 = i16x8.splat(<i16>outputOffset)
  const least16 = i8x16.splat(<i8>least)
  const most16 = i8x16.splat(<i8>most)
  const sums = <usize>load<u32>(16)
  const interleaved = sums + 32
  const starts = interleaved + <usize>pairs * pairBytes(eights)
  const end = addresses + ((<usize>pairs) << 3)
  for (let channel = 0; channel < eights; channel += 8) {
    const from = (<usize>channel) << 2
    let low = v128.load(starts + from)
    let high = v128.load(starts + from, 16)
    let factors = interleaved + from
    for (let place = addresses; place < end; place += 8, factors += pairBytes(eights)) {
      const a = v128.load_ext<i8>(<usize>load<u32>(place) + channel)
      const b = v128.load_ext<i8>(<usize>load<u32>(place, 4) + channel)
      low = i32x4.add(low, i32x4.dot_i16x8_s(v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11), v128.load(factors)))
      const rest = v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
      high = i32x4.add(high, i32x4.dot_i16x8_s(rest, v128.load(factors, 16)))
    }
    if (powers === 0) {
      const shifts = <usize>load<u32>(words, 20)
      v128.store(sums, low)
      v128.store(sums, high, 16)
      requantizeEach(sums, 8, out + channel, multipliers + from, shifts + from, outputOffset, least, most)
      continue
    }
    const bytes = requantize8(
      low,
      high,
      v128.load(multipliers + from),
      v128.load(multipliers + from, 16),
      v128.load(powers + from),
      v128.load(powers + from, 16),
      shift,
      offset8,
    )
    v128.store64_lane(out + channel, i8x16.min_s(i8x16.max_s(bytes, least16), most16), 0)
  }
}

/** int8 depthwise convolution, NHWC, weights [1, rows, columns, channels * multiplier].
 *  Words: as `conv2d`, with the depth multiplier where that has its depth. Scratch for a multiplier of 1: two vectors of sums, weights in pairs, starts, a row of zero
 *  points and an address for each place of the filter; `../kernels/convolution.ts` counts them. */
export function depthwiseConv2d(words: usize): void {
  const input = <usize>load<u32>(words)
  const weights = <usize>load<u32>(words, 4)
  const bias = <usize>load<u32>(words, 8)
  let out = <usize>load<u32>(words, 12)
  const multipliers = <usize>load<u32>(words, 16)
  const shifts = <usize>load<u32>(words, 20)
  const batches = load<i32>(words, 32)
  const height = load<i32>(words, 36)
  const width = load<i32>(words, 40)
  const channels = load<i32>(words, 44)
  const rows = load<i32>(words, 48)
  const columns = load<i32>(words, 52)
  const multiplier = load<i32>(words, 56)
  const outputHeight = load<i32>(words, 60)
  const outputWidth = load<i32>(words, 64)
  const outputs = load<i32>(words, 68)
  const strideY = load<i32>(words, 72)
  const strideX = load<i32>(words, 76)
  const dilationY = load<i32>(words, 80)
  const dilationX = load<i32>(words, 84)
  const paddingY = load<i32>(words, 88)
  const paddingX = load<i32>(words, 92)
  const inputOffset = load<i32>(words, 96)
  const outputOffset = load<i32>(words, 100)
  const least = load<i32>(words, 104)
  const most = load<i32>(words, 108)

  const eights = multiplier !== 1 ? 0 : outputs & ~7
  const places = rows * columns
  const pairs = (places + 1) >> 1
  const sums = <usize>load<u32>(16)
  const interleaved = sums + 32
  const starts = interleaved + <usize>pairs * pairBytes(eights)
  const zeros = starts + pairBytes(eights)
  const addresses = zeros + ((<usize>eights + 15) & ~15)
  if (eights > 0) {
    interleave(words, interleaved, starts, eights, places)
    memory.fill(zeros, <u8>-inputOffset, eights)
    // The partner of the last place, whose weights are zeros.
    store<u32>(addresses + ((<usize>places) << 2), <u32>zeros)
  }
  for (let batch = 0; batch < batches; batch++) {
    const image = input + <usize>(batch * height * width * channels)
    for (let outY = 0; outY < outputHeight; outY++) {
      const y = outY * strideY - paddingY
      for (let outX = 0; outX < outputWidth; outX++, out += <usize>outputs) {
        const x = outX * strideX - paddingX
        if (eights > 0) {
          let place = addresses
          for (let row = 0; row < rows; row++) {
            const fromY = y + row * dilationY
            const inside = fromY >= 0 && fromY < height
            for (let column = 0; column < columns; column++, place += 4) {
              const fromX = x + column * dilationX
              const at = image + <usize>((fromY * width + fromX) * channels)
              store<u32>(place, <u32>(inside && fromX >= 0 && fromX < width ? at : zeros))
            }
          }
        }
        if (eights > 0) convolvePlace(words, addresses, pairs, eights, out)
        for (let channel = eights; channel < outputs; channel++) {
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
