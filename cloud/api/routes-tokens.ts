import { createRoute, z } from '@hono/zod-openapi'
import { bearerToken } from '../../contract/bearer.ts'
import { bodyLimitOf } from './body-limit.ts'
import { changes } from './changes.ts'
import type { CloudApp, CloudServices } from './environment.ts'
import { fail, integerQuery, unwrap } from './problem.ts'
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
    summary: 'The successor to one’s own token, in the last third of its life; the old one stays good until it expires',
    middleware: bodyLimitOf(4_096),
    responses: schemas.answers(schemas.tokenResponse, 'The successor, of the same length of life; it is not kept'),
  })
  app.openapi(renew, async (c) => {
    const {
      jti: parent,
      subject,
      role,
      issuedMs,
      expiresMs,
      keyId,
      isForeign,
    } = unwrap(await tokens.verifyService(bearerToken(c.req.header('authorization')) ?? ''))
    // It makes its tokens by its key, and nobody else is to make them of what was copied.
    if (keyId !== undefined) fail('conflict', `${subject} has a key, and asks for its tokens with it`)
    if (isForeign === true) fail('conflict', 'the identity provider has given this token out, and gives out the next')
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
      store.tokens.add({ jti, kind: role, subject, issuedMs: minted.issuedMs, expiresMs: minted.expiresMs, parent })
      const detail = { role, expiresMs: minted.expiresMs, jti }
      store.audit.append({ atMs: now, actor: subject, action: 'token.renewed', subject, detail })
    })
    return c.json({ token: minted.token, expiresMs: minted.expiresMs }, 200)
  })

  const list = createRoute({
    method: 'get',
    path: '/v1/tokens',
    summary: 'Service tokens that were given out: whose, until when, by whom, and whether they are revoked',
    request: { query: z.object({ limit: z.string().optional(), after: z.string().max(64).optional() }) },
    responses: schemas.answers(schemas.serviceTokens, 'At most `limit` tokens after the name `after`'),
  })
  app.openapi(list, (c) => {
    const limit = integerQuery(c, 'limit', 500, 1, 2_000)
    const rows = store.tokens.services(c.req.valid('query').after ?? '', limit)
    return c.json(
      { atMs: clock.wallMs(), tokens: [...rows], next: rows.length === limit ? (rows.at(-1)?.jti ?? null) : null },
      200,
    )
  })

  const revoke = createRoute({
    method: 'post',
    path: '/v1/tokens/revoke',
    summary:
      'Refuse one service token and its successors, or all that a subject was given until now; on demand also what those have minted',
    middleware: changes(services, 4_096),
    request: schemas.change(schemas.tokenRevocation),
    responses: schemas.answers(schemas.tokenRevoked, 'From now on they are refused'),
  })
  app.openapi(revoke, (c) => {
    const { subject, jti, reason, minted = false } = c.req.valid('json')
    const by = c.get('principal').subject
    const beforeMs = clock.wallMs()
    const answer = store.atomically(() => {
      const revoked = jti === undefined ? undefined : store.tokens.revokeToken(jti, beforeMs)
      if (jti !== undefined && revoked === undefined) return undefined
      const also = subject !== undefined && minted ? store.tokens.revokeMinted(subject, beforeMs) : 0
      if (subject !== undefined) store.tokens.revokeServices(subject, beforeMs)
      const of = subject ?? jti ?? ''
      store.audit.append({
        atMs: beforeMs,
        actor: by,
        action: 'token.revoked',
        subject: of,
        detail: { reason, minted },
      })
      const mintedStill = subject === undefined ? 0 : store.tokens.mintedStill(subject, beforeMs)
      return { subject: of, beforeMs, revoked: (revoked ?? 0) + also, mintedStill }
    })
    return c.json(answer ?? fail('not-found', `no service token ${jti}`), 200)
  })
}
