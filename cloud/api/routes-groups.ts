import { createRoute, z } from '@hono/zod-openapi'
import { parseDeviceQuery } from '../../contract/device-query.ts'
import type { Group } from '../store/group-store.ts'
import { changes } from './changes.ts'
import type { CloudApp, CloudServices } from './environment.ts'
import { groupTag, requireMatch } from './etag.ts'
import { fail, unwrap } from './problem.ts'
import * as schemas from './schemas.ts'

const groupView = (group: Group) => ({ ...group, etag: groupTag(group) })

/** Queries that have a name. */
export function groupRoutes(app: CloudApp, services: CloudServices): void {
  const { store, clock } = services
  const params = z.object({ name: schemas.id })

  const list = createRoute({
    method: 'get',
    path: '/v1/groups',
    summary: 'Saved groups of devices',
    responses: schemas.answers(z.object({ groups: z.array(schemas.group) }), 'All of them, by name'),
  })
  app.openapi(list, (c) => c.json({ groups: store.groups.list().map(groupView) }, 200))

  const set = createRoute({
    method: 'put',
    path: '/v1/groups/{name}',
    summary: 'Give a query a name, or a named one another query',
    middleware: changes(services, 4_096),
    request: { params, ...schemas.conditionalChange(schemas.groupRequest) },
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
      const before = store.groups.get(name)
      requireMatch(c, before && groupTag(before))
      store.groups.set(group)
      const detail = { query, before: before?.query ?? null, reason }
      store.audit.append({ atMs: group.changedMs, actor: by, action: 'group.set', subject: name, detail })
    })
    return c.json(groupView(group), 200)
  })

  const remove = createRoute({
    method: 'delete',
    path: '/v1/groups/{name}',
    summary: 'Forget a group; its devices stay as they are',
    middleware: changes(services, 4_096),
    request: { params, ...schemas.conditional },
    responses: schemas.answers(schemas.group, 'The group that was'),
  })
  app.openapi(remove, (c) => {
    const { name } = c.req.valid('param')
    const group = store.groups.get(name) ?? fail('not-found', `no group "${name}"`)
    requireMatch(c, groupTag(group))
    const actor = c.get('principal').subject
    store.atomically(() => {
      store.groups.remove(name)
      const detail = { query: group.query }
      store.audit.append({ atMs: clock.wallMs(), actor, action: 'group.removed', subject: name, detail })
    })
    return c.json(groupView(group), 200)
  })
}
