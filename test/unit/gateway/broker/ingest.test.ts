import { describe, expect, it } from 'vitest'
import { Ingest } from '../../../../gateway/broker/ingest.ts'
import { MessageCounters } from '../../../../gateway/message-counters.ts'
import type { Origin } from '../../../../gateway/origin.ts'
import { BATCH_MESSAGES_MAX, readBatch } from '../../../../gateway/store/message-batch.ts'
import type { BatchAnswer } from '../../../../gateway/store/store-service.ts'

const origin = { site: 'lab', device: 'd1', board: 'b' } as Origin
const nothing: BatchAnswer = { failed: [], wakesAdded: false, missed: [] }
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** An ingest before a medium that answers when the test says so, on a clock that the test moves. */
function slow() {
  const batches: { messages: number; answer(answer: BatchAnswer): void }[] = []
  const timers = new Set<() => void>()
  const clock = {
    wallMs: () => 7,
    monotonicMs: () => 7,
    after: (_delayMs: number, callback: () => void) => {
      timers.add(callback)
      return () => void timers.delete(callback)
    },
  }
  const enter = (batch: Uint8Array): Promise<BatchAnswer> =>
    new Promise((resolve) => void batches.push({ messages: [...readBatch(batch)].length, answer: resolve }))
  const counters = new MessageCounters()
  const believed = { receiptMs: () => clock.wallMs() }
  const ingest = new Ingest({ clock, believed, counters, store: { enter }, wakesAdded() {}, assignmentMissed() {} }, 2)
  const outcomes: string[] = []
  const send = (count: number): void => {
    for (let i = 0; i < count; i++)
      ingest.accept('report', origin, Buffer.of(i), (error) => outcomes.push(error?.message ?? 'done'))
  }
  const expire = (): void => {
    for (const callback of [...timers]) {
      timers.delete(callback)
      callback()
    }
  }
  return { ingest, counters, batches, outcomes, send, expire }
}

describe('ingest', () => {
  it('answers for messages when the store has them, each with its own outcome', async () => {
    const { batches, outcomes, send, expire } = slow()
    send(3)
    expect(batches).toEqual([])
    expire()
    await turn()
    expect([batches.map(({ messages }) => messages), outcomes]).toEqual([[3], []])
    batches[0]!.answer({ ...nothing, failed: [{ index: 1, error: 'disk full' }] })
    await turn()
    expect(outcomes).toEqual(['done', 'disk full', 'done'])
  })

  it('lets the batch grow while the store is behind, and sends it when one is answered or it is full', async () => {
    const { batches, send, expire } = slow()
    for (let i = 0; i < 20; i++) {
      send(1)
      expire()
    }
    expect(batches.map(({ messages }) => messages)).toEqual([1, 1, 1, 1])
    batches[0]!.answer(nothing)
    await turn()
    expect(batches.map(({ messages }) => messages)).toEqual([1, 1, 1, 1, 16])
    send(BATCH_MESSAGES_MAX + 5)
    expire()
    expect(batches.at(-1)!.messages).toBe(BATCH_MESSAGES_MAX)
    expect(batches).toHaveLength(6)
    for (const { answer } of batches) answer(nothing)
    await turn()
    expect(batches.at(-1)!.messages).toBe(5)
  })

  it('answers for all it has before it is closed, and refuses what comes later', async () => {
    const { ingest, counters, batches, outcomes, send } = slow()
    send(2)
    const closing = ingest.close()
    send(1)
    expect(outcomes).toEqual(['the gateway is closing'])
    batches[0]!.answer(nothing)
    await closing
    expect(outcomes).toEqual(['the gateway is closing', 'done', 'done'])
    expect(counters.get('report', 'failed')).toBe(1)
  })
})
