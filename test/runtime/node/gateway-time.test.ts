import { afterEach, beforeEach, expect, it } from 'vitest'
import { systemClock } from '../../../cli/clock-system.ts'
import type { Clock } from '../../../contract/clock.ts'
import { type Gateway, startGateway } from '../../../gateway/gateway.ts'
import {
  connectDevice,
  FakeCloud,
  gatewayOptions,
  report,
  tempDir,
  tokenIssuer,
  topic,
  until,
  wake,
} from './gateway-harness.ts'

const DAY = 86_400_000
let issuer: Awaited<ReturnType<typeof tokenIssuer>>
let cloud: FakeCloud
let gateway: Gateway | undefined
const warnings: string[] = []
const logger = { info() {}, error() {}, warn: (_: object, text: string) => void warnings.push(text) }

beforeEach(async () => {
  warnings.length = 0
  issuer = await tokenIssuer()
  cloud = await new FakeCloud().start()
})
afterEach(async () => {
  await gateway?.close()
  await cloud.stop()
})

const start = async (wallMs: () => number): Promise<Gateway> => {
  const clock: Clock = {
    ...systemClock,
    wallMs,
    after: (ms, call) => systemClock.after(ms, call),
    monotonicMs: () => systemClock.monotonicMs(),
  }
  gateway = await startGateway(gatewayOptions(cloud, tempDir(), { jwks: issuer.jwks, clock, logger }))
  return gateway
}
const page = async ({ httpPort }: Gateway): Promise<string> =>
  (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text()
/** A device's report and wake go through the gateway to the cloud. */
async function rowsOf({ mqttPort }: Gateway, boot: number) {
  const client = await connectDevice(`mqtt://127.0.0.1:${mqttPort}`, 'd1', await issuer.token('d1'))
  await client.publishAsync(topic('d1', 'report'), report(boot, 0), { qos: 1 })
  await client.publishAsync(topic('d1', 'wake'), wake(boot, 1, 90), { qos: 1 })
  client.end(true)
  const verdict = () => [...cloud.verdicts.values()].find((row) => row.boot === boot)
  await until('the rows', () => verdict() !== undefined && cloud.reports.has(`d1/${boot}/0`))
  return { report: cloud.reports.get(`d1/${boot}/0`)!, verdict: verdict()! }
}

it('a gateway whose clock says 1970 stamps nothing, books nothing under 1970, and says so', async () => {
  // It cannot tell whether a token has expired either; the cloud's keys are what it goes by.
  const running = await start(() => 12_345_000 + systemClock.monotonicMs())
  const { report: row } = await rowsOf(running, 1)
  expect(row.receivedMs).toBe(0)
  expect([...cloud.aggregates.values()]).toEqual([])
  expect(await page(running)).toMatch(/^kinglet_gateway_clock_believed 0$/m)
  expect(warnings.filter((text) => text.includes('the clock cannot be right'))).toHaveLength(1)
})

it('one whose clock is days from what the cloud says stops stamping with the first answer, and begins again when it is set', async () => {
  let off = -3 * DAY
  cloud.timeMs = Math.round(systemClock.wallMs())
  const running = await start(() => systemClock.wallMs() + off)
  await until('an answer of the cloud', async () => (await page(running)).includes('kinglet_gateway_clock_believed 0'))
  expect((await rowsOf(running, 1)).report.receivedMs).toBe(0)
  off = 60_000
  const { report: row } = await rowsOf(running, 2)
  expect(Math.abs(row.receivedMs - systemClock.wallMs() - off)).toBeLessThan(30_000)
  expect(await page(running)).toMatch(/^kinglet_gateway_clock_believed 1$/m)
  expect([...cloud.aggregates.values()].every(({ hourMs }) => hourMs > systemClock.wallMs() - DAY)).toBe(true)
})
