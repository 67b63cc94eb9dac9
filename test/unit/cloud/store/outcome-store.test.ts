import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Store } from '../../../../cloud/store/store.ts'
import { attestedBy } from '../../../../cloud/trust/attestation.ts'
import { COUNTER_NAMES } from '../../../../contract/messages.ts'
import { present } from '../../../../contract/present.ts'
import { seededRandom } from '../../../../contract/random.ts'
import type { ReportRow } from '../../../../contract/uplink.ts'
import { batchOf, HOUR, ingestInto, SyntheticDevice, T0 } from '../../../fixtures/synthetic-fleet.ts'

/** Sums over the slots of a stretch. */
function windowOf(store: Store, ...asked: Parameters<Store['outcomes']['slots']>) {
  const slots = store.outcomes.slots(...asked)
  const listeningMs = slots.reduce((sum, slot) => sum + slot.listeningMs, 0)
  return { listeningHours: listeningMs / HOUR, falseWakes: slots.reduce((sum, slot) => sum + slot.rejected, 0) }
}

const heardOf = (store: Store, device: number) => {
  const { lastSeenMs, gapMs } = present(store.devices.byId(device), 'the device')
  return { lastSeenMs, gapMs }
}

const OLD = 'aaaaaaaaaaaaaaaa'
const NEW = 'bbbbbbbbbbbbbbbb'
const DAY = 24 * HOUR

let store: Store
beforeEach(() => {
  store = new Store(':memory:', T0)
})
afterEach(() => store.close())

const ingest = (rows: Parameters<typeof batchOf>[0], gateway = 'gateway-1', nowMs?: number) =>
  ingestInto(store, { ...batchOf(rows), gateway }, attestedBy, nowMs)
const id = (name = 'd'): number => store.devices.byName(name)!.id
const live = (device: SyntheticDevice, toHour: number, falseWakes = 4) =>
  device.live(T0 + toHour * HOUR, { falseWakes, verified: 1 })
const sum = (values: Iterable<number>): number => [...values].reduce((all, value) => all + value, 0)
/** A report as a device sends it that listened all the time and woke `wakes` times. */
function reportAt(
  boot: number,
  seq: number,
  uptimeMs: number,
  receivedMs: number,
  more: Partial<ReportRow> = {},
): ReportRow {
  const row = new SyntheticDevice('d', OLD, T0, seededRandom(9)).report()
  const counters = COUNTER_NAMES.map((name) => (name === 'listeningMs' ? uptimeMs : 0))
  return { ...row, boot, seq, uptimeMs, receivedMs, wallMs: 0, counters, ...more }
}

describe('outcomes of a device', () => {
  it('counts exactly the slots within the window for a device that reports at an odd minute', () => {
    const device = new SyntheticDevice('d', OLD, T0, seededRandom(1))
    ingest(live(device, 30))
    // Reports were received a second after they were made: slots begin a second after the hour.
    const slots = store.outcomes.slots(id(), OLD, T0 + 10 * HOUR, T0 + 20 * HOUR + 1_000)
    expect(slots.map(({ hour }) => hour)).toEqual(Array.from({ length: 10 }, (_, i) => T0 / HOUR + 10 + i))
    const truth = [...device.hours].filter(([hour]) => hour >= T0 + 10 * HOUR && hour < T0 + 20 * HOUR)
    expect(slots.map(({ rejected }) => rejected)).toEqual(truth.map(([, row]) => row.rejected))
    expect(slots.map(({ confirmed }) => confirmed)).toEqual(truth.map(([, row]) => row.confirmed))
    for (const { listeningMs, uptimeMs } of slots) expect([listeningMs, uptimeMs]).toEqual([HOUR, HOUR])
    const { listeningHours, falseWakes } = windowOf(store, id(), OLD, T0 + 10 * HOUR, T0 + 20 * HOUR + 1_000)
    expect(listeningHours).toBeCloseTo(10, 9)
    expect(falseWakes).toBe(sum(truth.map(([, row]) => row.rejected)))
  })

  it('a boot that begins in the window counts from its first moment in whole slots, one of another model not at all', () => {
    const device = new SyntheticDevice('d', OLD, T0, seededRandom(2))
    ingest(live(device, 12))
    device.reboot(NEW, T0 + 12.25 * HOUR)
    ingest(live(device, 22))
    const slots = store.outcomes.slots(id(), NEW, T0 + 10 * HOUR, T0 + 20 * HOUR)
    // From 12:15 to 13:15, whose middle is 12:45, to 19:15.
    expect(slots.map(({ hour }) => hour - T0 / HOUR)).toEqual([12, 13, 14, 15, 16, 17, 18])
    const truth = [...device.hours].filter(([at]) => at + HOUR < T0 + 20 * HOUR)
    expect(sum(slots.map(({ rejected }) => rejected))).toBe(sum(truth.map(([, row]) => row.rejected)))
    expect(store.outcomes.firstStart(id(), NEW, T0)).toBe(T0 + 12.25 * HOUR + 1_000)
    expect(store.outcomes.firstStart(id(), NEW, T0 + 13 * HOUR)).toBeUndefined()
  })

  it('stops at the last whole slot before the last report: silence distorts nothing', () => {
    const device = new SyntheticDevice('d', OLD, T0, seededRandom(3))
    ingest(live(device, 8))
    const { listeningHours } = windowOf(store, id(), OLD, T0, T0 + 20 * HOUR)
    expect(listeningHours).toBeCloseTo(Math.floor((device.atMs - T0) / HOUR), 9)
  })

  it.each([
    ['forty minutes behind', (at: number) => at - 40 * 60_000],
    ['local time for UTC', (at: number) => at + 8 * HOUR],
    ['none', () => 0],
    ['set back a month within the boot', (at: number) => (at > T0 + 6 * HOUR ? at - 30 * DAY : at)],
    ['running backwards', (at: number) => 2 * T0 - at],
  ])('a clock of the device that is wrong changes nothing: %s', (_, clock) => {
    const right = new SyntheticDevice('d', OLD, T0, seededRandom(4))
    const wrong = new SyntheticDevice('wrong', OLD, T0, seededRandom(4))
    ingest(live(right, 15))
    const { reports, verdicts } = live(wrong, 15)
    ingest({ reports: reports.map((row) => ({ ...row, wallMs: clock(row.wallMs) })), verdicts })
    const of = (name: string) => store.outcomes.slots(id(name), OLD, T0, T0 + 20 * HOUR)
    expect(of('wrong')).toEqual(of('d'))
    expect(of('d').length).toBeGreaterThan(12)
  })

  it('a backlog of twelve hours at once is of the hours in which it happened, wakes and listening alike', () => {
    const device = new SyntheticDevice('d', OLD, T0, seededRandom(5))
    ingest(live(device, 10))
    const { reports, verdicts } = live(device, 22)
    const outage = reports.map((row) => ({ ...row, receivedMs: T0 + 22 * HOUR }))
    ingest({ reports: outage, verdicts })
    const slots = store.outcomes.slots(id(), OLD, T0, T0 + 23 * HOUR)
    const truth = [...device.hours].slice(0, slots.length)
    expect(slots.length).toBeGreaterThan(20)
    expect(slots.map(({ rejected }) => rejected)).toEqual(truth.map(([, row]) => row.rejected))
    expect(slots.map(({ hour }) => hour)).toEqual(truth.map(([at]) => at / HOUR))
  })

  it('a boot whose every message waited in flash ended no later than the next one began', () => {
    // Ten hours offline, a reset, and then everything of both boots within a second.
    const now = T0 + 11 * HOUR
    const old = Array.from({ length: 10 }, (_, i) => reportAt(1, i, (i + 1) * HOUR, now + i))
    ingest({ reports: old })
    expect(store.outcomes.firstStart(id(), OLD, 0)).toBe(now + 9 - 10 * HOUR)
    ingest({ reports: [reportAt(2, 0, HOUR, now)] })
    expect(store.outcomes.firstStart(id(), OLD, 0)).toBe(T0)
    const hours = store.outcomes.slots(id(), OLD, 0, now).map(({ hour }) => hour - T0 / HOUR)
    expect(hours).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    // A crash loop moves one after the other.
    ingest({ reports: [reportAt(3, 0, 2 * HOUR, now - HOUR)] })
    expect(store.outcomes.firstStart(id(), OLD, 0)).toBe(now - HOUR - 2 * HOUR - HOUR - 10 * HOUR)
  })

  it('two gateways that hear one device each count some of its wakes: the sum counts', () => {
    const row = { site: 's', device: 'd', boot: 1, model: OLD, slot: 0 }
    ingest({ reports: [reportAt(1, 0, HOUR, T0 + HOUR)], verdicts: [{ ...row, confirmed: 1, rejected: 3 }] })
    ingest({ verdicts: [{ ...row, confirmed: 0, rejected: 2, unjudged: 4 }] }, 'gateway-2')
    // Sums are cumulative: said again they are the same, said higher they replace.
    ingest({ verdicts: [{ ...row, confirmed: 0, rejected: 1, unjudged: 4 }] }, 'gateway-2')
    expect(store.outcomes.slots(id(), OLD, T0, T0 + HOUR)).toMatchObject([{ confirmed: 1, rejected: 5, unjudged: 4 }])
    ingest({ verdicts: [{ ...row, confirmed: 2, rejected: 2, unjudged: 4 }] }, 'gateway-2')
    expect(store.outcomes.slots(id(), OLD, T0, T0 + HOUR)).toMatchObject([{ confirmed: 3, rejected: 5, unjudged: 4 }])
    expect(store.fleet.counters().verdicts).toEqual({ confirmed: 3, rejected: 5, unjudged: 4 })
  })

  it('what a gateway takes back is taken back: the highest revision of each stands, and only of its own row', () => {
    const row = { site: 's', device: 'd', boot: 1, model: OLD, slot: 0 }
    const sums = () => store.fleet.counters().verdicts
    ingest({ verdicts: [{ ...row, revision: 5, confirmed: 1, rejected: 4 }] })
    ingest({ verdicts: [{ ...row, revision: 9, confirmed: 3, rejected: 2 }] }, 'gateway-2')
    ingest({ verdicts: [{ ...row, revision: 6, confirmed: 4, rejected: 0 }] })
    expect(sums()).toEqual({ confirmed: 7, rejected: 2, unjudged: 0 })
    // An older batch that comes again changes nothing.
    ingest({ verdicts: [{ ...row, revision: 5, confirmed: 1, rejected: 4 }] })
    expect(sums()).toEqual({ confirmed: 7, rejected: 2, unjudged: 0 })
    ingest({ verdicts: [{ ...row, revision: 10, confirmed: 0, rejected: 0 }] }, 'gateway-2')
    expect(sums()).toEqual({ confirmed: 4, rejected: 0, unjudged: 0 })
  })

  it('a device that nobody has enrolled is made by no row', () => {
    const device = new SyntheticDevice('nobody', OLD, T0, seededRandom(9))
    const rows = live(device, 5)
    const nothing = { reports: 0, verdicts: 0, events: 0, aggregates: 0, late: 0, contradicted: 0, beyond: 0 }
    expect(store.telemetry.ingest(batchOf(rows), attestedBy, T0)).toEqual(nothing)
    expect(store.devices.byName('nobody')).toBeUndefined()
  })

  it('verdicts by hour of receipt, from old gateways, go to the slot of that hour, whenever it becomes known', () => {
    const row = { site: 's', device: 'd', boot: 1, model: OLD, confirmed: 0, rejected: 3 }
    // Verdicts come first: nothing is known of the boot yet.
    ingest({
      verdicts: [
        { ...row, hourMs: T0 + 2 * HOUR },
        { ...row, hourMs: T0 + 3 * HOUR, rejected: 1 },
      ],
    })
    ingest({ reports: [reportAt(1, 0, 2 * HOUR, T0 + 5 * HOUR)] })
    ingest({ reports: [reportAt(1, 1, 4 * HOUR, T0 + 4 * HOUR)] })
    ingest({
      verdicts: [
        { ...row, hourMs: T0 + 2 * HOUR, rejected: 4 },
        { ...row, hourMs: T0 + 3 * HOUR, rejected: 1 },
      ],
    })
    ingest({ verdicts: [{ ...row, hourMs: T0 + 2 * HOUR, rejected: 3 }] })
    const rejected = store.outcomes.slots(id(), OLD, T0, T0 + 5 * HOUR).map((slot) => slot.rejected)
    expect(rejected).toEqual([0, 0, 4, 1])
  })

  it.each([6, 24])(
    'an uplink every %i hours: every slot between is known, and the counts are those of the reports',
    (every) => {
      const device = new SyntheticDevice('d', OLD, T0, seededRandom(6))
      const { reports, verdicts } = live(device, 50)
      ingest({ reports: reports.filter((_, i) => i % every === every - 1), verdicts })
      const slots = store.outcomes.slots(id(), OLD, T0, T0 + 60 * HOUR)
      const known = Math.floor((Math.floor(reports.length / every) * every * HOUR) / HOUR) - 1
      expect(slots.length).toBeGreaterThanOrEqual(known)
      for (const slot of slots) expect(slot.listeningMs).toBeCloseTo(HOUR, 6)
      expect(slots.map(({ rejected }) => rejected)).toEqual(
        [...device.hours.values()].slice(0, slots.length).map((r) => r.rejected),
      )
    },
  )

  it('what comes more than a week late is no outcome, and is counted; a week and less is one', () => {
    ingest({ reports: [reportAt(1, 0, 1_000, T0 + 1_000)] })
    const outcome = ingest({
      reports: [reportAt(1, 1, HOUR, T0 + HOUR + 7 * DAY + 1), reportAt(1, 2, 2 * HOUR, T0 + 2 * HOUR + 7 * DAY)],
    })
    expect(outcome).toMatchObject({ reports: 2, late: 1 })
    const slots = store.outcomes.slots(id(), OLD, 0, T0 + 30 * DAY)
    expect(slots.map(({ hour }) => hour - T0 / HOUR)).toEqual([1])
  })

  it('nothing is spread over a silence of more than a week', () => {
    ingest({ reports: [reportAt(1, 0, HOUR, T0 + HOUR), reportAt(1, 1, 8 * DAY + 2 * HOUR, T0 + 8 * DAY + 2 * HOUR)] })
    expect(store.outcomes.slots(id(), OLD, 0, T0 + 30 * DAY)).toHaveLength(1)
  })

  it('a gateway that does not know the time says so, or says 1970 or tomorrow: the cloud counts from its own receipt', () => {
    for (const [i, receivedMs] of [0, 17 * HOUR, T0 + 3 * DAY].entries()) {
      const reports = [reportAt(1, 0, 2 * HOUR, receivedMs, { device: `d-${i}` })]
      ingest({ reports }, 'gateway-1', T0 + 2 * HOUR)
      expect(store.outcomes.firstStart(id(`d-${i}`), OLD, 0)).toBe(T0)
      expect(heardOf(store, id(`d-${i}`))).toEqual({ lastSeenMs: T0 + 2 * HOUR, gapMs: 0 })
    }
    const hours = store.db.prepare('SELECT min(hour) FROM device_hours').pluck().get()
    expect(hours).toBe(T0 / HOUR + 2)
  })

  it('an uptime that no device has puts nothing anywhere', () => {
    expect(ingest({ reports: [reportAt(1, 0, Number.MAX_SAFE_INTEGER, T0)] }).reports).toBe(0)
    expect(store.db.prepare('SELECT count(*) FROM boot_starts').pluck().get()).toBe(0)
  })
})

describe('a replaced board under the same id', () => {
  it('is heard from its first boot on, and what is late of the former one is still its own', () => {
    ingest({ reports: [40, 41].map((boot) => reportAt(boot, 0, HOUR, T0 + (boot - 39) * HOUR)) })
    const fresh = Array.from({ length: 30 }, (_, i) =>
      reportAt(1, i, (i + 1) * HOUR, T0 + (i + 11) * HOUR, { incarnation: 7, model: NEW }),
    )
    expect(ingest({ reports: fresh }).reports).toBe(30)
    const verdict = { site: 's', device: 'd', model: NEW, boot: 1, slot: 3, confirmed: 0, rejected: 2 }
    ingest({ verdicts: [{ ...verdict, incarnation: 7 }] })
    expect(heardOf(store, id()).lastSeenMs).toBe(T0 + 40 * HOUR)
    expect(store.outcomes.slots(id(), NEW, 0, T0 + 50 * HOUR)).toHaveLength(30)
    expect(sum(store.outcomes.slots(id(), NEW, 0, T0 + 50 * HOUR).map(({ rejected }) => rejected))).toBe(2)
    expect(store.baselines.present()).toMatchObject([{ model: NEW }])
    // A straggler of the former board, of the boot with the number of one of the new board.
    ingest({ reports: [reportAt(1, 0, HOUR, T0 + 41 * HOUR)] })
    expect(store.outcomes.slots(id(), NEW, 0, T0 + 50 * HOUR)).toHaveLength(30)
    expect(store.fleet.deviceBoots(id(), 10).map(({ incarnation, boot }) => [incarnation, boot])).toEqual([
      [7, 1],
      [0, 41],
      [0, 40],
      [0, 1],
    ])
  })

  it('boots of one incarnation do not bound those of another', () => {
    ingest({ reports: [reportAt(9, 0, 5 * HOUR, T0 + 5 * HOUR)] })
    ingest({ reports: [reportAt(1, 0, 9 * HOUR, T0 + 6 * HOUR, { incarnation: 7 })] })
    expect(store.outcomes.firstStart(id(), OLD, T0)).toBe(T0)
  })
})

describe('contact', () => {
  const contact = (hour: number, boot = 1) => ingest({ reports: [reportAt(boot, hour, hour * HOUR, T0 + hour * HOUR)] })

  it('keeps the largest gap between two contacts of about a fortnight', () => {
    for (const hour of [1, 2, 3]) contact(hour)
    expect(heardOf(store, id())).toEqual({ lastSeenMs: T0 + 3 * HOUR, gapMs: HOUR })
    contact(10)
    contact(11)
    expect(heardOf(store, id())).toEqual({ lastSeenMs: T0 + 11 * HOUR, gapMs: 7 * HOUR })
    for (let hour = 12; hour <= 10 + 14 * 24 + 1; hour++) contact(hour)
    expect(heardOf(store, id()).gapMs).toBe(HOUR)
    // Seen before, and late: no contact.
    contact(5)
    expect(heardOf(store, id()).lastSeenMs).toBe(T0 + (10 + 14 * 24 + 1) * HOUR)
  })

  it('of a batch, reports and events are taken in the order of their receipt', () => {
    const device = new SyntheticDevice('d', OLD, T0, seededRandom(9))
    const event = (at: number) => device.event('booted', T0 + at * HOUR)
    ingest({
      reports: [1, 5].map((hour) => reportAt(1, hour, hour * HOUR, T0 + hour * HOUR)),
      events: [event(2), event(3)],
    })
    expect(heardOf(store, id()).gapMs).toBe(2 * HOUR)
  })
})

describe('fleet hours', () => {
  const hours = () => {
    while (store.fleet.refresh(1_000) > 0);
    return store.fleet.hours(0, Number.MAX_SAFE_INTEGER)
  }

  it('false wakes are of the same time as the listening and the wakes, however late either comes', () => {
    const device = new SyntheticDevice('d', OLD, T0, seededRandom(11))
    const { reports, verdicts } = live(device, 40, 60)
    // A gateway was away from hour 10 to 30: everything of that time came in one minute.
    const away = ({ receivedMs }: ReportRow) => receivedMs > T0 + 10 * HOUR && receivedMs < T0 + 30 * HOUR
    ingest({ reports: reports.filter((row) => !away(row)) })
    hours()
    ingest({ reports: reports.filter(away).map((row) => ({ ...row, receivedMs: T0 + 30 * HOUR })) })
    hours()
    ingest({ verdicts })
    const sums = hours()
    expect(sums.length).toBeGreaterThan(35)
    for (const { hour, rejected, confirmed, wakes, listeningMs } of sums) {
      expect(listeningMs).toBe(HOUR)
      const truth = device.hours.get(hour * HOUR)!
      expect([rejected, confirmed]).toEqual([truth.rejected, truth.confirmed])
      expect(rejected + confirmed).toBeLessThanOrEqual(wakes)
    }
  })

  it('move with a boot of which is learned that it began earlier', () => {
    ingest({ reports: [reportAt(1, 0, 2 * HOUR, T0 + 9 * HOUR)] })
    expect(hours().map(({ hour }) => hour - T0 / HOUR)).toEqual([7, 8])
    ingest({ reports: [reportAt(1, 1, 3 * HOUR, T0 + 3 * HOUR)] })
    expect(hours().map(({ hour, listeningMs }) => [hour - T0 / HOUR, listeningMs])).toEqual([
      [0, HOUR],
      [1, HOUR],
      [2, HOUR],
    ])
  })

  it('know the slots between two reports that are a day apart', () => {
    ingest({ reports: [reportAt(1, 0, HOUR, T0 + HOUR), reportAt(1, 1, 25 * HOUR, T0 + 25 * HOUR)] })
    expect(hours()).toHaveLength(25)
  })
})
