import { describe, expect, it } from 'vitest'
import { PATCH_STATE_BYTES } from '../../../../../contract/patch/patch-state.ts'
import {
  type BootPhase,
  type BootRecord,
  EMPTY_IMAGE,
  penalty,
  planBoot,
  readRecord,
  writeRecord,
} from '../../../../../device/core/flash/boot-record.ts'
import { FRAME_HEADER_BYTES } from '../../../../../device/core/flash/flash-frame.ts'
import { layoutOf, type SlotIndex, TRUST_BYTES } from '../../../../../device/core/flash/flash-layout.ts'
import { programSlot, provision } from '../../../../../device/core/flash/provision.ts'
import { readPair, writePair } from '../../../../../device/core/flash/record-pair.ts'
import { FlashNor } from '../../../../../firmware-sim/flash-nor.ts'
import { BOARDS } from '../../../../../model/boards.ts'
import { recordSample } from '../../../../fixtures/agent.ts'

const open = () => {
  const flash = new FlashNor({ sizeBytes: 262_144 })
  const layout = layoutOf(flash)
  if (!layout.ok) throw new Error('no layout')
  return { flash, layout: layout.value }
}
const image = (byte: number) => ({ sha256: new Uint8Array(32).fill(byte), bytes: 100 })
const full: BootRecord = {
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
  untold: 'image-found',
  untoldSeq: Number.MAX_SAFE_INTEGER,
  untoldModel: new Uint8Array(8).fill(4),
}

describe('boot records', () => {
  it('come back as they were written, at their largest too', () => {
    for (const record of [recordSample, full]) {
      const { flash, layout } = open()
      expect(writeRecord(flash, layout, record).ok).toBe(true)
      expect(readRecord(flash, layout)).toEqual(record)
    }
  })

  it('a record that this firmware does not know is none', () => {
    const { flash, layout } = open()
    writePair(flash, layout.boot, Uint8Array.of(1, 2, 3))
    expect(readRecord(flash, layout)).toBeUndefined()
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
      value: { slot, outcome, record: { phase: next, active, boots: 2 } },
    })
  })

  it('a trial that was not confirmed counts against its image', () => {
    const plan = planBoot(record('running'), () => true)
    expect(plan.ok && plan.value.record).toMatchObject({ failures: 1, failedSha256: image(2).sha256 })
    const again = planBoot({ ...record('running'), failures: 1, failedSha256: image(2).sha256 }, () => true)
    expect(again.ok && again.value.record.failures).toBe(2)
  })

  it('an image that rotted before its trial gets no mark, and is stored no more', () => {
    const plan = planBoot(record('pending'), (slot) => slot === 0)
    expect(plan.ok && plan.value.record).toMatchObject({ failures: 0, images: [image(1), EMPTY_IMAGE] })
  })

  it('what has happened to the running image is to be told', () => {
    const untold = (phase: BootPhase, usable: readonly SlotIndex[]) => {
      const plan = planBoot(record(phase), (slot) => usable.includes(slot))
      return plan.ok && plan.value.record.untold
    }
    expect([
      untold('running', [0, 1]),
      untold('confirmed', [1]),
      untold('confirmed', [0]),
      untold('pending', [1]),
    ]).toEqual(['reverted', 'fell-back', 'none', 'none'])
  })

  it('with the assignment under which it happened, and the image it happened to', () => {
    const plan = (phase: BootPhase, usable: readonly SlotIndex[]) => {
      const planned = planBoot({ ...record(phase), assignmentSeq: 7 }, (slot) => usable.includes(slot))
      return planned.ok && planned.value.record
    }
    const tale = { untoldSeq: 7, untoldModel: image(2).sha256.slice(0, 8) }
    expect(plan('running', [0, 1])).toMatchObject({ untold: 'reverted', ...tale })
    expect(plan('confirmed', [1])).toMatchObject({ untold: 'fell-back', ...tale })
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
      const { boot, identity, trust, spool, progress, slots, slotBytes } = layout.value
      const areasOf = ({ areas, areaBytes }: typeof boot) => areas.map((area) => [area, areaBytes] as const)
      const regions = [
        ...[boot, identity, trust, spool, progress].flatMap(areasOf),
        [slots[0], slotBytes],
        [slots[1], slotBytes],
      ] as const
      for (const [i, [offset, bytes]] of regions.entries()) {
        expect(offset % sectorBytes).toBe(0)
        expect(bytes % sectorBytes).toBe(0)
        expect(offset + bytes).toBeLessThanOrEqual(regions[i + 1]?.[0] ?? 1_048_576)
      }
      expect(progress.areaBytes - FRAME_HEADER_BYTES).toBeGreaterThanOrEqual(PATCH_STATE_BYTES + sectorBytes + 200)
      expect(trust.areaBytes - FRAME_HEADER_BYTES).toBeGreaterThanOrEqual(TRUST_BYTES)
    }
  })

  it.each(BOARDS.map(({ name, flashBytes }) => [name, flashBytes] as const))(
    '%s has room for two bundles of 300 kB',
    (_name, sizeBytes) => {
      const layout = layoutOf({ sizeBytes, sectorBytes: 4_096 })
      expect(layout.ok && layout.value.slotBytes).toBeGreaterThan(300_000)
    },
  )

  it('a chip without room for two slots is flash-over-budget', () => {
    expect(layoutOf({ sizeBytes: 52 * 4_096 - 1, sectorBytes: 4_096 })).toMatchObject({
      ok: false,
      error: { code: 'flash-over-budget' },
    })
    expect(layoutOf({ sizeBytes: 52 * 4_096, sectorBytes: 4_096 }).ok).toBe(true)
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

  it('a used flash is provisioned anew: boot ids go on, identity and trust stay', () => {
    const { flash, layout } = open()
    provision(flash, Uint8Array.of(1), 0)
    writePair(flash, layout.identity, Uint8Array.of(7))
    writePair(flash, layout.trust, Uint8Array.of(8))
    writeRecord(flash, layout, { ...readRecord(flash, layout)!, boots: 12, active: 1, assignmentSeq: 9 })
    provision(flash, Uint8Array.of(2), 3)
    expect(readRecord(flash, layout)).toMatchObject({ boots: 12, active: 0, assignmentSeq: 0, securityCounter: 3 })
    expect([readPair(flash, layout.identity), readPair(flash, layout.trust)]).toEqual([
      Uint8Array.of(7),
      Uint8Array.of(8),
    ])
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
