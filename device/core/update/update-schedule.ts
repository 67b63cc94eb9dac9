import { type ContractError, contractError } from '../../../contract/errors.ts'
import { LADDER_LEVELS } from '../../../contract/messages.ts'

/** Hours of the day in which a device may download; `from` after `to` goes over midnight. */
export interface UpdateWindow {
  /** 0 to 23 */
  readonly fromHour: number
  /** 0 to 24; the window ends as this hour begins */
  readonly toHour: number
  /** of the hours' zone; 0 for UTC */
  readonly utcOffsetMinutes: number
}

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** Chosen: what is below belongs to listening and to the reports that call for somebody. */
const CHARGE_SHARE_MIN = 0.1
/** Chosen: from this level on the governor saves what it can. */
const SPARSE = LADDER_LEVELS.indexOf('sparse')
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
  window: UpdateWindow | null,
  charge: number | null,
  level: number,
): Delay | undefined {
  if (charge !== null && (level >= SPARSE || charge < CHARGE_SHARE_MIN)) {
    const detail = `${Math.round(charge * 100)} % of the battery left at level ${LADDER_LEVELS[level]}`
    return { error: contractError('low-battery', detail), waitMs: CHARGE_WAIT_MS }
  }
  if (window === null || wallMs === 0) return undefined
  const { fromHour, toHour, utcOffsetMinutes } = window
  const dayMs = (wallMs + utcOffsetMinutes * 60_000) % DAY_MS
  const sinceOpening = (dayMs - fromHour * HOUR_MS + DAY_MS) % DAY_MS
  const openMs = ((toHour - fromHour + 24) % 24 || 24) * HOUR_MS
  if (sinceOpening < openMs) return undefined
  const error = contractError('outside-window', `downloads wait for ${fromHour} to ${toHour} o'clock`)
  return { error, waitMs: DAY_MS - sinceOpening }
}
