import { err, ok, type Result } from '../../contract/result.ts'

/** Everything that decides the numbers of an MFCC feature window. It is plain JSON because it lives in the bundle, is named
 *  there by hash, and a device refuses a definition it does not implement. */
export type MfccDefinition = {
  readonly kind: 'mfcc'
  readonly version: 1
  readonly sampleRateHz: number
  /** Samples of one feature window; a whole number of strides. */
  readonly clipSamples: number
  /** Samples of one analysis window. */
  readonly windowSamples: number
  readonly window: 'hann-periodic'
  readonly strideSamples: number
  /** Power of two, at least `windowSamples`; the window is padded with zeros at its end. */
  readonly fftSize: number
  readonly spectrum: 'magnitude'
  readonly melBands: number
  readonly melLowHz: number
  readonly melHighHz: number
  /** mel = 1127 ln(1 + f / 700), triangles linear in mel, the DC bin weighs nothing. */
  readonly melScale: 'htk-ln'
  /** Added to each mel magnitude before the natural logarithm. */
  readonly logOffset: number
  /** DCT-II scaled by sqrt(2 / melBands), the first term not treated apart. */
  readonly dct: 'ii-sqrt-2-over-n'
  /** Leading DCT coefficients kept. */
  readonly coefficients: number
  /** Analysis windows of one feature window. */
  readonly frames: number
  /** The clip is divided by its signed maximum … */
  readonly normalization: 'signed-maximum'
  /** … or by this where the maximum is smaller: one step of 16-bit audio, so that silence stays finite. */
  readonly normalizationFloor: number
  /** Corner of a high-pass before everything else, see `high-pass.ts`; absent: none, as in version 1 from the start. */
  readonly highPassHz?: number
}

/** The features of MLPerf Tiny keyword spotting, so that its public networks run unchanged: 49 x 10 from one second.
 *  @see mlcommons/tiny, benchmark/training/keyword_spotting (get_dataset.py, feature type "mfcc") */
export const mfccDefinitionV1: MfccDefinition = {
  kind: 'mfcc',
  version: 1,
  sampleRateHz: 16_000,
  clipSamples: 16_000,
  windowSamples: 480,
  window: 'hann-periodic',
  strideSamples: 320,
  fftSize: 512,
  spectrum: 'magnitude',
  melBands: 40,
  melLowHz: 20,
  melHighHz: 4_000,
  melScale: 'htk-ln',
  logOffset: 1e-6,
  dct: 'ii-sqrt-2-over-n',
  coefficients: 10,
  frames: 49,
  normalization: 'signed-maximum',
  normalizationFloor: 1 / 32_768,
}

/** The same behind a high-pass. Chosen: 20 Hz is where the lowest mel band begins, so that of what the features see nothing is lost. */
export const mfccDefinitionHighPass: MfccDefinition = { ...mfccDefinitionV1, highPassHz: 20 }

/** Chosen: above it the high-pass would take voices away, and a corner near the sample rate is no filter. */
const HIGH_PASS_HZ_MAX = 200

/** Largest sizes implemented; chosen: a microcontroller's front end is far below, and tables stay under a megabyte. */
const MFCC_LIMITS = { clipSamplesMax: 160_000, fftSizeMax: 4_096, melBandsMax: 128 } as const

export type MfccDefinitionError = { readonly code: 'features-unsupported'; readonly detail: string }

const NAMES = {
  kind: 'mfcc',
  version: 1,
  window: 'hann-periodic',
  spectrum: 'magnitude',
  melScale: 'htk-ln',
  dct: 'ii-sqrt-2-over-n',
  normalization: 'signed-maximum',
} as const
const COUNTS = [
  'sampleRateHz',
  'clipSamples',
  'windowSamples',
  'strideSamples',
  'fftSize',
  'melBands',
  'coefficients',
  'frames',
] as const
const POSITIVE = ['melLowHz', 'melHighHz', 'logOffset', 'normalizationFloor'] as const
const KNOWN = new Set<string>([...Object.keys(NAMES), ...COUNTS, ...POSITIVE, 'highPassHz'])

/** Checks a definition of unknown origin against what this code implements.
 *  @param value parsed JSON, for example the feature section of a bundle
 *  @returns the same value, typed, or `features-unsupported` with the first field that is wrong */
export const checkMfccDefinition = (value: unknown): Result<MfccDefinition, MfccDefinitionError> => {
  const refuse = (detail: string) => err({ code: 'features-unsupported', detail } satisfies MfccDefinitionError)
  if (typeof value !== 'object' || value === null) return refuse('not an object')
  const record = value as Readonly<Record<string, unknown>>
  for (const [name, expected] of Object.entries(NAMES)) {
    if (record[name] !== expected) return refuse(`${name} is ${String(record[name])}, ${expected} expected`)
  }
  for (const name of COUNTS) {
    const count = record[name]
    if (typeof count !== 'number' || !Number.isInteger(count) || count <= 0) return refuse(`${name} is no count`)
  }
  for (const name of POSITIVE) {
    const number = record[name]
    if (typeof number !== 'number' || !Number.isFinite(number) || number <= 0) return refuse(`${name} is not positive`)
  }
  // A parameter that is passed over would be heard as if it were not there.
  const unknown = Object.keys(record).find((name) => !KNOWN.has(name))
  if (unknown !== undefined) return refuse(`${unknown.slice(0, 40)} is no parameter of this front end`)
  const { highPassHz } = record
  if (
    highPassHz !== undefined &&
    !(typeof highPassHz === 'number' && highPassHz > 0 && highPassHz <= HIGH_PASS_HZ_MAX)
  ) {
    return refuse(`highPassHz is not between 0 and ${HIGH_PASS_HZ_MAX}`)
  }
  const d = value as MfccDefinition
  if (d.clipSamples > MFCC_LIMITS.clipSamplesMax) return refuse(`clipSamples above ${MFCC_LIMITS.clipSamplesMax}`)
  if (d.fftSize > MFCC_LIMITS.fftSizeMax) return refuse(`fftSize above ${MFCC_LIMITS.fftSizeMax}`)
  if (d.melBands > MFCC_LIMITS.melBandsMax) return refuse(`melBands above ${MFCC_LIMITS.melBandsMax}`)
  if (d.fftSize < 8 || (d.fftSize & (d.fftSize - 1)) !== 0) return refuse('fftSize is no power of two from 8 on')
  if (d.windowSamples > d.fftSize || d.windowSamples > d.clipSamples) return refuse('windowSamples too large')
  if (d.strideSamples > d.windowSamples) return refuse('strideSamples above windowSamples')
  if (d.clipSamples % d.strideSamples !== 0) return refuse('clipSamples is no whole number of strides')
  if (d.frames !== Math.floor((d.clipSamples - d.windowSamples) / d.strideSamples) + 1) {
    return refuse('frames does not follow from clip, window and stride')
  }
  if (d.coefficients > d.melBands) return refuse('more coefficients than mel bands')
  if (d.melLowHz >= d.melHighHz || d.melHighHz > d.sampleRateHz / 2) return refuse('mel range outside the spectrum')
  return ok(d)
}
