import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { AggregateRow } from '../../../../contract/uplink.ts'
import { CloudWorld } from '../../../fixtures/cloud-world.ts'
import { batchOf, HOUR, T0 } from '../../../fixtures/synthetic-fleet.ts'

const MODEL = 'ab'.repeat(8)
const dir = mkdtempSync(join(tmpdir(), 'kinglet-signals-'))
afterEach(() => rmSync(dir, { recursive: true, force: true }))
const row = (change: Partial<AggregateRow>): AggregateRow => ({
  ...{ hourMs: T0, revision: 1, model: MODEL, board: 'b', site: 'site-1', rollout: '', stage: 0, arm: 'none' },
  ...{
    listeningMs: HOUR,
    activeMs: 0,
    wakes: 0,
    gateOpenings: 0,
    confirmed: 0,
    rejected: 0,
    energyMj: 0,
    radioBytes: 0,
  },
  ...change,
})

describe('what a fleet has counted of signals', () => {
  it('is added up by model over gateways, hours, sites and boards, verdicts by pipeline', () => {
    const world = new CloudWorld(join(dir, 'cloud.db'), 1, {})
    world.enrol(1)
    const { telemetry, fleet, gateways } = world.store
    const ingest = (gateway: string, rows: AggregateRow[], more = {}) =>
      telemetry.ingest({ ...batchOf({ aggregates: rows, ...more }), gateway }, () => null, T0 + 3 * HOUR)
    ingest('g-1', [row({ signals: [3, 10, 20, 30, 8, 2, 4, 500] })])
    // Said again, with more; an hour later; of another site; of before.
    ingest('g-1', [row({ revision: 2, signals: [4, 10, 20, 31, 8, 2, 4, 500] })])
    ingest('g-1', [row({ hourMs: T0 + HOUR, signals: [1, 0, 0, 1, 2, 1, 0, 0] })])
    ingest('g-2', [row({ site: 'site-2', signals: [1, 0, 0, 0, 0, 0, 1, 1] })])
    ingest('g-1', [row({ hourMs: T0 - 2 * HOUR, signals: [900, 900, 900, 900, 900, 900, 900, 900] })])
    ingest('g-1', [row({ model: 'cd'.repeat(8), signals: [700] }), row({ board: 'c' })])
    const report = { ...world.fleet[0]!.report(), model: MODEL, uptimeMs: HOUR, receivedMs: T0 + 2 * HOUR }
    const { site, device, boot } = report
    const origin = { site, device, boot, model: MODEL }
    const verdict = { ...origin, slot: 0, confirmed: 2, rejected: 3 }
    ingest('g-1', [], {
      reports: [report],
      verdicts: [
        verdict,
        { ...verdict, pipeline: 1, confirmed: 0, rejected: 7 },
        { ...verdict, model: 'cd'.repeat(8) },
      ],
    })

    const sums = fleet.signalSums(MODEL, T0)
    // Of hours that are still to come.
    expect([...fleet.signalSums(MODEL, T0 + 5 * HOUR).verdicts]).toEqual([])
    // A row without signals was listened to all the same.
    expect(sums.listeningMs).toBe(4 * HOUR)
    expect(sums.signals).toEqual([6, 10, 20, 32, 10, 3, 5, 501])
    expect([...sums.verdicts]).toEqual([
      [0, { confirmed: 2, rejected: 3, unjudged: 0 }],
      [1, { confirmed: 0, rejected: 7, unjudged: 0 }],
    ])
    // Of a gateway in quarantine nothing is evidence.
    gateways.enrol('g-2', ['site-2'], null, T0)
    gateways.quarantine('g-2', 'it lies', T0)
    expect(fleet.signalSums(MODEL, T0).signals).toEqual([5, 10, 20, 32, 10, 3, 4, 500])
    world.store.close()
  })
})

describe('sums of an hour that are made beside', () => {
  it('are those that are made in place, and an hour that changes meanwhile is summed again', () => {
    const usual = { falseWakes: 1, verified: 2 }
    const world = new CloudWorld(':memory:', 1, { 'kws-1': usual })
    world.addRelease('kws-1', 1, 'production')
    world.enrol(5)
    world.hours(4)
    const { store, clock } = world
    const hours = store.fleet.begin(48)
    expect(hours.length).toBeGreaterThan(3)
    const beside = hours.map((hour) => [hour, store.fleet.sums(hour)] as const)
    // It comes while they are summed; its hour was marked already.
    const device = world.fleet[0]!
    const late = { ...device.report(), seq: 900, receivedMs: clock.wallMs() }
    store.telemetry.ingest(batchOf({ reports: [late] }), () => null, clock.wallMs())
    for (const [hour, sums] of beside) store.fleet.end(hour, sums)
    const again = store.fleet.begin(48)
    expect(again.length).toBeGreaterThan(0)
    expect(again.length).toBeLessThan(hours.length)
    for (const hour of again) store.fleet.end(hour, store.fleet.sums(hour))
    expect(store.fleet.begin(48)).toEqual([])
    const [from, to] = [Math.min(...hours), Math.max(...hours) + 1]
    const summed = store.fleet.hours(from, to)
    expect(summed.length).toBeGreaterThan(2)
    const mark = store.db.prepare('INSERT INTO dirty_hours (hour) VALUES (?)')
    for (const hour of hours) mark.run(hour)
    while (store.fleet.refresh(1) > 0);
    expect(store.fleet.hours(from, to)).toEqual(summed)
    store.close()
  })
})
