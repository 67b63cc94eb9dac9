import { expect, it } from 'vitest'
import { WatchdogTimer } from '../../../../device/core/watchdog-timer.ts'
import { VirtualClock } from '../../../../firmware-sim/clock-virtual.ts'

const started = () => {
  const clock = new VirtualClock(1_700_000_000_000)
  const watchdog = new WatchdogTimer(clock)
  const expired: string[] = []
  return {
    feed: (timeoutMs: number, name: string) => watchdog.feed(timeoutMs, () => expired.push(name)),
    stop: () => watchdog.stop(),
    pass: (ms: number) => clock.advanceTo(clock.wallMs() + ms),
    expired,
  }
}

it('expires once, when its time is over and not before', () => {
  const { feed, pass, expired } = started()
  feed(1_000, 'a')
  pass(999)
  expect(expired).toEqual([])
  pass(1)
  expect(expired).toEqual(['a'])
  pass(10_000)
  expect(expired).toEqual(['a'])
})

it('fed in time, it begins anew with the new time and the new callback alone', () => {
  const { feed, pass, expired } = started()
  feed(1_000, 'a')
  pass(999)
  feed(500, 'b')
  pass(499)
  expect(expired).toEqual([])
  pass(1)
  expect(expired).toEqual(['b'])
  pass(10_000)
  expect(expired).toEqual(['b'])
})

it('stopped, it expires no more, and can be started again', () => {
  const { feed, stop, pass, expired } = started()
  stop()
  feed(1_000, 'a')
  stop()
  stop()
  pass(10_000)
  expect(expired).toEqual([])
  feed(1_000, 'b')
  pass(1_000)
  expect(expired).toEqual(['b'])
})
