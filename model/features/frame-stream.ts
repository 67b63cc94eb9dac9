import type { FeatureStream } from './feature-stream.ts'

/** What makes frames of a stream, one every `stepSamples`. */
export type FrameSource = {
  /** Values of a frame. */
  readonly values: number
  /** Samples from frame to frame, and that a frame covers. */
  readonly stepSamples: number
  readonly frameSamples: number
  /** Takes samples up to the next frame. @returns how many */
  readonly push: (samples: Float32Array, from: number) => number
  readonly frameReady: () => boolean
  readonly takeFrame: (out: Float32Array) => void
  /** Forgets all audio. */
  readonly reset: () => void
}

/** Windows of consecutive frames. Every frame is computed, also of windows that nobody takes, since some front ends carry what they estimate from
 *  frame to frame.
 *  @param frames of a window
 *  @param hopFrames frames between windows, 1 or more
 *  @param channels of vectors whose level is what varies in each, since gravity shakes nothing; 0: of samples that swing around 0
 *  @throws RangeError when the hop is no positive whole number */
export const createFrameStream = (
  source: FrameSource,
  frames: number,
  hopFrames: number,
  channels = 0,
): FeatureStream => {
  if (!Number.isInteger(hopFrames) || hopFrames < 1) throw new RangeError(`hop of ${hopFrames} frames`)
  const { values, stepSamples, frameSamples } = source
  const window = new Float32Array(frames * values)
  const newest = window.subarray((frames - 1) * values)
  // Energy of the samples that each of the newest frames has brought, the newest last.
  const steps = Math.max(hopFrames, frames + Math.ceil(frameSamples / stepSamples) - 1)
  const energies = new Float64Array(steps)
  const counts = new Float64Array(steps)
  // Of each channel, for its mean.
  const sums = new Float64Array(steps * channels)
  const at = { taken: 0, made: 0, due: frames, measured: 0 }

  const measure = (samples: Float32Array, from: number, end: number): void => {
    let energy = 0
    for (let i = from; i < end; i += 1) energy += samples[i]! * samples[i]!
    if (channels > 0) {
      const newestSums = (steps - 1) * channels
      for (let i = from; i < end; i += 1) {
        const place = newestSums + ((at.measured + i - from) % channels)
        sums[place] = sums[place]! + samples[i]!
      }
      at.measured = (at.measured + end - from) % channels
    }
    energies[steps - 1] = energies[steps - 1]! + energy
    counts[steps - 1] = counts[steps - 1]! + end - from
  }

  const push: FeatureStream['push'] = (samples, from = 0) => {
    let next = from
    while (next < samples.length && at.made < at.due) {
      const count = source.push(samples, next)
      measure(samples, next, next + count)
      next += count
      if (!source.frameReady()) continue
      window.copyWithin(0, values)
      source.takeFrame(newest)
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
    sums.copyWithin(0, channels)
    sums.fill(0, (steps - 1) * channels)
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
    const from = Math.max(0, end - frameCount)
    for (let i = from; i < end; i += 1) {
      energy += energies[i]!
      count += counts[i]!
    }
    if (count === 0) return 0
    let still = 0
    for (let channel = 0; channel < channels; channel += 1) {
      let sum = 0
      for (let i = from; i < end; i += 1) sum += sums[i * channels + channel]!
      still += (sum / (count / channels)) ** 2 / channels
    }
    // Rounding may leave less than nothing of a sensor that lies still.
    return Math.sqrt(Math.max(0, energy / count - still))
  }

  return {
    hopSamples: hopFrames * stepSamples,
    push,
    windowReady: () => at.made === at.due,
    takeWindow: (out) => {
      takeDue()
      out.set(window)
    },
    skipWindow: takeDue,
    samplesTaken: () => at.taken,
    windowRms: () => rmsOfNewest(steps),
    hopRms: () => rmsOfNewest(hopFrames),
    reset: () => {
      source.reset()
      window.fill(0)
      energies.fill(0)
      counts.fill(0)
      sums.fill(0)
      Object.assign(at, { taken: 0, made: 0, due: frames, measured: 0 })
    },
  }
}
