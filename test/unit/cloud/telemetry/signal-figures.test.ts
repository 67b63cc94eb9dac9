import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { signalFigures } from '../../../../cloud/telemetry/signal-figures.ts'
import type { BundleManifest } from '../../../../contract/manifest.ts'
import type { Signal } from '../../../../contract/signals.ts'
import type { AggregateRow } from '../../../../contract/uplink.ts'
import { CloudWorld } from '../../../fixtures/cloud-world.ts'
import { batchOf, HOUR, T0 } from '../../../fixtures/synthetic-fleet.ts'

const MODEL = 'ab'.repeat(8)
const wakes: Signal = { name: 'wakes', unit: 'wakes', harm: null, kind: 'count', per: 'listening-hour' }
const falseWakes: Signal = { ...wakes, name: 'false-wakes', harm: 'higher', verdict: 'rejected' }
const posterior: Signal = { name: 'posterior', unit: 'permille', harm: null, kind: 'histogram', edges: [100, 900] }
const worn: Signal = { name: 'worn', unit: 'windows', harm: 'higher', kind: 'ratio' }
const warmth: Signal = { name: 'warmth', unit: '°C', harm: 'higher', kind: 'mean', lowest: -40, step: 0.5 }
const manifest = {
  pipelines: [
    { id: 'words', signals: [wakes, falseWakes, posterior] },
    { id: 'bearing', signals: [worn, warmth] },
  ],
} as unknown as BundleManifest

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

describe('what a fleet has counted', () => {
  it('is added up over gateways, hours and sites and read by the names of the bundle', () => {
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
      verdicts: [verdict, { ...verdict, pipeline: 1, confirmed: 0, rejected: 7 }],
    })

    const sums = fleet.signalSums(MODEL, T0)
    // A row without signals was listened to all the same.
    expect(sums.listeningMs).toBe(4 * HOUR)
    expect(sums.signals).toEqual([6, 10, 20, 32, 10, 3, 5, 501])
    expect([...sums.verdicts]).toEqual([
      [0, { confirmed: 2, rejected: 3, unjudged: 0 }],
      [1, { confirmed: 0, rejected: 7, unjudged: 0 }],
    ])
    const words = { pipeline: 'words' }
    const bearing = { pipeline: 'bearing' }
    expect(signalFigures(manifest, sums)).toEqual([
      { ...words, name: 'wakes', kind: 'count', unit: 'wakes', harm: null, count: 6, value: 1.5, bins: null },
      {
        ...words,
        name: 'false-wakes',
        kind: 'count',
        unit: 'wakes',
        harm: 'higher',
        count: 3,
        value: 0.75,
        bins: null,
      },
      {
        ...{ ...words, name: 'posterior', kind: 'histogram', unit: 'permille', harm: null, count: 62, value: null },
        bins: [
          { most: 100, count: 10 },
          { most: 900, count: 20 },
          { most: null, count: 32 },
        ],
      },
      { ...bearing, name: 'worn', kind: 'ratio', unit: 'windows', harm: 'higher', count: 10, value: 0.3, bins: null },
      {
        ...bearing,
        name: 'warmth',
        kind: 'mean',
        unit: '°C',
        harm: 'higher',
        count: 5,
        value: -40 + 0.5 * (501 / 5),
        bins: null,
      },
    ])
    // Of a gateway in quarantine nothing is evidence.
    gateways.enrol('g-2', ['site-2'], null, T0)
    gateways.quarantine('g-2', 'it lies', T0)
    expect(fleet.signalSums(MODEL, T0).signals).toEqual([5, 10, 20, 32, 10, 3, 4, 500])
    world.store.close()
  })

  it('is nothing yet where nobody has sent any', () => {
    const nothing = { listeningMs: 0, signals: [], verdicts: new Map() }
    expect(signalFigures(manifest, nothing).map(({ count, value }) => [count, value])).toEqual([
      [0, null],
      [0, null],
      [0, null],
      [0, null],
      [0, null],
    ])
    expect(signalFigures({ pipelines: [] }, nothing)).toEqual([])
  })
})
