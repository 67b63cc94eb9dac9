import type { Clock } from '../../contract/clock.ts'
import { present } from '../../contract/present.ts'
import { labelledClips, readAudio } from '../audio-files.ts'
import { AudioNotes } from '../audio-notes.ts'
import { CommandFailure } from '../failure.ts'
import { openBundleFile } from '../open-bundle-file.ts'
import { argmax, clipHearing } from './clip-hearing.ts'
import { wakePipeline } from './wake-pipeline.ts'

export interface EvalResult {
  readonly accuracy: number
  readonly clips: number
  readonly perLabel: Readonly<Record<string, { readonly clips: number; readonly correct: number }>>
  /** features and network, one clip */
  readonly latencyMs: { readonly p50: number; readonly p99: number }
  /** files that could not be read, and why */
  readonly skipped: readonly { readonly file: string; readonly reason: string }[]
}

/** Scores a bundle on labelled one-second clips with the agent's own front end and engine. Shorter ones stand in the middle of silence, as
 *  a word stands in the windows that a device hears and in those that networks are trained on; of longer ones the first window is scored,
 *  as in MLPerf Tiny.
 *  @returns with what people should know of the clips
 *  @param graph id of the graph, the bundle's first by default
 */
export async function evaluateBundle(
  bundlePath: string,
  dir: string,
  clock: Clock,
  graph?: string,
  onProgress?: (done: number, total: number) => void,
): Promise<{ readonly result: EvalResult; readonly notes: readonly string[] }> {
  const bundle = await openBundleFile(bundlePath, Number.POSITIVE_INFINITY)
  try {
    const { manifest, definition, sessions } = bundle
    const session = sessions.get(graph ?? present(manifest.graphs[0], 'a graph of the bundle').id)
    if (session === undefined) {
      const known = manifest.graphs.map(({ id }) => id).join(', ')
      throw new CommandFailure(`${bundlePath}: no graph "${graph}"`, { hint: `its graphs are ${known}` })
    }
    const { labels } = wakePipeline(bundlePath, manifest)
    const byLabel = labelledClips(dir, labels)
    const total = [...byLabel.values()].reduce((sum, files) => sum + files.length, 0)
    if (definition.kind !== 'mfcc') {
      throw new CommandFailure(`${bundlePath}: its network hears frame by frame and gives no verdict on one clip`, {
        hint: '"kinglet model curve" streams recordings through such a bundle',
      })
    }
    const hear = clipHearing(definition, session)
    const { clipSamples } = definition
    const latencies: number[] = []
    const audioNotes = new AudioNotes()
    let padded = 0
    let cut = 0
    const skipped: { file: string; reason: string }[] = []
    const perLabel: Record<string, { clips: number; correct: number }> = {}
    for (const [label, files] of byLabel) {
      const score = { clips: 0, correct: 0 }
      perLabel[label] = score
      for (const file of files) {
        const audio = readAudio(file, definition.sampleRateHz)
        if ('refusal' in audio) {
          skipped.push({ file, reason: audio.refusal })
          continue
        }
        audioNotes.add(file, audio.notes)
        const { length } = audio.samples
        if (length < clipSamples) padded++
        if (length > clipSamples) cut++
        const from = clock.monotonicMs()
        const result = await hear(audio.samples)
        latencies.push(clock.monotonicMs() - from)
        if (!result.ok) throw new CommandFailure(`${file}: ${result.error.code}: ${result.error.detail}`)
        score.clips++
        if (labels[argmax(result.value)] === label) score.correct++
        if (latencies.length % 100 === 0) onProgress?.(latencies.length, total)
      }
    }
    const clips = latencies.length
    if (clips === 0) {
      throw new CommandFailure(`${dir}: none of ${total} WAV files could be read`, { hint: skipped[0]?.reason ?? '' })
    }
    const correct = Object.values(perLabel).reduce((sum, score) => sum + score.correct, 0)
    latencies.sort((a, b) => a - b)
    const quantile = (q: number) => present(latencies[Math.min(clips - 1, Math.floor(q * clips))], 'a latency')
    const notes: string[] = [...audioNotes.lines()]
    const note = (count: number, words: string) => {
      if (count > 0) notes.push(`${count} of ${clips} clips are ${words}`)
    }
    note(padded, 'shorter than the window: silence before and after them')
    note(cut, 'longer than the window: only their beginning is scored')
    const latencyMs = { p50: quantile(0.5), p99: quantile(0.99) }
    return { result: { accuracy: correct / clips, clips, perLabel, latencyMs, skipped }, notes }
  } finally {
    await bundle.dispose()
  }
}
