import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../../../../contract/random.ts'
import { encodeFrame, FRAME_HEADER_BYTES, readFrame } from '../../../../../device/core/flash/flash-frame.ts'
import { type PairRegion, readPair, writePair } from '../../../../../device/core/flash/record-pair.ts'
import { type FlashFault, FlashNor, type FlashOperation, failingAt } from '../../../../../firmware-sim/flash-nor.ts'

const REGION: PairRegion = { areas: [4_096, 12_288], areaBytes: 8_192 }
const chip = () => new FlashNor({ sizeBytes: 65_536 })
const content = (length: number, seed: number) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 7) & 0xff)

describe('frames', () => {
  const onFlash = (frame: Uint8Array) => {
    const flash = chip()
    flash.program(0, frame)
    return flash
  }

  it('bring number and payload back, padded with erased bytes', () => {
    const payload = Uint8Array.of(1, 2, 3)
    const frame = encodeFrame({ seq: 7, payload }, 16)
    expect(frame).toHaveLength(32)
    expect([...frame.subarray(FRAME_HEADER_BYTES + 3)].every((byte) => byte === 0xff)).toBe(true)
    expect(readFrame(onFlash(frame), 0, 4_096)).toEqual({ seq: 7, payload })
    expect(readFrame(onFlash(frame), 0, FRAME_HEADER_BYTES + 2)).toBeUndefined()
  })

  it('with any bit of head or payload flipped, or erased, or zeroed, are nothing', () => {
    const frame = encodeFrame({ seq: 1, payload: content(16, 1) }, 16)
    for (let bit = 0; bit < frame.length * 8; bit++) {
      const rotten = Uint8Array.from(frame)
      rotten[bit >> 3]! ^= 1 << (bit & 7)
      expect(readFrame(onFlash(rotten), 0, 4_096)).toBeUndefined()
    }
    expect(readFrame(chip(), 0, 4_096)).toBeUndefined()
    expect(readFrame(onFlash(new Uint8Array(64)), 0, 4_096)).toBeUndefined()
  })
})

describe('a pair of records', () => {
  it('gives back what was written last, and nothing at first', () => {
    const flash = chip()
    expect(readPair(flash, REGION)).toBeUndefined()
    for (const length of [0, 1, 4_080, 4_081, 8_176, 3]) {
      expect(writePair(flash, REGION, content(length, length)).ok).toBe(true)
      expect(readPair(flash, REGION)).toEqual(content(length, length))
    }
  })

  it('refuses what does not fit, and keeps what it has', () => {
    const flash = chip()
    writePair(flash, REGION, content(9, 1))
    const { operations } = flash
    expect(writePair(flash, REGION, content(8_177, 2))).toMatchObject({ ok: false, error: { code: 'too-large' } })
    expect(flash.operations).toBe(operations)
    expect(readPair(flash, REGION)).toEqual(content(9, 1))
  })

  it('the number wraps: the record after the last one is the newer one', () => {
    const flash = chip()
    for (const [area, seq] of [
      [0, 0xffff_fffe],
      [1, 0xffff_ffff],
    ] as const) {
      flash.program(REGION.areas[area], encodeFrame({ seq, payload: content(8, area) }, 16))
    }
    expect(readPair(flash, REGION)).toEqual(content(8, 1))
    for (let i = 0; i < 4; i++) {
      expect(writePair(flash, REGION, content(8, 50 + i)).ok).toBe(true)
      expect(readPair(flash, REGION)).toEqual(content(8, 50 + i))
    }
  })

  it('torn at any byte, half-erased, before or after: the former content or the new one, and the next write goes through', () => {
    const random = seededRandom(11)
    const [former, next, later] = [content(5_000, 1), content(4_900, 2), content(4_800, 3)]
    const flash = chip()
    writePair(flash, REGION, content(10, 9))
    writePair(flash, REGION, former)
    const start = flash.image()
    const operations: FlashOperation[] = []
    flash.onOperation = (operation) => {
      operations.push(operation)
      return undefined
    }
    writePair(flash, REGION, next)
    expect(operations.map(({ kind }) => kind)).toEqual(['erase', 'erase', 'program'])
    const seen = { former: 0, next: 0 }
    for (const [cut, operation] of operations.entries()) {
      const faults: FlashFault[] = [{ kind: 'before' }, { kind: 'after' }]
      if (operation.kind === 'erase') for (let i = 0; i < 20; i++) faults.push({ kind: 'half-erased', random })
      else {
        for (let bytes = 0; bytes < operation.data.length; bytes += bytes < 40 || bytes > 4_880 ? 1 : 97) {
          faults.push({ kind: 'torn', bytes, mask: Math.floor(random.next() * 256) })
        }
      }
      for (const fault of faults) {
        flash.restore(start)
        const first = flash.operations
        flash.onOperation = (_operation, index) => (index === first + cut ? fault : undefined)
        const { ok } = writePair(flash, REGION, next)
        flash.powerUp()
        flash.onOperation = undefined
        const found = readPair(flash, REGION)
        if (found?.length === next.length) seen.next++
        else seen.former++
        // A tear in the padding has cut nothing off.
        expect(found).toEqual(ok ? next : former)
        expect(writePair(flash, REGION, later).ok).toBe(true)
        expect(readPair(flash, REGION)).toEqual(later)
      }
    }
    expect(seen.former).toBeGreaterThan(100)
    expect(seen.next).toBeGreaterThan(0)
  })

  it('where writes fail: an error means the former content, success the new one', () => {
    for (const rate of [1, 0.5]) {
      const flash = chip()
      writePair(flash, REGION, content(100, 0))
      flash.onOperation = failingAt(rate, seededRandom(3), { from: 0, to: 65_536 })
      let held = 0
      let written = 0
      for (let i = 1; i <= 200; i++) {
        if (writePair(flash, REGION, content(100, i)).ok) {
          held = i
          written++
        }
        expect(readPair(flash, REGION)).toEqual(content(100, held))
      }
      expect(written > 0).toBe(rate < 1)
    }
  })

  it('one rotten copy leaves the other; two leave nothing, and a new content is written', () => {
    const flash = chip()
    writePair(flash, REGION, content(50, 1))
    writePair(flash, REGION, content(50, 2))
    flash.rot(REGION.areas[1], 60, 1, seededRandom(1))
    expect(readPair(flash, REGION)).toEqual(content(50, 1))
    flash.rot(REGION.areas[0], 60, 1, seededRandom(2))
    expect(readPair(flash, REGION)).toBeUndefined()
    expect(writePair(flash, REGION, content(50, 3)).ok).toBe(true)
    expect(readPair(flash, REGION)).toEqual(content(50, 3))
  })
})
