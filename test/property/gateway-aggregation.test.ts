import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AggregateTable, CELL_LENGTH } from '../../gateway/store/aggregation.ts'
import {
  insertReport,
  latestSums,
  REPORT_RUNS_MAX,
  type ReportRun,
  SUM_NAMES,
} from '../../gateway/store/report-timeline.ts'
import { insertSeq, SEQ_RANGES_MAX, type SeqRange } from '../../gateway/store/seq-ranges.ts'

interface Sent {
  readonly seq: number
  readonly sums: readonly number[]
  readonly group: string
}

/** Reports of one boot as a device makes them: counters only rise; the group (arm, model) changes now and then. */
const boot = (firstSeq: number, max = 40): fc.Arbitrary<Sent[]> =>
  fc
    .array(
      fc.record({
        steps: fc.array(fc.nat(10_000), { minLength: SUM_NAMES.length, maxLength: SUM_NAMES.length }),
        group: fc.constantFrom('a|b|s||0|none', 'a|b|s|r|1|canary', 'c|b|s|r|1|canary'),
      }),
      { minLength: 1, maxLength: max },
    )
    .map((reports) => {
      let sums: readonly number[] = SUM_NAMES.map(() => 0)
      return reports.map(({ steps, group }, i) => {
        sums = sums.map((sum, j) => sum + steps[j]!)
        return { seq: (firstSeq + i) >>> 0, sums, group }
      })
    })

/** Any order, any number of copies, every report at least once in the end; hours of receipt rise. */
const arrival = (reports: readonly Sent[]): fc.Arbitrary<Sent[]> =>
  fc.array(fc.nat(reports.length - 1), { maxLength: reports.length }).chain((copies) => {
    const all = [...reports, ...copies.map((i) => reports[i]!)]
    return fc.shuffledSubarray(all, { minLength: all.length, maxLength: all.length })
  })

function deliver(messages: readonly Sent[], hourOfArrival: (i: number) => number) {
  const table = new AggregateTable({ loadCell: () => undefined })
  const runs: ReportRun[] = []
  const cells = new Map<string, number[]>()
  messages.forEach(({ seq, sums, group }, i) => {
    const result = insertReport(runs, seq, sums, { hourMs: hourOfArrival(i), group })
    expect(result.outcome).not.toBe('conflict')
    if (result.outcome === 'accepted') for (const { place, delta } of result.bookings) table.book(place, delta)
  })
  for (const { group, values } of table.takeDirty()) {
    const sums = cells.get(group) ?? new Array<number>(CELL_LENGTH).fill(0)
    values.forEach((value, j) => {
      // A straggler may empty an hour, never overdraw it.
      expect(value).toBeGreaterThanOrEqual(0)
      sums[j]! += value
    })
    cells.set(group, sums)
  }
  const groups = [...cells].filter(([, sums]) => sums.some((sum) => sum > 0)).sort(([a], [b]) => (a < b ? -1 : 1))
  return { groups, runs }
}

describe('report timeline', () => {
  it('gives the same sums by group in any order of arrival, with duplicates', () => {
    fc.assert(
      fc.property(
        fc
          .constantFrom(0, 7, 0xffff_fff0)
          .chain((first) => boot(first))
          .chain((sent) => fc.tuple(fc.constant(sent), arrival(sent))),
        ([sent, arrived]) => {
          const inOrder = deliver(sent, () => 0)
          const shuffled = deliver(arrived, (i) => Math.floor(i / 3) * 3_600_000)
          expect(shuffled.groups).toEqual(inOrder.groups)
          expect(shuffled.runs).toHaveLength(1)
        },
      ),
    )
  })

  it('sums to the newest report whatever was lost', () => {
    fc.assert(
      fc.property(
        boot(0, 300).chain((sent) => fc.tuple(fc.constant(sent), fc.shuffledSubarray(sent, { minLength: 1 }))),
        ([, arrived]) => {
          const { groups, runs } = deliver(arrived, (i) => i * 3_600_000)
          const newest = arrived.reduce((a, b) => (a.seq > b.seq ? a : b))
          const total = SUM_NAMES.map((_, j) => groups.reduce((sum, [, values]) => sum + values[j]!, 0))
          expect(total).toEqual(newest.sums)
          expect(latestSums(runs)).toEqual(newest.sums)
          expect(runs.length).toBeLessThanOrEqual(REPORT_RUNS_MAX)
        },
      ),
    )
  })

  it('refuses counters that fall, and changes nothing then', () => {
    const runs: ReportRun[] = []
    const place = { hourMs: 0, group: 'g' }
    insertReport(runs, 5, [10, 10, 10, 10, 10, 10], place)
    const before = structuredClone(runs)
    expect(insertReport(runs, 6, [10, 10, 9, 10, 10, 10], place).outcome).toBe('conflict')
    expect(insertReport(runs, 4, [10, 10, 11, 10, 10, 10], place).outcome).toBe('conflict')
    expect(insertReport(runs, 5, [1, 1, 1, 1, 1, 1], place).outcome).toBe('duplicate')
    expect(runs).toEqual(before)
  })
})

describe('seen numbers', () => {
  it('accepts each number once, in any order', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(60), { maxLength: 200 }), fc.constantFrom(0, 0xffff_ffe0), (numbers, base) => {
        const ranges: SeqRange[] = []
        const seen = new Set<number>()
        for (const number of numbers) {
          const seq = (number + base) >>> 0
          expect(insertSeq(ranges, seq)).toBe(!seen.has(seq))
          seen.add(seq)
        }
      }),
    )
  })

  it('stays bounded and never counts twice when gaps abound', () => {
    const ranges: SeqRange[] = []
    for (let seq = 1; seq < 2_000; seq += 2) expect(insertSeq(ranges, seq)).toBe(true)
    expect(ranges).toHaveLength(SEQ_RANGES_MAX)
    for (let seq = 1; seq < 2_000; seq += 2) expect(insertSeq(ranges, seq)).toBe(false)
  })
})
