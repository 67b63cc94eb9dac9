import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../../contract/limits.ts'
import type { Origin } from '../../../../gateway/origin.ts'
import { BATCH_MESSAGES_MAX, INGEST_KINDS, MessageBatch, readBatch } from '../../../../gateway/store/message-batch.ts'

const id = fc.stringMatching(/^[A-Za-z0-9._-]{1,64}$/)
const message = fc.record({
  kind: fc.constantFrom(...INGEST_KINDS),
  origin: fc.record({ site: id, device: id, board: id }).map((origin) => origin as Origin),
  receivedMs: fc.oneof(fc.maxSafeNat(), fc.double({ min: 0, noNaN: true })),
  payload: fc.uint8Array({ maxLength: LIMITS.wakeBytes }).map((bytes) => Buffer.from(bytes)),
})

describe('a batch of messages', () => {
  it('gives back every message, also after its memory went to another thread', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 40 }), (messages) => {
        const batch = new MessageBatch()
        for (const each of messages) expect(batch.add(each)).toBe(true)
        expect(batch.count).toBe(messages.length)
        const bytes = batch.take()
        const there = structuredClone(bytes, { transfer: [bytes.buffer] })
        expect(bytes.length).toBe(0)
        expect([...readBatch(there)]).toEqual(messages)
      }),
    )
  })

  it('is full at its bounds and keeps what it has', () => {
    const origin = { site: 'lab', device: 'd1', board: 'b' } as Origin
    const small = { kind: 'report', origin, receivedMs: 1, payload: Buffer.of(1) } as const
    const batch = new MessageBatch()
    for (let i = 0; i < BATCH_MESSAGES_MAX; i++) expect(batch.add(small)).toBe(true)
    expect(batch.add(small)).toBe(false)
    expect([...readBatch(batch.take())]).toHaveLength(BATCH_MESSAGES_MAX)

    const large = { ...small, kind: 'wake', payload: Buffer.alloc(LIMITS.wakeBytes, 7) } as const
    const few = new MessageBatch()
    let added = 0
    while (few.add(large)) added++
    expect(added).toBeGreaterThan(50)
    expect(added).toBeLessThan(BATCH_MESSAGES_MAX)
    expect([...readBatch(few.take())]).toEqual(new Array(added).fill(large))
  })
})
