import { describe, expect, it } from 'vitest'
import { DeviceTable } from '../../../../gateway/store/device-table.ts'
import { insertReport } from '../../../../gateway/store/report-timeline.ts'
import type { Store } from '../../../../gateway/store/store.ts'
import { tempStore } from '../../../fixtures/gateway-store.ts'

const at = (value: number) => new Array<number>(6).fill(value)
const PLACE = { hourMs: 0, group: 'g' }
/** A report of a boot, in memory. */
const report = (table: DeviceTable, boot: number, seq: number, value: number, device = 'd1') => {
  const state = table.get(device)
  const of = table.boot(state, boot)
  if (of === undefined) return 'closed'
  insertReport(of.runs, seq, at(value), PLACE)
  table.touch(state, of)
  return 'counted'
}
const bootsOf = (table: DeviceTable, device = 'd1') => [...table.get(device).boots.keys()]
const rows = (store: Store, table: string) =>
  (store.prepare(`SELECT count(*) AS n FROM ${table}`).get() as { n: number }).n
const tag = (seq: number) => ({ seq, rollout: 'r1', stage: 1, arm: 'canary', board: 'b1' }) as const

describe('a device', () => {
  it('of which nothing is known has nothing', () => {
    const table = new DeviceTable(tempStore())
    expect(table.get('d1')).toMatchObject({ acceptedSeq: 0, closedBelow: 0, closedSums: at(0), tags: [] })
    expect(table.sums('d1')).toEqual(at(0))
  })

  it('comes back as it was written, and what was not written is lost', () => {
    const store = tempStore()
    const table = new DeviceTable(store)
    report(table, 7, 0, 10)
    const state = table.get('d1')
    const boot = table.boot(state, 7)!
    boot.wakes.push([1, 3])
    boot.events.push([0, 4])
    boot.assignmentSeq = 5
    table.accept(state, 5)
    table.writeDirty()
    report(table, 7, 1, 25)
    const again = new DeviceTable(store).get('d1')
    expect(again).toMatchObject({ acceptedSeq: 5, changed: false, dirty: false })
    expect(again.boots.get(7)).toMatchObject({
      runs: [[0, 0, at(10), at(10), PLACE]],
      wakes: [[1, 3]],
      events: [[0, 4]],
      assignmentSeq: 5,
      dirty: false,
    })
    // A boot that has said nothing of assignments comes back so.
    report(table, 8, 0, 1)
    table.writeDirty()
    expect(new DeviceTable(store).get('d1').boots.get(8)?.assignmentSeq).toBeUndefined()
    expect(new DeviceTable(store).sums('d1')).toEqual(at(26))
  })

  it('has boots in the order in which its flashes were heard of, however many it had', () => {
    const store = tempStore()
    const table = new DeviceTable(store)
    const keyOf = (of: DeviceTable, incarnation: number) => of.key(of.get('d1'), 3, incarnation)
    const keys = Array.from({ length: 200 }, (_, i) => keyOf(table, 1_000 - i))
    expect(keys).toEqual([...keys].sort((a, b) => a - b))
    expect(new Set(keys).size).toBe(200)
    // The newest are known again, also by whoever reads what was written.
    table.writeDirty()
    for (const of of [table, new DeviceTable(store)]) expect(keyOf(of, 1_000 - 199)).toBe(keys.at(-1))
  })

  it('has one row a boot, however often it is written', () => {
    const store = tempStore()
    const table = new DeviceTable(store)
    for (let seq = 0; seq < 3; seq++) {
      report(table, 7, seq, seq)
      report(table, 7, seq, seq, 'd2')
      table.writeDirty()
    }
    expect(rows(store, 'boot')).toBe(2)
    // Nothing of it but boots has changed.
    expect(rows(store, 'device')).toBe(0)
  })

  it('forgets what was not written when it is told to', () => {
    const store = tempStore()
    const table = new DeviceTable(store)
    report(table, 7, 0, 10)
    table.writeDirty()
    report(table, 7, 1, 99)
    table.reset()
    expect(table.sums('d1')).toEqual(at(10))
    table.writeDirty()
    expect(new DeviceTable(store).sums('d1')).toEqual(at(10))
  })

  it('accepts assignments upwards', () => {
    const table = new DeviceTable(tempStore())
    const state = table.get('d1')
    const accepted = [3, 2, 3, 9].map((seq) => {
      table.accept(state, seq)
      return state.acceptedSeq
    })
    expect(accepted).toEqual([3, 3, 3, 9])
  })
})

describe('boots', () => {
  it('are sixteen; the oldest is closed for the seventeenth, its sums are kept', () => {
    const store = tempStore()
    const table = new DeviceTable(store)
    for (let boot = 1; boot <= 16; boot++) report(table, boot, 0, boot)
    table.writeDirty()
    expect(table.get('d1').closedBelow).toBe(0)
    expect(report(table, 17, 0, 17)).toBe('counted')
    expect(bootsOf(table)).toHaveLength(16)
    expect(table.get('d1')).toMatchObject({ closedBelow: 2, closedSums: at(1) })
    // 1 + 2 + … + 17
    expect(table.sums('d1')).toEqual(at(153))
    expect(report(table, 1, 1, 100)).toBe('closed')
    expect(report(table, 2, 1, 3)).toBe('counted')
    table.writeDirty()
    const again = new DeviceTable(store)
    expect(again.sums('d1')).toEqual(at(154))
    expect(again.get('d1').closedBelow).toBe(2)
    expect(report(again, 1, 1, 100)).toBe('closed')
    expect(rows(store, 'boot')).toBe(16)
  })

  it('that are older than all of sixteen are closed at once', () => {
    const table = new DeviceTable(tempStore())
    for (let boot = 10; boot < 26; boot++) report(table, boot, 0, 1)
    expect(report(table, 9, 0, 50)).toBe('closed')
    expect(table.get('d1')).toMatchObject({ closedBelow: 10, closedSums: at(0) })
    expect(bootsOf(table)).toHaveLength(16)
    expect(report(table, 8, 0, 50)).toBe('closed')
  })

  it('are ordered by serial number: 0xffffffff is older than 1', () => {
    const table = new DeviceTable(tempStore())
    report(table, 0xffff_ffff, 0, 1)
    for (let boot = 1; boot <= 16; boot++) report(table, boot, 0, 1)
    expect(bootsOf(table)).toEqual(Array.from({ length: 16 }, (_, i) => i + 1))
    expect(table.get('d1').closedBelow).toBe(1)
  })

  it('one that is closed before it was ever written leaves no row', () => {
    const store = tempStore()
    const table = new DeviceTable(store)
    for (let boot = 1; boot <= 20; boot++) report(table, boot, 0, 1)
    table.writeDirty()
    expect(rows(store, 'boot')).toBe(16)
    expect(new DeviceTable(store).sums('d1')).toEqual(at(20))
  })
})

describe('tags', () => {
  it('are the newest eight, in order, in memory and on disk', () => {
    const store = tempStore()
    const table = new DeviceTable(store)
    table.get('d1')
    for (const seq of [1, 2, 3, 4, 5, 7, 6, 8, 9]) table.addTag('d1', tag(seq))
    table.addTag('d2', tag(1))
    expect(table.get('d1').tags).toEqual([2, 3, 4, 5, 6, 7, 8, 9].map(tag))
    expect(new DeviceTable(store).get('d1').tags.map(({ seq }) => seq)).toEqual([2, 3, 4, 5, 6, 7, 8, 9])
    expect(table.get('d2').tags).toEqual([tag(1)])
    // The same number again says what holds now.
    table.addTag('d1', { ...tag(9), arm: 'control' })
    expect(table.get('d1').tags.at(-1)).toEqual({ ...tag(9), arm: 'control' })
  })
})
