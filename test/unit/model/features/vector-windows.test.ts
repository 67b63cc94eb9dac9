import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createFeatureStream } from '../../../../model/features/feature-definition.ts'
import {
  checkVectorWindowDefinition,
  createVectorWindows,
  type VectorWindowDefinition,
} from '../../../../model/features/vector-windows.ts'

const raw: VectorWindowDefinition = {
  kind: 'vector-windows',
  version: 1,
  channels: 3,
  sampleRateHz: 100,
  windowVectors: 4,
  hopVectors: 2,
  normalization: 'none',
}
const windowsOf = (values: Float32Array, definition: VectorWindowDefinition, piece = values.length): number[][] => {
  const stream = createVectorWindows(definition)
  const windows: number[][] = []
  for (let start = 0; start < values.length; start += piece) {
    const chunk = values.subarray(start, start + piece)
    for (let at = 0; at < chunk.length; ) {
      at += stream.push(chunk, at)
      if (!stream.windowReady()) continue
      const window = new Float32Array(stream.values)
      stream.takeWindow(window)
      windows.push([...window])
    }
  }
  return windows
}
const ramp = Float32Array.from({ length: 30 }, (_, i) => i)

describe('createVectorWindows', () => {
  it('gives raw windows that overlap', () => {
    const windows = windowsOf(ramp, raw)
    expect(windows.map(([first]) => first)).toEqual([0, 6, 12, 18])
    expect(windows[1]).toEqual([6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17])
  })

  it('leaves out what lies between windows', () => {
    expect(windowsOf(ramp, { ...raw, windowVectors: 2, hopVectors: 4 }).map(([first]) => first)).toEqual([0, 12, 24])
  })

  it('takes the mean of each channel', () => {
    const [window] = windowsOf(Float32Array.of(1, 10, 9.8, 3, 20, 9.8), {
      ...raw,
      windowVectors: 2,
      normalization: 'mean',
    })
    expect(window).toEqual([-1, -5, 0, 1, 5, 0])
  })

  it('divides by the deviation of each channel, and by its floor where nothing moves', () => {
    const definition: VectorWindowDefinition = {
      ...raw,
      windowVectors: 2,
      normalization: 'mean-deviation',
      deviationFloor: 0.5,
    }
    const [window] = windowsOf(Float32Array.of(1, 10, 4, 3, 20, 4.5), definition)
    expect(window).toEqual([-1, -1, -0.5, 1, 1, 0.5])
  })

  it('shifts and scales as training found', () => {
    const definition: VectorWindowDefinition = {
      ...raw,
      windowVectors: 1,
      normalization: 'fixed',
      offset: [1, 2, 3],
      scale: [2, 4, -1],
    }
    expect(windowsOf(Float32Array.of(3, 2, 5), definition)).toEqual([[1, 0, -2]])
  })

  it('takes what is not finite for 0', () => {
    const [window] = windowsOf(Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, 1), {
      ...raw,
      windowVectors: 1,
      normalization: 'mean',
    })
    expect(window).toEqual([0, 0, 0])
  })

  it('gives the same windows however the values come in pieces', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 40 }),
        (channels, windowVectors, hopVectors, piece) => {
          const definition = { ...raw, channels, windowVectors, hopVectors }
          const values = Float32Array.from({ length: 97 }, (_, i) => (i * 37) % 101)
          const windows = windowsOf(values, definition, piece)
          const length = channels * windowVectors
          const expected: number[][] = []
          for (let at = 0; at + length <= values.length; at += channels * hopVectors)
            expected.push([...values.subarray(at, at + length)])
          expect(windows).toEqual(expected)
        },
      ),
    )
  })

  it('forgets on reset', () => {
    const stream = createVectorWindows(raw)
    expect(stream.push(ramp)).toBe(12)
    expect(stream.push(ramp, 12)).toBe(0)
    stream.reset()
    expect(() => stream.takeWindow(new Float32Array(12))).toThrow('no window is due')
  })
})

describe('checkVectorWindowDefinition', () => {
  it('takes what it implements, read from JSON', () => {
    expect(checkVectorWindowDefinition(JSON.parse(JSON.stringify(raw)))).toEqual({ ok: true, value: raw })
  })
  it.each<[string, unknown]>([
    ['not an object', undefined],
    ['kind is x', { ...raw, kind: 'x' }],
    ['version is 0', { ...raw, version: 0 }],
    ['channels is not from 1', { ...raw, channels: 1.5 }],
    ['sampleRateHz is not from above 0', { ...raw, sampleRateHz: 0 }],
    ['windows of more than', { ...raw, channels: 256, windowVectors: 65_536 }],
    ['hopVectors is not', { ...raw, hopVectors: 0 }],
    ['normalization is max', { ...raw, normalization: 'max' }],
    ['needs a positive deviationFloor', { ...raw, normalization: 'mean-deviation' }],
    ['belongs to mean-deviation', { ...raw, deviationFloor: 1 }],
    ['offset is not 3', { ...raw, normalization: 'fixed', offset: [1], scale: [1, 1, 1] }],
    ['scale is not 3', { ...raw, normalization: 'fixed', offset: [1, 1, 1], scale: [1, 1, null] }],
    ['scale has a zero', { ...raw, normalization: 'fixed', offset: [1, 1, 1], scale: [1, 0, 1] }],
    ['belong to fixed', { ...raw, scale: [1, 1, 1] }],
    ['gain is no parameter', { ...raw, gain: 1 }],
  ])('refuses: %s', (detail, value) => {
    const checked = checkVectorWindowDefinition(value)
    expect(checked.ok ? '' : checked.error.detail).toContain(detail)
  })
})

describe('the level of vectors', () => {
  const definition: VectorWindowDefinition = {
    kind: 'vector-windows',
    version: 1,
    channels: 3,
    sampleRateHz: 1_600,
    windowVectors: 32,
    hopVectors: 32,
    normalization: 'mean',
  }
  /** Gravity on one axis, and a shake of the amplitude on another. */
  const shaken = (vectors: number, amplitude: number) =>
    Float32Array.from({ length: 3 * vectors }, (_, i) =>
      i % 3 === 2 ? 9.81 : i % 3 === 0 ? amplitude * Math.sin((2 * Math.PI * Math.floor(i / 3)) / 16) : 0.5,
    )
  const levels = (input: 'audio' | 'vectors', samples: Float32Array, piece: number, hopFrames = 1) => {
    const stream = createFeatureStream(definition, hopFrames, input)
    const heard: number[] = []
    for (let from = 0; from < samples.length; from += piece) {
      const part = samples.subarray(from, from + piece)
      for (let at = 0; at < part.length; ) {
        at += stream.push(part, at)
        if (!stream.windowReady()) continue
        heard.push(stream.hopRms())
        stream.skipWindow()
      }
    }
    return heard
  }
  it('is what varies in each channel, in whatever pieces they come, and gravity is none of it', () => {
    const expected = 0.1 / Math.sqrt(2) / Math.sqrt(3)
    for (const piece of [1, 7, 96, 1_000]) {
      const heard = levels('vectors', shaken(160, 0.1), piece)
      expect(heard).toHaveLength(5)
      for (const level of heard) expect(level).toBeCloseTo(expected, 5)
    }
    for (const level of levels('vectors', shaken(160, 0), 50)) expect(level).toBeLessThan(1e-3)
    for (const level of levels('vectors', shaken(320, 0.1), 64, 2)) expect(level).toBeCloseTo(expected, 5)
  })
  it('of sound is all of it', () => {
    for (const level of levels('audio', shaken(160, 0), 96))
      expect(level).toBeCloseTo(Math.hypot(9.81, 0.5) / Math.sqrt(3), 4)
  })
  it('of a hop is forgotten by the next', () => {
    const loud = shaken(64, 1)
    const both = new Float32Array(2 * loud.length)
    both.set(loud)
    both.set(shaken(64, 0), loud.length)
    const heard = levels('vectors', both, 40)
    expect(heard.map((level) => level > 0.3)).toEqual([true, true, false, false])
  })
})
