import { checkLogMelDefinition, type LogMelDefinition } from './log-mel-definition.ts'
import { createRealSpectrum } from './real-spectrum.ts'

/** Log-mel frames of an endless stream. The caller pulls, as from `createMicroFrontend`. */
export type LogMel = {
  /** Values of a frame. */
  readonly melBands: number
  /** Takes samples until they are used up or a frame is due, whichever comes first.
   *  @param samples mono at the rate of the definition
   *  @param from first sample to take, default 0
   *  @returns how many were taken; 0 while a frame is due and not yet taken */
  readonly push: (samples: Float32Array, from?: number) => number
  /** Whether a frame is due. */
  readonly frameReady: () => boolean
  /** Computes the due frame.
   *  @param out `melBands` values
   *  @throws Error when no frame is due: a caller's bug */
  readonly takeFrame: (out: Float32Array) => void
  /** Forgets all audio. */
  readonly reset: () => void
}

type MelScale = { readonly toMel: (hz: number) => number; readonly toHz: (mel: number) => number }

const HTK: MelScale = {
  toMel: (hz) => 1127 * Math.log(1 + hz / 700),
  toHz: (mel) => 700 * (Math.exp(mel / 1127) - 1),
}
/** Slaney's: 200/3 Hz a mel up to 1 kHz, then 27 mels for each factor of 6.4. */
const HZ_PER_MEL = 200 / 3
const KNEE_HZ = 1_000
const KNEE_MEL = KNEE_HZ / HZ_PER_MEL
const LOG_STEP = Math.log(6.4) / 27
const SLANEY: MelScale = {
  toMel: (hz) => (hz < KNEE_HZ ? hz / HZ_PER_MEL : KNEE_MEL + Math.log(hz / KNEE_HZ) / LOG_STEP),
  toHz: (mel) => (mel < KNEE_MEL ? mel * HZ_PER_MEL : KNEE_HZ * Math.exp(LOG_STEP * (mel - KNEE_MEL))),
}

/** One triangle: weights of the bins from `first` on. */
type Triangle = { readonly first: number; readonly weights: Float64Array }

/** @see tf.signal.linear_to_mel_weight_matrix; librosa.filters.mel (M. Slaney, "Auditory Toolbox", 1998) */
const triangles = (d: LogMelDefinition): readonly Triangle[] => {
  const slaney = d.melScale === 'slaney-area'
  const { toMel, toHz } = slaney ? SLANEY : HTK
  const low = toMel(d.melLowHz)
  const step = (toMel(d.melHighHz) - low) / (d.melBands + 1)
  // Corners and bins along the axis on which the triangles are straight.
  const corner = (i: number): number => (slaney ? toHz(low + i * step) : low + i * step)
  const place = (bin: number): number => {
    const hz = (bin * d.sampleRateHz) / d.fftSize
    return slaney ? hz : toMel(hz)
  }
  return Array.from({ length: d.melBands }, (_, band) => {
    const [left, top, right] = [corner(band), corner(band + 1), corner(band + 2)]
    const height = slaney ? 2 / (right - left) : 1
    const weights: number[] = []
    let first = 0
    for (let bin = slaney ? 0 : 1; bin <= d.fftSize / 2; bin += 1) {
      const at = place(bin)
      const weight = height * Math.min((at - left) / (top - left), (right - at) / (right - top))
      if (weight <= 0) continue
      if (weights.length === 0) first = bin
      weights.push(weight)
    }
    return { first, weights: Float64Array.from(weights) }
  })
}

/** @throws RangeError when the definition is not implemented (check foreign ones with `checkLogMelDefinition` first) */
export const createLogMel = (definition: LogMelDefinition): LogMel => {
  const checked = checkLogMelDefinition(definition)
  if (!checked.ok) throw new RangeError(checked.error.detail)
  const { windowSamples, strideSamples, melBands, logOffset, logScale, preEmphasis = 0 } = definition
  const [level, swing] = definition.window === 'hann-periodic' ? [0.5, 0.5] : [0.54, 0.46]
  const window = Float64Array.from(
    { length: windowSamples },
    (_, i) => level - swing * Math.cos((2 * Math.PI * i) / windowSamples),
  )
  const bands = triangles(definition)
  const { samples: windowed, power, transform } = createRealSpectrum(definition.fftSize)
  const recent = new Float32Array(windowSamples)
  const at = { used: 0, before: 0 }
  const bySize = definition.spectrum === 'magnitude'

  return {
    melBands,
    push: (samples, from = 0) => {
      const count = Math.max(0, Math.min(samples.length - from, windowSamples - at.used))
      for (let i = 0; i < count; i += 1) {
        const sample = samples[from + i]!
        recent[at.used + i] = sample - preEmphasis * at.before
        at.before = sample
      }
      at.used += count
      return count
    },
    frameReady: () => at.used === windowSamples,
    takeFrame: (out) => {
      if (at.used !== windowSamples) throw new Error('no frame is due')
      windowed.fill(0)
      for (let i = 0; i < windowSamples; i += 1) windowed[i] = recent[i]! * window[i]!
      transform()
      for (const [band, { first, weights }] of bands.entries()) {
        let sum = 0
        for (let i = 0; i < weights.length; i += 1) {
          const bin = power[first + i]!
          sum += weights[i]! * (bySize ? Math.sqrt(bin) : bin)
        }
        out[band] = logScale * Math.log(sum + logOffset)
      }
      recent.copyWithin(0, strideSamples)
      at.used -= strideSamples
    },
    reset: () => {
      at.used = 0
      at.before = 0
    },
  }
}
