import { createFixedFft } from './fixed-fft.ts'
import {
  checkMicroFrontendDefinition,
  type MicroFrontendDefinition,
  microCorrectionBits,
  microSizes,
  SNR_BITS,
} from './micro-frontend-definition.ts'
import {
  type GainTable,
  LOG_SEGMENTS,
  LOG_TABLE,
  microFilterBank,
  microGainTable,
  microWindow,
  WEIGHT_BITS,
} from './micro-frontend-tables.ts'

/** Frames of an endless stream, one every step, with the state that noise reduction keeps from frame to frame. The caller pulls:
 *
 *      for (let at = 0; at < chunk.length; ) {
 *        at += stream.push(chunk, at)
 *        if (stream.frameReady()) stream.takeFrame(frame)
 *      } */
export type MicroFrontend = {
  readonly windowSamples: number
  readonly stepSamples: number
  /** Values of a frame. */
  readonly channels: number
  /** Takes samples until they are used up or a frame is due, whichever comes first.
   *  @param samples mono at the rate of the definition, in [-1, 1); rounded to 16 bits, which changes nothing of 16-bit audio
   *  @param from first sample to take, default 0
   *  @returns how many were taken; 0 while a frame is due and not yet taken */
  readonly push: (samples: Float32Array, from?: number) => number
  /** Whether a frame is due. */
  readonly frameReady: () => boolean
  /** Computes the due frame, 0 to 65 535 each.
   *  @param out `channels` values
   *  @throws Error when no frame is due: a caller's bug */
  readonly takeFrame: (out: Uint16Array) => void
  /** Forgets all audio and the noise that was estimated. */
  readonly reset: () => void
}

/** Bits below the point of the smoothing factors, and of what gain control gives. */
const SMOOTHING_BITS = 14
const PCAN_BITS = 6
/** log2 of LOG_SEGMENTS, and bits below the point of a logarithm. */
const SEGMENT_BITS = Math.log2(LOG_SEGMENTS)
const LOG_BITS = 16
/** ln 2 with LOG_BITS. */
const LN2 = Math.round(Math.LN2 * 2 ** LOG_BITS)

/** Number of bits that a number without sign takes. */
const bitsOf = (value: number): number => 32 - Math.clz32(value)

/** Root of a whole number below 2^52, to the nearest; that of numbers of 32 bits is never rounded up to 2^16. */
const roundedRoot = (square: number): number => {
  const root = Math.floor(Math.sqrt(square))
  const rounds = square - root * root > root && !(root === 65_535 && square < 2 ** 32)
  return rounds ? root + 1 : root
}

/** Gain at a noise estimate: a parabola for each octave. */
const gainOf = (table: GainTable, estimate: number): number => {
  if (estimate <= 2) return table[estimate]!
  const bits = bitsOf(estimate)
  const row = 4 * bits - 6
  const along = (bits < 11 ? estimate << (11 - bits) : estimate >>> (bits - 11)) & 0x3ff
  const slope = ((table[row + 2]! * along) >> 5) + (table[row + 1]! << 5)
  const rise = (Math.imul(slope, along) + (1 << 14)) >> 15
  return ((rise + table[row]!) << 16) >> 16
}

/** Squares what is near its background and is linear above. */
const shrink = (ratio: number): number =>
  ratio < 2 << SNR_BITS
    ? (ratio * ratio) >>> (2 + 2 * SNR_BITS - PCAN_BITS)
    : (ratio >>> (SNR_BITS - PCAN_BITS)) - (1 << PCAN_BITS)

/** Natural logarithm times 2^scaleShift of a whole number above 1. */
const scaledLog = (value: number, scaleShift: number): number => {
  const integer = bitsOf(value) - 1
  const above = value - 2 ** integer
  const fraction = integer < LOG_BITS ? above << (LOG_BITS - integer) : above >> (integer - LOG_BITS)
  const segment = fraction >> (LOG_BITS - SEGMENT_BITS)
  const start = LOG_TABLE[segment]!
  const along = fraction - (segment << (LOG_BITS - SEGMENT_BITS))
  const log2 = (integer << LOG_BITS) + fraction + start + (((LOG_TABLE[segment + 1]! - start) * along) >> LOG_BITS)
  const ln = Math.floor((LN2 * log2 + 2 ** (LOG_BITS - 1)) / 2 ** LOG_BITS)
  return ((ln << scaleShift) + (1 << (LOG_BITS - 1))) >>> LOG_BITS
}

/** The micro frontend of microWakeWord, integer for integer what the C code gives.
 *
 *  Sums that are 64 bits wide there are doubles here and exact all the same: the transform divides by its size, so all energies of a frame
 *  together are below 2^31, and with weights of 12 bits below 2^44.
 *  @throws RangeError when the definition is not implemented (check foreign ones with `checkMicroFrontendDefinition` first)
 *  @see tensorflow/lite/experimental/microfrontend/lib: window.c, fft.cc, filterbank.c, noise_reduction.c, pcan_gain_control.c, log_scale.c */
export const createMicroFrontend = (definition: MicroFrontendDefinition): MicroFrontend => {
  const checked = checkMicroFrontendDefinition(definition)
  if (!checked.ok) throw new RangeError(checked.error.detail)
  const { channels, smoothingBits, pcan, log, logScaleShift, pcanGainBits } = definition
  const { windowSamples, stepSamples, fftSize } = microSizes(definition)
  const correctionBits = microCorrectionBits(fftSize)
  const window = microWindow(windowSamples)
  const { bands, rising, falling, binStart, binEnd } = microFilterBank(definition, fftSize)
  const gains = pcan ? microGainTable(definition, smoothingBits - correctionBits) : undefined
  const snrScale = 2 ** (pcanGainBits - correctionBits - SNR_BITS)
  const ofOne = (fraction: number): number => Math.floor(Math.fround(fraction) * (1 << SMOOTHING_BITS))
  const smoothing = [ofOne(definition.evenSmoothing), ofOne(definition.oddSmoothing)] as const
  const remaining = ofOne(definition.minSignalRemaining)
  const fft = createFixedFft(fftSize)
  const recent = new Int16Array(windowSamples)
  const windowed = new Int16Array(windowSamples)
  const energies = new Float64Array(fftSize / 2 + 1)
  const signal = new Float64Array(channels)
  const estimates = new Uint32Array(channels)
  const at = { used: 0 }

  /** recent → fft.bins, scaled up as far as 16 bits allow.
   *  @returns by how many bits */
  const transform = (): number => {
    let loudest = 0
    for (let i = 0; i < windowSamples; i += 1) {
      const value = (recent[i]! * window[i]!) >> WEIGHT_BITS
      windowed[i] = value
      // -32768 has no positive in 16 bits and counts as nothing.
      const size = value === -32_768 ? 0 : Math.abs(value)
      if (size > loudest) loudest = size
    }
    const shift = 15 - bitsOf(loudest)
    for (let i = 0; i < windowSamples; i += 1) fft.input[i] = windowed[i]! << shift
    fft.transform()
    return shift
  }

  /** fft.bins → signal: the root of what the spectrum has in each channel. */
  const filter = (shift: number): void => {
    for (let bin = binStart; bin < binEnd; bin += 1) {
      const re = fft.bins[2 * bin]!
      const im = fft.bins[2 * bin + 1]!
      energies[bin] = re * re + im * im
    }
    let carried = 0
    for (let band = 0, weight = 0; band <= channels; band += 1) {
      let out = carried
      carried = 0
      const first = bands[2 * band]!
      const end = first + bands[2 * band + 1]!
      for (let bin = first; bin < end; bin += 1, weight += 1) {
        out += falling[weight]! * energies[bin]!
        carried += rising[weight]! * energies[bin]!
      }
      // What falls out of the first band belongs to no channel.
      if (band > 0) signal[band - 1] = roundedRoot(out) >>> shift
    }
  }

  /** Takes from each channel what has been there all along. */
  const reduceNoise = (): void => {
    for (let channel = 0; channel < channels; channel += 1) {
      const value = signal[channel]!
      const factor = smoothing[(channel & 1) as 0 | 1]
      const scaled = (value << smoothingBits) >>> 0
      const sum = scaled * factor + estimates[channel]! * ((1 << SMOOTHING_BITS) - factor)
      const estimate = Math.floor(sum / (1 << SMOOTHING_BITS))
      estimates[channel] = estimate
      const floor = Math.floor((value * remaining) / (1 << SMOOTHING_BITS))
      signal[channel] = Math.max((scaled - Math.min(estimate, scaled)) >>> smoothingBits, floor)
    }
  }

  const logarithm = (value: number): number => {
    const corrected = correctionBits < 0 ? value >>> -correctionBits : (value << correctionBits) >>> 0
    return corrected > 1 ? scaledLog(corrected, logScaleShift) : 0
  }

  return {
    windowSamples,
    stepSamples,
    channels,
    push: (samples, from = 0) => {
      const count = Math.max(0, Math.min(samples.length - from, windowSamples - at.used))
      for (let i = 0; i < count; i += 1) {
        recent[at.used + i] = Math.max(-32_768, Math.min(32_767, Math.round(samples[from + i]! * 32_768)))
      }
      at.used += count
      return count
    },
    frameReady: () => at.used === windowSamples,
    takeFrame: (out) => {
      if (at.used !== windowSamples) throw new Error('no frame is due')
      filter(transform())
      reduceNoise()
      for (let channel = 0; channel < channels; channel += 1) {
        let value = signal[channel]!
        if (gains) value = shrink(Math.floor((value * gainOf(gains, estimates[channel]!)) / snrScale) >>> 0)
        out[channel] = Math.min(log ? logarithm(value) : value, 65_535)
      }
      recent.copyWithin(0, stepSamples)
      at.used -= stepSamples
    },
    reset: () => {
      at.used = 0
      estimates.fill(0)
    },
  }
}

/** Frames as the networks of microWakeWord read them: 0 to 666, which is more than speech gives, onto 8 bits.
 *  @param out int8, saturated, as many
 *  @see esphome `micro_wake_word`, generate_features_ */
export const quantizeMicroFrame = (frame: Uint16Array, out: Int8Array): Int8Array => {
  for (let i = 0; i < frame.length; i += 1) {
    out[i] = Math.max(-128, Math.min(127, Math.floor((256 * frame[i]! + 333) / 666) - 128))
  }
  return out
}
