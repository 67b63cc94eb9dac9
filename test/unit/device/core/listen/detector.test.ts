import { describe, expect, it } from 'vitest'
import { createDetector } from '../../../../../device/core/listen/detector.ts'
import { noiseBin, posteriorBin } from '../../../../../device/core/listen/heard.ts'
import { createVoiceGate, dbfs } from '../../../../../device/core/listen/voice-gate.ts'

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

describe('voice gate', () => {
  const quiet = -60

  it('opens above floor and margin, stays for the hangover, and counts each opening once', () => {
    const gate = createVoiceGate(6, 1_000)
    expect(gate.update(quiet, 200)).toBe(false)
    expect(gate.update(quiet + 20, 200)).toBe(true)
    expect(gate.update(quiet + 20, 200)).toBe(true)
    const after = Array.from({ length: 8 }, () => gate.update(quiet, 200))
    expect(after).toEqual([true, true, true, true, true, false, false, false])
    expect(gate.openings()).toBe(1)
    gate.update(quiet + 20, 200)
    expect(gate.openings()).toBe(2)
  })

  it('the hangover is measured in time: a sparse window seconds later finds the gate closed', () => {
    const gate = createVoiceGate(6, 1_000)
    gate.update(quiet, 10_000)
    expect(gate.update(quiet + 40, 10_000)).toBe(true)
    expect(gate.update(quiet, 10_000)).toBe(false)
  })

  it('the floor falls at once and rises by three dB a second: a steady louder place closes the gate again', () => {
    const gate = createVoiceGate(6, 0)
    gate.update(quiet, 200)
    gate.update(quiet - 10, 200)
    expect(gate.floorDb()).toBe(quiet - 10)
    const open = Array.from({ length: 40 }, () => gate.update(quiet + 2, 200))
    // 12 dB louder: open until the floor is within 6 dB, that is after 2 s of 3 dB/s, 10 hops, and the hop that reaches it.
    expect(open.indexOf(false)).toBeGreaterThanOrEqual(10)
    expect(open.indexOf(false)).toBeLessThanOrEqual(11)
    expect(open.slice(12).some(Boolean)).toBe(false)
    expect(gate.floorDb()).toBe(quiet + 2)
  })

  it('digital silence is a level, not minus infinity', () => {
    expect(dbfs(0)).toBe(-96)
    expect(dbfs(1e-9)).toBe(-96)
    expect(dbfs(1)).toBe(0)
    const gate = createVoiceGate(6, 0)
    expect(gate.floorDb()).toBe(-96)
    gate.update(dbfs(0), 200)
    expect(gate.update(dbfs(0.1), 200)).toBe(true)
  })
})

it('histogram bins have closed lower edges and an open last bin', () => {
  expect([0, 49, 50, 99, 899, 900, 1000].map(posteriorBin)).toEqual([0, 0, 1, 1, 6, 7, 7])
  expect([-96, -80, -79.5, -20, 0].map(noiseBin)).toEqual([0, 1, 1, 7, 7])
})
