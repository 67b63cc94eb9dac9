import { describe, expect, it } from 'vitest'
import { PATCH_STATE_BYTES } from '../../../../../contract/patch/patch-state.ts'
import {
  type FlashLayout,
  layoutOf,
  otherSlot,
  PROGRESS_FIELDS_BYTES,
  TRUST_BYTES,
} from '../../../../../device/core/flash/flash-layout.ts'
import { laidOut } from '../../../../fixtures/flash.ts'

const KIB = 1_024

/** Every region as [offset, bytes], in the order in which they lie. */
const regionsOf = ({ boot, identity, trust, spool, progress, slots, slotBytes }: FlashLayout) => [
  ...[boot, identity, trust, spool, progress].flatMap(({ areas, areaBytes }) =>
    areas.map((offset) => [offset, areaBytes] as const),
  ),
  ...slots.map((offset) => [offset, slotBytes] as const),
]

describe('layout', () => {
  it('of sectors of 4 KiB, sector by sector', () => {
    // Trust: 32 KiB and a frame's header are 9 sectors. Progress: 16 KiB of a decoder, a sector, 256 and 16 bytes are 6. What 1 MiB has
    // left after 50 sectors are 206, 103 a slot.
    expect(laidOut().layout).toEqual({
      boot: { areas: [0, 4 * KIB], areaBytes: 4 * KIB },
      identity: { areas: [8 * KIB, 12 * KIB], areaBytes: 4 * KIB },
      trust: { areas: [16 * KIB, 52 * KIB], areaBytes: 36 * KIB },
      spool: { areas: [88 * KIB, 120 * KIB], areaBytes: 32 * KIB },
      progress: { areas: [152 * KIB, 176 * KIB], areaBytes: 24 * KIB },
      slots: [200 * KIB, 612 * KIB],
      slotBytes: 412 * KIB,
    })
  })

  it.each([512, 4 * KIB, 8 * KIB, 64 * KIB, 128 * KIB])(
    'of sectors of %d bytes: every region on whole sectors, one after the other, each with room for its content',
    (sectorBytes) => {
      const sizeBytes = 4 * KIB * KIB
      const { layout } = laidOut({ sizeBytes, sectorBytes })
      let end = 0
      for (const [offset, bytes] of regionsOf(layout)) {
        expect(offset).toBe(end)
        expect(bytes % sectorBytes).toBe(0)
        expect(bytes).toBeGreaterThan(0)
        end = offset + bytes
      }
      expect(end).toBeLessThanOrEqual(sizeBytes)
      // Nothing that would hold a sector more in each slot is left over.
      expect(sizeBytes - end).toBeLessThan(2 * sectorBytes)
      expect(layout.identity.areaBytes - 16).toBeGreaterThanOrEqual(496)
      expect(layout.trust.areaBytes - 16).toBeGreaterThanOrEqual(TRUST_BYTES)
      expect(layout.spool.areaBytes).toBeGreaterThanOrEqual(32 * KIB)
      expect(layout.progress.areaBytes - 16).toBeGreaterThanOrEqual(
        PATCH_STATE_BYTES + sectorBytes + PROGRESS_FIELDS_BYTES,
      )
    },
  )

  it('of a chip with room for a sector a slot is the smallest; a sector less is refused', () => {
    const sectorBytes = 4 * KIB
    expect(layoutOf({ sizeBytes: 208 * KIB, sectorBytes })).toMatchObject({
      ok: true,
      value: { slots: [200 * KIB, 204 * KIB], slotBytes: sectorBytes },
    })
    for (const sizeBytes of [208 * KIB - 1, 204 * KIB, 100 * KIB, 0]) {
      expect(layoutOf({ sizeBytes, sectorBytes })).toMatchObject({ ok: false, error: { code: 'flash-over-budget' } })
    }
  })

  it('leaves what is no whole sector, or no whole pair of them, unused', () => {
    for (const sizeBytes of [212 * KIB, 216 * KIB - 1]) {
      const { slotBytes, slots } = laidOut({ sizeBytes }).layout
      expect(slotBytes).toBe(4 * KIB)
      expect(slots[1] + slotBytes).toBe(208 * KIB)
    }
  })
})

it('the other slot of two', () => {
  expect([otherSlot(0), otherSlot(1)]).toEqual([1, 0])
})
