import { expect, it } from 'vitest'
import { SERVICE_CLOCK_MS_MIN } from '../../../contract/time-floor.ts'
import { BelievedClock } from '../../../gateway/believed-clock.ts'

const DAY = 86_400_000
const T0 = 1_790_000_000_000

function world(wallMs: number) {
  const now = { wallMs, monotonicMs: 0 }
  const said: string[] = []
  const logger = {
    info: (_: object, text: string) => void said.push(`info: ${text}`),
    warn: (_: object, text: string) => void said.push(`warn: ${text}`),
  }
  const clock = { wallMs: () => now.wallMs, monotonicMs: () => now.monotonicMs, after: () => () => undefined }
  const believed = new BelievedClock(clock, logger)
  return { now, said, believed }
}

it('a clock that was never set says nothing, and says so once, until it is set', () => {
  const { now, said, believed } = world(5_000)
  expect([believed.receiptMs(), believed.receiptMs(), believed.isBelieved]).toEqual([0, 0, false])
  expect(said).toEqual([expect.stringMatching(/^warn: the clock cannot be right.*set the clock/)])
  now.wallMs = T0
  expect([believed.receiptMs(), believed.isBelieved]).toEqual([T0, true])
  expect(said[1]).toMatch(/^info/)
  now.wallMs = SERVICE_CLOCK_MS_MIN - 1
  expect(believed.receiptMs()).toBe(0)
})

it.each([DAY, -DAY])(
  'a clock %i ms from what the cloud says is believed, and one a millisecond further is not',
  (off) => {
    const { now, believed } = world(T0)
    believed.cloudSaid(T0)
    now.wallMs = T0 + off
    expect(believed.receiptMs()).toBe(T0 + off)
    now.wallMs = T0 + off + Math.sign(off)
    expect(believed.receiptMs()).toBe(0)
    // Time goes on, and the cloud is not asked at each message.
    now.monotonicMs = 5 * DAY
    now.wallMs = T0 + 5 * DAY
    expect(believed.receiptMs()).toBe(T0 + 5 * DAY)
  },
)
