import { describe, expect, it } from 'vitest'
import {
  createMicrophoneMeter,
  FAULT_MS,
  HEALTHY,
  type MicrophoneTrouble,
  NO_TROUBLE,
  observeMicrophone,
} from '../../../../../device/core/listen/microphone.ts'

const HOP_MS = 200
const HOP = 3_200
const STEP = 1 / 32_768
/** of the samples of a hop: a hundredth */
const CLIPPED_SHARE = 0.01
const judge = (sampleAt: (i: number) => number): MicrophoneTrouble => {
  const meter = createMicrophoneMeter()
  meter.take(
    Float32Array.from({ length: HOP }, (_, i) => sampleAt(i)),
    0,
    HOP,
  )
  return meter.judge(HOP_MS)
}
const tone =
  (hz: number, gain: number, offset = 0) =>
  (i: number) =>
    Math.max(-1, Math.min(1 - STEP, offset + gain * Math.sin((2 * Math.PI * hz * i) / 16_000)))

describe('a hop of samples', () => {
  it('taken in parts is judged as a whole: clipped above the share of its samples, and not at it', () => {
    const inParts = (clipped: number): MicrophoneTrouble => {
      const meter = createMicrophoneMeter()
      const samples = Float32Array.from({ length: HOP }, (_, i) => (i < clipped ? -1 : tone(440, 0.1)(i)))
      for (let from = 0; from < HOP; from += HOP / 4) meter.take(samples, from, from + HOP / 4)
      return meter.judge(HOP_MS)
    }
    expect(inParts(CLIPPED_SHARE * HOP)).toEqual(NO_TROUBLE)
    expect(inParts(CLIPPED_SHARE * HOP + 1)).toEqual({ ...NO_TROUBLE, clippedMs: HOP_MS })
  })

  it.each([
    ['nothing', () => 0],
    ['a step of offset', () => STEP],
    ['a step of dither', (i: number) => (i % 2) * STEP],
  ])('of %s is silent', (_what, sampleAt) => {
    expect(judge(sampleAt)).toEqual({ ...NO_TROUBLE, silentMs: HOP_MS })
  })

  it.each([
    ['at the middle', () => 0.3],
    ['at the end', () => -1],
    ['with a step of dither', (i: number) => 0.3 + (i % 2) * STEP],
  ])('of one value %s is stuck', (_what, sampleAt) => {
    expect(judge(sampleAt)).toEqual({ ...NO_TROUBLE, stuckMs: HOP_MS })
  })

  it.each([
    ['a tone twice too loud', tone(1_000, 2)],
    ['an offset that leaves no room', tone(300, 0.3, 0.9)],
    ['a square wave over the whole scale', (i: number) => (i % 40 < 20 ? 1 - STEP : -1)],
  ])('of %s is clipped', (_what, sampleAt) => {
    expect(judge(sampleAt)).toEqual({ ...NO_TROUBLE, clippedMs: HOP_MS })
  })

  it.each([
    ['a tone of 4 kHz, whose samples repeat after four', tone(4_000, 0.5)],
    ['a room 90 dB below full scale', (i: number) => ((i * 7) % 5) * STEP],
    ['a tone just below the end', tone(440, 0.99)],
    ['one click', (i: number) => (i < 10 ? 1 - STEP : tone(440, 0.1)(i))],
    ['an offset of a tenth and a quiet room on it', tone(440, 0.001, 0.1)],
  ])('of %s is in order', (_what, sampleAt) => {
    expect(judge(sampleAt)).toEqual(NO_TROUBLE)
  })

  it.each([0, 1, 4, 1_600, 3_197, 3_198])(
    'sees the one sample that moves, whichever it is (%i), in parts of odd length',
    (moved) => {
      for (const up of [0.1, -0.1]) {
        const meter = createMicrophoneMeter()
        const samples = Float32Array.from({ length: 3_199 }, (_, i) => (i === moved ? 0.3 + up : 0.3))
        for (const [from, to] of [
          [0, 1],
          [1, 4],
          [4, 4],
          [4, 3_199],
        ] as const)
          meter.take(samples, from, to)
        expect(meter.judge(HOP_MS)).toEqual(NO_TROUBLE)
      }
    },
  )

  it('is judged by itself, and nothing by nothing', () => {
    const meter = createMicrophoneMeter()
    meter.take(new Float32Array(10), 0, 10)
    meter.judge(HOP_MS)
    expect(meter.judge(HOP_MS)).toEqual(NO_TROUBLE)
    meter.take(Float32Array.of(0.9, 0.1, -0.1, 0.9), 1, 3)
    expect(meter.judge(HOP_MS)).toEqual(NO_TROUBLE)
  })
})

it('a fault is in force after a minute, and until it has been away for one', () => {
  const stuck = { ...NO_TROUBLE, stuckMs: 1_000 }
  let health = HEALTHY
  const faults: (string | null)[] = []
  for (let second = 0; second < 200; second++) {
    health = observeMicrophone(health, second < 100 ? stuck : NO_TROUBLE, 1_000)
    faults.push(health.fault)
  }
  expect(FAULT_MS).toBe(60_000)
  expect([faults.indexOf('stuck'), faults.lastIndexOf('stuck')]).toEqual([59, 158])
})
