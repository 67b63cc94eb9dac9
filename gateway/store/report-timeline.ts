import { rangeIndex, seqBefore, seqNext } from './seq-ranges.ts'

/** What is summed of reports, in this order; all cumulative per boot. */
export const SUM_NAMES = ['listeningMs', 'activeMs', 'wakes', 'gateOpenings', 'energyMj', 'radioBytes'] as const
export type SumName = (typeof SUM_NAMES)[number]
/** SUM_NAMES, then the report's signals, as many as its bundle declares */
export type Sums = readonly number[]

/** The cell of the aggregate table that a difference is booked in. */
export interface Place {
  /** start of an hour, Unix ms */
  readonly hourMs: number
  /** see aggregation.ts `groupKey` */
  readonly group: string
}

/** One unbroken run of reports [first, last] of a boot. Only its ends matter: a straggler can only fall between runs, after the
 *  last report of one and before the first of the next.
 */
export type ReportRun = [first: number, last: number, lastSums: Sums, firstSums: Sums, firstPlace: Place]

/** chosen: as SEQ_RANGES_MAX; at the bound the two oldest runs are joined, whose sums stay exact, only their attribution is coarse */
export const REPORT_RUNS_MAX = 64

export interface Booking {
  readonly place: Place
  /** added to the place; negative where a straggler takes back what was booked on its successor */
  readonly delta: Sums
}

export type TimelineOutcome =
  | { readonly outcome: 'accepted'; readonly bookings: readonly Booking[] }
  | { readonly outcome: 'duplicate' }
  /** counters contradict a neighbour: a broken device, or two devices with one identity */
  | { readonly outcome: 'conflict' }

const ZERO: Sums = SUM_NAMES.map(() => 0)
const DUPLICATE = { outcome: 'duplicate' } as const
const CONFLICT = { outcome: 'conflict' } as const
const subtract = (a: Sums, b: Sums): Sums => a.map((value, i) => value - (b[i] ?? 0))
/** Also in how many numbers there are: a boot runs one bundle, and only what is before its first report has none of its signals. */
const notBelow = (a: Sums, b: Sums): boolean => {
  if (b !== ZERO && a.length !== b.length) return false
  for (let i = 0; i < b.length; i++) if (a[i]! < b[i]!) return false
  return true
}

/** Cumulative counters of the newest report of a boot; zeros before the first. */
export const latestSums = (runs: readonly ReportRun[]): Sums => runs.at(-1)?.[2] ?? ZERO

/** Takes one report of a boot into its timeline and says what it changes in the aggregate table. Each report is worth the
 *  difference to its predecessor in sequence, booked where the report itself says (model, arm). So the result depends on the
 *  set of reports and not on the order of their arrival; the sum over all places is always the newest report.
 *  @param runs changed in place unless the outcome is duplicate or conflict
 *  @param place where this report belongs; a straggler is booked no later than its successor was, since it happened before
 */
export function insertReport(runs: ReportRun[], seq: number, sums: Sums, place: Place): TimelineOutcome {
  const index = rangeIndex(runs, seq)
  const next = runs[index]
  if (next !== undefined && !seqBefore(seq, next[0])) return DUPLICATE
  const previous = runs[index - 1]
  const base = previous?.[2] ?? ZERO
  if (!notBelow(sums, base) || (next !== undefined && !notBelow(next[3], sums))) return CONFLICT

  const delta = subtract(sums, base)
  let at = place
  let bookings: readonly Booking[]
  if (next === undefined) {
    bookings = [{ place, delta }]
  } else {
    const [, , , , successor] = next
    if (successor.hourMs < place.hourMs) at = { hourMs: successor.hourMs, group: place.group }
    const same = successor.group === at.group && successor.hourMs === at.hourMs
    bookings = same
      ? []
      : [
          { place: successor, delta: delta.map((value) => -value) },
          { place: at, delta },
        ]
  }

  const joinsPrevious = previous !== undefined && seqNext(previous[1]) === seq
  const joinsNext = next !== undefined && seqNext(seq) === next[0]
  if (joinsPrevious && joinsNext) {
    previous[1] = next[1]
    previous[2] = next[2]
    runs.splice(index, 1)
  } else if (joinsPrevious) {
    previous[1] = seq
    previous[2] = sums
  } else if (joinsNext) {
    next[0] = seq
    next[3] = sums
    next[4] = at
  } else {
    runs.splice(index, 0, [seq, seq, sums, sums, at])
    if (runs.length > REPORT_RUNS_MAX) {
      const [older, newer] = [runs[0]!, runs[1]!]
      runs.splice(0, 2, [older[0], newer[1], newer[2], older[3], older[4]])
    }
  }
  return { outcome: 'accepted', bookings }
}
