import { afterEach, describe, expect, it, vi } from 'vitest'
import type { PipelineSignals } from '../../cloud/store/model-store.ts'
import { Store } from '../../cloud/store/store.ts'
import { DriftMonitor } from '../../cloud/telemetry/drift.ts'
import { DEFAULT_DRIFT_POLICY } from '../../cloud/telemetry/drift-policy.ts'
import { populationStabilityIndex } from '../../cloud/telemetry/drift-reader.ts'
import { attestedBy } from '../../cloud/trust/attestation.ts'
import { present } from '../../contract/present.ts'
import { seededRandom } from '../../contract/random.ts'
import { releaseOf } from '../fixtures/cloud-world.ts'
import { batchOf, HOUR, ingestInto, SyntheticDevice, T0 } from '../fixtures/synthetic-fleet.ts'

// Hundreds of simulated hours; a busy machine takes minutes for them.
vi.setConfig({ testTimeout: 300_000 })

const MODEL = 'aaaaaaaaaaaaaaaa'
const NEXT = 'bbbbbbbbbbbbbbbb'
interface Rates {
  readonly falseWakes: number
  readonly verified: number
  readonly noiseBin?: number
  readonly listening?: number
  readonly numbers?: readonly number[]
}

describe('drift', () => {
  const stores: Store[] = []
  afterEach(() => {
    for (const store of stores.splice(0)) store.close()
  })

  class Fleet {
    readonly store = new Store(':memory:', T0)
    readonly monitor = new DriftMonitor(this.store, DEFAULT_DRIFT_POLICY)
    readonly devices: SyntheticDevice[]
    nowMs = T0
    /** @param place of the device with that number */
    constructor(seed: number, count: number, place = (_: number) => ({ site: 'site-1', board: 'board-a' })) {
      stores.push(this.store)
      const random = seededRandom(seed)
      this.devices = Array.from({ length: count }, (_, i) => {
        const { site, board } = place(i)
        this.store.devices.enrol({ name: `d-${i}`, site, board, tags: [] }, T0)
        return new SyntheticDevice(`d-${i}`, MODEL, T0, random.fork(`${i}`), site, board)
      })
    }
    /** @param rates of all, and `own` of a device where it differs */
    hour(rates: Rates, own: (device: SyntheticDevice) => Rates | undefined = () => undefined) {
      this.nowMs += HOUR
      const batch = batchOf({})
      for (const device of this.devices) {
        const { reports, verdicts } = device.live(this.nowMs, own(device) ?? rates)
        batch.reports.push(...reports)
        batch.verdicts.push(...verdicts)
      }
      ingestInto(this.store, batch, attestedBy)
      return this.monitor.evaluate(this.nowMs + 20 * 60_000)
    }
    hours(count: number, rates: Rates, own?: (device: SyntheticDevice) => Rates | undefined) {
      return Array.from({ length: count }, () => this.hour(rates, own)).flat()
    }
  }
  const QUIET = { falseWakes: 0.3, verified: 0.5 }
  /** Rates ±80 %, and a noise floor that moves by a bin, by the hour of the day. */
  const daily = (nowMs: number, rates = QUIET, bins = 0) => {
    const wave = Math.sin((nowMs / HOUR / 24) * 2 * Math.PI)
    const factor = 1 + 0.8 * wave
    return {
      falseWakes: rates.falseWakes * factor,
      verified: rates.verified * factor,
      noiseBin: Math.round(3 + 0.8 * wave) + bins,
    }
  }

  it('a fleet with a day and a night raises nothing in 30 days', () => {
    const fleet = new Fleet(31, 60)
    const changes = Array.from({ length: 30 * 24 }, () => fleet.hour(daily(fleet.nowMs + HOUR))).flat()
    expect(changes).toEqual([])
  })

  it.each([8, 20])('and a rise on top of it is found as soon as ever, at hour %i of the day', (start) => {
    const fleet = new Fleet(32, 120)
    for (let hour = 0; hour < 48 + start; hour++) expect(fleet.hour(daily(fleet.nowMs + HOUR))).toEqual([])
    const raised = new Map<string, number>()
    for (let hour = 1; hour <= 6; hour++) {
      const loud = daily(fleet.nowMs + HOUR, { falseWakes: 1.5, verified: 0.5 }, 1)
      for (const { alert, change } of fleet.hour(loud)) if (change === 'raised') raised.set(alert.metric, hour)
    }
    expect(raised.get('noiseFloor')).toBeLessThanOrEqual(3)
    expect(raised.get('falseWakesPerHour')).toBeLessThanOrEqual(5)
  })

  it('a quiet fleet raises nothing in 200 h, whatever the seed', () => {
    for (let seed = 1; seed <= 8; seed++) expect(new Fleet(seed, 50).hours(200, QUIET)).toEqual([])
  })

  it.each([11, 12, 13])('a fourfold rise is seen within hours, and its end too (seed %i)', (seed) => {
    const fleet = new Fleet(seed, 120)
    expect(fleet.hours(40, QUIET)).toEqual([])
    let hours = 0
    let changes: ReturnType<Fleet['hour']> = []
    const loud = { falseWakes: 1.2, verified: 0.5, noiseBin: 5 }
    const raised = new Map<string, number>()
    while (hours < 8) {
      changes = fleet.hour(loud)
      hours++
      for (const { alert, change } of changes) if (change === 'raised') raised.set(alert.metric, hours)
    }
    console.log(`seed ${seed}: raised after hours`, Object.fromEntries(raised))
    expect(raised.get('falseWakesPerHour')).toBeLessThanOrEqual(4)
    expect(raised.get('noiseFloor')).toBeLessThanOrEqual(4)
    const [alert] = fleet.store.alerts.allOpen().filter(({ metric }) => metric === 'falseWakesPerHour')
    expect(alert).toMatchObject({ code: 'drift', model: MODEL, state: 'open' })
    expect(alert!.ratio).toBeGreaterThan(1.5)
    // Once only.
    expect(fleet.hours(5, loud)).toEqual([])
    const calm = fleet.hours(10, QUIET)
    expect(calm.map(({ change }) => change)).not.toContain('raised')
    expect(fleet.store.alerts.allOpen()).toEqual([])
  })

  it('another model means another baseline: its level is no drift, and the old alert ends', () => {
    const fleet = new Fleet(21, 60)
    fleet.hours(40, QUIET)
    fleet.hours(6, { falseWakes: 1.5, verified: 0.5 })
    expect(fleet.store.alerts.allOpen()).not.toEqual([])
    for (const device of fleet.devices) device.reboot(NEXT, Math.max(device.atMs, fleet.nowMs))
    const changes = fleet.hours(60, { falseWakes: 1.5, verified: 0.5 })
    expect(changes.every(({ change }) => change === 'resolved')).toBe(true)
    expect(fleet.store.alerts.allOpen()).toEqual([])
  })

  describe('at a site or on a board', () => {
    /** Ten sites, two boards at each. */
    const tenSites = (i: number) => ({ site: `site-${i % 10}`, board: i % 20 < 10 ? 'board-a' : 'board-b' })
    /** Ten decibels, four times the false wakes. */
    const LOUD = { falseWakes: 1.2, verified: 0.5, noiseBin: 5 }
    const raisedIn = (changes: ReturnType<Fleet['hour']>) =>
      new Set(
        changes.flatMap(({ alert, change }) =>
          change === 'raised' ? [`${alert.metric} ${alert.cohort ?? 'everywhere'}`] : [],
        ),
      )

    it.each([41, 42, 46])('one of ten sites is found, by its name, and its end too (seed %i)', (seed) => {
      const fleet = new Fleet(seed, 240, tenSites)
      expect(fleet.hours(32, QUIET)).toEqual([])
      const loud = ({ site }: SyntheticDevice) => (site === 'site-3' ? LOUD : undefined)
      expect(raisedIn(fleet.hours(4, QUIET, loud))).toContain('noiseFloor site:site-3')
      // 24 devices with seven false wakes an hour together: it takes longer than of a fleet.
      const hours = Array.from({ length: 8 }, () => raisedIn(fleet.hour(QUIET, loud)))
      console.log(`seed ${seed}: raised after hours`, hours.findIndex(({ size }) => size > 0) + 5)
      expect(hours.filter(({ size }) => size > 0)).toEqual([new Set(['falseWakesPerHour site:site-3'])])
      const [alert] = fleet.store.alerts.allOpen().filter(({ metric }) => metric === 'falseWakesPerHour')
      expect(alert).toMatchObject({ code: 'drift', model: MODEL, cohort: 'site:site-3', numbers: { devices: 24 } })
      expect(raisedIn(fleet.hours(16, QUIET))).toEqual(new Set())
      expect(fleet.store.alerts.allOpen()).toEqual([])
    })

    it('one of two boards is found where no site is to blame', () => {
      const fleet = new Fleet(43, 240, (i) => ({ ...tenSites(i), board: i % 40 < 10 ? 'board-b' : 'board-a' }))
      fleet.hours(32, QUIET)
      const loud = ({ board }: SyntheticDevice) => (board === 'board-b' ? { ...QUIET, falseWakes: 0.9 } : undefined)
      expect(raisedIn(fleet.hours(12, QUIET, loud))).toEqual(new Set(['falseWakesPerHour board:board-b']))
    })

    it('a site where all have one board is told as a site', () => {
      const place = (i: number) => ({ site: `site-${i % 10}`, board: i % 10 === 3 ? 'board-b' : 'board-a' })
      const fleet = new Fleet(44, 240, place)
      fleet.hours(32, QUIET)
      const loud = ({ site }: SyntheticDevice) => (site === 'site-3' ? LOUD : undefined)
      expect(raisedIn(fleet.hours(12, QUIET, loud))).toEqual(
        new Set(['falseWakesPerHour site:site-3', 'noiseFloor site:site-3']),
      )
    })

    it('what the whole fleet does is said once', () => {
      const fleet = new Fleet(45, 240, tenSites)
      fleet.hours(32, QUIET)
      expect(raisedIn(fleet.hours(8, LOUD))).toEqual(new Set(['falseWakesPerHour everywhere', 'noiseFloor everywhere']))
    })

    it('ten quiet sites raise nothing in 100 h, nor by day and by night', () => {
      for (let seed = 51; seed <= 53; seed++) expect(new Fleet(seed, 120, tenSites).hours(100, QUIET)).toEqual([])
      const fleet = new Fleet(54, 120, tenSites)
      expect(Array.from({ length: 120 }, () => fleet.hour(daily(fleet.nowMs + HOUR))).flat()).toEqual([])
    })
  })

  describe('of what a bundle declares', () => {
    const BEARING: readonly PipelineSignals[] = [
      {
        id: 'bearing',
        signals: [
          { kind: 'histogram', name: 'score', unit: 'score', harm: null, edges: [1, 2, 3] },
          { kind: 'count', name: 'alarms', unit: 'alarms', harm: 'higher', per: 'listening-hour' },
          { kind: 'ratio', name: 'odd', unit: 'windows', harm: null },
          { kind: 'mean', name: 'confidence', unit: 'permille', harm: 'lower', lowest: 100, step: 5 },
        ],
      },
    ]
    /** Numbers of an hour: bins of the score; alarms; windows, odd ones; windows, steps of confidence. */
    const hourOf = ({ score = [300, 200, 80, 20], alarms = 0.5, odd = 60, steps = 6_000 } = {}): Rates => ({
      ...{ falseWakes: 0, verified: 0 },
      numbers: [...score, alarms, 600, odd, 600, steps],
    })
    const bearings = (seed: number, count = 60, place?: (i: number) => { site: string; board: string }) => {
      const fleet = new Fleet(seed, count, place)
      const { models } = fleet.store
      const sha256 = MODEL.padEnd(64, '0')
      models.putArtifact(sha256, 1000, T0)
      models.add(releaseOf('bearing-1', 1, sha256), null, T0, { signals: BEARING, family: 'bearing' })
      return fleet
    }
    const alertsOf = (changes: ReturnType<Fleet['hour']>) =>
      changes.map(({ alert, change }) => `${change} ${alert.metric} ${alert.cohort ?? 'everywhere'}`)

    it('a quiet fleet raises nothing, and neither does what nobody has said harms', () => {
      for (let seed = 61; seed <= 63; seed++) {
        const fleet = bearings(seed)
        expect(fleet.hours(90, hourOf())).toEqual([])
        expect(fleet.hours(12, hourOf({ odd: 300 }))).toEqual([])
      }
    })

    it.each([
      ['alarms, three times as many', { alarms: 1.5 }, 'bearing/alarms', 3],
      ['confidence that falls to a third', { steps: 2_000 }, 'bearing/confidence', 1 / 3],
    ])('%s, and their end', (_, changes, name, ratio) => {
      const fleet = bearings(64)
      expect(fleet.hours(40, hourOf())).toEqual([])
      expect(alertsOf(fleet.hours(8, hourOf(changes)))).toEqual([`raised ${name} everywhere`])
      const alert = present(fleet.store.alerts.allOpen()[0], 'the alert')
      expect(alert.ratio / ratio).toBeGreaterThan(0.7)
      expect(alert.ratio / ratio).toBeLessThan(1.4)
      expect(alertsOf(fleet.hours(8, hourOf()))).toEqual([`resolved ${name} everywhere`])
      // Better is no alarm.
      expect(fleet.hours(12, hourOf({ alarms: 0.1, steps: 12_000 }))).toEqual([])
    })

    it('the shape of a histogram, at the site where it has changed', () => {
      const fleet = bearings(65, 120, (i) => ({ site: `site-${i % 5}`, board: 'board-a' }))
      expect(fleet.hours(32, hourOf())).toEqual([])
      const worn = ({ site }: SyntheticDevice) =>
        site === 'site-2' ? hourOf({ score: [60, 100, 240, 200] }) : undefined
      expect(alertsOf(fleet.hours(5, hourOf(), worn))).toEqual(['raised bearing/score site:site-2'])
      expect(alertsOf(fleet.hours(8, hourOf()))).toEqual(['resolved bearing/score site:site-2'])
    })

    it('a histogram of few counts has no shape yet', () => {
      const fleet = bearings(66)
      const few = hourOf({ score: [0.05, 0.03, 0.02, 0.01] })
      expect(fleet.hours(100, few)).toEqual([])
      // Its bins are turned round: nothing that five events of the fleet could show.
      expect(fleet.hours(5, hourOf({ score: [0.01, 0.02, 0.03, 0.05] }))).toEqual([])
    })

    it('sensors that listen a tenth of the time are followed too', () => {
      const fleet = bearings(67)
      expect(fleet.hours(40, { ...hourOf({ alarms: 5 }), listening: 0.1 })).toEqual([])
      expect(alertsOf(fleet.hours(8, { ...hourOf({ alarms: 15 }), listening: 0.1 }))).toEqual([
        'raised bearing/alarms everywhere',
      ])
    })

    it('a baseline of before it was followed says nothing of it, and goes on saying what it knew', () => {
      const fleet = bearings(68)
      fleet.hours(30, { ...hourOf(), falseWakes: 0.3 })
      const { db } = fleet.store
      const old = (text: string) =>
        (JSON.parse(text) as ({ sums: object; bins: { noiseFloor: number[] } } | null)[]).map(
          (hour) =>
            hour && {
              ...hour,
              sums: Object.fromEntries(Object.entries(hour.sums).filter(([name]) => !name.includes('/'))),
              bins: { noiseFloor: hour.bins.noiseFloor },
            },
        )
      const rows = db.prepare<[], { device: number; hours: string }>('SELECT device, hours FROM baselines').all()
      expect(rows).toHaveLength(60)
      for (const { device, hours } of rows)
        db.prepare('UPDATE baselines SET hours = ? WHERE device = ?').run(JSON.stringify(old(hours)), device)
      const changed = { ...hourOf({ alarms: 5, score: [0, 0, 0, 600] }), falseWakes: 1.5 }
      expect(alertsOf(fleet.hours(8, changed))).toEqual(['raised falseWakesPerHour everywhere'])
    })
  })

  it('population stability index: zero for equal shares, large for a shift of two bins', () => {
    expect(populationStabilityIndex([10, 20, 30], [1, 2, 3])).toBeCloseTo(0, 12)
    expect(populationStabilityIndex([0, 0, 80, 20], [80, 20, 0, 0])).toBeGreaterThan(1)
    expect(populationStabilityIndex([0, 0], [1, 1])).toBe(0)
  })
})
