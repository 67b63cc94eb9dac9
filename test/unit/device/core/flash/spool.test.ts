import { describe, expect, it } from 'vitest'
import { clearSpool, readSpool, saveSpool } from '../../../../../device/core/flash/spool.ts'
import { EMPTY_OUTBOX, enqueue, type Outbox, type OutboxKind } from '../../../../../device/core/outbox.ts'
import { laidOut } from '../../../../fixtures/flash.ts'

const outboxOf = (...messages: readonly (readonly [OutboxKind, number])[]): Outbox =>
  messages.reduce((outbox, [kind, bytes]) => enqueue(outbox, kind, new Uint8Array(bytes)), EMPTY_OUTBOX)
const kindsOf = ({ messages }: Outbox) => messages.map(({ kind }) => kind)

/** 50 messages of 1 280 bytes take 2 + 50 × (1 280 + 5) = 64 252 bytes of CBOR; of the 65 536 - 16 that a frame leaves, the 51st has
 *  1 268, that is 1 263 and its 5. */
const FILLING = new Array<readonly [OutboxKind, number]>(50).fill(['wake', 1_280])

describe('spool', () => {
  it('holds what just fills it', () => {
    const { flash, layout } = laidOut()
    expect(saveSpool(flash, layout, outboxOf(...FILLING, ['wake', 1_263]))).toEqual({ ok: true, value: 0 })
    expect(readSpool(flash, layout).messages.map(({ payload }) => payload.length)).toEqual([
      ...new Array<number>(50).fill(1_280),
      1_263,
    ])
  })

  it('a byte past it leaves out what is missed least: a wake, and no event for it', () => {
    const { flash, layout } = laidOut()
    const outbox = outboxOf(['wake', 1_264], ['event', 40], ...FILLING.slice(1), ['wake', 1_264])
    expect(saveSpool(flash, layout, outbox)).toEqual({ ok: true, value: 1 })
    expect(kindsOf(readSpool(flash, layout))).toEqual(['event', ...new Array<OutboxKind>(50).fill('wake')])
    // Without an event it is the oldest wake.
    const wakes = outboxOf(['wake', 1_264], ...FILLING)
    expect(saveSpool(flash, layout, wakes)).toEqual({ ok: true, value: 1 })
    expect(readSpool(flash, layout).messages.map(({ payload }) => payload.length)).toEqual(
      new Array<number>(50).fill(1_280),
    )
  })

  it('fills the same bytes on a chip of large sectors, and leaves its neighbours alone', () => {
    const { flash, layout } = laidOut({ sizeBytes: 4 * 1024 * 1024, sectorBytes: 65_536 })
    flash.program(layout.trust.areas[1], new Uint8Array(16))
    flash.program(layout.progress.areas[0], new Uint8Array(16))
    saveSpool(flash, layout, outboxOf(...FILLING))
    expect(readSpool(flash, layout).messages).toHaveLength(50)
    for (const offset of [layout.trust.areas[1], layout.progress.areas[0]]) {
      expect(flash.read(offset, 16)).toEqual(new Uint8Array(16))
    }
  })

  it('stays until it is cleared, which costs one erase', () => {
    const { flash, layout } = laidOut()
    saveSpool(flash, layout, outboxOf(['report', 30], ...FILLING))
    expect(readSpool(flash, layout).messages).toHaveLength(51)
    expect(kindsOf(readSpool(flash, layout))[0]).toBe('report')
    const { operations } = flash
    expect(clearSpool(flash, layout).ok).toBe(true)
    expect(flash.operations).toBe(operations + 1)
    expect(readSpool(flash, layout)).toEqual(EMPTY_OUTBOX)
  })

  it("says the flash's error when it is saved and when it is cleared", () => {
    const { flash, layout } = laidOut({ failAfter: { operations: 1, code: 'flash-write-failed' } })
    const failed = { ok: false, error: { code: 'flash-write-failed' } }
    expect(saveSpool(flash, layout, outboxOf(['wake', 1]))).toMatchObject(failed)
    expect(clearSpool(flash, layout)).toMatchObject(failed)
  })
})
