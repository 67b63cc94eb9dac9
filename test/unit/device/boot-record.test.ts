import { describe, expect, it } from 'vitest'
import {
  type BootPhase,
  type BootRecord,
  decodeFrame,
  EMPTY_IMAGE,
  encodeFrame,
  newestRecord,
  penalty,
  planBoot,
  writeRecord,
} from '../../../device/core/boot-record.ts'
import { layoutOf, type SlotIndex } from '../../../device/core/flash-layout.ts'
import { programSlot, provision } from '../../../device/core/provision.ts'
import { FlashNor } from '../../../firmware-sim/flash-nor.ts'
import { recordSample } from '../../fixtures/agent.ts'

const open = () => {
  const flash = new FlashNor({ sizeBytes: 262_144 })
  const layout = layoutOf(flash)
  if (!layout.ok) throw new Error('no layout')
  return { flash, layout: layout.value }
}
const image = (byte: number) => ({ sha256: new Uint8Array(32).fill(byte), bytes: 100 })
const full: BootRecord = {
  seq: 0xffff_fffe,
  boots: 0xffff_ffff,
  active: 1,
  phase: 'running',
  images: [
    { sha256: new Uint8Array(32).fill(1), bytes: 4 * 1024 * 1024 },
    { sha256: new Uint8Array(32).fill(2), bytes: 4 * 1024 * 1024 },
  ],
  assignmentSeq: Number.MAX_SAFE_INTEGER,
  securityCounter: Number.MAX_SAFE_INTEGER,
  failedSha256: new Uint8Array(32).fill(3),
  failures: 255,
}

describe('frames', () => {
  it('bring the payload back, padded with erased bytes', () => {
    const payload = Uint8Array.of(1, 2, 3)
    const frame = encodeFrame(payload, 16)
    expect(frame).toHaveLength(16)
    expect([...frame.subarray(13)]).toEqual([0xff, 0xff, 0xff])
    expect(decodeFrame(frame)).toEqual(payload)
  })

  it('with any other byte in head or payload, or cut short, are nothing', () => {
    const frame = encodeFrame(
      Uint8Array.from({ length: 22 }, (_, i) => i),
      16,
    )
    for (let at = 0; at < 32; at++) {
      const torn = Uint8Array.from(frame)
      torn[at]! ^= 0x10
      expect(decodeFrame(torn)).toBeUndefined()
    }
    for (let length = 0; length < frame.length; length++) expect(decodeFrame(frame.subarray(0, length))).toBeUndefined()
    expect(decodeFrame(new Uint8Array(64).fill(0xff))).toBeUndefined()
    expect(decodeFrame(new Uint8Array(64))).toBeUndefined()
  })
})

describe('boot records', () => {
  it('come back as they were written, at their largest too', () => {
    for (const record of [recordSample, full]) {
      const { flash, layout } = open()
      writeRecord(flash, layout, record)
      expect(newestRecord(flash, layout)?.record).toEqual(record)
    }
  })

  it('are written in turn, the newest counts', () => {
    const { flash, layout } = open()
    expect(newestRecord(flash, layout)).toBeUndefined()
    for (let seq = 1; seq < 6; seq++) {
      writeRecord(flash, layout, { ...recordSample, seq })
      expect(newestRecord(flash, layout)).toMatchObject({ record: { seq }, nextSector: seq % 2 })
    }
  })

  it.each([0, 1] as const)('survive the loss of copy %d', (lost) => {
    const { flash, layout } = open()
    writeRecord(flash, layout, { ...recordSample, seq: 1 })
    writeRecord(flash, layout, { ...recordSample, seq: 2 })
    flash.erase(layout.bootRecords[lost])
    expect(newestRecord(flash, layout)).toMatchObject({ record: { seq: lost === 0 ? 2 : 1 }, nextSector: lost })
    flash.program(layout.bootRecords[lost], new Uint8Array(64).fill(0x5a))
    expect(newestRecord(flash, layout)).toMatchObject({ record: { seq: lost === 0 ? 2 : 1 }, nextSector: lost })
  })

  it('a torn write leaves the record before it', () => {
    const { flash, layout } = open()
    writeRecord(flash, layout, { ...recordSample, seq: 1 })
    writeRecord(flash, layout, { ...recordSample, seq: 2 })
    const whole = flash.read(layout.bootRecords[1], 192)
    flash.erase(layout.bootRecords[1])
    flash.program(layout.bootRecords[1], whole.subarray(0, 96))
    expect(newestRecord(flash, layout)?.record.seq).toBe(1)
  })

  it("say the flash's error", () => {
    const { layout } = open()
    for (const operations of [0, 1]) {
      const worn = new FlashNor({ sizeBytes: 262_144, failAfter: { operations, code: 'flash-write-failed' } })
      expect(writeRecord(worn, layout, recordSample)).toMatchObject({
        ok: false,
        error: { code: 'flash-write-failed' },
      })
    }
  })
})

describe('planBoot', () => {
  const record = (phase: BootPhase): BootRecord => ({ ...recordSample, phase, images: [image(1), image(2)] })
  type Row = [
    BootPhase,
    intact: readonly SlotIndex[],
    slot: SlotIndex | 'none',
    outcome: string,
    phase: string,
    active: SlotIndex,
  ]
  it.each<Row>([
    ['confirmed', [0, 1], 0, 'confirmed', 'confirmed', 0],
    ['confirmed', [0], 0, 'confirmed', 'confirmed', 0],
    ['confirmed', [1], 1, 'fell-back', 'confirmed', 1],
    ['pending', [0, 1], 1, 'trial', 'running', 0],
    ['pending', [0], 0, 'reverted', 'confirmed', 0],
    ['pending', [1], 1, 'trial', 'running', 0],
    ['running', [0, 1], 0, 'reverted', 'confirmed', 0],
    ['running', [0], 0, 'reverted', 'confirmed', 0],
    ['running', [1], 1, 'fell-back', 'confirmed', 1],
    ['confirmed', [], 'none', '', '', 0],
    ['pending', [], 'none', '', '', 0],
    ['running', [], 'none', '', '', 0],
  ])('%s with intact slots %j boots slot %s: %s', (phase, intact, slot, outcome, next, active) => {
    const plan = planBoot(record(phase), (candidate) => intact.includes(candidate))
    if (slot === 'none') {
      expect(plan).toMatchObject({ ok: false, error: { code: 'no-fallback-slot' } })
      return
    }
    expect(plan).toMatchObject({
      ok: true,
      value: { slot, outcome, record: { phase: next, active, seq: 3, boots: 2 } },
    })
  })

  it('a trial that was not confirmed counts against its image', () => {
    const plan = planBoot(record('running'), () => true)
    expect(plan.ok && plan.value.record).toMatchObject({ failures: 1, failedSha256: image(2).sha256 })
    const again = planBoot({ ...record('running'), failures: 1, failedSha256: image(2).sha256 }, () => true)
    expect(again.ok && again.value.record.failures).toBe(2)
  })

  it('does not fall back to an empty slot', () => {
    const plan = planBoot({ ...record('confirmed'), images: [image(1), EMPTY_IMAGE] }, (slot) => slot === 1)
    expect(plan).toMatchObject({ ok: false, error: { code: 'no-fallback-slot' } })
  })

  it('penalties count in a row, for one image at a time, to 255', () => {
    const sha = image(9).sha256
    expect(penalty(recordSample, sha)).toEqual({ failedSha256: sha, failures: 1 })
    expect(penalty({ ...recordSample, failedSha256: sha, failures: 255 }, sha).failures).toBe(255)
    expect(penalty({ ...recordSample, failedSha256: image(8).sha256, failures: 7 }, sha).failures).toBe(1)
  })
})

describe('layout and provisioning', () => {
  it('gives records, spool and slots sectors of their own', () => {
    for (const sectorBytes of [512, 4_096, 65_536]) {
      const layout = layoutOf({ sizeBytes: 1_048_576, sectorBytes })
      if (!layout.ok) throw new Error(layout.error.detail)
      const { bootRecords, spool, slots, slotBytes } = layout.value
      const regions = [
        [bootRecords[0], sectorBytes],
        [bootRecords[1], sectorBytes],
        [spool.offset, spool.bytes],
        [slots[0], slotBytes],
        [slots[1], slotBytes],
      ] as const
      for (const [i, [offset, bytes]] of regions.entries()) {
        expect(offset % sectorBytes).toBe(0)
        expect(offset + bytes).toBeLessThanOrEqual(regions[i + 1]?.[0] ?? 1_048_576)
      }
    }
  })

  it('a chip without room for two slots is flash-over-budget', () => {
    expect(layoutOf({ sizeBytes: 20 * 4_096 - 1, sectorBytes: 4_096 })).toMatchObject({
      ok: false,
      error: { code: 'flash-over-budget' },
    })
    expect(layoutOf({ sizeBytes: 20 * 4_096, sectorBytes: 4_096 }).ok).toBe(true)
  })

  it('an image that is larger than a slot is refused before anything is erased', () => {
    const { flash, layout } = open()
    const operations = flash.operations
    expect(provision(flash, new Uint8Array(layout.slotBytes + 1), 0)).toMatchObject({
      ok: false,
      error: { code: 'flash-over-budget' },
    })
    expect(flash.operations).toBe(operations)
    expect(provision(flash, new Uint8Array(layout.slotBytes), 0).ok).toBe(true)
  })

  it('a used flash is provisioned anew: the new record outranks the old ones and boot ids go on', () => {
    const { flash, layout } = open()
    provision(flash, Uint8Array.of(1), 0)
    const first = newestRecord(flash, layout)!.record
    writeRecord(flash, layout, { ...first, seq: 40, boots: 12, active: 1, assignmentSeq: 9 })
    provision(flash, Uint8Array.of(2), 3)
    expect(newestRecord(flash, layout)!.record).toMatchObject({
      seq: 41,
      boots: 12,
      active: 0,
      assignmentSeq: 0,
      securityCounter: 3,
    })
  })

  it('programs a slot in pieces, erasing each sector once, and pads the last word', () => {
    const { flash, layout } = open()
    const data = Uint8Array.from({ length: 10_001 }, (_, i) => i & 0xff)
    for (let at = 0; at < data.length; at += 4_096) {
      expect(programSlot(flash, layout, 1, at, data.subarray(at, at + 4_096)).ok).toBe(true)
    }
    expect(flash.operations).toBe(6)
    expect(flash.read(layout.slots[1], data.length)).toEqual(data)
    expect(programSlot(flash, layout, 1, 0, data).ok).toBe(true)
  })
})
