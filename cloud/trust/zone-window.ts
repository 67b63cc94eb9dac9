import { type ContractError, contractError } from '../../contract/errors.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { ZonedWindow } from '../../contract/update-window.ts'

const MINUTE_MS = 60_000
const DAY_MS = 1_440 * MINUTE_MS
/** Chosen: an assignment is valid for a month and signed anew before it ends; a device that sleeps through a year still has the right hours. */
const AHEAD_DAYS = 400
/** Chosen: the contract takes eight; a zone that changes its clock more often within a year is told of the first. */
const OFFSETS_MAX = 8

/** "Europe/Berlin 02:00-05:00" */
const WINDOW = /^(\S{1,40}) ([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|(24):00)$/

interface ParsedWindow {
  readonly zone: string
  readonly fromMinute: number
  readonly toMinute: number
}

/** Reads hours of the day in a zone of the IANA database, as this machine has it.
 *  @returns `invalid-request` */
export function parseWindow(text: string): Result<ParsedWindow, ContractError> {
  const [, zone = '', fromHour, from, toHour, to, midnight] = WINDOW.exec(text) ?? []
  if (zone === '') {
    const detail = `"${text.slice(0, 60)}" is no window: expected a zone and two times, as "Europe/Berlin 02:00-05:00"`
    return err(contractError('invalid-request', detail))
  }
  if (!isZone(zone)) {
    return err(
      contractError('invalid-request', `no zone "${zone}": expected one as Europe/Berlin, America/New_York or UTC`),
    )
  }
  const minutes = (hour: string | undefined, minute: string | undefined): number => 60 * Number(hour) + Number(minute)
  const toMinute = midnight === undefined ? minutes(toHour, to) : 1_440
  return ok({ zone, fromMinute: minutes(fromHour, from), toMinute })
}

/** A name, and no offset as "+02:00", which is wrong half the year. */
function isZone(zone: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]*$/.test(zone)) return false
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone })
    return true
  } catch {
    return false
  }
}

/** Windows of a fleet for the assignments that are being signed: a zone is worked out once a day. */
export class ZoneWindows {
  readonly #offsets = new Map<string, { readonly day: number; readonly offsets: ZonedWindow['offsets'] }>()

  /** @param text as parseWindow takes it
   *  @returns undefined when this machine does not know the zone any more; then any hour is right */
  at(text: string, nowMs: number): ZonedWindow | undefined {
    const parsed = parseWindow(text)
    if (!parsed.ok) return undefined
    const { zone, fromMinute, toMinute } = parsed.value
    const day = Math.floor(nowMs / DAY_MS)
    let known = this.#offsets.get(zone)
    if (known?.day !== day) {
      known = { day, offsets: offsetsOf(zone, day * DAY_MS) }
      this.#offsets.set(zone, known)
    }
    return { fromMinute, toMinute, offsets: known.offsets }
  }
}

/** How far the zone's clock is from UTC, from a time on for AHEAD_DAYS.
 *  @param fromMs a midnight, Unix ms */
export function offsetsOf(zone: string, fromMs: number): ZonedWindow['offsets'] {
  const format = new Intl.DateTimeFormat('en-US', {
    ...{ timeZone: zone, hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric' },
    ...{ hour: 'numeric', minute: 'numeric' },
  } as const)
  const minutesAt = (ms: number): number => {
    const parts = Object.fromEntries(format.formatToParts(ms).map(({ type, value }) => [type, Number(value)]))
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0 } = parts
    return (Date.UTC(year, month - 1, day, hour, minute) - ms) / MINUTE_MS
  }
  const offsets = [{ fromMs, minutes: minutesAt(fromMs) }]
  let before = offsets[0]?.minutes
  for (let day = 1; day <= AHEAD_DAYS && offsets.length < OFFSETS_MAX; day++) {
    const after = minutesAt(fromMs + day * DAY_MS)
    if (after === before) continue
    // Clocks are changed at whole minutes.
    let [low, high] = [(day - 1) * 1_440, day * 1_440]
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if (minutesAt(fromMs + middle * MINUTE_MS) === before) low = middle
      else high = middle
    }
    offsets.push({ fromMs: fromMs + high * MINUTE_MS, minutes: after })
    before = after
  }
  return offsets
}
