import { describe, expect, it } from 'vitest'
import { bytesEqual } from '../../../../../contract/bytes.ts'
import { PATCH_STATE_BYTES } from '../../../../../contract/patch/patch-state.ts'
import {
  clearProgress,
  type Progress,
  readProgress,
  writeProgress,
} from '../../../../../device/core/flash/progress-record.ts'
import { writePair } from '../../../../../device/core/flash/record-pair.ts'
import { laidOut } from '../../../../fixtures/flash.ts'

const PROGRESS: Progress = {
  artifact: 'a1'.repeat(32),
  release: 'b2'.repeat(32),
  slot: 1,
  base: 'c3'.repeat(32),
  offset: 0,
}
const checkpointOf = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 7) & 0xff)

describe('a progress record', () => {
  it('comes back as it was written, with its checkpoint; before there is none', () => {
    const { flash, layout } = laidOut()
    expect(readProgress(flash, layout)).toBeUndefined()
    for (const [progress, checkpoint] of [
      [PROGRESS, new Uint8Array(0)],
      [{ ...PROGRESS, slot: 0, offset: 4 * 1024 * 1024 } satisfies Progress, checkpointOf(40)],
    ] as const) {
      expect(writeProgress(flash, layout, progress, checkpoint).ok).toBe(true)
      expect(readProgress(flash, layout)).toEqual({ progress, checkpoint })
    }
  })

  it('says how many bytes of flash it cost: whole sectors', () => {
    // Frame 16; map, schema and fields 116 with an offset of 0: a checkpoint of 3 964 bytes fills the first sector.
    const { flash, layout } = laidOut()
    expect(writeProgress(flash, layout, PROGRESS, checkpointOf(3_964))).toEqual({ ok: true, value: 4_096 })
    expect(writeProgress(flash, layout, PROGRESS, checkpointOf(3_965))).toEqual({ ok: true, value: 8_192 })
  })

  it.each([512, 4_096, 65_536])('has room for a decoder and a sector of %d bytes', (sectorBytes) => {
    const { flash, layout } = laidOut({ sizeBytes: 2 * 1024 * 1024, sectorBytes })
    const checkpoint = checkpointOf(PATCH_STATE_BYTES + sectorBytes)
    const progress = { ...PROGRESS, offset: 4 * 1024 * 1024 }
    expect(writeProgress(flash, layout, progress, checkpoint).ok).toBe(true)
    const found = readProgress(flash, layout)
    expect(found?.progress).toEqual(progress)
    expect(found && bytesEqual(found.checkpoint, checkpoint)).toBe(true)
  })

  it('that is too large for its area is refused, and the one before holds', () => {
    const { flash, layout } = laidOut()
    writeProgress(flash, layout, PROGRESS, checkpointOf(1))
    const { operations } = flash
    // Six sectors less frame and fields are 24 576 - 16 - 116.
    expect(writeProgress(flash, layout, PROGRESS, checkpointOf(24_445))).toMatchObject({
      ok: false,
      error: { code: 'too-large' },
    })
    expect(flash.operations).toBe(operations)
    expect(readProgress(flash, layout)?.checkpoint).toEqual(checkpointOf(1))
    expect(writeProgress(flash, layout, PROGRESS, checkpointOf(24_444)).ok).toBe(true)
  })

  it("says the flash's error, and the one before holds", () => {
    const { flash, layout } = laidOut({ failAfter: { operations: 2, code: 'flash-full' } })
    expect(writeProgress(flash, layout, PROGRESS, checkpointOf(1)).ok).toBe(true)
    expect(writeProgress(flash, layout, { ...PROGRESS, offset: 9 }, checkpointOf(2))).toMatchObject({
      ok: false,
      error: { code: 'flash-full' },
    })
    expect(readProgress(flash, layout)?.progress).toEqual(PROGRESS)
  })

  it('of no firmware that is known is none', () => {
    const { flash, layout } = laidOut()
    writePair(flash, layout.progress, Uint8Array.of(0xa1, 0, 2))
    expect(readProgress(flash, layout)).toBeUndefined()
  })
})

describe('striking a progress record out', () => {
  it('leaves none, and writes once', () => {
    const { flash, layout } = laidOut()
    clearProgress(flash, layout)
    expect(flash.operations).toBe(0)
    writeProgress(flash, layout, PROGRESS, checkpointOf(3))
    writeProgress(flash, layout, { ...PROGRESS, offset: 1 }, checkpointOf(3))
    clearProgress(flash, layout)
    expect(readProgress(flash, layout)).toBeUndefined()
    const { operations } = flash
    clearProgress(flash, layout)
    expect(flash.operations).toBe(operations)
  })
})
