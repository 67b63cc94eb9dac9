import { afterEach, describe, expect, it } from 'vitest'
import { ISSUED_MS } from '../../fixtures/documents.ts'
import { tufDate } from '../../fixtures/tuf-repository.ts'
import { AttackBench, DAY, HOUR } from './attack-bench.ts'
import { until } from './gateway-harness.ts'

let bench: AttackBench
afterEach(async () => bench.close())

const DECADE = 3_653 * DAY
const CLOCKS: [string, (trueMs: number) => number][] = [
  ['a right clock', (trueMs) => trueMs],
  ['a clock 10 years behind', (trueMs) => trueMs - DECADE],
  ['a clock 10 years ahead', (trueMs) => trueMs + DECADE],
  ['no clock at boot', () => 0],
]

describe('freeze', () => {
  it.each(CLOCKS)('%s: the device updates from the factory on', async (_what, wall) => {
    bench = await AttackBench.start({ wall })
    await bench.assign()
    await bench.expectHonestUpdate()
    expect(bench.told.filter((said) => said.includes(': '))).toEqual([])
  })

  it.each(CLOCKS)('%s: a timestamp that expired while the device ran is refused', async (_what, wall) => {
    bench = await AttackBench.start({ wall })
    const { repository } = bench
    repository.expires.timestamp = tufDate(ISSUED_MS + 2 * DAY)
    repository.publish('timestamp')
    bench.pass(DAY)
    await until('polled', () => bench.received.length > 0 && bench.host.state?.repository.consultation === null)
    expect(bench.told).not.toContain('repository-refused: metadata-expired')
    // From now on the mirror shows the same timestamp for ever.
    bench.skipGateway()
    bench.pass(DAY)
    await until('polled', () => bench.host.state?.repository.consultation === null)
    bench.skipGateway()
    bench.pass(8 * HOUR)
    await bench.assign()
    await bench.untilTold('install-delayed: metadata-expired')
    bench.expectUntouched()
    repository.extra.timestamp = { 'x-kinglet-issued': bench.clock.wallMs() }
    repository.expires.timestamp = tufDate(bench.clock.wallMs() + 2 * DAY)
    repository.publish('snapshot', 'timestamp')
    await bench.expectHonestUpdate()
  })

  it.each(CLOCKS)('%s: a timestamp that had expired before the root was signed is refused', async (_what, wall) => {
    bench = await AttackBench.start({ wall })
    const { repository } = bench
    repository.expires.timestamp = tufDate(ISSUED_MS - HOUR)
    repository.publish('timestamp')
    await bench.assign()
    await bench.untilTold('install-delayed: metadata-expired')
    bench.expectUntouched()
    repository.expires.timestamp = tufDate(ISSUED_MS + DAY)
    repository.publish('timestamp')
    await bench.expectHonestUpdate()
  })
})

describe('an idle poll', () => {
  it('checks one signature and moves few bytes', async () => {
    bench = await AttackBench.start()
    const { repository } = bench
    // As the cloud writes it: the timestamp has version and length of the snapshot, and no hash.
    repository.metaHashes = false
    repository.publish('snapshot')
    repository.timestampMeta = { ...repository.timestampMeta, length: repository.published.snapshot!.at(-1)!.length }
    const poll = async () => {
      // What the cloud does at half life: the same snapshot under a new timestamp.
      repository.extra.timestamp = { 'x-kinglet-issued': bench.clock.wallMs() }
      repository.expires.timestamp = tufDate(bench.clock.wallMs() + 3 * DAY)
      repository.publish('timestamp')
      const [before, effectsBefore] = [bench.received.length, bench.effects.length]
      bench.skipGateway()
      const seen = bench.host.state!.repository.trust.files.timestamp
      bench.pass(DAY)
      await until('a new timestamp', () => bench.host.state!.repository.trust.files.timestamp !== seen)
      const down = bench.received.slice(before).filter(({ kind }) => kind === 'meta')
      const asked = bench.effects
        .slice(effectsBefore)
        .flatMap((effect) => (effect.type === 'publish' && effect.kind === 'meta-get' ? [effect.payload.length] : []))
      const topic = 'kinglet/v1/lab/bird-1/meta-get'.length
      const rx = down.reduce((sum, { bytes }) => sum + bytes, 0)
      const tx = asked.reduce((sum, bytes) => sum + bytes + topic, 0)
      return {
        rx,
        tx,
        total: rx + tx,
        requests: asked.length,
        timestamp: repository.published.timestamp!.at(-1)!.length,
      }
    }
    await poll()
    bench.verifications.length = 0
    const cost = await poll()
    console.log(`idle poll: ${JSON.stringify(cost)}, ${bench.verifications.length} signature checks`)
    expect(bench.verifications).toHaveLength(1)
    expect(cost.requests).toBe(1)
    expect(cost.total).toBeLessThanOrEqual(600)
  })
})
