import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import type { MqttClient } from 'mqtt'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { Store } from '../../../cloud/store/store.ts'
import { seededRandom } from '../../../contract/random.ts'
import { type Gateway, startGateway } from '../../../gateway/gateway.ts'
import { releaseOf, SHA } from '../../fixtures/cloud-world.ts'
import { gatewayToken } from '../../fixtures/gateway-token.ts'
import { IdentityWorld, secureRandom } from '../../fixtures/identity-world.ts'
import { connectDevice, quietLogger, tempDir, topic, until } from './gateway-harness.ts'

const world = new IdentityWorld()
const gateways: Gateway[] = []
const clients: MqttClient[] = []
const tokens = new Map<string, string>()

beforeAll(async () => {
  mkdirSync(join(world.dir, 'cloud'))
  const store = new Store(join(world.dir, 'cloud', 'cloud.db'), 0)
  store.models.putArtifact(SHA['kws-1'], 1_000, 0)
  const record = store.models.add(releaseOf('kws-1', 1, SHA['kws-1'], { boards: ['board-a'] }), null, 0)
  store.models.setState(record, 'production', 'test', 'test', 0)
  store.close()
  await world.start()
  const site = (name: string, n: number) =>
    Array.from({ length: n }, (_, i) => ({ device: `${name}-${i}`, site: name, board: 'board-a' }))
  await place([...site('yard', 3), ...site('lab', 100)])
})
afterAll(() => world.stop())
afterEach(async () => {
  for (const client of clients.splice(0)) client.end(true)
  for (const gateway of gateways.splice(0)) await gateway.close()
})

async function place(devices: readonly { device: string; site: string; board: string }[]): Promise<void> {
  const { status, json } = await world.call('POST', '/v1/devices', devices)
  expect(status, JSON.stringify(json)).toBe(200)
  for (const { device, token } of json.devices) tokens.set(device, token)
}
async function start(gatewayId: string, sites: readonly string[] | undefined, dataDir = tempDir()): Promise<Gateway> {
  const token = await gatewayToken(world.cloud, gatewayId, sites ?? ['lab', 'yard'])
  const gateway = await startGateway({
    ...{ dataDir, gatewayId, cloudUrl: world.cloud.url, serviceToken: token, clock: world.clock, secureRandom },
    ...{ random: seededRandom(1), logger: quietLogger, uplinkIntervalMs: 20, revocationPollMs: 3_600_000 },
    ...{ assignmentWaitSeconds: 5, assignmentIdleMs: 10, storeInProcess: true },
    ...(sites !== undefined && { sites }),
  })
  gateways.push(gateway)
  return gateway
}
const count = (gateway: Gateway, outcome: string) => gateway.stats().messages.assignment?.[outcome] ?? 0
/** What a device at this gateway finds retained; undefined when there is nothing. */
async function retained(gateway: Gateway, device: string, site: string): Promise<string | undefined> {
  const client = await connectDevice(`mqtt://127.0.0.1:${gateway.mqttPort}`, device, tokens.get(device)!)
  clients.push(client)
  let got: string | undefined
  client.on('message', (_, payload) => {
    // Empty: what was held is gone.
    got = payload.length === 0 ? undefined : JSON.parse(payload.toString()).signed.site
  })
  await client.subscribeAsync(topic(device, 'assign', site), { qos: 1 })
  await new Promise((resolve) => setTimeout(resolve, 100))
  return got
}
const feed = async (query: string) => (await world.call('GET', `/v1/assignments?${query}`)).json

it('a gateway takes the assignments of its sites and no others; without sites, of all', async () => {
  await until('all are signed', async () => (await feed('after=0')).items.length === 103)
  expect((await feed('after=0&site=yard')).items).toHaveLength(3)
  expect((await feed('after=0&site=yard&site=lab&gateway=g')).items).toHaveLength(103)
  expect((await feed('after=0&site=none')).items).toEqual([])
  const yard = await start('gateway-yard', ['yard'])
  const all = await start('gateway-all', undefined)
  await until('both have theirs', () => count(yard, 'published') === 3 && count(all, 'published') === 103)
  // Of the rest of the fleet nothing comes, not even to be dropped.
  expect(yard.stats().messages.assignment).toEqual({ published: 3 })
})

it('a device that moves takes its assignment along: the old site’s gateway drops it, the new one’s has it', async () => {
  const yard = await start('gateway-yard', ['yard'])
  const lab = await start('gateway-lab', ['lab'])
  await until('both have theirs', () => count(yard, 'published') === 3 && count(lab, 'published') === 100)
  expect(await retained(yard, 'yard-1', 'yard')).toBe('yard')
  await place([{ device: 'yard-1', site: 'lab', board: 'board-a' }])
  await until('it has arrived', () => count(lab, 'published') === 101)
  expect(await retained(lab, 'yard-1', 'lab')).toBe('lab')
  await until('it has left', () => count(yard, 'withdrawn') === 1)
  await place([{ device: 'yard-1', site: 'yard', board: 'board-a' }])
  await until('it is back', () => count(yard, 'published') === 4 && count(lab, 'withdrawn') === 1)
  expect(await retained(yard, 'yard-1', 'yard')).toBe('yard')
})

it('a gateway that is given other sites reads them from the beginning and forgets the former', async () => {
  const dataDir = tempDir()
  const first = await start('gateway-1', undefined, dataDir)
  await until('it has all', () => count(first, 'published') === 103)
  await gateways.pop()!.close()
  const second = await start('gateway-1', ['yard'], dataDir)
  await until('it has read its own again', () => count(second, 'duplicate') === 3)
  await gateways.pop()!.close()
  const store = new Database(join(dataDir, 'gateway.sqlite'), { readonly: true })
  expect(store.prepare('SELECT DISTINCT site FROM assignment').pluck().all()).toEqual(['yard'])
  store.close()
  const third = await start('gateway-1', ['yard', 'lab'], dataDir)
  await until('it has the others too', () => count(third, 'published') === 100)
})

it('the cloud finds a site’s assignments by index', () => {
  const db = new Database(join(world.dir, 'cloud', 'cloud.db'), { readonly: true })
  const plan = (sql: string) =>
    (db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all() as { detail: string }[]).map(({ detail }) => detail).join('; ')
  for (const table of ['assignments', 'departures']) {
    const found = plan(`SELECT cursor FROM ${table} WHERE site = 'yard' AND cursor > 1 ORDER BY cursor LIMIT 10`)
    expect(found).toMatch(new RegExp(`^SEARCH ${table} USING COVERING INDEX ${table}_site`))
  }
  db.close()
})
