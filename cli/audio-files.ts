import { readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, extname, join } from 'node:path'
import { resample } from '../model/audio/resample.ts'
import { parseWav } from '../model/audio/wav.ts'
import { CommandFailure, fileFailure } from './failure.ts'

/** Reads a WAV file as mono samples at a rate.
 *  @returns the samples and what was done to them, or why the file cannot be used */
export function readAudio(
  path: string,
  sampleRateHz: number,
): { readonly samples: Float32Array; readonly notes: readonly string[] } | { readonly refusal: string } {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (cause) {
    throw fileFailure(path, cause)
  }
  const notes: string[] = []
  let wav = parseWav(bytes)
  if (!wav.ok && wav.error.code === 'wav-truncated') {
    const partial = parseWav(bytes, { acceptTruncated: true })
    if (!partial.ok || partial.value.samples.length === 0) return { refusal: `${wav.error.code}: ${wav.error.detail}` }
    notes.push(`truncated (${wav.error.detail}); playing what is there`)
    wav = partial
  }
  if (!wav.ok) return { refusal: `${wav.error.code}: ${wav.error.detail}` }
  const { channels, samples, sampleRateHz: rate } = wav.value
  if (channels > 1) notes.push(`${channels} channels averaged to one`)
  if (rate === sampleRateHz) return { samples, notes }
  notes.push(`resampled from ${rate} Hz to ${sampleRateHz} Hz`)
  return { samples: resample(samples, rate, sampleRateHz), notes }
}

/** WAV files of a file or folder path, one level of sub-folders deep, sorted by name. */
export function wavFiles(path: string): readonly string[] {
  try {
    if (!statSync(path).isDirectory()) return [path]
    return readdirSync(path, { withFileTypes: true })
      .flatMap((entry) => {
        const full = join(path, entry.name)
        if (entry.isFile()) return isWav(entry.name) ? [full] : []
        if (!entry.isDirectory()) return []
        return readdirSync(full)
          .filter(isWav)
          .map((name) => join(full, name))
      })
      .sort()
  } catch (cause) {
    throw fileFailure(path, cause)
  }
}

const isWav = (name: string): boolean => extname(name).toLowerCase() === '.wav'

/** `DIR/<label>/*.wav`, the layout of labelled clips.
 *  @returns files by label, only labels that have any */
export function labelledClips(dir: string, labels: readonly string[]): ReadonlyMap<string, readonly string[]> {
  let folders: string[]
  try {
    folders = readdirSync(dir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
  } catch (cause) {
    throw fileFailure(dir, cause)
  }
  const found = new Map<string, readonly string[]>()
  const foreign: string[] = []
  for (const folder of folders.sort()) {
    const files = wavFiles(join(dir, folder))
    if (files.length === 0) continue
    if (labels.includes(folder)) found.set(folder, files)
    else foreign.push(folder)
  }
  if (foreign.length > 0) {
    throw new CommandFailure(`${dir}: folders ${foreign.join(', ')} are no labels of this model`, {
      hint: `its labels are ${labels.join(', ')}; move other folders away, or give a folder laid out as DIR/<label>/*.wav`,
    })
  }
  if (found.size === 0) {
    const hint = labels.includes(basename(dir))
      ? `give its parent folder: the labels are the names of the folders below DIR`
      : `expected DIR/<label>/*.wav with labels ${labels.join(', ')}`
    throw new CommandFailure(`${dir}: no labelled WAV files`, { hint })
  }
  return found
}
