import { describe, expect, it } from 'vitest'
import { createVoiceGate, dbfs } from '../../../../../device/core/listen/voice-gate.ts'

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

  it('opens above the margin, not at it', () => {
    for (const [levelDb, open] of [
      [quiet + 6, false],
      [quiet + 6.001, true],
    ] as const) {
      const gate = createVoiceGate(6, 0)
      gate.update(quiet, 200)
      expect(gate.update(levelDb, 200)).toBe(open)
    }
  })

  it('a hop is judged by the floor before it: an onset does not raise its own bar', () => {
    const gate = createVoiceGate(6, 0)
    gate.update(quiet, 200)
    // The floor rises by 3 dB in a hop of a second: the next one needs 3 dB more.
    expect(gate.update(quiet + 7, 1_000)).toBe(true)
    expect(gate.floorDb()).toBe(quiet + 3)
    expect(gate.update(quiet + 9, 1_000)).toBe(false)
  })

  it('the first hop is the floor, however loud', () => {
    const gate = createVoiceGate(6, 1_000)
    expect(gate.update(-3, 200)).toBe(false)
    expect(gate.floorDb()).toBe(-3)
    expect(gate.openings()).toBe(0)
  })
})
