import type { BundleManifest, LadderStep } from '../../contract/manifest.ts'
import { present } from '../../contract/present.ts'
import { type FeatureDefinition, featureShape } from '../../model/features/feature-definition.ts'
import type { OpenedBundle } from '../../model/opened-bundle.ts'
import { foldersWithAudio, readAudio } from '../audio-files.ts'
import { AudioNotes } from '../audio-notes.ts'
import { CommandFailure } from '../failure.ts'
import { hearWindows } from './curve-hearing.ts'
import {
  type CurvePoint,
  curvePoint,
  curveSettings,
  type HeardWindows,
  type HeardWord,
  missesByLabel,
  proposed,
} from './operating-curve.ts'
import { type WakePipeline, wakePipeline } from './wake-pipeline.ts'

/** Folder of recordings that hold no word and no anomaly, beside those of the labels. */
export const NEGATIVE = '_negative'
const HOUR_MS = 3_600_000

type ByLabel = ReturnType<typeof missesByLabel>

export interface CurveReport {
  readonly bundle: string
  readonly version: number
  readonly level: string
  /** recordings with one word each, and of how many labels */
  readonly words: number
  readonly labels: readonly string[]
  /** sound without a word */
  readonly negativeHours: number
  readonly maxFalsePerHour: number
  /** the bundle's own policy */
  readonly own: CurvePoint & { readonly byLabel: ByLabel }
  /** null when every setting wakes falsely more often than wanted */
  readonly proposal: (CurvePoint & { readonly byLabel: ByLabel }) | null
  readonly points: readonly CurvePoint[]
  readonly skipped: readonly { readonly file: string; readonly reason: string }[]
}

interface CurveOptions {
  readonly level: string | undefined
  /** one of several that hear words; undefined: the first */
  readonly pipeline: string | undefined
  readonly maxFalsePerHour: number
}

/** Streams labelled recordings through the shipping listener and counts, for each setting of its detector, what it would have missed and
 *  where it would have woken falsely.
 *  @param dir `DIR/<label>/*.wav`, one word a recording; labels that the bundle does not wake for, and `_negative`, hold no word
 *  @param onProgress share of the recordings that are heard
 *  @returns with what people should know of the recordings
 *  @throws CommandFailure for a folder that is laid out otherwise */
export async function curveOf(
  bundle: OpenedBundle,
  bundlePath: string,
  dir: string,
  { level, pipeline: id, maxFalsePerHour }: CurveOptions,
  onProgress: (share: number) => void,
): Promise<{ readonly report: CurveReport; readonly notes: readonly string[] }> {
  const { manifest } = bundle
  const pipeline = wakePipeline(bundlePath, manifest, id)
  const step = levelOf(bundlePath, manifest, pipeline, level)
  const heard = new Hearing(bundle, pipeline.index, step, laidOut(dir, pipeline), onProgress)
  const words = await heard.words()
  const others = await heard.others()
  const { policy, labels } = pipeline
  const { sparse, skipped, notes } = heard
  if (words.length === 0 || others.audioMs === 0) {
    throw new CommandFailure(`${dir}: no ${words.length === 0 ? 'word' : 'sound without a word'} could be read`, {
      hint: skipped[0] === undefined ? 'the files are empty' : `${skipped[0].file}: ${skipped[0].reason}`,
    })
  }
  const pointOf = (setting: Parameters<typeof curvePoint>[0]) => curvePoint(setting, policy, labels, words, [others])
  const points = curveSettings(policy, sparse).map(pointOf)
  const withLabels = (point: CurvePoint) => ({ ...point, byLabel: missesByLabel(point, policy, labels, words) })
  const best = proposed(points, maxFalsePerHour)
  const own = { smoothingWindows: sparse ? 1 : policy.smoothingWindows, thresholdPermille: policy.thresholdPermille }
  const report: CurveReport = {
    bundle: manifest.name,
    version: manifest.version,
    level: step.level,
    words: words.length,
    labels: [...new Set(words.map(({ label }) => label))],
    negativeHours: others.audioMs / HOUR_MS,
    maxFalsePerHour,
    own: withLabels(pointOf(own)),
    proposal: best === undefined ? null : withLabels(best),
    points,
    skipped,
  }
  return { report, notes: notes.lines() }
}

/** The level that is asked for, or the first. @throws CommandFailure when the pipeline does not run there */
export function levelOf(
  path: string,
  manifest: BundleManifest,
  { index, id }: Pick<WakePipeline, 'index' | 'id'>,
  level: string | undefined,
): LadderStep {
  const step = manifest.ladder.find((candidate) => level === undefined || candidate.level === level)
  if (step === undefined) {
    const known = manifest.ladder.map((candidate) => candidate.level).join(', ')
    throw new CommandFailure(`${path} has no ladder level "${level}"`, { hint: `its levels are ${known}`, exitCode: 2 })
  }
  if (step.runs[index] != null) return step
  throw new CommandFailure(`${path}: the level ${step.level} runs no network of pipeline "${id}"`)
}

/** Files of words by label, and those that hold none. */
interface Layout {
  readonly words: ReadonlyMap<string, readonly string[]>
  readonly others: readonly string[]
}

function laidOut(dir: string, { labels, policy }: WakePipeline): Layout {
  const folders = foldersWithAudio(dir)
  const words = new Map<string, readonly string[]>()
  const others: string[] = []
  const foreign: string[] = []
  for (const [name, files] of folders) {
    if (name === NEGATIVE || policy.ignoreLabels.includes(name)) others.push(...files)
    else if (labels.includes(name)) words.set(name, files)
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

/** Reads and hears the recordings, and keeps what became of them. */
class Hearing {
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
  async words(): Promise<readonly HeardWord[]> {
    const { windowSamples, sampleRateHz } = featureShape(this.#definition)
    const silence = Math.max(windowSamples, sampleRateHz)
    const words: HeardWord[] = []
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
  async others(): Promise<HeardWindows> {
    return this.#hear(this.#pieces())
  }

  *#pieces(): Generator<Float32Array> {
    for (const file of this.#layout.others) {
      const samples = this.#read(file)
      if (samples !== undefined) yield samples
    }
  }

  #hear(sound: Iterable<Float32Array>): Promise<HeardWindows> {
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
