import { groupBy } from '../../contract/group-by.ts'
import { LIMITS } from '../../contract/limits.ts'
import { present } from '../../contract/present.ts'
import { type DeviceOutcome, pairedLogRatio, type RatioKind } from '../rollout/log-ratio.ts'
import { informationForPower, oneSidedLogE, oneSidedRho } from '../rollout/normal-mixture.ts'
import type { AlertRecord } from '../store/alert-store.ts'
import type { BaselineHour, BaselineRecord } from '../store/baseline-store.ts'
import type { Store } from '../store/store.ts'
import { HOUR_MS, hourIndex } from '../store/telemetry-store.ts'

/** Drift: the fleet behaves unlike it did in its first hours on the same model, without any update. */
export interface DriftPolicy {
  /** first hours on a model; a whole day, so that the baseline has every hour of it */
  readonly baselineHours: number
  /** sliding window compared with it */
  readonly recentHours: number
  /** a rise below this ratio is nobody's alarm (days differ, rooms differ) */
  readonly toleranceRatio: number
  /** strictness of one look at one cohort. Windows slide, so looks do not add up to one process; with theta0 = ln(tolerance) a quiet
   *  fleet and its parts are so far below that `test/simulation/gate-drift.test.ts` sees no alert over its hours and seeds. */
  readonly alpha: number
  readonly minDevices: number
  /** of a site or a board that is judged by itself */
  readonly minCohortDevices: number
  /** second sliding window of those: few devices take longer to say something */
  readonly cohortHours: number
  /** false wakes in both windows together */
  readonly minEvents: number
  /** population stability index of the noise floor; above .25 is by custom a significant shift, below .1 none */
  readonly psiRaise: number
  readonly psiResolve: number
}

export const DEFAULT_DRIFT_POLICY: DriftPolicy = {
  baselineHours: 24,
  recentHours: 4,
  toleranceRatio: 1.5,
  alpha: 0.001,
  minDevices: 20,
  minCohortDevices: 10,
  cohortHours: 12,
  minEvents: 40,
  psiRaise: 0.25,
  psiResolve: 0.1,
}

/** chosen: as in `evidence.ts` */
const SETTLE_MS = 15 * 60_000

/** chosen: first hours that have not been told in this time never will be */
const GONE_MS = 30 * 24 * HOUR_MS

const noSums = () => ({ listeningMs: 0, activeMs: 0, rejected: 0 })
const noBins = (): number[] => Array.from({ length: LIMITS.histogramBins }, () => 0)

export interface DriftChange {
  readonly alert: AlertRecord
  readonly change: 'raised' | 'resolved'
}

/** A device's last hours and the same hours of the day of its baseline. */
interface Drifting {
  readonly site: string
  readonly board: string
  /** by length of the window, hours; without those in which it has listened too little */
  readonly windows: ReadonlyMap<number, Readonly<Record<RatioMetric, Sides<DeviceOutcome>>>>
  /** counts of windows by level, in the recent hours */
  readonly noise: Sides<readonly number[]>
}

type RatioMetric = 'falseWakesPerHour' | 'dutyCycle'
const METRICS = ['falseWakesPerHour', 'dutyCycle', 'noiseFloor'] as const
type DriftMetric = (typeof METRICS)[number]

interface Sides<T> {
  readonly after: T
  readonly before: T
}

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
    readonly metric: DriftMetric
    readonly judgement: Judgement
  })[]
  /** baselines that were taken for it, to be stored */
  readonly baselines: readonly BaselineRecord[]
}

/** Raises and resolves alerts by what the reader has found, once an hour. */
export class DriftMonitor {
  readonly #store: Store
  readonly #reader: DriftReader
  #lastHour = -1

  constructor(store: Store, policy: DriftPolicy) {
    this.#store = store
    this.#reader = new DriftReader(store, policy)
  }

  /** Raises and resolves alerts. Does nothing within an hour it has looked at. */
  evaluate(nowMs: number): readonly DriftChange[] {
    const hour = this.due(nowMs)
    if (hour === undefined) return []
    return this.#store.atomically(() => {
      const { judged, baselines } = this.#reader.read(hour)
      for (const baseline of baselines) this.#store.baselines.put(baseline)
      return this.conclude({ judged }, nowMs)
    })
  }

  /** The hour up to which is to be looked at, once. */
  due(nowMs: number): number | undefined {
    const hour = hourIndex(nowMs - SETTLE_MS)
    if (hour === this.#lastHour) return undefined
    this.#lastHour = hour
    return hour
  }

  conclude({ judged }: Pick<DriftReading, 'judged'>, nowMs: number): readonly DriftChange[] {
    return this.#store.atomically(() => {
      const keys = new Set(judged.map(({ metric, model, query }) => keyOf(metric, model, query)))
      const changes = judged.flatMap((each) => this.#decide(each, nowMs))
      // Nobody runs the model any more, or too few: there is nothing left to be alarmed about.
      for (const alert of this.#store.alerts.allOpen()) {
        if (alert.code === 'drift' && !keys.has(keyOf(alert.metric, alert.model, alert.cohort))) {
          changes.push(this.#resolve(alert, nowMs))
        }
      }
      return changes
    })
  }

  #decide({ metric, model, query: cohort, judgement }: DriftReading['judged'][number], nowMs: number): DriftChange[] {
    const { raise, calm, ratio, numbers } = judgement
    const { alerts, audit } = this.#store
    const open = alerts.open('drift', metric, model, cohort)
    if (open === undefined && raise) {
      const alert = alerts.raise({ code: 'drift', metric, model, cohort, sinceMs: nowMs, ratio, numbers })
      const detail = { model, ...(cohort !== null && { cohort }), ...numbers }
      audit.append({ atMs: nowMs, actor: 'kinglet', action: 'alert.raised', subject: metric, detail })
      return [{ alert, change: 'raised' }]
    }
    return open !== undefined && calm ? [this.#resolve(open, nowMs)] : []
  }

  #resolve(alert: AlertRecord, nowMs: number): DriftChange {
    const { alerts, audit } = this.#store
    alerts.resolve(alert.id, nowMs)
    const { model, cohort, id } = alert
    const detail = { model, ...(cohort !== null && { cohort }), alert: id }
    audit.append({ atMs: nowMs, actor: 'kinglet', action: 'alert.resolved', subject: alert.metric, detail })
    return { alert: { ...alert, state: 'resolved', resolvedMs: nowMs }, change: 'resolved' }
  }
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
    const judged = [...this.#compare(hour * HOUR_MS, baselines)].flatMap(([model, devices]) =>
      METRICS.flatMap((metric) =>
        this.#judgeParts(metric, model, devices).map(([{ query }, judgement]) => ({ metric, model, query, judgement })),
      ),
    )
    return { judged, baselines }
  }

  /** Sites first, then boards without the sites that have changed, then the fleet without both: what one place does is neither told of its
   *  boards nor of everybody. Where the others are not calm either, it is the fleet that has changed, which is said once. */
  #judgeParts(metric: DriftMetric, model: string, devices: readonly Drifting[]): [Cohort, Judgement][] {
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
  #compare(endMs: number, taken: BaselineRecord[]): ReadonlyMap<string, readonly Drifting[]> {
    const { baselines } = this.#store
    const { recentHours } = this.#policy
    const models = new Map<string, Drifting[]>()
    const from = endMs - recentHours * HOUR_MS
    for (const { device, model, site, board, sinceMs } of baselines.present()) {
      const baseline = this.#baseline(device, model, sinceMs, endMs, taken)
      if (baseline === undefined || from < baseline.untilMs) continue
      const compared = this.#compareDevice(baseline, from, endMs)
      if (compared === undefined) continue
      const known = models.get(model)
      if (known === undefined) models.set(model, [{ site, board, ...compared }])
      else known.push({ site, board, ...compared })
    }
    return models
  }

  /** A device's last hours against the same hours of the day of its baseline: a night is compared with a night.
   *  @param from begin of the recent hours
   *  @returns undefined where it has listened too little in them */
  #compareDevice(
    baseline: BaselineRecord,
    from: number,
    endMs: number,
  ): Pick<Drifting, 'windows' | 'noise'> | undefined {
    const { recentHours, cohortHours } = this.#policy
    const { device, model, untilMs } = baseline
    const noise = { after: noBins(), before: noBins() }
    const lengths = [recentHours, cohortHours]
    const sums = lengths.map(() => ({ after: noSums(), before: noSums() }))
    const longest = Math.max(untilMs, endMs - Math.max(...lengths) * HOUR_MS)
    for (const hour of this.#store.outcomes.slots(device, model, longest, endMs)) {
      const same = this.#sameHour(baseline, hour.hour)
      if (same === undefined) continue
      const startMs = hour.hour * HOUR_MS
      for (const [i, { after, before }] of sums.entries()) {
        if (startMs < endMs - present(lengths[i], 'the length of a window') * HOUR_MS) continue
        for (const name of ['listeningMs', 'activeMs', 'rejected'] as const) {
          after[name] += hour[name]
          before[name] += same[name]
        }
      }
      if (startMs < from) continue
      addBins(noise.before, same.noiseBins)
      addBins(noise.after, this.#noiseOf(device, model, hour.hour))
    }
    const windows = new Map<number, Record<RatioMetric, Sides<DeviceOutcome>>>()
    for (const [i, { after, before }] of sums.entries()) {
      const length = present(lengths[i], 'the length of a window')
      if (after.listeningMs < (length / 2) * HOUR_MS || before.listeningMs <= 0) continue
      const outcomes = (count: 'rejected' | 'activeMs', unit: number): Sides<DeviceOutcome> => ({
        after: { y: after[count] / unit, x: after.listeningMs / HOUR_MS },
        before: { y: before[count] / unit, x: before.listeningMs / HOUR_MS },
      })
      windows.set(length, { falseWakesPerHour: outcomes('rejected', 1), dutyCycle: outcomes('activeMs', HOUR_MS) })
    }
    return windows.has(recentHours) ? { windows, noise } : undefined
  }

  /** The device's baseline on its present model, taken once its first hours over whole days are over. */
  #baseline(
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
    const first = this.#hoursOf(device, model, from, until)
    // Much less listening than time has passed: reports are missing still, take it later. Where they are not kept any more, the last days do.
    const isGone = endMs - until > GONE_MS
    const latest = endMs - recentHours * HOUR_MS
    const hours = first ?? (isGone ? this.#hoursOf(device, model, latest - baselineHours * HOUR_MS, latest) : undefined)
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
    const mean = (of: (each: BaselineHour) => number): number =>
      known.reduce((sum, each) => sum + of(each), 0) / known.length
    if (known.length === 0) return undefined
    return {
      listeningMs: mean(({ listeningMs }) => listeningMs),
      activeMs: mean(({ activeMs }) => activeMs),
      rejected: mean(({ rejected }) => rejected),
      noiseBins: noBins().map((_, i) => mean(({ noiseBins }) => noiseBins[i] ?? 0)),
    }
  }

  #noiseOf(device: number, model: string, hour: number): number[] {
    return this.#store.outcomes.noise(device, model, hour * HOUR_MS, (hour + 1) * HOUR_MS)
  }

  /** @returns undefined when the device listened for less than half of the time */
  #hoursOf(device: number, model: string, from: number, until: number): BaselineRecord['hours'] | undefined {
    const { outcomes } = this.#store
    const hours: (BaselineHour | null)[] = Array.from({ length: 24 }, () => null)
    let listeningMs = 0
    for (const slot of outcomes.slots(device, model, from, until)) {
      const hour = slot.hour % 24
      const sum = hours[hour] ?? { listeningMs: 0, activeMs: 0, rejected: 0, noiseBins: noBins() }
      const noiseBins = [...sum.noiseBins]
      addBins(noiseBins, this.#noiseOf(device, model, slot.hour))
      hours[hour] = {
        listeningMs: sum.listeningMs + slot.listeningMs,
        activeMs: sum.activeMs + slot.activeMs,
        rejected: sum.rejected + slot.rejected,
        noiseBins,
      }
      listeningMs += slot.listeningMs
    }
    return listeningMs < (until - from) / 2 ? undefined : hours
  }

  #judge(metric: DriftMetric, cohort: Cohort): Judgement {
    const { recentHours, cohortHours } = this.#policy
    if (metric === 'noiseFloor') return this.#judgeNoise(cohort.devices)
    const recent = this.#judgeRatio(metric, cohort, recentHours)
    if (cohort.query === null) return recent
    const long = this.#judgeRatio(metric, cohort, cohortHours)
    const loudest = long.raise && !recent.raise ? long : recent
    return { ...loudest, calm: recent.calm && long.calm }
  }

  #judgeNoise(devices: readonly Drifting[]): Judgement {
    const { psiRaise, psiResolve } = this.#policy
    const noise = { after: noBins(), before: noBins() }
    for (const each of devices) {
      addShares(noise.after, each.noise.after)
      addShares(noise.before, each.noise.before)
    }
    const psi = populationStabilityIndex(noise.after, noise.before)
    const numbers = { psi, raise: psiRaise, devices: devices.length }
    return { raise: psi >= psiRaise, calm: psi < psiResolve, ratio: psi, numbers }
  }

  #judgeRatio(metric: RatioMetric, { devices }: Cohort, windowHours: number): Judgement {
    const { alpha, toleranceRatio, minEvents, baselineHours } = this.#policy
    const kind: RatioKind = metric === 'dutyCycle' ? 'amount' : 'count'
    const sides = devices.flatMap(({ windows }) => windows.get(windowHours)?.[metric] ?? [])
    const paired = pairedLogRatio(
      sides.map(({ after }) => after),
      sides.map(({ before }) => before),
      kind,
    )
    // Nothing to compare: neither news nor an all-clear.
    if (paired === undefined) return { raise: false, calm: false, ratio: 1, numbers: {} }
    const { d, variance, canary: after, control: before } = paired
    const theta0 = Math.log(toleranceRatio)
    const rho = oneSidedRho(informationForPower(theta0, alpha), alpha)
    const logE = oneSidedLogE((d - theta0) / variance, 1 / variance, rho)
    const threshold = Math.log(1 / alpha)
    const enough = kind === 'amount' || after.events + before.events >= minEvents
    const ratio = Math.exp(d)
    return {
      raise: enough && logE >= threshold,
      // Resolved only half way down to normal: no flapping around the tolerance.
      calm: ratio < 1 + (toleranceRatio - 1) / 2,
      ratio,
      numbers: {
        ...{
          ratio,
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

const keyOf = (metric: string, model: string, cohort: string | null): string => `${metric} ${model} ${cohort ?? ''}`

function addBins(sum: number[], bins: readonly number[]): void {
  for (const [i, value] of sum.entries()) sum[i] = value + (bins[i] ?? 0)
}

/** Adds a device's histogram as shares, so that every device weighs the same. */
function addShares(sum: number[], bins: readonly number[]): void {
  const total = bins.reduce((all, value) => all + value, 0)
  if (total === 0) return
  for (const [i, value] of sum.entries()) sum[i] = value + (bins[i] ?? 0) / total
}
