/** When to train a model anew, by what its devices are worth less each day.
 *
 *  The share of right wakes among those that a verifier could judge falls as A(t) = A0 (1 - γ t). With Q wakes a day, each of which is worth V
 *  more right than wrong, a model that is replaced every T days loses Q V A0 γ T / 2 a day, and C / T for its training and rollout. The sum is
 *  least at T* = √(2 C / (Q V A0 γ)).
 *
 *  What a model does not hear is measured by nothing in the field and is not in it. */

export interface AdviceDay {
  /** days since the first */
  readonly day: number
  readonly wakes: number
  readonly confirmed: number
  readonly rejected: number
}

/** Of `GET /v1/fleet/series`, one model in one hour. */
export interface AdviceHour {
  readonly hourMs: number
  readonly wakes: number
  readonly confirmed: number
  readonly rejected: number
}

export interface Costs {
  /** of training and rolling out once, in any money */
  readonly cost: number
  /** what a right wake is worth more than a wrong one, in the same */
  readonly value: number
}

export interface Decay {
  readonly days: number
  readonly wakesPerDay: number
  /** share of right wakes on the first day */
  readonly firstShare: number
  /** of it, lost a day: estimate, and what people call a 95 % interval */
  readonly lostPerDay: number
  readonly interval: readonly [number, number]
}

export type Advice =
  /** `stale`: no wake has been judged lately; `few-days`, `few-wakes`: too little to see a decay in; `unjudged`: most wakes have no label */
  | { readonly advice: 'none'; readonly why: 'stale' | 'few-days' | 'few-wakes' | 'unjudged'; readonly found: number }
  /** nothing falls beyond what chance does. `notBeforeDays`: with the fastest decay that the days allow */
  | { readonly advice: 'keep'; readonly decay: Decay; readonly notBeforeDays: number | null }
  | {
      readonly advice: 'retrain'
      readonly decay: Decay
      readonly everyDays: number
      /** by the ends of the interval, the shorter first; null: never */
      readonly betweenDays: readonly [number, number | null]
    }

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** Chosen: labels that are older say how the model was. */
export const STALE_HOURS = 48
/** chosen: a week has every day of the week */
export const DAYS_MIN = 7
/** chosen: judged wakes over all days; a share of nine in ten is then known to 2 % */
export const JUDGED_MIN = 1_000
/** chosen: with fewer judged the others could be anything */
const JUDGED_SHARE_MIN = 0.5

/** Whole days back from the last hour, oldest first; days without a wake are left out. */
export function daysOf(hours: readonly AdviceHour[], endMs: number): readonly AdviceDay[] {
  const sums = new Map<number, { wakes: number; confirmed: number; rejected: number }>()
  const first = hours.find(({ wakes }) => wakes > 0)
  if (first === undefined) return []
  const count = Math.floor((endMs - first.hourMs) / DAY_MS)
  const startMs = endMs - count * DAY_MS
  for (const { hourMs, wakes, confirmed, rejected } of hours) {
    const day = Math.floor((hourMs - startMs) / DAY_MS)
    if (day < 0 || day >= count) continue
    const sum = sums.get(day) ?? { wakes: 0, confirmed: 0, rejected: 0 }
    sums.set(day, {
      ...{ wakes: sum.wakes + wakes, confirmed: sum.confirmed + confirmed, rejected: sum.rejected + rejected },
    })
  }
  return [...sums]
    .map(([day, sum]) => ({ day, ...sum }))
    .filter(({ wakes }) => wakes > 0)
    .sort((a, b) => a.day - b.day)
}

/** @param hours of one model, oldest first @param nowMs end of the last full hour */
export function retrainingAdvice(hours: readonly AdviceHour[], nowMs: number, { cost, value }: Costs): Advice {
  const newest = hours.findLast(({ confirmed, rejected }) => confirmed + rejected > 0)
  const sinceHours = newest === undefined ? Number.POSITIVE_INFINITY : (nowMs - newest.hourMs) / HOUR_MS - 1
  if (sinceHours > STALE_HOURS) return { advice: 'none', why: 'stale', found: sinceHours }
  const days = daysOf(hours, nowMs)
  const labelled = days.filter(({ confirmed, rejected }) => confirmed + rejected > 0)
  if (labelled.length < DAYS_MIN) return { advice: 'none', why: 'few-days', found: labelled.length }
  const sum = (of: (day: AdviceDay) => number): number => days.reduce((total, day) => total + of(day), 0)
  const [wakes, judged] = [sum((day) => day.wakes), sum(({ confirmed, rejected }) => confirmed + rejected)]
  if (judged < JUDGED_SHARE_MIN * wakes) return { advice: 'none', why: 'unjudged', found: judged / wakes }
  if (judged < JUDGED_MIN) return { advice: 'none', why: 'few-wakes', found: judged }
  const span = Math.max(...days.map(({ day }) => day)) + 1
  const decay = decayOf(labelled, wakes / span)
  const every = (lostPerDay: number): number | null =>
    lostPerDay > 0 ? Math.sqrt((2 * cost) / (decay.wakesPerDay * value * decay.firstShare * lostPerDay)) : null
  const [slow, fast] = decay.interval
  const everyDays = every(decay.lostPerDay)
  if (slow <= 0 || everyDays === null) return { advice: 'keep', decay, notBeforeDays: every(fast) }
  return { advice: 'retrain', decay, everyDays, betweenDays: [every(fast) ?? everyDays, every(slow)] }
}

/** A line through the shares of the days, each with the weight of what was judged on it; days that differ by more than chance widen the interval. */
function decayOf(days: readonly AdviceDay[], wakesPerDay: number): Decay {
  const points = days.map(({ day, confirmed, rejected }) => ({
    ...{ t: day, n: confirmed + rejected, share: confirmed / (confirmed + rejected) },
  }))
  const weight = points.reduce((sum, { n }) => sum + n, 0)
  const mean = (of: (point: (typeof points)[number]) => number): number =>
    points.reduce((sum, point) => sum + point.n * of(point), 0) / weight
  const [tMean, shareMean] = [mean(({ t }) => t), mean(({ share }) => share)]
  const spread = weight * mean(({ t }) => (t - tMean) ** 2)
  const slope = (weight * mean(({ t, share }) => (t - tMean) * (share - shareMean))) / spread
  const firstShare = Math.max(1 / weight, shareMean - slope * tMean)
  const residual = weight * mean(({ t, share }) => (share - shareMean - slope * (t - tMean)) ** 2)
  const freedom = points.length - 2
  const chance = Math.max(shareMean * (1 - shareMean), 1 / weight)
  const error = Math.sqrt((chance * Math.max(1, residual / freedom / chance)) / spread)
  const half = studentQuantile(freedom) * error
  const lost = (fall: number): number => -fall / firstShare
  return {
    ...{ days: points.length, wakesPerDay, firstShare, lostPerDay: lost(slope) },
    interval: [lost(slope + half), lost(slope - half)],
  }
}

/** Student's quantile of 97.5 %, to 1 % from five degrees of freedom on, by the first terms of its expansion about the normal one.
 *  @see Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5 */
function studentQuantile(freedom: number): number {
  const z = 1.959964
  return z + (z ** 3 + z) / (4 * freedom) + (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * freedom ** 2)
}
