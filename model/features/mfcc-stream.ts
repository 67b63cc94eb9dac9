import type { FeatureStream } from './feature-stream.ts'
import { createHighPass } from './high-pass.ts'
import { highest, mfccKernel } from './mfcc.ts'
import type { MfccDefinition } from './mfcc-definition.ts'

/** Feature windows of an endless stream. Each frame is analysed once, when a window with it is taken; per window only the normalisation is
 *  redone.
 *  @param hopFrames frames between windows, 1 or more (10 of MLPerf Tiny's are 200 ms)
 *  @throws RangeError when the definition is not implemented or the hop is no positive whole number */
export const createMfccStream = (definition: MfccDefinition, hopFrames: number): FeatureStream => {
  if (!Number.isInteger(hopFrames) || hopFrames < 1) throw new RangeError(`hop of ${hopFrames} frames`)
  const kernel = mfccKernel(definition)
  const { clipSamples, windowSamples, strideSamples, frames, coefficients } = definition
  const { frameValues } = kernel
  const { highPassHz, sampleRateHz } = definition
  const highPass = highPassHz === undefined ? undefined : createHighPass(highPassHz, sampleRateHz)
  const hopSamples = hopFrames * strideSamples
  const blocks = clipSamples / strideSamples
  // The newest clip of samples, in a ring.
  const recent = new Float32Array(clipSamples)
  // Maximum and energy of each block (a stride of samples) of the newest measured window, in order.
  const maxima = new Float64Array(blocks)
  const energies = new Float64Array(blocks)
  // Frames of the newest taken window, in order, and their coefficients with the maximum of that window: while the loudest sample
  // stays the same, only the frames of the newest hop are normalised.
  const analysed = new Float64Array(frames * frameValues)
  const normalised = new Float32Array(frames * coefficients)
  // One object of numbers instead of many closed-over variables: the hot loop reads it into locals.
  const at = { taken: 0, due: clipSamples, measured: 0, framesEnd: 0, maximum: Number.NaN }

  const reset = () => {
    at.taken = 0
    at.due = clipSamples
    at.measured = 0
    at.framesEnd = 0
    highPass?.reset()
  }

  /** Copies `count` of the newest samples, `from` counted from the start, to where the kernel reads them. */
  const load = (from: number, count: number) => {
    const start = from % clipSamples
    const whole = Math.min(count, clipSamples - start)
    kernel.samples.set(recent.subarray(start, start + whole))
    if (whole < count) kernel.samples.set(recent.subarray(0, count - whole), whole)
  }

  /** Takes the blocks of the due window that are new. */
  const measure = () => {
    const count = Math.min(blocks, (at.taken - at.measured) / strideSamples)
    load(at.taken - count * strideSamples, count * strideSamples)
    kernel.measure(count)
    maxima.copyWithin(0, count)
    energies.copyWithin(0, count)
    maxima.set(kernel.maxima.subarray(0, count), blocks - count)
    energies.set(kernel.energies.subarray(0, count), blocks - count)
    at.measured = at.taken
  }

  const push: FeatureStream['push'] = (samples, from = 0) => {
    const count = Math.max(0, Math.min(samples.length - from, at.due - at.taken))
    for (let done = 0; done < count; ) {
      const start = (at.taken + done) % clipSamples
      const part = Math.min(count - done, clipSamples - start)
      if (highPass === undefined) recent.set(samples.subarray(from + done, from + done + part), start)
      else highPass.filter(samples, from + done, part, recent, start)
      done += part
    }
    at.taken += count
    if (count > 0 && at.taken === at.due) measure()
    return count
  }

  const takeDue = () => {
    if (at.taken !== at.due) throw new Error('no feature window is due')
    at.due += hopSamples
  }

  // Analysis waits until a window is wanted: behind a closed gate, or between sparse windows, a sample costs its copy.
  const takeWindow: FeatureStream['takeWindow'] = (out) => {
    takeDue()
    const firstFrame = (at.taken - clipSamples) / strideSamples
    const kept = Math.max(0, at.framesEnd - firstFrame)
    if (kept > 0) {
      analysed.copyWithin(0, (frames - kept) * frameValues)
      normalised.copyWithin(0, (frames - kept) * coefficients)
    }
    const maximum = highest(maxima)
    if (kept > 0 && maximum !== at.maximum) {
      kernel.analysed.set(analysed.subarray(0, kept * frameValues))
      kernel.normalise(kept, maximum)
      normalised.set(kernel.coefficients.subarray(0, kept * coefficients))
    }
    const fresh = frames - kept
    load(at.taken - clipSamples + kept * strideSamples, (fresh - 1) * strideSamples + windowSamples)
    kernel.analyse(fresh)
    kernel.normalise(fresh, maximum)
    analysed.set(kernel.analysed.subarray(0, fresh * frameValues), kept * frameValues)
    normalised.set(kernel.coefficients.subarray(0, fresh * coefficients), kept * coefficients)
    at.framesEnd = firstFrame + frames
    at.maximum = maximum
    out.set(normalised)
  }

  const rmsOfNewest = (count: number): number => {
    const known = Math.min(count, at.measured / strideSamples, blocks)
    let sum = 0
    for (let b = blocks - known; b < blocks; b += 1) sum += energies[b]!
    return known === 0 ? 0 : Math.sqrt(sum / (known * strideSamples))
  }

  return {
    hopSamples,
    push,
    windowReady: () => at.taken === at.due,
    takeWindow,
    skipWindow: takeDue,
    samplesTaken: () => at.taken,
    windowRms: () => rmsOfNewest(blocks),
    hopRms: () => rmsOfNewest(hopFrames),
    reset,
  }
}
