import { describe, expect, it } from 'vitest'
import { encodeFrame } from '../../../../../device/core/flash/flash-frame.ts'
import { clearSpool, readSpool, saveSpool } from '../../../../../device/core/flash/spool.ts'
import { EMPTY_OUTBOX, encodeSpool, enqueue, type Outbox, type OutboxKind } from '../../../../../device/core/outbox.ts'
import { laidOut } from '../../../../fixtures/flash.ts'

const outboxOf = (...messages: readonly (readonly [OutboxKind, number])[]): Outbox =>
  messages.reduce((outbox, [kind, bytes]) => enqueue(outbox, kind, new Uint8Array(bytes)), EMPTY_OUTBOX)
const kindsOf = ({ messages }: Outbox) => messages.map(({ kind }) => kind)

/** 25 messages of 1 280 bytes take 2 + 25 × (1 280 + 5) = 32 127 bytes of CBOR; of the 32 768 - 16 that a frame leaves, the 26th has
 *  625, that is 620 and its 5. */
const FILLING = new Array<readonly [OutboxKind, number]>(25).fill(['wake', 1_280])

describe('spool', () => {
  it('holds what just fills it', () => {
    const { flash, layout } = laidOut()
    expect(saveSpool(flash, layout, outboxOf(...FILLING, ['wake', 620]))).toEqual({ ok: true, value: 0 })
    expect(readSpool(flash, layout).messages.map(({ payload }) => payload.length)).toEqual([
      ...new Array<number>(25).fill(1_280),
      620,
    ])
  })

  it('a byte past it leaves out what is missed least: a wake, and no event for it', () => {
    const { flash, layout } = laidOut()
    const outbox = outboxOf(['wake', 621], ['event', 40], ...FILLING.slice(1), ['wake', 1_264])
    expect(saveSpool(flash, layout, outbox)).toEqual({ ok: true, value: 1 })
    expect(kindsOf(readSpool(flash, layout))).toEqual(['event', ...new Array<OutboxKind>(25).fill('wake')])
    // Without an event it is the oldest wake.
    const wakes = outboxOf(['wake', 621], ...FILLING)
    expect(saveSpool(flash, layout, wakes)).toEqual({ ok: true, value: 1 })
    expect(readSpool(flash, layout).messages.map(({ payload }) => payload.length)).toEqual(
      new Array<number>(25).fill(1_280),
    )
  })

  it('has room for all reports and events of a full queue as they are, and for wakes beside them', () => {
    const { flash, layout } = laidOut()
    const of = (kind: OutboxKind, count: number, bytes: number) =>
      new Array<readonly [OutboxKind, number]>(count).fill([kind, bytes])
    const full = outboxOf(...of('report', 48, 256), ...of('event', 32, 200), ...of('wake', 16, 550))
    expect(saveSpool(flash, layout, full)).toEqual({ ok: true, value: 0 })
  })

  it('fills the same bytes on a chip of large sectors, and leaves its neighbours alone', () => {
    const { flash, layout } = laidOut({ sizeBytes: 4 * 1024 * 1024, sectorBytes: 65_536 })
    flash.program(layout.trust.areas[1], new Uint8Array(16))
    flash.program(layout.progress.areas[0], new Uint8Array(16))
    for (let i = 0; i < 3; i++) saveSpool(flash, layout, outboxOf(...FILLING))
    expect(readSpool(flash, layout).messages).toHaveLength(25)
    for (const offset of [layout.trust.areas[1], layout.progress.areas[0]]) {
      expect(flash.read(offset, 16)).toEqual(new Uint8Array(16))
    }
  })

  it('stays until it is cleared, which costs an erase and a word, and then nothing of it comes back', () => {
    const { flash, layout } = laidOut()
    saveSpool(flash, layout, outboxOf(['event', 30]))
    saveSpool(flash, layout, outboxOf(['report', 30], ...FILLING))
    expect(readSpool(flash, layout).messages).toHaveLength(26)
    expect(kindsOf(readSpool(flash, layout))[0]).toBe('report')
    const { operations } = flash
    expect(clearSpool(flash, layout).ok).toBe(true)
    expect(flash.operations).toBe(operations + 2)
    expect(readSpool(flash, layout)).toEqual(EMPTY_OUTBOX)
    // Nothing to strike out: nothing is written.
    expect(clearSpool(flash, layout).ok).toBe(true)
    expect(flash.operations).toBe(operations + 2)
  })

  it('reads what firmware of before there were two areas has left, over both of them too', () => {
    for (const messages of [3, 50]) {
      const { flash, layout } = laidOut()
      const former = outboxOf(...new Array<readonly [OutboxKind, number]>(messages).fill(['wake', 1_280]))
      const payload = encodeSpool(former.messages)
      flash.program(layout.spool.areas[0], encodeFrame({ seq: 0, payload }, flash.programBytes))
      expect(readSpool(flash, layout).messages).toHaveLength(messages)
      expect(clearSpool(flash, layout).ok).toBe(true)
      expect(readSpool(flash, layout)).toEqual(EMPTY_OUTBOX)
    }
  })

  it('holds the messages of before while new ones are written, at every operation', () => {
    for (let cut = 0; cut < 12; cut++) {
      const { flash, layout } = laidOut()
      saveSpool(flash, layout, outboxOf(['wake', 100]))
      const from = flash.operations
      flash.onOperation = (_, index) => (index === from + cut ? { kind: 'before' } : undefined)
      saveSpool(flash, layout, outboxOf(['wake', 100], ...FILLING.slice(0, 10)))
      saveSpool(flash, layout, outboxOf(['wake', 100], ...FILLING.slice(0, 20)))
      flash.powerUp()
      expect(readSpool(flash, layout).messages[0]?.payload.length, `cut ${cut}`).toBe(100)
    }
  })

  it("says the flash's error when it is saved and when it is cleared", () => {
    const failed = { ok: false, error: { code: 'flash-write-failed' } }
    const worn = laidOut({ failAfter: { operations: 1, code: 'flash-write-failed' } })
    expect(saveSpool(worn.flash, worn.layout, outboxOf(['wake', 1]))).toMatchObject(failed)
    const { flash, layout } = laidOut({ failAfter: { operations: 3, code: 'flash-write-failed' } })
    expect(saveSpool(flash, layout, outboxOf(['wake', 1]))).toMatchObject({ ok: true })
    expect(clearSpool(flash, layout)).toMatchObject(failed)
    expect(readSpool(flash, layout).messages).toHaveLength(1)
  })
})
