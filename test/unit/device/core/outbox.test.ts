import { encode as cbor } from 'cborg'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../../contract/limits.ts'
import { reportCodec } from '../../../../contract/messages.ts'
import { layoutOf } from '../../../../device/core/flash/flash-layout.ts'
import { clearSpool, readSpool, saveSpool } from '../../../../device/core/flash/spool.ts'
import {
  acknowledge,
  decodeSpool,
  EMPTY_OUTBOX,
  encodeSpool,
  enqueue,
  forgetInFlight,
  leastMissed,
  OUTBOX_MESSAGES_MAX,
  type Outbox,
  type OutboxKind,
  takeForSending,
} from '../../../../device/core/outbox.ts'
import { FlashNor } from '../../../../firmware-sim/flash-nor.ts'
import { reportSample } from '../../../fixtures/contract-samples.ts'

const fill = (kinds: readonly OutboxKind[], bytes = 1): Outbox =>
  kinds.reduce((outbox, kind, i) => enqueue(outbox, kind, new Uint8Array(bytes).fill(i)), EMPTY_OUTBOX)
const times = (count: number, kind: OutboxKind): OutboxKind[] => new Array<OutboxKind>(count).fill(kind)
const ids = (outbox: Outbox) => outbox.messages.map(({ id }) => id)

describe('outbox at its bound', () => {
  const rest = OUTBOX_MESSAGES_MAX

  it('drops the oldest wake, whatever comes: reports and events stay', () => {
    let outbox = fill(['report', 'event', 'wake', 'report', ...times(rest - 4, 'wake')])
    const gone: number[] = []
    for (const kind of ['wake', 'event', 'report', 'wake'] as const) {
      const before = ids(outbox)
      outbox = enqueue(outbox, kind, new Uint8Array(1))
      gone.push(before.find((id) => !ids(outbox).includes(id))!)
    }
    expect(gone).toEqual([3, 5, 6, 7])
    expect(outbox).toMatchObject({ dropped: 4 })
    expect(ids(outbox)).toEqual(expect.arrayContaining([1, 2, 4, rest + 2, rest + 3]))
  })

  it('a thousand wakes push out no report and no event', () => {
    const outbox = fill(['event', 'report', 'event', ...times(1_000, 'wake')])
    expect(ids(outbox).slice(0, 3)).toEqual([1, 2, 3])
    expect(outbox.messages.at(-1)!.id).toBe(1_003)
    const full = fill(times(rest, 'event'))
    expect(enqueue(full, 'wake', new Uint8Array(1)).messages).toEqual(full.messages)
  })

  it('two days of reports leave room for the wakes of them, and a storm of events too', () => {
    const hours = Array.from({ length: 200 }, () => times(1, 'report').concat(times(3, 'wake'))).flat()
    const count = (outbox: Outbox, wanted: OutboxKind) => outbox.messages.filter(({ kind }) => kind === wanted).length
    const away = fill(hours)
    expect([count(away, 'report'), count(away, 'wake')]).toEqual([48, 48])
    const storm = fill([...times(rest, 'wake'), ...times(500, 'event')])
    expect([count(storm, 'event'), count(storm, 'wake')]).toEqual([32, 64])
  })

  it('of events alone drops the oldest; ids go on rising', () => {
    const outbox = fill(times(rest + 10, 'event'))
    expect(ids(outbox)).toEqual(Array.from({ length: rest }, (_, i) => i + 11))
    expect(outbox).toMatchObject({ nextId: rest + 11, dropped: 10 })
  })
})

describe('the message that is missed least', () => {
  const reportOf = (boot: number, seq: number) => reportCodec.encode({ ...reportSample, boot, seq })
  const queued = (...messages: readonly (readonly [OutboxKind, Uint8Array])[]) =>
    messages.reduce((outbox, [kind, payload]) => enqueue(outbox, kind, payload), EMPTY_OUTBOX).messages
  const one = new Uint8Array(1)

  it('is the oldest report that a later one of its boot contains, and not the last one of an earlier boot', () => {
    const earlier = ['report', reportOf(6, 40)] as const
    const mine = (seq: number) => ['report', reportOf(7, seq)] as const
    expect(leastMissed(queued(earlier, mine(0), ['event', one], mine(1)))?.id).toBe(2)
    // Then an event goes; before both a wake.
    expect(leastMissed(queued(earlier, ['event', one], mine(1)))?.id).toBe(2)
    expect(leastMissed(queued(earlier, mine(0), ['event', one], ['wake', one], mine(1)))?.id).toBe(4)
    expect(leastMissed(queued(earlier, ['wake', one], mine(1)))?.id).toBe(2)
    // Only when there is nothing else.
    expect(leastMissed(queued(earlier, mine(1)))?.id).toBe(1)
    expect(leastMissed([])).toBeUndefined()
  })
})

describe('sending', () => {
  it('oldest first, at most eight in flight, none twice', () => {
    const first = takeForSending(fill(times(12, 'wake')))
    expect(first.sending.map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(takeForSending(first.outbox).sending).toEqual([])
    const second = takeForSending(acknowledge(first.outbox, 3))
    expect(second.sending.map(({ id }) => id)).toEqual([9])
    const after = takeForSending(forgetInFlight(second.outbox))
    expect(after.sending.map(({ id }) => id)).toEqual([1, 2, 4, 5, 6, 7, 8, 9])
  })

  it('an acknowledgement of nothing is nothing', () => {
    const outbox = fill(['wake'])
    expect(acknowledge(outbox, 99).messages).toEqual(outbox.messages)
  })
})

describe('spool', () => {
  const flashOf = () => {
    const flash = new FlashNor({ sizeBytes: 1_048_576 })
    const layout = layoutOf(flash)
    if (!layout.ok) throw new Error('no layout')
    return { flash, layout: layout.value }
  }

  it('brings kinds and payloads back in order, ready to be sent', () => {
    const { flash, layout } = flashOf()
    const sent = takeForSending(fill(['report', 'wake', 'event'], 20)).outbox
    expect(saveSpool(flash, layout, sent)).toEqual({ ok: true, value: 0 })
    const back = readSpool(flash, layout)
    expect(back.messages).toEqual(sent.messages.map((message) => ({ ...message, inFlight: false })))
    expect(back.nextId).toBe(4)
    clearSpool(flash, layout)
    expect(readSpool(flash, layout)).toEqual(EMPTY_OUTBOX)
  })

  it('is overwritten by the next', () => {
    const { flash, layout } = flashOf()
    saveSpool(flash, layout, fill(times(90, 'wake'), 550))
    saveSpool(flash, layout, fill(['event']))
    expect(readSpool(flash, layout).messages).toHaveLength(1)
  })

  it('holds half an outbox of wakes; more of them, or larger ones, push the oldest out', () => {
    const { flash, layout } = flashOf()
    expect(saveSpool(flash, layout, fill(times(OUTBOX_MESSAGES_MAX / 2, 'wake'), 600))).toEqual({ ok: true, value: 0 })
    const large = fill(times(OUTBOX_MESSAGES_MAX, 'wake'), LIMITS.wakeBytes)
    const saved = saveSpool(flash, layout, large)
    if (!saved.ok) throw new Error(saved.error.detail)
    expect(saved.value).toBeGreaterThan(0)
    const back = readSpool(flash, layout)
    expect(back.messages).toHaveLength(OUTBOX_MESSAGES_MAX - saved.value)
    expect(back.messages.at(-1)!.payload[0]).toBe(OUTBOX_MESSAGES_MAX - 1)
  })

  it('that is erased, torn or rotten is an empty outbox', () => {
    const { flash, layout } = flashOf()
    expect(readSpool(flash, layout)).toEqual(EMPTY_OUTBOX)
    saveSpool(flash, layout, fill(times(30, 'wake'), 550))
    flash.erase(layout.spool.areas[0] + flash.sectorBytes)
    expect(readSpool(flash, layout)).toEqual(EMPTY_OUTBOX)
  })

  it.each([
    ['no array', cbor('text')],
    ['unknown kinds', cbor([[7, new Uint8Array(1)]])],
    ['no bytes', cbor([[0, 'text']])],
    ['no rows', cbor([1])],
    ['a message beyond every limit', cbor([[0, new Uint8Array(LIMITS.wakeBytes + 1)]])],
    [
      'more messages than the outbox holds',
      encodeSpool(fill(times(96, 'event')).messages.concat(fill(['event']).messages)),
    ],
    ['no CBOR', Uint8Array.of(0xff, 0xff)],
    ['nothing', new Uint8Array(0)],
  ])('with %s in it is an empty outbox', (_what, data) => {
    expect(decodeSpool(data)).toEqual(EMPTY_OUTBOX)
  })

  it("says the flash's error", () => {
    const { layout } = flashOf()
    const worn = new FlashNor({ sizeBytes: 1_048_576, failAfter: { operations: 0, code: 'flash-full' } })
    expect(saveSpool(worn, layout, fill(['event']))).toMatchObject({ ok: false, error: { code: 'flash-full' } })
  })
})
