import { describe, expect, it } from 'vitest'
import {
  insertSeq,
  rangeIndex,
  SEQ_RANGES_MAX,
  type SeqRange,
  seqBefore,
  seqNext,
} from '../../../../gateway/store/seq-ranges.ts'

const inserted = (...numbers: readonly number[]): SeqRange[] => {
  const ranges: SeqRange[] = []
  for (const seq of numbers) expect(insertSeq(ranges, seq), String(seq)).toBe(true)
  return ranges
}

describe('serial numbers', () => {
  it('go on after the last one', () => {
    expect([seqNext(0), seqNext(0xffff_fffe), seqNext(0xffff_ffff)]).toEqual([1, 0xffff_ffff, 0])
    expect(seqBefore(1, 2)).toBe(true)
    expect(seqBefore(2, 2)).toBe(false)
    expect(seqBefore(0xffff_ffff, 0)).toBe(true)
    expect(seqBefore(0, 0xffff_ffff)).toBe(false)
    // Less than half of all numbers ahead is ahead.
    expect(seqBefore(0, 0x7fff_ffff)).toBe(true)
    expect(seqBefore(0, 0x8000_0001)).toBe(false)
  })
})

describe('numbers that were seen', () => {
  it.each<[readonly number[], readonly SeqRange[]]>([
    [[5], [[5, 5]]],
    [[5, 6, 7], [[5, 7]]],
    [[7, 6, 5], [[5, 7]]],
    [
      [5, 7],
      [
        [5, 5],
        [7, 7],
      ],
    ],
    [[5, 7, 6], [[5, 7]]],
    [
      [9, 1, 5],
      [
        [1, 1],
        [5, 5],
        [9, 9],
      ],
    ],
    [[0xffff_ffff, 0, 1], [[0xffff_ffff, 1]]],
    [[0, 0xffff_ffff], [[0xffff_ffff, 0]]],
  ])('%j are %j', (numbers, ranges) => {
    expect(inserted(...numbers)).toEqual(ranges)
  })

  it('are not new at the ends of a range nor within it', () => {
    const ranges = inserted(3, 4, 5, 6, 10)
    for (const seq of [3, 4, 6, 10]) expect(insertSeq(ranges, seq)).toBe(false)
    expect(ranges).toEqual([
      [3, 6],
      [10, 10],
    ])
  })

  it('at the bound the two oldest ranges are joined, and what lies between them counts as seen', () => {
    const ranges = inserted(...Array.from({ length: SEQ_RANGES_MAX }, (_, i) => 10 * i))
    expect(ranges).toHaveLength(64)
    expect(insertSeq(ranges, 10_000)).toBe(true)
    expect(ranges).toHaveLength(64)
    expect(ranges[0]).toEqual([0, 10])
    expect(ranges.at(-1)).toEqual([10_000, 10_000])
    expect(insertSeq(ranges, 5)).toBe(false)
    expect(insertSeq(ranges, 15)).toBe(true)
  })
})

it('the range of a number is the first that ends at or after it', () => {
  const ranges = inserted(3, 4, 8)
  expect([0, 3, 4, 5, 8, 9].map((seq) => rangeIndex(ranges, seq))).toEqual([0, 0, 0, 1, 1, 2])
  expect(rangeIndex([], 7)).toBe(0)
})
