import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { ClockMaster, SharedClock } from '../../../firmware-sim/clock-shared.ts'
import { VirtualClock } from '../../../firmware-sim/clock-virtual.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-clock-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const REAL_START_MS = 1_000_000
const START_MS = 50_000_000
const SCALE = 3_600
let count = 0

function shared() {
  const path = join(dir, `clock-${++count}`)
  const real = new VirtualClock(REAL_START_MS)
  const master = new ClockMaster(path, real, START_MS, SCALE)
  const pass = (ms: number) => real.advanceTo(real.wallMs() + ms)
  return { path, real, master, pass, reader: new SharedClock(path, real) }
}

describe('a shared clock', () => {
  it('runs at its scale from the start it was given', () => {
    const { master, pass, reader } = shared()
    expect(reader.wallMs()).toBe(START_MS)
    expect(reader.monotonicMs()).toBe(0)
    pass(1_000)
    expect(reader.wallMs()).toBe(START_MS + 3_600_000)
    expect(reader.monotonicMs()).toBe(3_600_000)
    expect(master.nowMs()).toBe(reader.wallMs())
  })

  it('says the same to a reader that comes later', () => {
    const { path, real, pass, reader } = shared()
    pass(777)
    expect(new SharedClock(path, real).wallMs()).toBe(reader.wallMs())
  })

  it('stands still for everybody while the simulation holds it back, and never goes backwards', () => {
    const { master, pass, reader } = shared()
    pass(1_000)
    const seen = reader.wallMs()
    master.holdAt(START_MS + 1_800_000)
    expect(reader.wallMs()).toBe(seen)
    pass(250)
    expect(reader.wallMs()).toBe(seen)
    pass(251)
    expect(reader.wallMs()).toBe(START_MS + 1_800_000 + 501 * SCALE)
  })

  it('takes a hold in the future for now: holding back never pushes ahead', () => {
    const { master, pass, reader } = shared()
    pass(10)
    master.holdAt(START_MS + 3_600_000)
    expect(reader.wallMs()).toBe(START_MS + 10 * SCALE)
  })

  it('goes on at another speed from where it is, and stands when it is granted what it has', () => {
    const { master, pass, reader } = shared()
    pass(1_000)
    master.pace(10)
    pass(1_000)
    expect(reader.wallMs()).toBe(START_MS + 3_600_000 + 10_000)
    master.grant(master.nowMs())
    pass(3_600_000)
    expect(reader.wallMs()).toBe(START_MS + 3_600_000 + 10_000)
  })

  it('has timers that hardly look while it stands, and run when it goes on', () => {
    const { path, real, master, pass } = shared()
    let looks = 0
    const counting = {
      wallMs: () => real.wallMs(),
      monotonicMs: () => real.monotonicMs(),
      after: (ms: number, callback: () => void) => {
        looks++
        return real.after(ms, callback)
      },
    }
    const reader = new SharedClock(path, counting)
    let ran = 0
    master.grant(master.nowMs())
    reader.after(60_000, () => ran++)
    pass(60_000)
    expect(ran).toBe(0)
    expect(looks).toBeLessThan(700)
    master.grant(0)
    pass(200)
    expect(ran).toBe(1)
  })

  it('runs as far as time was granted and no further, in every reader alike', () => {
    const { path, real, master, pass, reader } = shared()
    master.grant(START_MS + 600_000)
    pass(1_000)
    expect(reader.wallMs()).toBe(START_MS + 600_000)
    expect(new SharedClock(path, real).wallMs()).toBe(START_MS + 600_000)
    // The master's own time goes on: it is what the simulation has to keep up with.
    expect(master.nowMs()).toBe(START_MS + 3_600_000)
    master.grant(START_MS + 1_200_000)
    expect(reader.wallMs()).toBe(START_MS + 1_200_000)
  })

  it('never takes back what it granted, and flows freely again after a grant of 0', () => {
    const { master, pass, reader } = shared()
    master.grant(START_MS + 900_000)
    pass(1_000)
    expect(reader.wallMs()).toBe(START_MS + 900_000)
    master.grant(START_MS + 300_000)
    expect(reader.wallMs()).toBe(START_MS + 900_000)
    master.grant(0)
    expect(reader.wallMs()).toBe(START_MS + 3_600_000)
  })

  it('fires a timer only once its time is granted', () => {
    const { master, pass, reader } = shared()
    master.grant(START_MS + 60_000)
    let fired = false
    reader.after(120_000, () => {
      fired = true
    })
    pass(1_000)
    expect(fired).toBe(false)
    master.grant(START_MS + 240_000)
    pass(100)
    expect(fired).toBe(true)
  })

  it('keeps its last anchor when a read is torn, and follows again once it is whole', () => {
    const { path, master, pass, reader } = shared()
    pass(100)
    reader.wallMs()
    writeFileSync(path, new Uint8Array(32).fill(7), { flag: 'r+' })
    pass(100)
    expect(reader.wallMs()).toBe(START_MS + 200 * SCALE)
    writeFileSync(path, new Uint8Array(5), { flag: 'w' })
    pass(100)
    expect(reader.wallMs()).toBe(START_MS + 300 * SCALE)
    master.holdAt(START_MS + 250 * SCALE)
    pass(100)
    expect(reader.wallMs()).toBe(START_MS + 350 * SCALE)
  })

  it.each([
    ['an empty file', new Uint8Array(0)],
    ['half a clock', new Uint8Array(16)],
    ['zeros, whose sum is right', new Uint8Array(32)],
    ['text', new TextEncoder().encode('thirty-two bytes, but not a time')],
  ])('refuses %s', (_, bytes) => {
    const path = join(dir, `bad-${++count}`)
    writeFileSync(path, bytes)
    expect(() => new SharedClock(path, new VirtualClock(0))).toThrow(/no shared clock/)
  })
})

describe('a timer of a shared clock', () => {
  it('runs after its delay in virtual time', () => {
    const { pass, reader } = shared()
    const fired: number[] = []
    reader.after(3_600_000, () => fired.push(reader.wallMs()))
    pass(999)
    expect(fired).toEqual([])
    pass(2)
    expect(fired).toHaveLength(1)
  })

  it('never runs early, though time was held back after it was set', () => {
    const { master, pass, reader } = shared()
    const fired: number[] = []
    reader.after(3_600_000, () => fired.push(reader.wallMs() - START_MS))
    pass(500)
    master.holdAt(START_MS)
    pass(600)
    expect(fired).toEqual([])
    pass(401)
    expect(fired).toHaveLength(1)
    expect(fired[0]).toBeGreaterThanOrEqual(3_600_000)
  })

  it('can be cancelled before and after it was put off', () => {
    const { master, pass, reader } = shared()
    let fired = 0
    reader.after(3_600_000, () => fired++)()
    const cancel = reader.after(3_600_000, () => fired++)
    pass(900)
    master.holdAt(START_MS)
    pass(200)
    cancel()
    pass(10_000)
    expect(fired).toBe(0)
  })
})
