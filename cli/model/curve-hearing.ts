import type { LadderStep } from '../../contract/manifest.ts'
import { createListener } from '../../device/core/listen/listener.ts'
import type { EngineSession } from '../../model/engine/engine.ts'
import { featureShape } from '../../model/features/feature-definition.ts'
import type { OpenedBundle } from '../../model/opened-bundle.ts'
import { CommandFailure } from '../failure.ts'
import type { HeardWindows } from './operating-curve.ts'

/** Hears a stream of sound through the shipping listener and keeps what the network said of each window, so that other settings of the
 *  detector can be tried without hearing again.
 *  @param sound pieces of it, one after the other
 *  @throws CommandFailure when the engine fails */
export async function hearWindows(
  { manifest, definition }: OpenedBundle,
  step: LadderStep,
  session: EngineSession,
  sound: Iterable<Float32Array>,
): Promise<HeardWindows & { readonly wakes: readonly string[] }> {
  const { sampleRateHz, windowSamples, strideSamples } = featureShape(definition)
  const hopSamples = step.hopFrames * strideSamples
  const msOf = (samples: number): number => (samples * 1000) / sampleRateHz
  const said: Float32Array[] = []
  const listening: EngineSession = {
    input: session.input,
    output: session.output,
    run: async (input) => {
      const result = await session.run(input)
      if (result.ok) said.push(result.value.slice())
      return result
    },
    dispose: async () => undefined,
    ...(session.reset !== undefined && { reset: () => session.reset?.() }),
  }
  const listener = createListener({ manifest, definition, step, session: listening })
  const windows: { atMs: number; posteriors: Float32Array; afterGap: boolean }[] = []
  const wakes: string[] = []
  let samples = 0
  let last = -1
  for (const piece of sound) {
    said.length = 0
    const heard = await listener.listen(piece)
    if (!heard.ok) throw new CommandFailure(`${heard.error.code}: ${heard.error.detail}`)
    let next = 0
    for (const { fromMs, count } of heard.value.inferenceRuns ?? []) {
      // The listener tells times in ms; what the detector compared were those of whole windows.
      const first = Math.round((msOf(samples) + fromMs - msOf(windowSamples)) / msOf(hopSamples))
      for (let window = first; window < first + count; window++) {
        const posteriors = said[next++]
        if (posteriors === undefined) throw new Error('a run of inferences without their posteriors')
        windows.push({ atMs: msOf(windowSamples + window * hopSamples), posteriors, afterGap: window !== last + 1 })
        last = window
      }
    }
    for (const { label } of heard.value.wakes) wakes.push(manifest.labels[label] ?? '')
    samples += piece.length
  }
  return { windows, audioMs: msOf(samples), wakes }
}
