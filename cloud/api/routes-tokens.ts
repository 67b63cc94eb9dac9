import { createRoute, z } from '@hono/zod-openapi'
import { bearerToken } from '../../contract/bearer.ts'
import { requireRole } from './auth.ts'
import { bodyLimitOf } from './body-limit.ts'
import type { CloudApp, CloudServices } from './environment.ts'
import { fail, unwrap } from './problem.ts'
import * as schemas from './schemas.ts'

/** Chosen: a token is renewed in the last third of its life, so that a thirty-day one leaves ten days for whatever is in the way, and a stolen one
 *  cannot be made into many at once. */
const RENEWABLE_SHARE = 2 / 3

/** The life of service tokens after they were minted: their successors, and their end. */
export function tokenRoutes(app: CloudApp, services: CloudServices): void {
  const { store, tokens, clock } = services

  const renew = createRoute({
    method: 'post',
    path: '/v1/tokens/renew',
    summary:
      'A gateway’s successor to its own token, in the last third of its life; the old one stays good until it expires',
    middleware: [requireRole(services, 'gateway'), bodyLimitOf(4_096)],
    responses: schemas.answers(schemas.tokenResponse, 'The successor, of the same length of life; it is not kept'),
  })
  app.openapi(renew, async (c) => {
    const { subject, role, issuedMs, expiresMs, keyId } = unwrap(
      await tokens.verifyService(bearerToken(c.req.header('authorization')) ?? ''),
    )
    // It makes its tokens by its key, and nobody else is to make them of what was copied.
    if (keyId !== undefined) fail('conflict', `${subject} has a key, and asks for its tokens with it`)
    if (role !== 'gateway') fail('not-authorized', `a token for ${role} is not renewed but minted anew`)
    const now = clock.wallMs()
    const lifeMs = expiresMs - issuedMs
    const fromMs = issuedMs + lifeMs * RENEWABLE_SHARE
    if (now < fromMs) {
      fail('conflict', `the token can be renewed from ${new Date(fromMs).toISOString()} on`, {
        'retry-after': String(Math.ceil((fromMs - now) / 1000)),
      })
    }
    const minted = await tokens.mintService(subject, role, lifeMs)
    store.atomically(() => {
      const { jti } = minted
      store.tokens.add({ jti, kind: role, subject, issuedMs: minted.issuedMs, expiresMs: minted.expiresMs })
      const detail = { role, expiresMs: minted.expiresMs }
      store.audit.append({ atMs: now, actor: subject, action: 'token.renewed', subject, detail })
    })
    return c.json({ token: minted.token, expiresMs: minted.expiresMs }, 200)
  })

  const revoke = createRoute({
    method: 'post',
    path: '/v1/tokens/revoke',
    summary: 'Refuse the service tokens that a subject was given until now, and their successors',
    middleware: [requireRole(services), bodyLimitOf(4_096)],
    request: schemas.jsonBody(schemas.tokenRevocation),
    responses: schemas.answers(z.object({ subject: z.string(), beforeMs: z.number() }), 'From now on they are refused'),
  })
  app.openapi(revoke, (c) => {
    const { subject, reason } = c.req.valid('json')
    const by = c.get('principal').subject
    const beforeMs = clock.wallMs()
    store.atomically(() => {
      store.tokens.revokeServices(subject, beforeMs)
      store.audit.append({ atMs: beforeMs, actor: by, action: 'token.revoked', subject, detail: { reason } })
    })
    return c.json({ subject, beforeMs }, 200)
  })
}
