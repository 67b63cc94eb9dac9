import type { Head } from '../../contract/head.ts'
import { type LadderStep, labelsOfPipeline } from '../../contract/manifest.ts'
import { present } from '../../contract/present.ts'
import { createListener } from '../../device/core/listen/listener.ts'
import type { EngineSession } from '../../model/engine/engine.ts'
import { featureShape } from '../../model/features/feature-definition.ts'
import type { OpenedBundle } from '../../model/opened-bundle.ts'
import { anomalyScore } from '../../model/pipeline/anomaly-score.ts'
import { CommandFailure } from '../failure.ts'
import type { HeardWindows } from './operating-curve.ts'
import { onlyPipeline } from './wake-pipeline.ts'

/** Hears a stream of sound through the shipping listener and keeps what a pipeline's last graph said of each window, of an anomaly head its score, so that other settings of the
 *  detector can be tried without hearing again.
 *  @param pipeline one that runs at the level
 *  @param sound pieces of it, one after the other
 *  @throws CommandFailure when the engine fails */
export async function hearWindows(
  { manifest, definitions, sessions }: OpenedBundle,
  step: LadderStep,
  pipeline: number,
  sound: Iterable<Float32Array>,
): Promise<HeardWindows & { readonly wakes: readonly string[] }> {
  const { graphs, hopFrames } = present(step.runs[pipeline], 'the run of a pipeline')
  const { head } = present(manifest.pipelines[pipeline], 'a pipeline')
  const { sampleRateHz, windowSamples, strideSamples } = featureShape(present(definitions[pipeline], 'a front end'))
  const hopSamples = hopFrames * strideSamples
  const msOf = (samples: number): number => (samples * 1000) / sampleRateHz
  const said: Float32Array[] = []
  const last = present(graphs.at(-1), 'a graph')
  const listening = new Map([...sessions, [last, saying(present(sessions.get(last), 'its session'), head, said)]])
  const listener = createListener({ manifest, definitions, step: onlyPipeline(step, pipeline), sessions: listening })
  const labels = labelsOfPipeline(manifest, pipeline)
  const windows: { atMs: number; posteriors: Float32Array; afterGap: boolean }[] = []
  const wakes: string[] = []
  let samples = 0
  let window = 0
  let afterGap = false
  for (const piece of sound) {
    // A hop at a time has one window at most, whose time the count of them tells.
    for (let at = 0; at < piece.length; at += hopSamples) {
      said.length = 0
      const heard = await listener.listen(piece.subarray(at, at + hopSamples))
      if (!heard.ok) throw new CommandFailure(`${heard.error.code}: ${heard.error.detail}`)
      if (heard.value.windows === 0) continue
      if (heard.value.inferences === 0) afterGap = true
      for (const posteriors of said) {
        windows.push({ atMs: msOf(windowSamples + window * hopSamples), posteriors, afterGap })
        afterGap = false
      }
      window++
      for (const { label } of heard.value.wakes) wakes.push(labels[label] ?? '')
    }
    samples += piece.length
  }
  return { windows, audioMs: msOf(samples), wakes }
}

/** A session that also tells what it answers: of an anomaly head its score. */
const saying = (session: EngineSession, head: Head, said: Float32Array[]): EngineSession => ({
  input: session.input,
  output: session.output,
  run: async (input) => {
    const result = await session.run(input)
    if (result.ok) {
      const isScored = head.kind === 'anomaly' && input instanceof Float32Array
      said.push(isScored ? Float32Array.of(anomalyScore(head, result.value, input)) : result.value.slice())
    }
    return result
  },
  dispose: async () => undefined,
  ...(session.reset !== undefined && { reset: () => session.reset?.() }),
})
