import { chmodSync, existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { DEVICE_ADDRESS_HEADER, type GatewayClaimFile } from '../../../contract/enrolment.ts'
import { seededRandom } from '../../../contract/random.ts'
import type { IngestBatch } from '../../../contract/uplink.ts'
import { type Gateway, startGateway } from '../../../gateway/gateway.ts'
import type { GatewayOptions } from '../../../gateway/gateway-options.ts'
import { gatewayToken } from '../../fixtures/gateway-token.ts'
import { IdentityWorld, secureRandom } from '../../fixtures/identity-world.ts'
import { batchOf, SyntheticDevice } from '../../fixtures/synthetic-fleet.ts'
import { quietLogger, tempDir, until } from './gateway-harness.ts'

const HOUR = 3_600_000
const MODEL = '11'.repeat(8)
const NEVER = 2 ** 53 - 1
const world = new IdentityWorld()
const gateways: Gateway[] = []
beforeAll(() => world.start())
afterAll(() => world.stop())
afterEach(async () => {
  for (const gateway of gateways.splice(0)) await gateway.close()
})

async function claimed(gateway: string, sites: readonly string[], replace = false): Promise<GatewayClaimFile> {
  const { status, json } = await world.call('POST', '/v1/gateway-claims', { gateway, sites, replace })
  expect(status, JSON.stringify(json)).toBe(200)
  return json
}
async function start(dataDir: string, more: Partial<GatewayOptions> = {}): Promise<Gateway> {
  const gateway = await startGateway({
    ...{ dataDir, cloudUrl: world.cloud.url, clock: world.clock, secureRandom, storeInProcess: true },
    ...{ random: seededRandom(1), logger: quietLogger, uplinkIntervalMs: 20, revocationPollMs: 50 },
    ...{ assignmentWaitSeconds: 1, assignmentIdleMs: 100 },
    ...more,
  })
  gateways.push(gateway)
  return gateway
}
async function ended(gateway: Gateway): Promise<void> {
  gateways.splice(gateways.indexOf(gateway), 1)
  await gateway.close()
}
const shown = async (name: string) => (await world.call('GET', `/v1/gateways/${name}`)).json
const service = (gateway: Gateway) => gateway.stats().messages['service-token'] ?? {}
async function enrolled(device: string, site: string): Promise<void> {
  const answer = await world.call('POST', '/v1/devices', [{ device, site, board: 'board-a' }])
  expect(answer.status, JSON.stringify(answer.json)).toBe(200)
}
const change = (name: string, what: string) => world.call('POST', `/v1/gateways/${name}/${what}`, { reason: 'a test' })

describe('a gateway', () => {
  it('enrols with a key of its own, which stays in its folder, and needs its claim no more', async () => {
    const dataDir = tempDir()
    const claim = await claimed('gw-key', ['lab', 'yard'])
    const first = await start(dataDir, { claim })
    expect(service(first)).toEqual({ renewed: 1 })
    const file = join(dataDir, 'identity.json')
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readFileSync(file, 'utf8')).not.toContain(claim.secret)
    const gateway = await shown('gw-key')
    expect(gateway).toMatchObject({ state: 'active', sites: ['lab', 'yard'], rows: 0, lastMs: 0 })
    expect(gateway.keyId).toMatch(/^[0-9a-f]{64}$/)
    await ended(first)
    // Others may read a folder that was copied; the next start ends that.
    chmodSync(file, 0o644)
    const again = await start(dataDir)
    expect(service(again)).toEqual({ renewed: 1 })
    expect(statSync(file).mode & 0o777).toBe(0o600)
    // The token is asked for anew by proof of the key, long before it ends, with nobody's clock.
    world.clock.aheadMs += 35 * 60_000
    await again.reload()
    await until('a second token', () => service(again).renewed === 2)
  })

  it('is not enrolled by a claim that was used, by another name, or over its own folder', async () => {
    const claim = await claimed('gw-once', ['lab'])
    const dataDir = tempDir()
    const first = await start(dataDir, { claim })
    const thief = await start(tempDir(), { claim })
    expect(service(thief)).toEqual({ 'not-renewed': 1 })
    const other = await claimed('gw-other', ['lab'])
    await ended(first)
    await expect(start(dataDir, { claim: other })).rejects.toThrow(/folder of gateway gw-once/)
    await expect(start(dataDir, { gatewayId: 'gw-other' })).rejects.toThrow(/knows this gateway as gw-once/)
    expect((await world.call('POST', '/v1/gateway-claims', { gateway: 'gw-once', sites: ['roof'] })).json.code).toBe(
      'conflict',
    )
    // A claim of a device is none of a gateway.
    const ofDevice = await world.claim('wren-1')
    const wrong = { ...claim, gateway: 'wren-1', claim: ofDevice.claim, secret: ofDevice.secret }
    expect(service(await start(tempDir(), { claim: wrong }))).toEqual({ 'not-renewed': 1 })
    expect((await world.call('GET', '/v1/gateways/wren-1')).status).toBe(404)
  })

  it('that is revoked is told so at once, gets no token, and comes back with another claim and another key', async () => {
    const dataDir = tempDir()
    const gateway = await start(dataDir, { claim: await claimed('gw-gone', ['lab']) })
    const { keyId } = await shown('gw-gone')
    expect((await change('gw-gone', 'revoke')).json.state).toBe('revoked')
    await until('the refusal', () => (service(gateway)['not-renewed'] ?? 0) > 0)
    await ended(gateway)
    const back = await start(dataDir, { claim: await claimed('gw-gone', ['yard']) })
    expect(service(back)).toEqual({ renewed: 1 })
    expect(await shown('gw-gone')).toMatchObject({ state: 'active', sites: ['yard'] })
    expect((await shown('gw-gone')).keyId).not.toBe(keyId)
  })

  it('with a key has no token from anybody else: none is minted for it, and no other of its name is taken', async () => {
    const before = await gatewayToken(world.cloud, 'gw-both', ['lab'])
    const isTaken = async (token: string) => (await world.call('GET', '/v1/assignments', undefined, token)).json.code
    expect(await isTaken(before)).toBeUndefined()
    await start(tempDir(), { claim: await claimed('gw-both', ['lab'], true) })
    expect(await isTaken(before)).toBe('gateway-unknown')
    await expect(gatewayToken(world.cloud, 'gw-both', ['lab'])).rejects.toThrow(/has a key/)
    // Whoever has the cloud's own hand, but not the key.
    const { token } = await world.cloud.tokens.mintService('gw-both', 'gateway', HOUR)
    expect(await isTaken(token)).toBe('gateway-unknown')
    const stranger = await world.cloud.tokens.mintService('gateway-1', 'gateway', HOUR)
    expect(await isTaken(stranger.token)).toBe('gateway-unknown')
    await expect(gatewayToken(world.cloud, 'gw-new', [])).rejects.toThrow()
  })

  it('that cannot reach the cloud at its start serves all the same, and enrols later', async () => {
    const claim = await claimed('gw-late', ['lab'])
    const gateway = await start(tempDir(), { claim, cloudUrl: 'http://127.0.0.1:9' })
    expect(service(gateway)['not-renewed'] ?? 0).toBeLessThanOrEqual(1)
    expect(existsSync(join(tempDir(), 'identity.json'))).toBe(false)
    expect((await fetch(`http://127.0.0.1:${gateway.httpPort}/healthz`)).status).toBe(200)
  })
})

/** Rows of a device of before now. */
function rowsOf(device: string, site: string) {
  const now = world.clock.wallMs()
  const from = now - (now % HOUR) - 3 * HOUR
  const made = new SyntheticDevice(device, MODEL, from, seededRandom(3), site)
  return { ...made.live(from + 3 * HOUR, { falseWakes: 2, verified: 2 }), event: made.event('booted', from) }
}

describe('a gateway says only what its sites may say', () => {
  let token: string
  const say = async (rows: Partial<IngestBatch>, gateway = 'gw-lab') =>
    world.call('POST', '/v1/ingest', { ...batchOf(rows), gateway }, token)
  beforeAll(async () => {
    token = await gatewayToken(world.cloud, 'gw-lab', ['lab'])
    await enrolled('lark-1', 'lab')
    await enrolled('lark-2', 'pier')
  })

  it('in its own name', async () => {
    expect((await say({}, 'gw-pier')).json.code).toBe('foreign-gateway')
    const asOperator = await world.call('POST', '/v1/ingest', { ...batchOf({}), gateway: 'operator' })
    expect(asOperator.json.code).toBe('not-authorized')
  })

  it('of its sites and of devices that are enrolled there; the rest of the batch is taken, and it is told of', async () => {
    const [own, foreign] = [rowsOf('lark-1', 'lab'), rowsOf('lark-2', 'pier')]
    const stolen = rowsOf('lark-2', 'lab')
    const made = rowsOf('nobody-1', 'lab')
    const before = (await world.call('GET', '/v1/devices?limit=2000')).json.devices.length
    const aggregate = {
      ...{ hourMs: own.reports[0]!.receivedMs, revision: 1, model: MODEL, board: 'board-a', rollout: '', stage: 0 },
      ...{ arm: 'none' as const, listeningMs: 1, activeMs: 1, wakes: 1, gateOpenings: 1, confirmed: 1, rejected: 0 },
      ...{ energyMj: 1, radioBytes: 1, site: 'lab' },
    }
    const answer = await say({
      reports: [own, foreign, stolen, made].flatMap(({ reports }) => reports),
      verdicts: [own, foreign, stolen, made].flatMap(({ verdicts }) => verdicts),
      events: [own, foreign, stolen, made].map(({ event }) => event),
      aggregates: [aggregate, { ...aggregate, site: 'pier' }, { ...aggregate, hourMs: NEVER }],
    })
    const rows = (of: typeof own) => of.reports.length + of.verdicts.length + 1
    expect(answer.json).toMatchObject({
      ...{ reports: own.reports.length, verdicts: own.verdicts.length, events: 1, aggregates: 1 },
      refused: {
        ...{ 'foreign-site': rows(foreign) + 1, 'foreign-device': rows(stolen), 'unknown-device': rows(made) },
        'implausible-time': 1,
      },
    })
    expect((await world.call('GET', '/v1/devices?limit=2000')).json.devices).toHaveLength(before)
    expect((await world.call('GET', '/v1/devices/nobody-1')).status).toBe(404)
    expect((await world.call('GET', '/v1/devices/lark-2')).json).toMatchObject({ lastSeenMs: 0, boots: [] })
    const alerts = async () =>
      (await world.call('GET', '/v1/alerts')).json.alerts.filter((alert: { code: string; metric: string }) => {
        return alert.code === 'gateway-overreach' && alert.metric === 'gw-lab'
      })
    const refused = Object.values(answer.json.refused as Record<string, number>).reduce((a, b) => a + b, 0)
    expect(await alerts()).toMatchObject([{ state: 'open', ratio: refused }])
    await say({ events: [foreign.event] })
    // One alert and one line of the audit, however often.
    expect(await alerts()).toHaveLength(1)
    const entries: { subject: string; action: string }[] = (await world.call('GET', '/v1/audit')).json.entries
    const told = entries.filter(({ subject, action }) => subject === 'gw-lab' && action === 'alert.raised')
    expect(told).toHaveLength(1)
    expect(await shown('gw-lab')).toMatchObject({ refused: refused + 1 })
  })

  it('of no time that has not come: a device is not made to be heard for ever', async () => {
    const { reports, event } = rowsOf('lark-1', 'lab')
    const late = { ...reports[0]!, boot: 9, receivedMs: NEVER, wallMs: NEVER }
    await say({ reports: [late], events: [{ ...event, boot: 9, seq: 7, receivedMs: NEVER, wallMs: NEVER }] })
    const { lastSeenMs } = (await world.call('GET', '/v1/devices/lark-1')).json
    expect(lastSeenMs).toBeLessThanOrEqual(world.clock.wallMs())
  })

  it('of a device that has moved what it heard before that, and nothing after', async () => {
    await enrolled('lark-3', 'lab')
    const { reports } = rowsOf('lark-3', 'lab')
    await enrolled('lark-3', 'pier')
    const after = { ...reports[0]!, boot: 2, receivedMs: world.clock.wallMs() + 1_000 }
    const answer = await say({ reports: [...reports, after] })
    expect(answer.json).toMatchObject({ reports: reports.length, refused: { 'foreign-device': 1 } })
    world.clock.aheadMs += 8 * 24 * HOUR
    token = await gatewayToken(world.cloud, 'gw-lab', ['lab'])
    const old = { ...reports[0]!, boot: 3 }
    expect((await say({ reports: [old] })).json).toMatchObject({ reports: 0, refused: { 'foreign-device': 1 } })
  })
})

describe('a gateway reads only what is its own', () => {
  it('on every route there is', async () => {
    const token = await gatewayToken(world.cloud, 'gw-read', ['lab'])
    const { json } = await world.call('GET', '/openapi.json')
    const reads = Object.keys(json.paths).filter((path) => json.paths[path].get !== undefined)
    expect(reads.length).toBeGreaterThan(20)
    const open: string[] = []
    for (const path of reads) {
      if (json.paths[path].get.security?.length === 0) continue
      const url = path.replace(/\{[^}]+\}/g, (name) => (name === '{version}' ? '1' : 'x1'))
      const response = await fetch(world.cloud.url + url, { headers: { authorization: `Bearer ${token}` } })
      await response.body?.cancel()
      if (response.status !== 403) open.push(path)
    }
    expect(open.sort()).toEqual([
      '/v1/artifacts/{sha256}',
      '/v1/assignments',
      '/v1/metadata/{file}',
      '/v1/models',
      '/v1/revocations',
      '/v1/wake-checks',
    ])
  })

  it('assignments and revocations of its sites, notices of its devices', async () => {
    const token = await gatewayToken(world.cloud, 'gw-own', ['lab'])
    for (const [device, site] of [
      ['owl-1', 'lab'],
      ['owl-2', 'pier'],
    ] as const) {
      await enrolled(device, site)
      await world.call('POST', `/v1/devices/${device}/revoke`, { reason: 'a test' })
    }
    const read = async (path: string) => (await world.call('GET', path, undefined, token)).json
    const devices = ((await read('/v1/revocations')).items as { device: string }[]).map(({ device }) => device)
    expect(devices).toContain('owl-1')
    expect(devices).not.toContain('owl-2')
    expect((await read('/v1/assignments?site=pier')).code).toBe('foreign-site')
    expect((await read('/v1/assignments?gateway=gw-lab&site=lab')).v).toBe(1)
    const notice = async (device: string) => {
      const body = { device, takenOver: 3, sinceMs: world.clock.wallMs() }
      return (await world.call('POST', '/v1/notices', body, token)).status
    }
    expect([await notice('owl-1'), await notice('owl-2')]).toEqual([200, 404])
  })
})

describe('failed proofs', () => {
  const proof = { keyId: '0'.repeat(64), challenge: '0'.repeat(76), signature: '0'.repeat(128) }
  const fail = async (token: string | null, address: string | undefined, device = 'finch-9') => {
    const response = await fetch(`${world.cloud.url}/v1/devices/${device}/token`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(token !== null && { authorization: `Bearer ${token}` }),
        ...(address !== undefined && { [DEVICE_ADDRESS_HEADER]: address }),
      },
      body: JSON.stringify(proof),
    })
    return ((await response.json()) as { code: string }).code
  }
  const many = async (count: number, one: (i: number) => Promise<string>) => {
    const codes = new Set<string>()
    for (let i = 0; i < count; i++) codes.add(await one(i))
    return codes.has('rate-limited')
  }

  it('of one site use up no other’s, of one address no other’s, of one name behind an address no other’s', async () => {
    const [loud, calm] = [
      await gatewayToken(world.cloud, 'gw-loud', ['lab']),
      await gatewayToken(world.cloud, 'gw-calm', ['pier']),
    ]
    expect(await many(40, () => fail(loud, '10.0.0.1'))).toBe(true)
    expect(await fail(loud, '10.0.0.2')).toBe('unknown-key')
    // All that one gateway carries has a bound, and another gateway has its own.
    expect(await many(400, (i) => fail(loud, `10.1.${i >> 4}.1`, `finch-${i}`))).toBe(true)
    expect(await fail(loud, '10.9.9.9')).toBe('rate-limited')
    expect(await fail(calm, '10.0.0.1')).toBe('unknown-key')
    // 25 honest devices of the other site, each with its proof.
    const device = world.device()
    await device.enrol(await world.claim('finch-1'))
    for (let i = 0; i < 25; i++) expect(await device.token()).toMatchObject({ ok: true })
  })

  it('from nobody known are of the address that they come from, whatever it says of itself', async () => {
    expect(await many(40, (i) => fail(null, `10.2.0.${i}`))).toBe(true)
    const revoked = await gatewayToken(world.cloud, 'gw-bad', ['lab'])
    await change('gw-bad', 'revoke')
    expect(await fail(revoked, '10.3.0.1')).toBe('rate-limited')
  })
})
