import type { ArmSummary } from '../store/gate-reading.ts'

/** The comparison of two arms with the device as the unit of randomisation: devices differ, and a device's own events are
 *  not independent, so the variance is taken over devices, never over events.
 *  @see Lindon & Malek, arXiv 2011.03567; Waudby-Smith et al., arXiv 2103.06476 (asymptotic argument)
 */

/** One device's outcome: a numerator, its exposure and, where known, the device's own rate before the comparison began. */
export interface DeviceOutcome {
  /** events, or a sum (energy, latency) when the kind is `mean` */
  readonly y: number
  /** exposure: listening hours, wakes, inferences */
  readonly x: number
  /** rate before the comparison, any unit; undefined: unknown, takes the mean and so adjusts nothing */
  readonly z?: number | undefined
}

export type RatioKind = 'rate' | 'mean'

/** A log ratio canary/control with its variance; `variance` is > 0. */
export interface LogRatio {
  readonly d: number
  readonly variance: number
  readonly canary: ArmSummary
  readonly control: ArmSummary
  /** slope of the covariate adjustment; 0 when there was none */
  readonly slope: number
}

interface Arm {
  readonly summary: ArmSummary
  /** relative residuals of the devices, mean zero by construction */
  readonly u: Float64Array
  /** covariates, centred within the arm after imputation */
  readonly z: Float64Array
  readonly zMean: number
  readonly floor: number
}

function summarize(devices: readonly DeviceOutcome[], kind: RatioKind, zFill: number): Arm | undefined {
  const n = devices.length
  let ySum = 0
  let xSum = 0
  let zSum = 0
  for (const { y, x, z } of devices) {
    ySum += y
    xSum += x
    zSum += z ?? zFill
  }
  const half = kind === 'rate' ? 0.5 : 0
  if (n < 2 || xSum <= 0 || ySum + half <= 0) return undefined
  const zMean = zSum / n
  const raw = ySum / xSum
  const u = new Float64Array(n)
  const z = new Float64Array(n)
  for (let i = 0; i < n; i++) {
    const device = devices[i]!
    u[i] = (n * (device.y - device.x * raw)) / (ySum + half)
    z[i] = (device.z ?? zFill) - zMean
  }
  return {
    summary: { devices: n, events: ySum, exposure: xSum, rate: (ySum + half) / xSum },
    u,
    z,
    zMean,
    floor: kind === 'rate' ? 1 / (ySum + half) : 0,
  }
}

function variance({ u, z, floor }: Arm, slope: number): number {
  const n = u.length
  let squares = 0
  for (let i = 0; i < n; i++) squares += (u[i]! - slope * z[i]!) ** 2
  return Math.max(squares / (n * (n - 1)), floor)
}

function pooledSlope(arms: readonly Arm[]): number {
  let cross = 0
  let squares = 0
  for (const { u, z } of arms) {
    for (let i = 0; i < u.length; i++) {
      cross += z[i]! * u[i]!
      squares += z[i]! * z[i]!
    }
  }
  return squares > 0 ? cross / squares : 0
}

/** Log ratio of two independent arms, adjusted for the devices' covariates where at least half of the devices have one.
 *  @returns undefined when an arm has fewer than two devices, no exposure, or (means) nothing summed: no evidence yet
 */
export function logRatio(
  canary: readonly DeviceOutcome[],
  control: readonly DeviceOutcome[],
  kind: RatioKind = 'rate',
): LogRatio | undefined {
  let zSum = 0
  let zKnown = 0
  for (const arm of [canary, control]) {
    for (const { z } of arm) {
      if (z === undefined) continue
      zSum += z
      zKnown++
    }
  }
  const zFill = zKnown > 0 ? zSum / zKnown : 0
  const c = summarize(canary, kind, zFill)
  const o = summarize(control, kind, zFill)
  if (c === undefined || o === undefined) return undefined
  const slope = 2 * zKnown >= canary.length + control.length ? pooledSlope([c, o]) : 0
  const total = variance(c, slope) + variance(o, slope)
  if (!(total > 0)) return undefined
  return {
    d: Math.log(c.summary.rate / o.summary.rate) - slope * (c.zMean - o.zMean),
    variance: total,
    canary: c.summary,
    control: o.summary,
    slope,
  }
}

/** Log ratio of the same devices at two times (`after[i]` and `before[i]` are one device), for drift: the difference of the
 *  paired residuals removes what the devices have in common.
 */
export function pairedLogRatio(
  after: readonly DeviceOutcome[],
  before: readonly DeviceOutcome[],
  kind: RatioKind = 'rate',
): LogRatio | undefined {
  const a = summarize(after, kind, 0)
  const b = summarize(before, kind, 0)
  if (a === undefined || b === undefined || a.u.length !== b.u.length) return undefined
  const n = a.u.length
  let squares = 0
  for (let i = 0; i < n; i++) squares += (a.u[i]! - b.u[i]!) ** 2
  const total = Math.max(squares / (n * (n - 1)), a.floor + b.floor)
  if (!(total > 0)) return undefined
  const d = Math.log(a.summary.rate / b.summary.rate)
  return { d, variance: total, canary: a.summary, control: b.summary, slope: 0 }
}
