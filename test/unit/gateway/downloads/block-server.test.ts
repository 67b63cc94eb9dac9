import { describe, expect, it } from 'vitest'
import { hexToBytes, sha256Hex } from '../../../../contract/bytes.ts'
import { contractError, type ErrorCode } from '../../../../contract/errors.ts'
import { blockCheck, blockCodec, getCodec } from '../../../../contract/messages.ts'
import { err, ok } from '../../../../contract/result.ts'
import { Allowances } from '../../../../gateway/downloads/allowance.ts'
import type { ArtifactCache } from '../../../../gateway/downloads/artifact-cache.ts'
import { BLOCK_LIMITS, BlockServer } from '../../../../gateway/downloads/block-server.ts'
import { MessageCounters } from '../../../../gateway/message-counters.ts'
import { originOf } from '../../../fixtures/gateway-store.ts'
import { WaitedClock } from '../../../fixtures/timers.ts'

const CONTENT = Buffer.from(Uint8Array.from({ length: 10_000 }, (_, i) => (i * 13) & 0xff))
const SHA256 = sha256Hex(CONTENT)

function world(refusal?: ErrorCode) {
  const counters = new MessageCounters()
  const sent: { topic: string; block: ReturnType<typeof decoded> }[] = []
  const link = { reads: true }
  const asked: string[] = []
  const cache = {
    get: async (sha256: string) => {
      asked.push(sha256)
      return refusal === undefined ? ok(CONTENT) : err(contractError(refusal, 'no'))
    },
  } as Partial<ArtifactCache> as ArtifactCache
  const server = new BlockServer({
    cache,
    counters,
    allowances: new Allowances(new WaitedClock(), BLOCK_LIMITS),
    send: (_origin, topic, payload) => {
      sent.push({ topic, block: decoded(payload) })
      return link.reads
    },
  })
  const get = (offset: number, length: number) =>
    server.handle(originOf('d1'), getCodec.encode({ sha256: hexToBytes(SHA256), offset, length }))
  return { asked, counters, get, link, sent, server }
}
function decoded(payload: Uint8Array) {
  const block = blockCodec.decode(payload)
  if (!block.ok) throw new Error(block.error.detail)
  return block.value
}

describe('a block', () => {
  it.each([
    [0, 4_096, 4_096],
    [4_096, 100, 100],
    // Cut at the end.
    [8_192, 4_096, 1_808],
    [9_999, 4_096, 1],
    // The size alone.
    [0, 0, 0],
  ])('from %d of at most %d bytes has %d', async (offset, length, bytes) => {
    const { asked, counters, get, sent } = world()
    await get(offset, length)
    const data = Uint8Array.from(CONTENT.subarray(offset, offset + bytes))
    expect(sent).toEqual([
      {
        topic: `kinglet/v1/lab/d1/block/${SHA256}`,
        block: { offset, totalBytes: 10_000, data, check: blockCheck(data), error: undefined },
      },
    ])
    expect(asked).toEqual([SHA256])
    expect(counters.snapshot()).toEqual({ get: { served: 1 } })
  })

  it('at the end or past it is refused, with the size', async () => {
    const { counters, get, sent } = world()
    await get(10_000, 1)
    await get(10_001, 1)
    const refused = { totalBytes: 10_000, error: 'invalid-request', data: undefined }
    expect(sent.map(({ block }) => block)).toMatchObject([
      { offset: 10_000, ...refused },
      { offset: 10_001, ...refused },
    ])
    expect(counters.snapshot()).toEqual({ get: { 'invalid-request': 2 } })
  })

  it.each(['artifact-not-found', 'unavailable', 'hash-mismatch', 'too-large'] as const)(
    'that the cache has not is refused with its code: %s',
    async (code) => {
      const { counters, get, sent } = world(code)
      await get(4_096, 4_096)
      expect(sent[0]?.block).toMatchObject({ offset: 4_096, totalBytes: 0, error: code, data: undefined })
      expect(counters.snapshot()).toEqual({ get: { [code]: 1 } })
    },
  )
})

describe('a device', () => {
  it('is given 128 blocks at once, then it is told to wait', async () => {
    const { asked, counters, get, sent } = world()
    for (let i = 0; i < 130; i++) await get(0, 1)
    expect(asked).toHaveLength(128)
    expect(sent.at(-1)?.block).toMatchObject({ offset: 0, error: 'rate-limited' })
    expect(counters.snapshot()).toEqual({ get: { served: 128, 'rate-limited': 2 } })
  })

  it('has four under way at a time', async () => {
    const { counters, get } = world()
    await Promise.all([0, 1, 2, 3, 4].map((offset) => get(offset, 1)))
    expect(counters.snapshot()).toEqual({ get: { served: 4, 'rate-limited': 1 } })
  })

  it('that reads too slowly is counted as such, whatever it was sent', async () => {
    const { counters, get, link } = world()
    link.reads = false
    await get(0, 1)
    await get(10_000, 1)
    expect(counters.snapshot()).toEqual({ get: { 'device-too-slow': 2 } })
  })

  it('that asks for what is no request is counted and not answered: there is no topic for it', async () => {
    const { asked, counters, sent, server } = world()
    await server.handle(originOf('d1'), Uint8Array.of(1))
    await server.handle(originOf('d1'), new Uint8Array(65))
    expect([asked, sent]).toEqual([[], []])
    expect(counters.snapshot()).toEqual({ get: { malformed: 1, 'too-large': 1 } })
  })
})
