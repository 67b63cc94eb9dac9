import { sums4 } from './fixed-point'
import { finishTiles } from './tiles'

// Elements are copied by eights, in ascending order: what goes beyond the end of a row is written over by the next row, and beyond the end of a patch
// by the next patch, or it meets weights of zero. So up to seven bytes behind an input are read, and come into no result.

/** Copies one row of a patch as int16, offset added.
 *  @param bytes of consecutive elements */
function widen(to: usize, from: usize, bytes: i32, offset8: v128): void {
  for (let at: usize = 0; at < <usize>bytes; at += 8) {
    v128.store(to + (at << 1), i16x8.add(v128.load_ext<i8>(from + at), offset8))
  }
}

/** Zeros in place of elements outside the input. A loop, for `memory.fill` calls out of the module, which takes longer than a row. */
function clear(to: usize, elements: i32): void {
  const end = to + ((<usize>elements) << 1)
  for (let at = to; at < end; at += 16) v128.store(at, i64x2.splat(0))
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
  const offset8 = i16x8.splat(<i16>load<i32>(words, 96))
  const rowBytes = (<usize>(columns * depth)) << 1
  const together = dilationX === 1 && depth === channels
  const line = <usize>(dilationY * width * channels)
  // Columns and rows inside the input.
  const first = min(columns, max(0, -x))
  const end = max(first, min(columns, width - x))
  const top = y >= 0 ? 0 : min(rows, (dilationY - 1 - y) / dilationY)
  const beyond = y + rows * dilationY - height
  const bottom = max(top, beyond <= 0 ? rows : min(rows, (height - y + dilationY - 1) / dilationY))
  if (top > 0) clear(patch, top * columns * depth)
  let to = patch + <usize>top * rowBytes
  const last = patch + <usize>bottom * rowBytes
  let from = image + <usize>(((y + top * dilationY) * width + x) * channels)
  if (together && first === 0 && end === columns) {
    const elements = columns * depth
    if (elements <= 8) {
      for (; to < last; to += rowBytes, from += line) v128.store(to, i16x8.add(v128.load_ext<i8>(from), offset8))
    } else {
      for (; to < last; to += rowBytes, from += line) widen(to, from, elements, offset8)
    }
  } else if (together) {
    for (; to < last; to += rowBytes, from += line) {
      clear(to, first * depth)
      widen(to + ((<usize>(first * depth)) << 1), from + <usize>(first * channels), (end - first) * depth, offset8)
      clear(to + ((<usize>(end * depth)) << 1), (columns - end) * depth)
    }
  } else {
    const apart = <usize>(dilationX * channels)
    for (; to < last; from += line) {
      let at = from
      for (let column = 0; column < columns; column++, at += apart, to += (<usize>depth) << 1) {
        if (<u32>(x + column * dilationX) < <u32>width) widen(to, at, depth, offset8)
        else clear(to, depth)
      }
    }
  }
  if (bottom < rows) clear(last, (rows - bottom) * columns * depth)
}

/** Four rows of four pairs of int16 as four columns, a pair being what one instruction multiplies and adds.
 *  @param apart bytes from a column to the next where they are written */
function transpose(a: v128, b: v128, c: v128, d: v128, to: usize, apart: usize): void {
  const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5)
  const cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5)
  v128.store(to, v128.shuffle<i64>(ab, cd, 0, 2))
  v128.store(to + apart, v128.shuffle<i64>(ab, cd, 1, 3))
  const rest = v128.shuffle<i32>(a, b, 2, 6, 3, 7)
  const others = v128.shuffle<i32>(c, d, 2, 6, 3, 7)
  v128.store(to + 2 * apart, v128.shuffle<i64>(rest, others, 0, 2))
  v128.store(to + 3 * apart, v128.shuffle<i64>(rest, others, 1, 3))
}

/** Four patches, one behind the other, pair by pair: the first of each, then the second of each.
 *  @param depth elements of a patch, a multiple of eight */
function interleave(patches: usize, depth: usize, to: usize): void {
  const bytes = depth << 1
  const end = patches + bytes
  let out = to
  for (let at = patches; at < end; at += 16, out += 64) {
    const third = at + 2 * bytes
    transpose(v128.load(at), v128.load(at + bytes), v128.load(third), v128.load(third + bytes), out, 16)
  }
}

/** Rows of weights as int16, eight rows pair by pair, zeros behind a row's end up to a multiple of eight. Where fewer than eight rows are left, the
 *  last takes the place of those that are missing; nobody looks at its sums there. */
function packRows(weights: usize, rows: i32, depth: i32, to: usize): void {
  const last = weights + <usize>((rows - 1) * depth)
  const lanes = i16x8(0, 1, 2, 3, 4, 5, 6, 7)
  for (let row = 0; row < rows; row += 4) {
    // Two fours make eight rows, whose pairs lie beside each other.
    let out = to + <usize>((row >> 3) * ((depth + 7) >> 3) * 128) + ((<usize>row & 4) << 2)
    const first = min(weights + <usize>(row * depth), last)
    const second = min(first + <usize>depth, last)
    const third = min(second + <usize>depth, last)
    const fourth = min(third + <usize>depth, last)
    for (let at = 0; at < depth; at += 8, out += 128) {
      const kept = i16x8.lt_s(lanes, i16x8.splat(<i16>min(8, depth - at)))
      const a = v128.and(v128.load_ext<i8>(first + at), kept)
      const b = v128.and(v128.load_ext<i8>(second + at), kept)
      const c = v128.and(v128.load_ext<i8>(third + at), kept)
      transpose(a, b, c, v128.and(v128.load_ext<i8>(fourth + at), kept), out, 32)
    }
  }
}

/** Sums of products of four patches with rows of weights, eight rows at a time. Exported so that it stays a function of its own: within its caller the
 *  sums would not stay in registers.
 *  @param patches pair by pair, as `interleave` makes them
 *  @param rows as `packRows` makes them
 *  @param depth elements of a row, a multiple of eight
 *  @param bias what the sums start from; 0 for none
 *  @param sums for every eight rows those of the first patch, of the second and on */
export function sumTiles(patches: usize, rows: usize, depth: usize, count: i32, bias: usize, sums: usize): void {
  const end = patches + (depth << 3)
  let row = rows
  let out = sums
  for (let channel = 0; channel < count; channel += 8, out += 128) {
    let a0 = i32x4.splat(0)
    let a1 = a0
    if (bias !== 0) {
      a0 = v128.load(bias + ((<usize>channel) << 2))
      a1 = v128.load(bias + ((<usize>channel) << 2), 16)
    }
    let b0 = a0
    let b1 = a1
    let c0 = a0
    let c1 = a1
    let d0 = a0
    let d1 = a1
    for (let at = patches; at < end; at += 32, row += 64) {
      let low = v128.load(row)
      let high = v128.load(row, 16)
      let pair = v128.load32_splat(at)
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(pair, low))
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(pair, high))
      pair = v128.load32_splat(at, 4)
      b0 = i32x4.add(b0, i32x4.dot_i16x8_s(pair, low))
      b1 = i32x4.add(b1, i32x4.dot_i16x8_s(pair, high))
      pair = v128.load32_splat(at, 8)
      c0 = i32x4.add(c0, i32x4.dot_i16x8_s(pair, low))
      c1 = i32x4.add(c1, i32x4.dot_i16x8_s(pair, high))
      pair = v128.load32_splat(at, 12)
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(pair, low))
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(pair, high))
      low = v128.load(row, 32)
      high = v128.load(row, 48)
      pair = v128.load32_splat(at, 16)
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(pair, low))
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(pair, high))
      pair = v128.load32_splat(at, 20)
      b0 = i32x4.add(b0, i32x4.dot_i16x8_s(pair, low))
      b1 = i32x4.add(b1, i32x4.dot_i16x8_s(pair, high))
      pair = v128.load32_splat(at, 24)
      c0 = i32x4.add(c0, i32x4.dot_i16x8_s(pair, low))
      c1 = i32x4.add(c1, i32x4.dot_i16x8_s(pair, high))
      pair = v128.load32_splat(at, 28)
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(pair, low))
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(pair, high))
    }
    v128.store(out, a0)
    v128.store(out, a1, 16)
    v128.store(out, b0, 32)
    v128.store(out, b1, 48)
    v128.store(out, c0, 64)
    v128.store(out, c1, 80)
    v128.store(out, d0, 96)
    v128.store(out, d1, 112)
  }
}

/** int8 convolution, NHWC, weights [outputs, rows, columns, depth].
 *  Words: input, weights, bias (0 for none), output, multipliers, shifts, powers (0 for one by one), their shift, batches, height, width, channels,
 *  rows, columns, depth, output height, width, channels, stride y, x, dilation y, x, padding y, x, input offset, output offset,
 *  least, most, float factors, distance (float32), rows of weights that are packed at a time (0 to read them where they are). Scratch: `../kernels/convolution.ts` counts it. */
export function conv2d(words: usize): void {
  if (load<i32>(words, 120) !== 0) convolveTiles(words)
  else convolvePatches(words)
}

/** Four outputs at a time, and weights packed, some channels of them after the other. Scratch: packed weights, sums, four patches one behind the other and
 *  what the last goes beyond its end, the same pair by pair. */
function convolveTiles(words: usize): void {
  const weights = <usize>load<u32>(words, 4)
  const bias = <usize>load<u32>(words, 8)
  const channels = load<i32>(words, 44)
  const depth = load<i32>(words, 56)
  const patch = load<i32>(words, 48) * load<i32>(words, 52) * depth
  const outputs = load<i32>(words, 68)
  const block = load<i32>(words, 120)
  const groups = channels / depth
  const groupOutputs = outputs / groups
  const padded = <usize>((patch + 7) & ~7)
  const rows = <usize>load<u32>(16)
  const sums = rows + (padded << 1) * <usize>block
  const patches = sums + ((<usize>block) << 4)
  const pairs = patches + (padded << 3) + 16
  for (let group = 0; group < groups; group++) {
    for (let begin = 0; begin < groupOutputs; begin += block) {
      const count = min(block, groupOutputs - begin)
      const from = group * groupOutputs + begin
      packRows(weights + <usize>(from * patch), count, patch, rows)
      const start = bias === 0 ? 0 : bias + ((<usize>from) << 2)
      convolveBlock(words, group * depth, from, count, start, rows, sums, patches, pairs)
    }
  }
}

/** Some channels of all outputs, from packed weights. */
function convolveBlock(
  words: usize,
  channel: i32,
  begin: i32,
  count: i32,
  bias: usize,
  rows: usize,
  sums: usize,
  patches: usize,
  pairs: usize,
): void {
  const height = load<i32>(words, 36)
  const width = load<i32>(words, 40)
  const channels = load<i32>(words, 44)
  const depth = load<i32>(words, 56)
  const places = load<i32>(words, 48) * load<i32>(words, 52)
  const outputHeight = load<i32>(words, 60)
  const outputWidth = load<i32>(words, 64)
  const outputs = <usize>load<u32>(words, 68)
  const strideY = load<i32>(words, 72)
  const strideX = load<i32>(words, 76)
  const paddingY = load<i32>(words, 88)
  const paddingX = load<i32>(words, 92)
  const padded = <usize>((places * depth + 7) & ~7)
  // Outputs that are made of one place each, the next of the next: four patches lie together as they are.
  const plain = places === 1 && strideY === 1 && strideX === 1 && <usize>channels === padded
  const offset8 = i16x8.splat(<i16>load<i32>(words, 96))
  let image = <usize>load<u32>(words) + <usize>channel
  let out = <usize>load<u32>(words, 12)
  let y = 0
  let x = 0
  let left = load<i32>(words, 32) * outputHeight * outputWidth
  for (; left > 0; left -= 4) {
    const four = min(left, 4)
    if (plain) {
      widen(patches, image, four * channels, offset8)
      image += <usize>(four * channels)
    } else {
      for (let own: usize = 0; own < <usize>four; own++) {
        gather(words, patches + own * (padded << 1), image, y * strideY - paddingY, x * strideX - paddingX)
        if (++x < outputWidth) continue
        x = 0
        if (++y < outputHeight) continue
        y = 0
        image += <usize>(height * width * channels)
      }
    }
    interleave(patches, padded, pairs)
    sumTiles(pairs, rows, padded, count, bias, sums)
    finishTiles(words, sums, begin, count, out, four > 1 ? out + outputs : out)
    if (four > 2) {
      const third = out + 2 * outputs
      finishTiles(words, sums + 64, begin, count, third, four > 3 ? third + outputs : third)
    }
    out += 4 * outputs
  }
}

/** Channels whose sums are in the scratch at a time where weights are read in place. */
const CHANNELS = 64

/** Two outputs at a time, weights where they are: where there are few outputs, or rows too long to pack eight. Scratch: sums, two patches and what each goes
 *  beyond its end. */
function convolvePatches(words: usize): void {
  const weights = <usize>load<u32>(words, 4)
  const bias = <usize>load<u32>(words, 8)
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
  const first = sums + CHANNELS * 16
  const second = first + (((patch << 1) + 31) & ~15)
  const pixels = outputHeight * outputWidth
  let out = <usize>load<u32>(words, 12)
  for (let batch = 0; batch < load<i32>(words, 32); batch++) {
    const image = <usize>load<u32>(words) + <usize>(batch * height * width * channels)
    for (let pixel = 0; pixel < pixels; pixel += 2, out += <usize>(2 * outputs)) {
      const both = pixel + 1 < pixels
      const outSecond = both ? out + <usize>outputs : out
      for (let group = 0; group < groups; group++) {
        const from = image + <usize>(group * depth)
        const y = pixel / outputWidth
        gather(words, first, from, y * strideY - paddingY, (pixel - y * outputWidth) * strideX - paddingX)
        if (both) {
          const next = (pixel + 1) / outputWidth
          const x = pixel + 1 - next * outputWidth
          gather(words, second, from, next * strideY - paddingY, x * strideX - paddingX)
        }
        for (let begin = group * groupOutputs; begin < (group + 1) * groupOutputs; begin += CHANNELS) {
          const count = min(CHANNELS, (group + 1) * groupOutputs - begin)
          const start = bias === 0 ? 0 : bias + ((<usize>begin) << 2)
          sumRows(first, second, weights + <usize>begin * patch, patch, count, start, sums)
          finishTiles(words, sums, begin, count, out, outSecond)
        }
      }
    }
    // An odd number leaves the last without a partner.
    if ((pixels & 1) !== 0) out -= <usize>outputs
  }
}

/** Sums of two patches from the weights where they are, four rows at a time. Exported for the same reason as `sumTiles`, whose places the sums have.
 *  @param depth elements of a row, any number */
export function sumRows(
  first: usize,
  second: usize,
  weights: usize,
  depth: usize,
  count: i32,
  bias: usize,
  sums: usize,
): void {
  const last = weights + <usize>(count - 1) * depth
  let row = weights
  for (let channel = 0; channel < count; channel += 4, row += 4 * depth) {
    const out = sums + ((<usize>channel >> 3) << 7) + ((<usize>channel & 4) << 2)
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
    let w1 = min(w0 + depth, last)
    let w2 = min(w1 + depth, last)
    let w3 = min(w2 + depth, last)
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
    if (bias !== 0) {
      const start = v128.load(bias + ((<usize>channel) << 2))
      x = i32x4.add(x, start)
      y = i32x4.add(y, start)
    }
    v128.store(out, x)
    v128.store(out, y, 32)
  }
}
