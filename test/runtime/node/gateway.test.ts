import type { MqttClient } from 'mqtt'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LIMITS } from '../../../contract/limits.ts'
import {
  EVENT_CODES,
  eventCodec,
  metaCodec,
  metaGetCodec,
  reportCodec,
  verdictCodec,
} from '../../../contract/messages.ts'
import { ok } from '../../../contract/result.ts'
import { type Gateway, startGateway } from '../../../gateway/gateway.ts'
import type { GatewayOptions } from '../../../gateway/gateway-options.ts'
import type { Engine } from '../../../model/engine/engine.ts'
import {
  BOARD,
  connectDevice,
  FakeCloud,
  fakeEngine,
  gatewayOptions,
  MODEL_HEX,
  report,
  SITE,
  systemClock,
  tempDir,
  tokenIssuer,
  topic,
  until,
  wake,
} from './gateway-harness.ts'

type Issuer = Awaited<ReturnType<typeof tokenIssuer>>
let issuer: Issuer
let cloud: FakeCloud
let gateway: Gateway
let dataDir: string
const clients: MqttClient[] = []

const url = () => `mqtt://127.0.0.1:${gateway.mqttPort}`
async function start(more: Partial<GatewayOptions> = {}): Promise<void> {
  gateway = await startGateway(gatewayOptions(cloud, dataDir, { jwks: issuer.jwks, ...more }))
}
async function device(name: string, token?: string, at = url()): Promise<MqttClient> {
  const client = await connectDevice(at, name, token ?? (await issuer.token(name)))
  client.on('error', () => {})
  clients.push(client)
  return client
}
const closing = (client: MqttClient) => new Promise<void>((resolve) => client.once('close', () => resolve()))
const count = (kind: string, outcome: string): number => gateway.stats().messages[kind]?.[outcome] ?? 0
const refused = async (connecting: Promise<MqttClient>): Promise<string> => {
  try {
    clients.push(await connecting)
    return 'connected'
  } catch (cause) {
    return (cause as Error).message
  }
}

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

describe('admission', () => {
  it('lets a device in over TCP and WebSocket and refuses every other token', async () => {
    await start()
    await device('d1')
    await device('d2', undefined, `ws://127.0.0.1:${gateway.wsPort}`)
    expect(gateway.stats().depths.connectedDevices).toBe(2)

    const stranger = await tokenIssuer()
    const now = Math.floor(Date.now() / 1000)
    const cases: [string, string, string, string][] = [
      ['another key', 'd3', await stranger.token('d3'), 'token-invalid'],
      ['expired', 'd3', await issuer.token('d3', { expSeconds: now - 60 }), 'token-expired'],
      ['another audience', 'd3', await issuer.token('d3', { aud: 'kinglet-cloud' }), 'token-invalid'],
      ['another device', 'd3', await issuer.token('d4'), 'not-authorized'],
      ['hostile device id', '../d', await issuer.token('../d'), 'malformed'],
      ['hostile site', 'd3', await issuer.token('d3', { site: '+' }), 'token-invalid'],
      ['hostile board', 'd3', await issuer.token('d3', { board: 'a|b' }), 'token-invalid'],
      ['no token', 'd3', '', 'token-invalid'],
      ['noise', 'd3', 'a.b.c', 'token-invalid'],
    ]
    for (const [what, name, token, code] of cases) {
      const before = count('connection', 'malformed') + count('connection', 'token-invalid')
      expect(await refused(connectDevice(url(), name, token)), what).toMatch(/^Connection refused/)
      if (code === 'malformed')
        expect(count('connection', 'malformed') + count('connection', 'token-invalid')).toBe(before + 1)
      else expect(count('connection', code), what).toBeGreaterThan(0)
    }
    const { keys } = issuer.jwks
    const none = Buffer.from('{"alg":"none"}').toString('base64url')
    const claims = Buffer.from(
      JSON.stringify({ sub: 'd3', aud: 'kinglet-gateway', site: SITE, board: BOARD, exp: now + 60 }),
    )
    expect(keys).toHaveLength(1)
    expect(await refused(connectDevice(url(), 'd3', `${none}.${claims.toString('base64url')}.`))).toMatch(/refused/)
    expect(gateway.stats().depths.connectedDevices).toBe(2)
  })

  it('wants the client id to be the device, and a will of its own', async () => {
    await start()
    const token = await issuer.token('d1')
    expect(await refused(connectDevice(url(), 'd1', token, { clientId: 'other' }))).toMatch(/refused/)
    const will = (at: string, retain = false) => ({
      will: { topic: at, payload: Buffer.from('x'), qos: 1 as const, retain },
    })
    expect(await refused(connectDevice(url(), 'd1', token, will(topic('d2', 'event'))))).toMatch(/refused/)
    expect(await refused(connectDevice(url(), 'd1', token, will(topic('d1', 'assign'))))).toMatch(/refused/)
    expect(await refused(connectDevice(url(), 'd1', token, will(topic('d1', 'event'), true)))).toMatch(/refused/)
    expect(count('connection', 'bad-topic')).toBe(3)
    const event = Buffer.from(
      eventCodec.encode({
        boot: 1,
        seq: 0,
        wallMs: 0,
        code: EVENT_CODES.indexOf('battery-low'),
        model: undefined,
        error: undefined,
        detail: undefined,
        assignmentSeq: undefined,
      }),
    )
    const client = await connectDevice(url(), 'd1', token, {
      will: { topic: topic('d1', 'event'), payload: event, qos: 1, retain: false },
    })
    client.stream.destroy()
    await until('the will as an event', () => cloud.events.get('d1/1/0')?.code === 'battery-low')
  })

  it('ends a connection when its token expires, on the injected clock', async () => {
    let ahead = 0
    const clock = {
      ...systemClock,
      wallMs: () => Date.now() + ahead,
      // Timers of the injected clock run 100 times faster here.
      after: (delayMs: number, callback: () => void) => systemClock.after(delayMs / 100, callback),
    }
    await start({ clock })
    const client = await device('d1', await issuer.token('d1', { expSeconds: Math.floor(Date.now() / 1000) + 10 }))
    const closed = closing(client)
    ahead = 60_000
    await closed
    expect(count('connection', 'expired')).toBe(1)
    expect(
      await refused(
        connectDevice(url(), 'd1', await issuer.token('d1', { expSeconds: Math.floor(Date.now() / 1000) + 10 })),
      ),
    ).toMatch(/refused/)
  })

  it('fetches keys from the cloud, keeps them for its absence, and learns of a rotation', async () => {
    cloud.jwks = issuer.jwks
    gateway = await startGateway(gatewayOptions(cloud, dataDir))
    await device('d1')
    await gateway.close()
    await cloud.stop()
    gateway = await startGateway(gatewayOptions(cloud, dataDir))
    await device('d1')
    await gateway.close()
    await cloud.start()
    const next = await tokenIssuer('k2')
    cloud.jwks = { keys: [...issuer.jwks.keys, ...next.jwks.keys] }
    gateway = await startGateway(gatewayOptions(cloud, dataDir))
    await device('d2', await next.token('d2'))
  })

  it('counts a second connection of one identity and keeps the newer', async () => {
    await start()
    const older = await device('d1')
    const closed = closing(older)
    const newer = await device('d1')
    await closed
    expect(count('connection', 'taken-over')).toBe(1)
    await newer.publishAsync(topic('d1', 'report'), report(1, 0), { qos: 1 })
    expect(gateway.stats().depths.connectedDevices).toBe(1)
  })
})

describe('topic rights', () => {
  it('ends the connection on a publish outside of the device’s own uplink topics', async () => {
    await start()
    const forbidden = [
      topic('d2', 'report'),
      topic('d1', 'report', 'plant'),
      topic('d1', 'assign'),
      topic('d1', 'verdict'),
      topic('d1', 'report/x'),
      '$SYS/x',
      'kinglet',
    ]
    for (const at of forbidden) {
      const client = await device('d1')
      const closed = closing(client)
      client.publish(at, report(1, 0), { qos: 1 })
      await closed
    }
    for (const options of [{ qos: 1, retain: true }, { qos: 2 }] as const) {
      const client = await device('d1')
      const closed = closing(client)
      client.publish(topic('d1', 'report'), report(1, 0), options)
      await closed
    }
    expect(count('publish', 'bad-topic')).toBe(forbidden.length)
    expect(count('publish', 'not-authorized')).toBe(2)
    expect(count('report', 'accepted')).toBe(0)
  })

  it('grants filters under the own prefix and refuses the rest, wildcards included', async () => {
    await start()
    const client = await device('d1')
    const grant = async (filter: string) => {
      try {
        return (await client.subscribeAsync(filter, { qos: 1 }))[0]?.qos
      } catch {
        return 128
      }
    }
    for (const filter of [
      topic('d1', '#'),
      topic('d1', 'assign'),
      topic('d1', 'block/+'),
      topic('d1', `block/${'a'.repeat(64)}`),
    ])
      expect(await grant(filter)).toBe(1)
    for (const filter of [
      '#',
      'kinglet/#',
      topic('+', 'assign'),
      topic('d2', '#'),
      topic('d1', '+'),
      topic('d1', 'block/#'),
      `$SYS/#`,
      'kinglet/v1/lab/d1',
    ]) {
      expect(await grant(filter), filter).toBe(128)
    }
    for (let i = 0; i < 20; i++) await grant(topic('d1', `x${i}`))
    expect(count('subscription', 'too-many')).toBe(8)
    await client.unsubscribeAsync(topic('d1', 'x0'))
    expect(await grant(topic('d1', 'y'))).toBe(1)
  })

  it('never echoes a device’s messages to itself or others', async () => {
    await start()
    const [a, b] = [await device('d1'), await device('d2')]
    const heard: string[] = []
    for (const client of [a, b]) client.on('message', (at) => heard.push(at))
    await a.subscribeAsync(topic('d1', '#'))
    await b.subscribeAsync(topic('d2', '#'))
    await a.publishAsync(topic('d1', 'report'), report(1, 0), { qos: 1 })
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(heard).toEqual([])
  })
})

describe('messages', () => {
  it('acknowledges, counts and drops what cannot be decoded', async () => {
    await start()
    const client = await device('d1')
    const good = report(1, 0)
    const wrongVersion = Buffer.from(good)
    // Map of 15 entries (0xaf), key 0, then the version.
    expect([...wrongVersion.subarray(0, 3)]).toEqual([0xaf, 0, 1])
    wrongVersion[2] = 2
    await client.publishAsync(topic('d1', 'report'), wrongVersion, { qos: 1 })
    await client.publishAsync(topic('d1', 'report'), good.subarray(0, 40), { qos: 1 })
    await client.publishAsync(topic('d1', 'report'), Buffer.alloc(LIMITS.reportBytes + 1), { qos: 1 })
    await client.publishAsync(topic('d1', 'wake'), Buffer.from('{}'), { qos: 1 })
    await client.publishAsync(topic('d1', 'event'), Buffer.alloc(0), { qos: 1 })
    await client.publishAsync(topic('d1', 'get'), Buffer.of(0xff), { qos: 1 })
    expect(gateway.stats().messages).toMatchObject({
      report: { 'unknown-schema-version': 1, malformed: 1, 'too-large': 1 },
      wake: { malformed: 1 },
      event: { malformed: 1 },
      get: { malformed: 1 },
    })
    for (let bit = 0; bit < good.length * 8; bit += 5) {
      const flipped = Buffer.from(good)
      flipped[bit >> 3]! ^= 1 << (bit & 7)
      await client.publishAsync(topic('d1', 'report'), flipped, { qos: 1 })
    }
    expect(client.connected).toBe(true)
    const outcomes = Object.values(gateway.stats().messages.report!).reduce((sum, n) => sum + n, 0)
    expect(outcomes).toBe(3 + Math.ceil((good.length * 8) / 5))
  })

  it('ends a connection at the header of an oversized packet', async () => {
    await start()
    for (const at of [url(), `ws://127.0.0.1:${gateway.wsPort}`]) {
      const client = await device('d1', undefined, at)
      const closed = closing(client)
      client.publish(topic('d1', 'report'), Buffer.alloc(100_000), { qos: 1 })
      await closed
    }
    expect(count('connection', 'too-large')).toBe(2)
  })

  it('counts duplicates once, in any order, and keeps the sums of every boot', async () => {
    await start()
    const client = await device('d1')
    const send = (payload: Buffer) => client.publishAsync(topic('d1', 'report'), payload, { qos: 1 })
    for (const seq of [3, 0, 3, 1, 5, 0, 2, 5]) await send(report(1, seq))
    await send(report(2, 0))
    expect(gateway.stats().messages.report).toEqual({ accepted: 6, duplicate: 3 })
    expect(await gateway.deviceSums('d1')).toMatchObject({
      listeningMs: 7 * 3_600_000,
      wakes: 7 * 3,
      radioBytes: 7 * 30,
    })
    // Delayed past everything, and contradicting what came after it: two devices with one identity look like this.
    await send(report(1, 7))
    await client.publishAsync(topic('d1', 'report'), report(1, 6), { qos: 1 })
    expect(count('report', 'accepted')).toBe(8)
    await until('rows at the cloud', () => cloud.reports.size === 8 && cloud.aggregates.size > 0)
    await until('aggregates at the cloud', () => {
      const wakes = [...cloud.aggregates.values()].reduce((sum, row) => sum + row.wakes, 0)
      return wakes === 9 * 3
    })
  })

  it('takes the last sequence number there is, and a device clock that is wrong by years', async () => {
    await start()
    const client = await device('d1')
    const at = (seq: number, wallMs: number) => {
      const decoded = reportCodec.decode(report(1, 0))
      if (!decoded.ok) throw new Error(decoded.error.detail)
      return Buffer.from(reportCodec.encode({ ...decoded.value, seq, wallMs }))
    }
    const last = 0xffff_ffff
    for (const [seq, wallMs] of [
      [0, 0],
      [last - 1, 1],
      [last, 32_503_680_000_000],
      [last, 5],
    ] as const) {
      await client.publishAsync(topic('d1', 'report'), at(seq, wallMs), { qos: 1 })
    }
    expect(gateway.stats().messages.report).toEqual({ accepted: 3, duplicate: 1 })
    await until('rows at the cloud', () => cloud.reports.size === 3 && cloud.aggregates.size > 0)
    // Hours are the gateway's.
    for (const { hourMs } of cloud.aggregates.values())
      expect(Math.abs(hourMs - Date.now())).toBeLessThan(2 * 3_600_000)
  })

  it('judges each wake once, tells the device, and sends cumulative verdicts', async () => {
    const engine = fakeEngine()
    await start({ engine })
    const client = await device('d1')
    const heard: { index: number; confirmed: boolean }[] = []
    client.on('message', (_topic, payload) => {
      const verdict = verdictCodec.decode(payload)
      if (verdict.ok) heard.push({ index: verdict.value.index, confirmed: verdict.value.confirmed })
    })
    await client.subscribeAsync(topic('d1', 'verdict'))
    const send = (payload: Buffer) => client.publishAsync(topic('d1', 'wake'), payload, { qos: 1 })
    for (const index of [1, 2, 2, 4, 3, 1]) await send(wake(1, index, index === 4 ? 20 : 80, 1))
    await until('verdicts', () => heard.length === 4)
    expect(heard.sort((a, b) => a.index - b.index)).toEqual([
      { index: 1, confirmed: true },
      { index: 2, confirmed: true },
      { index: 3, confirmed: true },
      { index: 4, confirmed: false },
    ])
    expect(engine.runs).toBe(2)
    expect(gateway.stats().messages.wake).toEqual({ accepted: 4, duplicate: 2 })
    await until('verdict row', () => {
      const [row] = [...cloud.verdicts.values()]
      return row?.confirmed === 3 && row.rejected === 1 && row.model === MODEL_HEX
    })
    const aggregate = [...cloud.aggregates.values()][0]
    expect(aggregate).toMatchObject({ confirmed: 3, rejected: 1, board: BOARD, arm: 'none' })
    await until('nothing pending', () => gateway.stats().depths.pendingWakes === 0)
  })

  it('leaves wakes unjudged past the bound of the pending table, and says so', async () => {
    let release = (): void => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    const prompt = fakeEngine()
    const stuck: Engine = {
      name: 'stuck',
      async load(graph) {
        const session = await prompt.load(graph)
        if (!session.ok) return session
        const run = (window: Float32Array | Int8Array | Uint8Array) => released.then(() => session.value.run(window))
        return ok({ ...session.value, run })
      },
    }
    await start({ engine: stuck, limits: { pendingWakes: 3 } })
    const client = await device('d1')
    for (let index = 1; index <= 5; index++)
      await client.publishAsync(topic('d1', 'wake'), wake(1, index, 80), { qos: 1 })
    expect(gateway.stats().messages.wake).toEqual({ accepted: 3, unverified: 2 })
    release()
    await until('verdicts of those that waited', () => count('verdict', 'confirmed') === 3)
  })
})

describe('metrics', () => {
  it('serves duty cycle and false wakes by group, and health', async () => {
    await start()
    const client = await device('d1')
    await client.publishAsync(topic('d1', 'report'), report(1, 1), { qos: 1 })
    for (const [index, percent] of [
      [1, 90],
      [2, 10],
      [3, 10],
      [4, 90],
    ] as const) {
      await client.publishAsync(topic('d1', 'wake'), wake(1, index, percent), { qos: 1 })
    }
    await until('verdicts', () => count('verdict', 'confirmed') + count('verdict', 'rejected') === 4)
    const base = `http://127.0.0.1:${gateway.httpPort}`
    const page = await (await fetch(`${base}/metrics`)).text()
    const labels = `{model="${MODEL_HEX}",arm="none",stage="0",board="${BOARD}",site="${SITE}"}`
    expect(page).toContain(`kinglet_wakeups_per_hour${labels} 3\n`)
    expect(page).toContain(`kinglet_false_wake_share${labels} 0.5\n`)
    expect(page).toContain(`kinglet_false_wakes_per_hour${labels} 1\n`)
    expect(page).toContain(`kinglet_gateway_messages_total{kind="report",outcome="accepted"} 1\n`)
    expect(await (await fetch(`${base}/metrics`)).text()).toContain(`outcome="accepted"} 1\n`)
    const health = await fetch(`${base}/healthz`)
    expect([health.status, ((await health.json()) as { ok: boolean }).ok]).toEqual([200, true])
    expect((await fetch(`${base}/x`)).status).toBe(404)
  })
})

describe('metadata of the image repository', () => {
  it('comes over MQTT block by block and over plain HTTP, from one fetch', async () => {
    await start()
    const file = Uint8Array.from({ length: 5_000 }, (_, i) => i & 0xff)
    cloud.artifacts.set('/v1/metadata/1.targets.json', file)
    const client = await device('d1')
    await client.subscribeAsync(topic('d1', 'meta'))
    const answers: Uint8Array[] = []
    client.on('message', (_, payload) => answers.push(payload))
    for (const offset of [0, 4_096]) {
      client.publish(topic('d1', 'meta-get'), Buffer.from(metaGetCodec.encode({ file: '1.targets.json', offset })))
    }
    await until('both blocks', () => answers.length === 2)
    const read = answers.map((payload) => metaCodec.decode(payload))
    const data = read.flatMap((meta) => (meta.ok ? [...meta.value.data!] : []))
    expect(Uint8Array.from(data)).toEqual(file)
    const http = `http://127.0.0.1:${gateway.httpPort}/metadata`
    const answer = await fetch(`${http}/1.targets.json`)
    expect(answer.headers.get('cache-control')).toContain('immutable')
    expect(new Uint8Array(await answer.arrayBuffer())).toEqual(file)
    for (const [name, status] of [
      ['2.root.json', 404],
      ['..%2f..%2fetc%2fpasswd', 400],
      ['', 400],
    ] as const) {
      const refusal = await fetch(`${http}/${name}`)
      expect([refusal.status, refusal.headers.get('content-type')]).toEqual([status, 'application/problem+json'])
    }
    expect((await fetch(`${http}/1.targets.json`, { method: 'POST' })).status).toBe(405)
    expect(cloud.requests.filter((request) => request.includes('/v1/metadata/1.targets.json'))).toHaveLength(1)
    expect(count('meta-get', 'served')).toBe(2)
  })
})
