import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { resample } from '../model/audio/resample.ts'
import { parseWav } from '../model/audio/wav.ts'

export const BANK_RATE_HZ = 16_000

/** Sounds that scenes are made of. */
export interface SoundBank {
  /** utterances by keyword */
  readonly keywords: ReadonlyMap<string, readonly Float32Array[]>
  /** other words and sentences */
  readonly other: readonly Float32Array[]
  /** noises by kind, seconds long */
  readonly noises: ReadonlyMap<string, readonly Float32Array[]>
}

/** Loads a folder laid out as `keyword/<label>/*.wav`, `other/*.wav`, `noise/<kind>/*.wav`.
 *  Throws an Error that names the file when one cannot be read or a part is missing. */
export function loadSoundBank(folder: string): SoundBank {
  const keywords = byFolder(join(folder, 'keyword'))
  const noises = byFolder(join(folder, 'noise'))
  const other = clips(join(folder, 'other'))
  if (keywords.size === 0 || noises.size === 0 || other.length === 0) {
    throw new Error(`${folder} is no sound bank: it needs keyword/<label>, other and noise/<kind> with WAV files`)
  }
  return { keywords, other, noises }
}

const byFolder = (folder: string): Map<string, readonly Float32Array[]> =>
  new Map(
    readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
      .sort()
      .map((name) => [name, clips(join(folder, name))]),
  )

const clips = (folder: string): Float32Array[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.wav'))
    .sort()
    .map((name) => {
      const wav = parseWav(readFileSync(join(folder, name)))
      if (!wav.ok) throw new Error(`${join(folder, name)}: ${wav.error.code}: ${wav.error.detail}`)
      return resample(wav.value.samples, wav.value.sampleRateHz, BANK_RATE_HZ)
    })
