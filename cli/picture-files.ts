import { readdirSync, statSync } from 'node:fs'
import { extname, join } from 'node:path'
import type { BundleInput } from '../contract/manifest-v2.ts'
import { readOrRefuse } from './bounded-file.ts'
import { fileFailure } from './failure.ts'

/** Pictures as a bundle reads them, pixel after pixel: `.raw`, nothing but those bytes, one picture or several in a row; `.pgm`, grey, and `.ppm`, colours,
 *  of the very size (netpbm's formats P2, P3, P5 and P6), which every tool for pictures writes. Nothing is scaled here: how a picture is made small
 *  is what a network was trained with. */
export const PICTURE_FILES = ['.raw', '.pgm', '.ppm'] as const

type ImageInput = Extract<BundleInput, { kind: 'image' }>

/** Chosen: ten thousand pictures of 96 × 96 in three colours. */
const FILE_BYTES_MAX = 256 * 1024 * 1024
/** spec: channels of netpbm's formats; of those that are text the bytes are numbers. */
const NETPBM: Readonly<Record<string, { readonly channels: number; readonly text: boolean } | undefined>> = {
  P2: { channels: 1, text: true },
  P3: { channels: 3, text: true },
  P5: { channels: 1, text: false },
  P6: { channels: 3, text: false },
}
/** Other formats, which are named for what they are: the first bytes of a file. */
const KNOWN: readonly (readonly [string, readonly number[]])[] = [
  ['PNG', [0x89, 0x50, 0x4e, 0x47]],
  ['JPEG', [0xff, 0xd8, 0xff]],
  ['GIF', [0x47, 0x49, 0x46, 0x38]],
  ['BMP', [0x42, 0x4d]],
]

export interface ReadPictures {
  /** one picture after the other, values of 0 to 255 */
  readonly samples: Float32Array
  readonly notes: readonly string[]
}

/** What is expected, in words. */
export const wantedPicture = ({ width, height, channels }: ImageInput): string =>
  `pictures of ${width} × ${height} in ${channels} ${channels === 1 ? 'channel' : 'channels'}: .ppm or .pgm of that size, or .raw with ${width * height * channels} bytes each`

/** Reads a file of pictures.
 *  @returns their bytes, or why the file cannot be used: not there, too large, another size or format */
export function readPictures(path: string, input: ImageInput): ReadPictures | { readonly refusal: string } {
  const bytes = readOrRefuse(path, FILE_BYTES_MAX)
  if ('refusal' in bytes) return bytes
  const known = KNOWN.find(([, first]) => first.every((byte, at) => bytes[at] === byte))
  // A raw picture may begin with any bytes.
  if (extname(path).toLowerCase() === '.raw') return readRaw(bytes, input)
  if (known !== undefined) {
    const other = input.channels === 1 ? 'pgm' : 'ppm'
    const size = `${input.width}x${input.height}!`
    return {
      refusal: `a ${known[0]} file: make it ${other}, for example with ImageMagick: convert FILE -resize ${size} FILE.${other}`,
    }
  }
  return readNetpbm(bytes, input)
}

function readRaw(bytes: Buffer, { width, height, channels }: ImageInput): ReadPictures | { readonly refusal: string } {
  const each = width * height * channels
  if (bytes.length === 0 || bytes.length % each !== 0) {
    return { refusal: `${bytes.length} bytes, which are no pictures of ${each}` }
  }
  return { samples: Float32Array.from(bytes), notes: [] }
}

/** Magic, width, height and largest value, between white space and comments; then one byte of white space and the pixels. */
const HEADER = /^(P[2356])(?:\s+|#[^\n]*\n)+(\d{1,5})(?:\s+|#[^\n]*\n)+(\d{1,5})(?:\s+|#[^\n]*\n)+(\d{1,5})\s/
/** Chosen: no header with comments is as long. */
const HEADER_BYTES_MAX = 4_096

function readNetpbm(bytes: Buffer, input: ImageInput): ReadPictures | { readonly refusal: string } {
  const found = HEADER.exec(bytes.toString('latin1', 0, HEADER_BYTES_MAX))
  const kind = NETPBM[found?.[1] ?? '']
  if (found === null || kind === undefined) return { refusal: `no picture: expected ${PICTURE_FILES.join(', ')}` }
  const [width, height, most] = found.slice(2, 5).map(Number)
  if (width !== input.width || height !== input.height || kind.channels !== input.channels) {
    const own = `${width} × ${height} in ${kind.channels === 1 ? '1 channel' : `${kind.channels} channels`}`
    return { refusal: `${own}, the bundle reads ${input.width} × ${input.height} in ${input.channels}` }
  }
  if (most !== 255) return { refusal: `values up to ${most}, expected 255` }
  const count = width * height * kind.channels
  const pixels = bytes.subarray(found[0].length)
  if (!kind.text) {
    if (pixels.length < count) return { refusal: `${pixels.length} bytes of pixels, ${count} expected` }
    const notes =
      pixels.length === count ? [] : [`${pixels.length - count} bytes after the first picture were left out`]
    return { samples: Float32Array.from(pixels.subarray(0, count)), notes }
  }
  const values = pixels.toString('latin1').trim().split(/\s+/).map(Number)
  if (values.length !== count || values.some((value) => !(Number.isInteger(value) && value >= 0 && value <= most))) {
    return { refusal: `${values.length} values, ${count} of 0 to ${most} expected` }
  }
  return { samples: Float32Array.from(values), notes: [] }
}

const isPictureFile = (name: string): boolean =>
  PICTURE_FILES.some((extension) => extension === extname(name).toLowerCase())

/** Files of pictures of a file or folder path, one level of sub-folders deep, sorted by name. */
export function pictureFiles(path: string): readonly string[] {
  try {
    if (!statSync(path).isDirectory()) return [path]
    return [path, ...subFolders(path).map((name) => join(path, name))].flatMap(picturesIn).sort()
  } catch (cause) {
    throw fileFailure(path, cause)
  }
}

/** `DIR/<name>/*`: files by the name of their folder, only folders that have any. */
export function foldersWithPictures(dir: string): ReadonlyMap<string, readonly string[]> {
  try {
    const named = subFolders(dir).map((name) => [name, picturesIn(join(dir, name)).sort()] as const)
    return new Map(named.filter(([, files]) => files.length > 0))
  } catch (cause) {
    throw fileFailure(dir, cause)
  }
}

const subFolders = (path: string): string[] =>
  readdirSync(path)
    .filter((name) => statSync(join(path, name), { throwIfNoEntry: false })?.isDirectory() === true)
    .sort()

const picturesIn = (folder: string): string[] =>
  readdirSync(folder)
    .filter(isPictureFile)
    .map((name) => join(folder, name))
