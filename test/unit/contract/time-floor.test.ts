import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  advanceFloor,
  CLOCK_LEAD_MS_MAX,
  effectiveNow,
  NO_TIME_FLOOR,
  raiseFloor,
  type TimeFloor,
} from '../../../contract/time-floor.ts'

const DAY_MS = 86_400_000
const YEAR_MS = 365 * DAY_MS
const SEEN_MS = Date.UTC(2026, 0, 1)
const word = (issuedMs: number | undefined, witness = 'A', rootIssuedMs?: number) => ({
  issuedMs,
  witness,
  rootIssuedMs,
})
const floor: TimeFloor = raiseFloor(NO_TIME_FLOOR, word(SEEN_MS))
const EXPIRES_MS = SEEN_MS + 7 * DAY_MS
/** whether a document that expires a week after it was signed would be taken */
const taken = (at: TimeFloor, wallMs: number | undefined) => effectiveNow(at, wallMs) < EXPIRES_MS

describe('effective now', () => {
  it('is the wall clock when that is right', () => {
    expect(effectiveNow(floor, SEEN_MS + 3 * DAY_MS)).toBe(SEEN_MS + 3 * DAY_MS)
    expect(taken(floor, EXPIRES_MS)).toBe(false)
  })

  it('is the floor when the clock is ten years behind, was reset, is absent or is no number', () => {
    for (const wall of [SEEN_MS - 10 * YEAR_MS, 0, -1, undefined, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(effectiveNow(floor, wall)).toBe(SEEN_MS)
    }
  })

  it('is the floor when the clock is ten years ahead, so that the device can still update', () => {
    expect(taken(floor, SEEN_MS + 10 * YEAR_MS)).toBe(true)
    expect(effectiveNow(floor, SEEN_MS + CLOCK_LEAD_MS_MAX)).toBe(SEEN_MS + CLOCK_LEAD_MS_MAX)
    expect(effectiveNow(floor, SEEN_MS + CLOCK_LEAD_MS_MAX + 1)).toBe(SEEN_MS)
  })

  it('refuses by a clock that is ahead by less than a year, and only for as long as it is', () => {
    expect(taken(floor, SEEN_MS + YEAR_MS / 2)).toBe(false)
    const after = raiseFloor(floor, word(SEEN_MS))
    expect(taken(after, SEEN_MS + DAY_MS)).toBe(true)
  })

  it('is the wall clock as long as nobody has signed any time', () => {
    expect(effectiveNow(NO_TIME_FLOOR, SEEN_MS)).toBe(SEEN_MS)
    expect(effectiveNow(NO_TIME_FLOOR, undefined)).toBe(0)
  })
})

describe('the floor', () => {
  it('ends a freeze by running time alone, 16/15 of a week after the newest metadata', () => {
    const week = 7 * DAY_MS
    expect(taken(advanceFloor(floor, week), undefined)).toBe(true)
    expect(taken(advanceFloor(floor, Math.ceil((week * 16) / 15)), undefined)).toBe(false)
  })

  it('does not run away with an oscillator that is 6 % fast', () => {
    const tenYears = 10 * YEAR_MS
    expect(advanceFloor(floor, tenYears * 1.06).floorMs).toBeLessThanOrEqual(SEEN_MS + tenYears)
  })

  it('takes no running time before it has a signed time, and none that is negative', () => {
    expect(advanceFloor(NO_TIME_FLOOR, DAY_MS)).toEqual(NO_TIME_FLOOR)
    expect(advanceFloor(floor, -DAY_MS)).toEqual(floor)
    expect(advanceFloor(floor, Number.NaN)).toEqual(floor)
  })

  it('is not lowered by an older word, nor by metadata that tells no time', () => {
    expect(raiseFloor(floor, word(SEEN_MS - DAY_MS))).toEqual(floor)
    expect(raiseFloor(floor, word(undefined))).toEqual(floor)
  })

  it('falls back to the word of root when root takes the timestamp keys away that pushed it', () => {
    const poisoned = raiseFloor(floor, word(SEEN_MS + 100 * YEAR_MS))
    expect(taken(poisoned, SEEN_MS)).toBe(false)
    const healed = raiseFloor(poisoned, word(undefined, 'B', SEEN_MS + DAY_MS))
    expect(healed).toEqual({ floorMs: SEEN_MS + DAY_MS, witness: 'B' })
    expect(raiseFloor(poisoned, word(undefined, 'B'))).toEqual(NO_TIME_FLOOR)
  })

  it('never passes the true time, whatever the wall clock says between honest words', () => {
    const event = fc.oneof(
      fc.record({ kind: fc.constant('ran' as const), ms: fc.nat(90 * DAY_MS) }),
      fc.record({ kind: fc.constant('off' as const), ms: fc.nat(3 * YEAR_MS) }),
      fc.record({ kind: fc.constant('word' as const), ms: fc.nat(7 * DAY_MS) }),
      fc.record({ kind: fc.constant('wall' as const), ms: fc.integer({ min: -20 * YEAR_MS, max: 20 * YEAR_MS }) }),
    )
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        let trueMs = SEEN_MS
        let state = floor
        for (const { kind, ms } of events) {
          const before = state.floorMs
          if (kind === 'ran' || kind === 'off') trueMs += ms
          // A clock that runs 6 % fast.
          if (kind === 'ran') state = advanceFloor(state, ms * 1.06)
          if (kind === 'word') state = raiseFloor(state, word(trueMs - ms))
          if (kind === 'wall') {
            const now = effectiveNow(state, trueMs + ms)
            expect(now).toBeGreaterThanOrEqual(state.floorMs)
            expect(now).toBeLessThanOrEqual(state.floorMs + CLOCK_LEAD_MS_MAX)
          }
          expect(state.floorMs).toBeGreaterThanOrEqual(before)
          expect(state.floorMs).toBeLessThanOrEqual(trueMs)
        }
      }),
    )
  })
})
