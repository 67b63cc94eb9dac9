import { describe, expect, it } from 'vitest'
import { eventCodec, reportCodec } from '../../../../contract/messages.ts'
import { ingestBatchSchema } from '../../../../contract/uplink.ts'
import { MessageCounters } from '../../../../gateway/message-counters.ts'
import { DeviceTable } from '../../../../gateway/store/device-table.ts'
import { Spool, type SpoolLimits } from '../../../../gateway/store/spool.ts'
import { SPOOL_KINDS } from '../../../../gateway/store/spool-rows.ts'
import { reportSample } from '../../../fixtures/contract-samples.ts'
import { originOf, tempStore } from '../../../fixtures/gateway-store.ts'

const HOUR = 3_600_000
const GROUP = '00010203fcfdfeff|b1|lab||0|none'
const MODEL = '00010203fcfdfeff'
const PAYLOAD = Buffer.from(reportCodec.encode(reportSample))
const eventPayload = (seq: number) => Buffer.from(eventCodec.encode({ boot: 7, seq, wallMs: 5, code: 0 }))
const AMPLE: SpoolLimits = { reportsMax: 10_000, eventsMax: 10_000, verdictsMax: 10_000 }

function world(limits: Partial<SpoolLimits> = {}) {
  const store = tempStore()
  const devices = new DeviceTable(store)
  const counters = new MessageCounters()
  const open = () => new Spool(store, devices, counters, { ...AMPLE, ...limits })
  const spool = open()
  const report = (device: string, seq: number, boot = 7) =>
    spool.addReport(originOf(device), boot, seq, 5 * HOUR + seq, PAYLOAD)
  const verdict = (device: string, hour: number, confirmed: boolean, pipeline = 0) =>
    spool.addVerdict(
      {
        ...{ site: 'lab', device, incarnation: 0, boot: 7, model: MODEL },
        pipeline,
        slot: hour,
        receivedMs: hour * HOUR + 5,
      },
      confirmed,
    )
  const cell = (hour: number, value: number, revision: number) =>
    spool.writeCells([
      { hourMs: hour * HOUR, group: GROUP, values: new Array<number>(9).fill(value), revision, dirty: false },
    ])
  /** The next batch, checked against the contract. */
  const next = (rowsMax = 100, kinds = SPOOL_KINDS as Parameters<Spool['nextBatch']>[2]) => {
    const batch = spool.nextBatch('g1', rowsMax, kinds)
    if (batch !== undefined) expect(ingestBatchSchema.safeParse(batch.batch).success).toBe(true)
    return batch
  }
  const many = (from: number, to: number, device: string) =>
    store.transaction(() => {
      for (let seq = from; seq < to; seq++) report(device, seq)
    })()
  return { store, devices, counters, spool, open, report, verdict, cell, next, many }
}

describe('a batch', () => {
  it('has the oldest rows of each kind, and there is none of nothing', () => {
    const { spool, report, verdict, cell, next } = world()
    expect(next()).toBeUndefined()
    for (const seq of [0, 1, 2]) report('d1', seq)
    for (const seq of [0, 1, 2]) spool.addEvent('lab', 'd1', 6 * HOUR, eventPayload(seq))
    for (const hour of [3, 1, 2]) verdict('d1', hour, true)
    for (const hour of [3, 1, 2]) cell(hour, hour, 1)
    const { batch, rows } = next(2)!
    expect(rows).toBe(8)
    expect(batch).toMatchObject({ v: 1, gateway: 'g1' })
    expect(batch.reports.map(({ receivedMs }) => receivedMs)).toEqual([5 * HOUR, 5 * HOUR + 1])
    expect(batch.events.map(({ seq }) => seq)).toEqual([0, 1])
    expect(batch.verdicts).toEqual(
      [1, 2].map((hour) => ({
        site: 'lab',
        device: 'd1',
        boot: 7,
        model: MODEL,
        slot: hour,
        confirmed: 1,
        rejected: 0,
        unjudged: 0,
        revision: 1,
      })),
    )
    expect(batch.aggregates.map(({ hourMs, revision, wakes }) => [hourMs / HOUR, revision, wakes])).toEqual([
      [1, 1, 1],
      [2, 1, 2],
    ])
  })

  it('of some kinds leaves the others where they are', () => {
    const { report, verdict, next } = world()
    report('d1', 0)
    verdict('d1', 1, false)
    const verdicts = next(10, ['verdicts'])!
    expect([verdicts.batch.reports.length, verdicts.batch.verdicts.length, verdicts.rows]).toEqual([0, 1, 1])
    verdicts.delivered()
    expect(next(10, ['verdicts'])).toBeUndefined()
    expect(next(10)!.rows).toBe(1)
  })

  it('that was delivered leaves the spool; one that was not comes again', () => {
    const { spool, report, next } = world()
    for (const seq of [0, 1, 2]) report('d1', seq)
    spool.addEvent('lab', 'd1', 0, eventPayload(0))
    expect(next(2)!.batch).toEqual(next(2)!.batch)
    expect(spool.depth).toEqual({ reports: 3, events: 1 })
    next(2)!.delivered()
    expect(spool.depth).toEqual({ reports: 1, events: 0 })
    next(2)!.delivered()
    expect(spool.depth).toEqual({ reports: 0, events: 0 })
    expect(next()).toBeUndefined()
  })

  it('that is marked twice counts its rows once', () => {
    const { spool, report, next } = world()
    for (const seq of [0, 1]) report('d1', seq)
    const batch = next(1)!
    batch.delivered()
    batch.delivered()
    expect(spool.depth.reports).toBe(1)
  })

  it('of a row that has changed meanwhile leaves it due', () => {
    const { verdict, cell, next } = world()
    verdict('d1', 1, true)
    cell(1, 5, 1)
    const before = next()!
    verdict('d1', 1, false)
    cell(1, 6, 2)
    before.delivered()
    const after = next()!
    expect(after.batch.verdicts).toMatchObject([{ confirmed: 1, rejected: 1 }])
    expect(after.batch.aggregates).toMatchObject([{ wakes: 6, revision: 2 }])
    after.delivered()
    expect(next()).toBeUndefined()
  })
})

describe('ids of reports', () => {
  it('rise, over deliveries and starts, and begin above what is covered', () => {
    const { spool, open, report, next } = world()
    report('d1', 0)
    report('d1', 1)
    expect(spool.lastReport).toBe(2)
    next(1)!.delivered()
    expect([...spool.reportsAfter(0)].map(({ id, seq, device, board }) => [id, seq, device, board])).toEqual([
      [2, 1, 'd1', 'b1'],
    ])
    expect([...spool.reportsAfter(2)]).toEqual([])
    const again = open()
    expect([again.lastReport, again.depth.reports]).toEqual([2, 1])
    again.startAfter(9)
    again.startAfter(4)
    expect(again.lastReport).toBe(9)
  })

  it('that were rolled back are not counted, nor used again', () => {
    const { store, spool, report } = world()
    report('d1', 0)
    store.exec('BEGIN')
    report('d1', 1)
    spool.addEvent('lab', 'd1', 0, eventPayload(0))
    store.exec('ROLLBACK')
    spool.recount()
    expect(spool.depth).toEqual({ reports: 1, events: 0 })
    report('d1', 1)
    expect(spool.lastReport).toBe(3)
  })
})

describe('the bound of reports', () => {
  /** The device's newest report, as the ledger keeps it: what is before it is superseded. */
  const newest = (devices: DeviceTable, device: string, seq: number) => {
    const zero = new Array<number>(6).fill(0)
    const place = { hourMs: 0, group: GROUP }
    devices.boot(devices.get(device), 7)!.runs.splice(0, 1, [0, seq, zero, zero, place])
  }

  it('lets those go that a newer one of the same boot supersedes, every 512th time', () => {
    const { devices, counters, spool, many } = world({ reportsMax: 511 })
    newest(devices, 'd1', 511)
    many(0, 511, 'd1')
    expect(spool.depth.reports).toBe(511)
    many(511, 512, 'd1')
    expect([...spool.reportsAfter(0)].map(({ seq }) => seq)).toEqual([511])
    expect(spool.depth.reports).toBe(1)
    expect(counters.get('spool', 'superseded')).toBe(511)
    expect(counters.get('spool', 'report-dropped')).toBe(0)
    expect(spool.lastDeleted).toBe(512)
  })

  it('is not felt at the bound', () => {
    const { devices, spool, many } = world({ reportsMax: 512 })
    newest(devices, 'd1', 511)
    many(0, 512, 'd1')
    expect(spool.depth.reports).toBe(512)
    expect(spool.lastDeleted).toBe(0)
  })

  it('keeps what nothing supersedes up to twice the bound, and then lets the oldest go', () => {
    // Boots of which nothing is known: each report may be the newest.
    const { counters, spool, many } = world({ reportsMax: 512 })
    many(0, 512, 'd1')
    many(512, 1_023, 'd2')
    expect([spool.depth.reports, counters.get('spool', 'report-dropped')]).toEqual([1_023, 0])
    many(1_023, 1_024, 'd2')
    expect([spool.depth.reports, counters.get('spool', 'report-dropped')]).toEqual([512, 512])
    const [oldest] = [...spool.reportsAfter(0)]
    expect(oldest?.seq).toBe(512)
    expect(counters.get('spool', 'superseded')).toBe(0)
    expect(spool.lastDeleted).toBeGreaterThanOrEqual(512)
  })
})

describe('the bound of events', () => {
  it('lets the oldest 512 go when there are as many past it', () => {
    const { store, counters, spool, next } = world({ eventsMax: 10 })
    store.transaction(() => {
      for (let seq = 0; seq < 521; seq++) spool.addEvent('lab', 'd1', 0, eventPayload(seq))
    })()
    expect([spool.depth.events, counters.get('spool', 'event-dropped')]).toEqual([521, 0])
    spool.addEvent('lab', 'd1', 0, eventPayload(521))
    expect([spool.depth.events, counters.get('spool', 'event-dropped')]).toEqual([10, 512])
    expect(next()!.batch.events.map(({ seq }) => seq)).toEqual(Array.from({ length: 10 }, (_, i) => 512 + i))
  })
})

describe('hours that are over', () => {
  it('are forgotten when the cloud has them', () => {
    const { spool, verdict, cell, next } = world()
    for (const hour of [1, 2]) verdict('d1', hour, true)
    for (const hour of [1, 2]) cell(hour, hour, 1)
    next()!.delivered()
    cell(0, 9, 1)
    spool.forgetBefore(2 * HOUR)
    expect(spool.storedCells(0).map(({ hourMs }) => hourMs / HOUR)).toEqual([0, 2])
    // The verdict of hour 1 begins anew, that of hour 2 goes on.
    for (const hour of [1, 2]) verdict('d1', hour, true)
    expect(next()!.batch.verdicts.map(({ slot, confirmed }) => [slot, confirmed])).toEqual([
      [1, 1],
      [2, 2],
    ])
  })

  it('past the bound of verdicts are forgotten, sent or not, the oldest first', () => {
    const { counters, spool, verdict, next } = world({ verdictsMax: 2 })
    for (const hour of [4, 1, 3, 2]) verdict('d1', hour, true)
    spool.forgetBefore(0)
    expect(counters.get('spool', 'verdict-dropped')).toBe(2)
    expect(next()!.batch.verdicts.map(({ slot }) => slot)).toEqual([3, 4])
    spool.forgetBefore(0)
    expect(counters.get('spool', 'verdict-dropped')).toBe(2)
  })
})

describe('cells', () => {
  it('come back as they were written last, from an hour on', () => {
    const { spool, cell } = world()
    expect(spool.loadCell({ hourMs: HOUR, group: GROUP })).toBeUndefined()
    cell(1, 5, 1)
    cell(1, 6.5, 2)
    cell(2, 7, 1)
    expect(spool.loadCell({ hourMs: HOUR, group: GROUP })).toEqual({ values: new Array(9).fill(6.5), revision: 2 })
    expect(spool.storedCells(HOUR).map(({ hourMs }) => hourMs / HOUR)).toEqual([1, 2])
    expect(spool.storedCells(HOUR + 1)).toEqual([{ hourMs: 2 * HOUR, group: GROUP, values: new Array(9).fill(7) }])
  })
})

describe('of one device', () => {
  it('a thousand reports and events wait; what it sends beyond takes the place of its own oldest', () => {
    const { spool, counters, many, store, open } = world({ reportsMax: 5_000, eventsMax: 5_000 })
    many(0, 1, 'd1')
    spool.addEvent('lab', 'd1', 6 * HOUR, eventPayload(0))
    many(0, 3_000, 'flood')
    store.transaction(() => {
      for (let seq = 0; seq < 3_000; seq++) spool.addEvent('lab', 'flood', 6 * HOUR, eventPayload(seq))
    })()
    many(0, 1, 'd2')
    const of = (table: string, device: string) =>
      (store.prepare(`SELECT count(*) AS n FROM ${table} WHERE device = ?`).get(device) as { n: number }).n
    for (const table of ['spool_report', 'spool_event']) {
      expect([table, of(table, 'd1'), of(table, 'flood') <= 1_000, of(table, 'flood') > 899]).toEqual([
        table,
        1,
        true,
        true,
      ])
    }
    const newest = store.prepare('SELECT max(seq) AS seq FROM spool_report WHERE device = ?').get('flood')
    expect(newest).toEqual({ seq: 2_999 })
    expect(spool.depth).toEqual(open().depth)
    expect(counters.get('spool', 'device-full')).toBe(6_000 - of('spool_report', 'flood') - of('spool_event', 'flood'))
  })

  it('the verdicts go first when there are too many', () => {
    const { spool, store, verdict } = world({ verdictsMax: 100 })
    for (let hour = 0; hour < 10; hour++) for (const device of ['d1', 'd2']) verdict(device, hour, true)
    for (let hour = 100; hour < 400; hour++) verdict('flood', hour, true)
    spool.forgetBefore(0)
    const rows = store.prepare('SELECT device, count(*) AS n FROM verdict GROUP BY device ORDER BY device').all()
    expect(rows).toEqual([
      { device: 'd1', n: 10 },
      { device: 'd2', n: 10 },
      { device: 'flood', n: 80 },
    ])
  })
})
