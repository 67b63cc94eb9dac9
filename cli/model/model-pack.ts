import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { sha256Hex } from '../../contract/bytes.ts'
import { present } from '../../contract/present.ts'
import {
  checkFeatureDefinition,
  createFeatureStream,
  type FeatureDefinition,
  featureShape,
} from '../../model/features/feature-definition.ts'
import { createMfcc } from '../../model/features/mfcc.ts'
import { mfccDefinitionHighPass, mfccDefinitionV1 } from '../../model/features/mfcc-definition.ts'
import { quantizeFeatures } from '../../model/features/quantize.ts'
import { openBundle } from '../../model/opened-bundle.ts'
import { type Packed, type PackInput, packBundle } from '../../model/pack.ts'
import { readAudio, wavFiles } from '../audio-files.ts'
import { AudioNotes } from '../audio-notes.ts'
import { bundleEngine } from '../engines.ts'
import { CommandFailure, fileFailure } from '../failure.ts'
import { readBundleFile } from '../open-bundle-file.ts'
import { OutputFile } from '../output-file.ts'
import { checkLabels, type LabelCheck } from './label-check.ts'
import { cardText } from './model-card.ts'
import { openPackSpec, type PackSpec, type ReadSpec, readPackSpec } from './pack-spec.ts'
import { packPipelineFile } from './pipeline-pack.ts'

export interface PackReport {
  readonly bundle: string
  readonly packed: Packed
  /** what people should know of the recordings that golden vectors were made of */
  readonly notes: readonly string[]
}

/** Packs a bundle from a pack file. The same inputs give the same bytes.
 *  @param replaces whether a file at `outPath` may be replaced
 *  @param highPass whether its features are those of a high-pass, see `mfccDefinitionHighPass` */
export async function packFile(
  specPath: string,
  outPath: string,
  { replaces, highPass }: { readonly replaces: boolean; readonly highPass: boolean },
): Promise<PackReport> {
  const here = dirname(specPath)
  const opened = openPackSpec(specPath)
  OutputFile.check(outPath, replaces)
  if ('pipelines' in opened.json) {
    const { packed, notes } = await packPipelineFile(specPath, opened, highPass)
    OutputFile.write(outPath, packed.bundle, replaces)
    return { bundle: outPath, packed, notes }
  }
  const { spec, failure } = readPackSpec(opened)
  const { highPassHz } = mfccDefinitionHighPass
  const definition = checkFeatureDefinition({ ...(spec.features ?? mfccDefinitionV1), ...(highPass && { highPassHz }) })
  if (!definition.ok) throw failure(['features'], `${definition.error.code}: ${definition.error.detail}`)
  const read = (file: string): Uint8Array => {
    try {
      return readFileSync(resolve(here, file))
    } catch (cause) {
      throw fileFailure(resolve(here, file), cause)
    }
  }
  const clips = wavFiles(resolve(here, spec.golden.audio))
  if (clips.length === 0) throw failure(['golden', 'audio'], `no WAV files for golden vectors in ${spec.golden.audio}`)
  const audioNotes = new AudioNotes()
  const windows = goldenWindows(definition.value, spec, clips, audioNotes)
  const goldenInputs = windows.map((features) =>
    quantizeFeatures(features, spec.featureQuantization, new Int8Array(features.length)),
  )
  const saturated = saturatedShare(goldenInputs)
  if (saturated > SATURATED_MOST) {
    const percent = `${(100 * saturated).toFixed(0)} %`
    throw failure(
      ['featureQuantization'],
      `${percent} of the golden windows' values are at an end of the 8 bits: the scale does not fit the features`,
    )
  }
  const { golden, card, graphs, parent, features: _features, ...rest } = spec
  const packed = await packBundle(
    {
      manifest: {
        ...rest,
        features: definition.value as PackInput['manifest']['features'],
        parent: parent === null ? null : sha256Hex(readBundleFile(resolve(here, parent))),
        graphs: graphs.map(({ id, input, output }) => ({ id, input, output })),
        goldenTolerance: golden.tolerance,
      },
      graphs: new Map(graphs.map(({ id, file }) => [id, read(file)])),
      goldenInputs,
      card: card === undefined ? madeCard(spec) : cardText(resolve(here, card), read(card)),
    },
    bundleEngine(),
  )
  if (!packed.ok) throw new CommandFailure(`${specPath}: ${packed.error.code}: ${packed.error.detail}`)
  const labels = await heardLabels(packed.value.bundle, resolve(here, spec.golden.audio))
  if (labels !== undefined) refuseOrder(labels, spec, failure)
  OutputFile.write(outPath, packed.value.bundle, replaces)
  const heard =
    labels && `${labels.correct} of ${labels.clips} labelled clips beside the golden ones are heard as what they are`
  return { bundle: outPath, packed: packed.value, notes: [...audioNotes.lines(), ...(heard ? [heard] : [])] }
}

/** Chosen: loud words saturate a few values in a hundred. A scale that is far off saturates all that are not 0, and in clips with silence half are. */
const SATURATED_MOST = 0.25

/** @returns share of the values that lie at the ends of int8 */
function saturatedShare(windows: readonly Int8Array[]): number {
  let [ends, values] = [0, 0]
  for (const window of windows) {
    values += window.length
    for (const value of window) if (value === -128 || value === 127) ends++
  }
  return values === 0 ? 0 : ends / values
}

/** Windows for golden vectors: of whole clips one each, spread over the folder, so that every label's sub-folder is likely to be seen; of
 *  frames so many in a row, since a network that reads frames remembers.
 *  @param clips at least one */
function goldenWindows(
  definition: FeatureDefinition,
  { golden, ladder }: PackSpec,
  clips: readonly string[],
  notes: AudioNotes,
): readonly Float32Array[] {
  const { sampleRateHz, windowSamples, elements } = featureShape(definition)
  const samplesOf = (path: string): Float32Array => {
    const audio = readAudio(path, sampleRateHz)
    if ('refusal' in audio) throw new CommandFailure(`${path}: ${audio.refusal}`)
    notes.add(path, audio.notes)
    return audio.samples
  }
  if (definition.kind === 'mfcc') {
    const mfcc = createMfcc(definition)
    const count = Math.min(golden.count, clips.length)
    return Array.from({ length: count }, (_, i) => {
      const clip = new Float32Array(windowSamples)
      clip.set(samplesOf(present(clips[Math.floor((i * clips.length) / count)], 'a clip')).subarray(0, windowSamples))
      return mfcc(clip, new Float32Array(elements))
    })
  }
  const stream = createFeatureStream(definition, present(ladder[0], 'a level').hopFrames)
  const windows: Float32Array[] = []
  for (const path of clips) {
    const samples = samplesOf(path)
    for (let at = 0; at < samples.length && windows.length < golden.count; ) {
      at += stream.push(samples, at)
      if (!stream.windowReady()) continue
      const window = new Float32Array(elements)
      stream.takeWindow(window)
      windows.push(window)
    }
  }
  return windows
}

async function heardLabels(bundle: Uint8Array, dir: string): Promise<LabelCheck | undefined> {
  const opened = await openBundle(bundle, bundleEngine(), Number.POSITIVE_INFINITY)
  if (!opened.ok) throw new CommandFailure(`${opened.error.code}: ${opened.error.detail}`)
  try {
    return await checkLabels(opened.value, dir)
  } finally {
    await opened.value.dispose()
  }
}

/** Chosen: what hears less than this many times as much as chance does hears other labels than it was told. */
const OVER_CHANCE = 1.5
const CLIPS_TO_JUDGE = 20

function refuseOrder(
  { clips, correct, swapped }: LabelCheck,
  { labels }: PackSpec,
  failure: ReadSpec['failure'],
): void {
  const [pair] = swapped
  if (pair !== undefined) {
    const [a, b] = pair
    throw failure(
      ['labels', labels.indexOf(a)],
      `"${a}" and "${b}" are swapped: most clips of each are heard as the other; labels are in the order of the network's outputs`,
    )
  }
  if (clips < CLIPS_TO_JUDGE || correct / clips >= OVER_CHANCE / labels.length) return
  throw failure(
    ['labels'],
    `${correct} of ${clips} labelled clips are heard as what they are, no better than chance: labels are in the order of the network's outputs, and features those it was trained on`,
  )
}

/** A card of what the file says, where nobody wrote one. */
const madeCard = ({ name, version, labels, policy, graphs }: PackSpec): string =>
  JSON.stringify({ name, version, labels, policy, graphs: graphs.map(({ id }) => id) })
