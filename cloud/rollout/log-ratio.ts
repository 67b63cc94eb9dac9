import type { ArmSummary } from '../store/gate-reading.ts'

/** The comparison of two arms with the device as the unit of randomisation: devices differ, and a device's own events are
 *  not independent, so the variance is taken over devices, never over events.
 *  @see Lindon & Malek, arXiv 2011.03567; Waudby-Smith et al., arXiv 2103.06476 (asymptotic argument)
 */

/** One device's outcome: a numerator, its exposure and, where known, the same two before the comparison began. */
export interface DeviceOutcome {
  /** events, or a sum (energy, latency) when the kind is `amount` */
  readonly y: number
  /** exposure: listening hours, wakes, inferences */
  readonly x: number
  /** y and x of the time before; undefined: unknown, the device is expected to be as all are */
  readonly past?: readonly [y: number, x: number] | undefined
  /** slices of the fleet that it is in, indices into those of the rollout */
  readonly slices?: readonly number[] | undefined
}

export type RatioKind = 'count' | 'amount'

/** A log ratio canary/control with its variance; `variance` is > 0. */
export interface LogRatio {
  readonly d: number
  readonly variance: number
  readonly canary: ArmSummary
  readonly control: ArmSummary
}

/** chosen: an amount has no counting noise that tells how much a past is worth; one of the usual length is worth 20 of 21 parts */
const AMOUNT_SHRINK = 1 / 20

/** chosen: no amount is known better than to a thousandth, however alike a few devices are */
const AMOUNT_FLOOR = 1e-6

/** What each device is expected to have, up to a common factor: its exposure times its own rate before, shrunk to the rate of all by as
 *  much as that rate is noise (the empirical Bayes estimate). A past that says nothing leaves the exposure alone.
 *
 *  Devices are compared with what is expected of them, instead of adjusting by a regression on their past: with 30 devices in an arm and
 *  rates of heavy tails a slope follows its one largest device, whose residual then vanishes from the variance (false roll backs .126 with
 *  Pareto-distributed rates of shape 1.5; this way .019, `bench/gates.ts`).
 */
function expectation(arms: readonly (readonly DeviceOutcome[])[], kind: RatioKind): (device: DeviceOutcome) => number {
  let n = 0
  let ySum = 0
  let xSum = 0
  for (const arm of arms) {
    for (const { past } of arm) {
      if (past === undefined || past[1] <= 0) continue
      n++
      ySum += past[0]
      xSum += past[1]
    }
  }
  if (n < 3 || ySum <= 0) return ({ x }) => x
  const mean = ySum / xSum
  // Between-device variance by moments: what the rates vary more than counting alone would.
  let squares = 0
  let noise = 0
  for (const arm of arms) {
    for (const { past } of arm) {
      if (past === undefined || past[1] <= 0) continue
      squares += (past[0] / past[1] - mean) ** 2
      noise += mean / past[1]
    }
  }
  const between = Math.max(0, squares / (n - 1) - noise / n)
  const typical = xSum / n
  return ({ x, past }) => {
    if (past === undefined || past[1] <= 0) return x * mean
    const own = past[0] / past[1]
    const worth =
      kind === 'amount'
        ? past[1] / (past[1] + AMOUNT_SHRINK * typical)
        : between === 0
          ? 0
          : between / (between + mean / past[1])
    return x * (worth * own + (1 - worth) * mean)
  }
}

interface Arm {
  readonly summary: ArmSummary
  /** (Σy + ½)/Σ expected, or without the half */
  readonly relative: number
  /** relative residuals of the devices, mean zero by construction */
  readonly u: Float64Array
  readonly floor: number
}

function summarize(
  devices: readonly DeviceOutcome[],
  kind: RatioKind,
  expected: (device: DeviceOutcome) => number,
): Arm | undefined {
  const n = devices.length
  let ySum = 0
  let xSum = 0
  let eSum = 0
  for (const device of devices) {
    ySum += device.y
    xSum += device.x
    eSum += expected(device)
  }
  const half = kind === 'count' ? 0.5 : 0
  if (n < 2 || !(xSum > 0) || !(eSum > 0) || !(ySum + half > 0)) return undefined
  const raw = ySum / eSum
  const u = new Float64Array(n)
  for (let i = 0; i < n; i++) {
    const device = devices[i]!
    u[i] = (n * (device.y - expected(device) * raw)) / (ySum + half)
  }
  return {
    summary: { devices: n, events: ySum, exposure: xSum, rate: (ySum + half) / xSum },
    relative: (ySum + half) / eSum,
    u,
    floor: kind === 'count' ? 1 / (ySum + half) : AMOUNT_FLOOR,
  }
}

function variance({ u, floor }: Arm): number {
  const n = u.length
  let squares = 0
  for (let i = 0; i < n; i++) squares += u[i]! ** 2
  return Math.max(squares / (n * (n - 1)), floor)
}

/** Log ratio of two independent arms, each against what its devices' own past lets expect.
 *  @returns undefined when an arm has fewer than two devices, no exposure, or (amounts) nothing summed: no evidence yet
 */
export function logRatio(
  canary: readonly DeviceOutcome[],
  control: readonly DeviceOutcome[],
  kind: RatioKind = 'count',
): LogRatio | undefined {
  const expected = expectation([canary, control], kind)
  const c = summarize(canary, kind, expected)
  const o = summarize(control, kind, expected)
  if (c === undefined || o === undefined) return undefined
  const total = variance(c) + variance(o)
  if (!(total > 0)) return undefined
  return { d: Math.log(c.relative / o.relative), variance: total, canary: c.summary, control: o.summary }
}

/** Log ratio of the same devices at two times (`after[i]` and `before[i]` are one device): the difference of the
 *  paired residuals removes what the devices have in common.
 */
export function pairedLogRatio(
  after: readonly DeviceOutcome[],
  before: readonly DeviceOutcome[],
  kind: RatioKind = 'count',
): LogRatio | undefined {
  const exposure = ({ x }: DeviceOutcome): number => x
  const a = summarize(after, kind, exposure)
  const b = summarize(before, kind, exposure)
  if (a === undefined || b === undefined || a.u.length !== b.u.length) return undefined
  const n = a.u.length
  let squares = 0
  for (let i = 0; i < n; i++) squares += (a.u[i]! - b.u[i]!) ** 2
  const total = Math.max(squares / (n * (n - 1)), a.floor + b.floor)
  if (!(total > 0)) return undefined
  const d = Math.log(a.summary.rate / b.summary.rate)
  return { d, variance: total, canary: a.summary, control: b.summary }
}
