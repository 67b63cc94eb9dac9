import { describe, expect, it } from 'vitest'
import { createResampler, createStreamResampler, resample } from '../../../../model/audio/resample.ts'

const sine = (hz: number, rate: number, seconds: number): Float32Array =>
  Float32Array.from({ length: Math.round(rate * seconds) }, (_, n) => 0.5 * Math.sin((2 * Math.PI * hz * n) / rate))

/** dB of the wanted signal over the difference, away from the ends where the filter sees zeros. */
const snrDb = (got: Float32Array, wanted: Float32Array): number => {
  let signal = 0
  let error = 0
  for (let i = 400; i < Math.min(got.length, wanted.length) - 400; i += 1) {
    signal += wanted[i]! ** 2
    error += (got[i]! - wanted[i]!) ** 2
  }
  return 10 * Math.log10(signal / error)
}

const rms = (samples: Float32Array): number => Math.sqrt(samples.reduce((sum, v) => sum + v * v, 0) / samples.length)

describe('resample', () => {
  for (const rate of [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 44_056]) {
    for (const hz of [100, 1_000, 3_300]) {
      it(`keeps a ${hz} Hz tone from ${rate} Hz above 60 dB`, () => {
        const out = resample(sine(hz, rate, 0.5), rate, 16_000)
        expect(out.length).toBe(Math.ceil((Math.round(rate * 0.5) * 16_000) / rate))
        expect(snrDb(out, sine(hz, 16_000, 0.5))).toBeGreaterThan(60)
      })
    }
  }

  it('suppresses what would alias by 60 dB', () => {
    for (const hz of [8_300, 9_000, 12_000, 15_900, 20_000]) {
      const out = resample(sine(hz, 44_100, 0.5), 44_100, 16_000).subarray(400, -400)
      expect(20 * Math.log10(rms(out) / (0.5 / Math.SQRT2))).toBeLessThan(-60)
    }
  })

  it('keeps a constant, copies at equal rates and refuses rates that are no counts', () => {
    const constant = new Float32Array(4_410).fill(0.5)
    const out = resample(constant, 44_100, 16_000)
    for (const value of out.subarray(200, -200)) expect(value).toBeCloseTo(0.5, 6)
    const same = resample(constant, 16_000, 16_000)
    expect(same).toEqual(constant)
    expect(same).not.toBe(constant)
    expect(resample(new Float32Array(0), 44_100, 16_000).length).toBe(0)
    expect(() => createResampler(0, 16_000)).toThrow(RangeError)
    expect(() => createResampler(44_100, 0.5)).toThrow(RangeError)
  })
})

describe('createStreamResampler', () => {
  const sound = Float32Array.from({ length: 9_000 }, (_, i) => Math.sin(i * i * 1e-5) * 0.7)

  it.each([
    [48_000, 16_000],
    [44_100, 16_000],
    [8_000, 16_000],
    [44_056, 16_000],
  ])('gives from %i to %i Hz, in stretches of any length, the samples of the whole to the bit', (from, to) => {
    const whole = resample(sound, from, to)
    for (const step of [1, 128, 777, 9_000]) {
      const push = createStreamResampler(from, to)
      const out: number[] = []
      for (let at = 0; at < sound.length; at += step) out.push(...push(sound.subarray(at, at + step)))
      // What is missing at the end waits for the other half of the filter: 51 crossings of the lower rate.
      const late = whole.length - out.length
      expect(late).toBeGreaterThan(0)
      expect(late).toBeLessThanOrEqual(Math.ceil((52 * Math.max(from, to)) / Math.min(from, to) / (from / to)))
      expect(Float32Array.from(out)).toEqual(whole.subarray(0, out.length))
    }
  })

  it('copies at equal rates and refuses rates that are no counts', () => {
    const push = createStreamResampler(16_000, 16_000)
    expect(push(sound)).toEqual(sound)
    expect(() => createStreamResampler(0, 16_000)).toThrow(RangeError)
  })
})
