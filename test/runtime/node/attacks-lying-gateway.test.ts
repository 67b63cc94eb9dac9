import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { COUNTER_NAMES } from '../../../contract/messages.ts'
import type { ReportRow, VerdictRow } from '../../../contract/uplink.ts'
import { SITE } from '../../fixtures/documents.ts'
import { gatewayToken } from '../../fixtures/gateway-token.ts'
import { IdentityWorld } from '../../fixtures/identity-world.ts'
import { SigningDevice } from '../../fixtures/signing-device.ts'
import { batchOf, HOUR, T0 } from '../../fixtures/synthetic-fleet.ts'

/** What a gateway that was taken over says of the devices of its own site, over HTTP to a cloud that listens. */
const world = new IdentityWorld()
let device: SigningDevice
let tokens: Readonly<Record<string, string>>

beforeAll(async () => {
  // Days after what is reported, and before a row of it is too old.
  world.clock.aheadMs = T0 - Date.now()
  await world.start()
  const board = world.device()
  expect(await board.enrol(await world.claim('wren-1', { site: SITE }))).toMatchObject({ ok: true })
  device = new SigningDevice('wren-1', board.identity!.active!)
  for (const wakes of [3, 0, 2, 0]) device.hour(wakes)
  tokens = {
    'gateway-1': await gatewayToken(world.cloud, 'gateway-1', [SITE]),
    'gateway-2': await gatewayToken(world.cloud, 'gateway-2', [SITE]),
  }
  world.clock.aheadMs += 6 * HOUR
})
afterAll(() => world.stop())

const say = async (rows: { reports?: ReportRow[]; verdicts?: VerdictRow[] }, gateway = 'gateway-1') => {
  const { status, json } = await world.call('POST', '/v1/ingest', { ...batchOf(rows), gateway }, tokens[gateway])
  expect(status, JSON.stringify(json)).toBe(200)
  return json as Readonly<Record<string, number>>
}
const alertsOf = async (gateway: string) => {
  const { json } = await world.call('GET', '/v1/alerts')
  return (json.alerts as { code: string; metric: string; numbers: object }[]).filter(
    (alert) => alert.metric === gateway,
  )
}

describe('a gateway that lies about devices of its own site', () => {
  it('hands on what devices have signed, and that is taken', async () => {
    expect(await say({ reports: device.reports })).toMatchObject({ reports: device.reports.length, contradicted: 0 })
    expect(await alertsOf('gateway-1')).toEqual([])
  })

  it('cannot change a counter, an hour or a model, nor leave the signature away: refused, and told to the operator once', async () => {
    const last = device.reports.at(-1)!
    const { signed: _, wakeLink: __, ...bare } = { ...last, seq: last.seq + 1 }
    const lies: ReportRow[] = [
      { ...last, counters: last.counters.map((n, i) => (COUNTER_NAMES[i] === 'wakes' ? n + 40 : n)) },
      { ...last, uptimeMs: last.uptimeMs + HOUR },
      { ...last, model: '0'.repeat(16) },
      { ...bare, uptimeMs: bare.uptimeMs + HOUR },
    ]
    for (const lie of lies) expect(await say({ reports: [lie] })).toMatchObject({ reports: 0, contradicted: 1 })
    expect(await alertsOf('gateway-1')).toMatchObject([{ code: 'gateway-overreach', numbers: { contradicted: 1 } }])
  })

  it('cannot judge wakes that nobody sent, alone or with a second one, nor for another model or hour', async () => {
    expect(await say({ verdicts: [{ ...device.verdicts(0, 1, 2), revision: 1 }] })).toMatchObject({
      verdicts: 1,
      beyond: 0,
    })
    const { slot: _, ...hourly } = device.verdicts(2, 0, 2)
    const lies: [VerdictRow, string][] = [
      [device.verdicts(1, 0, 30), 'gateway-1'],
      [device.verdicts(2, 0, 3), 'gateway-1'],
      [device.verdicts(0, 3, 0), 'gateway-2'],
      [{ ...device.verdicts(2, 0, 2), model: '0'.repeat(16) }, 'gateway-1'],
      [{ ...hourly, hourMs: T0 }, 'gateway-1'],
    ]
    for (const [lie, gateway] of lies) {
      expect(await say({ verdicts: [lie] }, gateway)).toMatchObject({ verdicts: 0, beyond: 1 })
    }
    expect(await alertsOf('gateway-2')).toMatchObject([{ code: 'gateway-overreach', numbers: { beyond: 1 } }])
  })

  it('can take its word back, and what it said goes when it is put in quarantine', async () => {
    expect(await say({ verdicts: [{ ...device.verdicts(0, 3, 0), revision: 2 }] })).toMatchObject({
      verdicts: 1,
      beyond: 0,
    })
    const { status, json } = await world.call('POST', '/v1/gateways/gateway-1/quarantine', { reason: 'it lies' })
    expect([status, json.state]).toEqual([200, 'quarantined'])
    // It may go on sending, so that nothing is lost if it was innocent.
    expect(await say({ verdicts: [{ ...device.verdicts(2, 1, 0), revision: 1 }] })).toMatchObject({ verdicts: 1 })
    expect((await world.call('GET', '/v1/gateways/gateway-1')).json.state).toBe('quarantined')
  })
})
