import type { FeatureStream } from './feature-stream.ts'
import { createFrameStream } from './frame-stream.ts'
import { createMicroFrontend, quantizeMicroFrame } from './micro-frontend.ts'
import { type MicroFeatureDefinition, microSizes } from './micro-frontend-definition.ts'

/** What one step of the 8-bit values that these networks read stands for: 26 of a frame's 0 to 666, in 1/256.
 *  @see microWakeWord: features of frames times 0.0390625, quantized with this scale and zero point -128 */
export const MICRO_QUANTIZATION = { scale: 0.1015625, zeroPoint: -128 } as const

/** Windows of consecutive frames of the micro frontend.
 *  @param hopFrames frames between windows, 1 or more
 *  @throws RangeError when the definition is not implemented or the hop is no positive whole number */
export const createMicroStream = (definition: MicroFeatureDefinition, hopFrames: number): FeatureStream => {
  const { frames, ...settings } = definition
  const frontEnd = createMicroFrontend(settings)
  const { channels } = frontEnd
  const { stepSamples, windowSamples } = microSizes(settings)
  const frame = new Uint16Array(channels)
  const quantized = new Int8Array(channels)
  const { scale, zeroPoint } = MICRO_QUANTIZATION
  return createFrameStream(
    {
      ...{ values: channels, stepSamples, frameSamples: windowSamples },
      push: frontEnd.push,
      frameReady: frontEnd.frameReady,
      takeFrame: (out) => {
        frontEnd.takeFrame(frame)
        quantizeMicroFrame(frame, quantized)
        for (let i = 0; i < channels; i += 1) out[i] = scale * (quantized[i]! - zeroPoint)
      },
      reset: frontEnd.reset,
    },
    frames,
    hopFrames,
  )
}
