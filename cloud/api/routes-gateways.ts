import { createRoute, z } from '@hono/zod-openapi'
import { LIMITS } from '../../contract/limits.ts'
import type { GatewayRecord } from '../store/gateway-store.ts'
import { bodyLimitOf } from './body-limit.ts'
import { changes } from './changes.ts'
import type { CloudApp, CloudServices } from './environment.ts'
import { fail, integerQuery, unwrap } from './problem.ts'
import type { ProofLimits } from './proof-limits.ts'
import * as schemas from './schemas.ts'
import * as identity from './schemas-identity.ts'

/** chosen: a gateway sends when its devices report, which they do every hour */
const GATEWAY_SILENT_MS = 2 * 3_600_000
/** chosen: whoever sets up a gateway is there, or comes tomorrow */
const CLAIM_TTL_SECONDS = 86_400

/** Gateways: claims, enrolment and tokens by proof of their key, and what an operator does with them. */
export function gatewayRoutes(app: CloudApp, services: CloudServices, limits: ProofLimits): void {
  const { store, gateways, clock } = services

  const view = (gateway: GatewayRecord, now: number) => {
    const { publicKey: _, tokensSinceMs: __, ...rest } = gateway
    return { ...rest, silent: gateway.lastMs > 0 && now - gateway.lastMs > GATEWAY_SILENT_MS }
  }

  const claim = createRoute({
    method: 'post',
    path: '/v1/gateway-claims',
    summary: 'Make a one-time claim with which one gateway enrols itself for its sites',
    middleware: changes(services, LIMITS.identityBytes, { keepsAnswer: false }),
    request: schemas.change(identity.gatewayClaimRequest),
    responses: schemas.answers(identity.gatewayClaim, 'The claim; its secret is not kept'),
  })
  app.openapi(claim, (c) => {
    const { ttlSeconds = CLAIM_TTL_SECONDS, replace = false, ...wish } = c.req.valid('json')
    const by = c.get('principal').subject
    return c.json(unwrap(gateways.claim({ ...wish, ttlMs: ttlSeconds * 1000, replace }, by)), 200)
  })

  const params = z.object({ id: schemas.id })
  const enrol = createRoute({
    method: 'post',
    path: '/v1/gateways/{id}/enrolment',
    security: [],
    summary: 'Enrol a gateway that proves its claim and its key',
    middleware: bodyLimitOf(LIMITS.identityBytes),
    request: { params, ...schemas.jsonBody(identity.gatewayProof) },
    responses: schemas.answers(identity.gatewayEnrolment, 'Its key is the gateway’s from now on'),
  })
  app.openapi(enrol, async (c) => {
    const { id } = c.req.valid('param')
    const proof = c.req.valid('json')
    return c.json(await limits.proven(c, `gateway ${id}`, () => gateways.enrol(id, proof)), 200)
  })

  const token = createRoute({
    method: 'post',
    path: '/v1/gateways/{id}/token',
    security: [],
    summary: 'Mint a service token for a gateway that proves its key',
    middleware: bodyLimitOf(LIMITS.identityBytes),
    request: { params, ...schemas.jsonBody(identity.tokenProof) },
    responses: schemas.answers(identity.token, 'A token of an hour'),
  })
  app.openapi(token, async (c) => {
    const { id } = c.req.valid('param')
    const proof = c.req.valid('json')
    const minted = await limits.proven(c, `gateway ${id}`, () => gateways.token(id, proof))
    const expiresInSeconds = Math.floor((minted.expiresMs - minted.issuedMs) / 1000)
    return c.json({ token: minted.token, expiresMs: minted.expiresMs, expiresInSeconds }, 200)
  })

  const list = createRoute({
    method: 'get',
    path: '/v1/gateways',
    summary: 'Gateways by name: their sites, their state, and whether they still send',
    request: { query: z.object({ limit: z.string().optional(), after: z.string().optional() }) },
    responses: schemas.answers(schemas.gateways, 'At most `limit` gateways'),
  })
  app.openapi(list, (c) => {
    const limit = integerQuery(c, 'limit', 500, 1, 2_000)
    const now = clock.wallMs()
    const page = store.gateways.list(limit, c.req.query('after') ?? '')
    const next = page.length === limit ? (page.at(-1)?.name ?? null) : null
    return c.json({ atMs: now, gateways: page.map((gateway) => view(gateway, now)), next }, 200)
  })

  const one = createRoute({
    method: 'get',
    path: '/v1/gateways/{id}',
    summary: 'One gateway',
    request: { params },
    responses: schemas.answers(schemas.gateway, 'The gateway'),
  })
  app.openapi(one, (c) => {
    const { id } = c.req.valid('param')
    const gateway = store.gateways.byName(id) ?? fail('not-found', `no gateway "${id}"`)
    return c.json(view(gateway, clock.wallMs()), 200)
  })

  const actions = {
    revoke: 'End a gateway’s key and tokens; what it has said stays evidence',
    quarantine: 'Take everything that a gateway has said, and will say, out of the evidence; its rows are kept',
    release: 'End the quarantine of a gateway: its rows are evidence again',
  } as const
  for (const change of ['revoke', 'quarantine', 'release'] as const) {
    const route = createRoute({
      method: 'post',
      path: `/v1/gateways/{id}/${change}`,
      summary: actions[change],
      middleware: changes(services, 4_096),
      request: { params, ...schemas.change(schemas.reasonRequest) },
      responses: schemas.answers(schemas.gateway, 'The gateway as it is now'),
    })
    app.openapi(route, (c) => {
      const { id } = c.req.valid('param')
      const changed = unwrap(gateways[change](id, c.req.valid('json').reason, c.get('principal').subject))
      if (change !== 'revoke') services.nudge()
      return c.json(view(changed, clock.wallMs()), 200)
    })
  }
}
