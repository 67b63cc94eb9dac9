import { describe, expect, it } from 'vitest'
import {
  insertReport,
  latestSums,
  REPORT_RUNS_MAX,
  type ReportRun,
  type TimelineOutcome,
} from '../../../../gateway/store/report-timeline.ts'

/** Counters of which all stand at the same number. */
const at = (value: number) => new Array<number>(6).fill(value)
const place = (hour: number, group = 'g') => ({ hourMs: hour * 3_600_000, group })
/** What is booked, as hour, group and by how much. */
const booked = (outcome: TimelineOutcome) =>
  outcome.outcome === 'accepted'
    ? outcome.bookings.map(({ place: { hourMs, group }, delta }) => [hourMs / 3_600_000, group, delta[0]])
    : outcome.outcome
const timeline = (...reports: readonly (readonly [seq: number, value: number, hour: number])[]): ReportRun[] => {
  const runs: ReportRun[] = []
  for (const [seq, value, hour] of reports) {
    expect(insertReport(runs, seq, at(value), place(hour)).outcome).toBe('accepted')
  }
  return runs
}

describe('a report with signals', () => {
  const signalled = (value: number, ...signals: number[]) => [...at(value), ...signals]

  it('is worth what they add, from nothing before the first and back from a successor', () => {
    const runs: ReportRun[] = []
    const outcomes = [
      insertReport(runs, 0, signalled(1, 5, 0), place(1)),
      insertReport(runs, 3, signalled(4, 9, 2), place(3)),
      insertReport(runs, 2, signalled(3, 8, 0), place(2)),
    ]
    expect(
      outcomes.map(
        (outcome) => outcome.outcome === 'accepted' && outcome.bookings.map(({ delta }) => delta.map((by) => by + 0)),
      ),
    ).toEqual([[signalled(1, 5, 0)], [signalled(3, 4, 2)], [signalled(-2, -3, 0), signalled(2, 3, 0)]])
  })

  it.each([
    ['fewer', [5]],
    ['more', [5, 0, 0]],
    ['none', []],
    ['lower ones', [4, 0]],
  ])('of which a later one of the boot has %s is that of another device', (_what, signals) => {
    const runs: ReportRun[] = []
    insertReport(runs, 0, signalled(1, 5, 0), place(1))
    expect(insertReport(runs, 1, signalled(2, ...signals), place(1)).outcome).toBe('conflict')
  })
})

describe('a report', () => {
  it('is worth what it adds to the one before it', () => {
    const runs: ReportRun[] = []
    expect(booked(insertReport(runs, 0, at(10), place(1)))).toEqual([[1, 'g', 10]])
    expect(booked(insertReport(runs, 1, at(15), place(2, 'h')))).toEqual([[2, 'h', 5]])
    // One that was lost: the next is worth both.
    expect(booked(insertReport(runs, 3, at(40), place(3)))).toEqual([[3, 'g', 25]])
    expect(latestSums(runs)).toEqual(at(40))
    expect(runs).toEqual([
      [0, 1, at(15), at(10), place(1)],
      [3, 3, at(40), at(40), place(3)],
    ])
  })

  it('that is late takes its part back from its successor and books it where it says', () => {
    const runs = timeline([0, 10, 1], [3, 40, 3])
    expect(booked(insertReport(runs, 2, at(30), place(3, 'other')))).toEqual([
      [3, 'g', -20],
      [3, 'other', 20],
    ])
    // Now 2 and 3 are one run that begins with the late one.
    expect(runs[1]).toEqual([2, 3, at(40), at(30), place(3, 'other')])
    expect(booked(insertReport(runs, 1, at(12), place(2)))).toEqual([
      [3, 'other', -2],
      [2, 'g', 2],
    ])
    expect(runs).toEqual([[0, 3, at(40), at(10), place(1)]])
  })

  it('that is late is booked no later than its successor, since it happened before', () => {
    expect(booked(insertReport(timeline([0, 10, 1], [2, 30, 3]), 1, at(20), place(5, 'other')))).toEqual([
      [3, 'g', -10],
      [3, 'other', 10],
    ])
    // At the same place nothing moves.
    expect(booked(insertReport(timeline([0, 10, 1], [2, 30, 3]), 1, at(20), place(5)))).toEqual([])
  })

  it('before all others takes its part from the first', () => {
    const runs = timeline([5, 10, 3])
    expect(booked(insertReport(runs, 4, at(4), place(2)))).toEqual([
      [3, 'g', -4],
      [2, 'g', 4],
    ])
    expect(latestSums(runs)).toEqual(at(10))
  })

  it('goes on where its number wraps', () => {
    const runs = timeline([0xffff_ffff, 10, 1])
    expect(booked(insertReport(runs, 0, at(12), place(1)))).toEqual([[1, 'g', 2]])
    expect(runs).toHaveLength(1)
  })
})

describe('a report that is refused', () => {
  it.each([
    ['of a number that is known', 2, 20, 'duplicate'],
    ['within a run', 1, 17, 'duplicate'],
    ['below its predecessor', 4, 19, 'conflict'],
    // The run after it begins at 40 and ends at 50.
    ['above its successor', 4, 41, 'conflict'],
    ['that falls at the end', 7, 49, 'conflict'],
  ])('%s changes nothing', (_what, seq, value, outcome) => {
    const runs = timeline([0, 10, 1], [1, 15, 1], [2, 20, 1], [5, 40, 3], [6, 50, 3])
    const before = structuredClone(runs)
    expect(booked(insertReport(runs, seq, at(value), place(3)))).toBe(outcome)
    expect(runs).toEqual(before)
  })

  it('counters that stand still are no contradiction', () => {
    const runs = timeline([0, 10, 1], [2, 10, 1])
    expect(insertReport(runs, 1, at(10), place(1)).outcome).toBe('accepted')
    expect(insertReport(runs, 3, at(10), place(1)).outcome).toBe('accepted')
  })

  it('one counter that contradicts is enough', () => {
    const runs = timeline([0, 10, 1])
    expect(insertReport(runs, 1, [11, 11, 11, 11, 11, 9], place(1)).outcome).toBe('conflict')
  })
})

describe('the bound', () => {
  it('joins the two oldest runs; the sums stay exact', () => {
    const reports = Array.from({ length: REPORT_RUNS_MAX }, (_, i) => [2 * i, i, i] as const)
    const runs = timeline(...reports)
    expect(runs).toHaveLength(64)
    insertReport(runs, 1_000, at(500), place(100))
    expect(runs).toHaveLength(64)
    expect(runs[0]).toEqual([0, 2, at(1), at(0), place(0)])
    expect(insertReport(runs, 1, at(0), place(0)).outcome).toBe('duplicate')
    expect(latestSums(runs)).toEqual(at(500))
  })
})

it('before the first report there is nothing', () => {
  expect(latestSums([])).toEqual(at(0))
})
