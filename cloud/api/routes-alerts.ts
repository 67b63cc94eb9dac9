import { createRoute, z } from '@hono/zod-openapi'
import { LIMITS } from '../../contract/limits.ts'
import { requireRole } from './auth.ts'
import { bodyLimitOf } from './body-limit.ts'
import type { CloudApp, CloudServices } from './environment.ts'
import { fail, integerQuery } from './problem.ts'
import * as schemas from './schemas.ts'
import { alertView } from './views.ts'

/** What the fleet does that somebody should look at, and who has taken it on. */
export function alertRoutes(app: CloudApp, services: CloudServices): void {
  const { store, clock, hub } = services

  const list = createRoute({
    method: 'get',
    path: '/v1/alerts',
    summary: 'Alerts, newest first',
    middleware: requireRole(services, 'viewer'),
    request: { query: schemas.page.extend({ family: schemas.ofFamily, state: z.literal('open').optional() }) },
    responses: schemas.answers(
      z.object({ alerts: z.array(schemas.alert), next: z.number().nullable() }),
      'At most `limit` alerts with an id below `before`, all or those that are open; `next` is the `before` of the page that follows',
    ),
  })
  app.openapi(list, (c) => {
    const { family, state } = c.req.valid('query')
    const limit = integerQuery(c, 'limit', 200, 1, 1_000)
    const before = integerQuery(c, 'before', LIMITS.counter, 1, LIMITS.counter)
    const found = store.alerts.list(limit, before, { family, isOpen: state === 'open' })
    return c.json({ alerts: found.map((alert) => alertView(store, alert)), next: schemas.nextOf(found, limit) }, 200)
  })

  const acknowledge = createRoute({
    method: 'post',
    path: '/v1/alerts/{id}/acknowledge',
    summary: 'Say that one has taken an open alert on; it stays open until what it tells of is over',
    middleware: [requireRole(services), bodyLimitOf(4_096)],
    request: {
      params: z.object({ id: z.string().regex(/^[1-9]\d{0,14}$/, 'the id of an alert is a whole number') }),
      ...schemas.jsonBody(schemas.reasonRequest),
    },
    responses: schemas.answers(schemas.alert, 'The alert; who had acknowledged it before stays'),
  })
  app.openapi(acknowledge, (c) => {
    const id = Number(c.req.valid('param').id)
    const { reason } = c.req.valid('json')
    const now = clock.wallMs()
    const by = c.get('principal').subject
    const alert = store.atomically(() => {
      const known = store.alerts.byId(id) ?? fail('not-found', `no alert ${id}`)
      if (known.acknowledged !== null) return known
      if (known.state !== 'open') fail('conflict', `alert ${id} is over: it was resolved by itself`)
      store.alerts.acknowledge(id, { ms: now, by, reason })
      const detail = { code: known.code, metric: known.metric, reason }
      store.audit.append({ atMs: now, actor: by, action: 'alert.acknowledged', subject: String(id), detail })
      return { ...known, acknowledged: { ms: now, by, reason } }
    })
    const view = alertView(store, alert)
    hub.publish('alert', { change: 'acknowledged', ...view })
    return c.json(view, 200)
  })
}
