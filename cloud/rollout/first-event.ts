import type { FirstEvents } from '../store/gate-reading.ts'

/** The anytime-valid log-rank test over hours. Each hour in which devices have their first event, the number of canaries among them
 *  is, given how many canaries and controls were at risk and how many events there were, hypergeometric under equal hazards, whatever the
 *  devices' own hazards are. The likelihood ratio against other odds, mixed over several and multiplied over hours, is an e-process. It needs
 *  no variance and no minimum of events, so it speaks of a model that never fires and of one that never errs.
 *  @see Grünwald, Ly, Pérez-Ortiz, ter Schure, "The safe logrank test", arXiv 2011.06931
 */

/** One device in one arm, from the hour in which it came under risk. */
export interface Spell {
  readonly arm: 'canary' | 'control'
  /** first hour at risk, an hour's number */
  readonly from: number
  /** first hour that is not observed any more */
  readonly to: number
  /** hour of its first event, null: none */
  readonly event: number | null
  /** slices of the fleet that it is in, indices into those of the rollout */
  readonly slices?: readonly number[] | undefined
}

/** Alternatives, as multiples of the odds under the null hypothesis; equal weights. */
const ALTERNATIVES = [1.5, 2, 4, 8, 20]

/** The odds ratio of one hour that a ratio of hazards stands for, when a share q of the devices have their event in it:
 *  equal to the ratio where q is small, beyond it where events are the rule.
 */
function oddsOf(ratio: number, q: number): number {
  // e^Λ − 1 are the odds of an event at the cumulative hazard Λ.
  const hazard = -Math.log1p(-q)
  return Math.expm1(hazard * ratio) / Math.expm1(hazard)
}

/** Sorted numbers of one kind, and how many are below a value. */
const below = (sorted: readonly number[], value: number): number => {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (sorted[middle]! < value) low = middle + 1
    else high = middle
  }
  return low
}

/** ln k! for k = 0 … n */
function logFactorials(n: number): Float64Array {
  const table = new Float64Array(n + 1)
  for (let k = 2; k <= n; k++) table[k] = table[k - 1]! + Math.log(k)
  return table
}

export interface FirstEventTest extends FirstEvents {
  /** log e-value against "the ratio of hazards is at most `ratio`" (worse: higher) or "at least `ratio`" (worse: lower) */
  readonly logE: number
}

/** @param direction of the alternative: `higher` speaks for a canary hazard above the ratio, `lower` for one below
 *  @param ratio of hazards, canary over control, at the edge of the null hypothesis; > 0
 */
export function firstEventTest(spells: readonly Spell[], direction: 'higher' | 'lower', ratio: number): FirstEventTest {
  // A device at risk for no whole hour says nothing.
  const whole = spells.filter(({ from, to }) => to > from)
  const arms = {
    canary: { from: [] as number[], until: [] as number[] },
    control: { from: [] as number[], until: [] as number[] },
  }
  const events = new Map<number, { canary: number; control: number }>()
  let canary = 0
  let control = 0
  for (const { arm, from, to, event } of whole) {
    arms[arm].from.push(from)
    const happened = event !== null && event >= from && event < to
    arms[arm].until.push(happened ? event + 1 : to)
    if (!happened) continue
    const hour = events.get(event) ?? { canary: 0, control: 0 }
    hour[arm]++
    events.set(event, hour)
    if (arm === 'canary') canary++
    else control++
  }
  const counts = {
    canary,
    control,
    canaryAtRisk: arms.canary.from.length,
    controlAtRisk: arms.control.from.length,
  }
  if (events.size === 0) return { ...counts, logE: 0 }
  for (const arm of [arms.canary, arms.control]) {
    arm.from.sort((a, b) => a - b)
    arm.until.sort((a, b) => a - b)
  }
  const atRisk = ({ from, until }: { from: number[]; until: number[] }, hour: number): number =>
    below(from, hour + 1) - below(until, hour + 1)
  const factorials = logFactorials(whole.length)
  const logs = ALTERNATIVES.map(() => 0)
  for (const [hour, happened] of [...events].sort(([a], [b]) => a - b)) {
    const nCanary = atRisk(arms.canary, hour)
    const nControl = atRisk(arms.control, hour)
    const d = happened.canary + happened.control
    // With one arm alone, or all of them, there is nothing to compare.
    if (nCanary === 0 || nControl === 0 || d === nCanary + nControl) continue
    const odds = oddsOf(ratio, d / (nCanary + nControl))
    const terms = logTerms(nCanary, nControl, d, factorials)
    const edge = logSum(terms, Math.log(odds))
    ALTERNATIVES.forEach((multiple, i) => {
      const shift = direction === 'higher' ? Math.log(multiple) : -Math.log(multiple)
      logs[i]! += happened.canary * shift + edge - logSum(terms, Math.log(odds) + shift)
    })
  }
  const top = Math.max(...logs)
  const mixed = top + Math.log(logs.reduce((sum, value) => sum + Math.exp(value - top), 0) / logs.length)
  return { ...counts, logE: mixed }
}

/** The log e-value where some canaries, each in an hour of its own, and no control device have the event: what a rollout of this size can
 *  find at best. */
export function firstEventLogE(
  events: number,
  { canary, control }: { readonly canary: number; readonly control: number },
  ratio: number,
): number {
  const logs = ALTERNATIVES.map(() => 0)
  for (let before = 0; before < events; before++) {
    const odds = (ratio * (canary - before)) / control
    ALTERNATIVES.forEach((multiple, i) => {
      logs[i]! += Math.log(multiple) + Math.log1p(odds) - Math.log1p(odds * multiple)
    })
  }
  const top = Math.max(...logs)
  return top + Math.log(logs.reduce((sum, value) => sum + Math.exp(value - top), 0) / logs.length)
}

/** ln C(nCanary, k) + ln C(nControl, d − k) for each possible k, with the smallest k first. */
function logTerms(nCanary: number, nControl: number, d: number, f: Float64Array): { low: number; values: number[] } {
  const low = Math.max(0, d - nControl)
  const high = Math.min(d, nCanary)
  const values: number[] = []
  for (let k = low; k <= high; k++) {
    values.push(f[nCanary]! - f[k]! - f[nCanary - k]! + f[nControl]! - f[d - k]! - f[nControl - d + k]!)
  }
  return { low, values }
}

/** ln Σ exp(value_k + k · logOdds) */
function logSum({ low, values }: { low: number; values: readonly number[] }, logOdds: number): number {
  let top = Number.NEGATIVE_INFINITY
  for (let i = 0; i < values.length; i++) top = Math.max(top, values[i]! + (low + i) * logOdds)
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += Math.exp(values[i]! + (low + i) * logOdds - top)
  return top + Math.log(sum)
}
