import { readdirSync, statSync } from 'node:fs'
import { extname, join } from 'node:path'
import { readOrRefuse } from './bounded-file.ts'
import { fileFailure } from './failure.ts'

/** Recordings of sensors that give vectors: `.csv`, a vector a line, with or without a line of names and a first column of times; `.jsonl`, an
 *  array of numbers a line; `.f32`, little-endian float32, vector after vector. Their rate is the one that the bundle reads at, since none of
 *  these files says it. */
export const VECTOR_FILES = ['.csv', '.jsonl', '.f32'] as const

/** Chosen: an hour of three axes at 3 200 Hz is 138 MB as float32. */
const FILE_BYTES_MAX = 256 * 1024 * 1024
/** Names of a first column that is no axis. */
const TIME = /^"?(t|time|timestamp|index|ms|us|s|sec|seconds)\b/i

export interface ReadVectors {
  /** vector after vector */
  readonly samples: Float32Array
  readonly notes: readonly string[]
}

/** Reads a recording of vectors.
 *  @returns the values, or why the file cannot be used: not there, too large, another number of columns, no number, with the line */
export function readVectors(path: string, channels: number): ReadVectors | { readonly refusal: string } {
  const bytes = readOrRefuse(path, FILE_BYTES_MAX)
  if ('refusal' in bytes) return bytes
  switch (extname(path).toLowerCase()) {
    case '.csv':
      return readLines(bytes, channels, csvReader(channels))
    case '.jsonl':
      return readLines(bytes, channels, jsonLine)
    case '.f32':
      return readFloats(bytes, channels)
    default:
      return { refusal: `no recording of vectors by its name: expected ${VECTOR_FILES.join(', ')}` }
  }
}

function readFloats(bytes: Buffer, channels: number): ReadVectors | { readonly refusal: string } {
  const vectorBytes = 4 * channels
  const rest = bytes.length % vectorBytes
  const count = (bytes.length - rest) / 4
  const samples = new Float32Array(count)
  for (let i = 0; i < count; i++) {
    const value = bytes.readFloatLE(4 * i)
    if (!Number.isFinite(value))
      return { refusal: `vector ${Math.floor(i / channels) + 1} has a value that is no number` }
    samples[i] = value
  }
  if (count === 0) return { refusal: `${bytes.length} bytes, not one vector of ${channels} float32` }
  return {
    samples,
    notes: rest === 0 ? [] : [`${rest} bytes after the last whole vector of ${channels} were left out`],
  }
}

/** What a line says; undefined: it is to be passed over. */
type LineReader = (line: string, number: number) => readonly number[] | { readonly refusal: string } | undefined

function readLines(bytes: Buffer, channels: number, read: LineReader): ReadVectors | { readonly refusal: string } {
  const values: number[] = []
  let number = 0
  for (const line of bytes.toString('utf8').split(/\r?\n/)) {
    number++
    if (line.trim() === '') continue
    const vector = read(line, number)
    if (vector === undefined) continue
    if ('refusal' in vector) return { refusal: `line ${number}: ${vector.refusal}` }
    if (vector.length !== channels)
      return { refusal: `line ${number}: ${vector.length} numbers, a vector has ${channels}` }
    for (const value of vector) {
      if (!Number.isFinite(value)) return { refusal: `line ${number}: a value that is no finite number` }
      values.push(value)
    }
  }
  return values.length === 0 ? { refusal: 'no vector in it' } : { samples: Float32Array.from(values), notes: [] }
}

/** Columns by comma, semicolon, tab or blanks, as the first line has them. */
function csvReader(channels: number): LineReader {
  const seen: { separator: RegExp | undefined; skips: number } = { separator: undefined, skips: 0 }
  return (line, number) => {
    seen.separator ??= [/\s*,\s*/, /\s*;\s*/, /\s+/].find((one) => one.test(line.trim())) ?? /,/
    const fields = line.trim().split(seen.separator)
    const isNumber = (field: string): boolean => field !== '' && Number.isFinite(Number(field))
    if (number === 1 && !fields.some(isNumber)) {
      if (fields.length === channels + 1 && TIME.test(fields[0] ?? '')) seen.skips = 1
      return undefined
    }
    const wrong = fields.find((field) => !isNumber(field))
    if (wrong !== undefined) return { refusal: `"${wrong.slice(0, 20)}" is no number` }
    return fields.slice(seen.skips).map(Number)
  }
}

const jsonLine: LineReader = (line) => {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return { refusal: 'no JSON' }
  }
  if (Array.isArray(value) && value.every((one): one is number => typeof one === 'number')) return value
  return { refusal: 'expected an array of numbers, a vector a line' }
}

const isVectorFile = (name: string): boolean =>
  VECTOR_FILES.some((extension) => extension === extname(name).toLowerCase())

/** Recordings of vectors of a file or folder path, one level of sub-folders deep, sorted by name. */
export function vectorFiles(path: string): readonly string[] {
  try {
    if (!statSync(path).isDirectory()) return [path]
    const names = readdirSync(path, { withFileTypes: true })
    const folders = names.filter((entry) => entry.isDirectory()).map(({ name }) => join(path, name))
    return [path, ...folders]
      .flatMap((folder) =>
        readdirSync(folder)
          .filter(isVectorFile)
          .map((name) => join(folder, name)),
      )
      .sort()
  } catch (cause) {
    throw fileFailure(path, cause)
  }
}
