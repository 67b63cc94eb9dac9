import { describe, expect, it } from 'vitest'
import { dutyCycle, figuresBetween, figureWords, perHour } from '../../../../cli/story/story-figures.ts'

const HOUR_MS = 3_600_000
const START_MS = Date.UTC(2026, 0, 5)
const hour = (n: number) => ({
  hourMs: START_MS + n * HOUR_MS,
  listeningMs: 2 * HOUR_MS,
  activeMs: HOUR_MS / 10,
  wakes: 4,
  rejected: n,
})
const points = Array.from({ length: 10 }, (_, n) => hour(n))

describe('figures of a stretch', () => {
  it('are those of the hours wholly inside it', () => {
    expect(figuresBetween(points, START_MS, 2, 5).rejected).toBe(2 + 3 + 4)
    expect(figuresBetween(points, START_MS, 1.5, 5.9).rejected).toBe(2 + 3 + 4)
    expect(figuresBetween(points, START_MS, 2.1, 2.9)).toEqual({ listeningMs: 0, activeMs: 0, wakes: 0, rejected: 0 })
  })

  it('are told an hour of listening, and as a share of it', () => {
    const figures = figuresBetween(points, START_MS, 2, 5)
    expect(perHour(figures, 'rejected')).toBeCloseTo(9 / 6)
    expect(perHour(figures, 'wakes')).toBeCloseTo(2)
    expect(dutyCycle(figures)).toBeCloseTo(0.05)
    expect(figureWords(figures)).toBe('1.50 false wakes and 2.00 wakes an hour, duty cycle 5.0 %')
  })

  it('are unknown, not zero, where nobody listened', () => {
    const nothing = figuresBetween([], START_MS, 0, 10)
    expect(perHour(nothing, 'rejected')).toBeNull()
    expect(dutyCycle(null)).toBeNull()
    // Awake for its radio while it slept between windows.
    expect(dutyCycle({ ...nothing, listeningMs: 10, activeMs: 25 })).toBe(1)
    expect(figureWords(nothing)).toBe('– false wakes and – wakes an hour, duty cycle –')
  })
})
