import type { Clock } from '../../contract/clock.ts'
import { present } from '../../contract/present.ts'
import { createListener } from '../../device/core/listen/listener.ts'
import type { OpenedBundle } from '../../model/opened-bundle.ts'
import { labelledClips, labelledIn, readAudio } from '../audio-files.ts'
import { AudioNotes } from '../audio-notes.ts'
import { CommandFailure } from '../failure.ts'
import { openBundleFile } from '../open-bundle-file.ts'
import { foldersWithPictures, readPictures, wantedPicture } from '../picture-files.ts'
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

/** Reads a labelled file. @returns what gives it a label, or why it cannot be read */
type Judge = (file: string) => { label(): Promise<string | undefined> } | { readonly refusal: string }

/** Scores a bundle on labelled one-second clips, or pictures, with the agent's own front end and engine. Shorter clips stand in the middle of silence, as
 *  a word stands in the windows that a device hears and in those that networks are trained on; of longer ones the first window is scored,
 *  as in MLPerf Tiny. Of a file of several pictures the last one counts, with those before it as far as the head looks back.
 *  @returns with what people should know of the clips
 *  @param graph id of the graph, the bundle's first by default; of pictures a level's graphs are scored as they run
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
    const isPictures = bundle.manifest.input.kind === 'image'
    if (isPictures && graph !== undefined) {
      throw new CommandFailure(`${bundlePath}: --graph is of bundles that hear; pictures go through the first level`)
    }
    const how = isPictures ? picturesOf(bundlePath, bundle, dir) : clipsOf(bundlePath, bundle, dir, graph)
    const result = await score(dir, how.byLabel, how.judge, clock, onProgress)
    return { result, notes: how.notes(result.clips) }
  } finally {
    await bundle.dispose()
  }
}

interface Labelled {
  readonly byLabel: ReadonlyMap<string, readonly string[]>
  readonly judge: Judge
  /** what people should know, when all have been judged */
  notes(clips: number): readonly string[]
}

function clipsOf(bundlePath: string, bundle: OpenedBundle, dir: string, graph: string | undefined): Labelled {
  const { manifest, definition, sessions } = bundle
  const session = sessions.get(graph ?? present(manifest.graphs[0], 'a graph of the bundle').id)
  if (session === undefined) {
    const known = manifest.graphs.map(({ id }) => id).join(', ')
    throw new CommandFailure(`${bundlePath}: no graph "${graph}"`, { hint: `its graphs are ${known}` })
  }
  const { labels } = wakePipeline(bundlePath, manifest)
  const byLabel = labelledClips(dir, labels)
  if (definition.kind !== 'mfcc') {
    throw new CommandFailure(`${bundlePath}: its network hears frame by frame and gives no verdict on one clip`, {
      hint: '"kinglet model curve" streams recordings through such a bundle',
    })
  }
  const hear = clipHearing(definition, session)
  const { clipSamples, sampleRateHz } = definition
  const audioNotes = new AudioNotes()
  const lengths = { padded: 0, cut: 0 }
  return {
    byLabel,
    judge(file) {
      const audio = readAudio(file, sampleRateHz)
      if ('refusal' in audio) return audio
      audioNotes.add(file, audio.notes)
      const { length } = audio.samples
      if (length < clipSamples) lengths.padded++
      if (length > clipSamples) lengths.cut++
      return {
        async label() {
          const result = await hear(audio.samples)
          if (!result.ok) throw new CommandFailure(`${file}: ${result.error.code}: ${result.error.detail}`)
          return labels[argmax(result.value)]
        },
      }
    },
    notes(clips) {
      const lines = [...audioNotes.lines()]
      const note = (count: number, words: string) => {
        if (count > 0) lines.push(`${count} of ${clips} clips are ${words}`)
      }
      note(lengths.padded, 'shorter than the window: silence before and after them')
      note(lengths.cut, 'longer than the window: only their beginning is scored')
      return lines
    },
  }
}

/** Pictures go through the first level of the ladder, as on a device. */
function picturesOf(bundlePath: string, { manifest, definitions, sessions }: OpenedBundle, dir: string): Labelled {
  const { input, pipelines } = manifest
  const index = pipelines.findIndex(({ head }) => head.kind === 'classification')
  const head = pipelines[index]?.head
  const step = manifest.ladder.find(({ runs }) => runs[index] != null)
  if (input.kind !== 'image' || head?.kind !== 'classification' || step === undefined) {
    throw new CommandFailure(`${bundlePath}: no pipeline that classifies pictures`, {
      hint: `its heads are ${pipelines.map((pipeline) => `${pipeline.id} (${pipeline.head.kind})`).join(', ')}`,
    })
  }
  const { labels } = head
  const audioNotes = new AudioNotes()
  return {
    byLabel: labelledIn(dir, labels, foldersWithPictures(dir), `DIR/<label>/*, ${wantedPicture(input)}`),
    judge(file) {
      const pictures = readPictures(file, input)
      if ('refusal' in pictures) return pictures
      audioNotes.add(file, pictures.notes)
      const listener = createListener({ manifest, definitions, step, sessions })
      return {
        async label() {
          const heard = await listener.listen(pictures.samples)
          if (!heard.ok) throw new CommandFailure(`${file}: ${heard.error.code}: ${heard.error.detail}`)
          const reading = heard.value.readings?.find(({ pipeline }) => pipeline === index)
          return labels[reading?.label ?? -1]
        },
      }
    },
    notes: () => audioNotes.lines(),
  }
}

async function score(
  dir: string,
  byLabel: ReadonlyMap<string, readonly string[]>,
  judge: Judge,
  clock: Clock,
  onProgress: ((done: number, total: number) => void) | undefined,
): Promise<EvalResult> {
  const total = [...byLabel.values()].reduce((sum, files) => sum + files.length, 0)
  const latencies: number[] = []
  const skipped: { file: string; reason: string }[] = []
  const perLabel: Record<string, { clips: number; correct: number }> = {}
  for (const [label, files] of byLabel) {
    const own = { clips: 0, correct: 0 }
    perLabel[label] = own
    for (const file of files) {
      const judged = judge(file)
      if ('refusal' in judged) {
        skipped.push({ file, reason: judged.refusal })
        continue
      }
      const from = clock.monotonicMs()
      const given = await judged.label()
      latencies.push(clock.monotonicMs() - from)
      own.clips++
      if (given === label) own.correct++
      if (latencies.length % 100 === 0) onProgress?.(latencies.length, total)
    }
  }
  const clips = latencies.length
  if (clips === 0) {
    throw new CommandFailure(`${dir}: none of ${total} files could be read`, { hint: skipped[0]?.reason ?? '' })
  }
  const correct = Object.values(perLabel).reduce((sum, own) => sum + own.correct, 0)
  latencies.sort((a, b) => a - b)
  const quantile = (q: number) => present(latencies[Math.min(clips - 1, Math.floor(q * clips))], 'a latency')
  return { accuracy: correct / clips, clips, perLabel, latencyMs: { p50: quantile(0.5), p99: quantile(0.99) }, skipped }
}
