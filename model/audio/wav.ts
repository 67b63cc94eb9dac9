import { err, ok, type Result } from '../../contract/result.ts'
import { foreignAudio } from './foreign-audio.ts'
import { ENCODINGS, readMono, type WavFormat } from './wav-samples.ts'

/** Decoded audio: one channel, because every consumer here listens with one ear. */
export type Wav = {
  /** Frames per second of `samples`. */
  readonly sampleRateHz: number
  /** Channels of the file, before they became one. */
  readonly channels: number
  /** Mono samples; integer formats lie in [-1, 1), float files are passed through (non-finite values become 0). */
  readonly samples: Float32Array
  /** What somebody who gave the file should know of how it was read: one clause each; none of a file without peculiarities. */
  readonly notes: readonly string[]
}

/** Why a WAV was refused. `detail` is for people and carries the numbers that decided. */
export type WavError = {
  readonly code:
    | 'wav-too-large'
    | 'wav-not-riff'
    | 'wav-other-format'
    | 'wav-malformed'
    | 'wav-unsupported'
    | 'wav-truncated'
    | 'wav-too-long'
    | 'wav-empty'
  readonly detail: string
}

export type WavOptions = {
  /** Take the complete frames that are there when the data chunk ends early, instead of `wav-truncated`. Default false. */
  readonly acceptTruncated?: boolean
}

/** Bounds of what is decoded; checked before anything is allocated. */
export const WAV_LIMITS = {
  /** chosen: an hour of 48 kHz 16-bit mono is 346 MB and no window of interest is longer than minutes. */
  fileBytesMax: 256 * 1024 * 1024,
  /** chosen: an hour, so that a hostile header with a tiny rate cannot promise a year. */
  durationSecondsMax: 3_600,
  /** chosen: microphone arrays stop well below. */
  channelsMax: 32,
  /** chosen: twice the highest rate of a common converter. */
  sampleRateHzMax: 768_000,
  /** chosen: a real file has fewer than a dozen chunks. */
  chunksMax: 1_024,
} as const

const FORMAT_EXTENSIBLE = 0xfffe
const CHUNK_HEADER_BYTES = 8
/** Size of a chunk whose length was not known when its header was written: all ones, or the most that a signed number holds, less what
 *  lies before; `sox`, `arecord` and `espeak` into a pipe. Such a file would be of 2 GiB, which is not read anyway. */
const SIZE_UNKNOWN_MIN = 0x7fff_f000
/** Chosen: a float sample beyond it was not scaled to 1, or is no sound. */
const PEAK_MAX = 16
/** What makes a WAV file of any other. */
const CONVERT = 'convert it: ffmpeg -i IN -c:a pcm_s16le OUT.wav'

const fail = (code: WavError['code'], detail: string) => err({ code, detail } satisfies WavError)

const fourCc = (view: DataView, at: number): string =>
  String.fromCharCode(view.getUint8(at), view.getUint8(at + 1), view.getUint8(at + 2), view.getUint8(at + 3))

/** Compressed sound that RIFF files are known to hold. */
const FOREIGN_TAGS: ReadonlyMap<number, string> = new Map([
  [0x02, 'Microsoft ADPCM'],
  [0x11, 'IMA ADPCM'],
  [0x31, 'GSM 6.10'],
  [0x50, 'MPEG'],
  [0x55, 'MP3'],
  [0xff, 'AAC'],
  [0x2000, 'AC-3'],
])

const parseFormat = (view: DataView, at: number, size: number): Result<WavFormat, WavError> => {
  if (size < 16) return fail('wav-malformed', `format chunk of ${size} bytes, at least 16 expected`)
  const channels = view.getUint16(at + 2, true)
  const sampleRateHz = view.getUint32(at + 4, true)
  const blockBytes = view.getUint16(at + 12, true)
  const bits = view.getUint16(at + 14, true)
  let tag = view.getUint16(at, true)
  if (tag === FORMAT_EXTENSIBLE) {
    if (size < 40) return fail('wav-malformed', `extensible format chunk of ${size} bytes, at least 40 expected`)
    // The sub-format is a GUID whose first two bytes are the plain format tag.
    tag = view.getUint16(at + 24, true)
  }
  if (channels === 0 || sampleRateHz === 0) {
    return fail('wav-malformed', `${channels} channels at ${sampleRateHz} Hz`)
  }
  if (channels > WAV_LIMITS.channelsMax || sampleRateHz > WAV_LIMITS.sampleRateHzMax) {
    return fail('wav-unsupported', `${channels} channels at ${sampleRateHz} Hz`)
  }
  const known = ENCODINGS.get(tag)
  if (known === undefined) {
    const name = FOREIGN_TAGS.get(tag)
    return fail('wav-unsupported', `${name === undefined ? `format tag ${tag}` : `${name} inside`}; ${CONVERT}`)
  }
  if (!known.bits.includes(bits)) {
    const read = known.bits.join(', ')
    return fail('wav-unsupported', `${known.encoding} samples of ${bits} bits, read are ${read}; ${CONVERT}`)
  }
  if (blockBytes !== (channels * bits) / 8) {
    return fail('wav-malformed', `frame of ${blockBytes} bytes for ${channels} channels of ${bits} bits`)
  }
  return ok({ encoding: known.encoding, channels, sampleRateHz, bits })
}

/** A chunk as it lies in the file. */
type Chunk = { readonly id: string; readonly start: number; readonly declared: number; readonly present: number }

const isPrintable = (view: DataView, at: number): boolean => {
  for (let i = at; i < at + 4; i += 1) if (view.getUint8(i) < 0x20 || view.getUint8(i) > 0x7e) return false
  return true
}

/** Where the chunk after one of a size begins. RIFF pads to even lengths; some writers do not, and then a name stands where the pad byte
 *  of 0 would be. */
const afterChunk = (view: DataView, start: number, declared: number): number => {
  const end = start + declared
  if (declared % 2 === 0) return end
  const isPadded = end + CHUNK_HEADER_BYTES > view.byteLength || view.getUint8(end) === 0 || !isPrintable(view, end)
  return isPadded ? end + 1 : end
}

const chunkAt = (view: DataView, at: number, longSizes: ReadonlyMap<string, number>): Chunk => {
  const id = fourCc(view, at)
  const start = at + CHUNK_HEADER_BYTES
  const short = view.getUint32(at + 4, true)
  const declared = short === 0xffff_ffff ? (longSizes.get(id) ?? short) : short
  return { id, start, declared, present: Math.min(declared, view.byteLength - start) }
}

/** Sizes of 64 bits: those of the data chunk, and of others in a table.
 *  @see EBU Tech 3306, "RF64", and ITU-R BS.2088, "BW64" */
const readLongSizes = (view: DataView, { start, present }: Chunk): ReadonlyMap<string, number> => {
  const sizes = new Map<string, number>()
  const long = (at: number): number => view.getUint32(at, true) + 2 ** 32 * view.getUint32(at + 4, true)
  if (present < 24) return sizes
  sizes.set('data', long(start + 8))
  const entries = present < 28 ? 0 : Math.min(view.getUint32(start + 24, true), WAV_LIMITS.chunksMax)
  for (let i = 0; i < entries && 28 + 12 * (i + 1) <= present; i += 1) {
    sizes.set(fourCc(view, start + 28 + 12 * i), long(start + 32 + 12 * i))
  }
  return sizes
}

/** Whether whole chunks follow each other from a place to the end of the file. */
const areChunks = (view: DataView, from: number): boolean => {
  let at = from
  for (let chunk = 0; chunk < WAV_LIMITS.chunksMax && at + CHUNK_HEADER_BYTES <= view.byteLength; chunk += 1) {
    if (!isPrintable(view, at)) return false
    const { start, declared } = chunkAt(view, at, new Map())
    if (start + declared > view.byteLength) return false
    at = afterChunk(view, start, declared)
  }
  return at >= view.byteLength
}

/** Decodes a RIFF WAVE file of any origin; never reads past `bytes` and allocates only what the file really holds.
 *  @param bytes the whole file: PCM of 8, 16, 24 or 32 bits, float32 or float64, µ-law or A-law, plain or WAVE_FORMAT_EXTENSIBLE, RIFF,
 *    RF64 or BW64
 *  @returns mono samples with notes, or `wav-too-large` | `wav-not-riff` | `wav-other-format` (another kind of sound file, by its name) |
 *    `wav-malformed` | `wav-unsupported` | `wav-truncated` (the data chunk ends early and `acceptTruncated` is not set) | `wav-too-long` |
 *    `wav-empty` (not one frame)
 *  @see "Multiple Channel Audio Data and WAVE Files" (Microsoft, 2007) for WAVE_FORMAT_EXTENSIBLE */
export const parseWav = (bytes: Uint8Array, options: WavOptions = {}): Result<Wav, WavError> => {
  if (bytes.length > WAV_LIMITS.fileBytesMax) {
    return fail('wav-too-large', `${bytes.length} bytes, at most ${WAV_LIMITS.fileBytesMax}`)
  }
  if (bytes.length === 0) return fail('wav-empty', 'the file has no bytes')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const isWave = bytes.length >= 12 && fourCc(view, 8) === 'WAVE'
  if (!isWave || !['RIFF', 'RF64', 'BW64'].includes(fourCc(view, 0))) {
    const other = foreignAudio(bytes.subarray(0, 16))
    if (other !== undefined) return fail('wav-other-format', `this is ${other}, no WAV; ${CONVERT}`)
    return fail('wav-not-riff', `no RIFF WAVE header in ${bytes.length} bytes`)
  }
  let format: WavFormat | undefined
  let longSizes: ReadonlyMap<string, number> = new Map()
  let sound: Wav | undefined
  let further = 0
  let furtherBytes = 0
  let at = 12
  for (let chunk = 0; chunk < WAV_LIMITS.chunksMax && at + CHUNK_HEADER_BYTES <= bytes.length; chunk += 1) {
    const found = chunkAt(view, at, longSizes)
    const { id, start, declared, present } = found
    at = afterChunk(view, start, declared)
    if (id === 'ds64') longSizes = readLongSizes(view, found)
    else if (id === 'fmt ' && sound === undefined) {
      const parsed = parseFormat(view, start, present)
      if (!parsed.ok) return parsed
      format = parsed.value
    } else if (id === 'LIST' && present >= 4 && fourCc(view, start) === 'wavl') {
      return fail('wav-unsupported', `pieces of sound with silence between them (LIST wavl); ${CONVERT}`)
    } else if (id === 'data' && sound === undefined) {
      if (format === undefined) return fail('wav-malformed', 'data before the format chunk')
      const read = readData(view, format, found, options)
      if (!read.ok) return read
      sound = read.value
      if (start + present === bytes.length || declared === 0) break
    } else if (id === 'data' && present > 0) {
      further += 1
      furtherBytes += present
    }
  }
  if (sound === undefined) return fail('wav-malformed', format === undefined ? 'no format chunk' : 'no data chunk')
  if (further === 0) return ok(sound)
  const note = `${further} further data chunk${further === 1 ? '' : 's'} with ${furtherBytes} bytes left out`
  return ok({ ...sound, notes: [...sound.notes, note] })
}

const readData = (
  view: DataView,
  format: WavFormat,
  { start, declared, present }: Chunk,
  { acceptTruncated = false }: WavOptions,
): Result<Wav, WavError> => {
  const { channels, sampleRateHz, bits } = format
  const rest = view.byteLength - start
  const notes: string[] = []
  let length = present
  if (declared >= SIZE_UNKNOWN_MIN && present < declared) {
    notes.push('the data chunk does not know its length, as in a pipe: read to the end of the file')
  } else if (declared === 0 && rest > 0 && !areChunks(view, start)) {
    // A recorder writes the length when it stops.
    notes.push('the data chunk says that it is empty, as while it is recorded: read to the end of the file')
    length = rest
  } else if (present < declared) {
    const detail = `data chunk declares ${declared} bytes, ${present} present`
    if (!acceptTruncated || present === 0) return fail('wav-truncated', detail)
    notes.push(`truncated (${detail}); read is what is there`)
  }
  const frameBytes = (channels * bits) / 8
  const frames = Math.floor(length / frameBytes)
  if (frames === 0) return fail('wav-empty', `${length} bytes hold no frame of ${frameBytes} bytes`)
  if (frames / sampleRateHz > WAV_LIMITS.durationSecondsMax) {
    return fail('wav-too-long', `${frames} frames at ${sampleRateHz} Hz, at most ${WAV_LIMITS.durationSecondsMax} s`)
  }
  const { samples, takenChannel, notFinite } = readMono(view, format, start, frames)
  if (notFinite === frames * channels) return fail('wav-malformed', 'none of the samples is a finite number')
  if (notFinite > 0) notes.push(`${notFinite} samples are no finite numbers and count as silence`)
  if (takenChannel !== undefined) {
    notes.push(
      `${channels} channels cancel each other (one is the other turned round): channel ${takenChannel + 1} alone is read`,
    )
  } else if (channels > 1) notes.push(`${channels} channels averaged to one`)
  const peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0)
  if (peak > PEAK_MAX) notes.push(`samples reach ${peak.toPrecision(3)}, where 1 is full scale: read as they are`)
  return ok({ sampleRateHz, channels, samples, notes })
}

/** Encodes mono samples as a 16-bit PCM WAV; values beyond [-1, 1) saturate, rounding is to nearest.
 *  @param samples mono, nominally in [-1, 1)
 *  @param sampleRateHz positive integer */
export const encodeWav = (samples: Float32Array, sampleRateHz: number): Uint8Array => {
  const dataBytes = samples.length * 2
  const bytes = new Uint8Array(44 + dataBytes)
  const view = new DataView(bytes.buffer)
  const text = (at: number, value: string) => {
    for (let i = 0; i < value.length; i += 1) view.setUint8(at + i, value.charCodeAt(i))
  }
  text(0, 'RIFF')
  view.setUint32(4, 36 + dataBytes, true)
  text(8, 'WAVEfmt ')
  view.setUint32(16, 16, true)
  view.setUint16(20, 1, true)
  view.setUint16(22, 1, true)
  view.setUint32(24, sampleRateHz, true)
  view.setUint32(28, sampleRateHz * 2, true)
  view.setUint16(32, 2, true)
  view.setUint16(34, 16, true)
  text(36, 'data')
  view.setUint32(40, dataBytes, true)
  for (let i = 0; i < samples.length; i += 1) {
    const value = Math.round(samples[i]! * 32_768)
    view.setInt16(44 + i * 2, Math.max(-32_768, Math.min(32_767, value)), true)
  }
  return bytes
}
