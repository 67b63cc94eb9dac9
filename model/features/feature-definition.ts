import { LIMITS } from '../../contract/limits.ts'
import type { BundleInput, FeatureRecord } from '../../contract/manifest-v2.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { FeatureStream } from './feature-stream.ts'
import { createFrameStream } from './frame-stream.ts'
import { createLogMel } from './log-mel.ts'
import { checkLogMelDefinition, type LogMelDefinition } from './log-mel-definition.ts'
import {
  checkMfccDefinition,
  type MfccDefinition,
  mfccDefinitionHighPass,
  mfccDefinitionV1,
} from './mfcc-definition.ts'
import { createMfccStream } from './mfcc-stream.ts'
import {
  checkMicroFrontendDefinition,
  type MicroFeatureDefinition,
  microFrontendDefinition,
  microSizes,
} from './micro-frontend-definition.ts'
import { createMicroStream } from './micro-stream.ts'
import { checkVectorWindowDefinition, createVectorWindows, type VectorWindowDefinition } from './vector-windows.ts'

/** Frames of log-mel bands, so many at a time. */
export type LogMelFeatureDefinition = LogMelDefinition & { readonly frames: number }

/** What a bundle's features may be; plain JSON. Raw sound is vectors of one channel, and a picture a window of a vector a pixel. */
export type FeatureDefinition =
  | MfccDefinition
  | MicroFeatureDefinition
  | LogMelFeatureDefinition
  | VectorWindowDefinition

export type FeatureDefinitionError = { readonly code: 'features-unsupported'; readonly detail: string }

/** Sizes that follow from a definition. A sample is one value of the input: of vectors of n channels, each has n. */
export type FeatureShape = {
  /** Values a second. */
  readonly sampleRateHz: number
  /** Samples that one window covers. */
  readonly windowSamples: number
  /** Samples from one frame to the next. */
  readonly strideSamples: number
  /** Values of one window. */
  readonly elements: number
}

/** Chosen: the networks of microWakeWord step by 10 or 20 ms and read one to four frames at a time. */
const MICRO_STEPS_MS = [10, 20]
const MICRO_FRAMES = [1, 2, 3, 4]

export const microFeatures = (stepMs: number, frames: number): MicroFeatureDefinition => ({
  ...microFrontendDefinition,
  stepMs,
  frames,
})

/** What an agent runs without a look into a bundle of version 1: its release names the definition by hash. */
export const IMPLEMENTED_DEFINITIONS: readonly (MfccDefinition | MicroFeatureDefinition)[] = [
  mfccDefinitionV1,
  mfccDefinitionHighPass,
  ...MICRO_STEPS_MS.flatMap((stepMs) => MICRO_FRAMES.map((frames) => microFeatures(stepMs, frames))),
]

/** Checks a definition of unknown origin against what is implemented.
 *  @param value parsed JSON, for example the manifest's `features`
 *  @returns the same value, typed, or `features-unsupported` with the first field that is wrong */
export const checkFeatureDefinition = (value: unknown): Result<FeatureDefinition, FeatureDefinitionError> => {
  switch ((value as { kind?: unknown } | null)?.kind) {
    case 'micro-frontend':
      return framed(value, checkMicroFrontendDefinition, ({ channels }) => channels, LIMITS.featureBytes)
    case 'log-mel':
      return framed(value, checkLogMelDefinition, ({ melBands }) => melBands, LIMITS.windowValues)
    case 'vector-windows':
      return checkVectorWindowDefinition(value)
    default:
      return checkMfccDefinition(value)
  }
}

/** A definition of frames beside how many of them are a window. */
function framed<D extends object>(
  value: unknown,
  check: (settings: unknown) => Result<D, FeatureDefinitionError>,
  frameValues: (definition: D) => number,
  valuesMax: number,
): Result<D & { readonly frames: number }, FeatureDefinitionError> {
  const { frames, ...settings } = value as Record<string, unknown>
  const checked = check(settings)
  if (!checked.ok) return checked
  const framesMax = Math.floor(valuesMax / frameValues(checked.value))
  if (typeof frames !== 'number' || !Number.isInteger(frames) || frames < 1 || frames > framesMax) {
    return err({ code: 'features-unsupported', detail: `frames is not between 1 and ${framesMax}` })
  }
  return ok({ ...checked.value, frames })
}

/** @param definition checked */
export const featureShape = (definition: FeatureDefinition): FeatureShape => {
  switch (definition.kind) {
    case 'mfcc': {
      const { sampleRateHz, clipSamples, strideSamples, coefficients, frames } = definition
      return { sampleRateHz, windowSamples: clipSamples, strideSamples, elements: frames * coefficients }
    }
    case 'micro-frontend': {
      const { sampleRateHz, channels, frames } = definition
      const { windowSamples, stepSamples } = microSizes(definition)
      return windowsOf(sampleRateHz, windowSamples, stepSamples, channels, frames)
    }
    case 'log-mel': {
      const { sampleRateHz, windowSamples, strideSamples, melBands, frames } = definition
      return windowsOf(sampleRateHz, windowSamples, strideSamples, melBands, frames)
    }
    case 'vector-windows': {
      const { channels, windowVectors, hopVectors, sampleRateHz } = definition
      const elements = channels * windowVectors
      return windowsOf(channels * sampleRateHz, elements, channels * hopVectors, elements, 1)
    }
  }
}

const windowsOf = (
  sampleRateHz: number,
  frameSamples: number,
  strideSamples: number,
  frameValues: number,
  frames: number,
): FeatureShape => ({
  sampleRateHz,
  windowSamples: frameSamples + (frames - 1) * strideSamples,
  strideSamples,
  elements: frames * frameValues,
})

/** @param features of a manifest whose bundle has been opened
 *  @returns ms from one frame to the next, and ms that a window covers */
export const featureTiming = (features: FeatureRecord): { readonly frameMs: number; readonly windowMs: number } => {
  const { sampleRateHz, strideSamples, windowSamples } = featureShape(features as unknown as FeatureDefinition)
  return { frameMs: (1000 * strideSamples) / sampleRateHz, windowMs: (1000 * windowSamples) / sampleRateHz }
}

/** @param hopFrames frames between windows, 1 or more
 *  @param input kind of what comes: the level of vectors is what varies in them, see `createFrameStream`
 *  @throws RangeError when the definition is not implemented or the hop is no positive whole number */
export const createFeatureStream = (
  definition: FeatureDefinition,
  hopFrames: number,
  input: BundleInput['kind'] = 'audio',
): FeatureStream => {
  switch (definition.kind) {
    case 'mfcc':
      return createMfccStream(definition, hopFrames)
    case 'micro-frontend':
      return createMicroStream(definition, hopFrames)
    case 'log-mel': {
      const { frames, ...settings } = definition
      const mel = createLogMel(settings)
      const { windowSamples: frameSamples, strideSamples: stepSamples } = settings
      return createFrameStream({ ...mel, values: mel.melBands, frameSamples, stepSamples }, frames, hopFrames)
    }
    case 'vector-windows': {
      const windows = createVectorWindows(definition)
      const { windowSamples, strideSamples } = featureShape(definition)
      const source = { frameReady: windows.windowReady, takeFrame: windows.takeWindow, reset: windows.reset }
      const sizes = { values: windows.values, stepSamples: strideSamples, frameSamples: windowSamples }
      const channels = input === 'vectors' ? definition.channels : 0
      return createFrameStream({ ...sizes, ...source, push: windows.push }, 1, hopFrames, channels)
    }
  }
}
