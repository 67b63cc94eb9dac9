import { createRoute, z } from '@hono/zod-openapi'
import { DEFAULT_GATE_POLICY } from '../rollout/gate-defaults.ts'
import { gatePolicySchema } from '../store/gate-policy.ts'
import { requireRole } from './auth.ts'
import { bodyLimitOf } from './body-limit.ts'
import type { CloudApp, CloudServices } from './environment.ts'
import { fail, unwrap } from './problem.ts'
import * as schemas from './schemas.ts'
import { rolloutView } from './views.ts'

/** chosen: canary, half, all */
const DEFAULT_PERCENTS = [20, 50, 100]

function policyOf(changes: Record<string, unknown> | undefined) {
  const parsed = gatePolicySchema.safeParse({ ...DEFAULT_GATE_POLICY, ...changes })
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  return fail('invalid-request', `gate.${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`)
}

/** Rollouts: start, watch, pause, resume, roll back. */
export function rolloutRoutes(app: CloudApp, services: CloudServices): void {
  const { store, engine, hub } = services

  const start = createRoute({
    method: 'post',
    path: '/v1/rollouts',
    summary: 'Start a rollout of a staged release',
    middleware: [requireRole(services), bodyLimitOf(64 * 1024)],
    request: schemas.jsonBody(schemas.rolloutRequest),
    responses: schemas.answers(schemas.rollout, 'The rollout'),
  })
  app.openapi(start, (c) => {
    const { name, version, percents = DEFAULT_PERCENTS, gate, irreversible = false } = c.req.valid('json')
    if (percents.at(-1) !== 100 || percents.some((percent, i) => percent <= (percents[i - 1] ?? 0))) {
      return fail('invalid-request', '"percents" must rise and end at 100')
    }
    const request = { name, version, percents, policy: policyOf(gate), irreversible }
    const rollout = unwrap(engine.start(request, c.get('principal').subject))
    const view = rolloutView(store, rollout)
    hub.publish('rollout', view)
    services.nudge()
    return c.json(view, 200)
  })

  const list = createRoute({
    method: 'get',
    path: '/v1/rollouts',
    summary: 'Rollouts, newest first',
    middleware: requireRole(services, 'viewer', 'gateway'),
    responses: schemas.answers(z.object({ rollouts: z.array(schemas.rollout) }), 'At most 50 rollouts'),
  })
  app.openapi(list, (c) =>
    c.json({ rollouts: store.rollouts.list(50).map((rollout) => rolloutView(store, rollout)) }, 200),
  )

  const params = z.object({ id: schemas.name })
  const one = createRoute({
    method: 'get',
    path: '/v1/rollouts/{id}',
    summary: 'One rollout with the numbers of its gate',
    middleware: requireRole(services, 'viewer', 'gateway'),
    request: { params },
    responses: schemas.answers(schemas.rollout, 'The rollout'),
  })
  app.openapi(one, (c) => {
    const { id } = c.req.valid('param')
    return c.json(rolloutView(store, store.rollouts.get(id) ?? fail('not-found', `no rollout "${id}"`)), 200)
  })

  for (const action of ['pause', 'resume', 'rollback'] as const) {
    const route = createRoute({
      method: 'post',
      path: `/v1/rollouts/{id}/${action}`,
      summary: `${action.charAt(0).toUpperCase()}${action.slice(1)} a rollout`,
      middleware: [requireRole(services), bodyLimitOf(4_096)],
      request: { params, ...schemas.jsonBody(schemas.reasonRequest) },
      responses: schemas.answers(schemas.rollout, 'The rollout after it'),
    })
    app.openapi(route, (c) => {
      const { id } = c.req.valid('param')
      const rollout = unwrap(engine[action](id, c.get('principal').subject, c.req.valid('json').reason))
      const view = rolloutView(store, rollout)
      hub.publish('rollout', view)
      services.nudge()
      return c.json(view, 200)
    })
  }
}
