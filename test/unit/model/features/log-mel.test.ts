import { describe, expect, it } from 'vitest'
import { createLogMel } from '../../../../model/features/log-mel.ts'
import {
  checkLogMelDefinition,
  type LogMelDefinition,
  logMelDefinition,
} from '../../../../model/features/log-mel-definition.ts'
import { referenceSignal } from './reference-signal.ts'

const framesOf = (sound: Float32Array, definition: LogMelDefinition, piece = sound.length): Float32Array[] => {
  const stream = createLogMel(definition)
  const frames: Float32Array[] = []
  for (let start = 0; start < sound.length; start += piece) {
    const chunk = sound.subarray(start, start + piece)
    for (let at = 0; at < chunk.length; ) {
      at += stream.push(chunk, at)
      if (!stream.frameReady()) continue
      const frame = new Float32Array(stream.melBands)
      stream.takeFrame(frame)
      frames.push(frame)
    }
  }
  return frames
}

/** One frame written out naively: a DFT by its sum and a dense filter bank, nothing shared with the code. */
const naive = (sound: Float32Array, d: LogMelDefinition): number[] => {
  const emphasised = Float32Array.from(sound, (x, i) => x - (d.preEmphasis ?? 0) * (sound[i - 1] ?? 0))
  const a = d.window === 'hann-periodic' ? 0.5 : 0.54
  const windowed = Array.from(
    { length: d.windowSamples },
    (_, i) => emphasised[i]! * (a - (1 - a) * Math.cos((2 * Math.PI * i) / d.windowSamples)),
  )
  const bins = Array.from({ length: d.fftSize / 2 + 1 }, (_, k) => {
    let [re, im] = [0, 0]
    windowed.forEach((x, n) => {
      re += x * Math.cos((2 * Math.PI * k * n) / d.fftSize)
      im += x * Math.sin((2 * Math.PI * k * n) / d.fftSize)
    })
    return d.spectrum === 'power' ? re * re + im * im : Math.hypot(re, im)
  })
  const htk = (hz: number): number => 1127 * Math.log(1 + hz / 700)
  const slaney = (hz: number): number => (hz < 1000 ? (3 * hz) / 200 : 15 + (27 * Math.log(hz / 1000)) / Math.log(6.4))
  /** By bisection, so that no inverse is written twice. */
  const hzOf = (mel: number): number => {
    let [low, high] = [0, 1e6]
    for (let i = 0; i < 200; i += 1) {
      const middle = (low + high) / 2
      if (slaney(middle) < mel) low = middle
      else high = middle
    }
    return low
  }
  const isSlaney = d.melScale === 'slaney-area'
  const toMel = isSlaney ? slaney : htk
  return Array.from({ length: d.melBands }, (_, band) => {
    const [left, top, right] = [0, 1, 2].map((i) => {
      const share = (band + i) / (d.melBands + 1)
      const mel = toMel(d.melLowHz) + share * (toMel(d.melHighHz) - toMel(d.melLowHz))
      return isSlaney ? hzOf(mel) : mel
    }) as [number, number, number]
    let sum = 0
    bins.forEach((bin, k) => {
      const hz = (k * d.sampleRateHz) / d.fftSize
      const at = isSlaney ? hz : toMel(hz)
      const weight = Math.max(0, Math.min((at - left) / (top - left), (right - at) / (right - top)))
      if (k > 0 || isSlaney) sum += bin * weight * (isSlaney ? 2 / (right - left) : 1)
    })
    return d.logScale * Math.log(sum + d.logOffset)
  })
}

const settings: readonly [string, LogMelDefinition][] = [
  ['as defined', logMelDefinition],
  [
    'decibels of librosa, as the anomaly detector of MLPerf Tiny hears',
    {
      ...logMelDefinition,
      windowSamples: 1024,
      strideSamples: 512,
      fftSize: 1024,
      spectrum: 'power',
      melBands: 128,
      melLowHz: 0,
      melHighHz: 8_000,
      melScale: 'slaney-area',
      logOffset: 2.2e-16,
      logScale: 10 / Math.LN10,
    },
  ],
  [
    'Hamming behind a pre-emphasis at 8 kHz',
    {
      ...logMelDefinition,
      sampleRateHz: 8_000,
      windowSamples: 200,
      strideSamples: 80,
      fftSize: 256,
      melHighHz: 4_000,
      melBands: 20,
      window: 'hamming-periodic',
      preEmphasis: 0.97,
    },
  ],
]

describe('createLogMel', () => {
  const sound = referenceSignal(4_000)

  it.each(settings)('%s: the definition written out', (_, definition) => {
    const frames = framesOf(sound, definition)
    expect(frames.length).toBe(Math.floor((sound.length - definition.windowSamples) / definition.strideSamples) + 1)
    const expected = naive(sound, definition)
    frames[0]?.forEach((value, band) => {
      expect(Math.abs(value - expected[band]!)).toBeLessThan(2e-4)
    })
  })

  it('puts a tone into the band around it', () => {
    const tone = Float32Array.from({ length: 480 }, (_, i) => Math.sin((2 * Math.PI * 1_000 * i) / 16_000))
    const [frame] = framesOf(tone, logMelDefinition)
    const mel = (hz: number): number => 1127 * Math.log(1 + hz / 700)
    const step = (mel(7_600) - mel(20)) / 41
    const loudest = frame!.indexOf(Math.max(...frame!))
    expect(loudest).toBe(Math.round((mel(1_000) - mel(20)) / step) - 1)
  })

  it('gives the same frames however the sound comes in pieces, and after a reset', () => {
    const definition = { ...logMelDefinition, preEmphasis: 0.9 }
    const whole = framesOf(sound, definition)
    for (const piece of [1, 161, 480, 999]) expect(framesOf(sound, definition, piece)).toEqual(whole)
    const stream = createLogMel(definition)
    stream.push(sound.subarray(100))
    stream.reset()
    expect(() => stream.takeFrame(new Float32Array(40))).toThrow('no frame is due')
    stream.push(sound)
    const frame = new Float32Array(40)
    stream.takeFrame(frame)
    expect(frame).toEqual(whole[0])
  })

  it('is finite for silence', () => {
    const [frame] = framesOf(new Float32Array(480), logMelDefinition)
    expect(frame![0]).toBeCloseTo(Math.log(1e-6), 5)
  })
})

describe('checkLogMelDefinition', () => {
  it('takes what it implements', () => {
    for (const [, definition] of settings)
      expect(checkLogMelDefinition(definition)).toEqual({ ok: true, value: definition })
  })
  it.each<[string, unknown]>([
    ['not an object', 7],
    ['kind is mfcc', { ...logMelDefinition, kind: 'mfcc' }],
    ['version is 2', { ...logMelDefinition, version: 2 }],
    ['spectrum is energy', { ...logMelDefinition, spectrum: 'energy' }],
    ['melBands is no count', { ...logMelDefinition, melBands: 129 }],
    ['fftSize is no power', { ...logMelDefinition, fftSize: 500 }],
    ['windowSamples above fftSize', { ...logMelDefinition, windowSamples: 513 }],
    ['strideSamples above', { ...logMelDefinition, strideSamples: 481 }],
    ['logOffset is not positive', { ...logMelDefinition, logOffset: 0 }],
    ['mel range', { ...logMelDefinition, melHighHz: 8_001 }],
    ['melLowHz is negative', { ...logMelDefinition, melLowHz: Number.NaN }],
    ['preEmphasis is not', { ...logMelDefinition, preEmphasis: 1 }],
    ['pca is no parameter', { ...logMelDefinition, pca: 1 }],
  ])('refuses: %s', (detail, value) => {
    const checked = checkLogMelDefinition(value)
    expect(checked.ok ? '' : checked.error.detail).toContain(detail)
    expect(() => createLogMel(value as LogMelDefinition)).toThrow(RangeError)
  })
})
