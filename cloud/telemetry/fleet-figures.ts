import { activeShare } from '../../contract/active-share.ts'
import type { FleetHour } from '../store/fleet-store.ts'

/** Rates over a group of hours; null where their denominator is zero. */
export interface FleetFigures {
  readonly uptimeMs: number
  readonly listeningMs: number
  readonly activeMs: number
  readonly wakes: number
  readonly confirmed: number
  readonly rejected: number
  /** wakes that the verifier could not judge: neither false nor verified */
  readonly unjudged: number
  readonly energyMj: number
  readonly radioBytes: number
  /** share of the listening time in which the devices were awake, at most 1 */
  readonly dutyCycle: number | null
  readonly wakesPerHour: number | null
  /** verifier-rejected wakes per listening hour */
  readonly falseWakesPerHour: number | null
  readonly verifiedWakesPerHour: number | null
  /** rejected over judged wakes */
  readonly falseWakeRate: number | null
  readonly energyJoulePerDeviceDay: number | null
}

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000
const over = (a: number, b: number): number | null => (b > 0 ? a / b : null)

/** Sums hours and derives the rates. */
export function fleetFigures(hours: readonly FleetHour[]): FleetFigures {
  const sum = (field: Exclude<keyof FleetHour, 'hour' | 'model'>) =>
    hours.reduce((total, hour) => total + hour[field], 0)
  const uptimeMs = sum('uptimeMs')
  const listeningMs = sum('listeningMs')
  const activeMs = sum('activeMs')
  const wakes = sum('wakes')
  const confirmed = sum('confirmed')
  const rejected = sum('rejected')
  const energyMj = sum('energyMj')
  const listeningHours = listeningMs / HOUR_MS
  return {
    ...{ uptimeMs, listeningMs, activeMs, wakes, confirmed, rejected, unjudged: sum('unjudged') },
    ...{ energyMj, radioBytes: sum('radioBytes') },
    dutyCycle: activeShare(activeMs, listeningMs),
    wakesPerHour: over(wakes, listeningHours),
    falseWakesPerHour: over(rejected, listeningHours),
    verifiedWakesPerHour: over(confirmed, listeningHours),
    falseWakeRate: over(rejected, confirmed + rejected),
    energyJoulePerDeviceDay: over(energyMj / 1000, uptimeMs / DAY_MS),
  }
}
