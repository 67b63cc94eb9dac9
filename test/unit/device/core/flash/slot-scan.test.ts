import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { EMPTY_IMAGE } from '../../../../../device/core/flash/boot-record.ts'
import type { SlotIndex } from '../../../../../device/core/flash/flash-layout.ts'
import { programSlot } from '../../../../../device/core/flash/provision.ts'
import { recordFromSlots, scanSlot } from '../../../../../device/core/flash/slot-scan.ts'
import { laidOut, paperBundle } from '../../../../fixtures/flash.ts'
import { manifestSample } from '../../../../fixtures/manifest.ts'

const WALL_MS = 1_700_000_000_999
const sha256Of = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest())
const imageOf = (bundle: Uint8Array) => ({ sha256: sha256Of(bundle), bytes: bundle.length })

const holding = (...slots: readonly (readonly [SlotIndex, Uint8Array])[]) => {
  const chip = laidOut()
  for (const [slot, bundle] of slots) programSlot(chip.flash, chip.layout, slot, 0, bundle)
  return chip
}

describe('what a slot holds', () => {
  const bundle = paperBundle({ name: 'kws-7', version: 7 })

  it('is a whole bundle, as long as it says it is', () => {
    const { flash, layout } = holding([1, bundle])
    expect(scanSlot(flash, layout, 1)).toMatchObject({ slot: 1, image: imageOf(bundle), manifest: { name: 'kws-7' } })
    expect(scanSlot(flash, layout, 0)).toBeUndefined()
  })

  it('is nothing when any part is not as it was packed', () => {
    const last = bundle.length - 1
    for (const at of [0, 4, 40, last]) {
      const rotten = Uint8Array.from(bundle)
      rotten[at]! ^= 1
      const { flash, layout } = holding([0, rotten])
      expect(scanSlot(flash, layout, 0), `byte ${at}`).toBeUndefined()
    }
  })

  it('is nothing when the manifest contradicts its bundle', () => {
    const { flash, layout } = holding([
      0,
      paperBundle({ policy: { ...manifestSample.policy, ignoreLabels: ['no such label'] } }),
    ])
    expect(scanSlot(flash, layout, 0)).toBeUndefined()
  })

  it('reads nothing past a slot, whatever length the header claims', () => {
    for (const claim of [0xffff_ffff, 4 * 1024 * 1024 + 1]) {
      const wild = Uint8Array.from(bundle)
      new DataView(wild.buffer).setUint32(12, claim, true)
      const { flash, layout } = holding([1, wild])
      const lengths: number[] = []
      const read = flash.read.bind(flash)
      flash.read = (offset, length) => {
        lengths.push(length)
        return read(offset, length)
      }
      expect(scanSlot(flash, layout, 1)).toBeUndefined()
      expect(lengths).toEqual([16])
    }
  })
})

describe('a record from what the slots hold', () => {
  const older = paperBundle({ version: 3, securityCounter: 2 })
  const newer = paperBundle({ version: 4, securityCounter: 5 })

  it.each<[string, readonly (readonly [SlotIndex, Uint8Array])[], SlotIndex, number]>([
    [
      'the older of two',
      [
        [0, older],
        [1, newer],
      ],
      0,
      2,
    ],
    [
      'the older of two, wherever it lies',
      [
        [0, newer],
        [1, older],
      ],
      1,
      2,
    ],
    ['the only one', [[1, newer]], 1, 5],
  ])('runs %s, confirmed, with its security counter', (_what, slots, active, securityCounter) => {
    const { flash, layout } = holding(...slots)
    const found = new Map(slots)
    const image = (slot: SlotIndex) => {
      const bundle = found.get(slot)
      return bundle === undefined ? EMPTY_IMAGE : imageOf(bundle)
    }
    expect(recordFromSlots(flash, layout, WALL_MS)).toEqual({
      boots: 1_700_000_000,
      incarnation: expect.any(Number) as number,
      active,
      phase: 'confirmed',
      images: [image(0), image(1)],
      assignmentSeq: 0,
      securityCounter,
      failedSha256: new Uint8Array(32),
      failures: 0,
      untold: 'image-found',
      untoldSeq: 0,
      untoldModel: image(active).sha256.slice(0, 8),
    })
  })

  it('has a boot id within its bound, however late it is', () => {
    const { flash, layout } = holding([0, older])
    expect(recordFromSlots(flash, layout, 0xffff_ffff * 1_000)?.boots).toBe(0xffff_ffff)
    expect(recordFromSlots(flash, layout, 0x1_0000_0000 * 1_000)?.boots).toBe(0xffff_ffff)
    expect(recordFromSlots(flash, layout, 0)?.boots).toBe(0)
  })

  it('is of another incarnation each time, since the one before went with the record', () => {
    const { flash, layout } = holding([0, older])
    const incarnations = [WALL_MS, WALL_MS + 1].map((wallMs) => recordFromSlots(flash, layout, wallMs)?.incarnation)
    expect(new Set([undefined, ...incarnations]).size).toBe(3)
  })

  it('there is none of empty slots', () => {
    const { flash, layout } = laidOut()
    expect(recordFromSlots(flash, layout, WALL_MS)).toBeUndefined()
  })
})
