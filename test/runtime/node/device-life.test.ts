import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import type { MqttClient } from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Store } from '../../../cloud/store/store.ts'
import { seededRandom } from '../../../contract/random.ts'
import type { Assignment } from '../../../contract/release.ts'
import { type Gateway, startGateway } from '../../../gateway/gateway.ts'
import { releaseOf, SHA } from '../../fixtures/cloud-world.ts'
import { gatewayToken } from '../../fixtures/gateway-token.ts'
import { IdentityWorld, secureRandom } from '../../fixtures/identity-world.ts'
import { batchOf, SyntheticDevice } from '../../fixtures/synthetic-fleet.ts'
import { connectDevice, quietLogger, tempDir, until } from './gateway-harness.ts'

const HOUR = 3_600_000
const MODEL = SHA['kws-1'].slice(0, 16)
const world = new IdentityWorld()
let gateway: Gateway | undefined
const clients: MqttClient[] = []
let db: Database.Database

beforeAll(async () => {
  mkdirSync(join(world.dir, 'cloud'))
  const path = join(world.dir, 'cloud', 'cloud.db')
  const store = new Store(path, 0)
  store.models.putArtifact(SHA['kws-1'], 1_000, 0)
  const record = store.models.add(releaseOf('kws-1', 1, SHA['kws-1'], { boards: ['board-a'] }), null, 0)
  store.models.setState(record, 'production', 'test', 'test', 0)
  store.close()
  await world.start()
  db = new Database(path)
})
afterAll(async () => {
  db.close()
  await world.stop()
})
afterEach(async () => {
  for (const client of clients.splice(0)) client.end(true)
  await gateway?.close()
  gateway = undefined
})

const SITES = ['lab', 'hall', 'pier', 'roof', 'werk_1.nord']
async function startedGateway(): Promise<Gateway> {
  const token = await gatewayToken(world.cloud, 'gateway-1', SITES)
  gateway = await startGateway({
    ...{ dataDir: tempDir(), cloudUrl: world.cloud.url, serviceToken: token, clock: world.clock, secureRandom },
    ...{ random: seededRandom(1), logger: quietLogger, uplinkIntervalMs: 20, revocationPollMs: 50 },
    ...{ assignmentWaitSeconds: 1, assignmentIdleMs: 100, storeInProcess: true },
  })
  return gateway
}
const count = (kind: string, outcome: string): number => gateway!.stats().messages[kind]?.[outcome] ?? 0

async function imported(device: string, more: Record<string, unknown> = {}): Promise<string> {
  const answer = await world.call('POST', '/v1/devices', [{ device, site: 'lab', board: 'board-a', ...more }])
  expect(answer.status, JSON.stringify(answer.json)).toBe(200)
  return answer.json.devices[0].token
}
const shown = async (device: string) => (await world.call('GET', `/v1/devices/${encodeURIComponent(device)}`)).json
/** Newest assignment that the feed serves for the device. */
async function served(device: string): Promise<Assignment | undefined> {
  const { items } = (await world.call('GET', '/v1/assignments?after=0')).json
  return items.findLast((item: { device: string }) => item.device === device)?.document.signed
}
async function signed(device: string, is: (assignment: Assignment) => boolean = () => true): Promise<Assignment> {
  let found: Assignment | undefined
  for (let i = 0; i < 200; i++) {
    found = await served(device)
    if (found !== undefined && is(found)) return found
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`no such assignment of ${device}: ${JSON.stringify(found)}`)
}
/** An hour of reports, as a gateway sends them. */
let speaks: string | undefined
async function reports(name: string, site = 'lab'): Promise<{ reports: number }> {
  const now = world.clock.wallMs()
  const device = new SyntheticDevice(name, MODEL, now - 3 * HOUR, seededRandom(1), site)
  const rows = device.live(now, { falseWakes: 1, verified: 1 })
  speaks ??= await gatewayToken(world.cloud, 'gateway-1', SITES)
  return (await world.call('POST', '/v1/ingest', batchOf(rows), speaks)).json
}
const remove = (device: string, query = '') =>
  world.call('DELETE', `/v1/devices/${encodeURIComponent(device)}?reason=scrapped${query}`)
const metric = async (line: string): Promise<number> => {
  const headers = { authorization: `Bearer ${world.cloud.operatorToken}` }
  const text = await (await fetch(`${world.cloud.url}/metrics`, { headers })).text()
  return Number(
    text
      .split('\n')
      .find((row) => row.startsWith(line))
      ?.split(' ')
      .at(-1) ?? 0,
  )
}
const rowsOf = (id: number): number =>
  [
    'reports',
    'boots',
    'device_hours',
    'verdicts',
    'events',
    'baselines',
    'assignments',
    'device_keys',
    'rollout_devices',
  ]
    .map((table) => db.prepare(`SELECT count(*) FROM ${table} WHERE device = ?`).pluck().get(id) as number)
    .reduce((sum, n) => sum + n, 0)

describe('removing a device', () => {
  it('ends its connection, token, assignment and target; its history stays; the same name is a new device afterwards', async () => {
    await startedGateway()
    const token = await imported('tern-1')
    const client = await connectDevice(`mqtt://127.0.0.1:${gateway!.mqttPort}`, 'tern-1', token)
    client.on('error', () => undefined)
    clients.push(client)
    const first = await signed('tern-1')
    await until('the gateway holds its assignment', () => count('assignment', 'published') >= 1)
    expect((await reports('tern-1')).reports).toBeGreaterThan(1)
    const { id } = db.prepare("SELECT id FROM devices WHERE name = 'tern-1'").get() as { id: number }
    const before = rowsOf(id)
    const reporting = async (): Promise<number> => (await world.call('GET', '/v1/fleet/summary')).json.devices.reporting
    const heard = await reporting()

    const answer = await remove('tern-1')
    expect(answer).toMatchObject({ status: 200, json: { device: 'tern-1', erased: false } })
    await until('the gateway cuts it off', () => count('connection', 'revoked') === 1)
    await until('the gateway drops what it held', () => count('assignment', 'withdrawn') === 1)
    expect(await served('tern-1')).toBeUndefined()
    expect(await shown('tern-1')).toMatchObject({ removedMs: answer.json.removedMs, enrolledMs: null, target: null })
    const { json } = await world.call('GET', '/v1/devices?limit=2000')
    expect(json.devices.map(({ name }: { name: string }) => name)).not.toContain('tern-1')
    expect(rowsOf(id)).toBe(before - 1)
    expect(await reporting()).toBe(heard - 1)
    // Removed is removed: nothing to do again, and nothing that still comes is stored.
    expect((await remove('tern-1')).status).toBe(404)
    const refused = await metric('kinglet_ingest_rows_total{kind="of-removed-devices"}')
    expect((await reports('tern-1')).reports).toBe(0)
    expect(await metric('kinglet_ingest_rows_total{kind="of-removed-devices"}')).toBeGreaterThan(refused)
    expect(rowsOf(id)).toBe(before - 1)

    const again = await imported('tern-1', { site: 'hall' })
    const second = await signed('tern-1')
    expect(second.seq).toBeGreaterThan(first.seq)
    expect(second.site).toBe('hall')
    const back = await connectDevice(`mqtt://127.0.0.1:${gateway!.mqttPort}`, 'tern-1', again)
    clients.push(back)
    expect(back.connected).toBe(true)
    expect((await reports('tern-1', 'hall')).reports).toBeGreaterThan(1)
    expect(await shown('tern-1')).toMatchObject({ removedMs: null, site: 'hall' })
    expect(await shown(`tern-1~${id}`)).toMatchObject({ removedMs: answer.json.removedMs, site: 'lab' })
    expect(rowsOf(id)).toBe(before - 1)
  })

  it('keeps nothing of one that is to be erased but the audit and the revocation, and refuses its rows all the same', async () => {
    const device = world.device()
    expect(await device.enrol(await world.claim('tern-2'))).toMatchObject({ ok: true })
    await reports('tern-2')
    const pending = await world.claim('tern-2', { replace: true })
    const { id } = db.prepare("SELECT id FROM devices WHERE name = 'tern-2'").get() as { id: number }
    expect(rowsOf(id)).toBeGreaterThan(3)
    expect((await remove('tern-2', '&erase=true')).json).toMatchObject({ erased: true })
    expect(rowsOf(id)).toBe(0)
    expect((await shown('tern-2')).code).toBe('not-found')
    expect(await device.token()).toMatchObject({ ok: false, error: { code: 'unknown-key' } })
    expect(await world.device().enrol(pending)).toMatchObject({ ok: false, error: { code: 'claim-invalid' } })
    expect((await reports('tern-2')).reports).toBe(0)
    expect(db.prepare("SELECT count(*) FROM devices WHERE name = 'tern-2'").pluck().get()).toBe(0)
    const { items } = (await world.call('GET', '/v1/revocations?after=0')).json
    expect(items.map((item: { device: string }) => item.device)).toContain('tern-2')
    const { entries } = (await world.call('GET', '/v1/audit')).json
    expect(entries[0]).toMatchObject({ action: 'device.removed', subject: 'tern-2', detail: { erased: true } })
    // A new one of the name is new in every way.
    const next = world.device()
    expect(await next.enrol(await world.claim('tern-2'))).toMatchObject({ ok: true })
    expect(await next.token()).toMatchObject({ ok: true })
    expect((await reports('tern-2')).reports).toBeGreaterThan(1)
  })

  it('and revoking one, take it out of every arm', async () => {
    await imported('tern-3')
    await imported('tern-4')
    db.pragma('foreign_keys = OFF')
    const id = (name: string) => db.prepare('SELECT id FROM devices WHERE name = ?').pluck().get(name) as number
    for (const name of ['tern-3', 'tern-4']) {
      db.prepare("INSERT INTO rollout_devices (rollout, device, bucket) VALUES ('r-1', ?, 0.5)").run(id(name))
    }
    const left = (device: number) =>
      db.prepare('SELECT left_ms FROM rollout_devices WHERE device = ?').pluck().get(device)
    expect(left(id('tern-3'))).toBeNull()
    await world.call('POST', '/v1/devices/tern-3/revoke', { reason: 'stolen' })
    await remove('tern-4')
    expect(left(id('tern-3'))).toBeGreaterThan(0)
    expect(left(id('tern-4'))).toBeGreaterThan(0)
  })

  it('needs a reason, an operator and a device', async () => {
    await imported('tern-5')
    expect((await world.call('DELETE', '/v1/devices/tern-5')).status).toBe(400)
    expect((await world.call('DELETE', '/v1/devices/tern-5?reason=x', undefined, null)).status).toBe(401)
    expect((await remove('nobody')).status).toBe(404)
    expect(await shown('tern-5')).toMatchObject({ removedMs: null })
  })
})

describe('moving a device', () => {
  it('to another site gets it an assignment for there at once, and that for the old place is served no more', async () => {
    await startedGateway()
    await imported('crane-1')
    const first = await signed('crane-1')
    await until('the gateway holds its assignment', () => count('assignment', 'published') >= 1)
    await imported('crane-1', { site: 'hall' })
    const second = await signed('crane-1', ({ site }) => site === 'hall')
    expect(second.seq).toBeGreaterThan(first.seq)
    const { items } = (await world.call('GET', '/v1/assignments?after=0')).json
    expect(items.filter((item: { device: string }) => item.device === 'crane-1')).toHaveLength(1)
    // The same place again is no move.
    await imported('crane-1', { site: 'hall' })
    await world.cloud.evaluate()
    expect((await served('crane-1'))!.seq).toBe(second.seq)
  })

  it('by a claim that replaces it counts as well', async () => {
    const old = world.device()
    expect(await old.enrol(await world.claim('crane-2'))).toMatchObject({ ok: true })
    await signed('crane-2')
    expect(await world.device().enrol(await world.claim('crane-2', { replace: true, site: 'roof' }))).toMatchObject({
      ok: true,
    })
    expect((await signed('crane-2', ({ site }) => site === 'roof')).site).toBe('roof')
  })

  it('to a board that its model does not fit takes the model from it', async () => {
    await imported('crane-3')
    await signed('crane-3')
    await imported('crane-3', { board: 'board-b' })
    expect(await shown('crane-3')).toMatchObject({ board: 'board-b', target: null })
    expect(await served('crane-3')).toBeUndefined()
    await imported('crane-3', { board: 'board-a' })
    expect(await shown('crane-3')).toMatchObject({ target: { name: 'kws-1' } })
  })
})

describe('an id', () => {
  it('is taken in any case everywhere, and is one: a MAC address in upper case connects, reports and hears its assignment', async () => {
    await startedGateway()
    const MAC = 'AA:BB:CC:DD:EE:0F'
    const device = world.device()
    expect(await device.enrol(await world.claim(MAC, { site: 'Werk_1.Nord' }))).toMatchObject({ ok: true })
    expect(device.identity).toMatchObject({ device: 'aa:bb:cc:dd:ee:0f', site: 'werk_1.nord' })
    expect(await shown(MAC)).toMatchObject({ name: 'aa:bb:cc:dd:ee:0f', site: 'werk_1.nord' })
    const granted = await device.token()
    if (!granted.ok) throw new Error(granted.error.detail)
    const assignment = await signed('aa:bb:cc:dd:ee:0f')
    const client = await connectDevice(`mqtt://127.0.0.1:${gateway!.mqttPort}`, MAC, granted.value.token)
    clients.push(client)
    const heard: [string, string][] = []
    client.on('message', (topic, payload) => heard.push([topic, payload.toString('utf8')]))
    const rights = await client.subscribeAsync(`kinglet/v1/Werk_1.Nord/${MAC}/assign`, { qos: 1 })
    expect(rights[0]!.qos).toBe(1)
    await until('the assignment comes', () => heard.length > 0)
    expect(heard[0]![0]).toBe('kinglet/v1/werk_1.nord/aa:bb:cc:dd:ee:0f/assign')
    expect(JSON.parse(heard[0]![1]).signed).toMatchObject({ device: assignment.device, seq: assignment.seq })
    // Its topic is its own in any case; another's is not.
    client.on('error', () => undefined)
    const published = (topic: string) => client.publishAsync(topic, Buffer.of(1), { qos: 1 })
    await published(`kinglet/v1/werk_1.NORD/${MAC}/report`)
    await until('it is looked at', () => Object.keys(gateway!.stats().messages.report ?? {}).length > 0)
    expect(count('publish', 'bad-topic')).toBe(0)
    // The same device in another spelling takes the place of its first connection.
    const ended = new Promise<void>((resolve) => client.once('close', () => resolve()))
    clients.push(await connectDevice(`mqtt://127.0.0.1:${gateway!.mqttPort}`, MAC.toLowerCase(), granted.value.token))
    await ended
    expect(
      (await world.call('POST', `/v1/devices/${encodeURIComponent(MAC)}/revoke`, { reason: 'test' })).json,
    ).toMatchObject({ device: 'aa:bb:cc:dd:ee:0f' })
  })

  it('of an import is one as well, so that two spellings with two sites are a contradiction; what is none is refused', async () => {
    const uuid = '5F0E8A4C-8B1D-4A57-9A55-0C1D2E3F4A5B'
    expect(await imported(uuid)).toMatch(/^ey/)
    expect(await shown(uuid.toLowerCase())).toMatchObject({ name: uuid.toLowerCase() })
    const row = { board: 'board-a' }
    const twice = await world.call('POST', '/v1/devices', [
      { device: 'Lark-1', site: 'lab', ...row },
      { device: 'lark-1', site: 'hall', ...row },
    ])
    expect(twice).toMatchObject({ status: 409, json: { code: 'conflict' } })
    for (const device of ['a/b', 'a+', '#', 'a b', 'ä', 'a|b', '', 'd'.repeat(65), '..', 'a~1']) {
      const answer = await world.call('POST', '/v1/devices', [{ device, site: 'lab', ...row }])
      expect([answer.status, answer.json.code], device).toEqual([400, 'invalid-request'])
    }
    expect((await reports(uuid)).reports).toBeGreaterThan(1)
    expect(db.prepare('SELECT count(*) FROM devices WHERE name = ?').pluck().get(uuid.toLowerCase())).toBe(1)
    expect(db.prepare('SELECT count(*) FROM devices WHERE name <> lower(name)').pluck().get()).toBe(0)
  })
})

describe('hours of updates', () => {
  const put = (path: string, window: string | null) => world.call('PUT', path, { window })

  it('of a device go before those of its site; each change is signed at once, in minutes and offsets of the zone', async () => {
    await imported('heron-1', { site: 'pier' })
    await imported('heron-2', { site: 'pier' })
    expect((await signed('heron-1')).window).toBeUndefined()
    expect((await put('/v1/sites/Pier/window', 'Europe/Berlin 02:00-05:00')).json).toEqual({
      name: 'pier',
      window: 'Europe/Berlin 02:00-05:00',
    })
    const { window } = await signed('heron-1', (assignment) => assignment.window !== undefined)
    expect(window).toMatchObject({ fromMinute: 120, toMinute: 300 })
    expect(window!.offsets.length).toBeGreaterThanOrEqual(2)
    await put('/v1/devices/heron-2/window', 'UTC 10:00-11:30')
    await signed('heron-2', (assignment) => assignment.window?.fromMinute === 600)
    expect(await shown('heron-2')).toMatchObject({ updateWindow: 'UTC 10:00-11:30' })
    await put('/v1/sites/pier/window', null)
    await signed('heron-1', (assignment) => assignment.window === undefined)
    expect((await served('heron-2'))!.window).toMatchObject({ fromMinute: 600, toMinute: 690 })
    expect(await put('/v1/devices/heron-2/window', 'Europe/Atlantis 02:00-05:00')).toMatchObject({
      status: 400,
      json: { code: 'invalid-request' },
    })
    expect((await put('/v1/devices/nobody/window', null)).status).toBe(404)
  })
})

describe('an import', () => {
  it('that says two things of one device is refused as a whole, with the rows', async () => {
    const row = { site: 'lab', board: 'board-a' }
    const answer = await world.call('POST', '/v1/devices', [
      { device: 'ibis-1', ...row },
      { device: 'ibis-2', ...row },
      { device: 'ibis-1', site: 'hall', board: 'board-a' },
    ])
    expect(answer).toMatchObject({ status: 409, json: { code: 'conflict' } })
    expect(answer.json.detail).toContain('row 1 at lab on board-a, row 3 at hall on board-a')
    expect((await shown('ibis-2')).code).toBe('not-found')
    expect(
      (
        await world.call('POST', '/v1/devices', [
          { device: 'ibis-1', ...row },
          { device: 'ibis-1', ...row },
        ])
      ).status,
    ).toBe(200)
  })
})
