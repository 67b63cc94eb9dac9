/** Numbers of one boot that were seen already, as closed ranges in ascending order: compact, because a healthy device has one.
 *  Numbers are unsigned 32-bit and compared by serial arithmetic (RFC 1982), so a sequence that wraps goes on.
 */
export type SeqRange = [first: number, last: number]

/** chosen: 64 separate gaps of one boot outlast hours of heavy loss; beyond, the oldest gap is given up. */
export const SEQ_RANGES_MAX = 64

/** Whether `a` comes before `b` among 32-bit serial numbers. */
export const seqBefore = (a: number, b: number): boolean => ((a - b) | 0) < 0
export const seqNext = (seq: number): number => (seq + 1) >>> 0

/** Index of the first range that ends at or after `seq`; ranges.length when none does. Scans from the newest, where almost
 *  every message belongs. */
export function rangeIndex(ranges: readonly { readonly 1: number }[], seq: number): number {
  let index = ranges.length
  while (index > 0 && !seqBefore(ranges[index - 1]![1], seq)) index--
  return index
}

/** Records one number.
 *  @param ranges changed in place; at most SEQ_RANGES_MAX. At the bound the two oldest ranges are joined: what is missing between
 *    them counts as seen from then on, so nothing is ever counted twice, and a straggler of that age is dropped.
 *  @returns whether the number is new
 */
export function insertSeq(ranges: SeqRange[], seq: number): boolean {
  const index = rangeIndex(ranges, seq)
  const next = ranges[index]
  if (next !== undefined && !seqBefore(seq, next[0])) return false
  const previous = ranges[index - 1]
  const joinsPrevious = previous !== undefined && seqNext(previous[1]) === seq
  const joinsNext = next !== undefined && seqNext(seq) === next[0]
  if (joinsPrevious && joinsNext) {
    previous[1] = next[1]
    ranges.splice(index, 1)
  } else if (joinsPrevious) {
    previous[1] = seq
  } else if (joinsNext) {
    next[0] = seq
  } else {
    ranges.splice(index, 0, [seq, seq])
    if (ranges.length > SEQ_RANGES_MAX) ranges.splice(0, 2, [ranges[0]![0], ranges[1]![1]])
  }
  return true
}
