import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import pino from 'pino'
import { Registry } from 'prom-client'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { AlertWebhook, signatureOf } from '../../../cloud/alert-webhook.ts'
import { Store } from '../../../cloud/store/store.ts'
import { ManualClock } from '../../fixtures/cloud-world.ts'
import { T0 } from '../../fixtures/synthetic-fleet.ts'

interface Heard {
  readonly id: string
  readonly type: string
  readonly data: Record<string, unknown>
}
const SECRET = new Uint8Array(32).fill(5)

/** A receiver as operators have them: a real server, whose answers a test chooses. */
class Receiver {
  readonly heard: Heard[] = []
  /** requests that came, taken or not */
  asked = 0
  answer: (heard: Heard) => number | 'none' = () => 204
  #server: Server | undefined
  #port = 0

  async up(): Promise<void> {
    this.#server = createServer((request, response) => {
      void this.#take(request).then((status) => {
        if (status !== 'none') response.writeHead(status, { location: '/elsewhere' }).end()
      })
    })
    await new Promise<void>((resolve) => this.#server?.listen(this.#port, '127.0.0.1', resolve))
    this.#port = (this.#server.address() as AddressInfo).port
  }
  async down(): Promise<void> {
    const server = this.#server
    server?.closeAllConnections()
    await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())))
    this.#server = undefined
  }
  get url(): string {
    return `http://127.0.0.1:${this.#port}/hook`
  }
  async #take(request: IncomingMessage): Promise<number | 'none'> {
    let body = ''
    for await (const chunk of request) body += String(chunk)
    const id = String(request.headers['webhook-id'])
    const timestamp = Number(request.headers['webhook-timestamp'])
    this.asked++
    if (request.headers['webhook-signature'] !== signatureOf(SECRET, id, timestamp, body)) return 401
    const heard = { id, ...(JSON.parse(body) as Omit<Heard, 'id'>) }
    const status = this.answer(heard)
    if (status === 204) this.heard.push(heard)
    return status
  }
}

describe('the receiver of alerts', () => {
  let store: Store
  let clock: ManualClock
  const receiver = new Receiver()
  const running: AlertWebhook[] = []
  const registry = () => new Registry()

  beforeEach(async () => {
    store = new Store(':memory:', T0)
    clock = new ManualClock()
    receiver.heard.length = 0
    receiver.asked = 0
    receiver.answer = () => 204
    await receiver.up()
  })
  afterEach(async () => {
    for (const webhook of running.splice(0)) webhook.stop()
    await receiver.down()
    store.close()
  })

  const start = (heartbeatMs = 0, metrics = registry()): AlertWebhook => {
    const logger = pino({ level: 'silent' })
    const parts = { store, clock, machine: clock, logger, registry: metrics }
    const webhook = new AlertWebhook(parts, { url: receiver.url, secret: SECRET, heartbeatMs })
    running.push(webhook)
    webhook.start()
    return webhook
  }
  const raised = { code: 'gateway-silent', model: '', sinceMs: T0, ratio: 1, numbers: {} }
  const raise = (metric: string) => store.alerts.raise({ ...raised, metric })
  /** Lets time pass until it is so. */
  const passesUntil = (isSo: () => boolean): Promise<void> =>
    vi.waitFor(
      () => {
        if (isSo()) return
        clock.advanceTo(clock.wallMs() + 10_000)
        throw new Error(`not yet: ${JSON.stringify(receiver.heard.map(({ id }) => id))} of ${receiver.asked}`)
      },
      { timeout: 60_000, interval: 5 },
    )
  const ids = () => receiver.heard.map(({ id }) => id)

  it('is signed as the published example of Standard Webhooks', () => {
    const secret = Buffer.from('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'base64')
    const signature = signatureOf(secret, 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1_614_265_330, '{"test": 2432232314}')
    expect(signature).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=')
  })

  it('hears of each alert once when it is raised and once when it is over, with what an operator reads', async () => {
    const metrics = registry()
    start(0, metrics)
    const { id } = raise('gw-1')
    await passesUntil(() => receiver.heard.length === 1)
    store.alerts.resolve(id, T0 + 1)
    raise('gw-2')
    await passesUntil(() => receiver.heard.length === 3)
    expect(ids()).toEqual([`alert-${id}-open`, `alert-${id}-resolved`, `alert-${id + 1}-open`])
    expect(receiver.heard[0]).toMatchObject({
      type: 'alert.raised',
      data: { code: 'gateway-silent', metric: 'gw-1', severity: 'P2', words: 'Gateway gw-1 has not been heard.' },
    })
    expect(receiver.heard[1]).toMatchObject({ type: 'alert.resolved', data: { state: 'resolved' } })
    await vi.waitFor(async () =>
      expect(await metrics.metrics()).toMatch(/kinglet_alert_webhook_total\{outcome="taken"\} 3/),
    )
    for (let i = 0; i < 20; i++) clock.advanceTo(clock.wallMs() + 60_000)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(receiver.asked).toBe(3)
  })

  it.each(['away', 'in error', 'moved'])('misses none while it is %s, nor by a restart of the cloud', async (how) => {
    const metrics = registry()
    if (how === 'away') await receiver.down()
    receiver.answer = () => (how === 'moved' ? 302 : 503)
    const first = start()
    const alerts = ['gw-1', 'gw-2', 'gw-3'].map(raise)
    await passesUntil(() => clock.wallMs() > T0 + 3_600_000)
    first.stop()
    expect(receiver.heard).toEqual([])
    // Twice as long each time, at most five minutes: an hour has 19 attempts and not 1 800.
    if (how !== 'away') expect(receiver.asked).toBeLessThanOrEqual(20)
    start(0, metrics)
    expect(await metrics.metrics()).toMatch(/kinglet_alerts_untold 3/)
    receiver.answer = () => 204
    if (how === 'away') await receiver.up()
    await passesUntil(() => receiver.heard.length === 3)
    expect(ids()).toEqual(alerts.map(({ id }) => `alert-${id}-open`))
  })

  it('what it refuses for good keeps no other from it', async () => {
    const metrics = registry()
    receiver.answer = ({ data }) => (data.metric === 'gw-1' ? 422 : 204)
    start(0, metrics)
    raise('gw-1')
    const { id } = raise('gw-2')
    await passesUntil(() => receiver.heard.length === 1)
    expect(ids()).toEqual([`alert-${id}-open`])
    await vi.waitFor(() => expect(store.alerts.countUntold()).toBe(0))
    expect(await metrics.metrics()).toMatch(/outcome="refused"\} 1/)
  })

  it('hears nothing of what is silenced: of what is open when that ends, and never of what came and went', async () => {
    const quiet = { code: 'gateway-silent', fromMs: T0, untilMs: T0 + 3_600_000, by: 'ann', reason: 'works' }
    const hall = store.silences.add({ ...quiet, metric: 'gw-hall', cohort: null })
    store.silences.add({ ...quiet, code: 'expiry', metric: null, cohort: null })
    const cellar = store.silences.add({ ...quiet, metric: null, cohort: 'site:cellar' })
    const before = raise('gw-before')
    start()
    await passesUntil(() => receiver.heard.length === 1)
    const lasting = raise('gw-hall')
    expect(lasting.silence).toEqual({ id: hall, untilMs: T0 + 3_600_000, by: 'ann', reason: 'works' })
    const passing = store.alerts.raise({ ...raised, metric: 'gw-x', cohort: 'site:cellar' })
    const elsewhere = store.alerts.raise({ ...raised, metric: 'gw-x', cohort: 'site:attic' })
    await passesUntil(() => receiver.heard.length === 2)
    store.alerts.resolve(passing.id, T0 + 1)
    // Whose beginning was told, its end is too.
    store.silences.add({ ...quiet, metric: 'gw-before', cohort: null })
    store.alerts.resolve(before.id, T0 + 1)
    await passesUntil(() => receiver.heard.length === 3)
    expect(store.alerts.countUntold()).toBe(0)
    expect(ids()).toEqual([`alert-${before.id}-open`, `alert-${elsewhere.id}-open`, `alert-${before.id}-resolved`])

    store.silences.endOver(T0 + 3_599_999)
    expect(store.silences.inForce().length).toBe(4)
    store.silences.end(cellar, T0 + 2)
    store.silences.endOver(T0 + 3_600_000)
    expect(store.silences.inForce()).toEqual([])
    expect([store.silences.byId(cellar)?.endedMs, store.silences.byId(hall)?.endedMs]).toEqual([T0 + 2, T0 + 3_600_000])
    await passesUntil(() => receiver.heard.length === 4)
    expect(ids().at(-1)).toBe(`alert-${lasting.id}-open`)
  })

  it('hears a heartbeat as often as was asked for, also while it takes no alert', async () => {
    receiver.answer = ({ type }) => (type === 'heartbeat' ? 204 : 503)
    raise('gw-1')
    start(300_000)
    await passesUntil(() => receiver.heard.length === 4)
    // The clock goes on while a request is on its way: a busy machine has them later, and none too early.
    const periods = (clock.wallMs() - T0) / 300_000
    expect(periods).toBeGreaterThanOrEqual(3)
    expect(periods).toBeLessThan(7)
    expect(receiver.heard.at(-1)).toMatchObject({
      type: 'heartbeat',
      data: { openAlerts: 1, untold: 1, everyMs: 300_000 },
    })
  })

  it('hears what could not be noted as told once more: a disk that was full is no end', async () => {
    store.db.exec("CREATE TRIGGER full BEFORE UPDATE ON alerts BEGIN SELECT raise(ABORT, 'disk full'); END")
    const { id } = raise('gw-1')
    start()
    await passesUntil(() => receiver.heard.length >= 2)
    store.db.exec('DROP TRIGGER full')
    await passesUntil(() => store.alerts.countUntold() === 0)
    expect(new Set(ids())).toEqual(new Set([`alert-${id}-open`]))
  })

  it('that never answers keeps no cloud from ending', async () => {
    receiver.answer = () => 'none'
    raise('gw-1')
    const webhook = start()
    await passesUntil(() => receiver.asked === 1)
    webhook.stop()
    await new Promise((resolve) => setTimeout(resolve, 50))
    // It was not taken, so it is told again.
    expect(store.alerts.countUntold()).toBe(1)
  })
})
