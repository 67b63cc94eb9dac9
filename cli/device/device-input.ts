import { basename, dirname } from 'node:path'
import type { BundleInput } from '../../contract/manifest-v2.ts'
import { seededRandom } from '../../contract/random.ts'
import { SENSOR } from '../../firmware-sim/bearing.ts'
import { BEARING_SCENES, bearingSceneNamed, bearingSenses, bearingTakes } from '../../firmware-sim/bearing-scene.ts'
import { TAKE_MS } from '../../firmware-sim/take.ts'
import { CommandFailure } from '../failure.ts'
import { PICTURE_FILES, pictureFiles, readPictures, wantedPicture } from '../picture-files.ts'
import { readVectors, VECTOR_FILES, vectorFiles } from '../vector-files.ts'
import { audioPieces, type InputPiece, SCENE_SECONDS } from './device-audio.ts'

/** Values a second of what a bundle reads: of vectors and pictures each has several. */
export function valuesPerSecond(input: BundleInput): number {
  switch (input.kind) {
    case 'audio':
      return input.sampleRateHz
    case 'vectors':
      return input.channels * input.sampleRateHz
    case 'image':
      return (input.width * input.height * input.channels * 1_000) / input.everyMs
  }
}

/** Pieces of what a bundle reads: a file, a folder (`DIR/*` or `DIR/<label>/*`), or a scene. Unreadable files of a folder are told to
 *  `onSkipped` and left out; an unreadable single file fails.
 *  @param labels that the bundle wakes or alarms with: a folder of that name holds what should */
export function inputPieces(
  path: string,
  input: BundleInput,
  labels: readonly string[],
  onSkipped: (file: string, reason: string) => void,
): Generator<InputPiece> {
  switch (input.kind) {
    case 'audio':
      return audioPieces(path, input.sampleRateHz, labels, onSkipped)
    case 'vectors':
      return path.startsWith('scene:') ? bearingPieces(path, input) : vectorPieces(path, input, labels, onSkipped)
    case 'image':
      return picturePieces(path, input, labels, onSkipped)
  }
}

function picturePieces(
  path: string,
  input: Extract<BundleInput, { kind: 'image' }>,
  labels: readonly string[],
  onSkipped: (file: string, reason: string) => void,
): Generator<InputPiece> {
  if (path.startsWith('scene:')) {
    throw new CommandFailure('there are scenes of sound and of vectors, none of pictures', {
      exitCode: 2,
      hint: `give a file or a folder of ${wantedPicture(input)}`,
    })
  }
  const files = pictureFiles(path)
  if (files.length === 0) {
    throw new CommandFailure(`${path}: no pictures in this folder`, {
      hint: `files must end in ${PICTURE_FILES.join(', ')}`,
    })
  }
  return filePieces(path, files, labels, onSkipped, {
    read: (file) => readPictures(file, input),
    wanted: wantedPicture(input),
  })
}

type VectorInput = Extract<BundleInput, { kind: 'vectors' }>

function vectorPieces(
  path: string,
  { channels }: VectorInput,
  labels: readonly string[],
  onSkipped: (file: string, reason: string) => void,
): Generator<InputPiece> {
  const files = vectorFiles(path)
  if (files.length === 0) {
    throw new CommandFailure(`${path}: no recordings of vectors in this folder`, {
      hint: `files must end in ${VECTOR_FILES.join(', ')}`,
    })
  }
  return filePieces(path, files, labels, onSkipped, {
    read: (file) => readVectors(file, channels),
    wanted: `vectors of ${channels} numbers: CSV, an array a line (.jsonl) or little-endian float32 (.f32)`,
  })
}

type FileRead = { readonly samples: Float32Array; readonly notes: readonly string[] } | { readonly refusal: string }

/** A piece a file. */
function* filePieces(
  path: string,
  files: readonly string[],
  labels: readonly string[],
  onSkipped: (file: string, reason: string) => void,
  how: { readonly read: (file: string) => FileRead; readonly wanted: string },
): Generator<InputPiece> {
  const single = files.length === 1 && files[0] === path
  for (const file of files) {
    const read = how.read(file)
    if ('refusal' in read) {
      if (single) throw new CommandFailure(`${file}: ${read.refusal}`, { hint: `expected ${how.wanted}` })
      onSkipped(file, read.refusal)
      continue
    }
    const folder = basename(dirname(file))
    yield { name: file, expected: labels.includes(folder) ? folder : undefined, ...read }
  }
}

/** Chosen: a bearing that a person would replace soon. */
const WEAR = 0.5

/** `scene:NAME[:raised][:wear=0.5][:SECONDS]`: one machine, ten seconds after ten seconds. */
function* bearingPieces(path: string, { channels, sampleRateHz }: VectorInput): Generator<InputPiece> {
  const [, name = '', ...options] = path.split(':')
  if (bearingSceneNamed(name) === undefined) {
    throw new CommandFailure(`there is no scene "${name}" of vectors`, {
      exitCode: 2,
      hint: `scenes: ${BEARING_SCENES.map((known) => known.name).join(', ')}; for example scene:pump:raised:wear=0.6:60`,
    })
  }
  if (channels !== SENSOR.channels || sampleRateHz !== SENSOR.rateHz) {
    throw new CommandFailure(
      `scene "${name}" is of ${SENSOR.channels} axes at ${SENSOR.rateHz} Hz, the bundle reads ${channels} at ${sampleRateHz} Hz`,
    )
  }
  let [raised, wear, seconds] = [false, WEAR, SCENE_SECONDS]
  for (const option of options) {
    if (option === 'raised') raised = true
    else if (option.startsWith('wear=')) wear = Number(option.slice('wear='.length) || Number.NaN)
    else seconds = Number(option || Number.NaN)
  }
  if (!(seconds >= 1 && seconds <= 86_400 && wear >= 0 && wear <= 1)) {
    throw new CommandFailure(`"${path}" is no scene`, {
      exitCode: 2,
      hint: 'expected scene:NAME[:raised][:wear=0.5][:SECONDS], with a wear of 0 to 1 and 1 to 86400 seconds',
    })
  }
  const random = seededRandom(1).fork(name)
  const senses = bearingSenses(random)
  const source = bearingTakes(
    random,
    () => wear,
    () => (raised ? 1 : 0),
  )({ device: 'local', scene: { name } })
  const count = Math.max(1, Math.round((seconds * 1_000) / TAKE_MS))
  for (let i = 0; i < count; i++) {
    const take = source.draw(0, random)
    const { shaftHz } = take.running
    const runs = shaftHz === 0 ? 'it stands' : `${shaftHz.toFixed(1)} Hz`
    yield {
      name: `${name} ${(i * TAKE_MS) / 1_000} s (${runs})`,
      expected: take.expected,
      samples: senses.render(take),
      notes: [],
    }
  }
}
