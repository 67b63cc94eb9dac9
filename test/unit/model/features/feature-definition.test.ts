import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../../../contract/random.ts'
import {
  checkFeatureDefinition,
  createFeatureStream,
  featureShape,
  featureTiming,
  IMPLEMENTED_DEFINITIONS,
  microFeatures,
} from '../../../../model/features/feature-definition.ts'
import { mfccDefinitionV1 } from '../../../../model/features/mfcc-definition.ts'
import { createMicroFrontend, quantizeMicroFrame } from '../../../../model/features/micro-frontend.ts'
import { microFrontendDefinition } from '../../../../model/features/micro-frontend-definition.ts'
import { MICRO_QUANTIZATION } from '../../../../model/features/micro-stream.ts'

const refusal = (value: unknown): string => {
  const checked = checkFeatureDefinition(value)
  return checked.ok ? 'taken' : checked.error.detail
}

describe('a feature definition', () => {
  it('is one of two kinds, each checked by its own rules', () => {
    for (const definition of IMPLEMENTED_DEFINITIONS)
      expect(checkFeatureDefinition(definition)).toMatchObject({ ok: true })
    expect(IMPLEMENTED_DEFINITIONS).toHaveLength(10)
    for (const nothing of [null, 7, 'mfcc', {}, { kind: 'spectrogram' }]) expect(refusal(nothing)).not.toBe('taken')
    for (const frames of [0, 26, 1.5, '3', undefined])
      expect(refusal({ ...microFeatures(10, 3), frames })).toBe('frames is not between 1 and 25')
    expect(refusal({ ...microFeatures(10, 3), hop: 1 })).toMatch(/hop is no parameter/)
    expect(refusal({ ...microFeatures(10, 3), kind: 'mfcc' })).not.toBe('taken')
  })

  it('says how long its windows are', () => {
    expect(featureShape(mfccDefinitionV1)).toEqual({
      ...{ sampleRateHz: 16_000, windowSamples: 16_000, strideSamples: 320, elements: 490 },
    })
    // 30 ms and two more steps of 20.
    expect(featureShape(microFeatures(20, 3))).toEqual({
      ...{ sampleRateHz: 16_000, windowSamples: 1_120, strideSamples: 320, elements: 120 },
    })
    expect(featureTiming(mfccDefinitionV1)).toEqual({ frameMs: 20, windowMs: 1_000 })
    expect(featureTiming(microFeatures(10, 3))).toEqual({ frameMs: 10, windowMs: 50 })
  })
})

describe('windows of the micro frontend', () => {
  const random = seededRandom(3)
  const samples = Float32Array.from({ length: 16_000 }, (_, i) => 0.4 * Math.sin(i / (4 + i / 4_000)) * random.next())
  /** Frames by the front end alone. */
  const frames = (stepMs: number): Int8Array[] => {
    const frontEnd = createMicroFrontend({ ...microFrontendDefinition, stepMs })
    const frame = new Uint16Array(40)
    const out: Int8Array[] = []
    for (let at = 0; at < samples.length; ) {
      at += frontEnd.push(samples, at)
      if (!frontEnd.frameReady()) continue
      frontEnd.takeFrame(frame)
      out.push(quantizeMicroFrame(frame, new Int8Array(40)))
    }
    return out
  }

  it.each([
    [10, 3, 3, 1],
    [10, 3, 1, 7],
    [20, 1, 1, 160],
    [20, 4, 6, 1_000],
  ])(
    'of step %d ms are %d frames, one every %d, however the audio comes (pieces of %d)',
    (stepMs, length, hop, piece) => {
      const all = frames(stepMs)
      const stream = createFeatureStream(microFeatures(stepMs, length), hop)
      const window = new Float32Array(40 * length)
      const { scale, zeroPoint } = MICRO_QUANTIZATION
      let windows = 0
      for (let from = 0; from < samples.length; from += piece) {
        const chunk = samples.subarray(from, from + piece)
        for (let at = 0; at < chunk.length; ) {
          at += stream.push(chunk, at)
          if (!stream.windowReady()) continue
          expect(stream.push(chunk, at)).toBe(0)
          const end = length + windows * hop
          expect(stream.samplesTaken()).toBe(480 + ((end - 1) * stepMs * 16_000) / 1000)
          const level =
            Math.hypot(...samples.subarray(stream.samplesTaken() - stream.hopSamples, stream.samplesTaken())) /
            Math.sqrt(stream.hopSamples)
          if (windows > 0) expect(stream.hopRms()).toBeCloseTo(level, 10)
          windows++
          // Every third is skipped, which must change nothing of those after it.
          if (windows % 3 === 0) {
            stream.skipWindow()
            continue
          }
          stream.takeWindow(window)
          const expected = all.slice(end - length, end).flatMap((frame) => [...frame])
          expect([...window].map((value) => Math.round(value / scale) + zeroPoint)).toEqual(expected)
        }
      }
      expect(windows).toBe(Math.floor((all.length - length) / hop) + 1)
      expect(() => stream.takeWindow(window)).toThrow('no feature window is due')
    },
  )

  it('begin anew after a reset', () => {
    const stream = createFeatureStream(microFeatures(10, 3), 3)
    const first = () => {
      const window = new Float32Array(120)
      expect(stream.push(samples)).toBe(800)
      stream.takeWindow(window)
      return [window, stream.samplesTaken(), stream.windowRms()]
    }
    const before = first()
    stream.push(samples, 800)
    stream.reset()
    expect(stream.samplesTaken()).toBe(0)
    expect(first()).toEqual(before)
  })
})
