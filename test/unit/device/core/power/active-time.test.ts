import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type ActiveTime,
  addSpan,
  noActiveTime,
  settle,
  unsettledMs,
} from '../../../../../device/core/power/active-time.ts'

const HOP = 200
const TAKES = 29

/** Awake milliseconds counted one by one. */
class Diary {
  readonly #awake = new Set<number>()
  add(fromMs: number, toMs: number): void {
    for (let ms = Math.max(0, fromMs); ms < toMs; ms++) this.#awake.add(ms)
  }
  before(ms: number): number {
    let count = 0
    for (const at of this.#awake) if (at < ms) count++
    return count
  }
}

describe('the time a device is awake', () => {
  it('counts what overlaps once', () => {
    let active = noActiveTime(0)
    for (const span of [
      [100, 5_100],
      [1_100, 6_100],
      [6_100, 7_000],
      [9_000, 9_500],
    ] as const)
      active = addSpan(active, span)
    expect(active.spans).toEqual([
      [100, 7_000],
      [9_000, 9_500],
    ])
    expect([unsettledMs(active, 50), unsettledMs(active, 600), unsettledMs(active, 20_000)]).toEqual([0, 500, 7_400])
  })

  it('counts an inference within a hold not again, and its part that sticks out', () => {
    const held = addSpan(noActiveTime(0), [1_000, 2_010])
    const { settledMs, spans } = settle(held, 3_000, [{ fromMs: 1_000, count: 11, hopMs: HOP, takesMs: TAKES }])
    // 1 010 ms of hold, 19 ms of the inference that begins in it at 2 000, four more; the last begins at the end of the stretch.
    expect(settledMs).toBe(1_010 + 19 + 4 * TAKES)
    expect(spans).toEqual([[3_000, 3_000 + TAKES]])
  })

  it('is all of it on a board that needs more than a hop', () => {
    expect(settle(noActiveTime(0), 2_000, [{ fromMs: 0, count: 10, hopMs: HOP, takesMs: 10_000 }]).settledMs).toBe(
      2_000,
    )
  })

  it('does not come back before what is settled, and settles the oldest where nothing is listened to', () => {
    let active: ActiveTime = settle(noActiveTime(0), 1_000, [])
    active = addSpan(active, [500, 1_500])
    expect(active.spans).toEqual([[1_000, 1_500]])
    for (let i = 1; i <= 100; i++) active = addSpan(active, [i * 10_000, i * 10_000 + 100])
    expect(active.spans).toHaveLength(32)
    expect(active.settledMs + unsettledMs(active, 1e9)).toBe(500 + 100 * 100)
  })

  it('is the union, and never above the time that has passed, whatever overlaps', () => {
    const span = fc.record({ from: fc.integer({ min: -500, max: 1_500 }), length: fc.integer({ min: 0, max: 4_000 }) })
    const stretch = fc.record({
      hops: fc.integer({ min: 1, max: 8 }),
      first: fc.integer({ min: 0, max: 7 }),
      count: fc.integer({ min: 0, max: 8 }),
      spans: fc.array(span, { maxLength: 6 }),
    })
    fc.assert(
      fc.property(fc.array(stretch, { maxLength: 12 }), fc.integer({ min: 1, max: HOP }), (stretches, takes) => {
        const diary = new Diary()
        let active = noActiveTime(0)
        let now = 0
        for (const { hops, first, count, spans } of stretches) {
          for (const { from, length } of spans) {
            // What lies before the floor was settled with the stretch before.
            const start = Math.max(now, now + from)
            active = addSpan(active, [start, start + length])
            diary.add(start, start + length)
          }
          const runs = [
            { fromMs: now + first * HOP, count: Math.min(count, hops - first + 1), hopMs: HOP, takesMs: takes },
          ].filter((r) => r.count > 0)
          for (const run of runs)
            for (let i = 0; i < run.count; i++) diary.add(run.fromMs + i * HOP, run.fromMs + i * HOP + takes)
          now += hops * HOP
          active = settle(active, now, runs)
          expect(active.settledMs).toBe(diary.before(now))
          expect(active.settledMs).toBeLessThanOrEqual(now)
          expect(active.settledMs + unsettledMs(active, now + 777)).toBe(diary.before(now + 777))
        }
      }),
    )
  })
})
