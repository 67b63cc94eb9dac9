import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseWav } from '../../../../model/audio/wav.ts'
import { createMicroFrontend, quantizeMicroFrame } from '../../../../model/features/micro-frontend.ts'
import {
  checkMicroFrontendDefinition,
  type MicroFrontendDefinition,
  microFrontendDefinition,
} from '../../../../model/features/micro-frontend-definition.ts'
import { hasReferenceData, REFERENCE_DATA } from '../../../fixtures/reference-data.ts'
import { referenceSignal } from './reference-signal.ts'

/** Frames of a sound, pushed in pieces of a length. */
const framesOf = (
  sound: Float32Array,
  settings: Partial<MicroFrontendDefinition> = {},
  piece = sound.length,
): number[][] => {
  const stream = createMicroFrontend({ ...microFrontendDefinition, ...settings })
  const frame = new Uint16Array(stream.channels)
  const frames: number[][] = []
  for (let start = 0; start < sound.length; start += piece) {
    const chunk = sound.subarray(start, start + piece)
    for (let at = 0; at < chunk.length; ) {
      at += stream.push(chunk, at)
      if (!stream.frameReady()) continue
      stream.takeFrame(frame)
      frames.push([...frame])
    }
  }
  return frames
}

const folder = join(REFERENCE_DATA, 'int8-reference/micro-frontend')
const references = hasReferenceData
  ? readdirSync(folder).flatMap((file) => {
      const [, name, stepMs] = /^(.+)\.features-(\d+)ms\.txt$/.exec(file) ?? []
      return name === undefined ? [] : [[name, Number(stepMs), file] as const]
    })
  : []
const recordingOf = (name: string): string => {
  const beside = join(folder, `${name}.wav`)
  if (existsSync(beside)) return beside
  const [label = '', ...rest] = name.split('-')
  return join(REFERENCE_DATA, 'speech', label, `${rest.join('-')}.wav`)
}

describe.skipIf(!hasReferenceData)('micro frontend and the C code (skipped without ../shared/data)', () => {
  it.each(references)('%s at a step of %i ms, integer for integer', (name, stepMs, file) => {
    const wav = parseWav(readFileSync(recordingOf(name)))
    if (!wav.ok) throw new Error(wav.error.detail)
    const lines = framesOf(wav.value.samples, { stepMs }).map((frame) => `${frame.join(' ')}\n`)
    expect(lines.join('')).toBe(readFileSync(join(folder, file), 'utf8'))
  })
  it('has references to compare with', () => expect(references.length).toBeGreaterThan(4))
})

describe('createMicroFrontend', () => {
  const sound = referenceSignal()

  /** FNV-1a over 16-bit values: says that a setting computes what it computed when all references were equal. */
  const hash = (frames: readonly number[][]): string => {
    let sum = 0x811c9dc5
    for (const value of frames.flat())
      sum = Math.imul(Math.imul(sum ^ (value & 255), 0x01000193) ^ (value >> 8), 0x01000193) >>> 0
    return sum.toString(16)
  }

  it.each<[string, Partial<MicroFrontendDefinition>, number, number, string]>([
    ['as microWakeWord', {}, 98, 40, 'e152fe75'],
    ['20 ms', { stepMs: 20 }, 49, 40, '20f220d3'],
    ['a transform with a stage of two', { windowMs: 64, stepMs: 32 }, 30, 40, '5c746293'],
    [
      'few channels at 8 kHz',
      { sampleRateHz: 8_000, channels: 13, upperHz: 3_800, smoothingBits: 8 },
      198,
      13,
      'f005d111',
    ],
    ['more channels than bins below', { channels: 100 }, 98, 100, '2609973a'],
    ['without gain control', { pcan: false }, 98, 40, '296ae547'],
    ['without logarithm', { log: false, pcan: false }, 98, 40, '77c9dcfd'],
    ['a short window', { windowMs: 1, stepMs: 1, channels: 3, pcan: false }, 1000, 3, '5c8ad4bb'],
  ])('%s', (_, settings, count, channels, sum) => {
    const frames = framesOf(sound, settings)
    expect(frames.length).toBe(count)
    expect(frames[0]?.length).toBe(channels)
    expect(hash(frames)).toBe(sum)
  })

  it('gives the same frames however the sound comes in pieces', () => {
    const whole = framesOf(sound)
    for (const piece of [1, 7, 159, 160, 161, 480, 481, 5_000]) expect(framesOf(sound, {}, piece)).toEqual(whole)
  })

  it('forgets the noise it had estimated when it is reset', () => {
    const stream = createMicroFrontend(microFrontendDefinition)
    const frame = new Uint16Array(40)
    const first = (): number[] => {
      stream.push(sound)
      stream.takeFrame(frame)
      return [...frame]
    }
    const fresh = first()
    stream.push(sound.subarray(480))
    stream.takeFrame(frame)
    stream.reset()
    expect(stream.frameReady()).toBe(false)
    expect(first()).toEqual(fresh)
  })

  it('takes no more than a frame needs, and nothing while one is due', () => {
    const stream = createMicroFrontend(microFrontendDefinition)
    expect(() => stream.takeFrame(new Uint16Array(40))).toThrow('no frame is due')
    expect(stream.push(sound)).toBe(480)
    expect(stream.push(sound, 480)).toBe(0)
    stream.takeFrame(new Uint16Array(40))
    expect(stream.push(sound, 480)).toBe(160)
  })

  it('saturates what is beyond 16 bits, and hears NaN as silence', () => {
    const loud = Float32Array.from({ length: 480 }, (_, i) => (i % 16 < 8 ? 3 : -3))
    const full = Float32Array.from(loud, (x) => (x > 0 ? 32_767 / 32_768 : -1))
    expect(framesOf(loud)).toEqual(framesOf(full))
    expect(framesOf(new Float32Array(480).fill(Number.NaN))).toEqual(framesOf(new Float32Array(480)))
  })
})

describe('quantizeMicroFrame', () => {
  it('maps 0 to 666 onto 8 bits and saturates', () => {
    expect([...quantizeMicroFrame(Uint16Array.of(0, 1, 2, 333, 663, 664, 670, 65_535), new Int8Array(8))]).toEqual([
      -128, -128, -127, 0, 127, 127, 127, 127,
    ])
  })
})

describe('checkMicroFrontendDefinition', () => {
  it('takes what it implements', () => {
    expect(checkMicroFrontendDefinition(JSON.parse(JSON.stringify(microFrontendDefinition)))).toEqual({
      ok: true,
      value: microFrontendDefinition,
    })
  })

  it.each<[string, unknown]>([
    ['not an object', null],
    ['kind is mfcc', { ...microFrontendDefinition, kind: 'mfcc' }],
    ['version is 2', { ...microFrontendDefinition, version: 2 }],
    ['stepMs is not between', { ...microFrontendDefinition, stepMs: 0 }],
    ['stepMs is no whole number', { ...microFrontendDefinition, stepMs: 12.5 }],
    ['stepMs makes steps of 640', { ...microFrontendDefinition, stepMs: 40 }],
    ['windowMs makes windows', { ...microFrontendDefinition, windowMs: 300 }],
    ['channels is not between', { ...microFrontendDefinition, channels: 1e9 }],
    ['channels is not between', { ...microFrontendDefinition, channels: Number.NaN }],
    ['lowerHz to upperHz', { ...microFrontendDefinition, lowerHz: 7_500 }],
    ['lowerHz to upperHz', { ...microFrontendDefinition, upperHz: 8_001 }],
    ['upperHz is too near', { ...microFrontendDefinition, upperHz: 8_000 }],
    ['evenSmoothing is not between', { ...microFrontendDefinition, evenSmoothing: 1.5 }],
    ['pcan is neither', { ...microFrontendDefinition, pcan: 1 }],
    ['smoothingBits below 3', { ...microFrontendDefinition, smoothingBits: 2 }],
    ['pcanGainBits below 15', { ...microFrontendDefinition, pcanGainBits: 14 }],
    ['agc is no parameter', { ...microFrontendDefinition, agc: true }],
    ['log is neither', { ...microFrontendDefinition, log: undefined }],
  ])('refuses: %s', (detail, value) => {
    const checked = checkMicroFrontendDefinition(value)
    expect(checked.ok ? '' : checked.error.detail).toContain(detail)
  })

  it('is asked before anything is made', () => {
    expect(() => createMicroFrontend({ ...microFrontendDefinition, channels: 0 })).toThrow(RangeError)
  })
})
