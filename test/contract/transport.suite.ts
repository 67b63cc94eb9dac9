import { afterEach, expect, it } from 'vitest'
import type { UplinkKind } from '../../contract/topics.ts'
import type { Transport, TransportEvent } from '../../device/ports/transport.ts'

/** The other end of a transport: a broker that can be told things, and seen. */
export interface TransportBench {
  readonly transport: Transport
  /** what arrived from the device, in order */
  readonly arrived: readonly { readonly kind: UplinkKind; readonly payload: Uint8Array }[]
  /** delivers a message to the device; a retained one at every connection too */
  send(kind: 'assign' | 'verdict' | 'meta', payload: Uint8Array, retain?: boolean): Promise<void>
  sendBlock(sha256: string, payload: Uint8Array): Promise<void>
  /** sends to a topic that is another device's */
  sendElsewhere(payload: Uint8Array): Promise<void>
  /** while withheld, nothing is acknowledged */
  withhold(on: boolean): void
  /** takes the broker away with all its connections, and brings it back at the same address */
  down(): Promise<void>
  up(): Promise<void>
  dispose(): Promise<void>
}

async function until(what: string, probe: () => boolean, ms = 120_000): Promise<void> {
  const end = performance.now() + ms
  while (!probe()) {
    if (performance.now() > end) throw new Error(`timed out: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
const pause = () => new Promise((resolve) => setTimeout(resolve, 150))

/** What every transport must do, whatever is below it. */
export function transportSuite(make: () => Promise<TransportBench>): void {
  const benches: TransportBench[] = []
  const open = async () => {
    const bench = await make()
    benches.push(bench)
    const events: TransportEvent[] = []
    bench.transport.open((event) => events.push(event))
    const count = (type: TransportEvent['type']) => events.filter((event) => event.type === type).length
    await until('connected', () => count('connected') === 1)
    const published = () => events.flatMap((event) => (event.type === 'published' ? [event.id] : []))
    const received = () => events.filter((event) => event.type === 'received')
    return { ...bench, transport: bench.transport, bench, events, count, published, received }
  }
  afterEach(async () => {
    for (const bench of benches.splice(0)) await bench.dispose()
  })
  const hash = 'a1'.repeat(32)

  it('brings messages of every kind to the gateway whole, and says when each was taken', async () => {
    const { transport, arrived, published } = await open()
    const kinds: UplinkKind[] = ['report', 'wake', 'event', 'get', 'meta-get']
    const large = Uint8Array.from({ length: 1_280 }, (_, i) => i & 0xff)
    for (const [i, kind] of kinds.entries()) {
      transport.publish(10 + i, kind, large.subarray(0, 1_280 - i), kind.endsWith('get') ? 0 : 1)
    }
    await until('arrived', () => arrived.length === 5 && published().length === 5)
    expect(arrived.map(({ kind }) => kind)).toEqual(kinds)
    expect(arrived.map(({ payload }) => payload.length)).toEqual([1_280, 1_279, 1_278, 1_277, 1_276])
    expect(new Uint8Array(arrived[0]!.payload)).toEqual(large)
    expect([...published()].sort()).toEqual([10, 11, 12, 13, 14])
  })

  it('the payload is read before publish returns', async () => {
    const { transport, arrived } = await open()
    const payload = Uint8Array.of(1, 2, 3)
    transport.publish(1, 'event', payload, 1)
    payload.fill(9)
    await until('arrived', () => arrived.length === 1)
    expect([...arrived[0]!.payload]).toEqual([1, 2, 3])
  })

  it('is subscribed when it says connected: nothing sent after that is missed', async () => {
    const { bench, received } = await open()
    await bench.send('verdict', Uint8Array.of(1))
    await bench.send('assign', Uint8Array.of(2))
    await bench.sendBlock(hash, new Uint8Array(4_160).fill(3))
    await bench.send('meta', new Uint8Array(4_256).fill(4))
    await until('received', () => received().length === 4)
    const block = { kind: 'block', sha256: hash }
    expect(received()).toMatchObject([{ kind: 'verdict' }, { kind: 'assign' }, block, { kind: 'meta' }])
    expect((received()[2] as { payload: Uint8Array }).payload).toHaveLength(4_160)
  })

  it("hears neither its own messages nor another device's", async () => {
    const { bench, transport, received, published } = await open()
    transport.publish(1, 'report', Uint8Array.of(1), 1)
    await bench.sendElsewhere(Uint8Array.of(2))
    await until('published', () => published().length === 1)
    await pause()
    expect(received()).toEqual([])
  })

  it('a restarted broker: disconnected once, connected again by itself, the retained assignment anew', async () => {
    const { bench, transport, count, received, published, arrived } = await open()
    await bench.send('assign', Uint8Array.of(7), true)
    await until('assigned', () => received().length === 1)
    await bench.down()
    await until('disconnected', () => count('disconnected') >= 1)
    await bench.up()
    await until('connected again', () => count('connected') === 2)
    await until('assigned again', () => received().length === 2)
    transport.publish(5, 'report', Uint8Array.of(1), 1)
    await until('works again', () => published().includes(5))
    expect(arrived.at(-1)!.kind).toBe('report')
  })

  it('what was not acknowledged is dropped, not sent again behind the back of the core', async () => {
    const { bench, transport, count, published, arrived } = await open()
    bench.withhold(true)
    for (let id = 1; id <= 3; id++) transport.publish(id, 'report', Uint8Array.of(id), 1)
    await until('sent', () => arrived.length === 3)
    await bench.down()
    await until('disconnected', () => count('disconnected') >= 1)
    transport.publish(4, 'report', Uint8Array.of(4), 1)
    transport.publish(5, 'get', Uint8Array.of(5), 0)
    bench.withhold(false)
    await bench.up()
    await until('connected again', () => count('connected') === 2)
    transport.publish(6, 'report', Uint8Array.of(6), 1)
    await until('published', () => published().includes(6))
    await pause()
    expect(arrived.map(({ payload }) => payload[0])).toEqual([1, 2, 3, 6])
    expect(published()).toEqual([6])
  })

  it('says nothing more after close, and can be opened again', async () => {
    const { bench, transport, events } = await open()
    await transport.close()
    const before = events.length
    transport.publish(1, 'event', Uint8Array.of(1), 1)
    await bench.send('verdict', Uint8Array.of(1))
    await pause()
    expect(events).toHaveLength(before)
    const second: TransportEvent[] = []
    transport.open((event) => second.push(event))
    await until('connected', () => second.some(({ type }) => type === 'connected'))
    expect(events).toHaveLength(before)
  })

  it('closes in peace when it was never opened, when the broker is away, and twice', async () => {
    const bench = await make()
    benches.push(bench)
    await bench.transport.close()
    await bench.down()
    bench.transport.open(() => undefined)
    await pause()
    await bench.transport.close()
    await bench.transport.close()
  })
}
