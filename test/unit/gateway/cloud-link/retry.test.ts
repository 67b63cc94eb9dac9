import { describe, expect, it } from 'vitest'
import { Retry, type RetryLimits } from '../../../../gateway/cloud-link/retry.ts'
import { WaitedClock } from '../../../fixtures/timers.ts'

/** Pauses on a clock, with draws that are given. */
function world(draw: () => number, limits?: RetryLimits) {
  const clock = new WaitedClock()
  const random = { next: draw, fork: () => random }
  const retry = new Retry(clock, random, limits)
  const pause = async () => {
    const done = retry.pause()
    const delayMs = await clock.waits()
    clock.end()
    await done
    return delayMs
  }
  return { clock, retry, pause }
}

describe('pauses', () => {
  it('are a random part of a bound that doubles from half a second up to a minute', async () => {
    const { pause } = world(() => 0.5)
    const delays: number[] = []
    for (let i = 0; i < 10; i++) delays.push(await pause())
    expect(delays).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000])
  })

  it('are a tenth of the first bound at least, however the dice fall', async () => {
    const { pause } = world(() => 0)
    expect([await pause(), await pause()]).toEqual([50, 50])
    const { pause: other } = world(() => 0.01, { firstMs: 100, maxMs: 1_000 })
    const delays: number[] = []
    for (let i = 0; i < 6; i++) delays.push(await other())
    expect(delays).toEqual([10, 10, 10, 10, 10, 10])
  })

  it('begin anew after a success', async () => {
    const { retry, pause } = world(() => 0.5)
    for (let i = 0; i < 5; i++) await pause()
    retry.succeeded()
    expect(await pause()).toBe(250)
  })

  it('do not overflow, however often it has failed', async () => {
    const { pause } = world(() => 1)
    let last = 0
    for (let i = 0; i < 2_000; i++) last = await pause()
    expect(last).toBe(60_000)
  })
})

describe('the end', () => {
  it('ends a wait that is under way, and leaves no timer', async () => {
    const { clock, retry } = world(() => 0.5)
    const waiting = retry.wait(10_000)
    expect(await clock.waits()).toBe(10_000)
    await retry.close()
    await waiting
    expect([clock.waiting, clock.nowMs]).toEqual([0, 0])
  })

  it('makes every later wait none', async () => {
    const { clock, retry } = world(() => 0.5)
    await retry.close()
    await retry.wait(10_000)
    await retry.pause()
    expect(clock.waiting).toBe(0)
  })
})
