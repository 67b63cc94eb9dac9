import { createRoute, z } from '@hono/zod-openapi'
import { parseDeviceQuery } from '../../contract/device-query.ts'
import { requireRole } from './auth.ts'
import { bodyLimitOf } from './body-limit.ts'
import type { CloudApp, CloudServices } from './environment.ts'
import { fail, unwrap } from './problem.ts'
import * as schemas from './schemas.ts'

/** Queries that have a name. */
export function groupRoutes(app: CloudApp, services: CloudServices): void {
  const { store, clock } = services
  const params = z.object({ name: schemas.id })

  const list = createRoute({
    method: 'get',
    path: '/v1/groups',
    summary: 'Saved groups of devices',
    middleware: requireRole(services, 'viewer'),
    responses: schemas.answers(z.object({ groups: z.array(schemas.group) }), 'All of them, by name'),
  })
  app.openapi(list, (c) => c.json({ groups: [...store.groups.list()] }, 200))

  const set = createRoute({
    method: 'put',
    path: '/v1/groups/{name}',
    summary: 'Give a query a name, or a named one another query',
    middleware: [requireRole(services), bodyLimitOf(4_096)],
    request: { params, ...schemas.jsonBody(schemas.groupRequest) },
    responses: schemas.answers(schemas.group, 'The group'),
  })
  app.openapi(set, (c) => {
    const { name } = c.req.valid('param')
    const { query, reason } = c.req.valid('json')
    const terms = unwrap(parseDeviceQuery(query))
    if (terms.length === 0) fail('invalid-request', 'a group without conditions is the whole fleet: say which devices')
    if (terms.some(({ field }) => field === 'group')) fail('invalid-request', 'a group is not made of groups')
    const by = c.get('principal').subject
    const group = { name, query, changedMs: clock.wallMs(), by }
    store.atomically(() => {
      const before = store.groups.get(name)?.query ?? null
      store.groups.set(group)
      const detail = { query, before, reason }
      store.audit.append({ atMs: group.changedMs, actor: by, action: 'group.set', subject: name, detail })
    })
    return c.json(group, 200)
  })

  const remove = createRoute({
    method: 'delete',
    path: '/v1/groups/{name}',
    summary: 'Forget a group; its devices stay as they are',
    middleware: requireRole(services),
    request: { params },
    responses: schemas.answers(schemas.group, 'The group that was'),
  })
  app.openapi(remove, (c) => {
    const { name } = c.req.valid('param')
    const group = store.groups.get(name) ?? fail('not-found', `no group "${name}"`)
    const actor = c.get('principal').subject
    store.atomically(() => {
      store.groups.remove(name)
      const detail = { query: group.query }
      store.audit.append({ atMs: clock.wallMs(), actor, action: 'group.removed', subject: name, detail })
    })
    return c.json(group, 200)
  })
}
