import { describe, expect, it } from 'vitest'
import { createHighPass } from '../../../../model/features/high-pass.ts'
import { createMfcc } from '../../../../model/features/mfcc.ts'
import {
  checkMfccDefinition,
  type MfccDefinition,
  mfccDefinitionHighPass,
  mfccDefinitionV1,
} from '../../../../model/features/mfcc-definition.ts'
import { createMfccStream } from '../../../../model/features/mfcc-stream.ts'
import { referenceSignal } from './reference-signal.ts'

/** The definition written out naively in float64: a DFT by its sum, a dense filter bank, nothing shared with the code. */
const naiveMfcc = (samples: Float32Array, d: MfccDefinition): number[] => {
  const peak = Math.max(d.normalizationFloor, ...samples)
  const bins = d.fftSize / 2 + 1
  const mel = (f: number) => 1127 * Math.log(1 + f / 700)
  const edges = Array.from(
    { length: d.melBands + 2 },
    (_, i) => mel(d.melLowHz) + ((mel(d.melHighHz) - mel(d.melLowHz)) * i) / (d.melBands + 1),
  )
  const out: number[] = []
  for (let frame = 0; frame < d.frames; frame += 1) {
    const windowed = Array.from({ length: d.windowSamples }, (_, n) => {
      const hann = 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / d.windowSamples)
      return (samples[frame * d.strideSamples + n]! / peak) * hann
    })
    const bands = new Array<number>(d.melBands).fill(0)
    for (let k = 1; k < bins; k += 1) {
      let re = 0
      let im = 0
      for (let n = 0; n < d.windowSamples; n += 1) {
        re += windowed[n]! * Math.cos((2 * Math.PI * k * n) / d.fftSize)
        im -= windowed[n]! * Math.sin((2 * Math.PI * k * n) / d.fftSize)
      }
      const m = mel((k * d.sampleRateHz) / d.fftSize)
      for (let b = 0; b < d.melBands; b += 1) {
        const rise = (m - edges[b]!) / (edges[b + 1]! - edges[b]!)
        const fall = (edges[b + 2]! - m) / (edges[b + 2]! - edges[b + 1]!)
        bands[b]! += Math.max(0, Math.min(rise, fall)) * Math.hypot(re, im)
      }
    }
    for (let k = 0; k < d.coefficients; k += 1) {
      let sum = 0
      for (let b = 0; b < d.melBands; b += 1) {
        sum += Math.log(bands[b]! + d.logOffset) * Math.cos((Math.PI * k * (b + 0.5)) / d.melBands)
      }
      out.push(sum * Math.sqrt(2 / d.melBands))
    }
  }
  return out
}

const oneShot = createMfcc(mfccDefinitionV1)
const mfcc = (samples: Float32Array, from = 0): Float32Array => oneShot(samples, new Float32Array(490), from)

const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a.length).toBe(b.length)
  let largest = 0
  for (let i = 0; i < a.length; i += 1) largest = Math.max(largest, Math.abs(a[i]! - b[i]!))
  return largest
}

describe('mfcc', () => {
  it('equals the naive float64 transform within float32 storage', () => {
    const samples = referenceSignal()
    // 5e-6 is about two float32 steps at the largest magnitude (124).
    expect(largestDifference(mfcc(samples), naiveMfcc(samples, mfccDefinitionV1))).toBeLessThan(5e-6)
  })

  it('equals it too where near silence meets a loud burst, digital silence included', () => {
    const samples = referenceSignal().map((v, n) =>
      n < 6_000 ? v * 1e-4 : n < 9_000 ? 0 : n < 12_000 ? v * 0.01 : v * 8,
    )
    // Coefficient 0 comes near 100 here, where a float32 step is 7.6e-6.
    expect(largestDifference(mfcc(samples), naiveMfcc(samples, mfccDefinitionV1))).toBeLessThan(8e-6)
  })

  it('equals it for a definition that is odd wherever it may be', () => {
    const definition: MfccDefinition = {
      ...mfccDefinitionV1,
      clipSamples: 4_000,
      windowSamples: 401,
      strideSamples: 250,
      // Half of it is no power of four.
      fftSize: 1_024,
      melBands: 23,
      melHighHz: 8_000,
      coefficients: 13,
      frames: 15,
    }
    const even = referenceSignal(4_000)
    // Between loud frames and frames near silence both ways of normalising are taken.
    for (const samples of [even, even.map((v, n) => (n < 2_000 ? v * 1e-4 : v * 8))]) {
      const features = createMfcc(definition)(samples, new Float32Array(15 * 13))
      expect(largestDifference(features, naiveMfcc(samples, definition))).toBeLessThan(8e-6)
    }
  })

  it('equals numbers computed with numpy (rfft, same definition, same samples)', () => {
    const features = mfcc(referenceSignal())
    const golden: [number, number[]][] = [
      [0, [17.73275, -3.090925, -1.456282, -1.617819, -0.945776, -0.131703, 1.599932, 1.85642, 0.172743, -1.689272]],
      [7, [10.613938, -4.142317, -0.067091, -0.596973, 0.408063, 0.24325, 0.204323, 0.165364, 0.412661, 0.712599]],
      [24, [17.074469, -4.056667, -1.678048, -1.565337, 0.633402, 1.5226, 1.01555, -1.462049, 0.131032, 2.541063]],
      [
        48,
        [11.624632, -3.565288, -0.407143, -0.223327, 0.110763, -0.738037, -0.606699, -0.161524, -0.198894, 0.065034],
      ],
    ]
    for (const [frame, row] of golden) {
      expect(largestDifference(features.subarray(frame * 10, frame * 10 + 10), row)).toBeLessThan(2e-6)
    }
    expect(features.reduce((sum, v) => sum + v, 0)).toBeCloseTo(532.397222, 3)
    expect(features.reduce((sum, v) => sum + Math.abs(v), 0)).toBeCloseTo(1320.840157, 3)
  })

  it('does not depend on loudness above the floor', () => {
    const samples = referenceSignal()
    const quiet = samples.map((v) => v / 64)
    expect(largestDifference(mfcc(samples), mfcc(quiet))).toBeLessThan(1e-5)
  })

  it('stays finite and flat on silence, on negative-only audio and below one 16-bit step', () => {
    const silence = mfcc(new Float32Array(16_000))
    expect(silence[0]).toBeCloseTo(40 * Math.sqrt(2 / 40) * Math.log(1e-6), 3)
    expect(Math.abs(silence[1]!)).toBeLessThan(1e-5)
    const negative = mfcc(new Float32Array(16_000).fill(-0.25))
    expect(negative.every(Number.isFinite)).toBe(true)
    const faint = mfcc(referenceSignal().map((v) => v / 1e6))
    expect(faint.every(Number.isFinite)).toBe(true)
    expect(faint[0]!).toBeLessThan(mfcc(referenceSignal())[0]!)
  })

  it('refuses too few samples', () => {
    expect(() => mfcc(new Float32Array(15_999))).toThrow(RangeError)
    expect(() => mfcc(new Float32Array(16_000), 1)).toThrow(RangeError)
  })
})

describe('mfcc stream', () => {
  const long = referenceSignal(16_000 * 4 + 777, 7)
  // A loud passage that enters and leaves, so that the normalisation changes between overlapping windows.
  for (let n = 20_000; n < 24_000; n += 1) long[n]! *= 5

  for (const hopFrames of [1, 7, 10, 50, 63]) {
    for (const chunk of [1, 160, 511, 4_096, long.length]) {
      it(`equals the one-shot features, hop ${hopFrames}, chunks of ${chunk}`, () => {
        const stream = createMfccStream(mfccDefinitionV1, hopFrames)
        const features = new Float32Array(490)
        let windows = 0
        for (let start = 0; start < long.length; start += chunk) {
          const part = long.subarray(start, Math.min(long.length, start + chunk))
          for (let at = 0; at < part.length; ) {
            at += stream.push(part, at)
            if (!stream.windowReady()) continue
            stream.takeWindow(features)
            // The same float64 operations whichever lane and batch a frame is in: bit-identical, so the tolerance is zero.
            expect(largestDifference(features, mfcc(long, windows * hopFrames * 320))).toBe(0)
            windows += 1
          }
        }
        expect(windows).toBe(Math.floor((long.length - 16_000) / (hopFrames * 320)) + 1)
        expect(stream.samplesTaken()).toBe(long.length)
      })
    }
  }

  it('takes nothing while a window is due, skips it on request and starts anew after a reset', () => {
    const stream = createMfccStream(mfccDefinitionV1, 10)
    expect(stream.push(long)).toBe(16_000)
    expect(stream.push(long, 16_000)).toBe(0)
    stream.skipWindow()
    expect(() => stream.skipWindow()).toThrow()
    expect(stream.push(long, 16_000)).toBe(3_200)
    const features = new Float32Array(490)
    stream.takeWindow(features)
    expect(largestDifference(features, mfcc(long, 3_200))).toBe(0)
    expect(() => stream.takeWindow(features)).toThrow()
    stream.push(long, 5)
    stream.reset()
    expect(stream.samplesTaken()).toBe(0)
    expect(stream.push(long, 100)).toBe(16_000)
    stream.takeWindow(features)
    expect(largestDifference(features, mfcc(long, 100))).toBe(0)
  })

  it('keeps streams apart that take turns', () => {
    const streams = [createMfccStream(mfccDefinitionV1, 10), createMfccStream(mfccDefinitionV1, 10)]
    const features = new Float32Array(490)
    const ends = [0, 0]
    for (let turn = 0; turn < 24; turn += 1) {
      const i = turn % 2
      const begin = 4_001 * i
      ends[i]! += streams[i]!.push(long, begin + ends[i]!)
      // Every third window of a stream is not wanted, so that frames of a skipped hop are analysed later.
      if (Math.floor(turn / 2) % 3 === 2) {
        streams[i]!.skipWindow()
        continue
      }
      streams[i]!.takeWindow(features)
      expect(largestDifference(features, mfcc(long, begin + ends[i]! - 16_000))).toBe(0)
    }
  })

  it('tells the level of the window and of the newest hop', () => {
    const stream = createMfccStream(mfccDefinitionV1, 10)
    const step = new Float32Array(16_000).fill(0.5, 12_800)
    stream.push(step)
    expect(stream.hopRms()).toBeCloseTo(0.5, 6)
    expect(stream.windowRms()).toBeCloseTo(Math.sqrt(0.25 / 5), 6)
  })
})

describe('behind a high-pass', () => {
  const definition = mfccDefinitionHighPass
  const behind = createMfcc(definition)
  const features = (samples: Float32Array, from = 0) => behind(samples, new Float32Array(490), from)
  const withOffset = (samples: Float32Array, offset: number) => samples.map((v) => v + offset)

  it('an offset changes nothing, where without it all features move', () => {
    const samples = referenceSignal()
    for (const offset of [0.005, 0.05, -0.2]) {
      expect(largestDifference(features(withOffset(samples, offset)), features(samples))).toBeLessThan(0.02)
      expect(largestDifference(mfcc(withOffset(samples, offset)), mfcc(samples))).toBeGreaterThan(0.2)
    }
  })

  it('are those of the naive transform of the filtered sound', () => {
    const samples = referenceSignal()
    const r = Math.exp((-2 * Math.PI * 20) / 16_000)
    const filtered = new Float32Array(samples.length)
    let y = 0
    for (let n = 1; n < samples.length; n++) filtered[n] = y = samples[n]! - samples[n - 1]! + r * y
    expect(largestDifference(features(samples), naiveMfcc(filtered, definition))).toBeLessThan(8e-6)
  })

  it('a stream knows the sound before its window: equal to the one-shot features but for what the filter remembers', () => {
    const long = referenceSignal(16_000 * 3, 7)
    const filtered = new Float32Array(long.length)
    createHighPass(20, 16_000).filter(long, 0, long.length, filtered, 0)
    for (const chunk of [1, 511, long.length]) {
      const stream = createMfccStream(definition, 10)
      const window = new Float32Array(490)
      let windows = 0
      for (let start = 0; start < long.length; start += chunk) {
        const part = long.subarray(start, Math.min(long.length, start + chunk))
        for (let at = 0; at < part.length; ) {
          at += stream.push(part, at)
          if (!stream.windowReady()) continue
          stream.takeWindow(window)
          expect(largestDifference(window, mfcc(filtered, windows * 3_200))).toBe(0)
          windows++
        }
      }
      expect(windows).toBe(11)
    }
  })

  it('levels are those of the sound and not of the offset, and a reset forgets it', () => {
    const stream = createMfccStream(definition, 10)
    const quiet = Float32Array.from({ length: 16_000 }, (_, n) => 0.2 + 0.001 * Math.sin(n / 3))
    stream.push(quiet)
    expect(stream.windowRms()).toBeCloseTo(0.001 / Math.SQRT2, 5)
    stream.reset()
    stream.push(quiet.map((v) => v - 0.4))
    expect(stream.windowRms()).toBeCloseTo(0.001 / Math.SQRT2, 5)
  })
})

describe('checkMfccDefinition', () => {
  it('accepts a high-pass, and keeps it', () => {
    expect(checkMfccDefinition({ ...mfccDefinitionHighPass })).toEqual({ ok: true, value: mfccDefinitionHighPass })
  })

  it('accepts the definition after a trip through JSON', () => {
    expect(checkMfccDefinition(JSON.parse(JSON.stringify(mfccDefinitionV1)))).toEqual({
      ok: true,
      value: mfccDefinitionV1,
    })
  })

  it.each([
    [null],
    [{}],
    [{ ...mfccDefinitionV1, version: 2 }],
    [{ ...mfccDefinitionV1, fftSize: 500 }],
    [{ ...mfccDefinitionV1, fftSize: 2 ** 30 }],
    [{ ...mfccDefinitionV1, frames: 50 }],
    [{ ...mfccDefinitionV1, melHighHz: 9_000 }],
    [{ ...mfccDefinitionV1, logOffset: 0 }],
    [{ ...mfccDefinitionV1, coefficients: 41 }],
    [{ ...mfccDefinitionV1, strideSamples: 0.5 }],
    [{ ...mfccDefinitionV1, highPassHz: 0 }],
    [{ ...mfccDefinitionV1, highPassHz: 201 }],
    [{ ...mfccDefinitionV1, highPassHz: '20' }],
    [{ ...mfccDefinitionV1, preEmphasis: 0.97 }],
  ])('refuses %j', (value) => {
    const checked = checkMfccDefinition(value)
    expect(checked.ok ? 'accepted' : checked.error.code).toBe('features-unsupported')
  })
})
