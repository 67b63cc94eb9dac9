import { clamp, requantize, requantize8, sums4 } from './fixed-point'

/** Copies one row of a patch as int16, offset added.
 *  @param bytes of consecutive elements */
function widen(to: usize, from: usize, bytes: i32, offset: i32): void {
  const offset8 = i16x8.splat(<i16>offset)
  let at = 0
  for (; at + 8 <= bytes; at += 8) {
    v128.store(to + ((<usize>at) << 1), i16x8.add(v128.load_ext<i8>(from + at), offset8))
  }
  for (; at < bytes; at++) store<i16>(to + ((<usize>at) << 1), <i16>(<i32>load<i8>(from + at) + offset))
}

/** The patch of input under one output as int16, zero where it hangs over the edge. */
function gather(words: usize, patch: usize, image: usize, y: i32, x: i32): void {
  const height = load<i32>(words, 36)
  const width = load<i32>(words, 40)
  const channels = load<i32>(words, 44)
  const rows = load<i32>(words, 48)
  const columns = load<i32>(words, 52)
  const depth = load<i32>(words, 56)
  const dilationY = load<i32>(words, 80)
  const dilationX = load<i32>(words, 84)
  const offset = load<i32>(words, 96)
  const rowBytes = (<usize>(columns * depth)) << 1
  const together = dilationX === 1 && depth === channels
  let to = patch
  for (let row = 0; row < rows; row++, to += rowBytes) {
    const fromY = y + row * dilationY
    if (fromY < 0 || fromY >= height) {
      memory.fill(to, 0, rowBytes)
      continue
    }
    const line = image + <usize>(fromY * width * channels)
    if (together) {
      const first = max(0, -x)
      const end = min(columns, width - x)
      if (first > 0) memory.fill(to, 0, (<usize>(min(first, columns) * depth)) << 1)
      if (end < columns)
        memory.fill(to + ((<usize>(max(end, 0) * depth)) << 1), 0, (<usize>((columns - max(end, 0)) * depth)) << 1)
      if (end > first) {
        widen(
          to + ((<usize>(first * depth)) << 1),
          line + <usize>((x + first) * channels),
          (end - first) * depth,
          offset,
        )
      }
      continue
    }
    for (let column = 0; column < columns; column++) {
      const fromX = x + column * dilationX
      const at = to + ((<usize>(column * depth)) << 1)
      if (fromX < 0 || fromX >= width) memory.fill(at, 0, (<usize>depth) << 1)
      else widen(at, line + <usize>(fromX * channels), depth, offset)
    }
  }
}

/** Products of up to two patches with the weights of some output channels, which lie in rows of `depth` bytes.
 *  @param second the second patch; the first again where there is none, and its outputs then fall on the first's */
function multiply(
  words: usize,
  first: usize,
  second: usize,
  depth: usize,
  begin: i32,
  end: i32,
  outFirst: usize,
  outSecond: usize,
): void {
  const bias = <usize>load<u32>(words, 8)
  const multipliers = <usize>load<u32>(words, 16)
  const shifts = <usize>load<u32>(words, 20)
  const powers = <usize>load<u32>(words, 24)
  const outputOffset = load<i32>(words, 100)
  const least = load<i32>(words, 104)
  const most = load<i32>(words, 108)
  const shift = load<i32>(words, 28)
  const offset8 = i16x8.splat(<i16>outputOffset)
  const least16 = i8x16.splat(<i8>least)
  const most16 = i8x16.splat(<i8>most)
  const sixteens = depth & ~15
  const eights = depth & ~7
  const fours = powers === 0 ? begin : begin + ((end - begin) & ~3)
  let channel = begin
  let row = <usize>load<u32>(words, 4) + <usize>begin * depth
  for (; channel < fours; channel += 4, row += 4 * depth) {
    const row1 = row + depth
    const row2 = row1 + depth
    const row3 = row2 + depth
    let a0 = i32x4.splat(0)
    let a1 = a0
    let a2 = a0
    let a3 = a0
    let b0 = a0
    let b1 = a0
    let b2 = a0
    let b3 = a0
    let at: usize = 0
    // Two steps at a time: addresses are counted once for both.
    for (; at < sixteens; at += 16) {
      let a = v128.load(first + (at << 1))
      let b = v128.load(second + (at << 1))
      let w = v128.load_ext<i8>(row + at)
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(a, w))
      b0 = i32x4.add(b0, i32x4.dot_i16x8_s(b, w))
      w = v128.load_ext<i8>(row1 + at)
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(a, w))
      b1 = i32x4.add(b1, i32x4.dot_i16x8_s(b, w))
      w = v128.load_ext<i8>(row2 + at)
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(a, w))
      b2 = i32x4.add(b2, i32x4.dot_i16x8_s(b, w))
      w = v128.load_ext<i8>(row3 + at)
      a3 = i32x4.add(a3, i32x4.dot_i16x8_s(a, w))
      b3 = i32x4.add(b3, i32x4.dot_i16x8_s(b, w))
      a = v128.load(first + (at << 1), 16)
      b = v128.load(second + (at << 1), 16)
      w = v128.load_ext<i8>(row + at, 8)
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(a, w))
      b0 = i32x4.add(b0, i32x4.dot_i16x8_s(b, w))
      w = v128.load_ext<i8>(row1 + at, 8)
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(a, w))
      b1 = i32x4.add(b1, i32x4.dot_i16x8_s(b, w))
      w = v128.load_ext<i8>(row2 + at, 8)
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(a, w))
      b2 = i32x4.add(b2, i32x4.dot_i16x8_s(b, w))
      w = v128.load_ext<i8>(row3 + at, 8)
      a3 = i32x4.add(a3, i32x4.dot_i16x8_s(a, w))
      b3 = i32x4.add(b3, i32x4.dot_i16x8_s(b, w))
    }
    if (at < eights) {
      const a = v128.load(first + (at << 1))
      const b = v128.load(second + (at << 1))
      let w = v128.load_ext<i8>(row + at)
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(a, w))
      b0 = i32x4.add(b0, i32x4.dot_i16x8_s(b, w))
      w = v128.load_ext<i8>(row1 + at)
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(a, w))
      b1 = i32x4.add(b1, i32x4.dot_i16x8_s(b, w))
      w = v128.load_ext<i8>(row2 + at)
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(a, w))
      b2 = i32x4.add(b2, i32x4.dot_i16x8_s(b, w))
      w = v128.load_ext<i8>(row3 + at)
      a3 = i32x4.add(a3, i32x4.dot_i16x8_s(a, w))
      b3 = i32x4.add(b3, i32x4.dot_i16x8_s(b, w))
      at += 8
    }
    let a = sums4(a0, a1, a2, a3)
    let b = sums4(b0, b1, b2, b3)
    for (; at < depth; at++) {
      const weights = i32x4(load<i8>(row + at), load<i8>(row1 + at), load<i8>(row2 + at), load<i8>(row3 + at))
      a = i32x4.add(a, i32x4.mul(weights, i32x4.splat(load<i16>(first + (at << 1)))))
      b = i32x4.add(b, i32x4.mul(weights, i32x4.splat(load<i16>(second + (at << 1)))))
    }
    const from = (<usize>channel) << 2
    const factors = v128.load(multipliers + from)
    const scales = v128.load(powers + from)
    if (bias !== 0) {
      const start = v128.load(bias + from)
      a = i32x4.add(a, start)
      b = i32x4.add(b, start)
    }
    const bytes = requantize8(a, b, factors, factors, scales, scales, shift, offset8)
    const bounded = i8x16.min_s(i8x16.max_s(bytes, least16), most16)
    v128.store32_lane(outFirst + channel, bounded, 0)
    v128.store32_lane(outSecond + channel, bounded, 1)
  }
  for (; channel < end; channel++, row += depth) {
    const from = (<usize>channel) << 2
    let a = bias === 0 ? 0 : load<i32>(bias + from)
    let b = a
    for (let at: usize = 0; at < depth; at++) {
      const weight = <i32>load<i8>(row + at)
      a += weight * load<i16>(first + (at << 1))
      b += weight * load<i16>(second + (at << 1))
    }
    const factor = load<i32>(multipliers + from)
    const own = load<i32>(shifts + from)
    store<i8>(outFirst + channel, clamp(requantize(a, factor, own) + outputOffset, least, most))
    store<i8>(outSecond + channel, clamp(requantize(b, factor, own) + outputOffset, least, most))
  }
}

/** int8 convolution, NHWC, weights [outputs, rows, columns, depth].
 *  Words: input, weights, bias (0 for none), output, multipliers, shifts, powers (0 for the slow way), their shift, batches, height, width, channels,
 *  rows, columns, depth, output height, width, channels, stride y, x, dilation y, x, padding y, x, input offset, output offset,
 *  least, most. Scratch: two patches of rows * columns * depth int16, each rounded up to 16 bytes. */
export function conv2d(words: usize): void {
  const input = <usize>load<u32>(words)
  let out = <usize>load<u32>(words, 12)
  const batches = load<i32>(words, 32)
  const height = load<i32>(words, 36)
  const width = load<i32>(words, 40)
  const channels = load<i32>(words, 44)
  const depth = load<i32>(words, 56)
  const patch = load<i32>(words, 48) * load<i32>(words, 52) * depth
  const outputHeight = load<i32>(words, 60)
  const outputWidth = load<i32>(words, 64)
  const outputs = load<i32>(words, 68)
  const strideY = load<i32>(words, 72)
  const strideX = load<i32>(words, 76)
  const paddingY = load<i32>(words, 88)
  const paddingX = load<i32>(words, 92)
  const groups = channels / depth
  const groupOutputs = outputs / groups
  const first = <usize>load<u32>(16)
  const second = first + ((((<usize>patch) << 1) + 15) & ~15)
  const pixels = outputHeight * outputWidth
  for (let batch = 0; batch < batches; batch++) {
    const image = input + <usize>(batch * height * width * channels)
    for (let pixel = 0; pixel < pixels; pixel += 2, out += <usize>(2 * outputs)) {
      const next = pixel + 1
      const both = next < pixels
      for (let group = 0; group < groups; group++) {
        const from = image + <usize>(group * depth)
        const y = pixel / outputWidth
        gather(words, first, from, y * strideY - paddingY, (pixel - y * outputWidth) * strideX - paddingX)
        if (both) {
          const nextY = next / outputWidth
          gather(words, second, from, nextY * strideY - paddingY, (next - nextY * outputWidth) * strideX - paddingX)
        }
        const channel = group * groupOutputs
        const outSecond = both ? out + <usize>outputs : out
        multiply(words, first, both ? second : first, <usize>patch, channel, channel + groupOutputs, out, outSecond)
      }
    }
    if ((pixels & 1) !== 0) out -= <usize>outputs
  }
}
