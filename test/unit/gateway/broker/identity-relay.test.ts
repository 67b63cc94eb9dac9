import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { contractError } from '../../../../contract/errors.ts'
import { err, ok } from '../../../../contract/result.ts'
import { IdentityRelay } from '../../../../gateway/broker/identity-relay.ts'
import type { CloudClient } from '../../../../gateway/cloud-link/cloud-client.ts'
import { MessageCounters } from '../../../../gateway/message-counters.ts'
import { notedLog, WaitedClock } from '../../../fixtures/timers.ts'

/** The relay before a cloud that answers when the test lets it. */
function world() {
  const clock = new WaitedClock()
  const counters = new MessageCounters()
  const cloud = { status: 200 as number | undefined, holds: undefined as Promise<void> | undefined }
  const asked: [path: string, body: string, bytesMax: number][] = []
  const client = {
    relay: async (path: string, body: Uint8Array, bytesMax: number) => {
      asked.push([path, Buffer.from(body).toString(), bytesMax])
      await cloud.holds
      if (cloud.status === undefined) return err({ ...contractError('unavailable', 'away'), status: undefined })
      return ok({ status: cloud.status, type: 'application/x', body: Buffer.from('said') })
    },
  } as Partial<CloudClient> as CloudClient
  const app = new IdentityRelay({ clock, cloud: client, counters }).app(notedLog())
  const post = async (path: string, body: Readable | string = 'ask', address: string | undefined = '10.0.0.1') => {
    const stream = typeof body === 'string' ? Readable.from([Buffer.from(body)]) : body
    const incoming = Object.assign(stream, { socket: { remoteAddress: address } })
    return app.request(path, { method: 'POST' }, { incoming, outgoing: {} })
  }
  const statusOf = async (...args: Parameters<typeof post>) => (await post(...args)).status
  return { app, asked, clock, cloud, counters, post, statusOf }
}
const PATH = '/v1/challenges'

describe('a request about identity', () => {
  it.each([PATH, '/v1/enrolments', '/v1/devices/d1/token', '/v1/devices/d1/key'])(
    'to %s is carried to the cloud as it is, and its answer back',
    async (path) => {
      const { asked, cloud, counters, post } = world()
      const response = await post(path)
      expect([response.status, response.headers.get('content-type'), await response.text()]).toEqual([
        200,
        'application/x',
        'said',
      ])
      expect(asked).toEqual([[path, 'ask', 4_096]])
      cloud.status = 403
      expect((await post(path)).status).toBe(403)
      expect(counters.snapshot()).toEqual({ identity: { relayed: 1, refused: 1 } })
    },
  )

  it.each(['/', '/v1/ingest', '/v1/devices/d1/rights', '/v1/devices/no%20id/token', '/v1/devices/d1/token/x'])(
    'is none to %s: nothing is carried',
    async (path) => {
      const { asked, statusOf } = world()
      expect(await statusOf(path)).toBe(426)
      expect(asked).toEqual([])
    },
  )

  it('is a POST', async () => {
    expect((await world().app.request(PATH)).status).toBe(405)
  })

  it('has 4 096 bytes at most', async () => {
    const { asked, statusOf } = world()
    expect(await statusOf(PATH, 'x'.repeat(4_096))).toBe(200)
    expect(await statusOf(PATH, 'x'.repeat(4_097))).toBe(413)
    expect(asked).toHaveLength(1)
  })

  it('whose sender goes away is forgotten', async () => {
    const { asked, statusOf } = world()
    const broken = new Readable({ read: () => undefined })
    broken.destroy(new Error('gone'))
    expect(await statusOf(PATH, broken)).toBe(408)
    expect(asked).toEqual([])
  })

  it('in the absence of the cloud is unavailable, and the connection ends', async () => {
    const { cloud, counters, post } = world()
    cloud.status = undefined
    const response = await post(PATH)
    expect([response.status, response.headers.get('connection')]).toEqual([503, 'close'])
    expect(counters.snapshot()).toEqual({ identity: { unavailable: 1 } })
  })
})

describe('what one address may ask', () => {
  it('is 200 at once and five a second, whoever else asks', async () => {
    const { clock, counters, statusOf } = world()
    for (let i = 0; i < 200; i++) expect(await statusOf(PATH)).toBe(200)
    expect(await statusOf(PATH)).toBe(429)
    expect(await statusOf(PATH, 'ask', '10.0.0.2')).toBe(200)
    clock.nowMs = 200
    expect([await statusOf(PATH), await statusOf(PATH)]).toEqual([200, 429])
    expect(counters.get('identity', 'rate-limited')).toBe(2)
  })

  it('is no less for what it was refused: others may be behind the same address', async () => {
    const { clock, statusOf } = world()
    for (let i = 0; i < 200; i++) await statusOf(PATH)
    for (let i = 0; i < 10; i++) expect(await statusOf(PATH)).toBe(429)
    clock.nowMs += 200
    expect(await statusOf(PATH)).toBe(200)
  })

  it('is not used up by what never ends', async () => {
    const { asked, statusOf } = world()
    const endless = Array.from({ length: 300 }, () => statusOf(PATH, new Readable({ read: () => undefined })))
    let honest = 0
    void statusOf(PATH).then((status) => {
      honest = status
    })
    for (let i = 0; i < 100; i++) await new Promise((resolve) => setImmediate(resolve))
    expect([honest, asked.length, endless.length]).toEqual([200, 1, 300])
  })
})

it('64 requests are under way at a time, 200 more of an address wait, and those of another address do not wait for them', async () => {
  const { asked, clock, cloud, statusOf } = world()
  let release = () => {}
  cloud.holds = new Promise((resolve) => {
    release = resolve
  })
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  const underWay = Array.from({ length: 64 }, (_, i) => statusOf(PATH, 'ask', `10.1.0.${i}`))
  await turn()
  const crowd: Promise<number>[] = []
  for (let i = 0; i < 200; i++) crowd.push(statusOf(PATH, 'crowd'))
  await turn()
  clock.nowMs += 1_000
  expect(await statusOf(PATH)).toBe(503)
  const one = statusOf(PATH, 'one', '10.0.0.2')
  await turn()
  expect(asked).toHaveLength(64)
  release()
  expect(new Set(await Promise.all([...underWay, ...crowd, one]))).toEqual(new Set([200]))
  const order = asked.map(([, body]) => body)
  expect(order).toHaveLength(265)
  // The first turn is the crowd's, the second the other address's.
  expect(order.indexOf('one')).toBe(65)
})
