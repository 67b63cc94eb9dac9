import { err, ok, type Result } from '../../contract/result.ts'
import { microFilterBank } from './micro-frontend-tables.ts'

/** Everything that decides the integers of a micro frontend: window, filter bank, noise reduction, gain control and logarithm of
 *  TensorFlow's `microfrontend`, which microWakeWord networks are trained on. Fractions are used as float32, as there.
 *  @see tensorflow/lite/experimental/microfrontend/lib, the `Config` structs of its parts */
export type MicroFrontendDefinition = {
  readonly kind: 'micro-frontend'
  readonly version: 1
  readonly sampleRateHz: number
  /** Length of the analysis window and time between two frames, whole ms; the samples are rounded down. */
  readonly windowMs: number
  readonly stepMs: number
  /** Values of a frame. */
  readonly channels: number
  /** Lower and upper end of the filter bank. */
  readonly lowerHz: number
  readonly upperHz: number
  /** Bits below the point of the noise estimate. */
  readonly smoothingBits: number
  /** Weight of the newest frame in the noise estimate of even and odd channels, 0 to 1. */
  readonly evenSmoothing: number
  readonly oddSmoothing: number
  /** Share of a channel that noise reduction leaves in any case, 0 to 1. */
  readonly minSignalRemaining: number
  /** Per-channel amplitude normalisation (PCAN). */
  readonly pcan: boolean
  readonly pcanStrength: number
  readonly pcanOffset: number
  readonly pcanGainBits: number
  /** Natural logarithm at the end; without it values are cut at 65 535. */
  readonly log: boolean
  /** The logarithm is multiplied by 2 to the power of this. */
  readonly logScaleShift: number
}

/** A front end with the windows that a network reads: so many frames in a row. */
export type MicroFeatureDefinition = MicroFrontendDefinition & { readonly frames: number }

/** The settings of microWakeWord's networks, those of step 10 ms; the newer ones step by 20 ms.
 *  @see esphome `micro_wake_word`, its preprocessor settings */
export const microFrontendDefinition: MicroFrontendDefinition = {
  kind: 'micro-frontend',
  version: 1,
  sampleRateHz: 16_000,
  windowMs: 30,
  stepMs: 10,
  channels: 40,
  lowerHz: 125,
  upperHz: 7_500,
  smoothingBits: 10,
  evenSmoothing: 0.025,
  oddSmoothing: 0.06,
  minSignalRemaining: 0.05,
  pcan: true,
  pcanStrength: 0.95,
  pcanOffset: 80,
  pcanGainBits: 21,
  log: true,
  logScaleShift: 6,
}

/** Samples of a window and of a step, and the power of two that is transformed. */
export const microSizes = ({ sampleRateHz, windowMs, stepMs }: MicroFrontendDefinition) => {
  const windowSamples = Math.floor((windowMs * sampleRateHz) / 1000)
  const stepSamples = Math.floor((stepMs * sampleRateHz) / 1000)
  const fftSize = 2 ** Math.ceil(Math.log2(Math.max(1, windowSamples)))
  return { windowSamples, stepSamples, fftSize }
}

/** Bits by which the transform and the filter bank have scaled a channel down: log2 of the transform's size, less half the bits of the
 *  weights. */
export const microCorrectionBits = (fftSize: number): number => Math.log2(fftSize) - 6

/** Bits below the point of a channel over its background. */
export const SNR_BITS = 12

/** Chosen: a transform of 4096 is a window of a quarter of a second; a filter bank has fewer channels than that has bins. */
const FFT_SIZE_MAX = 4_096
const CHANNELS_MAX = 128

export type MicroFrontendError = { readonly code: 'features-unsupported'; readonly detail: string }

/** Least and greatest value of each number. Above them the 32-bit integers of the arithmetic wrap, or a table is no table. */
const COUNTS = {
  sampleRateHz: [1_000, 192_000],
  windowMs: [1, 1_000],
  stepMs: [1, 1_000],
  channels: [1, CHANNELS_MAX],
  smoothingBits: [0, 16],
  pcanGainBits: [0, 31],
  logScaleShift: [0, 10],
} as const
const FRACTIONS = {
  lowerHz: [0, 96_000],
  upperHz: [1, 96_000],
  evenSmoothing: [0, 1],
  oddSmoothing: [0, 1],
  minSignalRemaining: [0, 1],
  pcanStrength: [0, 2],
  pcanOffset: [1e-3, 1e6],
} as const
const SWITCHES = ['pcan', 'log'] as const
const KNOWN = new Set<string>(['kind', 'version', ...Object.keys(COUNTS), ...Object.keys(FRACTIONS), ...SWITCHES])

/** Checks a definition of unknown origin against what this code implements.
 *  @param value parsed JSON, for example the front end of a pipeline
 *  @returns the same value, typed, or `features-unsupported` with the first field that is wrong */
export const checkMicroFrontendDefinition = (value: unknown): Result<MicroFrontendDefinition, MicroFrontendError> => {
  const refuse = (detail: string) => err({ code: 'features-unsupported', detail } satisfies MicroFrontendError)
  if (typeof value !== 'object' || value === null) return refuse('not an object')
  const record = value as Readonly<Record<string, unknown>>
  const { kind, version } = record
  if (kind !== 'micro-frontend') return refuse(`kind is ${String(kind)}, micro-frontend expected`)
  if (version !== 1) return refuse(`version is ${String(version)}, 1 expected`)
  for (const [name, [least, greatest]] of [...Object.entries(COUNTS), ...Object.entries(FRACTIONS)]) {
    const number = record[name]
    if (typeof number !== 'number' || !(number >= least && number <= greatest)) {
      return refuse(`${name} is not between ${least} and ${greatest}`)
    }
    if (name in COUNTS && !Number.isInteger(number)) return refuse(`${name} is no whole number`)
  }
  for (const name of SWITCHES) if (typeof record[name] !== 'boolean') return refuse(`${name} is neither true nor false`)
  // A parameter that is passed over would be heard as if it were not there.
  const unknown = Object.keys(record).find((name) => !KNOWN.has(name))
  if (unknown !== undefined) return refuse(`${unknown.slice(0, 40)} is no parameter of this front end`)
  const d = value as MicroFrontendDefinition
  const { windowSamples, stepSamples, fftSize } = microSizes(d)
  if (windowSamples < 8 || fftSize > FFT_SIZE_MAX) {
    return refuse(`windowMs makes windows of ${windowSamples} samples, 8 to ${FFT_SIZE_MAX} expected`)
  }
  if (stepSamples < 1 || stepSamples > windowSamples) {
    return refuse(`stepMs makes steps of ${stepSamples} samples, 1 to the window's ${windowSamples} expected`)
  }
  if (d.lowerHz >= d.upperHz || d.upperHz > d.sampleRateHz / 2)
    return refuse('lowerHz to upperHz is no part of the spectrum')
  if (microFilterBank(d, fftSize).binEnd > fftSize / 2) return refuse('upperHz is too near to half the sample rate')
  const correctionBits = microCorrectionBits(fftSize)
  if (d.pcan && d.smoothingBits < correctionBits) {
    return refuse(`smoothingBits below ${correctionBits}, which a transform of ${fftSize} needs before gain control`)
  }
  if (d.pcan && d.pcanGainBits < SNR_BITS + correctionBits) {
    return refuse(`pcanGainBits below ${SNR_BITS + correctionBits}, which a transform of ${fftSize} needs`)
  }
  return ok(d)
}
