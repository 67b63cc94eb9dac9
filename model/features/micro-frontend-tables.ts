import { log1pFloat32 } from './float-log1p.ts'

const { fround } = Math

/** Bits of the window's and the filter bank's weights. */
export const WEIGHT_BITS = 12
const toWeight = (fraction: number): number => Math.floor(fround(fround(fraction * (1 << WEIGHT_BITS)) + 0.5))
const toInt16 = (value: number): number => (value << 16) >> 16

/** Hann window between the samples, in 1/4096. All is float32, as in the C code: a coefficient that is one more makes other features.
 *  `Math.cos` rounded to float32 is not always `cosf`, which is not always rounded to nearest: of the windows of 8 to 4096 samples, five
 *  have a coefficient that differs from glibc's (2379, 2580, 2831, 3497, 3638 samples), none of a whole number of ms at a usual rate.
 *  @see tflite-micro, microfrontend/lib/window_util.c */
export const microWindow = (windowSamples: number): Int16Array => {
  const angle = fround(fround(2 * fround(Math.PI)) / windowSamples)
  return Int16Array.from({ length: windowSamples }, (_, i) =>
    toWeight(fround(0.5 - 0.5 * fround(Math.cos(fround(angle * (i + 0.5)))))),
  )
}

/** A filter bank whose triangles overlap by half: band b rises into channel b - 1 and falls out of the channel before it, so each bin is
 *  weighed twice with weights that add up to one. There is a band more than channels. */
export type MicroFilterBank = {
  /** First bin and number of bins of each of `channels + 1` bands, one after the other. */
  readonly bands: Int32Array
  /** Of all bins of all bands: the share that falls out of the lower channel, and that which rises into the upper one, in 1/4096. */
  readonly rising: Int16Array
  readonly falling: Int16Array
  /** First bin used and the first beyond the last. */
  readonly binStart: number
  readonly binEnd: number
}

/** All in float32, as in the C code: a bin at the edge of two bands belongs where rounding puts it.
 *  @see tflite-micro, microfrontend/lib/filterbank_util.c */
export const microFilterBank = (
  {
    channels,
    lowerHz,
    upperHz,
    sampleRateHz,
  }: {
    readonly channels: number
    readonly lowerHz: number
    readonly upperHz: number
    readonly sampleRateHz: number
  },
  fftSize: number,
): MicroFilterBank => {
  const melOf = (hz: number): number => fround(1127 * log1pFloat32(fround(hz / 700)))
  const hzPerBin = fround((0.5 * sampleRateHz) / (fftSize / 2))
  const melLow = melOf(fround(lowerHz))
  const spacing = fround(fround(melOf(fround(upperHz)) - melLow) / (channels + 1))
  const binStart = Math.floor(fround(1.5 + fround(fround(lowerHz) / hzPerBin)))
  const melOfBin = (bin: number): number => melOf(fround(bin * hzPerBin))
  const bands = new Int32Array(2 * (channels + 1))
  const rising: number[] = []
  const falling: number[] = []
  let bin = binStart
  let below = melLow
  for (let band = 0; band <= channels; band += 1) {
    const centre = fround(melLow + fround(spacing * (band + 1)))
    bands[2 * band] = bin
    // `falling` of the channel whose centre this is … and the rest rises into the next.
    for (; melOfBin(bin) <= centre; bin += 1) {
      const share = fround(fround(centre - melOfBin(bin)) / fround(centre - below))
      falling.push(toWeight(share))
      rising.push(toWeight(fround(1 - share)))
    }
    bands[2 * band + 1] = bin - bands[2 * band]!
    below = centre
  }
  return { bands, rising: Int16Array.from(rising), falling: Int16Array.from(falling), binStart, binEnd: bin }
}

/** Rows of four for each number of bits from 2 on, after the gains of 0 and 1: value at the start of the octave, and two coefficients of
 *  the parabola through start, middle and end. */
export type GainTable = Int16Array

const GAIN_BITS_MAX = 32

/** The gain by which a channel is divided by its background, as a function of the noise estimate.
 *  @param inputBits bits below the point of the estimate, as gain control sees it
 *  @see microfrontend/lib/pcan_gain_control_util.c */
export const microGainTable = (
  {
    pcanStrength,
    pcanOffset,
    pcanGainBits,
  }: { readonly pcanStrength: number; readonly pcanOffset: number; readonly pcanGainBits: number },
  inputBits: number,
): GainTable => {
  const strength = fround(-fround(pcanStrength))
  const offset = fround(pcanOffset)
  const gainAt = (x: number): number => {
    const base = fround(fround(fround(x) / 2 ** inputBits) + offset)
    const gain = fround(2 ** pcanGainBits * fround(base ** strength))
    return gain > 32_767 ? 32_767 : Math.floor(fround(gain + 0.5))
  }
  const table = new Int16Array(4 * GAIN_BITS_MAX - 3)
  table[0] = gainAt(0)
  table[1] = gainAt(1)
  for (let bits = 2; bits <= GAIN_BITS_MAX; bits += 1) {
    const start = 2 ** (bits - 1)
    const end = bits === GAIN_BITS_MAX ? 2 * start - 1 : 2 * start
    const first = gainAt(start)
    const toMiddle = gainAt(start + start / 2) - first
    const toEnd = gainAt(end) - first
    const linear = 4 * toMiddle - toEnd
    const row = 4 * bits - 6
    table[row] = first
    table[row + 1] = toInt16(linear)
    table[row + 2] = toInt16(toEnd - linear)
  }
  return table
}

/** Segments of the logarithm's table, and bits below the point of the logarithm. */
export const LOG_SEGMENTS = 128
/** What log2(1 + x) is above x at each segment's start, in 1/65536; two ends more, so that the segment after the last can be read.
 *  @see microfrontend/lib/log_lut.c, which has these numbers */
export const LOG_TABLE: Readonly<Uint16Array> = Uint16Array.from({ length: LOG_SEGMENTS + 2 }, (_, i) => {
  const x = Math.min(1, i / LOG_SEGMENTS)
  return Math.round(65_536 * (Math.log2(1 + x) - x))
})
