import { createRoute, z } from '@hono/zod-openapi'
import { LIMITS } from '../../contract/limits.ts'
import { wakeAnswerSchema } from '../../contract/wake-check.ts'
import { gatewayOf } from './auth.ts'
import { bodyLimitOf } from './body-limit.ts'
import type { CloudApp, CloudServices } from './environment.ts'
import { fail, unwrap } from './problem.ts'
import * as schemas from './schemas.ts'

/** Wakes that are judged a second time, by the cloud's own verifier; without one nothing is asked. */
export function wakeCheckRoutes(app: CloudApp, services: CloudServices): void {
  const list = createRoute({
    method: 'get',
    path: '/v1/wake-checks',
    summary: 'Wakes that the cloud asks of the gateway whose token it is',
    responses: schemas.answers(schemas.wakeChecks, 'What is asked and not answered, oldest first'),
  })
  app.openapi(list, (c) =>
    c.json(services.wakeAudit?.asked(gatewayOf(services, c).name) ?? { v: 1 as const, checks: [] }, 200),
  )

  const answer = createRoute({
    method: 'post',
    path: '/v1/wake-checks/{id}',
    summary: 'The wakes that the cloud has asked for, as the device sent them',
    middleware: bodyLimitOf(LIMITS.wakeAnswerBytes),
    request: {
      params: z.object({ id: z.string().regex(/^\d{1,15}$/) }),
      body: { content: { 'application/json': { schema: schemas.wakeAnswer } } },
    },
    responses: schemas.answers(z.object({ id: z.number() }), 'They have been judged'),
  })
  app.openapi(answer, async (c) => {
    const { wakeAudit } = services
    const id = Number(c.req.valid('param').id)
    const sent = wakeAnswerSchema.safeParse(c.req.valid('json'))
    if (!sent.success) fail('invalid-request', `wakes: ${sent.error.issues[0]?.message ?? 'invalid'}`)
    else if (wakeAudit === undefined) fail('not-found', 'this cloud judges no wakes')
    else unwrap(await wakeAudit.answer(gatewayOf(services, c).name, id, sent.data.wakes))
    return c.json({ id }, 200)
  })
}
