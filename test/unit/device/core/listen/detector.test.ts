import { describe, expect, it } from 'vitest'
import { createDetector } from '../../../../../device/core/listen/detector.ts'

const LABELS = ['silence', 'go', 'stop']
const policy = {
  smoothingWindows: 3,
  thresholdPermille: 600,
  refractoryMs: 1_000,
  wakeHoldMs: 0,
  ignoreLabels: ['silence'],
}
const go = (p: number) => Float32Array.of(1 - p, p, 0)

describe('detector', () => {
  it('averages over its windows: one confident window alone does not wake', () => {
    const detector = createDetector(policy, LABELS)
    expect(detector.update(go(1), 0)).toBe(-1)
    expect(detector.bestPosterior()).toBeCloseTo(1 / 3)
    expect(detector.update(go(1), 200)).toBe(1)
    expect(detector.bestPosterior()).toBeCloseTo(2 / 3)
    detector.update(go(0), 400)
    detector.update(go(0), 600)
    detector.update(go(0), 800)
    expect(detector.bestPosterior()).toBeCloseTo(0)
  })

  it('wakes at the threshold and not below', () => {
    const single = { ...policy, smoothingWindows: 1 }
    expect(createDetector(single, LABELS).update(go(0.599), 0)).toBe(-1)
    expect(createDetector({ ...single, thresholdPermille: 500 }, LABELS).update(go(0.5), 0)).toBe(1)
  })

  it('is quiet for the refractory time after a wake, even for another word', () => {
    const detector = createDetector({ ...policy, smoothingWindows: 1 }, LABELS)
    expect(detector.update(go(1), 0)).toBe(1)
    expect(detector.update(Float32Array.of(0, 0, 1), 999)).toBe(-1)
    expect(detector.update(Float32Array.of(0, 0, 1), 1_000)).toBe(2)
  })

  it('wakes again only after the mean has fallen below half the threshold', () => {
    const detector = createDetector({ ...policy, smoothingWindows: 1, refractoryMs: 0 }, LABELS)
    const heard = [0.9, 0.9, 0.5, 0.7, 0.31, 0.9, 0.29, 0.9, 0.9].map((p, i) => detector.update(go(p), i * 200))
    expect(heard).toEqual([1, -1, -1, -1, -1, -1, -1, 1, -1])
  })

  it('never wakes on an ignored label, and picks the best of the others', () => {
    const detector = createDetector({ ...policy, smoothingWindows: 1, thresholdPermille: 100 }, LABELS)
    expect(detector.update(Float32Array.of(0.7, 0.1, 0.2), 0)).toBe(2)
    expect(detector.bestPosterior()).toBeCloseTo(0.2)
    const all = createDetector({ ...policy, ignoreLabels: LABELS }, LABELS)
    expect(all.update(go(1), 0)).toBe(-1)
  })

  it('forgets on reset, but not that it has just woken', () => {
    const detector = createDetector({ ...policy, smoothingWindows: 2 }, LABELS)
    detector.update(go(1), 0)
    detector.reset()
    expect(detector.update(go(1), 200)).toBe(-1)
    expect(detector.update(go(1), 400)).toBe(1)
    detector.reset()
    detector.update(go(1), 600)
    expect(detector.update(go(1), 800)).toBe(-1)
  })

  it('hears again after a network that gave NaN', () => {
    const detector = createDetector(policy, LABELS)
    detector.update(Float32Array.of(NaN, NaN, NaN), 0)
    expect(detector.bestPosterior()).toBe(0)
    for (let i = 1; i < 3; i++) detector.update(go(1), i * 200)
    expect(detector.bestPosterior()).toBeCloseTo(2 / 3)
  })
})
