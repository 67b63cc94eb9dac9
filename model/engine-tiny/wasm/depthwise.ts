import { clamp, requantize } from './fixed-point'
import { finishTiles } from './tiles'

/** Two int16, or one int32, for each channel. */
function pairBytes(channels: i32): usize {
  return (<usize>channels) << 2
}

/** Writes the weights two filter places at a time, one channel after the other, as int16, so that one
 *  instruction multiplies both and adds; the last place of an odd number has a partner of zeros. Then what the sums start from: bias, and
 *  the input's offset times the weights.
 *  @param eights channels, and what is behind them up to a multiple of eight, at which nobody looks */
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

/** Where the input is under each place of the filter for one output; outside of it, at zero points, of which nothing is left with the offset in the
 *  starts. */
function place(words: usize, to: usize, image: usize, y: i32, x: i32, zeros: usize): void {
  const height = load<i32>(words, 36)
  const width = load<i32>(words, 40)
  const channels = load<i32>(words, 44)
  const rows = load<i32>(words, 48)
  const columns = load<i32>(words, 52)
  const dilationY = load<i32>(words, 80)
  const dilationX = load<i32>(words, 84)
  const apart = <usize>(dilationX * channels)
  let out = to
  for (let row = 0; row < rows; row++) {
    const fromY = y + row * dilationY
    // As numbers without a sign those before the first are beyond the last.
    const inside = <u32>fromY < <u32>height ? <u32>width : 0
    let at = image + <usize>((fromY * width + x) * channels)
    let fromX = x
    for (let column = 0; column < columns; column++, out += 4, at += apart, fromX += dilationX) {
      store<u32>(out, <u32>(<u32>fromX < inside ? at : zeros))
    }
  }
}

/** Sums of some channels of two outputs, eight at a time. Exported so that it stays a function of its own: within its caller the sums would not stay in
 *  registers.
 *  @param first, second offsets of the input under each place of the filter
 *  @param firstBase, secondBase what they are from: 0 where they are addresses
 *  @param bytes of such offsets, two for each pair
 *  @param weights in pairs; the next pair is `step` bytes further
 *  @param sums for every eight channels those of the first output, then of the second; the next eight 128 bytes further */
export function sumPlaces(
  first: usize,
  firstBase: usize,
  second: usize,
  secondBase: usize,
  bytes: usize,
  begin: usize,
  count: usize,
  weights: usize,
  step: usize,
  starts: usize,
  sums: usize,
): void {
  let out = sums
  for (let channel = begin; channel < begin + count; channel += 8, out += 128) {
    let a0 = v128.load(starts + (channel << 2))
    let a1 = v128.load(starts + (channel << 2), 16)
    let b0 = a0
    let b1 = a1
    let pair = weights + (channel << 2)
    const ownFirst = firstBase + channel
    const ownSecond = secondBase + channel
    for (let at: usize = 0; at < bytes; at += 8, pair += step) {
      const low = v128.load(pair)
      const high = v128.load(pair, 16)
      let x = v128.load_ext<i8>(<usize>load<u32>(first + at) + ownFirst)
      let y = v128.load_ext<i8>(<usize>load<u32>(first + at, 4) + ownFirst)
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(v128.shuffle<i16>(x, y, 0, 8, 1, 9, 2, 10, 3, 11), low))
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(v128.shuffle<i16>(x, y, 4, 12, 5, 13, 6, 14, 7, 15), high))
      x = v128.load_ext<i8>(<usize>load<u32>(second + at) + ownSecond)
      y = v128.load_ext<i8>(<usize>load<u32>(second + at, 4) + ownSecond)
      b0 = i32x4.add(b0, i32x4.dot_i16x8_s(v128.shuffle<i16>(x, y, 0, 8, 1, 9, 2, 10, 3, 11), low))
      b1 = i32x4.add(b1, i32x4.dot_i16x8_s(v128.shuffle<i16>(x, y, 4, 12, 5, 13, 6, 14, 7, 15), high))
    }
    v128.store(out, a0)
    v128.store(out, a1, 16)
    v128.store(out, b0, 32)
    v128.store(out, b1, 48)
  }
}

/** Channels whose sums are in the scratch at a time. */
const CHANNELS: i32 = 64

/** int8 depthwise convolution, NHWC, weights [1, rows, columns, channels * multiplier].
 *  Words: as `conv2d`, with the depth multiplier where that has its depth. Scratch for a multiplier of 1: sums, weights in pairs, starts, a row of zero
 *  points, for two outputs an address for each place of the filter, and how far they are apart; `../kernels/convolution.ts` counts them. */
export function depthwiseConv2d(words: usize): void {
  if (load<i32>(words, 56) === 1) convolveChannels(words)
  else convolveEach(words)
}

/** An output for each channel of the input: two places of the output at a time. */
function convolveChannels(words: usize): void {
  const height = load<i32>(words, 36)
  const width = load<i32>(words, 40)
  const channels = load<i32>(words, 44)
  const places = load<i32>(words, 48) * load<i32>(words, 52)
  const outputHeight = load<i32>(words, 60)
  const outputWidth = load<i32>(words, 64)
  const strideY = load<i32>(words, 72)
  const strideX = load<i32>(words, 76)
  const paddingY = load<i32>(words, 88)
  const paddingX = load<i32>(words, 92)
  const eights = (channels + 7) & ~7
  const pairs = <usize>((places + 1) >> 1)
  const step = pairBytes(eights)
  const sums = <usize>load<u32>(16)
  const weights = sums + <usize>(CHANNELS * 16)
  const starts = weights + pairs * step
  const zeros = starts + step
  const first = zeros + ((<usize>eights + 15) & ~15)
  const second = first + (pairs << 3)
  // Where all places are inside they are as far from the first as anywhere.
  const inside = second + (pairs << 3)
  const spanY = (load<i32>(words, 48) - 1) * load<i32>(words, 80)
  const spanX = (load<i32>(words, 52) - 1) * load<i32>(words, 84)
  interleave(words, weights, starts, eights, places)
  memory.fill(zeros, <u8>-load<i32>(words, 96), eights)
  if (spanY < height && spanX < width) place(words, inside, 0, 0, 0, zeros)
  if ((places & 1) !== 0) {
    // The partners of the last place, whose weights are zeros.
    store<u32>(second - 4, <u32>zeros)
    store<u32>(inside - 4, <u32>zeros)
    store<u32>(inside - 4 + (pairs << 3), 0)
  }
  let image = <usize>load<u32>(words)
  let out = <usize>load<u32>(words, 12)
  let y = 0
  let x = 0
  let table = first
  let base: usize = 0
  for (let left = load<i32>(words, 32) * outputHeight * outputWidth; left > 0; left -= 2) {
    let firstTable = first
    let firstBase: usize = 0
    const two = min(left, 2)
    for (let own = 0; own < two; own++) {
      const fromY = y * strideY - paddingY
      const fromX = x * strideX - paddingX
      if (own === 1) {
        firstTable = table
        firstBase = base
      }
      if (fromY >= 0 && fromX >= 0 && fromY + spanY < height && fromX + spanX < width) {
        table = inside
        base = image + <usize>((fromY * width + fromX) * channels)
      } else {
        table = own === 0 ? first : second
        base = 0
        place(words, table, image, fromY, fromX, zeros)
      }
      if (++x < outputWidth) continue
      x = 0
      if (++y < outputHeight) continue
      y = 0
      image += <usize>(height * width * channels)
    }
    if (two === 1) {
      // Without a second the first is computed twice.
      firstTable = table
      firstBase = base
    }
    const outOther = two === 2 ? out + <usize>channels : out
    for (let begin = 0; begin < channels; begin += CHANNELS) {
      const count = min(CHANNELS, channels - begin)
      sumPlaces(firstTable, firstBase, table, base, pairs << 3, begin, count, weights, step, starts, sums)
      finishTiles(words, sums, begin, count, out, outOther)
    }
    out += <usize>(2 * channels)
  }
}

/** Several outputs for each channel, one by one. */
function convolveEach(words: usize): void {
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
  for (let batch = 0; batch < batches; batch++) {
    const image = input + <usize>(batch * height * width * channels)
    for (let outY = 0; outY < outputHeight; outY++) {
      const y = outY * strideY - paddingY
      for (let outX = 0; outX < outputWidth; outX++, out += <usize>outputs) {
        const x = outX * strideX - paddingX
        for (let channel = 0; channel < outputs; channel++) {
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
