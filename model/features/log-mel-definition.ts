import { err, ok, type Result } from '../../contract/result.ts'

/** Everything that decides the numbers of a log-mel frame. */
export type LogMelDefinition = {
  readonly kind: 'log-mel'
  readonly version: 1
  readonly sampleRateHz: number
  /** Samples of one analysis window, and from one to the next. */
  readonly windowSamples: number
  readonly strideSamples: number
  readonly window: 'hann-periodic' | 'hamming-periodic'
  /** Power of two, at least `windowSamples`; the window is padded with zeros at its end. */
  readonly fftSize: number
  readonly spectrum: 'magnitude' | 'power'
  /** Values of a frame. */
  readonly melBands: number
  readonly melLowHz: number
  readonly melHighHz: number
  /** `htk-ln`: mel = 1127 ln(1 + f / 700), triangles linear in mel, of height 1, the DC bin weighs nothing (TensorFlow). `slaney-area`:
   *  linear below 1 kHz and logarithmic above, triangles linear in Hz, each of area 1 (librosa's default). */
  readonly melScale: 'htk-ln' | 'slaney-area'
  /** Added to each mel value before the natural logarithm. */
  readonly logOffset: number
  /** What the logarithm is multiplied by: 1, or 10 / ln 10 for decibels of a power. */
  readonly logScale: number
  /** Share of the sample before that is taken from each sample first, below 1; absent: none. */
  readonly preEmphasis?: number
}

/** 40 bands of 30 ms each 10 ms, natural logarithm of the magnitude: the mel half of MLPerf Tiny's MFCC over the speech band. */
export const logMelDefinition: LogMelDefinition = {
  kind: 'log-mel',
  version: 1,
  sampleRateHz: 16_000,
  windowSamples: 480,
  strideSamples: 160,
  window: 'hann-periodic',
  fftSize: 512,
  spectrum: 'magnitude',
  melBands: 40,
  melLowHz: 20,
  melHighHz: 7_600,
  melScale: 'htk-ln',
  logOffset: 1e-6,
  logScale: 1,
}

/** Chosen: as those of the MFCC. */
const FFT_SIZE_MAX = 4_096
const BANDS_MAX = 128

export type LogMelError = { readonly code: 'features-unsupported'; readonly detail: string }

const CHOICES: Readonly<Record<string, readonly unknown[]>> = {
  kind: ['log-mel'],
  version: [1],
  window: ['hann-periodic', 'hamming-periodic'],
  spectrum: ['magnitude', 'power'],
  melScale: ['htk-ln', 'slaney-area'],
}
const COUNTS: Readonly<Record<string, number>> = {
  sampleRateHz: 768_000,
  windowSamples: FFT_SIZE_MAX,
  strideSamples: 768_000,
  fftSize: FFT_SIZE_MAX,
  melBands: BANDS_MAX,
}
const POSITIVE = ['melHighHz', 'logOffset', 'logScale']
const KNOWN = new Set([...Object.keys(CHOICES), ...Object.keys(COUNTS), ...POSITIVE, 'melLowHz', 'preEmphasis'])

/** Checks a definition of unknown origin against what this code implements.
 *  @param value parsed JSON, for example the front end of a pipeline
 *  @returns the same value, typed, or `features-unsupported` with the first field that is wrong */
export const checkLogMelDefinition = (value: unknown): Result<LogMelDefinition, LogMelError> => {
  const refuse = (detail: string) => err({ code: 'features-unsupported', detail } satisfies LogMelError)
  if (typeof value !== 'object' || value === null) return refuse('not an object')
  const record = value as Readonly<Record<string, unknown>>
  for (const [name, choices] of Object.entries(CHOICES)) {
    if (!choices.includes(record[name]))
      return refuse(`${name} is ${String(record[name])}, not ${choices.join(' or ')}`)
  }
  for (const [name, most] of Object.entries(COUNTS)) {
    const count = record[name]
    if (typeof count !== 'number' || !Number.isInteger(count) || count < 1 || count > most) {
      return refuse(`${name} is no count from 1 to ${most}`)
    }
  }
  for (const name of POSITIVE) {
    const number = record[name]
    if (typeof number !== 'number' || !Number.isFinite(number) || number <= 0) return refuse(`${name} is not positive`)
  }
  const { melLowHz, preEmphasis = 0 } = record
  if (typeof melLowHz !== 'number' || !(melLowHz >= 0)) return refuse('melLowHz is negative, or no number')
  if (typeof preEmphasis !== 'number' || !(preEmphasis >= 0 && preEmphasis < 1)) {
    return refuse('preEmphasis is not from 0 to below 1')
  }
  // A parameter that is passed over would be heard as if it were not there.
  const unknown = Object.keys(record).find((name) => !KNOWN.has(name))
  if (unknown !== undefined) return refuse(`${unknown.slice(0, 40)} is no parameter of this front end`)
  const d = value as LogMelDefinition
  if (d.fftSize < 8 || (d.fftSize & (d.fftSize - 1)) !== 0) return refuse('fftSize is no power of two from 8 on')
  if (d.windowSamples > d.fftSize) return refuse('windowSamples above fftSize')
  if (d.strideSamples > d.windowSamples) return refuse('strideSamples above windowSamples')
  if (d.melLowHz >= d.melHighHz || d.melHighHz > d.sampleRateHz / 2) return refuse('mel range outside the spectrum')
  return ok(d)
}
