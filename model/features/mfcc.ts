import FFT from 'fft.js'
import type { MfccDefinition } from './mfcc-definition.ts'
import { checkMfccDefinition } from './mfcc-definition.ts'

/** The two halves of the MFCC, split where the loudness of the clip enters, so that the expensive half is done once per frame
 *  whatever windows the frame becomes part of. Dividing the waveform by m divides every mel magnitude x by m, and
 *
 *      ln(x/m + e) = ln x - ln m + ln(1 + e m/x) = ln x - ln m + e m/x - (e m/x)^2 / 2 + ...
 *
 *  A frame therefore keeps the DCT of ln x and the DCT of 1/x; a window costs a few multiplications per coefficient. Where
 *  the neglected square matters (near silence beside something loud) the logarithms are taken anew. */
export type MfccKernel = {
  readonly definition: MfccDefinition
  /** Numbers of one analysed frame: mel magnitudes, both transforms, smallest magnitude. */
  readonly frameValues: number
  /** Analyses one frame, not normalised.
   *  @param samples holds `windowSamples` from `from` on
   *  @param store receives `frameValues` values from `storeFrom` on */
  readonly analyse: (samples: Float32Array, from: number, store: Float64Array, storeFrom: number) => void
  /** Gives the coefficients of an analysed frame in a clip.
   *  @param maximum signed maximum of the clip the frame is seen in; the floor of the definition applies
   *  @param out receives `coefficients` values from `outFrom` on */
  readonly normalise: (
    store: Float64Array,
    storeFrom: number,
    maximum: number,
    out: Float32Array,
    outFrom: number,
  ) => void
}

/** Largest e m/x for which the series stops after its first term: the error is below 5e-8 per logarithm and 5e-7 per
 *  coefficient, under a float32 step of coefficient 0. */
const SERIES_MAX = 3e-4

const melOfHz = (hz: number): number => 1127 * Math.log(1 + hz / 700)

/** Mel filter bank as runs of FFT bins: band b weighs bins `first[b]` … with `weights[start[b]]` …, halved because the
 *  untangled spectrum below is twice the true one. */
const melRuns = (d: MfccDefinition) => {
  const low = melOfHz(d.melLowHz)
  const step = (melOfHz(d.melHighHz) - low) / (d.melBands + 1)
  const first = new Int32Array(d.melBands)
  const start = new Int32Array(d.melBands + 1)
  const weights: number[] = []
  for (let band = 0; band < d.melBands; band += 1) {
    const lower = low + band * step
    start[band] = weights.length
    // Bin 0 is left out: its mel value is undefined in the reference, which gives DC no weight.
    for (let bin = 1; bin <= d.fftSize / 2; bin += 1) {
      const mel = melOfHz((bin * d.sampleRateHz) / d.fftSize)
      const weight = Math.min((mel - lower) / step, (lower + 2 * step - mel) / step)
      if (weight <= 0) continue
      if (weights.length === start[band]) first[band] = bin
      weights.push(weight)
    }
  }
  start[d.melBands] = weights.length
  let binEnd = 1
  for (let band = 0; band < d.melBands; band += 1) {
    const end = first[band]! + start[band + 1]! - start[band]!
    if (end > binEnd) binEnd = end
  }
  return { first, start, weights: Float64Array.from(weights, (w) => w / 2), binEnd }
}

/** Rows of the DCT-II basis, scaled: row k, column n is sqrt(2/N) cos(pi k (n + 1/2) / N). */
const dctRows = (d: MfccDefinition): Float64Array => {
  const rows = new Float64Array(d.coefficients * d.melBands)
  const scale = Math.sqrt(2 / d.melBands)
  for (let k = 0; k < d.coefficients; k += 1) {
    for (let n = 0; n < d.melBands; n += 1) {
      rows[k * d.melBands + n] = scale * Math.cos((Math.PI * k * (n + 0.5)) / d.melBands)
    }
  }
  return rows
}

/** Builds the tables and scratch of one definition. The kernel's functions share scratch: one kernel is used by one caller at
 *  a time, which in single-threaded code means that it may be shared freely.
 *  @throws RangeError when the definition is not implemented (check foreign ones with `checkMfccDefinition` first) */
export const createMfccKernel = (definition: MfccDefinition): MfccKernel => {
  const checked = checkMfccDefinition(definition)
  if (!checked.ok) throw new RangeError(checked.error.detail)
  const { windowSamples, fftSize, melBands, coefficients, logOffset, normalizationFloor } = definition
  const half = fftSize / 2
  // A real transform of N points as a complex one of N/2: interleaved real input *is* the complex input, and only the bins
  // that a mel band weighs are untangled. 256 is a power of four, which is the fast case of fft.js.
  const fft = new FFT(half)
  const packed = new Float64Array(fftSize)
  const spectrum = new Float64Array(fftSize)
  const { first, start, weights, binEnd } = melRuns(definition)
  const rows = dctRows(definition)
  const magnitudes = new Float64Array(Math.max(binEnd, half + 1))
  const cos = new Float64Array(half + 1)
  const sin = new Float64Array(half + 1)
  for (let k = 0; k <= half; k += 1) {
    cos[k] = Math.cos((2 * Math.PI * k) / fftSize)
    sin[k] = Math.sin((2 * Math.PI * k) / fftSize)
  }
  const logs = new Float64Array(melBands)
  const inverses = new Float64Array(melBands)
  const level = Math.sqrt(2 * melBands)
  const hann = new Float64Array(windowSamples)
  for (let n = 0; n < windowSamples; n += 1) hann[n] = 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / windowSamples)

  // Layout of an analysed frame.
  const logFrom = melBands
  const inverseFrom = melBands + coefficients
  const smallestAt = melBands + 2 * coefficients

  const analyse: MfccKernel['analyse'] = (samples, from, store, storeFrom) => {
    for (let n = 0; n < windowSamples; n += 1) packed[n] = samples[from + n]! * hann[n]!
    fft.transform(spectrum, packed)
    for (let k = 1, a = 2, b = 2 * (half - 1); k < binEnd; k += 1, a += 2, b -= 2) {
      // Even part of Z plus twiddled odd part, see any text on "FFT of a real sequence of length 2N". At Nyquist the
      // spectrum wraps to its first entry.
      if (k === half) a = 0
      const ar = spectrum[a]!
      const ai = spectrum[a + 1]!
      const br = spectrum[b]!
      const bi = spectrum[b + 1]!
      const or = ai + bi
      const oi = br - ar
      const c = cos[k]!
      const s = sin[k]!
      const re = ar + br + or * c + oi * s
      const im = ai - bi + oi * c - or * s
      magnitudes[k] = Math.sqrt(re * re + im * im)
    }
    let smallest = Infinity
    for (let band = 0; band < melBands; band += 1) {
      let sum = 0
      const end = start[band + 1]!
      for (let w = start[band]!, bin = first[band]!; w < end; w += 1, bin += 1) sum += weights[w]! * magnitudes[bin]!
      store[storeFrom + band] = sum
      logs[band] = Math.log(sum)
      inverses[band] = 1 / sum
      if (sum < smallest) smallest = sum
    }
    store[storeFrom + smallestAt] = smallest
    // A band of exactly zero has no logarithm; such a frame is always done anew and its transforms are not read.
    if (smallest === 0) return
    for (let k = 0, row = 0; k < coefficients; k += 1, row += melBands) {
      let sum = 0
      let inverse = 0
      for (let n = 0; n < melBands; n += 1) {
        const basis = rows[row + n]!
        sum += logs[n]! * basis
        inverse += inverses[n]! * basis
      }
      store[storeFrom + logFrom + k] = sum
      store[storeFrom + inverseFrom + k] = inverse
    }
  }

  const normalise: MfccKernel['normalise'] = (store, storeFrom, maximum, out, outFrom) => {
    const divisor = Math.max(maximum, normalizationFloor)
    const offset = logOffset * divisor
    if (offset <= SERIES_MAX * store[storeFrom + smallestAt]!) {
      // The DCT of a constant is all in coefficient 0.
      out[outFrom] = store[storeFrom + logFrom]! - level * Math.log(divisor) + offset * store[storeFrom + inverseFrom]!
      for (let k = 1; k < coefficients; k += 1) {
        out[outFrom + k] = store[storeFrom + logFrom + k]! + offset * store[storeFrom + inverseFrom + k]!
      }
      return
    }
    const scale = 1 / divisor
    for (let n = 0; n < melBands; n += 1) logs[n] = Math.log(store[storeFrom + n]! * scale + logOffset)
    for (let k = 0, row = 0; k < coefficients; k += 1, row += melBands) {
      let sum = 0
      for (let n = 0; n < melBands; n += 1) sum += logs[n]! * rows[row + n]!
      out[outFrom + k] = sum
    }
  }
  return { definition, frameValues: smallestAt + 1, analyse, normalise }
}

/** Signed maximum of a stretch of samples; -Infinity for an empty one (the floor of the definition then applies). */
export const signedMaximum = (samples: Float32Array, from: number, to: number): number => {
  let maximum = -Infinity
  for (let i = from; i < to; i += 1) if (samples[i]! > maximum) maximum = samples[i]!
  return maximum
}

/** Computes the features of single clips; allocates nothing per call.
 *  @returns a function from `clipSamples` samples at `from` to `frames * coefficients` floats in `out`, frame by frame
 *  @throws RangeError (the returned function too) when there are fewer samples than a clip */
export const createMfcc = (
  definition: MfccDefinition,
): ((samples: Float32Array, out: Float32Array, from?: number) => Float32Array) => {
  const kernel = createMfccKernel(definition)
  const { clipSamples, strideSamples, frames, coefficients } = definition
  const store = new Float64Array(kernel.frameValues)
  return (samples, out, from = 0) => {
    if (from < 0 || samples.length - from < clipSamples || out.length < frames * coefficients) {
      throw new RangeError(`${samples.length - from} samples and room for ${out.length} features are too few`)
    }
    const maximum = signedMaximum(samples, from, from + clipSamples)
    for (let frame = 0; frame < frames; frame += 1) {
      kernel.analyse(samples, from + frame * strideSamples, store, 0)
      kernel.normalise(store, 0, maximum, out, frame * coefficients)
    }
    return out
  }
}
