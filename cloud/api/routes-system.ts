import { createRoute, z } from '@hono/zod-openapi'
import { streamSSE } from 'hono/streaming'
import type { CloudApp, CloudServices } from './environment.ts'
import { BACKLOG_MAX, type LiveEvent } from './event-hub.ts'
import { fail } from './problem.ts'
import * as schemas from './schemas.ts'

/** chosen: below the idle timeouts of common proxies (30 to 60 s), in real seconds since a socket is kept alive */
const HEARTBEAT_MS = 15_000

/** Health, metrics, keys, live events. */
export function systemRoutes(app: CloudApp, services: CloudServices): void {
  const { metrics, hub, tokens, repository } = services

  app.openAPIRegistry.registerPath({
    method: 'get',
    path: '/healthz',
    summary: 'Whether the process answers; whether it can do its work says /readyz',
    security: [],
    responses: schemas.answers(z.object({ status: z.literal('ok') }), 'It does'),
  })
  app.get('/healthz', (c) => c.json({ status: 'ok' }))

  app.openAPIRegistry.registerPath({
    method: 'get',
    path: '/readyz',
    summary: 'Whether the cloud can do its work, and why not',
    security: [],
    responses: {
      ...schemas.answers(schemas.readiness, 'It can'),
      503: { description: 'It cannot', content: { 'application/json': { schema: schemas.readiness } } },
    },
  })
  app.get('/readyz', async (c) => {
    const found = await services.readiness()
    return c.json(found, found.ready ? 200 : 503)
  })

  app.openAPIRegistry.registerPath({
    method: 'get',
    path: '/metrics',
    summary: 'Metrics of fleet and cloud for Prometheus',
    responses: {
      200: { description: 'Text exposition format', content: schemas.content('text/plain') },
      ...schemas.problems,
    },
  })
  app.get('/metrics', async () => {
    const headers = { 'content-type': metrics.registry.contentType }
    return new Response(await metrics.registry.metrics(), { headers })
  })

  const keys = createRoute({
    method: 'get',
    path: '/v1/keys',
    security: [],
    summary: 'Public keys: director and online key of the image repository, and the JWKS of tokens',
    responses: schemas.answers(schemas.keys, 'Keys'),
  })
  // Public: they are public keys, and a gateway needs them before it has anything else.
  app.openapi(keys, (c) =>
    c.json(
      {
        director: repository.directors.current.publicKey,
        online: repository.online.current.publicKey,
        jwks: tokens.jwks,
      },
      200,
    ),
  )

  app.openAPIRegistry.registerPath({
    method: 'get',
    path: '/v1/stream',
    summary: 'Live events; an event `reset` says that some were missed and the state is to be read anew',
    request: { headers: z.object({ 'last-event-id': z.string().optional() }) },
    responses: {
      200: { description: 'Server-sent events', content: schemas.content('text/event-stream') },
      ...schemas.problems,
    },
  })
  app.get('/v1/stream', (c) => {
    // Only who reads is a listener.
    if (c.req.method === 'HEAD')
      return c.body(null, 200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
    const asked = c.req.header('last-event-id')
    const lastId = asked !== undefined && /^\d{1,16}$/.test(asked) ? Number(asked) : undefined
    const queue: LiveEvent[] = []
    let wake: () => void = () => undefined
    let open = true
    const end = (): void => {
      open = false
      wake()
    }
    const unsubscribe = hub.subscribe((event) => {
      // A reader too slow for the backlog is cut off; it resumes by the last id it saw.
      if (event === undefined || queue.length >= BACKLOG_MAX) return end()
      queue.push(event)
      wake()
    })
    if (unsubscribe === undefined) return fail('unavailable', 'too many live streams are open', { 'retry-after': '30' })
    return streamSSE(c, async (stream) => {
      stream.onAbort(end)
      const send = ({ id, type, data }: LiveEvent) =>
        stream.writeSSE({ id: String(id), event: type, data: JSON.stringify(data) })
      try {
        const missed = lastId === undefined ? [] : hub.since(lastId)
        if (missed === undefined) {
          // What happened meanwhile is forgotten: read the state anew.
          await stream.writeSSE({ id: String(hub.lastId), event: 'reset', data: '{}' })
        } else for (const event of missed) await send(event)
        if (lastId === undefined) await stream.writeSSE({ id: String(hub.lastId), event: 'hello', data: '{}' })
        while (open) {
          const event = queue.shift()
          if (event !== undefined) {
            await send(event)
            continue
          }
          // Socket-level keep-alive runs on real time whatever the injected clock does.
          const beat = await new Promise<boolean>((resolve) => {
            const timer = setTimeout(() => resolve(true), HEARTBEAT_MS)
            wake = () => {
              clearTimeout(timer)
              resolve(false)
            }
          })
          wake = () => undefined
          if (beat && open) await stream.write(': heartbeat\n\n')
        }
      } finally {
        unsubscribe()
      }
    })
  })
}
