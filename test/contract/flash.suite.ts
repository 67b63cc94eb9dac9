import { afterEach, describe, expect, it } from 'vitest'
import type { Flash } from '../../device/ports/flash.ts'

export interface FlashBench {
  readonly flash: Flash
  /** the same medium after a power cycle */
  reopen(): Flash
  dispose(): void
}

const MAKE_BYTES = 16 * 4_096

/** What every flash must do, whatever is below it. */
export function flashSuite(make: (sizeBytes: number) => FlashBench): void {
  const benches: FlashBench[] = []
  const open = (): FlashBench => {
    const bench = make(MAKE_BYTES)
    benches.push(bench)
    return bench
  }
  afterEach(() => {
    for (const bench of benches.splice(0)) bench.dispose()
  })
  const pattern = (length: number, seed: number) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed) & 0xff)

  it('has whole sectors of whole program units, and is erased at first', () => {
    const { flash } = open()
    expect(flash.sizeBytes).toBe(MAKE_BYTES)
    expect(flash.sizeBytes % flash.sectorBytes).toBe(0)
    expect(flash.sectorBytes % flash.programBytes).toBe(0)
    expect(flash.read(0, flash.sizeBytes).every((byte) => byte === 0xff)).toBe(true)
  })

  it('gives back what was programmed, across sectors too, and touches nothing else', () => {
    const { flash } = open()
    const data = pattern(flash.sectorBytes + 2 * flash.programBytes, 1)
    const at = flash.sectorBytes - flash.programBytes
    expect(flash.program(at, data)).toEqual({ ok: true, value: undefined })
    expect(flash.read(at, data.length)).toEqual(data)
    expect(flash.read(at + 3, 5)).toEqual(data.subarray(3, 8))
    expect(flash.read(0, at).every((byte) => byte === 0xff)).toBe(true)
    expect(flash.read(at + data.length, 64).every((byte) => byte === 0xff)).toBe(true)
  })

  it('erases one sector and no byte more; it can be programmed again', () => {
    const { flash } = open()
    const { sectorBytes } = flash
    for (let sector = 0; sector < 3; sector++) flash.program(sector * sectorBytes, pattern(sectorBytes, sector))
    expect(flash.erase(sectorBytes).ok).toBe(true)
    expect(flash.read(0, sectorBytes)).toEqual(pattern(sectorBytes, 0))
    expect(flash.read(sectorBytes, sectorBytes).every((byte) => byte === 0xff)).toBe(true)
    expect(flash.read(2 * sectorBytes, sectorBytes)).toEqual(pattern(sectorBytes, 2))
    expect(flash.program(sectorBytes, pattern(sectorBytes, 9)).ok).toBe(true)
    expect(flash.read(sectorBytes, sectorBytes)).toEqual(pattern(sectorBytes, 9))
  })

  it('programs to the last byte, and nothing at all when there is nothing', () => {
    const { flash } = open()
    const { sizeBytes, programBytes } = flash
    expect(flash.program(sizeBytes - programBytes, pattern(programBytes, 4)).ok).toBe(true)
    expect(flash.read(sizeBytes - programBytes, programBytes)).toEqual(pattern(programBytes, 4))
    expect(flash.program(0, new Uint8Array(0)).ok).toBe(true)
    expect(flash.read(0, 0)).toEqual(new Uint8Array(0))
  })

  it('what an operation has written is there after a power cycle', () => {
    const bench = open()
    bench.flash.program(0, pattern(64, 5))
    bench.flash.program(bench.flash.sectorBytes, pattern(64, 6))
    bench.flash.erase(bench.flash.sectorBytes)
    const again = bench.reopen()
    expect(again.sizeBytes).toBe(MAKE_BYTES)
    expect(again.read(0, 64)).toEqual(pattern(64, 5))
    expect(again.read(again.sectorBytes, 64).every((byte) => byte === 0xff)).toBe(true)
  })

  it('a read is a copy', () => {
    const { flash } = open()
    flash.program(0, pattern(16, 1))
    flash.read(0, 16).fill(0)
    expect(flash.read(0, 16)).toEqual(pattern(16, 1))
  })

  describe("throws on the firmware's bugs, and does nothing", () => {
    it.each<[string, (flash: Flash) => unknown]>([
      ['erase off a sector', (flash) => flash.erase(flash.programBytes)],
      ['erase beyond the end', (flash) => flash.erase(flash.sizeBytes)],
      ['erase before the beginning', (flash) => flash.erase(-flash.sectorBytes)],
      ['program off a unit', (flash) => flash.program(1, new Uint8Array(flash.programBytes))],
      ['program of a part of a unit', (flash) => flash.program(0, new Uint8Array(flash.programBytes - 1))],
      [
        'program beyond the end',
        (flash) => flash.program(flash.sizeBytes - flash.programBytes, new Uint8Array(2 * flash.programBytes)),
      ],
      ['read beyond the end', (flash) => flash.read(flash.sizeBytes - 1, 2)],
      ['read before the beginning', (flash) => flash.read(-1, 1)],
    ])('%s', (_what, misuse) => {
      const { flash } = open()
      expect(() => misuse(flash)).toThrow(RangeError)
      expect(flash.read(0, flash.sizeBytes).every((byte) => byte === 0xff)).toBe(true)
    })
  })
}
