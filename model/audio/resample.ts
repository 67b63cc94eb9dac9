/** Zero crossings of the sinc on each side; chosen: with the Kaiser window below the transition band is 6 % of the lower
 *  Nyquist frequency wide and everything beyond it is 80 dB down. */
const ZERO_CROSSINGS = 48
/** Kaiser shape for about 85 dB of stop band (Kaiser's formula: 0.1102 (A - 8.7)). */
const KAISER_BETA = 8.4
/** Pass band edge as a share of the lower Nyquist frequency, so that the transition ends near Nyquist. */
const ROLL_OFF = 0.95
/** Sub-sample phases of the filter table; rates with more phases interpolate linearly between two (error below -100 dB). */
const PHASES_MAX = 512

/** Modified Bessel function of the first kind, order 0, by its power series (terms fall below 1e-16 within 40). */
const besselI0 = (x: number): number => {
  let term = 1
  let sum = 1
  for (let k = 1; k < 64; k += 1) {
    term *= (x / (2 * k)) ** 2
    sum += term
    if (term < 1e-16 * sum) break
  }
  return sum
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b))

/** A resampler for one pair of rates: the filter table is computed once, the function may be called for many clips. */
export type Resampler = (samples: Float32Array) => Float32Array

/** A planned filter: what it takes to compute output sample n, wherever the input lies. */
type Filter = {
  /** output samples for so many of input */
  readonly lengthOf: (samples: number) => number
  /** input sample after the last that output `n` needs */
  readonly needs: (n: number) => number
  /** the first that it needs */
  readonly first: (n: number) => number
  /** @param samples a stretch of the input, zero outside
   *  @param start index in the whole input of its first sample */
  readonly at: (n: number, samples: Float32Array, start: number) => number
}

/** @returns undefined for equal rates, which need none */
function planFilter(fromHz: number, toHz: number, zeroCrossings: number): Filter | undefined {
  if (!Number.isInteger(fromHz) || !Number.isInteger(toHz) || fromHz <= 0 || toHz <= 0) {
    throw new RangeError(`rates must be positive integers, got ${fromHz} and ${toHz}`)
  }
  if (fromHz === toHz) return undefined
  const divisor = gcd(fromHz, toHz)
  const up = toHz / divisor
  const down = fromHz / divisor
  const exact = up <= PHASES_MAX
  const phases = exact ? up : PHASES_MAX
  // Below 1 the filter is stretched so that it also removes what would alias.
  const cutoff = Math.min(1, toHz / fromHz) * ROLL_OFF
  const half = Math.ceil(zeroCrossings / cutoff)
  const taps = 2 * half
  // Row p holds the taps for an output that lies p / phases of a sample after input sample `base`; one row more than
  // phases, so that interpolation never wraps.
  const table = new Float64Array((phases + 1) * taps)
  const norm = besselI0(KAISER_BETA)
  for (let phase = 0; phase <= phases; phase += 1) {
    let sum = 0
    for (let tap = 0; tap < taps; tap += 1) {
      const distance = tap - half + 1 - phase / phases
      const x = Math.PI * cutoff * distance
      const edge = Math.min(1, Math.abs(distance) / half)
      const window = besselI0(KAISER_BETA * Math.sqrt(1 - edge * edge)) / norm
      const value = (distance === 0 ? 1 : Math.sin(x) / x) * window
      table[phase * taps + tap] = value
      sum += value
    }
    // Unit gain at DC for every phase, otherwise a constant would ripple with the phase.
    for (let tap = 0; tap < taps; tap += 1) table[phase * taps + tap]! /= sum
  }
  const baseOf = (n: number): number => Math.floor((n * down) / up)
  return {
    lengthOf: (samples) => Math.ceil((samples * up) / down),
    needs: (n) => baseOf(n) + half + 1,
    first: (n) => baseOf(n) - half + 1,
    at(n, samples, start) {
      const fine = (((n * down) % up) / up) * phases
      const phase = exact ? (n * down) % up : Math.floor(fine)
      const blend = exact ? 0 : fine - phase
      const first = baseOf(n) - half + 1 - start
      const from = Math.max(0, -first)
      const to = Math.min(taps, samples.length - first)
      const row = phase * taps
      let sum = 0
      if (blend === 0) {
        for (let tap = from; tap < to; tap += 1) sum += samples[first + tap]! * table[row + tap]!
      } else {
        for (let tap = from; tap < to; tap += 1) {
          const a = table[row + tap]!
          sum += samples[first + tap]! * (a + blend * (table[row + taps + tap]! - a))
        }
      }
      return sum
    },
  }
}

/** Plans a windowed-sinc polyphase resampler.
 *  @param fromHz rate of the input, a positive integer
 *  @param toHz rate of the output, a positive integer
 *  @param zeroCrossings half width of the filter in zero crossings; fewer is faster and softer
 *  @returns a function from samples at `fromHz` to `ceil(length * toHz / fromHz)` samples at `toHz`, aligned in time with
 *    the input (no delay); the input counts as zero outside its ends
 *  @throws RangeError when a rate is not a positive integer
 *  @see J. O. Smith, "Digital Audio Resampling", CCRMA */
export const createResampler = (fromHz: number, toHz: number, zeroCrossings: number = ZERO_CROSSINGS): Resampler => {
  const filter = planFilter(fromHz, toHz, zeroCrossings)
  if (filter === undefined) return (samples) => samples.slice()
  return (samples) => {
    const out = new Float32Array(filter.lengthOf(samples.length))
    for (let n = 0; n < out.length; n += 1) out[n] = filter.at(n, samples, 0)
    return out
  }
}

/** A resampler of sound that never ends, as a microphone's: what it has given out so far is to the bit what `createResampler` would make of
 *  all that was put in, up to the half width of the filter, for which it waits.
 *  @param fromHz rate of the input, a positive integer
 *  @param toHz rate of the output, a positive integer
 *  @returns a function from the next stretch of input to the output that can be given now
 *  @throws RangeError when a rate is not a positive integer */
export const createStreamResampler = (fromHz: number, toHz: number): Resampler => {
  const filter = planFilter(fromHz, toHz, ZERO_CROSSINGS)
  if (filter === undefined) return (samples) => samples.slice()
  let kept = new Float32Array(0)
  /** index of its first sample in all that was put in, and of the next output */
  let start = 0
  let next = 0
  return (samples) => {
    const joined = new Float32Array(kept.length + samples.length)
    joined.set(kept)
    joined.set(samples, kept.length)
    const end = start + joined.length
    let count = 0
    while (filter.needs(next + count) <= end) count += 1
    const out = new Float32Array(count)
    for (let i = 0; i < count; i += 1) out[i] = filter.at(next + i, joined, start)
    next += count
    const from = Math.min(joined.length, Math.max(0, filter.first(next) - start))
    kept = joined.slice(from)
    start += from
    return out
  }
}

/** Resamples one clip; see `createResampler` for the many-clips form, the alignment and the errors. */
export const resample = (samples: Float32Array, fromHz: number, toHz: number): Float32Array =>
  createResampler(fromHz, toHz)(samples)
