import { afterEach, describe, expect, it } from 'vitest'
import { seededRandom } from '../../../contract/random.ts'
import { AttackBench, HOUR, MINUTE } from './attack-bench.ts'
import { until } from './gateway-harness.ts'

/** What becomes of messages between gateway and device on their way down: the update goes through all the same. The way up is in
 *  gateway.test.ts. */

let bench: AttackBench
afterEach(async () => bench.close())

type Fate = (message: Uint8Array, n: number, kind: string) => readonly Uint8Array[]
const random = seededRandom(5)
const flipped = (message: Uint8Array): Uint8Array => {
  const copy = Uint8Array.from(message)
  copy[Math.floor(random.next() * copy.length)]! ^= 1 << Math.floor(random.next() * 8)
  return copy
}
/** Every third message meets it; the others come as they are. */
const third =
  (fate: (message: Uint8Array) => readonly Uint8Array[]): Fate =>
  (message, n) =>
    n % 3 === 2 ? fate(message) : [message]

/** the last message of each kind */
const before = new Map<string, Uint8Array>()
const FATES: readonly [string, Fate][] = [
  ['duplicate', (message) => [message, message, message]],
  ['lost', third(() => [])],
  [
    'reordered',
    (message, n, kind) => {
      // The one before comes again, ahead of this one or after it.
      const former = before.get(kind)
      const late = former === undefined ? [message] : n % 2 === 1 ? [message, former] : [former, message]
      before.set(kind, message)
      return late
    },
  ],
  ['truncated', third((message) => [message.subarray(0, message.length - 5)])],
  ['bit-flipped', third((message) => [flipped(message)])],
  ['oversized', third((message) => [new Uint8Array([...message, ...new Uint8Array(5_000)])])],
  [
    'wrong schema version',
    third((message) => {
      const other = Uint8Array.from(message)
      // The map's head, then key 0 and its value, the version.
      expect([...other.subarray(1, 3)]).toEqual([0, 1])
      other[2] = 2
      return [other]
    }),
  ],
]

describe('messages to a device', () => {
  it.each(FATES)('%s: an update goes through', async (_what, fate) => {
    bench = await AttackBench.start({ gateway: 'lying' })
    const { liar } = bench
    before.clear()
    let n = 0
    // Metadata and blocks; each loss costs a timeout or an attempt, of which there are eight.
    let spoils = 6
    const meets = (kind: string, message: Uint8Array): readonly Uint8Array[] => {
      const fates = fate(message, n++, kind)
      const harmless = fates.includes(message)
      return harmless || spoils-- > 0 ? fates : [message]
    }
    liar.meta = (_get, honest) => meets('meta', honest)
    liar.block = (_get, honest) => meets('block', honest)
    await bench.assign()
    const end = performance.now() + 20_000
    // Nothing is on the air and nobody waits: the timeout of a request is next.
    for (let seen = -1; bench.phase !== 'trial' && performance.now() < end; ) {
      await new Promise((resolve) => setTimeout(resolve, 60))
      if (seen === liar.requests.length && (bench.phase === 'consulting' || bench.phase === 'downloading'))
        bench.pass(10 * MINUTE)
      if (bench.phase === 'waiting') bench.pass(10 * MINUTE)
      seen = liar.requests.length
    }
    expect(n).toBeGreaterThan(15)
    await bench.expectHonestUpdate()
  })

  it('delayed by hours: answers of an earlier attempt and a former assignment change nothing', async () => {
    bench = await AttackBench.start({ gateway: 'lying' })
    const { liar, second } = bench
    const kept: [string, Uint8Array][] = []
    liar.meta = (_get, honest) => {
      kept.push(['meta', honest])
      return [honest]
    }
    liar.block = (_get, honest) => {
      kept.push([`block/${second.release.sha256}`, honest])
      return [honest]
    }
    await bench.assign()
    await bench.expectHonestUpdate()
    bench.pass(5 * HOUR)
    // What the confirmation still has to write is written.
    await until('quiet', () => {
      const { state } = bench.host
      return state?.outbox.messages.length === 0 && !state.reporting.spooled && bench.record().untold === 'none'
    })
    const { length } = bench.told
    const operations = bench.flash.operations
    const before = bench.received.length
    for (const [kind, message] of kept) await liar.say(kind, message)
    await until('heard', () => bench.received.length >= before + kept.length)
    expect(bench.told).toHaveLength(length)
    expect(bench.flash.operations).toBe(operations)
  })
})
