import { describe, expect, it } from 'vitest'
import { MessageCounters } from '../../../../gateway/message-counters.ts'
import { AggregateTable } from '../../../../gateway/store/aggregation.ts'
import { Checkpoint } from '../../../../gateway/store/checkpoint.ts'
import { DeviceTable } from '../../../../gateway/store/device-table.ts'
import { Spool } from '../../../../gateway/store/spool.ts'
import { Settings, type Store } from '../../../../gateway/store/store.ts'
import { originOf, tempStore } from '../../../fixtures/gateway-store.ts'

const GROUP = 'm|b1|lab||0|none'
const HOUR = 3_600_000

/** Everything that a checkpoint writes, on a store. */
function world(store: Store = tempStore()) {
  const settings = new Settings(store)
  const devices = new DeviceTable(store)
  const spool = new Spool(store, devices, new MessageCounters(), {
    reportsMax: 1_000_000,
    eventsMax: 1_000,
    verdictsMax: 1_000,
  })
  const aggregates = new AggregateTable(spool)
  const recovered: number[] = []
  const checkpoint = new Checkpoint({
    store,
    settings,
    devices,
    aggregates,
    spool,
    recover: () => recovered.push(1),
  })
  /** A report that counts 1 for its group and its device's newest assignment. */
  const report = (seq: number) => {
    spool.addReport(originOf('d1'), 7, seq, 0, Buffer.of(1))
    aggregates.book({ hourMs: HOUR, group: GROUP }, [1, 0, 0, 0, 0, 0])
    devices.accept(devices.get('d1'), seq + 1)
  }
  /** What the tables say: reports in the sum, newest assignment, and up to which report they are written. */
  const written = () => [
    spool.loadCell({ hourMs: HOUR, group: GROUP })?.values[0] ?? 0,
    new DeviceTable(store).get('d1').acceptedSeq,
    Number(settings.get('checkpoint') ?? 0),
  ]
  return { store, settings, spool, devices, checkpoint, report, written, recovered }
}

describe('a transaction', () => {
  it('of reports alone writes no state, one that requires it writes all of it', () => {
    const { checkpoint, report, written } = world()
    report(0)
    checkpoint.beforeCommit()
    expect([checkpoint.covered, written()]).toEqual([0, [0, 0, 0]])
    report(1)
    checkpoint.require()
    checkpoint.beforeCommit()
    expect([checkpoint.covered, written()]).toEqual([2, [2, 2, 2]])
    // It was required of that transaction, not of the next.
    report(2)
    checkpoint.beforeCommit()
    expect([checkpoint.covered, written()]).toEqual([2, [2, 2, 2]])
  })

  it('writes the state when 10 000 reports would have to be taken in again', () => {
    const { spool, checkpoint, report, written } = world()
    report(0)
    spool.startAfter(9_999)
    checkpoint.beforeCommit()
    expect(written()).toEqual([0, 0, 0])
    report(1)
    checkpoint.beforeCommit()
    expect(written()).toEqual([2, 2, 10_000])
    expect(checkpoint.covered).toBe(10_000)
  })

  it('writes the state when an uncovered report was taken off the spool', () => {
    const { spool, checkpoint, report, written } = world()
    report(0)
    report(1)
    checkpoint.require()
    checkpoint.beforeCommit()
    report(2)
    let lastDeleted = 2
    Object.defineProperty(spool, 'lastDeleted', { get: () => lastDeleted })
    checkpoint.beforeCommit()
    expect(written()).toEqual([2, 2, 2])
    lastDeleted = 3
    checkpoint.beforeCommit()
    expect(written()).toEqual([3, 3, 3])
  })
})

describe('writing now', () => {
  it('covers what is spooled, once', () => {
    const { store, checkpoint, report, written } = world()
    checkpoint.writeNow()
    expect(written()).toEqual([0, 0, 0])
    report(0)
    checkpoint.writeNow()
    expect(written()).toEqual([1, 1, 1])
    store.exec("CREATE TRIGGER refusal BEFORE UPDATE ON setting BEGIN SELECT RAISE(ABORT, 'written again'); END")
    expect(() => checkpoint.writeNow()).not.toThrow()
  })

  it('that fails writes nothing, has memory recovered and throws', () => {
    const { store, checkpoint, report, written, recovered } = world()
    report(0)
    store.exec("CREATE TRIGGER refusal BEFORE INSERT ON setting BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    expect(() => checkpoint.writeNow()).toThrow('disk full')
    expect(recovered).toHaveLength(1)
    expect(written()).toEqual([0, 0, 0])
  })
})

describe('what is covered', () => {
  it('is what the tables say after a rollback, and nothing is required any more', () => {
    const { store, checkpoint, report, written } = world()
    report(0)
    checkpoint.writeNow()
    store.exec('BEGIN')
    report(1)
    checkpoint.require()
    checkpoint.beforeCommit()
    expect(checkpoint.covered).toBe(2)
    store.exec('ROLLBACK')
    checkpoint.require()
    checkpoint.reset()
    expect(checkpoint.covered).toBe(1)
    checkpoint.beforeCommit()
    expect(written()).toEqual([1, 1, 1])
  })

  it('is remembered over a start; ids of reports go on above it', () => {
    const { store, checkpoint, report } = world()
    report(0)
    report(1)
    checkpoint.writeNow()
    store.exec('DELETE FROM spool_report')
    const again = world(store)
    expect(again.checkpoint.covered).toBe(2)
    again.report(2)
    expect(again.spool.lastReport).toBe(3)
  })
})
