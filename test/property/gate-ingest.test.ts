import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { Store } from '../../cloud/store/store.ts'
import { attestedBy } from '../../cloud/trust/attestation.ts'
import { seededRandom } from '../../contract/random.ts'
import type { IngestBatch } from '../../contract/uplink.ts'
import { batchOf, HOUR, ingestInto, SyntheticDevice, T0 } from '../fixtures/synthetic-fleet.ts'

/** Everything the cloud derives from telemetry, as text. */
function imprint(store: Store): string {
  while (store.fleet.refresh(1_000) > 0);
  const tables = ['reports', 'boots', 'device_hours', 'verdicts', 'events', 'aggregates', 'fleet_hours']
  const rows = tables.map((table) =>
    store.db
      .prepare(`SELECT * FROM ${table}`)
      .all()
      .map((row) => {
        // Row numbers of devices depend on who was heard first; names do not.
        const { device, ...rest } = row as Record<string, unknown>
        const name = device === undefined ? '' : (store.devices.byId(device as number)?.name ?? '?')
        return JSON.stringify([name, rest])
      })
      .sort(),
  )
  return JSON.stringify([rows, store.fleet.counters()])
}

/** Hourly batches of three devices over a day, with a reboot each, split into small batches. */
function history(seed: number): IngestBatch[] {
  const random = seededRandom(seed)
  const batches: IngestBatch[] = []
  for (let i = 0; i < 3; i++) {
    const device = new SyntheticDevice(`device-${i}`, 'aaaaaaaaaaaaaaaa', T0, random.fork(`${i}`))
    for (let hour = 1; hour <= 12; hour++) {
      if (hour === 7) {
        device.reboot('bbbbbbbbbbbbbbbb', T0 + 7.3 * HOUR)
        batches.push(batchOf({ events: [device.event('booted', device.startedMs)] }))
      }
      batches.push(batchOf(device.live(T0 + hour * HOUR, { falseWakes: 2, verified: 1 })))
    }
  }
  const aggregate = {
    ...{
      hourMs: T0,
      model: 'aaaaaaaaaaaaaaaa',
      board: 'b',
      site: 'site-1',
      rollout: '',
      stage: 0,
      arm: 'none' as const,
    },
    ...{ activeMs: 1, wakes: 1, gateOpenings: 1, confirmed: 1, rejected: 1, energyMj: 1, radioBytes: 1 },
  }
  for (const revision of [1, 2, 3]) {
    batches.push(batchOf({ aggregates: [{ ...aggregate, revision, listeningMs: revision * 1000 }] }))
  }
  return batches
}

describe('ingest', () => {
  const stores: Store[] = []
  const open = (): Store => {
    const store = new Store(':memory:', T0)
    stores.push(store)
    return store
  }
  afterAll(() => {
    for (const store of stores) store.close()
  })

  it('any order, any number of repetitions: the same state', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000 }), fc.infiniteStream(fc.nat()), (seed, choices) => {
        const batches = history(seed)
        const once = open()
        for (const batch of batches) ingestInto(once, batch, attestedBy)
        const expected = imprint(once)
        // Every batch at least once, half of them again, in drawn order.
        const pick = (n: number): number => choices.next().value! % n
        const shuffled = [...batches, ...batches.filter(() => pick(2) === 0)]
        for (let i = shuffled.length - 1; i > 0; i--) {
          const j = pick(i + 1)
          const swap = shuffled[i]!
          shuffled[i] = shuffled[j]!
          shuffled[j] = swap
        }
        const again = open()
        shuffled.forEach((batch, i) => {
          ingestInto(again, batch, attestedBy)
          if (i % 5 === 0) again.fleet.refresh(1_000)
        })
        expect(imprint(again)).toBe(expected)
      }),
      { numRuns: 25, seed: 7 },
    )
  })

  it('sums over the fleet are those of the devices, to the unit', () => {
    const store = open()
    const random = seededRandom(3)
    const devices = Array.from(
      { length: 10 },
      (_, i) => new SyntheticDevice(`d-${i}`, 'aaaaaaaaaaaaaaaa', T0, random.fork(`${i}`)),
    )
    let rejected = 0
    let wakes = 0
    for (const device of devices) {
      const first = device.live(T0 + 20 * HOUR, { falseWakes: 3, verified: 1 })
      wakes += device.counters[4]!
      for (const row of device.hours.values()) rejected += row.rejected
      device.reboot('bbbbbbbbbbbbbbbb', T0 + 21 * HOUR)
      const second = device.live(T0 + 40 * HOUR, { falseWakes: 3, verified: 1 })
      wakes += device.counters[4]!
      for (const row of device.hours.values()) rejected += row.rejected
      ingestInto(store, batchOf(second), attestedBy)
      ingestInto(store, batchOf(first), attestedBy)
    }
    const sums = store.fleet.counters()
    expect(sums.counters.wakes).toBe(wakes)
    expect(sums.verdicts.rejected).toBe(rejected)
    expect(sums.devices).toBe(10)
    expect(sums.boots).toBe(20)
  })
})
