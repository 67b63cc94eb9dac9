import { LIMITS } from '../../contract/limits.ts'
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
  /** strictness of one look. Windows slide, so looks do not add up to one process; with theta0 = ln(tolerance) a quiet fleet
   *  is so far below that `test/simulation/gate-drift.test.ts` sees none in 200 h over its seeds. */
  readonly alpha: number
  readonly minDevices: number
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
  minEvents: 40,
  psiRaise: 0.25,
  psiResolve: 0.1,
}

/** chosen: as in `evidence.ts` */
const SETTLE_MS = 15 * 60_000

/** chosen: first hours that have not been told in this time never will be */
const GONE_MS = 30 * 24 * HOUR_MS

const noBins = (): number[] => Array.from({ length: LIMITS.histogramBins }, () => 0)

export interface DriftChange {
  readonly alert: AlertRecord
  readonly change: 'raised' | 'resolved'
}

interface Comparison {
  readonly falseWakes: { after: DeviceOutcome[]; before: DeviceOutcome[] }
  readonly duty: { after: DeviceOutcome[]; before: DeviceOutcome[] }
  readonly noise: { after: number[]; before: number[] }
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

/** Compares each device's recent hours with its own baseline, by model, once an hour. */
export class DriftMonitor {
  readonly #store: Store
  readonly #policy: DriftPolicy
  #lastHour = -1

  constructor(store: Store, policy: DriftPolicy) {
    this.#store = store
    this.#policy = policy
  }

  /** Raises and resolves alerts. Does nothing within an hour it has looked at. */
  evaluate(nowMs: number): readonly DriftChange[] {
    const hour = hourIndex(nowMs - SETTLE_MS)
    if (hour === this.#lastHour) return []
    this.#lastHour = hour
    return this.#store.atomically(() => {
      const models = this.#compare(hour * HOUR_MS)
      const changes: DriftChange[] = []
      for (const [model, comparison] of models) changes.push(...this.#judge(model, comparison, nowMs))
      // Nobody runs the model any more, or too few: there is nothing left to be alarmed about.
      for (const alert of this.#store.alerts.allOpen()) {
        if (alert.code === 'drift' && !this.#isComparable(models.get(alert.model)))
          changes.push(this.#resolve(alert, nowMs))
      }
      return changes
    })
  }

  #isComparable(comparison: Comparison | undefined): boolean {
    return comparison !== undefined && comparison.duty.after.length >= this.#policy.minDevices
  }

  #compare(endMs: number): ReadonlyMap<string, Comparison> {
    const { baselines } = this.#store
    const { recentHours } = this.#policy
    const models = new Map<string, Comparison>()
    const from = endMs - recentHours * HOUR_MS
    for (const { device, model, sinceMs } of baselines.present()) {
      const baseline = this.#baseline(device, model, sinceMs, endMs)
      if (baseline === undefined || from < baseline.untilMs) continue
      let group = models.get(model)
      if (group === undefined) {
        group = {
          falseWakes: { after: [], before: [] },
          duty: { after: [], before: [] },
          noise: { after: noBins(), before: noBins() },
        }
        models.set(model, group)
      }
      this.#add(group, baseline, from, endMs)
    }
    return models
  }

  /** Adds a device's recent hours and the same hours of the day of its baseline: a night is compared with a night. */
  #add(group: Comparison, baseline: BaselineRecord, from: number, endMs: number): void {
    const { device, model } = baseline
    const { outcomes } = this.#store
    const after = { listeningMs: 0, activeMs: 0, rejected: 0 }
    const before = { listeningMs: 0, activeMs: 0, rejected: 0 }
    const noiseBefore = noBins()
    const noiseAfter = noBins()
    for (const hour of outcomes.slots(device, model, from, endMs)) {
      const same = this.#sameHour(baseline, hour.hour)
      if (same === undefined) continue
      for (const name of ['listeningMs', 'activeMs', 'rejected'] as const) {
        after[name] += hour[name]
        before[name] += same[name]
      }
      addBins(noiseBefore, same.noiseBins)
      addBins(noiseAfter, this.#noiseOf(device, model, hour.hour))
    }
    if (after.listeningMs < (this.#policy.recentHours / 2) * HOUR_MS || before.listeningMs <= 0) return
    const hours = (sums: typeof after): number => sums.listeningMs / HOUR_MS
    group.falseWakes.after.push({ y: after.rejected, x: hours(after) })
    group.falseWakes.before.push({ y: before.rejected, x: hours(before) })
    group.duty.after.push({ y: after.activeMs / HOUR_MS, x: hours(after) })
    group.duty.before.push({ y: before.activeMs / HOUR_MS, x: hours(before) })
    addShares(group.noise.after, noiseAfter)
    addShares(group.noise.before, noiseBefore)
  }

  /** The device's baseline on its present model, taken once its first hours over whole days are over. */
  #baseline(device: number, model: string, sinceMs: number, endMs: number): BaselineRecord | undefined {
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
    baselines.put(baseline)
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

  #judge(model: string, comparison: Comparison, nowMs: number): DriftChange[] {
    if (!this.#isComparable(comparison)) return []
    const { psiRaise, psiResolve } = this.#policy
    const psi = populationStabilityIndex(comparison.noise.after, comparison.noise.before)
    return [
      ...this.#ratioAlert('falseWakesPerHour', model, comparison.falseWakes, 'count', nowMs),
      ...this.#ratioAlert('dutyCycle', model, comparison.duty, 'amount', nowMs),
      ...this.#decide('noiseFloor', model, psi >= psiRaise, psi < psiResolve, psi, nowMs, {
        psi,
        raise: psiRaise,
        devices: comparison.duty.after.length,
      }),
    ]
  }

  #ratioAlert(metric: string, model: string, arms: Comparison['duty'], kind: RatioKind, nowMs: number): DriftChange[] {
    const { alpha, toleranceRatio, minEvents, recentHours, baselineHours } = this.#policy
    const paired = pairedLogRatio(arms.after, arms.before, kind)
    if (paired === undefined) return []
    const { d, variance, canary: after, control: before } = paired
    const theta0 = Math.log(toleranceRatio)
    const rho = oneSidedRho(informationForPower(theta0, alpha), alpha)
    const logE = oneSidedLogE((d - theta0) / variance, 1 / variance, rho)
    const threshold = Math.log(1 / alpha)
    const enough = kind === 'amount' || after.events + before.events >= minEvents
    const ratio = Math.exp(d)
    // Resolved only half way down to normal: no flapping around the tolerance.
    const calm = ratio < 1 + (toleranceRatio - 1) / 2
    return this.#decide(metric, model, enough && logE >= threshold, calm, ratio, nowMs, {
      ...{ ratio, recent: after.rate, baseline: before.rate, d, variance, logE, threshold, tolerance: toleranceRatio },
      ...{ devices: after.devices, recentHours, baselineHours },
    })
  }

  #decide(
    metric: string,
    model: string,
    raise: boolean,
    calm: boolean,
    ratio: number,
    nowMs: number,
    numbers: Record<string, number>,
  ): DriftChange[] {
    const { alerts, audit } = this.#store
    const open = alerts.open('drift', metric, model)
    if (open === undefined && raise) {
      const alert = alerts.raise({ code: 'drift', metric, model, sinceMs: nowMs, ratio, numbers })
      audit.append({
        atMs: nowMs,
        actor: 'kinglet',
        action: 'alert.raised',
        subject: metric,
        detail: { model, ...numbers },
      })
      return [{ alert, change: 'raised' }]
    }
    return open !== undefined && calm ? [this.#resolve(open, nowMs)] : []
  }

  #resolve(alert: AlertRecord, nowMs: number): DriftChange {
    const { alerts, audit } = this.#store
    alerts.resolve(alert.id, nowMs)
    const detail = { model: alert.model, alert: alert.id }
    audit.append({ atMs: nowMs, actor: 'kinglet', action: 'alert.resolved', subject: alert.metric, detail })
    return { alert: { ...alert, state: 'resolved', resolvedMs: nowMs }, change: 'resolved' }
  }
}

function addBins(sum: number[], bins: readonly number[]): void {
  for (const [i, value] of sum.entries()) sum[i] = value + (bins[i] ?? 0)
}

/** Adds a device's histogram as shares, so that every device weighs the same. */
function addShares(sum: number[], bins: readonly number[]): void {
  const total = bins.reduce((all, value) => all + value, 0)
  if (total === 0) return
  for (const [i, value] of sum.entries()) sum[i] = value + (bins[i] ?? 0) / total
}
