import { clamp, requantize, requantize8, requantizeEach, sums4 } from './fixed-point'

/** Copies one row of a patch as int16, offset added.
 *  @param bytes of consecutive elements */
function widen(to: usize, from: usize, bytes: i32, offset: i32): void {
  const offset8 = i16x8.splat(<i16>offset)
  let at = 0
  for (; at + 8 <= bytes; at += 8) {
    v128.store(to + ((<usize>at) << 1), i16x8.add(v128.load_ext<i8>(from + at), offset8))
  }
  if (at + 4 <= bytes) {
    const four = i16x8.extend_low_i8x16_s(v128.load32_zero(from + at))
    v128.store64_lane(to + ((<usize>at) << 1), i16x8.add(four, offset8), 0)
    at += 4
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

/** Where the second of two patches is from the first, where both fit; a constant, so that one address serves both. */
const SECOND: usize = 4_096

/** Sums of products of two patches with rows of weights, four at a time, all widened to int16. Exported so that it stays a function of its own:
 *  within its caller the sums would not stay in registers.
 *  @param patch the first; the second is at SECOND from it
 *  @param rows eight elements of each of four rows in turn, then the next four
 *  @param sums two vectors for four rows: of the first patch and of the second, a row a lane */
export function sumWidened(patch: usize, rows: usize, depth: usize, count: i32, sums: usize): void {
  const end = patch + (depth << 1)
  let row = rows
  let out = sums
  for (let channel = 0; channel < count; channel += 4, out += 32) {
    let a0 = i32x4.splat(0)
    let a1 = a0
    let a2 = a0
    let a3 = a0
    let b0 = a0
    let b1 = a0
    let b2 = a0
    let b3 = a0
    for (let at = patch; at < end; at += 16, row += 64) {
      const a = v128.load(at)
      const b = v128.load(at, SECOND)
      let w = v128.load(row)
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(a, w))
      b0 = i32x4.add(b0, i32x4.dot_i16x8_s(b, w))
      w = v128.load(row, 16)
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(a, w))
      b1 = i32x4.add(b1, i32x4.dot_i16x8_s(b, w))
      w = v128.load(row, 32)
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(a, w))
      b2 = i32x4.add(b2, i32x4.dot_i16x8_s(b, w))
      w = v128.load(row, 48)
      a3 = i32x4.add(a3, i32x4.dot_i16x8_s(a, w))
      b3 = i32x4.add(b3, i32x4.dot_i16x8_s(b, w))
    }
    v128.store(out, sums4(a0, a1, a2, a3))
    v128.store(out, sums4(b0, b1, b2, b3), 16)
  }
}

/** Widens rows of weights, four at a time and eight elements of each in turn, zeros at the end of a row up to a multiple of eight. */
function widenRows(weights: usize, rows: i32, depth: usize, to: usize): void {
  const eights = depth & ~7
  let out = to
  for (let row = 0; row < rows; row += 4) {
    const from = weights + <usize>row * depth
    for (let at: usize = 0; at < depth; at += 8) {
      for (let own: usize = 0; own < 4; own++, out += 16) {
        const source = from + own * depth + at
        if (at < eights) {
          v128.store(out, v128.load_ext<i8>(source))
          continue
        }
        v128.store(out, i64x2.splat(0))
        for (let tail: usize = 0; tail < depth - eights; tail++) store<i16>(out + (tail << 1), load<i8>(source + tail))
      }
    }
  }
}

/** Channels of two outputs from their sums: bias, factors, offset, bounds. The second is written first: where there is none, it has the place of
 *  the first, which then covers it. */
export function finish(words: usize, sums: usize, begin: i32, count: i32, outFirst: usize, outSecond: usize): void {
  const bias = <usize>load<u32>(words, 8)
  const multipliers = <usize>load<u32>(words, 16)
  const powers = <usize>load<u32>(words, 24)
  const shift = load<i32>(words, 28)
  const outputOffset = load<i32>(words, 100)
  const least = load<i32>(words, 104)
  const most = load<i32>(words, 108)
  const offset8 = i16x8.splat(<i16>outputOffset)
  const least16 = i8x16.splat(<i8>least)
  const most16 = i8x16.splat(<i8>most)
  const end = begin + count
  let at = sums
  for (let channel = begin; channel < end; channel += 4, at += 32) {
    const from = (<usize>channel) << 2
    let a = v128.load(at)
    let b = v128.load(at, 16)
    if (bias !== 0) {
      const start = v128.load(bias + from)
      a = i32x4.add(a, start)
      b = i32x4.add(b, start)
    }
    if (powers === 0) {
      const shifts = <usize>load<u32>(words, 20)
      v128.store(at, a)
      v128.store(at, b, 16)
      requantizeEach(at + 16, 4, outSecond + channel, multipliers + from, shifts + from, outputOffset, least, most)
      requantizeEach(at, 4, outFirst + channel, multipliers + from, shifts + from, outputOffset, least, most)
      continue
    }
    const factors = v128.load(multipliers + from)
    const scales = v128.load(powers + from)
    const bytes = requantize8(a, b, factors, factors, scales, scales, shift, offset8)
    const bounded = i8x16.min_s(i8x16.max_s(bytes, least16), most16)
    v128.store32_lane(outSecond + channel, bounded, 1)
    v128.store32_lane(outFirst + channel, bounded, 0)
  }
}

/** Outputs of two patches on some channels one by one, from the weights where they are. */
function multiplyEach(
  words: usize,
  patch: usize,
  depth: usize,
  begin: i32,
  end: i32,
  outFirst: usize,
  outSecond: usize,
): void {
  const bias = <usize>load<u32>(words, 8)
  const multipliers = <usize>load<u32>(words, 16)
  const shifts = <usize>load<u32>(words, 20)
  const outputOffset = load<i32>(words, 100)
  const least = load<i32>(words, 104)
  const most = load<i32>(words, 108)
  let row = <usize>load<u32>(words, 4) + <usize>begin * depth
  for (let channel = begin; channel < end; channel++, row += depth) {
    const from = (<usize>channel) << 2
    let a = bias === 0 ? 0 : load<i32>(bias + from)
    let b = a
    const second = patch + secondOf(depth)
    for (let at: usize = 0; at < depth; at++) {
      const weight = <i32>load<i8>(row + at)
      a += weight * load<i16>(patch + (at << 1))
      b += weight * load<i16>(second + (at << 1))
    }
    const factor = load<i32>(multipliers + from)
    const own = load<i32>(shifts + from)
    store<i8>(outSecond + channel, clamp(requantize(b, factor, own) + outputOffset, least, most))
    store<i8>(outFirst + channel, clamp(requantize(a, factor, own) + outputOffset, least, most))
  }
}

/** Where the second patch is from the first. */
function secondOf(depth: usize): usize {
  return max(SECOND, ((depth << 1) + 15) & ~15)
}

/** Widened rows of this many bytes are in the scratch at a time; those of one step at least. */
const ROWS_BYTES = 16_384
/** Channels whose sums are in the scratch at a time. */
const CHANNELS = 256

/** int8 convolution, NHWC, weights [outputs, rows, columns, depth].
 *  Words: input, weights, bias (0 for none), output, multipliers, shifts, powers (0 for one by one), their shift, batches, height, width, channels,
 *  rows, columns, depth, output height, width, channels, stride y, x, dilation y, x, padding y, x, input offset, output offset,
 *  least, most. Scratch: sums, two patches, widened rows; `../kernels/convolution.ts` counts them. */
export function conv2d(words: usize): void {
  const input = <usize>load<u32>(words)
  const weights = <usize>load<u32>(words, 4)
  const output = <usize>load<u32>(words, 12)
  const batches = load<i32>(words, 32)
  const height = load<i32>(words, 36)
  const width = load<i32>(words, 40)
  const channels = load<i32>(words, 44)
  const depth = load<i32>(words, 56)
  const patch = <usize>(load<i32>(words, 48) * load<i32>(words, 52) * depth)
  const outputHeight = load<i32>(words, 60)
  const outputWidth = load<i32>(words, 64)
  const outputs = load<i32>(words, 68)
  const strideY = load<i32>(words, 72)
  const strideX = load<i32>(words, 76)
  const paddingY = load<i32>(words, 88)
  const paddingX = load<i32>(words, 92)
  const groups = channels / depth
  const groupOutputs = outputs / groups
  const sums = <usize>load<u32>(16)
  const first = sums + CHANNELS * 8
  const second = first + secondOf(patch)
  const rows = second + secondOf(patch)
  const padded = (patch + 7) & ~7
  const pixels = outputHeight * outputWidth
  // Widening pays where rows meet several outputs; patches further apart than a constant cannot be read with one address.
  const widened = pixels * batches >= 4 && padded << 1 <= SECOND
  const block = widened ? max(4, (ROWS_BYTES / ((<i32>padded) << 1)) & ~3) : groupOutputs
  memory.fill(first, 0, secondOf(patch) << 1)
  for (let group = 0; group < groups; group++) {
    for (let begin = 0; begin < groupOutputs; begin += block) {
      const end = min(begin + block, groupOutputs)
      const fours = begin + ((end - begin) & ~3)
      const from = group * groupOutputs
      if (widened) widenRows(weights + <usize>(from + begin) * patch, fours - begin, patch, rows)
      let out = output
      for (let batch = 0; batch < batches; batch++) {
        const image = input + <usize>(batch * height * width * channels + group * depth)
        for (let pixel = 0; pixel < pixels; pixel += 2) {
          const y = pixel / outputWidth
          gather(words, first, image, y * strideY - paddingY, (pixel - y * outputWidth) * strideX - paddingX)
          const next = pixel + 1
          const both = next < pixels
          if (both) {
            const nextY = next / outputWidth
            gather(words, second, image, nextY * strideY - paddingY, (next - nextY * outputWidth) * strideX - paddingX)
          }
          const outSecond = both ? out + <usize>outputs : out
          const count = fours - begin
          if (widened) sumWidened(first, rows, padded, count, sums)
          else sumRows(first, second, weights + <usize>(from + begin) * patch, patch, count, sums)
          finish(words, sums, from + begin, count, out, outSecond)
          if (fours < end) multiplyEach(words, first, patch, from + fours, from + end, out, outSecond)
          out += <usize>(both ? 2 * outputs : outputs)
        }
      }
    }
  }
}

/** As `sumWidened`, from the weights where they are, of any number of elements. */
export function sumRows(first: usize, second: usize, weights: usize, depth: usize, count: i32, sums: usize): void {
  let out = sums
  let row = weights
  for (let channel = 0; channel < count; channel += 4, out += 32, row += 4 * depth) {
    let a0 = i32x4.splat(0)
    let a1 = a0
    let a2 = a0
    let a3 = a0
    let b0 = a0
    let b1 = a0
    let b2 = a0
    let b3 = a0
    let a = first
    let b = second
    let w0 = row
    let w1 = row + depth
    let w2 = w1 + depth
    let w3 = w2 + depth
    const eights = row + (depth & ~7)
    while (w0 < eights) {
      const x = v128.load(a)
      const y = v128.load(b)
      let w = v128.load_ext<i8>(w0)
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(x, w))
      b0 = i32x4.add(b0, i32x4.dot_i16x8_s(y, w))
      w = v128.load_ext<i8>(w1)
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(x, w))
      b1 = i32x4.add(b1, i32x4.dot_i16x8_s(y, w))
      w = v128.load_ext<i8>(w2)
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(x, w))
      b2 = i32x4.add(b2, i32x4.dot_i16x8_s(y, w))
      w = v128.load_ext<i8>(w3)
      a3 = i32x4.add(a3, i32x4.dot_i16x8_s(x, w))
      b3 = i32x4.add(b3, i32x4.dot_i16x8_s(y, w))
      a += 16
      b += 16
      w0 += 8
      w1 += 8
      w2 += 8
      w3 += 8
    }
    let x = sums4(a0, a1, a2, a3)
    let y = sums4(b0, b1, b2, b3)
    const end = row + depth
    for (; w0 < end; w0++, w1++, w2++, w3++, a += 2, b += 2) {
      const w = i32x4(load<i8>(w0), load<i8>(w1), load<i8>(w2), load<i8>(w3))
      x = i32x4.add(x, i32x4.mul(w, i32x4.splat(load<i16>(a))))
      y = i32x4.add(y, i32x4.mul(w, i32x4.splat(load<i16>(b))))
    }
    v128.store(out, x)
    v128.store(out, y, 16)
  }
}
