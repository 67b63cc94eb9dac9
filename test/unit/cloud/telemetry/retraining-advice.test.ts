import { describe, expect, it } from 'vitest'
import { type AdviceHour, daysOf, retrainingAdvice } from '../../../../cloud/telemetry/retraining-advice.ts'
import { seededRandom } from '../../../../contract/random.ts'

const HOUR = 3_600_000
const END = 480_000 * HOUR
/** Wakes an hour, of which a share is right that falls by so much of it a day. */
function fleet(days: number, perHour: number, lostPerDay: number, seed: number, judged = 1): AdviceHour[] {
  const random = seededRandom(seed)
  return Array.from({ length: 24 * days }, (_, i) => {
    const right = 0.9 * (1 - lostPerDay * (i / 24))
    const drawn = Array.from({ length: perHour }, () => (random.next() < judged ? random.next() < right : undefined))
    return {
      hourMs: END - (24 * days - i) * HOUR,
      wakes: perHour,
      confirmed: drawn.filter((each) => each === true).length,
      rejected: drawn.filter((each) => each === false).length,
    }
  })
}
const costs = { cost: 400, value: 0.05 }

describe('advice on training anew', () => {
  it('is √(2 C / (Q V A0 γ)) where the decay is seen, and its interval holds the truth', () => {
    const [lost, perHour] = [0.01, 60]
    const truth = Math.sqrt((2 * costs.cost) / (24 * perHour * costs.value * 0.9 * lost))
    let inside = 0
    for (let seed = 1; seed <= 40; seed++) {
      const advice = retrainingAdvice(fleet(21, perHour, lost, seed), END, costs)
      if (advice.advice !== 'retrain') throw new Error(`seed ${seed}: ${advice.advice}`)
      expect(advice.decay.wakesPerDay).toBeCloseTo(24 * perHour)
      expect(advice.decay.firstShare).toBeCloseTo(0.9, 1)
      expect(advice.everyDays / truth).toBeGreaterThan(0.8)
      expect(advice.everyDays / truth).toBeLessThan(1.25)
      const [from, to] = advice.betweenDays
      expect(from).toBeLessThanOrEqual(advice.everyDays)
      if (from <= truth && truth <= (to ?? Number.POSITIVE_INFINITY)) inside++
    }
    expect(inside).toBeGreaterThanOrEqual(35)
  })

  it('is to keep a model that does not fall, in nineteen of twenty', () => {
    const kept = Array.from({ length: 60 }, (_, seed) => retrainingAdvice(fleet(10, 20, 0, 100 + seed), END, costs))
    expect(kept.filter(({ advice }) => advice === 'keep').length).toBeGreaterThanOrEqual(54)
    for (const advice of kept) {
      if (advice.advice === 'keep') expect(advice.notBeforeDays ?? Number.POSITIVE_INFINITY).toBeGreaterThan(5)
    }
  })

  it('widens where days differ by more than chance', () => {
    const calm = retrainingAdvice(fleet(14, 60, 0.01, 7), END, costs)
    const wild = fleet(14, 60, 0.01, 7).map((hour, i) => {
      const move = Math.floor(i / 24) % 2 === 0 ? 10 : -10
      return { ...hour, confirmed: hour.confirmed - move, rejected: hour.rejected + move }
    })
    const advice = retrainingAdvice(wild, END, costs)
    if (calm.advice === 'none' || advice.advice === 'none') throw new Error('no advice')
    const width = ([from, to]: readonly [number, number]): number => to - from
    expect(width(advice.decay.interval)).toBeGreaterThan(3 * width(calm.decay.interval))
  })

  it('is none on labels that are stale, few, or of few of the wakes', () => {
    const of = (hours: readonly AdviceHour[], nowMs = END) => retrainingAdvice(hours, nowMs, costs)
    const hours = fleet(14, 60, 0.01, 3)
    expect(of(hours, END + 49 * HOUR)).toEqual({ advice: 'none', why: 'stale', found: 49 })
    expect(of(hours, END + 48 * HOUR).advice).toBe('retrain')
    // Wakes go on; nobody judges them any more.
    const dead = hours.map((hour, i) => (i < 12 * 24 - 1 ? hour : { ...hour, confirmed: 0, rejected: 0 }))
    expect(of(dead)).toMatchObject({ why: 'stale' })
    expect(of([])).toMatchObject({ advice: 'none', why: 'stale', found: Number.POSITIVE_INFINITY })
    expect(of(fleet(6, 60, 0.01, 3))).toEqual({ advice: 'none', why: 'few-days', found: 6 })
    expect(of(fleet(14, 2, 0.01, 3))).toMatchObject({ why: 'few-wakes' })
    expect(of(fleet(14, 60, 0.01, 3, 0.4))).toMatchObject({ why: 'unjudged' })
    expect(of(fleet(14, 60, 0.01, 3, 0.6)).advice).toBe('retrain')
  })

  it('takes whole days back from the end, and no day without a wake for one', () => {
    const hours = fleet(9, 4, 0, 1).slice(7)
    const quiet = hours.filter(({ hourMs }) => Math.floor((hourMs - (END - 8 * 24 * HOUR)) / (24 * HOUR)) !== 3)
    expect(daysOf(quiet, END).map(({ day, wakes }) => [day, wakes])).toEqual(
      [0, 1, 2, 4, 5, 6, 7].map((day) => [day, 96]),
    )
    const advice = retrainingAdvice(
      fleet(30, 60, 0.005, 1).filter((_, i) => i % 48 < 24),
      END,
      costs,
    )
    if (advice.advice === 'none') throw new Error(advice.why)
    expect(advice.decay.wakesPerDay).toBeLessThan(24 * 60 * 0.6)
  })

  it.each([1, 0])('of wakes that are all %i says something finite', (share) => {
    const all = fleet(14, 60, 0, 1).map((hour) => ({ ...hour, confirmed: 60 * share, rejected: 60 - 60 * share }))
    const advice = retrainingAdvice(all, END, costs)
    expect(advice.advice).toBe('keep')
    expect(JSON.stringify(advice)).not.toMatch(/NaN/)
  })
})
