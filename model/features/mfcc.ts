import { frontEndWasm } from './front-end-wasm.ts'
import { createHighPass } from './high-pass.ts'
import type { MfccDefinition } from './mfcc-definition.ts'
import { checkMfccDefinition } from './mfcc-definition.ts'
import { BIN_STEP, mfccTables } from './mfcc-tables.ts'

/** The arithmetic of the MFCC over memory of its own, in three parts. Dividing the waveform by m divides every mel magnitude x
 *  by m, and
 *
 *      ln(x/m + e) = ln x - ln m + ln(1 + e m/x) = ln x - ln m + e m/x - (e m/x)^2 / 2 + ...
 *
 *  so a frame is analysed once, whatever clips it becomes part of: it keeps the DCT of ln x and the DCT of 1/x, and a clip costs a
 *  few multiplications per coefficient. Where the neglected square matters (near silence beside something loud) the logarithms
 *  are taken anew.
 *
 *  The caller writes and reads the arrays around the calls. Nothing stays between calls that another caller could not
 *  overwrite, so a kernel is shared freely, but not across an `await`. */
export type MfccKernel = {
  /** Room for a clip. */
  readonly samples: Float32Array
  /** Signed maximum and sum of squares by block of `strideSamples`. */
  readonly maxima: Float64Array
  readonly energies: Float64Array
  /** Analysed frames, `frameValues` each. */
  readonly analysed: Float64Array
  readonly frameValues: number
  /** Coefficients, frame by frame. */
  readonly coefficients: Float32Array
  /** samples → maxima and energies of the first `blocks` blocks. */
  readonly measure: (blocks: number) => void
  /** samples → the first `frames` analysed frames, one every `strideSamples`. */
  readonly analyse: (frames: number) => void
  /** analysed → coefficients of the first `frames` frames.
   *  @param maximum signed maximum of the clip they are seen in; the floor of the definition applies */
  readonly normalise: (frames: number, maximum: number) => void
}

/** Largest e m/x for which the series stops after its first term: the error is below 5e-8 per logarithm and 5e-7 per
 *  coefficient, under a float32 step of coefficient 0. */
const SERIES_MAX = 3e-4

/** Chosen: a process sees one or two definitions; one that sees more makes some kernels twice. */
const KERNELS_MAX = 4
const kernels = new Map<string, MfccKernel>()

/** The kernel of a definition. Shared, because an instance of WebAssembly reserves address space far beyond its size, and a
 *  simulation makes a listener for every take.
 *  @throws RangeError when the definition is not implemented (check foreign ones with `checkMfccDefinition` first)
 *  @throws Error when the platform has no WebAssembly SIMD */
export const mfccKernel = (definition: MfccDefinition): MfccKernel => {
  const key = JSON.stringify(definition)
  const known = kernels.get(key)
  if (known !== undefined) return known
  const kernel = createMfccKernel(definition)
  const oldest = kernels.keys().next()
  if (kernels.size >= KERNELS_MAX && !oldest.done) kernels.delete(oldest.value)
  kernels.set(key, kernel)
  return kernel
}

const even = (count: number): number => count + (count % 2)

const createMfccKernel = (definition: MfccDefinition): MfccKernel => {
  const checked = checkMfccDefinition(definition)
  if (!checked.ok) throw new RangeError(checked.error.detail)
  const { clipSamples, windowSamples, strideSamples, fftSize, melBands, coefficients, frames } = definition
  const tables = mfccTables(definition)
  const points = fftSize / 2
  const blocks = clipSamples / strideSamples
  // Two transforms, magnitudes, the smallest magnitude behind; even, so that every frame is aligned.
  const frameValues = 2 * even(coefficients) + even(melBands) + 2
  let bytes = 0
  const place = (length: number): number => {
    const at = bytes
    bytes += 16 * Math.ceil(length / 16)
    return at
  }
  const pairOfLanes = 16
  const at = {
    samples: place(4 * clipSamples),
    maxima: place(8 * blocks),
    energies: place(8 * blocks),
    frames: place(8 * frames * frameValues),
    // The last pair of an odd number of coefficients spills over.
    out: place(4 * frames * coefficients + 4),
    hann: place(tables.hann.byteLength),
    twiddles: place(tables.twiddles.byteLength),
    untangling: place(tables.untangling.byteLength),
    bands: place(tables.bands.byteLength),
    weights: place(tables.weights.byteLength),
    basis: place(tables.basis.byteLength),
    ping: place(2 * pairOfLanes * points),
    pong: place(2 * pairOfLanes * points),
    magnitudes: place(pairOfLanes * (tables.binEnd + BIN_STEP)),
    logs: place(pairOfLanes * even(melBands)),
    inverses: place(pairOfLanes * even(melBands)),
  }
  const { memory, measure, analyse, normalise } = frontEndWasm(bytes, {
    ...at,
    windowSamples,
    strideSamples,
    points,
    binEnd: tables.binEnd,
    melBands,
    coefficients,
    frameValues,
    logOffset: definition.logOffset,
    seriesMax: SERIES_MAX,
  })
  const put = (table: Float64Array, from: number) => new Float64Array(memory, from, table.length).set(table)
  put(tables.hann, at.hann)
  put(tables.twiddles, at.twiddles)
  put(tables.untangling, at.untangling)
  new Int32Array(memory, at.bands, tables.bands.length).set(tables.bands)
  put(tables.weights, at.weights)
  put(tables.basis, at.basis)
  return {
    samples: new Float32Array(memory, at.samples, clipSamples),
    maxima: new Float64Array(memory, at.maxima, blocks),
    energies: new Float64Array(memory, at.energies, blocks),
    analysed: new Float64Array(memory, at.frames, frames * frameValues),
    frameValues,
    coefficients: new Float32Array(memory, at.out, frames * coefficients),
    measure,
    analyse,
    normalise: (count, maximum) => normalise(count, Math.max(maximum, definition.normalizationFloor)),
  }
}

/** Computes the features of single clips.
 *  @returns a function from `clipSamples` samples at `from` to `frames * coefficients` floats in `out`, frame by frame
 *  @throws RangeError (the returned function too) when there are fewer samples than a clip */
export const createMfcc = (
  definition: MfccDefinition,
): ((samples: Float32Array, out: Float32Array, from?: number) => Float32Array) => {
  const kernel = mfccKernel(definition)
  const { clipSamples, frames, coefficients, highPassHz, sampleRateHz } = definition
  const highPass = highPassHz === undefined ? undefined : createHighPass(highPassHz, sampleRateHz)
  return (samples, out, from = 0) => {
    if (from < 0 || samples.length - from < clipSamples || out.length < frames * coefficients) {
      throw new RangeError(`${samples.length - from} samples and room for ${out.length} features are too few`)
    }
    kernel.samples.set(samples.subarray(from, from + clipSamples))
    if (highPass !== undefined) {
      highPass.reset()
      highPass.filter(kernel.samples, 0, clipSamples, kernel.samples, 0)
    }
    kernel.measure(kernel.maxima.length)
    kernel.analyse(frames)
    kernel.normalise(frames, highest(kernel.maxima))
    out.set(kernel.coefficients)
    return out
  }
}

/** The largest of some maxima; -Infinity for none (the floor of the definition then applies). */
export const highest = (maxima: Float64Array): number => {
  let maximum = -Infinity
  for (let i = 0; i < maxima.length; i += 1) if (maxima[i]! > maximum) maximum = maxima[i]!
  return maximum
}
