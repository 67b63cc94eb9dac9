import { createResampler, type Resampler } from '../model/audio/resample.ts'
import { RATE_HZ } from './labels.ts'
import { below, between, normal, type Random } from './random.ts'

/** A copy of `length` samples, moved later by `shift` (earlier when negative), zeros where nothing is. */
export const shifted = (samples: Float32Array, shift: number, length: number = samples.length): Float32Array => {
  const out = new Float32Array(length)
  const from = Math.max(0, -shift)
  const to = Math.min(samples.length, length - shift)
  for (let i = from; i < to; i += 1) out[i + shift] = samples[i]!
  return out
}

/** Speed and pitch together, as a tape does: a recording by someone with another vocal tract, roughly.
 *  Rates are quantized to 1/50, so that the filter tables are few and cached. */
export const createTape = (): ((samples: Float32Array, speed: number) => Float32Array) => {
  const cache = new Map<number, Resampler>()
  return (samples, speed) => {
    const step = Math.round(speed * 50)
    if (step === 50) return samples
    let run = cache.get(step)
    if (run === undefined) {
      // 10 zero crossings: the mel bands end at 4 kHz, far below the transition band.
      run = createResampler(step, 50, 10)
      cache.set(step, run)
    }
    return run(samples)
  }
}

/** A small room: a few early reflections and a sparse decaying tail, energy of the direct path kept. */
export const withReverb = (samples: Float32Array, random: Random): Float32Array => {
  const taps = 8 + below(random, 24)
  const decayMs = between(random, 15, 120)
  const wet = between(random, 0.1, 0.6)
  const out = samples.slice()
  for (let tap = 0; tap < taps; tap += 1) {
    const delayMs = between(random, 2, 2.5 * decayMs)
    const delay = Math.floor((delayMs * RATE_HZ) / 1_000)
    const gain = wet * Math.exp(-delayMs / decayMs) * normal(random)
    for (let i = delay; i < out.length; i += 1) out[i]! += gain * samples[i - delay]!
  }
  return out
}

/** A microphone's tilt: first-order emphasis or damping of the treble. */
export const withTilt = (samples: Float32Array, random: Random): Float32Array => {
  const a = between(random, -0.5, 0.5)
  const out = new Float32Array(samples.length)
  let before = 0
  for (let i = 0; i < samples.length; i += 1) {
    out[i] = samples[i]! - a * before
    before = samples[i]!
  }
  return out
}

/** First and last sample of the part within 30 dB of the loudest 10 ms; the whole clip when it is silent. */
export const activeRange = (samples: Float32Array): { readonly from: number; readonly to: number } => {
  const step = RATE_HZ / 100
  const blocks = Math.floor(samples.length / step)
  const power = Array.from({ length: blocks }, (_, b) => {
    let sum = 0
    for (let i = b * step; i < (b + 1) * step; i += 1) sum += samples[i]! * samples[i]!
    return sum
  })
  const limit = Math.max(0, ...power) * 1e-3
  const first = power.findIndex((p) => p > limit)
  const last = power.findLastIndex((p) => p > limit)
  return first < 0 ? { from: 0, to: samples.length } : { from: first * step, to: (last + 1) * step }
}
