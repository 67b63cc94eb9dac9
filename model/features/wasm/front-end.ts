// The arithmetic of the MFCC in AssemblyScript, compiled by `npm run build:wasm` into ../front-end-wasm.ts. What the numbers mean
// is told in ../mfcc.ts and ../mfcc-definition.ts, which also make the tables; this file only computes.
//
// Two analysis windows are worked on at once, one in each lane of an f64x2: no operation mixes lanes, so what a frame becomes does
// not depend on its neighbour, and there are no shuffles but where the samples are read. All in float64, because a band 60 dB
// below its neighbour would keep only a few digits of a float32 transform.

// Sizes and addresses, given by ../mfcc.ts when it instantiates the module; addresses are multiples of 16.

declare const windowSamples: i32
declare const strideSamples: i32
/** Points of the complex transform, half of the real one's. */
declare const points: i32
/** Bins 1 to this are needed by some mel band. */
declare const binEnd: i32
declare const melBands: i32
declare const coefficients: i32
/** f64 values from one frame of the store to the next. */
declare const frameValues: i32
declare const logOffset: f64
declare const seriesMax: f64

/** f32 samples. */
declare const samples: usize
/** f64, one a block: signed maximum. */
declare const maxima: usize
/** f64, one a block: sum of squares. */
declare const energies: usize
/** f64 by frame: DCT of the logarithms, DCT of the inverses (an even number of values each), magnitudes by band (even), the
 *  smallest of them. */
declare const frames: usize
/** f32 by frame: the coefficients. */
declare const out: usize
/** f64 by sample. */
declare const hann: usize
/** f64 pairs: cos and sin of -2 pi j / points. */
declare const twiddles: usize
/** f64 pairs: cos and sin of 2 pi k / (2 points). */
declare const untangling: usize
/** i32 by band: first bin, number of bins (a multiple of four). */
declare const bands: usize
/** f64, the bands' weights one after the other. */
declare const weights: usize
/** f64 by coefficient and band (an even number of bands). */
declare const basis: usize
/** Two buffers of `points` complex pairs of lanes. */
declare const ping: usize
declare const pong: usize
/** Pairs of lanes by bin. */
declare const magnitudes: usize
/** Pairs of lanes by band. */
declare const logs: usize
declare const inverses: usize

/** Signed maximum and sum of squares of each of the first `count` blocks of `strideSamples` samples. */
export function measure(count: i32): void {
  for (let block = 0; block < count; block++) {
    const from = samples + ((<usize>block * strideSamples) << 2)
    const end = from + ((<usize>strideSamples) << 2)
    const fours = from + ((<usize>strideSamples & ~3) << 2)
    let highest = f32x4.splat(-Infinity)
    let low = f64x2.splat(0)
    let high = f64x2.splat(0)
    let at = from
    for (; at < fours; at += 16) {
      const four = v128.load(at)
      highest = f32x4.pmax(highest, four)
      const a = f64x2.promote_low_f32x4(four)
      const b = f64x2.promote_low_f32x4(i64x2.shuffle(four, four, 1, 1))
      low = f64x2.add(low, f64x2.mul(a, a))
      high = f64x2.add(high, f64x2.mul(b, b))
    }
    const sums = f64x2.add(low, high)
    let energy = f64x2.extract_lane(sums, 0) + f64x2.extract_lane(sums, 1)
    let maximum = f32x4.extract_lane(highest, 0)
    // Written as comparisons, so that a NaN among the samples is passed over.
    if (f32x4.extract_lane(highest, 1) > maximum) maximum = f32x4.extract_lane(highest, 1)
    if (f32x4.extract_lane(highest, 2) > maximum) maximum = f32x4.extract_lane(highest, 2)
    if (f32x4.extract_lane(highest, 3) > maximum) maximum = f32x4.extract_lane(highest, 3)
    for (; at < end; at += 4) {
      const sample = load<f32>(at)
      if (sample > maximum) maximum = sample
      energy += <f64>sample * <f64>sample
    }
    store<f64>(maxima + ((<usize>block) << 3), <f64>maximum)
    store<f64>(energies + ((<usize>block) << 3), energy)
  }
}

/** Analyses frames 0 to `count` - 1, one every `strideSamples` samples, into the store. */
export function analyse(count: i32): void {
  for (let frame = 0; frame < count; frame += 2) {
    // The last of an odd number keeps itself company.
    const partner = min(frame + 1, count - 1)
    window(frame, partner)
    magnitude(transform())
    const a = frames + ((<usize>frame * frameValues) << 3)
    const b = frames + ((<usize>partner * frameValues) << 3)
    filter(a, b)
    cosines(a, b)
  }
}

/** Coefficients of the first `count` frames of the store in a clip whose maximum is `divisor`. */
export function normalise(count: i32, divisor: f64): void {
  const offset = logOffset * divisor
  const scale = f64x2.splat(1 / divisor)
  v128.store(logs, f64x2.splat(divisor))
  logarithms(16)
  // The DCT of a constant is all in coefficient 0.
  const shift = f64x2.replace_lane(f64x2.splat(0), 0, sqrt(2 * <f64>melBands) * load<f64>(logs))
  const even = (coefficients + 1) & ~1
  for (let frame = 0; frame < count; frame++) {
    const from = frames + ((<usize>frame * frameValues) << 3)
    const smallest = load<f64>(from + ((<usize>(frameValues - 1)) << 3))
    // Pairs are written from the front, so what the last of an odd number spills over belongs to the next frame, written after it.
    const to = out + ((<usize>frame * coefficients) << 2)
    if (offset <= seriesMax * smallest) {
      const inverseFrom = from + ((<usize>even) << 3)
      const offsets = f64x2.splat(offset)
      let minus = shift
      for (let k: usize = 0; k < <usize>coefficients; k += 2) {
        const sum = f64x2.add(
          f64x2.sub(v128.load(from + (k << 3)), minus),
          f64x2.mul(offsets, v128.load(inverseFrom + (k << 3))),
        )
        v128.store64_lane(to + (k << 2), f32x4.demote_f64x2_zero(sum), 0)
        minus = f64x2.splat(0)
      }
      continue
    }
    const magnitudeFrom = from + ((<usize>even) << 4)
    const pairs = (<usize>((melBands + 1) & ~1)) << 3
    for (let n: usize = 0; n < pairs; n += 16) {
      const ratio = f64x2.mul(v128.load(magnitudeFrom + n), scale)
      v128.store(logs + n, f64x2.add(ratio, f64x2.splat(logOffset)))
    }
    logarithms(pairs)
    for (let k: usize = 0, row = basis; k < <usize>coefficients; k++, row += pairs) {
      let sum = f64x2.splat(0)
      for (let n: usize = 0; n < pairs; n += 16) {
        sum = f64x2.add(sum, f64x2.mul(v128.load(logs + n), v128.load(row + n)))
      }
      store<f32>(to + (k << 2), <f32>(f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1)))
    }
  }
}

/** Samples of two frames under the Hann window into `ping`, two samples a complex number, zeros behind. */
function window(frame: i32, partner: i32): void {
  const a = samples + ((<usize>frame * strideSamples) << 2)
  const b = samples + ((<usize>partner * strideSamples) << 2)
  const even = <usize>(windowSamples & ~1)
  let to = ping
  for (let n: usize = 0; n < even; n += 2, to += 32) {
    const left = f64x2.promote_low_f32x4(v128.load64_zero(a + (n << 2)))
    const right = f64x2.promote_low_f32x4(v128.load64_zero(b + (n << 2)))
    const weight = hann + (n << 3)
    v128.store(to, f64x2.mul(i64x2.shuffle(left, right, 0, 2), v128.load64_splat(weight)))
    v128.store(to, f64x2.mul(i64x2.shuffle(left, right, 1, 3), v128.load64_splat(weight, 8)), 16)
  }
  if (windowSamples & 1) {
    const last = f64x2.replace_lane(f64x2.splat(<f64>load<f32>(a + (even << 2))), 1, <f64>load<f32>(b + (even << 2)))
    v128.store(to, f64x2.mul(last, v128.load64_splat(hann + (even << 3))))
    v128.store(to, f64x2.splat(0), 16)
    to += 32
  }
  for (const end = ping + ((<usize>points) << 5); to < end; to += 32) {
    v128.store(to, f64x2.splat(0))
    v128.store(to, f64x2.splat(0), 16)
  }
}

/** Complex transform of `points` points, Stockham's order (no bit reversal), radix 4 with a last pass of radix 2 where
 *  `points` is no power of four.
 *  @returns the buffer that holds the spectrum */
function transform(): usize {
  let from = ping
  let to = pong
  let size = points
  let stride = 1
  for (; size >= 4; size >>= 2, stride <<= 2) {
    quarter(from, to, <usize>size >> 2, <usize>stride)
    const swapped = from
    from = to
    to = swapped
  }
  if (size === 1) return from
  const half = (<usize>stride) << 5
  for (let q: usize = 0; q < half; q += 32) {
    const ar = v128.load(from + q)
    const ai = v128.load(from + q, 16)
    const br = v128.load(from + half + q)
    const bi = v128.load(from + half + q, 16)
    v128.store(to + q, f64x2.add(ar, br))
    v128.store(to + q, f64x2.add(ai, bi), 16)
    v128.store(to + half + q, f64x2.sub(ar, br))
    v128.store(to + half + q, f64x2.sub(ai, bi), 16)
  }
  return to
}

/** One pass of radix 4: `quarters` groups, each of `stride` butterflies with the same twiddles; those of the first are 1. */
function quarter(source: usize, target: usize, quarters: usize, stride: usize): void {
  let from = source
  let to = target
  const run = stride << 5
  const apart = quarters * run
  for (const end = from + run; from < end; from += 32, to += 32) {
    const b = from + apart
    const c = b + apart
    const d = c + apart
    const ar = v128.load(from)
    const cr = v128.load(c)
    const br = v128.load(b)
    const dr = v128.load(d)
    const sumR = f64x2.add(ar, cr)
    const differenceR = f64x2.sub(ar, cr)
    const otherSumR = f64x2.add(br, dr)
    const otherDifferenceR = f64x2.sub(br, dr)
    v128.store(to, f64x2.add(sumR, otherSumR))
    v128.store(to + 2 * run, f64x2.sub(sumR, otherSumR))
    const ai = v128.load(from, 16)
    const ci = v128.load(c, 16)
    const bi = v128.load(b, 16)
    const di = v128.load(d, 16)
    const sumI = f64x2.add(ai, ci)
    const differenceI = f64x2.sub(ai, ci)
    const otherSumI = f64x2.add(bi, di)
    const otherDifferenceI = f64x2.sub(bi, di)
    v128.store(to, f64x2.add(sumI, otherSumI), 16)
    v128.store(to + 2 * run, f64x2.sub(sumI, otherSumI), 16)
    v128.store(to + run, f64x2.add(differenceR, otherDifferenceI))
    v128.store(to + run, f64x2.sub(differenceI, otherDifferenceR), 16)
    v128.store(to + 3 * run, f64x2.sub(differenceR, otherDifferenceI))
    v128.store(to + 3 * run, f64x2.add(differenceI, otherDifferenceR), 16)
  }
  to += 3 * run
  for (let p: usize = 1; p < quarters; p++) {
    const step = (p * stride) << 4
    const w1r = v128.load64_splat(twiddles + step)
    const w1i = v128.load64_splat(twiddles + step, 8)
    const w2r = v128.load64_splat(twiddles + 2 * step)
    const w2i = v128.load64_splat(twiddles + 2 * step, 8)
    const w3r = v128.load64_splat(twiddles + 3 * step)
    const w3i = v128.load64_splat(twiddles + 3 * step, 8)
    for (const end = from + run; from < end; from += 32, to += 32) {
      const b = from + apart
      const c = b + apart
      const d = c + apart
      const ar = v128.load(from)
      const cr = v128.load(c)
      const sumR = f64x2.add(ar, cr)
      const differenceR = f64x2.sub(ar, cr)
      const ai = v128.load(from, 16)
      const ci = v128.load(c, 16)
      const sumI = f64x2.add(ai, ci)
      const differenceI = f64x2.sub(ai, ci)
      const br = v128.load(b)
      const dr = v128.load(d)
      const otherSumR = f64x2.add(br, dr)
      const otherDifferenceR = f64x2.sub(br, dr)
      const bi = v128.load(b, 16)
      const di = v128.load(d, 16)
      const otherSumI = f64x2.add(bi, di)
      const otherDifferenceI = f64x2.sub(bi, di)
      v128.store(to, f64x2.add(sumR, otherSumR))
      v128.store(to, f64x2.add(sumI, otherSumI), 16)
      const r2 = f64x2.sub(sumR, otherSumR)
      const i2 = f64x2.sub(sumI, otherSumI)
      v128.store(to + 2 * run, f64x2.sub(f64x2.mul(r2, w2r), f64x2.mul(i2, w2i)))
      v128.store(to + 2 * run, f64x2.add(f64x2.mul(r2, w2i), f64x2.mul(i2, w2r)), 16)
      const r1 = f64x2.add(differenceR, otherDifferenceI)
      const i1 = f64x2.sub(differenceI, otherDifferenceR)
      v128.store(to + run, f64x2.sub(f64x2.mul(r1, w1r), f64x2.mul(i1, w1i)))
      v128.store(to + run, f64x2.add(f64x2.mul(r1, w1i), f64x2.mul(i1, w1r)), 16)
      const r3 = f64x2.sub(differenceR, otherDifferenceI)
      const i3 = f64x2.add(differenceI, otherDifferenceR)
      v128.store(to + 3 * run, f64x2.sub(f64x2.mul(r3, w3r), f64x2.mul(i3, w3i)))
      v128.store(to + 3 * run, f64x2.add(f64x2.mul(r3, w3i), f64x2.mul(i3, w3r)), 16)
    }
    to += 3 * run
  }
}

/** Magnitudes of the real transform's bins from the complex one's: the even part plus the twiddled odd part, see any text on
 *  the transform of a real sequence of length 2N. Twice the true ones; the weights know. */
function magnitude(spectrum: usize): void {
  const last = (<usize>points) << 5
  for (let k: usize = 1; k < <usize>binEnd; k++) {
    // At Nyquist the spectrum wraps to its first entry.
    const a = spectrum + (k === <usize>points ? 0 : k << 5)
    const b = spectrum + last - (k << 5)
    const ar = v128.load(a)
    const ai = v128.load(a, 16)
    const br = v128.load(b)
    const bi = v128.load(b, 16)
    const oddR = f64x2.add(ai, bi)
    const oddI = f64x2.sub(br, ar)
    const c = v128.load64_splat(untangling + (k << 4))
    const s = v128.load64_splat(untangling + (k << 4), 8)
    const re = f64x2.add(f64x2.add(ar, br), f64x2.add(f64x2.mul(oddR, c), f64x2.mul(oddI, s)))
    const im = f64x2.add(f64x2.sub(ai, bi), f64x2.sub(f64x2.mul(oddI, c), f64x2.mul(oddR, s)))
    v128.store(magnitudes + (k << 4), f64x2.sqrt(f64x2.add(f64x2.mul(re, re), f64x2.mul(im, im))))
  }
}

/** Mel bands of the magnitudes into two frames of the store, and, for `cosines`, into `logs` their logarithms and into `inverses`
 *  their inverses. */
function filter(a: usize, b: usize): void {
  const even = <usize>(coefficients + 1) & ~1
  let toA = a + (even << 4)
  let toB = b + (even << 4)
  let weight = weights
  let smallest = f64x2.splat(Infinity)
  for (let band: usize = 0; band < <usize>melBands; band++) {
    let bin = magnitudes + ((<usize>load<i32>(bands + (band << 3))) << 4)
    const end = bin + ((<usize>load<i32>(bands + (band << 3), 4)) << 4)
    let sum = f64x2.splat(0)
    for (; bin < end; bin += 64, weight += 32) {
      const first = f64x2.mul(v128.load(bin), v128.load64_splat(weight))
      const second = f64x2.mul(v128.load(bin, 16), v128.load64_splat(weight, 8))
      const third = f64x2.mul(v128.load(bin, 32), v128.load64_splat(weight, 16))
      const fourth = f64x2.mul(v128.load(bin, 48), v128.load64_splat(weight, 24))
      sum = f64x2.add(sum, f64x2.add(f64x2.add(first, second), f64x2.add(third, fourth)))
    }
    v128.store64_lane(toA, sum, 0)
    v128.store64_lane(toB, sum, 1)
    toA += 8
    toB += 8
    v128.store(logs + (band << 4), sum)
    v128.store(inverses + (band << 4), f64x2.div(f64x2.splat(1), sum))
    smallest = f64x2.pmin(smallest, sum)
  }
  v128.store64_lane(a + ((<usize>(frameValues - 1)) << 3), smallest, 0)
  v128.store64_lane(b + ((<usize>(frameValues - 1)) << 3), smallest, 1)
  logarithms((<usize>melBands) << 4)
}

/** Transforms logarithms and inverses into two frames of the store. Where a band is zero they mean nothing, and are not read. */
function cosines(a: usize, b: usize): void {
  const inverseFrom = (<usize>((coefficients + 1) & ~1)) << 3
  const row = (<usize>((melBands + 1) & ~1)) << 3
  // Each row of the basis is even or odd about its middle, the rows in turn: the halves are folded once, sums to the front and
  // differences to the back, and each product serves two bands.
  const half = <usize>melBands >> 1
  const last = (<usize>(melBands - 1)) << 4
  for (let n: usize = 0; n < half << 4; n += 16) {
    fold(logs + n, logs + last - n)
    fold(inverses + n, inverses + last - n)
  }
  const middle = (<usize>melBands & 1) === 1
  for (let k: usize = 0; k < <usize>coefficients; k++) {
    const odd = (k & 1) === 1
    let at: usize = odd ? last : 0
    const by = odd ? -16 : 16
    let weight = basis + k * row
    const end = weight + (half << 3)
    let sum = f64x2.splat(0)
    let inverse = f64x2.splat(0)
    for (; weight < end; weight += 8, at += <usize>by) {
      const factor = v128.load64_splat(weight)
      sum = f64x2.add(sum, f64x2.mul(v128.load(logs + at), factor))
      inverse = f64x2.add(inverse, f64x2.mul(v128.load(inverses + at), factor))
    }
    // The middle one of an odd number of bands has no partner, and weighs nothing in an odd row.
    if (middle && !odd) {
      const factor = v128.load64_splat(weight)
      sum = f64x2.add(sum, f64x2.mul(v128.load(logs + at), factor))
      inverse = f64x2.add(inverse, f64x2.mul(v128.load(inverses + at), factor))
    }
    v128.store64_lane(a + (k << 3), sum, 0)
    v128.store64_lane(b + (k << 3), sum, 1)
    v128.store64_lane(a + inverseFrom + (k << 3), inverse, 0)
    v128.store64_lane(b + inverseFrom + (k << 3), inverse, 1)
  }
}

function fold(front: usize, back: usize): void {
  const a = v128.load(front)
  const b = v128.load(back)
  v128.store(front, f64x2.add(a, b))
  v128.store(back, f64x2.sub(a, b))
}

/** Replaces the first `bytes` of `logs` by their natural logarithms. They are positive, normal numbers; what is not finite
 *  becomes NaN. */
export function logarithms(bytes: usize): void {
  for (let at: usize = logs, end = at + bytes; at < end; at += 16) {
    const x = v128.load(at)
    // x = 2^power m with m in [sqrt(1/2), sqrt 2), by integer arithmetic on the bits.
    const rebased = i64x2.sub(x, i64x2.splat(reinterpret<i64>(Math.SQRT1_2) - reinterpret<i64>(1.0)))
    const m = i64x2.add(
      i64x2.sub(x, v128.and(rebased, i64x2.splat(0x7ff0000000000000))),
      i64x2.splat(0x3ff0000000000000),
    )
    // A small integer in the mantissa of 2^52 is that plus a float.
    const exponent = v128.or(i64x2.shr_u(rebased, 52), i64x2.splat(0x4330000000000000))
    const power = f64x2.sub(exponent, f64x2.splat(4503599627370496.0 + 1023.0))
    // ln m = 2 atanh s = 2 (s + s^3/3 + s^5/5 + ...) with s = (m - 1) / (m + 1), |s| < 0.1716: what is left out after s^19 is
    // below 9e-18.
    const s = f64x2.div(f64x2.sub(m, f64x2.splat(1)), f64x2.add(m, f64x2.splat(1)))
    const z = f64x2.mul(s, s)
    const z2 = f64x2.mul(z, z)
    const z4 = f64x2.mul(z2, z2)
    const low = f64x2.add(pair(z, 2.0 / 3, 2.0 / 5), f64x2.mul(z2, pair(z, 2.0 / 7, 2.0 / 9)))
    const middle = f64x2.add(pair(z, 2.0 / 11, 2.0 / 13), f64x2.mul(z2, pair(z, 2.0 / 15, 2.0 / 17)))
    const series = f64x2.add(low, f64x2.mul(z4, f64x2.add(middle, f64x2.mul(z4, f64x2.splat(2.0 / 19)))))
    const ln = f64x2.add(f64x2.add(s, s), f64x2.mul(f64x2.mul(s, z), series))
    const sum = f64x2.add(f64x2.mul(power, f64x2.splat(Math.LN2)), ln)
    v128.store(at, f64x2.add(sum, f64x2.sub(x, x)))
  }
}

/** a + b z */
function pair(z: v128, a: f64, b: f64): v128 {
  return f64x2.add(f64x2.splat(a), f64x2.mul(z, f64x2.splat(b)))
}
