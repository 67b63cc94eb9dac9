import type { MfccDefinition } from './mfcc-definition.ts'

/** The constants of one definition, as `wasm/front-end.ts` reads them. */
export type MfccTables = {
  /** The window, by sample. */
  readonly hann: Float64Array
  /** cos and sin of -2 pi j / (fftSize / 2), for the complex transform of half the size. */
  readonly twiddles: Float64Array
  /** cos and sin of 2 pi k / fftSize, for what makes the real transform of it. */
  readonly untangling: Float64Array
  /** First FFT bin and number of bins of each mel band. Numbers are multiples of `BIN_STEP`, the weights zero at the end: loops of
   *  few different lengths are predicted better than exact ones. */
  readonly bands: Int32Array
  /** Weights of all bands one after the other, halved because the untangled spectrum is twice the true one. */
  readonly weights: Float64Array
  /** Bins from this one on weigh nothing. */
  readonly binEnd: number
  /** Rows of the DCT-II basis, an even number of values each: row k, column n is sqrt(2/N) cos(pi k (n + 1/2) / N). */
  readonly basis: Float64Array
}

export const BIN_STEP = 4

const melOfHz = (hz: number): number => 1127 * Math.log(1 + hz / 700)

const melBank = (d: MfccDefinition): Pick<MfccTables, 'bands' | 'weights' | 'binEnd'> => {
  const low = melOfHz(d.melLowHz)
  const step = (melOfHz(d.melHighHz) - low) / (d.melBands + 1)
  const melOfBin = Float64Array.from({ length: d.fftSize / 2 + 1 }, (_, bin) =>
    melOfHz((bin * d.sampleRateHz) / d.fftSize),
  )
  const bands = new Int32Array(2 * d.melBands)
  const weights: number[] = []
  let binEnd = 1
  for (let band = 0; band < d.melBands; band += 1) {
    const lower = low + band * step
    // Bin 0 is left out: its mel value is undefined in the reference, which gives DC no weight.
    for (let bin = 1; bin < melOfBin.length; bin += 1) {
      const mel = melOfBin[bin]!
      const weight = Math.min((mel - lower) / step, (lower + 2 * step - mel) / step)
      if (weight <= 0) continue
      if (bands[2 * band + 1] === 0) bands[2 * band] = bin
      bands[2 * band + 1]! += 1
      weights.push(weight / 2)
    }
    binEnd = Math.max(binEnd, bands[2 * band]! + bands[2 * band + 1]!)
    for (; bands[2 * band + 1]! % BIN_STEP !== 0; bands[2 * band + 1]! += 1) weights.push(0)
  }
  return { bands, weights: Float64Array.from(weights), binEnd }
}

/** Cosines and sines of `count` multiples of `angle`, in pairs. */
const circle = (count: number, angle: number): Float64Array =>
  Float64Array.from({ length: 2 * count }, (_, i) => (i % 2 === 0 ? Math.cos : Math.sin)((i >> 1) * angle))

/** @param definition checked by `checkMfccDefinition` */
export const mfccTables = (definition: MfccDefinition): MfccTables => {
  const { windowSamples, fftSize, melBands, coefficients } = definition
  const rowLength = melBands + (melBands % 2)
  const basis = new Float64Array(coefficients * rowLength)
  for (let k = 0; k < coefficients; k += 1) {
    for (let n = 0; n < melBands; n += 1) {
      basis[k * rowLength + n] = Math.sqrt(2 / melBands) * Math.cos((Math.PI * k * (n + 0.5)) / melBands)
    }
  }
  return {
    hann: Float64Array.from(
      { length: windowSamples },
      (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / windowSamples),
    ),
    twiddles: circle(fftSize / 2, (-4 * Math.PI) / fftSize),
    untangling: circle(fftSize / 2 + 1, (2 * Math.PI) / fftSize),
    ...melBank(definition),
    basis,
  }
}
