import { describe, expect, it } from 'vitest'
import { sha256Hex } from '../../../contract/bytes.ts'
import { seededRandom } from '../../../contract/random.ts'
import {
  type Ambience,
  drawTake,
  LEAD_SAMPLES,
  renderTake,
  SCENES,
  scenePools,
  type Take,
  type TakeKind,
  takeKey,
  takePool,
} from '../../../firmware-sim/scene.ts'
import { BANK_RATE_HZ } from '../../../firmware-sim/sound-bank.ts'
import { TAKE_MS } from '../../../firmware-sim/take.ts'
import { syntheticBank } from '../../fixtures/sound-bank.ts'

const bank = syntheticBank()
const keywords = [...bank.keywords.keys()]
const KINDS: readonly TakeKind[] = ['steady', 'burst', 'speech', 'keyword']

const hashOf = (samples: Float32Array) => sha256Hex(new Uint8Array(samples.buffer))
const rms = (samples: Float32Array) => Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length)
const db = (samples: Float32Array) => 20 * Math.log10(rms(samples))

describe.each(SCENES)('takes of the $name', (scene) => {
  const pools = [takePool(scene, false, keywords), takePool(scene, true, keywords)]

  it('are the same bytes every time, whatever was rendered before', () => {
    for (const { ambience, ...pool } of pools) {
      for (const kind of KINDS) {
        const take = pool[kind][1]!
        const first = hashOf(renderTake(take, ambience, bank, seededRandom(7)))
        const random = seededRandom(7)
        renderTake(pool.steady[0]!, ambience, bank, random)
        random.next()
        expect(hashOf(renderTake({ ...take }, ambience, bank, random)), takeKey(take)).toBe(first)
        expect(hashOf(renderTake(take, ambience, bank, seededRandom(8)))).not.toBe(first)
      }
    }
  })

  it('differ from each other, in name and in sound', () => {
    const takes = pools.flatMap((pool) => KINDS.flatMap((kind) => pool[kind]))
    expect(new Set(takes.map(takeKey)).size).toBe(takes.length)
    const few = pools.flatMap(({ ambience, ...pool }) =>
      KINDS.flatMap((kind) =>
        pool[kind].slice(0, 2).map((take) => hashOf(renderTake(take, ambience, bank, seededRandom(1)))),
      ),
    )
    expect(new Set(few).size).toBe(few.length)
  })

  it('are ten seconds and a lead-in within [-1, 1), and louder when the noise is raised', () => {
    const [calm, raised] = pools.map(({ ambience, steady }) => renderTake(steady[0]!, ambience, bank, seededRandom(1)))
    for (const sound of [calm!, raised!]) {
      expect(sound).toHaveLength(LEAD_SAMPLES + (TAKE_MS / 1000) * BANK_RATE_HZ)
      expect(sound.every((sample) => sample >= -1 && sample < 1)).toBe(true)
    }
    expect(db(raised!)).toBeGreaterThan(db(calm!) + 10)
  })

  it('say their keyword after the lead-in: there is nothing but the floor in it', () => {
    const { ambience, keyword, steady } = pools[0]!
    const floor = db(renderTake(steady[0]!, ambience, bank, seededRandom(1)))
    for (const take of keyword) {
      const sound = renderTake(take, ambience, bank, seededRandom(1))
      expect(db(sound.subarray(0, LEAD_SAMPLES))).toBeLessThan(floor + 6)
      expect(db(sound.subarray(LEAD_SAMPLES))).toBeGreaterThan(floor + 10)
    }
  })
})

describe('pools', () => {
  it('hold the same takes by identity for every device of the fleet, calm and raised apart', () => {
    const pools = scenePools(keywords)
    for (const scene of SCENES) {
      const [calm, raised] = pools(scene)
      expect(pools({ ...scene })[0]).toBe(calm)
      expect(calm.ambience).toBe(scene.calm)
      expect(raised.ambience).toBe(scene.raised)
      expect(calm.steady.every((take) => !take.raised)).toBe(true)
      expect(raised.steady.every((take) => take.raised)).toBe(true)
    }
  })

  it('can say every keyword of the bank', () => {
    const said = takePool(SCENES[0]!, false, keywords).keyword.map(({ expected }) => expected)
    expect(new Set(said)).toEqual(new Set(keywords))
  })
})

describe('drawing takes', () => {
  const draws = (pool: ReturnType<typeof takePool>, activity: number, count: number, seed: number) => {
    const random = seededRandom(seed)
    const kinds = { steady: 0, burst: 0, speech: 0, keyword: 0 }
    const drawn: Take[] = []
    for (let i = 0; i < count; i++) {
      const take = drawTake(pool, activity, random)
      kinds[take.kind]++
      drawn.push(take)
    }
    return { kinds, drawn }
  }
  const ambience: Ambience = { ...SCENES[0]!.calm, keywordsPerHour: 3, speechPerHour: 20, burstsPerHour: 12 }
  const pool = { ...takePool(SCENES[0]!, false, keywords), ambience }

  it.each([0.5, 1, 2])('has the arrivals of its ambience at activity %d', (activity) => {
    const count = 72_000
    const hours = (count * TAKE_MS) / 3_600_000
    const { kinds } = draws(pool, activity, count, 20_260_105)
    for (const [kind, perHour] of [
      ['keyword', 3],
      ['speech', 20],
      ['burst', 12],
    ] as const) {
      const expected = perHour * activity * hours
      // Binomial, so below Poisson's variance: five standard deviations never fail by chance, and the seed is fixed besides.
      expect(Math.abs(kinds[kind] - expected), `${kind}: ${kinds[kind]}, expected ${expected}`).toBeLessThan(
        5 * Math.sqrt(expected),
      )
    }
  })

  it('uses each take of a pool about equally often', () => {
    const { drawn } = draws(pool, 1, 72_000, 5)
    const often = new Map<Take, number>()
    for (const take of drawn) if (take.kind === 'burst') often.set(take, (often.get(take) ?? 0) + 1)
    const mean = drawn.filter(({ kind }) => kind === 'burst').length / pool.burst.length
    expect(often.size).toBe(pool.burst.length)
    for (const times of often.values()) expect(Math.abs(times - mean)).toBeLessThan(5 * Math.sqrt(mean))
  })

  it('is quiet where nothing happens, and draws the pool´s own takes', () => {
    expect(draws(pool, 0, 500, 1).kinds).toEqual({ steady: 500, burst: 0, speech: 0, keyword: 0 })
    const own = new Set(KINDS.flatMap((kind) => pool[kind]))
    expect(draws(pool, 1, 2_000, 2).drawn.every((take) => own.has(take))).toBe(true)
  })

  it('repeats itself with the same seed only', () => {
    const keys = (seed: number) => draws(pool, 1, 500, seed).drawn.map(takeKey).join()
    expect(keys(3)).toBe(keys(3))
    expect(keys(3)).not.toBe(keys(4))
  })
})
