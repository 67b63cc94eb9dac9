import { basename, dirname } from 'node:path'
import { present } from '../../contract/present.ts'
import { seededRandom } from '../../contract/random.ts'
import { drawTake, LEAD_SAMPLES, renderTake, SCENES, sceneNamed, takePool } from '../../firmware-sim/scene.ts'
import { TAKE_MS } from '../../firmware-sim/take.ts'
import { readAudio, wavFiles } from '../audio-files.ts'
import { CommandFailure } from '../failure.ts'
import { zooFile } from '../package-root.ts'
import { openSoundBank } from '../sound-bank-folder.ts'

/** One piece of input to sense from a fresh start. */
export interface InputPiece {
  readonly name: string
  /** the label that it should wake or alarm with, when its folder or scene says so */
  readonly expected: string | undefined
  readonly samples: Float32Array
  readonly notes: readonly string[]
}

/** Pieces of `--audio`: a file, a folder (`DIR/*.wav` or `DIR/<label>/*.wav`), or a rendered scene. Unreadable files of a folder are
 *  told to `onSkipped` and left out; an unreadable single file fails. */
export function* audioPieces(
  audio: string,
  sampleRateHz: number,
  labels: readonly string[],
  onSkipped: (file: string, reason: string) => void,
): Generator<InputPiece> {
  if (audio.startsWith('scene:')) {
    yield* scenePieces(audio)
    return
  }
  const files = wavFiles(audio)
  const single = files.length === 1 && files[0] === audio
  if (files.length === 0) {
    throw new CommandFailure(`${audio}: no WAV files in this folder`, { hint: 'files must end in .wav' })
  }
  for (const file of files) {
    const read = readAudio(file, sampleRateHz)
    if ('refusal' in read) {
      if (single)
        throw new CommandFailure(`${file}: ${read.refusal}`, {
          hint: 'expected a WAV file: PCM, float, µ-law or A-law',
        })
      onSkipped(file, read.refusal)
      continue
    }
    const folder = basename(dirname(file))
    yield { name: file, expected: labels.includes(folder) ? folder : undefined, ...read }
  }
}

/** of a scene that says no number of its own */
export const SCENE_SECONDS = 300

function* scenePieces(audio: string): Generator<InputPiece> {
  const [, name = '', ...options] = audio.split(':')
  const scene = sceneNamed(name)
  if (scene === undefined) {
    throw new CommandFailure(`there is no scene "${name}"`, {
      exitCode: 2,
      hint: `scenes: ${SCENES.map((known) => known.name).join(', ')}; for example scene:office:raised:600`,
    })
  }
  const raised = options[0] === 'raised'
  const [secondsText = String(SCENE_SECONDS), ...rest] = raised ? options.slice(1) : options
  const seconds = Number(secondsText)
  if (rest.length > 0 || secondsText === '' || !(seconds >= 1 && seconds <= 86_400)) {
    throw new CommandFailure(`"${audio}" is no scene`, {
      exitCode: 2,
      hint: 'expected scene:NAME[:raised][:SECONDS] with 1 to 86400 seconds; for example scene:office:raised:600',
    })
  }
  const bank = openSoundBank(zooFile('bank'))
  const keywords = [...bank.keywords.keys()]
  const random = seededRandom(1).fork(scene.name)
  // One of each kind of take would say little; draw as the fleet does, and always say at least one keyword.
  const pool = takePool(scene, raised, keywords)
  const count = Math.max(1, Math.round((seconds * 1000) / TAKE_MS))
  for (let i = 0; i < count; i++) {
    const take =
      i === 0
        ? present(pool.keyword[Math.floor(random.next() * pool.keyword.length)], 'a take with a keyword')
        : drawTake(pool, 1, random)
    const sound = renderTake(take, raised ? scene.raised : scene.calm, bank, seededRandom(1))
    yield {
      name: `${scene.name} ${(i * TAKE_MS) / 1000} s (${take.kind})`,
      expected: take.expected,
      samples: sound.subarray(LEAD_SAMPLES),
      notes: [],
    }
  }
}
