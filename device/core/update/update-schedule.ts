import { type ContractError, contractError } from '../../../contract/errors.ts'
import { LADDER_LEVELS } from '../../../contract/ladder-levels.ts'
import type { ZonedWindow } from '../../../contract/update-window.ts'

/** Hours of the day in which a device may download, where the cloud does not say; `from` after `to` goes over midnight. */
export interface UpdateWindow {
  /** 0 to 23 */
  readonly fromHour: number
  /** 0 to 24; the window ends as this hour begins */
  readonly toHour: number
  /** of the hours' zone; 0 for UTC */
  readonly utcOffsetMinutes: number
}

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const DAY_MINUTES = 1_440
/** Chosen: what is below belongs to listening and to the reports that call for somebody. */
const CHARGE_SHARE_MIN = 0.1
/** Chosen: the same for a device that saves what it can. Not all of its charge: a model that takes too much is what an update may mend, and a
 *  device that lives at this level for good would never get one. */
const SPARSE_SHARE_MIN = 0.25
const SPARSE = LADDER_LEVELS.indexOf('sparse')
/** Chosen: and for one that cannot afford its model at all. It hears nothing until it gets another, and what is spent on that it does not spend on
 *  listening; with less charge than this it lives on to call for somebody. */
const HIBERNATE_SHARE_MIN = 0.5
/** Chosen: a cell in the field does not recover within minutes. */
const CHARGE_WAIT_MS = HOUR_MS

/** What a download has to wait for. */
export interface Delay {
  readonly error: ContractError
  readonly waitMs: number
}

/** Whether a download may go on now.
 *  @param wallMs time as far as it is believed, Unix ms; 0: not known, and then no hour is waited for
 *  @param charge share of the battery that is left; null on mains
 *  @param level index into LADDER_LEVELS
 *  @returns `outside-window` | `low-battery` with the time after which to look again; undefined: now
 */
export function downloadDelay(
  wallMs: number,
  window: UpdateWindow | ZonedWindow | null,
  charge: number | null,
  level: number,
): Delay | undefined {
  const least = level < SPARSE ? CHARGE_SHARE_MIN : level === SPARSE ? SPARSE_SHARE_MIN : HIBERNATE_SHARE_MIN
  if (charge !== null && charge < least) {
    const detail = `${Math.round(charge * 100)} % of the battery left at level ${LADDER_LEVELS[level]}`
    return { error: contractError('low-battery', detail), waitMs: CHARGE_WAIT_MS }
  }
  if (window === null || wallMs === 0) return undefined
  const { fromMinute, toMinute, offsets } = 'offsets' in window ? window : zoned(window)
  const next = offsets.find(({ fromMs }, i) => i > 0 && fromMs > wallMs)
  const offset = offsets.findLast(({ fromMs }) => fromMs <= wallMs) ?? offsets[0]
  const dayMs = (wallMs + (offset?.minutes ?? 0) * MINUTE_MS) % DAY_MS
  const sinceOpening = (dayMs - fromMinute * MINUTE_MS + DAY_MS) % DAY_MS
  const openMs = ((toMinute - fromMinute + DAY_MINUTES) % DAY_MINUTES || DAY_MINUTES) * MINUTE_MS
  if (sinceOpening < openMs) return undefined
  const error = contractError('outside-window', `downloads wait for ${clockTime(fromMinute)} to ${clockTime(toMinute)}`)
  // When the zone's clock is changed before that, it is looked at again then.
  const waitMs = Math.min(DAY_MS - sinceOpening, (next?.fromMs ?? Number.POSITIVE_INFINITY) - wallMs)
  return { error, waitMs }
}

const zoned = ({ fromHour, toHour, utcOffsetMinutes }: UpdateWindow): ZonedWindow => ({
  fromMinute: 60 * fromHour,
  toMinute: 60 * toHour,
  offsets: [{ fromMs: 0, minutes: utcOffsetMinutes }],
})

const clockTime = (minute: number): string => `${Math.floor(minute / 60)}:${String(minute % 60).padStart(2, '0')}`
