import { LIMITS } from '../../contract/limits.ts'
import type { FeatureRecord } from '../../contract/manifest.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { FeatureStream } from './feature-stream.ts'
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

/** What a bundle's features may be; plain JSON, named in the bundle by hash. */
export type FeatureDefinition = MfccDefinition | MicroFeatureDefinition

export type FeatureDefinitionError = { readonly code: 'features-unsupported'; readonly detail: string }

/** Sizes that follow from a definition. */
export type FeatureShape = {
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

/** What an agent runs without a look into the bundle: a release names its definition by hash. */
export const IMPLEMENTED_DEFINITIONS: readonly FeatureDefinition[] = [
  mfccDefinitionV1,
  mfccDefinitionHighPass,
  ...MICRO_STEPS_MS.flatMap((stepMs) => MICRO_FRAMES.map((frames) => microFeatures(stepMs, frames))),
]

/** Checks a definition of unknown origin against what is implemented.
 *  @param value parsed JSON, for example the manifest's `features`
 *  @returns the same value, typed, or `features-unsupported` with the first field that is wrong */
export const checkFeatureDefinition = (value: unknown): Result<FeatureDefinition, FeatureDefinitionError> => {
  if ((value as { kind?: unknown } | null)?.kind !== 'micro-frontend') return checkMfccDefinition(value)
  const { frames, ...settings } = value as Record<string, unknown>
  const checked = checkMicroFrontendDefinition(settings)
  if (!checked.ok) return checked
  const framesMax = Math.floor(LIMITS.featureBytes / checked.value.channels)
  if (typeof frames !== 'number' || !Number.isInteger(frames) || frames < 1 || frames > framesMax) {
    return err({ code: 'features-unsupported', detail: `frames is not between 1 and ${framesMax}` })
  }
  return ok({ ...checked.value, frames })
}

/** @param definition checked */
export const featureShape = (definition: FeatureDefinition): FeatureShape => {
  const { sampleRateHz, frames } = definition
  if (definition.kind === 'mfcc') {
    const { clipSamples, strideSamples, coefficients } = definition
    return { sampleRateHz, windowSamples: clipSamples, strideSamples, elements: frames * coefficients }
  }
  const { windowSamples, stepSamples } = microSizes(definition)
  return {
    sampleRateHz,
    windowSamples: windowSamples + (frames - 1) * stepSamples,
    strideSamples: stepSamples,
    elements: frames * definition.channels,
  }
}

/** @param features of a manifest whose bundle has been opened
 *  @returns ms from one frame to the next, and ms that a window covers */
export const featureTiming = (features: FeatureRecord): { readonly frameMs: number; readonly windowMs: number } => {
  const { sampleRateHz, strideSamples, windowSamples } = featureShape(features as unknown as FeatureDefinition)
  return { frameMs: (1000 * strideSamples) / sampleRateHz, windowMs: (1000 * windowSamples) / sampleRateHz }
}

/** @param hopFrames frames between windows, 1 or more
 *  @throws RangeError when the definition is not implemented or the hop is no positive whole number */
export const createFeatureStream = (definition: FeatureDefinition, hopFrames: number): FeatureStream =>
  definition.kind === 'mfcc' ? createMfccStream(definition, hopFrames) : createMicroStream(definition, hopFrames)
