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
