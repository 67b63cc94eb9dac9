import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import mqtt, { type MqttClient } from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { encodeEvent } from '../../../contract/attested-event.ts'
import { bytesToHex } from '../../../contract/bytes.ts'
import { EVENT_CODES, eventCodec } from '../../../contract/messages.ts'
import { seededRandom } from '../../../contract/random.ts'
import { err } from '../../../contract/result.ts'
import { deviceKey } from '../../../device/core/flash/identity.ts'
import { TokenSource } from '../../../device/link/token-source.ts'
import { TransportMqtt } from '../../../device/link/transport-mqtt.ts'
import { type Gateway, startGateway } from '../../../gateway/gateway.ts'
import type { GatewayOptions } from '../../../gateway/gateway-options.ts'
import { gatewayToken } from '../../fixtures/gateway-token.ts'
import { IdentityWorld, secureRandom, type TestDevice } from '../../fixtures/identity-world.ts'
import { connectDevice, quietLogger, systemClock, tempDir, topic, until } from './gateway-harness.ts'

const HOUR = 3_600_000
const MODEL = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)
let world: IdentityWorld
let gateway: Gateway | undefined
const clients: MqttClient[] = []
beforeAll(async () => {
  world = await new IdentityWorld().start()
})
afterAll(() => world.stop())
afterEach(async () => {
  for (const client of clients.splice(0)) client.end(true)
  await gateway?.close()
  gateway = undefined
})

async function start(more: Partial<GatewayOptions> = {}): Promise<Gateway> {
  const token = await gatewayToken(world.cloud, 'gateway-1', ['lab'])
  gateway = await startGateway({
    ...{ dataDir: tempDir(), cloudUrl: world.cloud.url, serviceToken: token, clock: world.clock, secureRandom },
    ...{ random: seededRandom(1), logger: quietLogger, uplinkIntervalMs: 20, revocationPollMs: 50 },
    ...{ assignmentWaitSeconds: 1, assignmentIdleMs: 100, storeInProcess: true },
    ...more,
  })
  return gateway
}
async function connect(device: string, token: string, more = {}): Promise<MqttClient> {
  const client = await connectDevice(`mqtt://127.0.0.1:${gateway!.mqttPort}`, device, token, more)
  client.on('error', () => undefined)
  clients.push(client)
  return client
}
const relayUrl = () => `http://127.0.0.1:${gateway!.wsPort}`
async function enrolled(name: string, more: Record<string, unknown> = {}): Promise<TestDevice> {
  const device = world.device()
  const done = await device.enrol(await world.claim(name, more))
  if (!done.ok) throw new Error(done.error.detail)
  return device
}
async function tokenOf(device: TestDevice): Promise<string> {
  const granted = await device.token()
  if (!granted.ok) throw new Error(granted.error.detail)
  return granted.value.token
}
const count = (kind: string, outcome: string): number => gateway!.stats().messages[kind]?.[outcome] ?? 0

describe('a device that reaches only its gateway', () => {
  it('enrols, gets tokens and changes its key through it, and the gateway serves nothing else there', async () => {
    await start()
    const device = world.device(relayUrl())
    expect(await device.enrol(await world.claim('gull-1'))).toMatchObject({ ok: true })
    expect(await device.rotate()).toMatchObject({ ok: true })
    const client = await connect('gull-1', await tokenOf(device))
    expect(client.connected).toBe(true)
    for (const path of ['/v1/claims', '/v1/devices', '/v1/devices/gull-1/revoke', '/v1/devices/../tokens/token']) {
      expect((await fetch(relayUrl() + path, { method: 'POST', body: '{}' })).status, path).toBe(426)
    }
    expect((await fetch(`${relayUrl()}/v1/keys`)).status).toBe(426)
    const wrong = await fetch(`${relayUrl()}/v1/challenges`)
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'POST'])
    const long = await fetch(`${relayUrl()}/v1/enrolments`, { method: 'POST', body: 'x'.repeat(5_000) })
    expect(long.status).toBe(413)
  })

  it('is told that the cloud is away, and a flood from one address is held up', async () => {
    // Time stands still: on a slow machine the allowance would fill up again meanwhile.
    await start({ cloudUrl: 'http://127.0.0.1:1', clock: { ...systemClock, monotonicMs: () => 0 } })
    const device = world.device(relayUrl())
    expect(await device.enrol(await world.claim('gull-2'))).toMatchObject({ error: { code: 'unavailable' } })
    const statuses: number[] = []
    for (let i = 0; i < 230; i++) {
      statuses.push((await fetch(`${relayUrl()}/v1/challenges`, { method: 'POST', body: '{}' })).status)
    }
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(10)
    expect(statuses[0]).toBe(503)
  })

  it('cannot hold the relay with a request that does not end', async () => {
    await start()
    const slow = request({
      port: gateway!.wsPort,
      method: 'POST',
      path: '/v1/challenges',
      headers: { 'content-length': '10' },
    })
    slow.on('error', () => undefined)
    slow.write('{')
    expect((await fetch(`${relayUrl()}/v1/challenges`, { method: 'POST', body: '{}' })).status).toBe(200)
    slow.destroy()
  })
})

describe('a stolen token', () => {
  it('is of no use for another device or another site, nor after its hour', async () => {
    await start()
    const token = await tokenOf(await enrolled('jay-1'))
    await enrolled('jay-2')
    await expect(connect('jay-2', token)).rejects.toMatchObject({ code: 5 })
    const client = await connect('jay-1', token)
    // Another site: the connection ends at the first message there.
    const gone = new Promise<void>((resolve) => client.once('close', () => resolve()))
    client.publish(topic('jay-1', 'event', 'other-site'), Buffer.from('x'), { qos: 1 })
    await gone
    world.clock.aheadMs += HOUR + 10_000
    await expect(connect('jay-1', token)).rejects.toMatchObject({ code: 4 })
  })

  it('ends with the revocation of its device, connected or not, and with a new claim', async () => {
    await start()
    const device = await enrolled('jay-3')
    const token = await tokenOf(device)
    const client = await connect('jay-3', token)
    const gone = new Promise<void>((resolve) => client.once('close', () => resolve()))
    world.clock.aheadMs += 2_000
    await world.call('POST', '/v1/devices/jay-3/revoke', { reason: 'stolen' })
    // 50 ms between two looks in this test, half a minute as a command.
    await gone
    await expect(connect('jay-3', token)).rejects.toMatchObject({ code: 5 })
    expect(count('connection', 'device-revoked')).toBe(1)
    world.clock.aheadMs += 2_000
    const again = await enrolled('jay-3')
    expect((await connect('jay-3', await tokenOf(again))).connected).toBe(true)
    await expect(connect('jay-3', token)).rejects.toMatchObject({ code: 5 })
  })

  it('stays refused by a gateway that starts while the cloud is away', async () => {
    const dataDir = tempDir()
    await start({ dataDir })
    const token = await tokenOf(await enrolled('jay-4'))
    await connect('jay-4', token)
    world.clock.aheadMs += 2_000
    await world.call('POST', '/v1/devices/jay-4/revoke', { reason: 'stolen' })
    await until('the gateway hears of it', () => count('connection', 'revoked') === 1)
    await gateway!.close()
    await start({ dataDir, cloudUrl: 'http://127.0.0.1:1' })
    await expect(connect('jay-4', token)).rejects.toMatchObject({ code: 5 })
  })
})

describe('the device’s transport', () => {
  it('fetches its first token, and another when the gateway refuses the one it has', async () => {
    await start()
    const device = await enrolled('lark-1')
    let attempts = 0
    const tokens = new TokenSource(
      // The first one is of an earlier life: refused at the gateway.
      async () =>
        attempts++ === 0 ? { ok: true, value: { token: 'eyJ.eyJ.sig', expiresInSeconds: 3_600 } } : device.token(),
      { ...systemClock, monotonicMs: () => performance.now() * 100 },
      seededRandom(1),
    )
    await tokens.start()
    const events: string[] = []
    const transport = new TransportMqtt({
      url: `mqtt://127.0.0.1:${gateway!.mqttPort}`,
      site: 'lab' as never,
      device: 'lark-1' as never,
      token: () => tokens.current,
      refused: () => tokens.refused(),
      reconnectMs: 50,
    })
    transport.open(({ type }) => events.push(type))
    await until('a connection', () => events.includes('connected'))
    expect(attempts).toBeGreaterThanOrEqual(2)
    expect(count('connection', 'token-invalid')).toBeGreaterThanOrEqual(1)
    tokens.close()
    await transport.close()
  })
})

describe('two devices with one identity', () => {
  it('are noticed by how they push each other off, and the operator is told once', async () => {
    await start()
    const device = await enrolled('magpie-1')
    for (let i = 0; i < 7; i++) await connect('magpie-1', await tokenOf(device))
    const alerts = await until('the alert', async () => {
      const { json } = await world.call('GET', '/v1/alerts')
      const found = json.alerts.filter(({ code }: { code: string }) => code === 'identity-shared')
      return found.length > 0 && found
    })
    expect(alerts).toHaveLength(1)
    expect(alerts[0]).toMatchObject({ metric: 'magpie-1', state: 'open', ratio: 5 })
    expect(count('notice', 'accepted')).toBe(1)
  })

  it('a device that comes back over its own dead connection is none', async () => {
    await start()
    const device = await enrolled('magpie-2')
    for (let i = 0; i < 3; i++) await connect('magpie-2', await tokenOf(device))
    expect(count('connection', 'taken-over')).toBe(2)
    expect(count('notice', 'accepted') + count('notice', 'failed')).toBe(0)
  })
})

describe('a signed event', () => {
  it('reaches the cloud through the gateway as the device signed it, and one that is not signed does not count', async () => {
    await start()
    const device = await enrolled('tern-1')
    const client = await connect('tern-1', await tokenOf(device))
    const event = { boot: 1, seq: 0, wallMs: 0, model: MODEL, assignmentSeq: 7, code: EVENT_CODES.indexOf('booted') }
    const bare = { ...event, seq: 1, code: EVENT_CODES.indexOf('install-confirmed'), model: new Uint8Array(8) }
    const { sign } = deviceKey(device.identity!.active!)
    await client.publishAsync(topic('tern-1', 'event'), Buffer.from(encodeEvent('tern-1', event, sign)), { qos: 1 })
    await client.publishAsync(topic('tern-1', 'event'), Buffer.from(eventCodec.encode(bare)), { qos: 1 })
    const run = await until('the run', async () => {
      const { json } = await world.call('GET', '/v1/devices/tern-1')
      return json.lastSeenMs > 0 && gateway!.stats().depths.spoolEvents === 0 && json.attestedRun
    })
    expect(run).toMatchObject({ model: bytesToHex(MODEL), assignmentSeq: 7 })
  })
})

describe('certificates', () => {
  const dir = mkdtempSync(join(tmpdir(), 'kinglet-tls-'))
  const file = (name: string) => join(dir, name)
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe', cwd: dir })
  const authority = (name: string) =>
    openssl(
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
      ...['-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.pem`],
    )
  const issue = (name: string, cn: string, ca: string, days = '1') => {
    openssl(
      ...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${cn}`],
      ...['-keyout', `${name}.key`, '-out', `${name}.csr`],
    )
    writeFileSync(file(`${name}.ext`), 'subjectAltName=IP:127.0.0.1\n')
    openssl(
      ...['x509', '-req', '-in', `${name}.csr`, '-CA', `${ca}.pem`, '-CAkey', `${ca}.key`, '-CAcreateserial'],
      ...['-days', days, '-out', `${name}.pem`, '-extfile', `${name}.ext`],
    )
  }
  const pair = (name: string) => ({ cert: readFileSync(file(`${name}.pem`)), key: readFileSync(file(`${name}.key`)) })
  let device: TestDevice
  const secure = async (cert: string | undefined, url = `mqtts://127.0.0.1:${gateway!.mqttPort}`) => {
    const client = await connectDevice(url, 'swift-1', await tokenOf(device), {
      ca: readFileSync(file('ca.pem')),
      ...(cert !== undefined && pair(cert)),
    })
    client.on('error', () => undefined)
    clients.push(client)
    return client
  }

  beforeAll(async () => {
    authority('ca')
    authority('stranger')
    issue('gateway', 'gateway', 'ca')
    issue('swift-1', 'swift-1', 'ca')
    issue('swift-2', 'swift-2', 'ca')
    issue('wrong-ca', 'swift-1', 'stranger')
    issue('expired', 'swift-1', 'ca', '-1')
    device = await enrolled('swift-1')
  })
  afterAll(() => rmSync(dir, { recursive: true }))
  const tls = () => ({ ...pair('gateway'), clientCa: readFileSync(file('ca.pem')) })

  it('let the device in that they name, over TCP and WebSocket, with its token', async () => {
    await start({ tls: tls() })
    expect((await secure('swift-1')).connected).toBe(true)
    expect((await secure('swift-1', `wss://127.0.0.1:${gateway!.wsPort}`)).connected).toBe(true)
    await expect(
      connectDevice(`mqtts://127.0.0.1:${gateway!.mqttPort}`, 'swift-1', 'eyJ.eyJ.sig', {
        ca: readFileSync(file('ca.pem')),
        ...pair('swift-1'),
      }),
    ).rejects.toMatchObject({ code: 4 })
  })

  it('of another device, another authority, an earlier time or none at all let nobody in', async () => {
    await start({ tls: tls() })
    await expect(secure('swift-2')).rejects.toMatchObject({ code: 5 })
    await expect(secure('swift-2', `wss://127.0.0.1:${gateway!.wsPort}`)).rejects.toMatchObject({ code: 5 })
    // TLS 1.3 tells a client of its refused certificate after it has begun to speak: the connection closes.
    const token = await tokenOf(device)
    for (const cert of ['wrong-ca', 'expired', undefined]) {
      const options = { ca: readFileSync(file('ca.pem')), ...(cert !== undefined && pair(cert)) }
      const outcome = await new Promise((resolve) => {
        const client = mqtt.connect(`mqtts://127.0.0.1:${gateway!.mqttPort}`, {
          ...{ clientId: 'swift-1', username: 'swift-1', password: token, protocolVersion: 4, reconnectPeriod: 0 },
          ...options,
        })
        clients.push(client)
        client.on('error', () => undefined)
        client.once('connect', () => resolve('connected'))
        client.once('close', () => resolve('closed'))
      })
      expect(outcome, cert).toBe('closed')
    }
    expect(count('connection', 'accepted')).toBe(0)
    expect(count('connection', 'handshake-failed')).toBeGreaterThanOrEqual(3)
  })

  it('are not asked for without an authority: TLS alone then, with the token', async () => {
    await start({ tls: pair('gateway') })
    expect((await secure(undefined)).connected).toBe(true)
    const untrusting = connectDevice(`mqtts://127.0.0.1:${gateway!.mqttPort}`, 'swift-1', await tokenOf(device), {
      ca: readFileSync(file('stranger.pem')),
    })
    await expect(untrusting).rejects.toThrow()
  })
})

it('a token source whose cloud is away tries again, and says so', async () => {
  const told: unknown[] = []
  const waits: number[] = []
  const source = new TokenSource(
    async () => err({ code: 'unavailable', detail: 'away' }),
    {
      ...systemClock,
      after(ms) {
        waits.push(ms)
        return () => undefined
      },
    },
    seededRandom(3),
    (error) => told.push(error?.code),
  )
  await source.start()
  expect(told).toEqual(['unavailable'])
  expect(waits[0]).toBeGreaterThanOrEqual(2_500)
  expect(waits[0]).toBeLessThanOrEqual(5_000)
  expect(source.current).toBe('')
  source.close()
})

describe('two devices of one flash', () => {
  it('that both come back for ever push each other off less and less: the gateway holds one off', async () => {
    await start()
    const device = await enrolled('jackdaw-1')
    const token = await tokenOf(device)
    const two = [1, 2].map(
      () =>
        new TransportMqtt({
          ...{ url: `mqtt://127.0.0.1:${gateway!.mqttPort}`, site: 'lab' as never, device: 'jackdaw-1' as never },
          ...{ token: () => token, reconnectMs: 10, chance: () => 0.5 },
        }),
    )
    for (const transport of two) transport.open(() => undefined)
    await until('one is held off', () => count('connection', 'held-off') >= 1)
    // Eight until it is too much; after that one each ten seconds and more.
    expect(count('connection', 'taken-over')).toBeLessThanOrEqual(9)
    expect(gateway!.stats().depths.connectedDevices).toBe(1)
    for (const transport of two) await transport.close()
  })
})
