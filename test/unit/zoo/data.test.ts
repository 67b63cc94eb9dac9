import { describe, expect, it } from 'vitest'
import { meanPower } from '../../../model/audio/mix.ts'
import { activeRange, createTape, shifted } from '../../../zoo/augment.ts'
import { HELD_OUT_SHARE, isHeldOut, speakerOf } from '../../../zoo/corpus.ts'
import { RATE_HZ } from '../../../zoo/labels.ts'
import { makeNoise, NOISE_KINDS, type NoiseKind } from '../../../zoo/noise.ts'
import { seeded, shuffled } from '../../../zoo/random.ts'
import { createStream } from '../../../zoo/streams.ts'

describe('seeded randomness', () => {
  it('repeats for one seed and purpose and differs for another', () => {
    const draw = (seed: number, purpose: string) => Array.from({ length: 8 }, seeded(seed, purpose))
    expect(draw(1, 'a')).toEqual(draw(1, 'a'))
    expect(draw(1, 'a')).not.toEqual(draw(1, 'b'))
    expect(draw(1, 'a')).not.toEqual(draw(2, 'a'))
  })

  it('is uniform enough and shuffles without loss', () => {
    const random = seeded(3, 'mean')
    const values = Array.from({ length: 20_000 }, random)
    expect(Math.abs(values.reduce((a, b) => a + b, 0) / values.length - 0.5)).toBeLessThan(0.01)
    const list = Array.from({ length: 50 }, (_, i) => i)
    const mixed = shuffled(seeded(1, 'deck'), list)
    expect(mixed).not.toEqual(list)
    expect(mixed.toSorted((a, b) => a - b)).toEqual(list)
  })
})

describe('the split', () => {
  it('finds the speaker in keyword, unknown and background names', () => {
    expect(speakerOf('0cb74144_nohash_1.wav')).toBe('0cb74144')
    expect(speakerOf('backward_0cb74144_nohash_2.wav')).toBe('0cb74144')
    expect(speakerOf('1037.wav')).toBe(speakerOf('1041.wav'))
    expect(speakerOf('1037.wav')).not.toBe(speakerOf('1337.wav'))
  })

  it('holds out about the share it promises, whatever else is in the data', () => {
    const speakers = Array.from({ length: 4_000 }, (_, n) => n.toString(16).padStart(8, '0'))
    const heldOut = speakers.filter((speaker) => isHeldOut(speaker, 1))
    expect(Math.abs(heldOut.length / speakers.length - HELD_OUT_SHARE)).toBeLessThan(0.02)
    expect(speakers.filter((speaker) => isHeldOut(speaker, 2))).not.toEqual(heldOut)
  })
})

describe('augmentation', () => {
  it('shifts with zeros and finds the active part', () => {
    const word = new Float32Array(RATE_HZ)
    for (let i = 4_800; i < 9_600; i += 1) word[i] = Math.sin(i)
    expect(activeRange(word)).toEqual({ from: 4_800, to: 9_600 })
    expect(activeRange(shifted(word, 1_600))).toEqual({ from: 6_400, to: 11_200 })
    expect(activeRange(shifted(word, -4_800, 8_000))).toEqual({ from: 0, to: 4_800 })
    expect(meanPower(shifted(word, 20_000))).toBe(0)
  })

  it('plays faster and slower', () => {
    const tape = createTape()
    expect(tape(new Float32Array(1_100), 1.1).length).toBe(1_000)
    expect(tape(new Float32Array(900), 0.9).length).toBe(1_000)
  })
})

describe('noise', () => {
  const voice = Float32Array.from({ length: 9_000 }, (_, n) => Math.sin(n / 5) * Math.sin(n / 900))

  it.each(NOISE_KINDS.map((kind) => [kind]))(
    '%s is finite, peaks at a half, repeats with its seed',
    (kind: NoiseKind) => {
      const make = (seed: number) => makeNoise(kind, 2, seeded(seed, kind), [voice])
      const noise = make(1)
      expect(noise.length).toBe(2 * RATE_HZ)
      expect(noise.every(Number.isFinite)).toBe(true)
      expect(Math.max(...noise.map(Math.abs))).toBeCloseTo(0.5, 5)
      expect(make(1)).toEqual(noise)
      expect(make(2)).not.toEqual(noise)
    },
  )

  it('carries words at the ratio asked for, where it says they are', () => {
    const bed = Object.fromEntries(NOISE_KINDS.map((kind) => [kind, [makeNoise(kind, 3, seeded(1, kind), [voice])]]))
    const pool = bed as Record<NoiseKind, Float32Array[]>
    const words = [{ label: 'go' as const, samples: voice }]
    const without = createStream(30, [], pool, ['fan'], 6, seeded(5, 's'))
    const stream = createStream(30, words, pool, ['fan'], 6, seeded(5, 's'))
    expect(without.said).toEqual([])
    expect(stream.said.length).toBeGreaterThan(6)
    const { fromSeconds, toSeconds } = stream.said[0]!
    const from = Math.round(fromSeconds * RATE_HZ)
    const added = stream.samples
      .slice(from, Math.round(toSeconds * RATE_HZ))
      .map((v, i) => v - without.samples[from + i]!)
    expect(added.length).toBe(voice.length)
    expect(10 * Math.log10(meanPower(added) / meanPower(without.samples))).toBeCloseTo(6, 0)
  })
})
