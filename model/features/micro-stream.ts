import type { FeatureStream } from './feature-stream.ts'
import { createMicroFrontend, quantizeMicroFrame } from './micro-frontend.ts'
import { type MicroFeatureDefinition, microSizes } from './micro-frontend-definition.ts'

/** What one step of the 8-bit values that these networks read stands for: 26 of a frame's 0 to 666, in 1/256.
 *  @see microWakeWord: features of frames times 0.0390625, quantized with this scale and zero point -128 */
export const MICRO_QUANTIZATION = { scale: 0.1015625, zeroPoint: -128 } as const

/** Windows of consecutive frames of the micro frontend. Every frame is computed, also of windows that nobody takes, since the noise that is
 *  estimated from frame to frame is part of the next.
 *  @param hopFrames frames between windows, 1 or more
 *  @throws RangeError when the definition is not implemented or the hop is no positive whole number */
export const createMicroStream = (definition: MicroFeatureDefinition, hopFrames: number): FeatureStream => {
  if (!Number.isInteger(hopFrames) || hopFrames < 1) throw new RangeError(`hop of ${hopFrames} frames`)
  const { frames, ...settings } = definition
  const frontEnd = createMicroFrontend(settings)
  const { channels } = frontEnd
  const { stepSamples, windowSamples } = microSizes(settings)
  const frame = new Uint16Array(channels)
  const window = new Int8Array(frames * channels)
  const newest = window.subarray((frames - 1) * channels)
  // Energy of the samples that each of the newest frames has brought, the newest last.
  const steps = Math.max(hopFrames, frames + Math.ceil(windowSamples / stepSamples) - 1)
  const energies = new Float64Array(steps)
  const counts = new Float64Array(steps)
  const at = { taken: 0, made: 0, due: frames }

  const measure = (samples: Float32Array, from: number, end: number): void => {
    let energy = 0
    for (let i = from; i < end; i += 1) energy += samples[i]! * samples[i]!
    energies[steps - 1] = energies[steps - 1]! + energy
    counts[steps - 1] = counts[steps - 1]! + end - from
  }

  const push: FeatureStream['push'] = (samples, from = 0) => {
    let next = from
    while (next < samples.length && at.made < at.due) {
      const count = frontEnd.push(samples, next)
      measure(samples, next, next + count)
      next += count
      if (!frontEnd.frameReady()) continue
      frontEnd.takeFrame(frame)
      window.copyWithin(0, channels)
      quantizeMicroFrame(frame, newest)
      at.made += 1
      if (at.made === at.due) continue
      roll()
    }
    at.taken += Math.max(0, next - from)
    return Math.max(0, next - from)
  }

  /** The next frame's samples are counted apart. */
  const roll = (): void => {
    energies.copyWithin(0, 1)
    counts.copyWithin(0, 1)
    energies[steps - 1] = 0
    counts[steps - 1] = 0
  }

  const takeDue = (): void => {
    if (at.made !== at.due) throw new Error('no feature window is due')
    at.due += hopFrames
    roll()
  }

  const rmsOfNewest = (frameCount: number): number => {
    let [energy, count] = [0, 0]
    // After a window was taken, the newest place is that of the frame to come.
    const end = at.made === at.due ? steps : steps - 1
    for (let i = Math.max(0, end - frameCount); i < end; i += 1) {
      energy += energies[i]!
      count += counts[i]!
    }
    return count === 0 ? 0 : Math.sqrt(energy / count)
  }

  return {
    hopSamples: hopFrames * stepSamples,
    push,
    windowReady: () => at.made === at.due,
    takeWindow: (out) => {
      takeDue()
      const { scale, zeroPoint } = MICRO_QUANTIZATION
      for (let i = 0; i < window.length; i += 1) out[i] = scale * (window[i]! - zeroPoint)
    },
    skipWindow: takeDue,
    samplesTaken: () => at.taken,
    windowRms: () => rmsOfNewest(steps),
    hopRms: () => rmsOfNewest(hopFrames),
    reset: () => {
      frontEnd.reset()
      window.fill(0)
      energies.fill(0)
      counts.fill(0)
      Object.assign(at, { taken: 0, made: 0, due: frames })
    },
  }
}
