import type { MqttClient } from 'mqtt'
import nacl from 'tweetnacl'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { signDocument } from '../../../contract/signed.ts'
import { type Gateway, startGateway } from '../../../gateway/gateway.ts'
import {
  BOARD,
  connectDevice,
  FakeCloud,
  gatewayOptions,
  report,
  SITE,
  tempDir,
  tokenIssuer,
  topic,
  until,
  wake,
} from './gateway-harness.ts'

let issuer: Awaited<ReturnType<typeof tokenIssuer>>
let cloud: FakeCloud
let gateway: Gateway
let dataDir: string
const clients: MqttClient[] = []

async function start(): Promise<void> {
  gateway = await startGateway(gatewayOptions(cloud, dataDir, { jwks: issuer.jwks }))
}
async function device(name: string): Promise<MqttClient> {
  const client = await connectDevice(`mqtt://127.0.0.1:${gateway.mqttPort}`, name, await issuer.token(name))
  client.on('error', () => {})
  clients.push(client)
  return client
}
const count = (kind: string, outcome: string): number => gateway.stats().messages[kind]?.[outcome] ?? 0

beforeEach(async () => {
  issuer = await tokenIssuer()
  cloud = await new FakeCloud().start()
  dataDir = tempDir()
})
afterEach(async () => {
  for (const client of clients.splice(0)) client.end(true)
  await gateway.close()
  await cloud.stop()
})

const key = nacl.sign.keyPair()
const assignment = (name: string, seq: number, more: { rollout?: unknown; device?: string } = {}) =>
  signDocument(
    {
      v: 1,
      type: 'assignment',
      device: more.device ?? name,
      site: SITE,
      board: BOARD,
      seq,
      issuedMs: 1,
      expiresMs: 2,
      target: { name: 'kws', version: seq, sha256: 'a'.repeat(64) },
      rollout: more.rollout ?? null,
    },
    key.secretKey,
  )
const put = (cursor: number, name: string, document: unknown) =>
  cloud.assignments.push({ cursor, site: SITE, device: name, board: BOARD, document })
/** The next assignments a device hears, by sequence number. */
const listen = async (client: MqttClient, name: string) => {
  const heard: number[] = []
  client.on('message', (_at, payload) =>
    heard.push((JSON.parse(payload.toString()) as { signed: { seq: number } }).signed.seq),
  )
  await client.subscribeAsync(topic(name, 'assign'), { qos: 1 })
  return heard
}

describe('assignments', () => {
  it('publishes the newest retained, drops what is not for its device, and survives its restart without the cloud', async () => {
    put(1, 'd1', assignment('d1', 1))
    put(2, 'd2', assignment('d2', 1, { device: 'd1' }))
    put(3, 'd3', { signed: { v: 9 }, signatures: [] })
    await start()
    await until('first assignment', () => count('assignment', 'published') === 1)
    const heard = await listen(await device('d1'), 'd1')
    await until('retained', () => heard.length === 1)
    put(4, 'd1', assignment('d1', 2))
    await until('live', () => heard.length === 2)
    put(5, 'd1', assignment('d1', 1))
    await until('the old one is ignored', () => count('assignment', 'replayed') === 1)
    expect(heard).toEqual([1, 2])
    expect(count('assignment', 'wrong-device')).toBe(1)
    expect(count('assignment', 'unknown-schema-version')).toBe(1)
    await gateway.close()
    await cloud.stop()
    await start()
    const again = await listen(await device('d1'), 'd1')
    await until('retained after the restart', () => again.length === 1)
    expect(again).toEqual([2])
  })

  it('attributes reports and verdicts to the arm of the assignment the device accepted', async () => {
    put(1, 'd1', assignment('d1', 1))
    put(2, 'd1', assignment('d1', 2, { rollout: { id: 'r1', stage: 1, arm: 'canary' } }))
    await start()
    await until('assignments', () => count('assignment', 'published') === 2)
    const client = await device('d1')
    const send = (kind: string, payload: Buffer) => client.publishAsync(topic('d1', kind), payload, { qos: 1 })
    await send('report', report(1, 0, { assignmentSeq: 1 }))
    await send('wake', wake(1, 1, 90))
    await send('report', report(1, 2, { assignmentSeq: 2 }))
    await send('wake', wake(1, 2, 10))
    // Late, between the two: it takes its own hour back from the canary arm.
    await send('report', report(1, 1, { assignmentSeq: 1 }))
    await until('aggregates', () => {
      const sums = (of: string, name: 'wakes' | 'confirmed' | 'rejected') =>
        [...cloud.aggregates.values()].filter(({ arm }) => arm === of).reduce((sum, row) => sum + row[name], 0)
      const canary = [...cloud.aggregates.values()].find(({ arm }) => arm === 'canary')
      return (
        canary?.rollout === 'r1' &&
        canary.stage === 1 &&
        sums('canary', 'wakes') === 3 &&
        sums('canary', 'rejected') === 1 &&
        sums('none', 'wakes') === 6 &&
        sums('none', 'confirmed') === 1
      )
    })
  })
})

describe('an assignment that a device missed', () => {
  /** d1 has heard assignments 1 and 2; from here on `heard` holds repetitions only. */
  async function settled(): Promise<{ client: MqttClient; heard: number[] }> {
    put(1, 'd1', assignment('d1', 1))
    await start()
    // A device that subscribes while it is being published hears it twice: retained, and live.
    await until('the first is published', () => count('assignment', 'published') === 1)
    const client = await device('d1')
    const heard = await listen(client, 'd1')
    await until('the first', () => heard.includes(1))
    put(2, 'd1', assignment('d1', 2))
    await until('the second', () => heard.includes(2))
    heard.length = 0
    return { client, heard }
  }
  const send = (client: MqttClient, name: string, seq: number, assignmentSeq: number) =>
    client.publishAsync(topic(name, 'report'), report(1, seq, { assignmentSeq }), { qos: 1 })

  it('is published again after a report that names an older one, and not after one that names it or a newer one', async () => {
    const { client, heard } = await settled()
    for (const [seq, accepted] of [2, 3, 1, 2].entries()) await send(client, 'd1', seq, accepted)
    await until('the repetition', () => heard.length === 1)
    expect(count('assignment', 'repeated')).toBe(1)
    await send(client, 'd1', 4, 0)
    await until('another', () => heard.length === 2)
    // What a later report of a device that caught up would bring had been published before this one of the other is answered.
    await send(client, 'd1', 5, 2)
    put(3, 'd1', assignment('d1', 3))
    await until('the next assignment', () => heard.includes(3))
    expect(heard).toEqual([2, 2, 3])
    expect(count('assignment', 'repeated')).toBe(2)
  })

  it('is repeated at most once a report, to that device alone, and without reports not at all', async () => {
    const { client, heard } = await settled()
    const other = await device('d2')
    const heardByOther = await listen(other, 'd2')
    // Nothing is held for d2: whatever it names, there is nothing to repeat.
    await send(other, 'd2', 0, 0)
    const stale = 12
    // One after the other: aedes drops a delivery that a later one to the same client has overtaken.
    for (let seq = 0; seq < stale; seq++) {
      await send(client, 'd1', seq, 1)
      await until('the repetition', () => heard.length === seq + 1)
    }
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(heard).toEqual(new Array(stale).fill(2))
    expect(heardByOther).toEqual([])
    expect(count('assignment', 'repeated')).toBe(stale)
    // Malformed and implausible reports name nothing.
    await client.publishAsync(topic('d1', 'report'), report(1, 50, { assignmentSeq: 1 }).subarray(0, 60), { qos: 1 })
    expect(count('assignment', 'repeated')).toBe(stale)
  })

  it('is repeated after a restart from disk, with the cloud away', async () => {
    await settled()
    await gateway.close()
    await cloud.stop()
    await start()
    const client = await device('d1')
    const heard = await listen(client, 'd1')
    await until('retained', () => heard.length === 1)
    await send(client, 'd1', 0, 1)
    await until('repeated', () => heard.length === 2)
    expect(heard).toEqual([2, 2])
  })
})
