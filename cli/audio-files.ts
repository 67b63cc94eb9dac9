import { readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, extname, join } from 'node:path'
import { resample } from '../model/audio/resample.ts'
import { parseWav, WAV_LIMITS } from '../model/audio/wav.ts'
import { CommandFailure, fileFailure, fileReason } from './failure.ts'

/** Reads a WAV file as mono samples at a rate.
 *  @returns the samples and what was done to them, or why the file cannot be used: not there, too large, no WAV */
export function readAudio(
  path: string,
  sampleRateHz: number,
): { readonly samples: Float32Array; readonly notes: readonly string[] } | { readonly refusal: string } {
  let bytes: Uint8Array
  try {
    const { size } = statSync(path)
    if (size > WAV_LIMITS.fileBytesMax)
      return { refusal: `wav-too-large: ${size} bytes, at most ${WAV_LIMITS.fileBytesMax}` }
    bytes = readFileSync(path)
  } catch (cause) {
    return { refusal: fileReason(cause) }
  }
  const wav = parseWav(bytes, { acceptTruncated: true })
  if (!wav.ok) return { refusal: `${wav.error.code}: ${wav.error.detail}` }
  const { samples, sampleRateHz: rate, notes } = wav.value
  if (rate === sampleRateHz) return { samples, notes }
  return {
    samples: resample(samples, rate, sampleRateHz),
    notes: [...notes, `resampled from ${rate} Hz to ${sampleRateHz} Hz`],
  }
}

/** WAV files of a file or folder path, one level of sub-folders deep, sorted by name. */
export function wavFiles(path: string): readonly string[] {
  try {
    if (!statSync(path).isDirectory()) return [path]
    const folders = [path, ...foldersOf(path).map((name) => join(path, name))]
    return folders.flatMap(wavsOf).sort()
  } catch (cause) {
    throw fileFailure(path, cause)
  }
}

/** Follows links, as data sets are often linked into place; a link to nothing is a file that cannot be read, and is said to be. */
const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true

const foldersOf = (path: string): string[] =>
  readdirSync(path)
    .filter((name) => isFolder(join(path, name)))
    .sort()

const wavsOf = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => extname(name).toLowerCase() === '.wav')
    .map((name) => join(folder, name))
    .filter((path) => !isFolder(path))

/** `DIR/<name>/*.wav`: files by the name of their folder, only folders that have any. */
export function foldersWithAudio(dir: string): ReadonlyMap<string, readonly string[]> {
  try {
    const named = foldersOf(dir).map((name) => [name, wavFiles(join(dir, name))] as const)
    return new Map(named.filter(([, files]) => files.length > 0))
  } catch (cause) {
    throw cause instanceof CommandFailure ? cause : fileFailure(dir, cause)
  }
}

/** `DIR/<label>/*.wav`, the layout of labelled clips.
 *  @returns files by label, only labels that have any */
export const labelledClips = (dir: string, labels: readonly string[]): ReadonlyMap<string, readonly string[]> =>
  labelledIn(dir, labels, foldersWithAudio(dir), 'DIR/<label>/*.wav')

/** @param folders files by the name of their folder
 *  @param expected how files are to lie, in words
 *  @throws CommandFailure for folders that are no labels, and where there are none that are */
export function labelledIn(
  dir: string,
  labels: readonly string[],
  folders: ReadonlyMap<string, readonly string[]>,
  expected: string,
): ReadonlyMap<string, readonly string[]> {
  const foreign = [...folders.keys()].filter((folder) => !labels.includes(folder))
  if (foreign.length > 0) {
    throw new CommandFailure(`${dir}: folders ${foreign.join(', ')} are no labels of this model`, {
      hint: `its labels are ${labels.join(', ')}; move other folders away, or give a folder laid out as ${expected.split(',')[0]}`,
    })
  }
  if (folders.size === 0) {
    const hint = labels.includes(basename(dir))
      ? `give its parent folder: the labels are the names of the folders below DIR`
      : `expected ${expected} with labels ${labels.join(', ')}`
    const what = expected.includes('.wav') ? 'WAV files' : 'pictures'
    throw new CommandFailure(`${dir}: no labelled ${what}`, { hint })
  }
  return folders
}
