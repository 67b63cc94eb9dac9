/** The transform of a real signal of 16-bit integers into 16-bit integers, each stage scaled down so that nothing overflows: what Kiss FFT
 *  computes in its fixed point of 16 bits, rounding for rounding, for sizes that are powers of two. */
export type FixedFft = {
  /** `size` samples, to be written before the transform. */
  readonly input: Int16Array
  /** Real and imaginary parts of `size / 2 + 1` bins in turn, divided by `size`. */
  readonly bins: Int16Array
  /** input → bins */
  readonly transform: () => void
}

/** Largest twiddle factor. */
const ONE = 32_767
const toInt16 = (value: number): number => (value << 16) >> 16
/** Of a product with 15 bits below the point. */
const round15 = (product: number): number => ((product + 16_384) << 1) >> 16
const half = (value: number): number => round15(value * (ONE >> 1))
const quarter = (value: number): number => round15(value * (ONE >> 2))

/** Cosine and sine of a phase, in turn with others. */
const twiddle = (table: Int16Array, i: number, phase: number): void => {
  table[2 * i] = Math.floor(0.5 + ONE * Math.cos(phase))
  table[2 * i + 1] = Math.floor(0.5 + ONE * Math.sin(phase))
}

/** @param size power of two, 8 or more
 *  @see github.com/mborgerding/kissfft: kiss_fft.c, kiss_fftr.c and the macros of _kiss_fft_guts.h */
export const createFixedFft = (size: number): FixedFft => {
  const count = size / 2
  const input = new Int16Array(size)
  const bins = new Int16Array(size + 2)
  const work = new Int16Array(size)
  const twiddles = new Int16Array(size)
  for (let i = 0; i < count; i += 1) twiddle(twiddles, i, ((-2 * Math.PI) / count) * i)
  const untangling = new Int16Array(count)
  for (let i = 0; i < count / 2; i += 1) twiddle(untangling, i, -Math.PI * ((i + 1) / count + 0.5))
  // Radix 4 from the top as long as it divides; what is left is a 2 at the bottom.
  const radices: number[] = []
  for (let rest = count; rest > 1; ) {
    const radix = rest % 4 === 0 ? 4 : 2
    radices.push(radix)
    rest /= radix
  }
  // Where each sample pair of the input goes, so that the stages work in place.
  const order = new Int32Array(count)
  for (let place = 0; place < count; place += 1) {
    let rest = place
    let span = count
    let stride = 1
    let from = 0
    for (const radix of radices) {
      span /= radix
      from += Math.floor(rest / span) * stride
      rest %= span
      stride *= radix
    }
    order[place] = from
  }
  /** Length of the blocks that each stage joins, from the bottom up, with the stride of its twiddle factors. */
  const stages: { readonly radix: number; readonly span: number; readonly stride: number }[] = []
  for (let span = 1, stage = radices.length - 1; stage >= 0; stage -= 1) {
    const radix = radices[stage]!
    stages.push({ radix, span, stride: count / (span * radix) })
    span *= radix
  }

  const joinPairs = (start: number, span: number, stride: number): void => {
    for (let i = 0; i < span; i += 1) {
      const a = 2 * (start + i)
      const b = a + 2 * span
      const wr = twiddles[2 * i * stride]!
      const wi = twiddles[2 * i * stride + 1]!
      const ar = half(work[a]!)
      const ai = half(work[a + 1]!)
      const br = half(work[b]!)
      const bi = half(work[b + 1]!)
      const tr = round15(br * wr - bi * wi)
      const ti = round15(br * wi + bi * wr)
      work[b] = ar - tr
      work[b + 1] = ai - ti
      work[a] = ar + tr
      work[a + 1] = ai + ti
    }
  }

  const joinFours = (start: number, span: number, stride: number): void => {
    for (let i = 0; i < span; i += 1) {
      const a = 2 * (start + i)
      const b = a + 2 * span
      const c = b + 2 * span
      const d = c + 2 * span
      const w1 = 2 * i * stride
      const w2 = 2 * w1
      const w3 = 3 * w1
      const ar = quarter(work[a]!)
      const ai = quarter(work[a + 1]!)
      let re = quarter(work[b]!)
      let im = quarter(work[b + 1]!)
      const br = round15(re * twiddles[w1]! - im * twiddles[w1 + 1]!)
      const bi = round15(re * twiddles[w1 + 1]! + im * twiddles[w1]!)
      re = quarter(work[c]!)
      im = quarter(work[c + 1]!)
      const cr = round15(re * twiddles[w2]! - im * twiddles[w2 + 1]!)
      const ci = round15(re * twiddles[w2 + 1]! + im * twiddles[w2]!)
      re = quarter(work[d]!)
      im = quarter(work[d + 1]!)
      const dr = round15(re * twiddles[w3]! - im * twiddles[w3 + 1]!)
      const di = round15(re * twiddles[w3 + 1]! + im * twiddles[w3]!)
      // Sums are stored in 16 bits, which wrap.
      const evenR = toInt16(ar + cr)
      const evenI = toInt16(ai + ci)
      const lessR = toInt16(ar - cr)
      const lessI = toInt16(ai - ci)
      const oddR = toInt16(br + dr)
      const oddI = toInt16(bi + di)
      const apartR = toInt16(br - dr)
      const apartI = toInt16(bi - di)
      work[a] = evenR + oddR
      work[a + 1] = evenI + oddI
      work[b] = lessR + apartI
      work[b + 1] = lessI - apartR
      work[c] = evenR - oddR
      work[c + 1] = evenI - oddI
      work[d] = lessR - apartI
      work[d + 1] = lessI + apartR
    }
  }

  /** Two samples were one complex number: takes their spectra apart. */
  const untangle = (): void => {
    const sum = half(work[0]!)
    const other = half(work[1]!)
    bins[0] = sum + other
    bins[1] = 0
    bins[2 * count] = sum - other
    bins[2 * count + 1] = 0
    for (let k = 1; k <= count / 2; k += 1) {
      const m = count - k
      const ar = half(work[2 * k]!)
      const ai = half(work[2 * k + 1]!)
      const br = half(work[2 * m]!)
      const bi = half(toInt16(-work[2 * m + 1]!))
      const evenR = toInt16(ar + br)
      const evenI = toInt16(ai + bi)
      const oddR = toInt16(ar - br)
      const oddI = toInt16(ai - bi)
      const wr = untangling[2 * k - 2]!
      const wi = untangling[2 * k - 1]!
      const tr = round15(oddR * wr - oddI * wi)
      const ti = round15(oddR * wi + oddI * wr)
      bins[2 * k] = (evenR + tr) >> 1
      bins[2 * k + 1] = (evenI + ti) >> 1
      bins[2 * m] = (evenR - tr) >> 1
      bins[2 * m + 1] = (ti - evenI) >> 1
    }
  }

  const transform = (): void => {
    for (let place = 0; place < count; place += 1) {
      const from = order[place]!
      work[2 * place] = input[2 * from]!
      work[2 * place + 1] = input[2 * from + 1]!
    }
    for (const { radix, span, stride } of stages) {
      const join = radix === 4 ? joinFours : joinPairs
      for (let start = 0; start < count; start += radix * span) join(start, span, stride)
    }
    untangle()
  }
  return { input, bins, transform }
}
