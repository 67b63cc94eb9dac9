import type { BundleInput } from '../../contract/manifest-v2.ts'
import { seededRandom } from '../../contract/random.ts'
import { createFeatureStream, type FeatureDefinition, featureShape } from '../../model/features/feature-definition.ts'
import type { Quantization } from '../../model/features/quantize.ts'
import { readAudio, wavFiles } from '../audio-files.ts'
import type { AudioNotes } from '../audio-notes.ts'
import { CommandFailure } from '../failure.ts'
import { pictureFiles, readPictures } from '../picture-files.ts'
import { readVectors, vectorFiles } from '../vector-files.ts'

/** Windows of a front end in a row, for golden vectors: of recordings, or of noise, since a runtime that reproduces what noise gives reproduces
 *  what words give.
 *  @param audio folder or file of recordings, of sound or of vectors, or of pictures; undefined: noise
 *  @param count as many as the recordings have, at most */
export function windowsInRow(
  input: BundleInput,
  definition: FeatureDefinition,
  hopFrames: number,
  count: number,
  audio: string | undefined,
  notes: AudioNotes,
): readonly Float32Array[] {
  const { elements } = featureShape(definition)
  const stream = createFeatureStream(definition, hopFrames)
  const windows: Float32Array[] = []
  for (const samples of audio === undefined ? noiseOf(input) : recorded(audio, input, definition.sampleRateHz, notes)) {
    for (let at = 0; at < samples.length && windows.length < count; ) {
      at += stream.push(samples, at)
      if (!stream.windowReady()) continue
      const window = new Float32Array(elements)
      stream.takeWindow(window)
      windows.push(window)
    }
    if (windows.length >= count) break
  }
  return windows
}

function* recorded(path: string, input: BundleInput, sampleRateHz: number, notes: AudioNotes): Generator<Float32Array> {
  const files = { audio: wavFiles, vectors: vectorFiles, image: pictureFiles }[input.kind](path)
  if (files.length === 0) throw new CommandFailure(`${path}: no recordings for golden vectors in it`)
  for (const file of files) {
    const read = readAs(input, file, sampleRateHz)
    if ('refusal' in read) throw new CommandFailure(`${file}: ${read.refusal}`)
    notes.add(file, read.notes)
    yield read.samples
  }
}

function readAs(input: BundleInput, file: string, sampleRateHz: number) {
  switch (input.kind) {
    case 'audio':
      return readAudio(file, sampleRateHz)
    case 'vectors':
      return readVectors(file, input.channels)
    case 'image':
      return readPictures(file, input)
  }
}

/** Chosen: a tenth of full scale, as loud as speech; a picture's bytes are of all values. */
const NOISE_LEVEL = 0.1

/** The same noise every time, without end. */
function* noiseOf(input: BundleInput): Generator<Float32Array> {
  const random = seededRandom(1)
  const value =
    input.kind === 'image'
      ? () => Math.floor(random.next() * 256)
      : () => NOISE_LEVEL * (random.next() + random.next() - 1) * Math.sqrt(6)
  for (;;) yield Float32Array.from({ length: 16_384 }, value)
}

/** The int8 quantization that holds all values of windows. */
export function quantizationOf(windows: readonly Float32Array[]): Quantization {
  let [low, high] = [0, 0]
  for (const window of windows) {
    for (const value of window) {
      low = Math.min(low, value)
      high = Math.max(high, value)
    }
  }
  // Rounded up to a number that a person can read and float32 holds.
  const scale = Math.fround(2 ** Math.ceil(Math.log2(Math.max(high - low, 1e-6) / 255)))
  return { scale, zeroPoint: Math.round(-128 - low / scale) }
}
