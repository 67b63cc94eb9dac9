import { request } from 'node:http'
import type { MqttClient } from 'mqtt'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { EVENT_CODES, eventCodec } from '../../../contract/messages.ts'
import { type Gateway, startGateway } from '../../../gateway/gateway.ts'
import { GATEWAY_LIMITS, type GatewayLimits } from '../../../gateway/gateway-options.ts'
import {
  connectDevice,
  FakeCloud,
  fakeEngine,
  gatewayOptions,
  report,
  tempDir,
  tokenIssuer,
  topic,
  until,
  wake,
} from './gateway-harness.ts'

const HONEST = Array.from({ length: 20 }, (_, i) => `d${i}`)
/** The flood's own, without which it would take a minute. */
const AMPLE = { perSecond: 1e6, burst: 1e6 }
let cloud: FakeCloud
let issuer: Awaited<ReturnType<typeof tokenIssuer>>
let gateway: Gateway
let judge = () => {}
const clients: MqttClient[] = []
beforeAll(async () => {
  issuer = await tokenIssuer()
})
afterEach(async () => {
  judge()
  for (const client of clients.splice(0)) await client.endAsync(true)
  await gateway.close()
  await cloud.stop()
})

const event = (seq: number, boot = 1): Buffer =>
  Buffer.from(
    eventCodec.encode({
      ...{ boot, seq, wallMs: 0, code: EVENT_CODES.indexOf('battery-low') },
      ...{ model: undefined, error: undefined, detail: undefined, assignmentSeq: undefined },
    }),
  )
async function device(name: string): Promise<MqttClient> {
  const client = await connectDevice(`mqtt://127.0.0.1:${gateway.mqttPort}`, name, await issuer.token(name))
  clients.push(client)
  return client
}
/** @returns once all are acknowledged */
const say = (client: MqttClient, name: string, kind: string, payloads: readonly Buffer[]) =>
  Promise.all(payloads.map((payload) => client.publishAsync(topic(name, kind), payload, { qos: 1 })))
const times = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i))

/** A gateway whose queues one device could fill, and a verifier that judges when it is let. */
async function world(limits: Partial<GatewayLimits>) {
  cloud = await new FakeCloud().start()
  const prompt = fakeEngine()
  const allowed = new Promise<void>((resolve) => {
    judge = resolve
  })
  const engine: typeof prompt = {
    ...prompt,
    async load(graph) {
      const session = await prompt.load(graph)
      if (!session.ok) return session
      const run: typeof session.value.run = async (window) => {
        await allowed
        return session.value.run(window)
      }
      return { ok: true, value: { ...session.value, run } }
    },
  }
  const all = { ...GATEWAY_LIMITS, messages: AMPLE, ...limits }
  gateway = await startGateway(gatewayOptions(cloud, tempDir(), { jwks: issuer.jwks, engine, limits: all }))
}

describe('an enrolled device that floods', () => {
  it('the wake queue has its share, and the wakes of all others are judged', async () => {
    await world({ pendingWakes: 700 })
    const flood = await device('flood')
    await say(
      flood,
      'flood',
      'wake',
      times(1_000, (i) => wake(1, i, 90)),
    )
    for (const name of HONEST)
      await say(
        await device(name),
        name,
        'wake',
        times(5, (i) => wake(1, i, 90, 2_000 + i)),
      )
    const { messages, depths } = gateway.stats()
    expect(messages.wake).toEqual({ accepted: 600, unverified: 500 })
    expect(depths.pendingWakes).toBe(600)
    judge()
    await until('all are judged', () => gateway.stats().depths.pendingWakes === 0)
    await until('the cloud has the verdicts', () => HONEST.every((name) => verdictsOf(name) === 5))
  })

  it('the spool while the cloud is away loses rows of its own, and nobody else one', async () => {
    await world({ spool: { reportsMax: 1_200, eventsMax: 1_200, verdictsMax: 10_000 } })
    await cloud.stop()
    for (const name of HONEST) {
      const client = await device(name)
      await say(client, name, 'report', [report(1, 0)])
      await say(client, name, 'event', [event(0)])
    }
    const flood = await device('flood')
    // Boots of its own invention: of each the newest report would be kept.
    await say(
      flood,
      'flood',
      'report',
      times(3_000, (i) => report(1 + i, 0)),
    )
    await say(
      flood,
      'flood',
      'event',
      times(3_000, (i) => event(i)),
    )
    expect(gateway.stats().depths).toMatchObject({ spoolReports: expect.any(Number), spoolEvents: expect.any(Number) })
    const { spoolReports, spoolEvents } = gateway.stats().depths
    expect([spoolReports <= 1_020, spoolEvents <= 1_020]).toEqual([true, true])
    await cloud.start()
    await until('the spool is empty', () => gateway.stats().depths.spoolEvents === 0)
    const missing = HONEST.filter((name) => !cloud.reports.has(`${name}/1/0`) || !cloud.events.has(`${name}/1/0`))
    expect(missing).toEqual([])
    expect(cloud.events.has('flood/1/2999')).toBe(true)
  })

  it('is taken from as fast as its share allows; others are answered meanwhile, and none of it is lost', async () => {
    await world({ messages: { perSecond: 20, burst: 50 } })
    const flood = await device('flood')
    const all = say(
      flood,
      'flood',
      'event',
      times(110, (i) => event(i)),
    )
    for (const name of HONEST)
      await say(
        await device(name),
        name,
        'event',
        times(20, (i) => event(i)),
      )
    const accepted = () => gateway.stats().messages.event!.accepted!
    await all
    expect(accepted()).toBe(110 + 20 * HONEST.length)
    expect(gateway.stats().messages.publish!.slowed).toBeGreaterThan(20)
    // A connection of its own gives it no second share.
    const slowed = gateway.stats().messages.publish!.slowed!
    await flood.endAsync(true)
    await say(
      await device('flood'),
      'flood',
      'event',
      times(10, (i) => event(200 + i)),
    )
    expect(gateway.stats().messages.publish!.slowed).toBeGreaterThan(slowed)
  })

  it('the way to the cloud with artifacts and metadata that do not exist waits in line behind nobody else', async () => {
    await world({})
    const asked: string[] = []
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    cloud.answers = (path) => {
      if (!path.startsWith('/v1/metadata/')) return undefined
      asked.push(path)
      return (response) => void held.then(() => response.writeHead(200).end('{}'))
    }
    const get = (name: string, localAddress: string) =>
      new Promise<number | undefined>((resolve) => {
        const options = { host: '127.0.0.1', port: gateway.httpPort, path: `/metadata/${name}`, localAddress }
        request(options, (answer) => answer.resume().once('end', () => resolve(answer.statusCode))).end()
      })
    const floods = times(12, (i) => get(`${100 + i}.root.json`, '127.0.0.9'))
    await until('four are under way', () => asked.length === 4)
    await until('the rest of its share waits, and more is refused', async () => {
      const refused = await Promise.race([
        ...floods,
        new Promise<number>((resolve) => setTimeout(() => resolve(0), 20)),
      ])
      return refused === 503
    })
    const honest = get('timestamp.json', '127.0.0.1')
    // What comes after it is answered: it waits by now.
    for (let i = 0; i < 5; i++) await (await fetch(`http://127.0.0.1:${gateway.httpPort}/healthz`)).text()
    release()
    expect(await honest).toBe(200)
    expect(asked.indexOf('/v1/metadata/timestamp.json')).toBeLessThan(6)
    const statuses = await Promise.all(floods)
    expect(statuses.filter((status) => status === 200)).toHaveLength(8)
  })
})

const verdictsOf = (name: string): number =>
  [...cloud.verdicts.values()].reduce((sum, row) => (row.device === name ? sum + row.confirmed : sum), 0)
