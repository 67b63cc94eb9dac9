import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { EMPTY_IMAGE, readRecord, writeRecord } from '../../../../../device/core/flash/boot-record.ts'
import { readIdentity, writeIdentity } from '../../../../../device/core/flash/identity.ts'
import { isProvisioned, programSlot, provision } from '../../../../../device/core/flash/provision.ts'
import { factoryTrust, readTrust, writeTrust } from '../../../../../device/core/flash/trust-record.ts'
import type { FlashOperation } from '../../../../../firmware-sim/flash-nor.ts'
import { recordSample } from '../../../../fixtures/agent.ts'
import { laidOut, paperBundle } from '../../../../fixtures/flash.ts'

const bytesOf = (length: number, value = 0x5a) => new Uint8Array(length).fill(value)
const watched = (chip: ReturnType<typeof laidOut>) => {
  const operations: [string, number][] = []
  chip.flash.onOperation = ({ kind, offset }: FlashOperation) => {
    operations.push([kind, offset - chip.layout.slots[0]])
    return undefined
  }
  return operations
}

describe('programming a slot', () => {
  it('erases each sector as it is entered, and none twice', () => {
    const chip = laidOut()
    const { flash, layout } = chip
    const operations = watched(chip)
    for (const [offset, length] of [
      [0, 4_096],
      [4_096, 1_024],
      [5_120, 4_096],
    ] as const) {
      expect(programSlot(flash, layout, 0, offset, bytesOf(length)).ok).toBe(true)
    }
    expect(operations).toEqual([
      ['erase', 0],
      ['program', 0],
      ['erase', 4_096],
      ['program', 4_096],
      ['erase', 8_192],
      ['program', 5_120],
    ])
    expect(flash.read(layout.slots[0], 9_216)).toEqual(bytesOf(9_216))
  })

  it('goes over what the slot held before', () => {
    const { flash, layout } = laidOut()
    programSlot(flash, layout, 1, 0, bytesOf(10_000, 0))
    programSlot(flash, layout, 1, 0, bytesOf(5_000))
    expect(flash.read(layout.slots[1], 5_000)).toEqual(bytesOf(5_000))
  })

  it('leaves the rest of the last word erased', () => {
    const { flash, layout } = laidOut()
    programSlot(flash, layout, 1, 0, bytesOf(17))
    expect(flash.read(layout.slots[1], 33)).toEqual(Uint8Array.of(...bytesOf(17), ...bytesOf(16, 0xff)))
  })

  it('ends with the slot: a byte past it is refused before anything is erased', () => {
    const { flash, layout } = laidOut()
    const { slotBytes } = layout
    expect(programSlot(flash, layout, 0, slotBytes - 16, bytesOf(17))).toMatchObject({
      ok: false,
      error: { code: 'flash-over-budget' },
    })
    expect(flash.operations).toBe(0)
    expect(programSlot(flash, layout, 0, slotBytes - 16, bytesOf(16)).ok).toBe(true)
    expect(programSlot(flash, layout, 1, 0, bytesOf(slotBytes)).ok).toBe(true)
    expect(flash.read(layout.slots[1] - 16, 16)).toEqual(bytesOf(16))
  })

  it.each([0, 1])("says the flash's error after %d operations", (operations) => {
    const { flash, layout } = laidOut({ failAfter: { operations, code: 'flash-full' } })
    expect(programSlot(flash, layout, 0, 0, bytesOf(16))).toMatchObject({ ok: false, error: { code: 'flash-full' } })
  })
})

describe('a device from the factory', () => {
  const bundle = bytesOf(10_000)

  it('has the bundle in slot 0, confirmed, and nothing behind it', () => {
    const { flash, layout } = laidOut()
    expect(provision(flash, bundle, 7)).toEqual({ ok: true, value: layout })
    expect(flash.read(layout.slots[0], bundle.length)).toEqual(bundle)
    expect(readRecord(flash, layout)).toEqual({
      boots: 0,
      active: 0,
      phase: 'confirmed',
      images: [{ sha256: new Uint8Array(createHash('sha256').update(bundle).digest()), bytes: 10_000 }, EMPTY_IMAGE],
      assignmentSeq: 0,
      securityCounter: 7,
      failedSha256: new Uint8Array(32),
      failures: 0,
      untold: 'none',
    })
  })

  it('that was one before keeps count of its boots, its identity and its trust, and forgets the rest', () => {
    const { flash, layout } = laidOut()
    const former = { ...recordSample, boots: 41, active: 1, phase: 'running', assignmentSeq: 9, failures: 2 } as const
    writeRecord(flash, layout, former)
    const identity = { device: 'bird-1', site: 'lab', board: 'xG24', active: bytesOf(32, 1), pending: undefined }
    writeIdentity(flash, layout, identity)
    writeTrust(flash, layout, factoryTrust(bytesOf(9, 2)))
    expect(provision(flash, bundle, 0).ok).toBe(true)
    expect(readRecord(flash, layout)).toMatchObject({
      boots: 41,
      active: 0,
      phase: 'confirmed',
      assignmentSeq: 0,
      failures: 0,
    })
    expect(readIdentity(flash, layout)).toEqual(identity)
    expect(readTrust(flash, layout)?.files.root).toEqual(bytesOf(9, 2))
  })

  it('does not take back the security counter of a device that has gone further, and raises one that has not', () => {
    const { flash, layout } = laidOut()
    provision(flash, bundle, 7)
    provision(flash, bundle, 3)
    expect(readRecord(flash, layout)?.securityCounter).toBe(7)
    provision(flash, bundle, 9)
    expect(readRecord(flash, layout)?.securityCounter).toBe(9)
  })

  it('still tells what nobody has heard, if it says about which image', () => {
    const { flash, layout } = laidOut()
    const told = { untold: 'image-found', untoldSeq: 4, untoldModel: bytesOf(8, 3) } as const
    writeRecord(flash, layout, { ...recordSample, ...told })
    provision(flash, bundle, 0)
    expect(readRecord(flash, layout)).toMatchObject(told)
    writeRecord(flash, layout, { ...recordSample, untold: 'reverted' })
    provision(flash, bundle, 0)
    expect(readRecord(flash, layout)?.untold).toBe('none')
  })

  it('begins an incarnation of its own, which a flash that is provisioned again keeps', () => {
    const drawing = (...bytes: number[]) => ({ bytes: (length: number) => Uint8Array.from(bytes).slice(0, length) })
    const { flash, layout } = laidOut()
    provision(flash, bundle, 0, drawing(1, 2, 3, 4))
    expect(readRecord(flash, layout)?.incarnation).toBe(0x0102_0304)
    writeRecord(flash, layout, { ...readRecord(flash, layout)!, boots: 5 })
    provision(flash, bytesOf(5_000), 0, drawing(9, 9, 9, 9))
    expect(readRecord(flash, layout)).toMatchObject({ incarnation: 0x0102_0304, boots: 5 })
    // Zero is the word for none.
    const other = laidOut()
    provision(other.flash, bundle, 0, drawing(0, 0, 0, 0))
    expect(readRecord(other.flash, other.layout)?.incarnation).toBe(1)
  })

  it('a flash of before there were incarnations stays without one: its boots go on', () => {
    const { flash, layout } = laidOut()
    provision(flash, bundle, 0)
    provision(flash, bundle, 0, { bytes: (length) => new Uint8Array(length).fill(9) })
    expect(readRecord(flash, layout)?.incarnation).toBeUndefined()
  })

  it('is none on a chip without room for two slots, or for the bundle in one', () => {
    const small = laidOut({ sizeBytes: 208 * 1024 })
    expect(provision(small.flash, bytesOf(4_096), 0).ok).toBe(true)
    expect(provision(small.flash, bytesOf(4_097), 0)).toMatchObject({
      ok: false,
      error: { code: 'flash-over-budget' },
    })
    const tiny = Object.assign(laidOut().flash, { sizeBytes: 204 * 1024 })
    expect(provision(tiny, bundle, 0)).toMatchObject({ ok: false, error: { code: 'flash-over-budget' } })
    expect(tiny.operations).toBe(0)
  })

  it.each([0, 4])("says the flash's error after %d operations", (operations) => {
    // Three sectors of the bundle and its program are four: the record is the fifth.
    const { flash, layout } = laidOut({ failAfter: { operations, code: 'flash-write-failed' } })
    expect(provision(flash, bundle, 0)).toMatchObject({ ok: false, error: { code: 'flash-write-failed' } })
    expect(readRecord(flash, layout)).toBeUndefined()
  })
})

describe('a factory that was interrupted', () => {
  it('is told by what the flash holds: a record, or a whole bundle', () => {
    const bundle = paperBundle()
    const { flash, layout } = laidOut()
    expect(isProvisioned(flash)).toBe(false)
    expect(programSlot(flash, layout, 0, 0, bundle.subarray(0, 100)).ok).toBe(true)
    expect(isProvisioned(flash)).toBe(false)
    expect(provision(flash, bundle, 0).ok).toBe(true)
    expect(isProvisioned(flash)).toBe(true)
    // Without its record it is an image that is found.
    for (const area of layout.boot.areas) flash.erase(area)
    expect(isProvisioned(flash)).toBe(true)
  })
})
