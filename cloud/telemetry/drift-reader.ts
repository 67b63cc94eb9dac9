import { groupBy } from '../../contract/group-by.ts'
import { NO_SUMS, toOutcome, withHour } from '../rollout/device-hours.ts'
import { type DeviceOutcome, pairedLogRatio } from '../rollout/log-ratio.ts'
import { informationForPower, oneSidedLogE, oneSidedRho } from '../rollout/normal-mixture.ts'
import type { Signal } from '../rollout/signals.ts'
import type { BaselineHour, BaselineRecord } from '../store/baseline-store.ts'
import type { Store } from '../store/store.ts'
import { HOUR_MS } from '../store/telemetry-store.ts'
import { addBins, addHours, baselineHour, binsOf, plus, timesHour } from './drift-baseline.ts'
import type { DriftPolicy } from './drift-policy.ts'
import { type Followed, followedOf, NOISE_FLOOR } from './drift-signals.ts'

/** chosen: first hours that have not been told in this time never will be */
const GONE_MS = 30 * 24 * HOUR_MS

/** A device's last hours and the same hours of the day of its baseline. */
interface Drifting {
  readonly site: string
  readonly board: string
  /** by length of the window, hours, and by signal; without what has no exposure in both */
  readonly windows: ReadonlyMap<number, ReadonlyMap<string, Sides<DeviceOutcome>>>
  /** by name, in the recent hours */
  readonly histograms: ReadonlyMap<string, Sides<readonly number[]>>
}

interface Sides<T> {
  readonly after: T
  readonly before: T
}

/** A signal, or the name of a histogram. */
type Metric = Signal | string
const nameOf = (metric: Metric): string => (typeof metric === 'string' ? metric : metric.name)

/** What is judged at once: devices on one model, all of them or those of a cohort. */
interface Cohort {
  readonly model: string
  /** as a query of devices; null: all */
  readonly query: string | null
  readonly devices: readonly Drifting[]
}

interface Judgement {
  readonly raise: boolean
  readonly calm: boolean
  readonly ratio: number
  readonly numbers: Readonly<Record<string, number>>
}

/** Population stability index of two histograms. A bin without counts takes the share of half a count in 10 000. */
export function populationStabilityIndex(after: readonly number[], before: readonly number[]): number {
  const total = (bins: readonly number[]): number => bins.reduce((sum, value) => sum + value, 0)
  const a = total(after)
  const b = total(before)
  if (a === 0 || b === 0) return 0
  return after.reduce((sum, value, i) => {
    const p = Math.max(value / a, 0.00005)
    const q = Math.max((before[i] ?? 0) / b, 0.00005)
    return sum + (p - q) * Math.log(p / q)
  }, 0)
}

/** What a look at drift has found, as data. */
export interface DriftReading {
  readonly judged: readonly (Pick<Cohort, 'model' | 'query'> & {
    readonly metric: string
    readonly judgement: Judgement
  })[]
  /** baselines that were taken for it, to be stored */
  readonly baselines: readonly BaselineRecord[]
}

/** Compares each device's recent hours with its own baseline: by model, over the fleet and over each site and each board. Writes nothing. */
export class DriftReader {
  readonly #store: Store
  readonly #policy: DriftPolicy

  constructor(store: Store, policy: DriftPolicy) {
    this.#store = store
    this.#policy = policy
  }

  /** @param hour number of the hour that is not looked at any more */
  read(hour: number): DriftReading {
    const baselines: BaselineRecord[] = []
    const judged = [...this.#compare(hour * HOUR_MS, baselines)].flatMap(([model, { followed, devices }]) =>
      [...followed.signals, NOISE_FLOOR, ...followed.histograms.map(({ name }) => name)].flatMap((metric) =>
        this.#judgeParts(metric, model, devices).map(([{ query }, judgement]) => ({
          ...{ metric: nameOf(metric), model, query, judgement },
        })),
      ),
    )
    return { judged, baselines }
  }

  /** Sites first, then boards without the sites that have changed, then the fleet without both: what one place does is neither told of its
   *  boards nor of everybody. Where the others are not calm either, it is the fleet that has changed, which is said once. */
  #judgeParts(metric: Metric, model: string, devices: readonly Drifting[]): [Cohort, Judgement][] {
    const { minDevices, minCohortDevices } = this.#policy
    const parts: [Cohort, Judgement][] = []
    let rest = devices
    for (const name of ['site', 'board'] as const) {
      const of = rest
      const groups = [...groupBy(of, (device) => device[name])]
      const cohorts = groups.filter(([, own]) => own.length >= minCohortDevices && own.length < of.length)
      const judged = cohorts.map(([value, own]): [string, Cohort, Judgement] => {
        const cohort = { model, query: `${name}:${value}`, devices: own }
        return [value, cohort, this.#judge(metric, cohort)]
      })
      const alarming = new Set(judged.flatMap(([value, , { raise }]) => (raise ? [value] : [])))
      const others = of.filter((device) => !alarming.has(device[name]))
      const isCalm =
        others.length >= minCohortDevices && this.#judge(metric, { model, query: null, devices: others }).calm
      if (isCalm) rest = others
      for (const [, cohort, judgement] of judged) {
        parts.push([cohort, { ...judgement, raise: judgement.raise && isCalm }])
      }
    }
    const fleet = { model, query: null, devices: rest }
    if (rest.length >= minDevices) parts.push([fleet, this.#judge(metric, fleet)])
    return parts
  }

  /** By model. */
  #compare(
    endMs: number,
    taken: BaselineRecord[],
  ): ReadonlyMap<string, { readonly followed: Followed; readonly devices: readonly Drifting[] }> {
    const { baselines, models } = this.#store
    const { recentHours } = this.#policy
    const found = new Map<string, { readonly followed: Followed; readonly devices: Drifting[] }>()
    const from = endMs - recentHours * HOUR_MS
    for (const { device, model, site, board, sinceMs } of baselines.present()) {
      const known = found.get(model) ?? { followed: followedOf(models.byPrefix(model)), devices: [] }
      found.set(model, known)
      const baseline = this.#baseline(known.followed, device, model, sinceMs, endMs, taken)
      if (baseline === undefined || from < baseline.untilMs) continue
      const compared = this.#compareDevice(known.followed, baseline, from, endMs)
      if (compared !== undefined) known.devices.push({ site, board, ...compared })
    }
    return found
  }

  /** A device's last hours against the same hours of the day of its baseline: a night is compared with a night.
   *  @param from begin of the recent hours
   *  @returns undefined where too little is known of them */
  #compareDevice(
    { places, signals, histograms }: Followed,
    baseline: BaselineRecord,
    from: number,
    endMs: number,
  ): Pick<Drifting, 'windows' | 'histograms'> | undefined {
    const { recentHours, cohortHours } = this.#policy
    const { device, model, untilMs } = baseline
    const windows = [recentHours, cohortHours].map((hours) => ({
      ...{ hours, fromMs: endMs - hours * HOUR_MS, knownMs: 0 },
      sums: signals.map(() => ({ after: NO_SUMS, before: NO_SUMS })),
    }))
    const shapes = new Map<string, Sides<number[]>>()
    const shape = (name: string, after: readonly number[], before: readonly number[]): void => {
      const known = shapes.get(name) ?? { after: [], before: [] }
      shapes.set(name, known)
      addBins(known.after, after)
      addBins(known.before, before)
    }
    const longest = Math.max(untilMs, endMs - Math.max(...windows.map(({ hours }) => hours)) * HOUR_MS)
    for (const hour of this.#store.outcomes.slots(device, model, longest, endMs)) {
      const same = this.#sameHour(baseline, hour.hour)
      if (same === undefined) continue
      const startMs = hour.hour * HOUR_MS
      for (const window of windows) {
        if (startMs < window.fromMs) continue
        window.knownMs += hour.uptimeMs
        for (const [i, signal] of signals.entries()) {
          // A baseline of before the signal was followed does not know it.
          const before = same.sums[signal.name]
          const sums = window.sums[i]
          if (before === undefined || sums === undefined) continue
          sums.after = withHour(sums.after, signal, hour, places)
          sums.before = plus(sums.before, before)
        }
      }
      if (startMs < from) continue
      shape(NOISE_FLOOR, this.#noiseOf(device, model, hour.hour), same.bins[NOISE_FLOOR] ?? [])
      for (const histogram of histograms) {
        const before = same.bins[histogram.name]
        if (before !== undefined) shape(histogram.name, binsOf(histogram, hour), before)
      }
    }
    const found = new Map<number, ReadonlyMap<string, Sides<DeviceOutcome>>>()
    for (const { hours, knownMs, sums } of windows) {
      if (knownMs < (hours / 2) * HOUR_MS) continue
      const outcomes = new Map<string, Sides<DeviceOutcome>>()
      for (const [i, { name }] of signals.entries()) {
        const [after, before] = [toOutcome(sums[i]?.after ?? NO_SUMS), toOutcome(sums[i]?.before ?? NO_SUMS)]
        if (after !== undefined && before !== undefined) outcomes.set(name, { after, before })
      }
      found.set(hours, outcomes)
    }
    return found.has(recentHours) ? { windows: found, histograms: shapes } : undefined
  }

  /** The device's baseline on its present model, taken once its first hours over whole days are over. */
  #baseline(
    followed: Followed,
    device: number,
    model: string,
    sinceMs: number,
    endMs: number,
    taken: BaselineRecord[],
  ): BaselineRecord | undefined {
    const { baselines } = this.#store
    const { baselineHours, recentHours } = this.#policy
    const known = baselines.get(device)
    const from = Math.ceil(sinceMs / HOUR_MS) * HOUR_MS
    if (known?.model === model && known.sinceMs === from) return known
    const until = from + baselineHours * HOUR_MS
    if (endMs < until) return undefined
    const first = this.#hoursOf(followed, device, model, from, until)
    // Much less is known than time has passed: reports are missing still, take it later. Where they are not kept any more, the last days do.
    const isGone = endMs - until > GONE_MS
    const latest = endMs - recentHours * HOUR_MS
    const hours =
      first ?? (isGone ? this.#hoursOf(followed, device, model, latest - baselineHours * HOUR_MS, latest) : undefined)
    if (hours === undefined) return undefined
    const baseline: BaselineRecord = {
      ...{ device, model, sinceMs: from, untilMs: first === undefined ? latest : until, hours },
    }
    taken.push(baseline)
    return baseline
  }

  /** What the baseline says of an hour: the same one of the day, or its mean where it is shorter than a day. */
  #sameHour({ hours }: BaselineRecord, hour: number): BaselineHour | undefined {
    if (this.#policy.baselineHours >= 24) return hours[hour % 24] ?? undefined
    const known = hours.filter((each) => each !== null)
    if (known.length === 0) return undefined
    return timesHour(known.reduce(addHours), 1 / known.length)
  }

  #noiseOf(device: number, model: string, hour: number): number[] {
    return this.#store.outcomes.noise(device, model, hour * HOUR_MS, (hour + 1) * HOUR_MS)
  }

  /** @returns undefined when less than half of the time is known */
  #hoursOf(
    followed: Followed,
    device: number,
    model: string,
    from: number,
    until: number,
  ): BaselineRecord['hours'] | undefined {
    const hours: (BaselineHour | null)[] = Array.from({ length: 24 }, () => null)
    let knownMs = 0
    for (const slot of this.#store.outcomes.slots(device, model, from, until)) {
      const at = slot.hour % 24
      const hour = baselineHour(followed, slot, this.#noiseOf(device, model, slot.hour))
      const known = hours[at]
      hours[at] = known === null || known === undefined ? hour : addHours(known, hour)
      knownMs += slot.uptimeMs
    }
    return knownMs < (until - from) / 2 ? undefined : hours
  }

  #judge(metric: Metric, cohort: Cohort): Judgement {
    const { recentHours, cohortHours } = this.#policy
    if (typeof metric === 'string') return this.#judgeShape(metric, cohort.devices)
    const recent = this.#judgeRatio(metric, cohort, recentHours)
    if (cohort.query === null) return recent
    const long = this.#judgeRatio(metric, cohort, cohortHours)
    const loudest = long.raise && !recent.raise ? long : recent
    return { ...loudest, calm: recent.calm && long.calm }
  }

  #judgeShape(name: string, devices: readonly Drifting[]): Judgement {
    const { psiRaise, psiResolve } = this.#policy
    const after = new Shares()
    const before = new Shares()
    for (const { histograms } of devices) {
      const own = histograms.get(name)
      // The same devices on both sides, or what they have in common would be a shift.
      if (own === undefined || !hasCounts(own.after) || !hasCounts(own.before)) continue
      after.add(own.after)
      before.add(own.before)
    }
    // What chance alone makes of it where nothing has shifted.
    const chance = (after.bins.length - 1) * (1 / after.worth + 1 / before.worth)
    if (after.worth === 0 || chance > psiResolve / 2) return NOTHING
    const psi = populationStabilityIndex(after.bins, before.bins)
    const numbers = { psi, raise: psiRaise, devices: devices.length }
    return { raise: psi >= psiRaise, calm: psi < psiResolve, ratio: psi, numbers }
  }

  #judgeRatio({ name, kind, worse }: Signal, { devices }: Cohort, windowHours: number): Judgement {
    const { alpha, toleranceRatio, minEvents, baselineHours } = this.#policy
    const sides = devices.flatMap(({ windows }) => windows.get(windowHours)?.get(name) ?? [])
    const paired = pairedLogRatio(
      sides.map(({ after }) => after),
      sides.map(({ before }) => before),
      kind === 'amount' ? 'amount' : 'count',
    )
    if (paired === undefined) return NOTHING
    const { d, variance, canary: after, control: before } = paired
    const harm = worse === 'higher' ? d : -d
    const theta0 = Math.log(toleranceRatio)
    const rho = oneSidedRho(informationForPower(theta0, alpha), alpha)
    const logE = oneSidedLogE((harm - theta0) / variance, 1 / variance, rho)
    const threshold = Math.log(1 / alpha)
    const enough = kind === 'amount' || after.events + before.events >= minEvents
    return {
      raise: enough && logE >= threshold,
      // Resolved only half way down to normal: no flapping around the tolerance.
      calm: Math.exp(harm) < 1 + (toleranceRatio - 1) / 2,
      ratio: Math.exp(d),
      numbers: {
        ...{
          ratio: Math.exp(d),
          recent: after.rate,
          baseline: before.rate,
          d,
          variance,
          logE,
          threshold,
          tolerance: toleranceRatio,
        },
        ...{ devices: after.devices, recentHours: windowHours, baselineHours },
      },
    }
  }
}

/** Nothing to compare: neither news nor an all-clear. */
const NOTHING: Judgement = { raise: false, calm: false, ratio: 1, numbers: {} }

const hasCounts = (bins: readonly number[]): boolean => bins.some((value) => value > 0)

/** Histograms in which every device weighs the same. */
class Shares {
  readonly bins: number[] = []
  #devices = 0
  #spread = 0

  add(bins: readonly number[]): void {
    const total = bins.reduce((all, value) => all + value, 0)
    addBins(
      this.bins,
      bins.map((value) => value / total),
    )
    this.#devices++
    this.#spread += 1 / total
  }

  /** Counts of one histogram that would tell as much. */
  get worth(): number {
    return this.#devices === 0 ? 0 : this.#devices ** 2 / this.#spread
  }
}
