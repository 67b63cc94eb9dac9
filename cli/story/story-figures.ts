import { activeShare } from '../../contract/active-share.ts'

/** What a fleet heard in a stretch of time, as the cloud sums it. */
export interface Figures {
  readonly listeningMs: number
  readonly activeMs: number
  readonly wakes: number
  /** wakes that the gateway's verifier rejected */
  readonly rejected: number
}

/** One hour of `GET /v1/fleet/series`. */
export interface SeriesPoint extends Figures {
  readonly hourMs: number
}

const HOUR_MS = 3_600_000
const NAMES = ['listeningMs', 'activeMs', 'wakes', 'rejected'] as const

/** Sums the hours that lie wholly inside a stretch.
 *  @param startMs hour 0, Unix ms
 *  @param fromHour hours since then; a part of an hour belongs to no stretch
 */
export function figuresBetween(
  points: readonly SeriesPoint[],
  startMs: number,
  fromHour: number,
  toHour: number,
): Figures {
  const sums = { listeningMs: 0, activeMs: 0, wakes: 0, rejected: 0 }
  for (const point of points) {
    const hour = (point.hourMs - startMs) / HOUR_MS
    if (hour < Math.ceil(fromHour) || hour + 1 > Math.floor(toHour)) continue
    for (const name of NAMES) sums[name] += point[name]
  }
  return sums
}

/** Per listening hour; null when nothing was listened to. */
export const perHour = (figures: Figures | null, name: 'wakes' | 'rejected'): number | null =>
  figures === null || figures.listeningMs === 0 ? null : (figures[name] * HOUR_MS) / figures.listeningMs

/** Share of the listening time in which the device was awake; null when nothing was listened to. */
export const dutyCycle = (figures: Figures | null): number | null =>
  figures === null ? null : activeShare(figures.activeMs, figures.listeningMs)

/** The figures in one clause for people. */
export function figureWords(figures: Figures): string {
  const rate = (name: 'wakes' | 'rejected') => perHour(figures, name)?.toFixed(2) ?? '–'
  const duty = dutyCycle(figures)
  const share = duty === null ? '–' : `${(100 * duty).toFixed(1)} %`
  return `${rate('rejected')} false wakes and ${rate('wakes')} wakes an hour, duty cycle ${share}`
}
