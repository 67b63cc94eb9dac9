import { describe, expect, it } from 'vitest'
import { offsetsOf, parseWindow, ZoneWindows } from '../../../../cloud/trust/zone-window.ts'
import { updateWindowSchema, type ZonedWindow } from '../../../../contract/update-window.ts'
import { downloadDelay } from '../../../../device/core/update/update-schedule.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const utc = (text: string): number => Date.parse(`${text}Z`)
const windowAt = (text: string, now: number): ZonedWindow => {
  const window = new ZoneWindows().at(text, now)
  if (window === undefined) throw new Error(text)
  return window
}
/** Minutes to wait at a moment; 0: now. */
const wait = (window: ZonedWindow, at: string): number =>
  (downloadDelay(utc(at), window, null, 0)?.waitMs ?? 0) / MINUTE
/** Minutes of a UTC day in which it is open. */
const openMinutes = (window: ZonedWindow, day: string): number => {
  let open = 0
  for (let minute = 0; minute < 1_440; minute++) {
    if (downloadDelay(utc(`${day}T00:00`) + minute * MINUTE, window, null, 0) === undefined) open++
  }
  return open
}

describe('offsets of a zone', () => {
  it('are those of the IANA database, with the minute of each change', () => {
    const from = utc('2026-01-01T00:00')
    expect(offsetsOf('Europe/Berlin', from).slice(0, 3)).toEqual([
      { fromMs: from, minutes: 60 },
      { fromMs: utc('2026-03-29T01:00'), minutes: 120 },
      { fromMs: utc('2026-10-25T01:00'), minutes: 60 },
    ])
    expect(offsetsOf('America/New_York', from).slice(0, 3)).toEqual([
      { fromMs: from, minutes: -300 },
      { fromMs: utc('2026-03-08T07:00'), minutes: -240 },
      { fromMs: utc('2026-11-01T06:00'), minutes: -300 },
    ])
    expect(offsetsOf('Asia/Kolkata', from)).toEqual([{ fromMs: from, minutes: 330 }])
    expect(offsetsOf('UTC', from)).toEqual([{ fromMs: from, minutes: 0 }])
    // Half an hour of daylight saving, and a zone that is ahead of all others.
    expect(
      offsetsOf('Australia/Lord_Howe', from)
        .map(({ minutes }) => minutes)
        .slice(0, 2),
    ).toEqual([660, 630])
    expect(offsetsOf('Pacific/Kiritimati', from)[0]!.minutes).toBe(840)
  })

  it('of every zone fit the contract', () => {
    for (const zone of [
      'Africa/Casablanca',
      'America/Sao_Paulo',
      'Asia/Kathmandu',
      'Antarctica/Troll',
      'Europe/Dublin',
    ]) {
      expect(
        updateWindowSchema.safeParse(windowAt(`${zone} 02:00-05:00`, utc('2026-02-01T00:00'))).error,
      ).toBeUndefined()
    }
  })
})

describe('a window on a device', () => {
  const berlin = windowAt('Europe/Berlin 02:00-05:00', utc('2026-03-01T00:00'))
  const newYork = windowAt('America/New_York 22:00-01:30', utc('2026-03-01T00:00'))
  const kolkata = windowAt('Asia/Kolkata 00:30-06:00', utc('2026-03-01T00:00'))

  it('is right on both sides of both changes in Berlin', () => {
    expect([wait(berlin, '2026-03-28T00:59'), wait(berlin, '2026-03-28T01:00')]).toEqual([1, 0])
    expect([wait(berlin, '2026-03-28T03:59'), wait(berlin, '2026-03-28T04:00') > 0]).toEqual([0, true])
    // The night of the change: 2 o'clock does not come, 3 o'clock is at 1:00 UTC.
    expect([
      wait(berlin, '2026-03-29T00:59'),
      wait(berlin, '2026-03-29T01:00'),
      wait(berlin, '2026-03-29T02:59'),
    ]).toEqual([1, 0, 0])
    expect(wait(berlin, '2026-03-29T03:00')).toBe(21 * 60)
    expect([wait(berlin, '2026-07-01T00:00'), wait(berlin, '2026-06-30T23:59')]).toEqual([0, 1])
    // In autumn 2 o'clock comes twice.
    expect(openMinutes(berlin, '2026-10-24')).toBe(180)
    expect(openMinutes(berlin, '2026-10-25')).toBe(240)
    expect([wait(berlin, '2026-10-26T00:59'), wait(berlin, '2026-10-26T01:00')]).toEqual([1, 0])
    expect(openMinutes(berlin, '2026-03-29')).toBe(120)
  })

  it('over midnight is right in New York', () => {
    // 22:00 is 3:00 UTC in winter and 2:00 in summer.
    expect([
      wait(newYork, '2026-03-08T02:59'),
      wait(newYork, '2026-03-08T03:00'),
      wait(newYork, '2026-03-08T06:29'),
    ]).toEqual([1, 0, 0])
    expect(wait(newYork, '2026-03-08T06:30')).toBe(30)
    expect([wait(newYork, '2026-03-09T01:59'), wait(newYork, '2026-03-09T02:00')]).toEqual([1, 0])
    expect([
      wait(newYork, '2026-11-01T01:59'),
      wait(newYork, '2026-11-01T05:29'),
      wait(newYork, '2026-11-02T02:59'),
    ]).toEqual([1, 0, 1])
    expect(wait(newYork, '2026-11-02T03:00')).toBe(0)
  })

  it('of a zone without daylight saving is the same all year', () => {
    for (const day of ['2026-03-29', '2026-07-01', '2026-12-24']) expect(openMinutes(kolkata, day)).toBe(330)
    expect([wait(kolkata, '2026-07-01T18:59'), wait(kolkata, '2026-07-01T19:00')]).toEqual([1, 0])
  })

  it('holds all day when it begins as it ends, and to midnight', () => {
    const now = utc('2026-03-01T00:00')
    expect(openMinutes(windowAt('UTC 08:00-08:00', now), '2026-03-02')).toBe(1_440)
    expect(openMinutes(windowAt('UTC 20:00-24:00', now), '2026-03-02')).toBe(240)
  })

  it('is worked out again the next day', () => {
    const windows = new ZoneWindows()
    const [first, second] = [windows.at('UTC 01:00-02:00', 10 * DAY), windows.at('UTC 01:00-02:00', 11 * DAY + 5)]
    expect([first!.offsets[0]!.fromMs, second!.offsets[0]!.fromMs]).toEqual([10 * DAY, 11 * DAY])
  })
})

describe('what is no window', () => {
  it.each([
    ...[
      '',
      'Europe/Berlin',
      '02:00-05:00',
      'Europe/Berlin 2-5',
      'Europe/Berlin 02:00-25:00',
      'Europe/Berlin 24:00-05:00',
    ],
    ...['Mars/Olympus 02:00-05:00', '+02:00 02:00-05:00', 'Europe/Berlin 02:60-05:00', ' Europe/Berlin 02:00-05:00'],
  ])('%j is refused with what is expected', (text) => {
    const parsed = parseWindow(text)
    if (parsed.ok) throw new Error('taken')
    expect(parsed.error.code).toBe('invalid-request')
    expect(parsed.error.detail).toMatch(/expected .*Europe\/Berlin/)
  })
})
