import { InvalidArgumentError } from 'commander'
import type { UpdateWindow } from '../../device/core/update/update-schedule.ts'

const WINDOW = /^(\d{1,2})-(\d{1,2})(?:([+-])(\d\d):(\d\d))?$/

/** Parser of hours of the day, `22-6` in UTC or `22-6+02:00` in a zone. */
export function updateWindowOption(text: string): UpdateWindow {
  const [, from, to, sign, hours, minutes] = WINDOW.exec(text) ?? []
  const window = {
    fromHour: Number(from),
    toHour: Number(to),
    utcOffsetMinutes: sign === undefined ? 0 : (sign === '-' ? -1 : 1) * (60 * Number(hours) + Number(minutes)),
  }
  if (!(window.fromHour <= 23 && window.toHour <= 24 && Math.abs(window.utcOffsetMinutes) <= 14 * 60)) {
    throw new InvalidArgumentError('expected two hours of the day, as 22-6 (UTC) or 22-6+02:00.')
  }
  return window
}
