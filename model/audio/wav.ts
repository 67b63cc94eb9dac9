import { err, ok, type Result } from '../../contract/result.ts'

/** Decoded audio: one channel, because every consumer here listens with one ear. */
export type Wav = {
  /** Frames per second of `samples`. */
  readonly sampleRateHz: number
  /** Channels of the file, before they were averaged into one. */
  readonly channels: number
  /** Mono samples; integer formats lie in [-1, 1), float files are passed through (non-finite values become 0). */
  readonly samples: Float32Array
}

/** Why a WAV was refused. `detail` is for people and carries the numbers that decided. */
export type WavError = {
  readonly code:
    | 'wav-too-large'
    | 'wav-not-riff'
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

const FORMAT_PCM = 1
const FORMAT_FLOAT = 3
const FORMAT_EXTENSIBLE = 0xfffe

type Format = { readonly tag: number; readonly channels: number; readonly sampleRateHz: number; readonly bits: number }

const fail = (code: WavError['code'], detail: string) => err({ code, detail } satisfies WavError)

const fourCc = (view: DataView, at: number): string =>
  String.fromCharCode(view.getUint8(at), view.getUint8(at + 1), view.getUint8(at + 2), view.getUint8(at + 3))

const parseFormat = (view: DataView, at: number, size: number): Result<Format, WavError> => {
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
  const known =
    (tag === FORMAT_PCM && (bits === 8 || bits === 16 || bits === 24 || bits === 32)) ||
    (tag === FORMAT_FLOAT && bits === 32)
  if (!known) return fail('wav-unsupported', `format tag ${tag} with ${bits} bits`)
  if (blockBytes !== (channels * bits) / 8) {
    return fail('wav-malformed', `frame of ${blockBytes} bytes for ${channels} channels of ${bits} bits`)
  }
  return ok({ tag, channels, sampleRateHz, bits })
}

/** One sample as a number; the caller has checked that it lies inside the view. */
const sampleReader = (view: DataView, format: Format): ((at: number) => number) => {
  if (format.tag === FORMAT_FLOAT) {
    return (at) => {
      const value = view.getFloat32(at, true)
      return Number.isFinite(value) ? value : 0
    }
  }
  if (format.bits === 8) return (at) => (view.getUint8(at) - 128) / 128
  if (format.bits === 16) return (at) => view.getInt16(at, true) / 32_768
  if (format.bits === 24) return (at) => (view.getUint16(at, true) + view.getInt8(at + 2) * 65_536) / 8_388_608
  return (at) => view.getInt32(at, true) / 2_147_483_648
}

/** Decodes a RIFF WAVE file of any origin; never reads past `bytes` and allocates only what the file really holds.
 *  @param bytes the whole file: PCM of 8, 16, 24 or 32 bits or float32, plain or WAVE_FORMAT_EXTENSIBLE
 *  @returns mono samples, or `wav-too-large` | `wav-not-riff` | `wav-malformed` | `wav-unsupported` | `wav-truncated`
 *    (the data chunk ends early and `acceptTruncated` is not set) | `wav-too-long` | `wav-empty` (not one frame)
 *  @see "Multiple Channel Audio Data and WAVE Files" (Microsoft, 2007) for WAVE_FORMAT_EXTENSIBLE */
export const parseWav = (bytes: Uint8Array, options: WavOptions = {}): Result<Wav, WavError> => {
  if (bytes.length > WAV_LIMITS.fileBytesMax) {
    return fail('wav-too-large', `${bytes.length} bytes, at most ${WAV_LIMITS.fileBytesMax}`)
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 12 || fourCc(view, 0) !== 'RIFF' || fourCc(view, 8) !== 'WAVE') {
    return fail('wav-not-riff', `no RIFF WAVE header in ${bytes.length} bytes`)
  }
  let format: Format | undefined
  let at = 12
  for (let chunk = 0; chunk < WAV_LIMITS.chunksMax && at + 8 <= bytes.length; chunk += 1) {
    const id = fourCc(view, at)
    const declared = view.getUint32(at + 4, true)
    const start = at + 8
    const present = Math.min(declared, bytes.length - start)
    if (id === 'fmt ') {
      const parsed = parseFormat(view, start, present)
      if (!parsed.ok) return parsed
      format = parsed.value
    } else if (id === 'data') {
      if (format === undefined) return fail('wav-malformed', 'data before the format chunk')
      if (present < declared && options.acceptTruncated !== true) {
        return fail('wav-truncated', `data chunk declares ${declared} bytes, ${present} present`)
      }
      return decode(view, format, start, present)
    }
    // RIFF pads chunks to even lengths; the pad byte is not part of the declared size.
    at = start + declared + (declared & 1)
  }
  return fail('wav-malformed', format === undefined ? 'no format chunk' : 'no data chunk')
}

const decode = (view: DataView, format: Format, start: number, present: number): Result<Wav, WavError> => {
  const { channels, sampleRateHz, bits } = format
  const frameBytes = (channels * bits) / 8
  const frames = Math.floor(present / frameBytes)
  if (frames === 0) return fail('wav-empty', `${present} bytes hold no frame of ${frameBytes} bytes`)
  if (frames / sampleRateHz > WAV_LIMITS.durationSecondsMax) {
    return fail('wav-too-long', `${frames} frames at ${sampleRateHz} Hz, at most ${WAV_LIMITS.durationSecondsMax} s`)
  }
  const read = sampleReader(view, format)
  const samples = new Float32Array(frames)
  for (let frame = 0; frame < frames; frame += 1) {
    let sum = 0
    for (let channel = 0; channel < channels; channel += 1) {
      sum += read(start + frame * frameBytes + (channel * bits) / 8)
    }
    samples[frame] = sum / channels
  }
  return ok({ sampleRateHz, channels, samples })
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
  view.setUint16(20, FORMAT_PCM, true)
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
