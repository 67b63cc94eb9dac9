import { createMfccKernel } from './mfcc.ts'
import type { MfccDefinition } from './mfcc-definition.ts'

/** Feature windows of an endless stream, one every `hopFrames` frames. Each frame is analysed once; per window only the
 *  normalisation is redone. Steady state allocates nothing. The caller pulls, because engines are asynchronous:
 *
 *      for (let at = 0; at < chunk.length; ) {
 *        at += stream.push(chunk, at)
 *        if (stream.windowReady()) stream.takeWindow(features)
 *      } */
export type MfccStream = {
  readonly hopSamples: number
  /** Takes samples until they are used up or a window is due, whichever comes first.
   *  @param samples mono at the rate of the definition, in [-1, 1)
   *  @param from first sample to take, default 0
   *  @returns how many were taken; 0 while a window is due and not yet taken or skipped */
  readonly push: (samples: Float32Array, from?: number) => number
  /** Whether a window is due. */
  readonly windowReady: () => boolean
  /** Writes the due window, `frames * coefficients` floats frame by frame, into `out`.
   *  @throws Error when no window is due: a caller's bug */
  readonly takeWindow: (out: Float32Array) => void
  /** Drops the due window unnormalised, for a gate that found nothing to listen to. */
  readonly skipWindow: () => void
  /** Samples since the start or the last reset; the due window covers the last `clipSamples` of them. */
  readonly samplesTaken: () => number
  /** Root mean square of the whole due (or last) window: level for the noise floor's histogram. */
  readonly windowRms: () => number
  /** Root mean square of the newest hop alone: what a voice activity gate looks at. */
  readonly hopRms: () => number
  /** Forgets all audio, as after a gap in the input. */
  readonly reset: () => void
}

/** @param hopFrames frames between windows, 1 or more (10 of MLPerf Tiny's are 200 ms)
 *  @throws RangeError when the definition is not implemented or the hop is no positive whole number */
export const createMfccStream = (definition: MfccDefinition, hopFrames: number): MfccStream => {
  if (!Number.isInteger(hopFrames) || hopFrames < 1) throw new RangeError(`hop of ${hopFrames} frames`)
  const kernel = createMfccKernel(definition)
  const { clipSamples, windowSamples, strideSamples, frames, coefficients } = definition
  const { frameValues } = kernel
  const blocks = clipSamples / strideSamples
  // The newest analysis window's worth of samples; shifted by a stride when full.
  const pending = new Float32Array(windowSamples)
  // Rings by frame number and by block number (a block is one stride of samples).
  const analysed = new Float64Array(frames * frameValues)
  // Coefficients of each frame in the ring and the maximum they were normalised with: while the loudest sample of the window
  // stays the same, only the frames of the newest hop are normalised.
  const normalised = new Float32Array(frames * coefficients)
  const normalisedWith = new Float64Array(frames).fill(Number.NaN)
  const maxima = new Float64Array(blocks)
  const energies = new Float64Array(blocks)
  // One object of numbers instead of many closed-over variables: the hot loop reads it into locals.
  const at = { pending: 0, block: 0, blockMaximum: -Infinity, blockEnergy: 0, frames: 0, blocks: 0, due: blocks }

  const reset = () => {
    at.pending = 0
    at.block = 0
    at.blockMaximum = -Infinity
    at.blockEnergy = 0
    at.frames = 0
    at.blocks = 0
    at.due = blocks
  }

  const push: MfccStream['push'] = (samples, from = 0) => {
    let i = from
    while (i < samples.length && at.blocks !== at.due) {
      // As far as the next event: a full analysis window, a full block, or the end of the input.
      const count = Math.min(samples.length - i, windowSamples - at.pending, strideSamples - at.block)
      let maximum = at.blockMaximum
      let energy = at.blockEnergy
      for (let n = 0; n < count; n += 1) {
        const sample = samples[i + n]!
        pending[at.pending + n] = sample
        if (sample > maximum) maximum = sample
        energy += sample * sample
      }
      i += count
      at.pending += count
      at.block += count
      at.blockMaximum = maximum
      at.blockEnergy = energy
      if (at.pending === windowSamples) {
        const slot = at.frames % frames
        kernel.analyse(pending, 0, analysed, slot * frameValues)
        normalisedWith[slot] = Number.NaN
        at.frames += 1
        pending.copyWithin(0, strideSamples)
        at.pending = windowSamples - strideSamples
      }
      if (at.block === strideSamples) {
        maxima[at.blocks % blocks] = maximum
        energies[at.blocks % blocks] = energy
        at.blocks += 1
        at.block = 0
        at.blockMaximum = -Infinity
        at.blockEnergy = 0
      }
    }
    return i - from
  }

  const windowReady = () => at.blocks === at.due

  const takeWindow: MfccStream['takeWindow'] = (out) => {
    if (!windowReady()) throw new Error('no feature window is due')
    let maximum = -Infinity
    for (let b = 0; b < blocks; b += 1) if (maxima[b]! > maximum) maximum = maxima[b]!
    // When the last block of a window is full exactly `frames` frames of that window are, the newest in the ring.
    const first = at.frames - frames
    for (let frame = 0; frame < frames; frame += 1) {
      const slot = (first + frame) % frames
      const from = slot * coefficients
      if (normalisedWith[slot] !== maximum) {
        kernel.normalise(analysed, slot * frameValues, maximum, normalised, from)
        normalisedWith[slot] = maximum
      }
      const to = frame * coefficients
      for (let k = 0; k < coefficients; k += 1) out[to + k] = normalised[from + k]!
    }
    at.due += hopFrames
  }

  const rmsOfNewest = (count: number): number => {
    const known = Math.min(count, at.blocks, blocks)
    let sum = 0
    for (let b = at.blocks - known; b < at.blocks; b += 1) sum += energies[b % blocks]!
    return known === 0 ? 0 : Math.sqrt(sum / (known * strideSamples))
  }

  return {
    hopSamples: hopFrames * strideSamples,
    push,
    windowReady,
    takeWindow,
    skipWindow: () => {
      if (!windowReady()) throw new Error('no feature window is due')
      at.due += hopFrames
    },
    samplesTaken: () => at.blocks * strideSamples + at.block,
    windowRms: () => rmsOfNewest(blocks),
    hopRms: () => rmsOfNewest(hopFrames),
    reset,
  }
}
