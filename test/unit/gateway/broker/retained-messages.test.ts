import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { RetainedMessages } from '../../../../gateway/broker/retained-messages.ts'
import { Turnstile } from '../../../../gateway/broker/turnstile.ts'

const packet = (topic: string, payload: string) =>
  ({ cmd: 'publish', topic, payload: Buffer.from(payload), qos: 1, retain: true, dup: false }) as never
const found = (messages: RetainedMessages, filter: string) =>
  [...messages.matching(filter)].map(({ topic, payload }) => `${topic}=${payload.toString()}`)

describe('retained messages', () => {
  it('are found by topic, by # and by a last +, each device’s own; empty ones are gone', () => {
    const messages = new RetainedMessages()
    messages.store(packet('k/lab/d1/assign', 'one'))
    messages.store(packet('k/lab/d10/assign', 'ten'))
    messages.store(packet('k/lab/d1/block/x', 'block'))
    expect(found(messages, 'k/lab/d1/assign')).toEqual(['k/lab/d1/assign=one'])
    expect(found(messages, 'k/lab/d1/#')).toEqual(['k/lab/d1/assign=one'])
    expect(found(messages, 'k/lab/d1/block/+')).toEqual(['k/lab/d1/block/x=block'])
    expect(found(messages, 'k/lab/d1/verdict')).toEqual([])
    expect(found(messages, 'k/lab/d2/#')).toEqual([])
    messages.store(packet('k/lab/d1/assign', 'two'))
    expect(found(messages, 'k/lab/d1/assign')).toEqual(['k/lab/d1/assign=two'])
    messages.store(packet('k/lab/d1/assign', ''))
    messages.store(packet('k/lab/none/assign', ''))
    expect(found(messages, 'k/lab/d1/#')).toEqual([])
  })

  it('take the place of a persistence’s own', async () => {
    const messages = new RetainedMessages()
    const persistence = {
      storeRetained: async (_: unknown) => undefined,
      createRetainedStreamCombi: (_: string[]) => Readable.from([]),
    }
    messages.serve(persistence)
    await persistence.storeRetained(packet('a/b/assign', 'x'))
    const read: unknown[] = []
    for await (const one of persistence.createRetainedStreamCombi(['a/b/#', 'a/b/verdict'])) read.push(one)
    expect(read).toMatchObject([{ topic: 'a/b/assign' }])
  })

  it('of a hundred thousand cost no more to find than of ten', () => {
    const costOf = (count: number) => {
      const messages = new RetainedMessages()
      for (let i = 0; i < count; i++) messages.store(packet(`kinglet/v1/lab/device-${i}/assign`, 'x'))
      return () => {
        const before = process.cpuUsage()
        for (let i = 0; i < 5_000; i++) [...messages.matching(`kinglet/v1/lab/device-${i % 10}/assign`)]
        const { user, system } = process.cpuUsage(before)
        return user + system
      }
    }
    const [few, many] = [costOf(10), costOf(100_000)]
    // Core time, and the least of several: others on the machine and the collector only add. A scan is ten thousand times dearer.
    const least = { few: Number.POSITIVE_INFINITY, many: Number.POSITIVE_INFINITY }
    for (let round = 0; round < 8; round++) {
      least.few = Math.min(least.few, few())
      least.many = Math.min(least.many, many())
    }
    expect(least.many).toBeLessThan(50 * least.few)
  })
})

describe('a turnstile', () => {
  it('lets so many in, the others in their order, also after a failure', async () => {
    const turnstile = new Turnstile(2)
    const log: string[] = []
    const ends: (() => void)[] = []
    const work = (name: string) =>
      turnstile.pass('one', async () => {
        log.push(name)
        await new Promise<void>((resolve) => ends.push(resolve))
        if (name === 'a') throw new Error('a')
        return name
      })
    const all = Promise.allSettled(['a', 'b', 'c', 'd'].map(work))
    const turn = () => new Promise((resolve) => setImmediate(resolve))
    await turn()
    expect(log).toEqual(['a', 'b'])
    ends[0]!()
    await turn()
    expect(log).toEqual(['a', 'b', 'c'])
    ends[1]!()
    await turn()
    for (const end of ends) end()
    await turn()
    for (const end of ends) end()
    expect((await all).map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled', 'fulfilled'])
    expect(log).toEqual(['a', 'b', 'c', 'd'])
  })

  it('lets the parties take turns, whoever has how many waiting', async () => {
    const turnstile = new Turnstile(1)
    const log: string[] = []
    const pass = (party: string, name: string) => turnstile.pass(party, async () => void log.push(name))
    const all = ['1', '2', '3', '4', '5'].map((name) => pass('many', name))
    all.push(pass('one', 'a'), pass('other', 'x'), pass('other', 'y'))
    expect([turnstile.waitingOf('many'), turnstile.waitingOf('one'), turnstile.waitingOf('none')]).toEqual([4, 1, 0])
    await Promise.all(all)
    expect(log).toEqual(['1', '2', 'a', 'x', '3', 'y', '4', '5'])
    expect(turnstile.waitingOf('many')).toBe(0)
    await pass('one', 'z')
    expect(log.at(-1)).toBe('z')
  })
})
