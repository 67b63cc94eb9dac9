import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../../contract/limits.ts'
import { type Meta, metaCodec, metaGetCodec } from '../../../../contract/messages.ts'
import { err, ok } from '../../../../contract/result.ts'
import type { DeviceId, SiteId } from '../../../../contract/topics.ts'
import { METADATA_CACHE_LIMITS, MetadataCache } from '../../../../gateway/downloads/metadata-cache.ts'
import { METADATA_LIMITS, MetadataServer } from '../../../../gateway/downloads/metadata-server.ts'
import { MessageCounters } from '../../../../gateway/message-counters.ts'
import { ManualClock } from '../../../fixtures/cloud-world.ts'

/** The cloud's files as a gateway fetches them: counted, and at will away, slow or endless. */
class Cloud {
  readonly files = new Map<string, Uint8Array>()
  readonly asked: string[] = []
  away = false
  gate: Promise<void> = Promise.resolve()
  async stream(path: string) {
    const name = path.replace('/v1/metadata/', '')
    this.asked.push(name)
    await this.gate
    if (this.away) return err({ code: 'unavailable', detail: 'away', status: undefined } as const)
    const file = this.files.get(name)
    if (file === undefined) return err({ code: 'not-found', detail: name, status: 404 } as const)
    return ok(
      (async function* () {
        for (let at = 0; at < file.length; at += 1_000) yield file.subarray(at, at + 1_000)
      })(),
    )
  }
}

function world(limits = METADATA_CACHE_LIMITS) {
  const clock = new ManualClock()
  const cloud = new Cloud()
  const counters = new MessageCounters()
  const cache = new MetadataCache({ cloud, clock, counters }, limits)
  const sent: { topic: string; meta: Meta }[] = []
  const send = (_: unknown, topic: string, payload: Uint8Array): boolean => {
    const meta = metaCodec.decode(payload)
    if (!meta.ok) throw new Error(meta.error.detail)
    return sent.push({ topic, meta: meta.value }) > 0
  }
  const server = new MetadataServer({ cache, clock, counters, send })
  const origin = { site: 'lab' as SiteId, device: 'bird-1' as DeviceId, board: 'b' }
  const ask = async (file: string, offset = 0): Promise<Meta | undefined> => {
    await server.handle(origin, metaGetCodec.encode({ file, offset }))
    return sent.at(-1)?.meta
  }
  return { clock, cloud, counters, cache, server, sent, ask, origin }
}
const bytes = (length: number, fill = 7): Uint8Array => new Uint8Array(length).fill(fill)
const pass = (ms: number, clock: ManualClock) => clock.advanceTo(clock.wallMs() + ms)

describe('metadata cache', () => {
  it('fetches a versioned file once an hour, however many ask, and answers from memory while the cloud is away', async () => {
    const { cloud, cache, clock } = world()
    cloud.files.set('1.root.json', bytes(100))
    await Promise.all(Array.from({ length: 50 }, () => cache.get('1.root.json', 'd1')))
    pass(3_599_999, clock)
    expect(await cache.get('1.root.json', 'd1')).toEqual(ok(Buffer.from(bytes(100))))
    expect(cloud.asked).toEqual(['1.root.json'])
    // What was spoiled on its way the first time does not stay.
    cloud.files.set('1.root.json', bytes(100, 8))
    pass(1, clock)
    expect(await cache.get('1.root.json', 'd1')).toEqual(ok(Buffer.from(bytes(100, 8))))
    cloud.away = true
    pass(86_400_000 * 365, clock)
    expect(await cache.get('1.root.json', 'd1')).toEqual(ok(Buffer.from(bytes(100, 8))))
  })

  it('believes a timestamp for ten seconds, and while the cloud is away for an hour', async () => {
    const { cloud, cache, clock } = world()
    const get = async () => {
      const file = await cache.get('timestamp.json', 'd1')
      return file.ok ? file.value[0] : file.error.code
    }
    cloud.files.set('timestamp.json', bytes(400, 1))
    expect(await get()).toBe(1)
    cloud.files.set('timestamp.json', bytes(400, 2))
    pass(9_999, clock)
    expect(await get()).toBe(1)
    pass(1, clock)
    expect(await get()).toBe(2)
    cloud.away = true
    pass(3_599_000, clock)
    expect(await get()).toBe(2)
    pass(1_000, clock)
    expect(await get()).toBe('unavailable')
  })

  it('believes that a file is missing for ten seconds: every device asks for the next root', async () => {
    const { cloud, cache, clock } = world()
    for (let i = 0; i < 100; i++)
      expect(await cache.get('2.root.json', 'd1')).toMatchObject({ error: { code: 'not-found' } })
    expect(cloud.asked).toHaveLength(1)
    cloud.files.set('2.root.json', bytes(10))
    pass(10_000, clock)
    expect((await cache.get('2.root.json', 'd1')).ok).toBe(true)
  })

  it('asks the cloud for no other names', async () => {
    const { cloud, cache } = world()
    for (const name of ['../keys', 'x'.repeat(10_000), '1.timestamp.json', 'root.json', '']) {
      expect(await cache.get(name, 'd1')).toMatchObject({ error: { code: 'invalid-request' } })
    }
    expect(cloud.asked).toEqual([])
  })

  it('is bounded: by what a file may have, by what it keeps, by what is under way', async () => {
    const { cloud, cache } = world({ ...METADATA_CACHE_LIMITS, totalBytes: 1_000, fetches: 2 })
    cloud.files.set('9.targets.json', bytes(LIMITS.metadataFileBytes + 1))
    expect(await cache.get('9.targets.json', 'd1')).toMatchObject({ error: { code: 'too-large' } })
    for (let i = 1; i <= 5; i++) {
      cloud.files.set(`${i}.root.json`, bytes(400))
      await cache.get(`${i}.root.json`, 'd1')
    }
    cloud.asked.length = 0
    for (const name of ['5.root.json', '4.root.json', '1.root.json']) await cache.get(name, 'd1')
    expect(cloud.asked).toEqual(['1.root.json'])
    let open = (): void => undefined
    cloud.gate = new Promise((resolve) => {
      open = resolve
    })
    cloud.asked.length = 0
    const slow = [11, 12, 13, 14, 15, 16].map((version) => cache.get(`${version}.root.json`, 'd1'))
    // Two are under way and four wait; who asks once has the second turn.
    expect(await cache.get('17.root.json', 'd1')).toMatchObject({ error: { code: 'unavailable' } })
    const other = cache.get('18.root.json', 'd2')
    open()
    await Promise.all([...slow, other])
    expect(cloud.asked.indexOf('18.root.json')).toBe(3)
    expect(cloud.asked).toHaveLength(7)
  })
})

describe('metadata server', () => {
  it('answers with blocks from the offset on', async () => {
    const { cloud, ask, sent } = world()
    const file = Uint8Array.from({ length: 10_000 }, (_, i) => i & 0xff)
    cloud.files.set('3.targets.json', file)
    const parts: Uint8Array[] = []
    for (let offset = 0; offset < file.length; offset += LIMITS.blockBytes) {
      const meta = await ask('3.targets.json', offset)
      expect(meta).toMatchObject({ file: '3.targets.json', offset, totalBytes: 10_000, error: undefined })
      parts.push(meta!.data!)
    }
    expect(parts.map(({ length }) => length)).toEqual([4_096, 4_096, 1_808])
    expect(new Uint8Array(Buffer.concat(parts))).toEqual(file)
    expect(sent[0]!.topic).toBe('kinglet/v1/lab/bird-1/meta')
    expect(await ask('3.targets.json', 10_000)).toMatchObject({
      error: 'invalid-request',
      totalBytes: 10_000,
      data: undefined,
    })
  })

  it('says what is not there, not a name, or not reachable', async () => {
    const { cloud, ask } = world()
    expect(await ask('2.root.json')).toMatchObject({ error: 'not-found', data: undefined })
    expect(await ask('../../etc/passwd')).toMatchObject({ error: 'invalid-request' })
    cloud.away = true
    expect(await ask('timestamp.json')).toMatchObject({ error: 'unavailable' })
  })

  it('limits a device, and only that one', async () => {
    const { cloud, ask, clock, server, sent } = world()
    cloud.files.set('timestamp.json', bytes(400))
    for (let i = 0; i < METADATA_LIMITS.burst; i++) expect((await ask('timestamp.json'))!.error).toBeUndefined()
    expect(await ask('timestamp.json')).toMatchObject({ error: 'rate-limited' })
    const other = { site: 'lab' as SiteId, device: 'bird-2' as DeviceId, board: 'b' }
    await server.handle(other, metaGetCodec.encode({ file: 'timestamp.json', offset: 0 }))
    expect(sent.at(-1)!.meta.error).toBeUndefined()
    pass(1_000, clock)
    for (let i = 0; i < METADATA_LIMITS.perSecond; i++) expect((await ask('timestamp.json'))!.error).toBeUndefined()
    expect(await ask('timestamp.json')).toMatchObject({ error: 'rate-limited' })
  })

  it('drops what cannot be decoded, and counts it', async () => {
    const { server, origin, sent, counters } = world()
    await server.handle(origin, new Uint8Array(LIMITS.metaGetBytes + 1))
    await server.handle(origin, Uint8Array.of(0xff))
    expect(sent).toEqual([])
    expect(counters.snapshot()['meta-get']).toEqual({ 'too-large': 1, malformed: 1 })
  })
})
