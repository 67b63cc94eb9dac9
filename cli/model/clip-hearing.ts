import type { Result } from '../../contract/result.ts'
import type { EngineError, EngineSession } from '../../model/engine/engine.ts'
import { createMfcc } from '../../model/features/mfcc.ts'
import type { MfccDefinition } from '../../model/features/mfcc-definition.ts'

/** Hears clips by themselves, a window each. Shorter ones stand in the middle of silence, as a word stands in the windows that a device hears
 *  and in those that networks are trained on; of longer ones the beginning is heard.
 *  @returns posteriors, one a label, for samples at the definition's rate */
export function clipHearing(
  definition: MfccDefinition,
  session: EngineSession,
): (samples: Float32Array) => Promise<Result<Float32Array, EngineError>> {
  const mfcc = createMfcc(definition)
  const features = new Float32Array(definition.frames * definition.coefficients)
  const clip = new Float32Array(definition.clipSamples)
  return (samples) => {
    clip.fill(0)
    clip.set(samples.subarray(0, clip.length), Math.max(0, Math.floor((clip.length - samples.length) / 2)))
    return session.run(mfcc(clip, features))
  }
}

/** @returns index of the largest value, the first of several */
export const argmax = (values: ArrayLike<number>): number => {
  let best = 0
  for (let i = 1; i < values.length; i++) if ((values[i] ?? 0) > (values[best] ?? 0)) best = i
  return best
}
