import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { meanPower } from '../../../model/audio/mix.ts'
import { type Label, RATE_HZ } from '../../../zoo/labels.ts'
import {
  CONDITIONS,
  type Condition,
  type Material,
  noiseAlone,
  saidNegatives,
  saidWords,
  shareOf,
} from '../../../zoo/material.ts'
import { pseudoWord } from '../../../zoo/pseudo-words.ts'
import { seeded } from '../../../zoo/random.ts'
import { HELD_OUT_SENTENCES, TRAINING_SENTENCES } from '../../../zoo/sentences.ts'
import {
  type Counts,
  type LevelRow,
  levelsTable,
  nowhereWorse,
  type Streamed,
  streamedTable,
} from '../../../zoo/streamed-table.ts'
import { negativeScript } from '../../../zoo/synthesize.ts'

const zoo = new URL('../../../zoo/', import.meta.url).pathname

/** Words that a keyword is, or sounds like. */
const FORBIDDEN = /\b(down|go|left|no|know|off|on|right|write|rite|stop|up|yes)\b/i

describe('texts without a keyword', () => {
  it('say none, and training and evaluation share no sentence', () => {
    for (const text of [...TRAINING_SENTENCES, ...HELD_OUT_SENTENCES]) expect(text).not.toMatch(FORBIDDEN)
    expect(new Set([...TRAINING_SENTENCES, ...HELD_OUT_SENTENCES]).size).toBe(
      TRAINING_SENTENCES.length + HELD_OUT_SENTENCES.length,
    )
  })

  it('are spoken by voices of one side of the split, and shares have no voice in common', () => {
    const variants = (half: 0 | 1) =>
      new Set(
        negativeScript(HELD_OUT_SENTENCES, true, 5, 'test', seeded(1, 'x'), half).map(({ voice, split }) => {
          expect(split).toBe('test')
          return voice.split('+')[1]!
        }),
      )
    const [one, other] = [variants(0), variants(1)]
    expect(one.size).toBeGreaterThan(2)
    expect(other.size).toBeGreaterThan(2)
    expect([...one].filter((variant) => other.has(variant))).toEqual([])
  })

  it('pseudo-words hold no keyword, though many come near, and are a function of the seed', () => {
    const words = Array.from(
      { length: 3_000 },
      (
        (random) => () =>
          pseudoWord(random)
      )(seeded(1, 'words')),
    )
    const plain = words.map((word) => word.replace(/[[\]']/g, ''))
    for (const keyword of ['daUn', 'goU', 'lEft', 'noU', '0f', '0n', 'raIt', 'st0p', 'Vp', 'jEs'])
      expect(plain.filter((word) => word.includes(keyword))).toEqual([])
    for (const neighbour of ['st0', 'lEf', 'aUn', 'koU'])
      expect(plain.some((word) => word.includes(neighbour))).toBe(true)
    expect(pseudoWord(seeded(1, 'words'))).toBe(words[0])
  })
})

describe('the two shares', () => {
  const clips = (speaker: string, label: Label, count: number) =>
    Array.from({ length: count }, () => ({ speaker, label }))
  const all = [
    ...clips('a', 'yes', 45),
    ...clips('b', 'no', 39),
    ...clips('c', 'yes', 30),
    ...clips('d', 'unknown', 28),
    ...clips('e', 'yes', 1),
    ...clips('background-1', 'silence', 4),
    ...clips('background-2', 'silence', 3),
  ]

  it('are of about the same size, have nobody in common, and noises go by themselves', () => {
    const shares = shareOf(all)
    const of = (share: string) => all.filter(({ speaker }) => shares.get(speaker) === share)
    expect(of('validation').length + of('test').length).toBe(all.length)
    const words = (share: string) => of(share).filter(({ label }) => label !== 'silence').length
    expect(Math.abs(words('validation') - words('test'))).toBeLessThan(10)
    expect(new Set(of('test').map(({ speaker }) => speaker))).toEqual(new Set(['a', 'd', 'e', 'background-1']))
  })

  it('do not depend on the order of the files', () => {
    expect(new Map([...shareOf(all)].sort())).toEqual(new Map([...shareOf(all.toReversed())].sort()))
  })
})

/** A tone for each piece, so that what is heard can be told apart from the noise. */
const tone = (seconds: number, hz: number) =>
  Float32Array.from({ length: seconds * RATE_HZ }, (_, i) => 0.2 * Math.sin((2 * Math.PI * hz * i) / RATE_HZ))
const material: Material = {
  share: 'test',
  speakers: 1,
  words: [{ label: 'yes', samples: tone(1, 500) }],
  negatives: {
    'words of people': [tone(0.5, 400)],
    'words of espeak-ng': [tone(0.4, 300), tone(0.6, 600)],
    sentences: [tone(3, 200)],
  },
  noises: { synthesised: [tone(2, 3_000)], recorded: [tone(1, 2_000)] },
}
const condition = (name: string): Condition => CONDITIONS.find((one) => one.name === name)!

describe('the streams', () => {
  it('put a word a second after their beginning, at the ratio that the condition names', () => {
    const [quiet] = [...saidWords(material, condition('clean'), 1)]
    const [loud] = [...saidWords(material, condition('synthesised noise, 10 dB'), 1)]
    expect(quiet!.samples.length).toBe(3.5 * RATE_HZ)
    expect(meanPower(quiet!.samples.subarray(0, RATE_HZ))).toBe(0)
    const word = meanPower(quiet!.samples.subarray(RATE_HZ, 2 * RATE_HZ))
    const noise = meanPower(loud!.samples.subarray(RATE_HZ / 4, (3 * RATE_HZ) / 4))
    expect(10 * Math.log10(word / noise)).toBeCloseTo(10, 0)
  })

  it('say every piece in every round, in the same places for the same seed', () => {
    const said = (seed: number) => [
      ...saidNegatives(material, condition('recorded noise, 10 dB'), 'words of people', seed),
    ]
    const seconds = said(1).reduce((sum, part) => sum + part.length, 0) / RATE_HZ
    // Fifteen rounds of half a second and a gap of a fifth to one.
    expect(seconds).toBeGreaterThan(15 * 0.7)
    expect(seconds).toBeLessThan(15 * 1.5)
    // Bytes: a matcher that walks half a million numbers takes its time.
    const bytes = (seed: number) => Buffer.concat(said(seed).map((part) => Buffer.from(part.buffer)))
    expect(bytes(1).equals(bytes(1))).toBe(true)
    expect(bytes(2).equals(bytes(1))).toBe(false)
  })

  it('of noise alone hold a quarter of an hour of it', () => {
    let samples = 0
    for (const part of noiseAlone(material, 'recorded', 1)) samples += part.length
    expect(samples / RATE_HZ).toBe(900)
  })
})

const counts = (misses: number, wakes: number): Record<string, Counts> => ({
  clean: { words: 100, misses, confused: 0, falseWakes: { sentences: { wakes, hours: 0.5 } } },
})

describe('the table', () => {
  it('gives misses and rates with their intervals', () => {
    const streamed = {
      bundles: { a: { smoothingWindows: 1, thresholdPermille: 1, conditions: counts(15, 3) } },
    } as unknown as Streamed
    // Wilson, 15 of 100: 9.3 to 23.3 %; Garwood, 3: 0.62 to 8.77.
    expect(streamedTable(streamed)).toContain('| clean | `a` | 15.0 % (9–23) |  |  | 6.0 (1.2–18) |  |')
  })

  it('calls one nowhere worse only when neither misses nor wakes are more anywhere', () => {
    expect(nowhereWorse(counts(3, 4), counts(3, 4))).toBe(true)
    expect(nowhereWorse(counts(4, 4), counts(3, 4))).toBe(false)
    expect(nowhereWorse(counts(3, 5), counts(3, 4))).toBe(false)
  })
})

describe('what is committed', () => {
  const streamed = JSON.parse(readFileSync(join(zoo, 'streamed.json'), 'utf8')) as Streamed

  it('was measured as the bundles wake, and is the table that the page shows', () => {
    for (const [name, { smoothingWindows, thresholdPermille }] of Object.entries(streamed.bundles)) {
      const pack = join(zoo, 'bundles', `${name}.pack.json`)
      expect(existsSync(pack)).toBe(true)
      const { policy } = JSON.parse(readFileSync(pack, 'utf8')) as { policy: object }
      expect(policy).toMatchObject({ smoothingWindows, thresholdPermille })
    }
    expect(readFileSync(join(zoo, 'README.md'), 'utf8').replace(/ +\|/g, ' |')).toContain(
      streamedTable(streamed).replace(/ +\|/g, ' |'),
    )
  })

  it('is the table of levels too, which has every level of the bundle but the one that listens to a second in ten', () => {
    const levels = JSON.parse(readFileSync(join(zoo, 'streamed-levels.json'), 'utf8')) as LevelRow[]
    const { ladder } = JSON.parse(readFileSync(join(zoo, 'bundles', 'kws-2.pack.json'), 'utf8')) as {
      ladder: { level: string }[]
    }
    const measured = ladder.filter(({ level }) => level !== 'sparse')
    expect(levels.map(({ bundle, level }) => [bundle, level])).toEqual(measured.map(({ level }) => ['kws-2', level]))
    for (const { conditions } of levels)
      expect(conditions['clean']!.misses).toBeLessThan(conditions['clean']!.words / 2)
    expect(readFileSync(join(zoo, 'README.md'), 'utf8')).toContain(levelsTable(levels))
  })
})
