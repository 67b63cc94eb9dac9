import { createRoute, z } from '@hono/zod-openapi'
import { POLICY_TEMPLATES_MAX, type PolicyTemplate } from '../store/policy-store.ts'
import { changes } from './changes.ts'
import type { CloudApp, CloudServices } from './environment.ts'
import { policyOf, templateOf } from './gate-request.ts'
import { fail } from './problem.ts'
import * as schemas from './schemas.ts'

const headOf = ({ policy: _, ...head }: PolicyTemplate) => head

/** Gate policies by name and version: what a rollout is started with by name. */
export function gatePolicyRoutes(app: CloudApp, services: CloudServices): void {
  const { store, clock } = services

  const add = createRoute({
    method: 'post',
    path: '/v1/gate-policies',
    summary: 'Keep a gate policy as the next version of its name',
    middleware: changes(services, 64 * 1024),
    request: schemas.change(schemas.gatePolicyRequest),
    responses: schemas.answers(
      schemas.gatePolicy.extend({ created: z.boolean() }),
      'The version; the newest as it was where it is the same policy',
    ),
  })
  app.openapi(add, (c) => {
    const { name, gate, reason } = c.req.valid('json')
    const by = c.get('principal').subject
    const nowMs = clock.wallMs()
    const policy = policyOf(gate)
    const added = store.atomically(() => {
      const kept = store.policies.add(name, policy, { nowMs, by, reason })
      if (kept?.created === true) {
        const { version } = kept.template
        const detail = { version, policy, reason }
        store.audit.append({ atMs: nowMs, actor: by, action: 'gate-policy.added', subject: name, detail })
      }
      return kept
    })
    if (added === undefined) return fail('conflict', `there are ${POLICY_TEMPLATES_MAX} versions of gate policies`)
    return c.json({ ...added.template, created: added.created }, 200)
  })

  const list = createRoute({
    method: 'get',
    path: '/v1/gate-policies',
    summary: 'Gate policies by name, the newest version first',
    responses: schemas.answers(z.object({ policies: z.array(schemas.gatePolicyHead) }), 'All versions'),
  })
  app.openapi(list, (c) => c.json({ policies: store.policies.list().map(headOf) }, 200))

  const one = createRoute({
    method: 'get',
    path: '/v1/gate-policies/{reference}',
    summary: 'One gate policy, NAME for the newest version or NAME@VERSION',
    request: { params: z.object({ reference: schemas.policyReference }) },
    responses: schemas.answers(schemas.gatePolicy, 'The policy with all its fields'),
  })
  app.openapi(one, (c) => c.json(templateOf(store, c.req.valid('param').reference), 200))
}
