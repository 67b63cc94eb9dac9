import { describe, expect, it } from 'vitest'
import { contractError } from '../../../../contract/errors.ts'
import { err, ok } from '../../../../contract/result.ts'
import { Takeovers } from '../../../../gateway/broker/takeovers.ts'
import type { CloudClient } from '../../../../gateway/cloud-link/cloud-client.ts'
import { MessageCounters } from '../../../../gateway/message-counters.ts'
import { WaitedClock } from '../../../fixtures/timers.ts'

const MINUTE = 60_000
const START_MS = 1_700_000_000_000

function world() {
  const clock = new WaitedClock(START_MS)
  const counters = new MessageCounters()
  const notices: unknown[] = []
  const cloud = { answer: 200 as number | undefined }
  const client = {
    relay: async (path: string, body: Uint8Array) => {
      notices.push([path, JSON.parse(Buffer.from(body).toString())])
      const { answer } = cloud
      if (answer === undefined) return err({ ...contractError('unavailable', 'away'), status: undefined })
      return ok({ status: answer, type: '', body: Buffer.of() })
    },
  } as Partial<CloudClient> as CloudClient
  const takeovers = new Takeovers({ clock, cloud: client, counters })
  /** Connections of a device that take each other's place, at these minutes. */
  const at = async (minutes: readonly number[], device = 'd1') => {
    for (const minute of minutes) {
      clock.nowMs = minute * MINUTE
      takeovers.takenOver(device)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return { at, cloud, counters, notices }
}

describe('two devices with one identity', () => {
  it('are told of at the fifth time within ten minutes, with the time of the first', async () => {
    const { at, counters, notices } = world()
    await at([1, 2, 3, 4])
    expect(notices).toEqual([])
    await at([10.99])
    expect(notices).toEqual([['/v1/notices', { device: 'd1', takenOver: 5, sinceMs: START_MS + MINUTE }]])
    expect(counters.snapshot()).toEqual({ notice: { accepted: 1 } })
  })

  it('are not seen in five times over just ten minutes', async () => {
    const { at, notices } = world()
    await at([1, 2, 3, 4, 11])
    expect(notices).toEqual([])
    // Of the last ten minutes: 2, 3, 4, 11 and this one.
    await at([11.5])
    expect(notices).toMatchObject([['/v1/notices', { takenOver: 5, sinceMs: START_MS + 2 * MINUTE }]])
  })

  it('are told of once an hour while it goes on', async () => {
    const { at, notices } = world()
    await at([0, 1, 2, 3, 4, 5, 6])
    expect(notices).toHaveLength(1)
    await at([60, 61, 62, 63, 63.99])
    expect(notices).toHaveLength(1)
    await at([64])
    expect(notices).toHaveLength(2)
    expect(notices[1]).toMatchObject(['/v1/notices', { sinceMs: START_MS + 61 * MINUTE }])
  })

  it.each([undefined, 404, 503])('are told of again the next time when the cloud answered %s', async (answer) => {
    const { at, cloud, counters, notices } = world()
    cloud.answer = answer
    await at([0, 1, 2, 3, 4, 5])
    expect(notices).toHaveLength(2)
    cloud.answer = 200
    await at([6, 7])
    expect(notices).toHaveLength(3)
    expect(counters.snapshot()).toEqual({ notice: { failed: 2, accepted: 1 } })
  })

  it('are others than two devices that each lose their link', async () => {
    const { at, notices } = world()
    await at([0, 1, 2, 3], 'd1')
    await at([0, 1, 2, 3], 'd2')
    expect(notices).toEqual([])
  })
})

describe('two that push each other off for ever', () => {
  it('do so less and less often: the one that is there keeps its place, and the alert stays', async () => {
    const clocked = contest()
    const { takeovers, notices } = clocked
    // Each of the two comes back two seconds after it was pushed off.
    const takenAt: number[] = []
    for (let second = 0; second <= 2 * 3_600; second += 2) {
      clocked.clock.nowMs = second * 1_000
      if (takeovers.refuses('d1')) continue
      takeovers.takenOver('d1')
      takenAt.push(second)
    }
    const within = (from: number, to: number) => takenAt.filter((second) => second >= from && second < to).length
    // Without it 75 in the first 150 s.
    expect(within(0, 150)).toBe(11)
    expect(within(3_600, 7_200)).toBe(6)
    await new Promise((resolve) => setImmediate(resolve))
    expect(notices.length).toBeGreaterThanOrEqual(2)
  })

  it('begin anew when it was quiet', () => {
    const { clock, takeovers } = contest()
    for (let i = 0; i < 8; i++) takeovers.takenOver('d1')
    expect([takeovers.refuses('d1'), takeovers.refuses('d2')]).toEqual([true, false])
    clock.nowMs = 11 * MINUTE
    expect(takeovers.refuses('d1')).toBe(false)
    for (let i = 0; i < 7; i++) takeovers.takenOver('d1')
    expect(takeovers.refuses('d1')).toBe(false)
  })

  function contest() {
    const clock = new WaitedClock(START_MS)
    const notices: unknown[] = []
    const relay = async () => {
      notices.push(1)
      return ok({ status: 200, type: '', body: Buffer.of() })
    }
    const cloud = { relay } as Partial<CloudClient> as CloudClient
    return { clock, notices, takeovers: new Takeovers({ clock, cloud, counters: new MessageCounters() }) }
  }
})
