import type { LadderStep } from '../../contract/manifest.ts'
import { present } from '../../contract/present.ts'
import { type FeatureDefinition, featureShape } from '../../model/features/feature-definition.ts'
import type { OpenedBundle } from '../../model/opened-bundle.ts'
import { foldersWithAudio, readAudio } from '../audio-files.ts'
import { AudioNotes } from '../audio-notes.ts'
import { CommandFailure } from '../failure.ts'
import { hearWindows } from './curve-hearing.ts'
import type { HeardWord } from './operating-curve.ts'
import type { WakePipeline } from './wake-pipeline.ts'

/** Folder of recordings that hold no word and no anomaly, beside those of the labels. */
export const NEGATIVE = '_negative'

/** Files of words by label, and those that hold none. */
interface Layout {
  readonly words: ReadonlyMap<string, readonly string[]>
  readonly others: readonly string[]
}

/** Finds the recordings of a pipeline's words and the sound that holds none.
 *  @param dir `DIR/<label>/*.wav`; labels that the pipeline does not wake for, and `_negative`, hold no word
 *  @param elsewhere labels of other pipelines, whose words are none of this one's
 *  @throws CommandFailure for a folder that is laid out otherwise */
export function laidOut(
  dir: string,
  { labels, policy }: Pick<WakePipeline, 'labels' | 'policy'>,
  elsewhere: ReadonlySet<string> = new Set(),
): Layout {
  const folders = foldersWithAudio(dir)
  const words = new Map<string, readonly string[]>()
  const others: string[] = []
  const foreign: string[] = []
  for (const [name, files] of folders) {
    if (name === NEGATIVE || policy.ignoreLabels.includes(name)) others.push(...files)
    else if (labels.includes(name)) words.set(name, files)
    else if (elsewhere.has(name)) others.push(...files)
    else foreign.push(name)
  }
  const waking = labels.filter((label) => !policy.ignoreLabels.includes(label))
  if (foreign.length > 0) {
    throw new CommandFailure(`${dir}: folders ${foreign.join(', ')} are no labels of this model`, {
      hint: `words: ${waking.join(', ')}; sound without a word: ${[...policy.ignoreLabels, NEGATIVE].join(', ')}`,
    })
  }
  if (words.size > 0 && others.length > 0) return { words, others }
  throw new CommandFailure(`${dir}: no ${words.size === 0 ? 'recordings of words' : 'sound without words'}`, {
    hint:
      words.size === 0
        ? `expected DIR/<label>/*.wav with labels ${waking.join(', ')}`
        : `expected DIR/${NEGATIVE}/*.wav, or a folder of ${policy.ignoreLabels.join(', ') || 'such sound'}`,
  })
}

type Heard = Awaited<ReturnType<typeof hearWindows>>

/** Reads and hears labelled recordings at a level, and keeps what became of them. */
export class LabelledHearing {
  readonly sparse: boolean
  readonly notes = new AudioNotes()
  readonly skipped: { readonly file: string; readonly reason: string }[] = []
  readonly #bundle: OpenedBundle
  readonly #pipeline: number
  readonly #step: LadderStep
  readonly #definition: FeatureDefinition
  readonly #layout: Layout
  readonly #onProgress: (share: number) => void
  readonly #files: number
  #done = 0

  constructor(
    bundle: OpenedBundle,
    pipeline: number,
    step: LadderStep,
    layout: Layout,
    onProgress: (share: number) => void,
  ) {
    this.#definition = present(bundle.definitions[pipeline], 'a front end')
    const { windowSamples, strideSamples } = featureShape(this.#definition)
    this.#bundle = bundle
    this.#step = step
    this.#pipeline = pipeline
    this.sparse = present(step.runs[pipeline], 'a run').hopFrames * strideSamples > windowSamples
    this.#layout = layout
    this.#onProgress = onProgress
    this.#files = [...layout.words.values()].reduce((sum, { length }) => sum + length, layout.others.length)
  }

  /** Each word from a fresh start, between silence of a window's length, a second at least: the device hears it come and go. */
  async words(): Promise<readonly (Heard & HeardWord)[]> {
    const { windowSamples, sampleRateHz } = featureShape(this.#definition)
    const silence = Math.max(windowSamples, sampleRateHz)
    const words: (Heard & HeardWord)[] = []
    for (const [label, files] of this.#layout.words) {
      for (const file of files) {
        const samples = this.#read(file)
        if (samples === undefined) continue
        const sound = new Float32Array(samples.length + 2 * silence)
        sound.set(samples, silence)
        words.push({ label, ...(await this.#hear([sound])) })
      }
    }
    return words
  }

  /** All sound without a word as one stream, since what wakes a device falsely does not begin with a file. */
  async others(): Promise<Heard> {
    return this.#hear(this.#pieces())
  }

  *#pieces(): Generator<Float32Array> {
    for (const file of this.#layout.others) {
      const samples = this.#read(file)
      if (samples !== undefined) yield samples
    }
  }

  #hear(sound: Iterable<Float32Array>): Promise<Heard> {
    return hearWindows(this.#bundle, this.#step, this.#pipeline, sound)
  }

  #read(file: string): Float32Array | undefined {
    this.#onProgress(this.#done++ / this.#files)
    const audio = readAudio(file, this.#definition.sampleRateHz)
    if ('refusal' in audio) {
      this.skipped.push({ file, reason: audio.refusal })
      return undefined
    }
    this.notes.add(file, audio.notes)
    return audio.samples
  }
}
