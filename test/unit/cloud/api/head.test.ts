import { expect, it } from 'vitest'
import { createApp } from '../../../../cloud/api/app.ts'
import type { CloudServices } from '../../../../cloud/api/environment.ts'
import { ok } from '../../../../contract/result.ts'

let subscribed = 0
let waited = 0
const app = createApp({
  publicReads: true,
  tokens: { couldBe: () => true, isKnown: () => true, verifyService: async () => ok({ subject: 'a', role: 'admin' }) },
  machine: { monotonicMs: () => 0 },
  repository: {},
  clock: { wallMs: () => 0, monotonicMs: () => 0 },
  metrics: { requests: { inc: () => undefined } },
  logger: { error: console.error },
  store: { assignments: { newestCursor: () => 0, after: () => [] } },
  hub: { lastId: 0, subscribe: () => void subscribed++ },
  assignmentsChanged: { wait: async () => void waited++ },
} as unknown as CloudServices)
let closed = 0
// Before the first request: the router takes no route afterwards.
app.get('/console/endless', () => new Response(new ReadableStream({ cancel: () => void closed++ })))

it('HEAD of the live stream listens to nothing', async () => {
  const head = await app.request('/v1/stream', { method: 'HEAD' })
  expect([head.status, head.headers.get('content-type'), subscribed]).toEqual([200, 'text/event-stream', 0])
  expect((await app.request('/v1/stream')).status).toBe(503)
  expect(subscribed).toBe(1)
})

it('HEAD of the feed waits for nothing', async () => {
  const headers = { authorization: 'Bearer of-an-admin' }
  expect((await app.request('/v1/assignments?waitSeconds=25', { method: 'HEAD', headers })).status).toBe(200)
  expect(waited).toBe(0)
})

it('HEAD closes what a handler has opened for its body', async () => {
  const head = await app.request('/console/endless', { method: 'HEAD' })
  expect([head.status, await head.text(), closed]).toEqual([200, '', 1])
})
