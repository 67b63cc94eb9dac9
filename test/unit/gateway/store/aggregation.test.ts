import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../../contract/limits.ts'
import { aggregateRowSchema } from '../../../../contract/uplink.ts'
import {
  AggregateTable,
  type AssignmentTag,
  aggregateRow,
  cellValues,
  groupKey,
  modelHex,
  NO_HOUR,
  parseGroup,
  ratesOf,
  sumsOf,
  tagAt,
} from '../../../../gateway/store/aggregation.ts'
import { reportSample } from '../../../fixtures/contract-samples.ts'

const HOUR = 3_600_000
const MODEL = '00010203fcfdfeff'
const tag = (seq: number): AssignmentTag => ({ seq, rollout: 'r-1', stage: 2, arm: 'canary', board: 'xG24' })

describe('the tag of an assignment', () => {
  it('is that of the newest one the device had accepted', () => {
    const tags = [tag(3), tag(5), tag(9)]
    const seqs = [0, 2, 3, 4, 5, 8, 9, 100].map((accepted) => tagAt(tags, accepted)?.seq)
    expect(seqs).toEqual([undefined, undefined, 3, 3, 5, 5, 9, 9])
    expect(tagAt([], 7)).toBeUndefined()
  })
})

describe('a group', () => {
  it('is one string and comes back from it; with a tag the board is that of the assignment', () => {
    expect(modelHex(reportSample.model)).toBe(MODEL)
    const tagged = groupKey(MODEL, 'lab', 'reported', tag(1))
    expect(parseGroup(tagged)).toEqual({
      model: MODEL,
      board: 'xG24',
      site: 'lab',
      rollout: 'r-1',
      stage: 2,
      arm: 'canary',
    })
    expect(parseGroup(groupKey(MODEL, 'lab', 'reported', undefined))).toEqual({
      model: MODEL,
      board: 'reported',
      site: 'lab',
      rollout: '',
      stage: 0,
      arm: 'none',
    })
  })
})

describe('sums of a report', () => {
  it('are listening, active time, wakes, gate openings, all energy, and radio both ways', () => {
    // 12 + 425 000 + 10 588 + 61 + 30; 181 234 + 65 432
    expect(sumsOf(reportSample)).toEqual([86_000_000, 1_234_567, 96, 812, 435_691, 246_666])
  })

  it('are refused past 2^43, in any of them', () => {
    const counting = (index: number, value: number) =>
      sumsOf({ ...reportSample, counters: reportSample.counters.map((count, i) => (i === index ? value : count)) })
    expect(counting(0, 2 ** 43)?.[0]).toBe(2 ** 43)
    expect(counting(0, 2 ** 43 + 1)).toBeUndefined()
    // Received and sent together.
    expect(counting(8, 2 ** 43 - 65_432)?.[5]).toBe(2 ** 43)
    expect(counting(8, 2 ** 43 - 65_431)).toBeUndefined()
    expect(sumsOf({ ...reportSample, energyMj: [2 ** 42, 2 ** 42, 1, 0, 0] })).toBeUndefined()
    // Windows are not summed.
    expect(counting(1, LIMITS.counter)).toBeDefined()
  })
})

describe('the table', () => {
  const group = groupKey(MODEL, 'lab', 'b1', undefined)
  const place = { hourMs: HOUR, group }
  const empty = { loadCell: () => undefined }

  it('adds up by hour and group, and gives out what changed with a higher revision', () => {
    const table = new AggregateTable(empty)
    table.book(place, [1, 2, 3, 4, 5, 6])
    table.book(place, [10, 0, 0, 0, 0, -1])
    table.book({ hourMs: 2 * HOUR, group }, [7, 0, 0, 0, 0, 0])
    table.bookVerdict(place, true)
    table.bookVerdict(place, false)
    table.bookVerdict(place, false)
    expect(table.takeDirty()).toMatchObject([
      { hourMs: HOUR, values: [11, 2, 3, 4, 5, 5, 1, 2, 0], revision: 1 },
      { hourMs: 2 * HOUR, values: [7, 0, 0, 0, 0, 0, 0, 0, 0], revision: 1 },
    ])
    expect(table.takeDirty()).toEqual([])
    table.bookVerdict(place, true)
    table.bookVerdict(place, undefined)
    // Nobody knows when: nowhere.
    table.book({ hourMs: NO_HOUR, group }, [9, 9, 9, 9, 9, 9])
    expect(table.takeDirty()).toMatchObject([{ hourMs: HOUR, values: [11, 2, 3, 4, 5, 5, 2, 2, 1], revision: 2 }])
  })

  it('adds up the signals of a model, whatever they are, behind the verdicts; not those of models past the bound', () => {
    const table = new AggregateTable(empty)
    table.bookVerdict(place, true)
    table.book(place, [1, 2, 3, 4, 5, 6, 70, 80])
    table.book(place, [1, 0, 0, 0, 0, 0, 7, 0])
    const [cell] = table.takeDirty()
    expect(cell?.values).toEqual([2, 2, 3, 4, 5, 6, 1, 0, 0, 77, 80])
    expect(aggregateRow(cell!)).toMatchObject({ listeningMs: 2, confirmed: 1, signals: [77, 80] })
    expect(cellValues(cell!.values)).toEqual(cell!.values)
    const others = { hourMs: HOUR, group: groupKey('0000000000000000', 'lab', '', undefined) }
    table.book(others, [1, 2, 3, 4, 5, 6, 70, 80])
    expect(table.takeDirty()[0]?.values).toEqual([1, 2, 3, 4, 5, 6, 0, 0, 0])
  })

  it('goes on from what is stored, after a start, a rollback and an hour that it let go', () => {
    let stored = { values: [100, 0, 0, 0, 0, 0, 0, 0], revision: 7 }
    const asked: number[] = []
    const table = new AggregateTable({
      loadCell: ({ hourMs }) => {
        asked.push(hourMs / HOUR)
        return { values: [...stored.values], revision: stored.revision }
      },
    })
    table.book(place, [1, 0, 0, 0, 0, 0])
    table.book(place, [1, 0, 0, 0, 0, 0])
    expect(table.takeDirty()).toMatchObject([{ values: [102, 0, 0, 0, 0, 0, 0, 0], revision: 8 }])
    expect(asked).toEqual([1])
    // Not before the hour: it stays in memory.
    table.forgetBefore(HOUR)
    table.book(place, [1, 0, 0, 0, 0, 0])
    expect(asked).toEqual([1])
    table.reset()
    expect(table.takeDirty()).toEqual([])
    table.book(place, [1, 0, 0, 0, 0, 0])
    expect(table.takeDirty()).toMatchObject([{ values: [101, 0, 0, 0, 0, 0, 0, 0], revision: 8 }])
    stored = { values: [500, 0, 0, 0, 0, 0, 0, 0], revision: 20 }
    table.forgetBefore(HOUR + 1)
    table.book(place, [1, 0, 0, 0, 0, 0])
    expect(table.takeDirty()).toMatchObject([{ values: [501, 0, 0, 0, 0, 0, 0, 0], revision: 21 }])
    expect(asked).toEqual([1, 1, 1])
  })

  it('has 2 000 groups an hour; what is past that counts for its site alone', () => {
    const table = new AggregateTable(empty)
    const keyOf = (i: number) => groupKey((i + 1).toString(16).padStart(16, '0'), 'lab', 'b1', tag(1))
    for (let i = 0; i < 2_000; i++) {
      const at = table.place(HOUR, keyOf(i), `d${i >> 3}`)
      expect(at.group).toBe(keyOf(i))
      table.book(at, [1, 0, 0, 0, 0, 0])
    }
    expect(parseGroup(table.place(HOUR, keyOf(2_000), 'd3').group)).toEqual({
      model: '0000000000000000',
      board: '',
      site: 'lab',
      rollout: '',
      stage: 0,
      arm: 'none',
    })
    // What is known goes on, and so does another hour.
    expect(table.place(HOUR, keyOf(1_999), 'd2').group).toBe(keyOf(1_999))
    expect(table.place(2 * HOUR, keyOf(2_000), 'd2').group).toBe(keyOf(2_000))
  })
})

describe('a device that invents models', () => {
  it('has 16 groups a day, and takes none from others', () => {
    const table = new AggregateTable({ loadCell: () => undefined })
    const keyOf = (i: number) => groupKey((i + 1).toString(16).padStart(16, '0'), 'lab', 'b1', tag(1))
    const isKept = (hour: number, i: number, device: string) => table.place(hour, keyOf(i), device).group === keyOf(i)
    const kept = (hour: number, device: string) =>
      Array.from({ length: 3_000 }, (_, i) => {
        if (isKept(hour, i, device)) table.book({ hourMs: hour, group: keyOf(i) }, [1, 0, 0, 0, 0, 0])
        return isKept(hour, i, device)
      }).filter(Boolean).length
    expect([kept(HOUR, 'flood'), kept(2 * HOUR, 'flood')]).toEqual([16, 16])
    expect([isKept(HOUR, 5_000, 'd1'), isKept(HOUR, 5_001, 'd1')]).toEqual([true, true])
    expect(isKept(25 * HOUR, 2_000, 'flood')).toBe(true)
    // A measurement of no hour is booked nowhere, and counts as no group.
    expect(isKept(NO_HOUR, 2_001, 'flood')).toBe(true)
    table.forgetBefore(25 * HOUR)
    expect(isKept(HOUR, 2_002, 'flood')).toBe(true)
  })
})

describe("the cloud's row of a cell", () => {
  const cell = { hourMs: 5 * HOUR, group: groupKey(MODEL, 'lab', 'b1', tag(1)), revision: 3 }

  it('has its sums by name', () => {
    const row = aggregateRow({ ...cell, values: [1, 2, 3, 4, 5, 6, 7, 8, 9] })
    expect(row).toEqual({
      hourMs: 5 * HOUR,
      revision: 3,
      model: MODEL,
      board: 'xG24',
      site: 'lab',
      rollout: 'r-1',
      stage: 2,
      arm: 'canary',
      listeningMs: 1,
      activeMs: 2,
      wakes: 3,
      gateOpenings: 4,
      energyMj: 5,
      radioBytes: 6,
      confirmed: 7,
      rejected: 8,
      unjudged: 9,
    })
    expect(aggregateRowSchema.safeParse(row).success).toBe(true)
  })

  it('stays within the contract, whatever the cell', () => {
    const row = aggregateRow({ ...cell, values: [-1, 2 ** 60, 0, 0, 0, 0, -5, 0, 0] })
    expect(row).toMatchObject({ listeningMs: 0, activeMs: LIMITS.counter, confirmed: 0 })
    expect(aggregateRowSchema.safeParse(row).success).toBe(true)
  })
})

describe('rates', () => {
  it('are per hour of listening', () => {
    // Two hours, a quarter of them awake; 10 wakes, 30 openings; of 8 wakes that were judged 6 were none.
    expect(ratesOf([2 * HOUR, HOUR / 2, 10, 30, 0, 0, 2, 6, 2])).toEqual({
      wakeupsPerHour: 5,
      gateOpeningsPerHour: 15,
      activeFraction: 0.25,
      falseWakeShare: 0.75,
      falseWakesPerHour: 3,
      unjudgedShare: 0.2,
    })
  })

  it('never say that a device was awake for longer than it listened', () => {
    expect(ratesOf([HOUR, 2.24 * HOUR, 0, 0, 0, 0, 0, 0]).activeFraction).toBe(1)
  })

  it('of nothing are zero and no NaN', () => {
    const zero = {
      wakeupsPerHour: 0,
      gateOpeningsPerHour: 0,
      activeFraction: 0,
      falseWakeShare: 0,
      falseWakesPerHour: 0,
      unjudgedShare: 0,
    }
    expect(ratesOf([])).toEqual(zero)
    expect(ratesOf([0, 5, 5, 5, 0, 0, 0, 0])).toEqual(zero)
    expect(ratesOf([0, 0, 0, 0, 0, 0, 0, 4])).toEqual({ ...zero, falseWakeShare: 1 })
  })
})
