import { afterEach, describe, expect, it } from 'vitest'
import { type Block, blockCheck, blockCodec, type Meta, metaCodec } from '../../../contract/messages.ts'
import { seededRandom } from '../../../contract/random.ts'
import { assignmentBytes } from '../../fixtures/documents.ts'
import { strangerKey } from '../../fixtures/keys.ts'
import { AttackBench, DAY, HOUR, MINUTE } from './attack-bench.ts'
import { until } from './gateway-harness.ts'

/** Attacks by the gateway itself, or by whoever speaks in its place: a broker of the test that says to the shipping device what it
 *  likes. */

let bench: AttackBench
const start = async () => {
  bench = await AttackBench.start({ gateway: 'lying' })
  return bench.liar
}
afterEach(async () => bench.close())

const honest = {
  meta: (_get: unknown, answer: Uint8Array) => [answer],
  block: (_get: unknown, answer: Uint8Array) => [answer],
}
const expectRefused = async (told: string): Promise<void> => {
  await bench.untilTold(told)
  bench.expectUntouched()
  Object.assign(bench.liar, honest)
  await bench.expectHonestUpdate()
}
const metaOf = (message: Uint8Array): Meta => {
  const decoded = metaCodec.decode(message)
  if (!decoded.ok) throw new Error(decoded.error.detail)
  return decoded.value
}
const blockOf = (message: Uint8Array): Block => {
  const decoded = blockCodec.decode(message)
  if (!decoded.ok) throw new Error(decoded.error.detail)
  return decoded.value
}
const pauseTurns = () => new Promise((resolve) => setTimeout(resolve, 40))
/** Lets device time pass in short stretches, with real time in between for what is on the air. */
const passSlowly = async (ms: number, stretch: number, stop: () => boolean) => {
  for (let passed = 0; passed < ms && !stop(); passed += stretch) {
    bench.pass(stretch)
    await new Promise((resolve) => setImmediate(resolve))
  }
}
const count = (prefix: string) => bench.liar.requests.filter((request) => request.startsWith(prefix)).length

describe('a gateway that lies', () => {
  it('arbitrary installation: other bytes under the hash of the image', async () => {
    const liar = await start()
    liar.block = (_get, answer) => {
      const block = blockOf(answer)
      const data = block.data!.map((byte) => byte ^ 1)
      return [blockCodec.encode({ ...block, data, check: blockCheck(data) })]
    }
    await bench.assign()
    await expectRefused('install-delayed: hash-mismatch')
  })

  it('damaged blocks: asked for again a bounded number of times, and no byte of them is written', async () => {
    const liar = await start()
    liar.block = (_get, answer) => {
      const block = blockOf(answer)
      return [blockCodec.encode({ ...block, data: block.data!.map((byte) => byte ^ 1) })]
    }
    await bench.assign()
    await bench.untilTold('install-delayed: block-damaged')
    expect(count('get')).toBeLessThanOrEqual(16)
    expect(bench.effects.filter(({ type }) => type === 'apply-block')).toEqual([])
    await expectRefused('install-delayed: block-damaged')
  })

  it('endless data: a metadata file that is said to be endless', async () => {
    const liar = await start()
    liar.meta = (get) => [
      metaCodec.encode({ ...get, totalBytes: 65_536, data: new Uint8Array(4_096).fill(32), error: undefined }),
    ]
    await bench.assign()
    await expectRefused('install-delayed: metadata-too-large')
  })

  it('endless data: more of an image than the release has', async () => {
    const liar = await start()
    liar.block = (_get, answer) => [blockCodec.encode({ ...blockOf(answer), totalBytes: 4_000_000 })]
    await bench.assign()
    await expectRefused('install-delayed: size-mismatch')
  })

  it('drop request: no metadata; retries bounded, the device goes on', async () => {
    const liar = await start()
    liar.meta = () => []
    await bench.assign()
    await until('asked', () => count('meta-get') > 0)
    await passSlowly(2 * HOUR, 10 * MINUTE, () => bench.told.includes('install-delayed: metadata-unavailable'))
    expect(bench.told).toContain('install-delayed: metadata-unavailable')
    await passSlowly(DAY, 10 * MINUTE, () => bench.told.includes('install-refused: metadata-unavailable'))
    expect(bench.told).toContain('install-refused: metadata-unavailable')
    bench.expectUntouched()
    await until('reports', () => count('report') >= 5)
    // Nine attempts of six requests, and a poll a day at most.
    expect(count('meta-get')).toBeLessThanOrEqual(9 * 6 + 6)
    Object.assign(liar, honest)
    await bench.assign({ seq: 2 })
    await bench.expectHonestUpdate()
  })

  it('drop request: no blocks; retries bounded', async () => {
    const liar = await start()
    liar.block = () => []
    await bench.assign()
    await until('asked', () => count('get') > 0)
    await passSlowly(2 * DAY, 10 * MINUTE, () => bench.told.includes('install-delayed: download-stalled'))
    expect(count('get')).toBeLessThanOrEqual(150)
    await expectRefused('install-delayed: download-stalled')
  })

  it('slow retrieval: metadata a byte at a time, and each block at the last moment', async () => {
    const liar = await start()
    // A byte is no block.
    liar.meta = (_get, answer) => {
      const meta = metaOf(answer)
      return [meta.data === undefined ? answer : metaCodec.encode({ ...meta, data: meta.data.slice(0, 1) })]
    }
    await bench.assign()
    await until('asked', () => liar.requests.includes('meta-get 2.root.json 0'))
    await passSlowly(2 * HOUR, 10 * MINUTE, () => bench.told.includes('install-delayed: metadata-unavailable'))
    expect(liar.requests).not.toContain('meta-get timestamp.json 1')
    bench.expectUntouched()
    // Roots without end, each late: what was verified is kept, the consultation ends.
    for (let i = 0; i < 60; i++) bench.repository.publish('root')
    const held: Uint8Array[] = []
    liar.meta = (_get, answer) => {
      held.push(answer)
      return []
    }
    for (let i = 0; i < 60 && !bench.told.includes('install-delayed: download-stalled'); i++) {
      bench.pass(9 * MINUTE)
      await pauseTurns()
      const answer = held.pop()
      if (answer !== undefined) await liar.say('meta', answer)
      await pauseTurns()
    }
    await expectRefused('install-delayed: download-stalled')
  })

  it('slow retrieval: an image whose blocks come once a day', async () => {
    const liar = await start()
    let held: { sha256: string; answer: Uint8Array } | undefined
    liar.block = (get, answer) => {
      const update = bench.host.state?.update
      // Of several that are asked for, the one that the device waits for.
      if (update?.phase === 'downloading' && update.offset === get.offset) {
        held = { sha256: Buffer.from(get.sha256).toString('hex'), answer }
      }
      return []
    }
    await bench.assign({ expiresMs: bench.clock.wallMs() + 30 * DAY })
    const stalled = () => bench.told.includes('install-delayed: download-stalled')
    for (let day = 0; day < 9 && !stalled(); day++) {
      await until('asked', () => held !== undefined || stalled())
      await passSlowly(23 * HOUR, 10 * MINUTE, stalled)
      await pauseTurns()
      const late = held
      held = undefined
      if (late !== undefined) await liar.say(`block/${late.sha256}`, late.answer)
      await pauseTurns()
    }
    await expectRefused('install-delayed: download-stalled')
  })

  it('partial bundle: blocks that are cut short', async () => {
    const liar = await start()
    liar.block = (get, answer) => {
      const block = blockOf(answer)
      return [get.offset === 8_192 ? blockCodec.encode({ ...block, data: block.data!.slice(1) }) : answer]
    }
    await bench.assign()
    await expectRefused('install-delayed: download-truncated')
  })

  it('partial bundle: a shorter one', async () => {
    const liar = await start()
    liar.block = (_get, answer) => [blockCodec.encode({ ...blockOf(answer), totalBytes: 50_000 })]
    await bench.assign()
    await expectRefused('install-delayed: size-mismatch')
  })

  it("replay of another device's assignment", async () => {
    await start()
    await bench.assign({ content: { device: 'bird-2' } })
    await bench.untilTold('install-refused: wrong-device')
    await bench.assign()
    await expectRefused('install-refused: wrong-device')
  })

  it("replay of an assignment of another site's device of that name", async () => {
    await start()
    await bench.assign({ content: { site: 'elsewhere' } })
    await bench.untilTold('install-refused: wrong-device')
    await bench.assign()
    await bench.expectHonestUpdate()
  })

  it('replay of an old assignment of its own', async () => {
    await start()
    const first = { release: bench.first.release, seq: 5 }
    await bench.assign(first)
    await until('taken', () => bench.record().assignmentSeq === 5)
    await bench.assign({ seq: 4 })
    await bench.untilTold('install-refused: replayed')
    bench.expectUntouched()
    await bench.assign({ seq: 6 })
    await bench.expectHonestUpdate()
  })

  it('hostile paths: an assignment whose target climbs', async () => {
    await start()
    await bench.assign({ content: { target: { ...bench.second.release, name: '../../etc' } } })
    await bench.untilTold('install-refused: malformed')
    expect(count('meta-get')).toBe(0)
    await bench.assign()
    await bench.expectHonestUpdate()
  })

  it('time-of-check/time-of-use: other bytes for a block at its second request', async () => {
    const liar = await start()
    // The first answer is damaged on its way; the second is whole, and of another image.
    let served = 0
    liar.block = (get, answer) => {
      const block = blockOf(answer)
      if (get.offset !== 4_096) return [answer]
      const data = block.data!.map((byte) => byte ^ 4)
      const check = served++ === 0 ? block.check : blockCheck(data)
      return [blockCodec.encode({ ...block, data, check })]
    }
    await bench.assign()
    await expectRefused('install-delayed: hash-mismatch')
    expect(served).toBeGreaterThan(1)
  })

  it('trailing data: after an assignment', async () => {
    const liar = await start()
    await liar.say('assign', Buffer.concat([assignmentBytes({ release: bench.second.release }), Buffer.from(' {}')]))
    await bench.untilTold('install-refused: malformed')
    bench.expectUntouched()
    await bench.assign()
    await bench.expectHonestUpdate()
  })

  it('trailing data: after messages with metadata', async () => {
    const liar = await start()
    liar.meta = (_get, answer) => [new Uint8Array([...answer, 0])]
    await bench.assign()
    await until('asked', () => count('meta-get') > 0)
    await pauseTurns()
    await passSlowly(2 * HOUR, 10 * MINUTE, () => bench.told.includes('install-delayed: metadata-unavailable'))
    await expectRefused('install-delayed: metadata-unavailable')
  })

  it('trailing data: after messages with blocks', async () => {
    const liar = await start()
    liar.block = (_get, answer) => [new Uint8Array([...answer, 0])]
    await bench.assign()
    await expectRefused('install-delayed: malformed')
  })

  it('denial of service: garbage on every topic', async () => {
    const liar = await start()
    await pauseTurns()
    const operations = bench.flash.operations
    const random = seededRandom(7)
    const kinds = ['assign', 'meta', 'verdict', `block/${bench.second.release.sha256}`]
    for (let i = 0; i < 400; i++) {
      const length = Math.floor(random.next() * 600)
      const garbage = Uint8Array.from({ length }, () => Math.floor(random.next() * 256))
      await liar.say(kinds[i % kinds.length]!, garbage)
    }
    await until('heard', () => bench.received.length >= 400)
    expect(bench.flash.operations).toBe(operations)
    expect(count('meta-get')).toBe(0)
    // Each garbage is another document; the device complains of the first few.
    await pauseTurns()
    expect(bench.told.filter((said) => said.startsWith('install-refused')).length).toBeLessThanOrEqual(8)
    bench.expectUntouched()
    await bench.assign()
    await bench.expectHonestUpdate()
  })

  it('denial of service: a flood of bogus assignments makes neither polls nor writes nor events without bound', async () => {
    const liar = await start()
    await pauseTurns()
    const operations = bench.flash.operations
    const { release } = bench.second
    for (let seq = 1; seq <= 60; seq++) {
      await liar.say('assign', assignmentBytes({ release, seq, directorSecret: strangerKey.secretKey }))
      await liar.say('assign', assignmentBytes({ release, seq, content: { device: 'bird-2' } }))
    }
    await until('heard', () => bench.received.filter(({ kind }) => kind === 'assign').length >= 120)
    await pauseTurns()
    // The look brought the first timestamp and snapshot: one record of trust.
    expect(bench.effects.filter(({ type }) => type === 'write-trust')).toHaveLength(1)
    expect(bench.flash.operations).toBeLessThanOrEqual(operations + 3)
    // One look for a newer root an hour.
    expect(count('meta-get 2.root.json')).toBe(1)
    expect(count('event')).toBeLessThanOrEqual(1 + 8)
    bench.expectUntouched()
    await bench.assign()
    await bench.expectHonestUpdate()
  })
})
