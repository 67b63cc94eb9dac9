import { createRoute, z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { literalPattern, parseDeviceQuery, type QueryField, type QueryTerm } from '../../contract/device-query.ts'
import { LIMITS } from '../../contract/limits.ts'
import { EVENT_CODES } from '../../contract/messages.ts'
import type { EventPosition } from '../store/event-store.ts'
import { parseWindow } from '../trust/zone-window.ts'
import { refuseChoice } from './auth.ts'
import { changes } from './changes.ts'
import { importDevices } from './device-import.ts'
import type { CloudApp, CloudEnv, CloudServices } from './environment.ts'
import { fail, integerQuery, unwrap } from './problem.ts'
import * as schemas from './schemas.ts'
import { deviceView, eventView, latestView, modelNames, whyNotView } from './views.ts'

/** `next` of a page of events */
const POSITION = /^\d{1,16}\.\d{1,16}\.\d{1,16}\.\d{1,16}$/
/** chosen: a month, when nothing else is asked for */
const SERVICE_TTL_MS = 30 * 86_400_000

/** Enrolment, device tokens and service tokens, devices. */
export function deviceRoutes(app: CloudApp, services: CloudServices): void {
  const { store, tokens } = services

  const enrol = createRoute({
    method: 'post',
    path: '/v1/devices',
    summary: 'Import devices, with long tokens or with their public keys',
    middleware: changes(services, 1024 * 1024, { keepsAnswer: false }),
    request: schemas.change(schemas.enrolRequest),
    responses: schemas.answers(schemas.enrolResponse, 'A token for each device that gets one'),
  })
  app.openapi(enrol, async (c) => {
    const rows = c.req.valid('json')
    refuseChoice(c, rows.find(({ model }) => model !== undefined)?.model)
    const minted = await importDevices(services, rows, c.get('principal').subject)
    const devices = rows.map(({ device }, i) => ({
      device,
      token: minted[i]?.token ?? null,
      expiresMs: minted[i]?.expiresMs ?? null,
    }))
    return c.json({ ttlSeconds: Math.floor(services.deviceTokenTtlMs / 1000), devices }, 200)
  })

  const mint = createRoute({
    method: 'post',
    path: '/v1/tokens',
    summary: 'Mint a service token',
    middleware: changes(services, 4_096, { keepsAnswer: false }),
    request: schemas.change(schemas.tokenRequest),
    responses: schemas.answers(schemas.tokenResponse, 'The token; it is not kept'),
  })
  app.openapi(mint, async (c) => {
    const { subject, role, sites, ttlSeconds } = c.req.valid('json')
    const own = c.get('token') ?? fail('token-invalid', 'a bearer token is required')
    // Who has a token for three days must not have one for ten years out of it.
    const leftMs = own.expiresMs - services.clock.wallMs()
    const ttlMs = ttlSeconds === undefined ? Math.min(SERVICE_TTL_MS, leftMs) : ttlSeconds * 1000
    if (ttlMs > leftMs) {
      const ends = new Date(own.expiresMs).toISOString()
      fail(
        'not-authorized',
        `the token that asks ends ${ends}: what it mints lasts ${Math.floor(leftMs / 1000)} s at most`,
      )
    }
    if (role === 'gateway') unwrap(services.gateways.admitByToken(subject, sites, c.get('principal').subject))
    else if (sites !== undefined) fail('invalid-request', `sites are a gateway's, the token is for ${role}`)
    const minted = await tokens.mintService(subject, role, ttlMs)
    const { jti, issuedMs, expiresMs, token } = minted
    store.atomically(() => {
      if (own.isForeign === true) store.tokens.remember(own)
      store.tokens.add({ jti, kind: role, subject, issuedMs, expiresMs, parent: own.jti })
      const detail = { role, expiresMs, jti }
      store.audit.append({ atMs: issuedMs, actor: own.subject, action: 'token.minted', subject, detail })
    })
    return c.json({ token, expiresMs }, 200)
  })

  const list = createRoute({
    method: 'get',
    path: '/v1/devices',
    summary: 'Devices by name',
    request: {
      query: z.object({
        limit: z.string().optional(),
        after: z.string().optional(),
        site: schemas.id.optional(),
        board: schemas.board.optional(),
        family: schemas.ofFamily,
        tag: z.string().max(LIMITS.nameLength).optional(),
        model: schemas.name.optional().openapi({ description: 'Name of the release of its newest report' }),
        silentHours: z.string().optional(),
        where: z
          .string()
          .optional()
          .openapi({ description: 'A query, such as `site:berlin battery<30 silent>2d`; beside the others' }),
      }),
    },
    responses: schemas.answers(
      z.object({ atMs: z.number(), devices: z.array(schemas.deviceRow), next: z.string().nullable() }),
      'At most `limit` devices after the name `after`; fewer, or none, where a page has looked at enough. `next` is null at the end',
    ),
  })
  app.openapi(list, (c) => {
    const limit = integerQuery(c, 'limit', 500, 1, LIMITS.ingestRows)
    const { after = '', where = '', site, board, family, tag, model } = c.req.valid('query')
    const silentHours = integerQuery(c, 'silentHours', 0, 0, 87_600)
    const atMs = services.clock.wallMs()
    const terms: readonly QueryTerm[] = [
      ...unwrap(parseDeviceQuery(where)),
      ...Object.entries({ site, board, family, tag, model }).flatMap(([field, value]) =>
        value === undefined ? [] : [{ field: field as QueryField, negated: false, values: [literalPattern(value)] }],
      ),
      ...(silentHours > 0
        ? [{ field: 'silent' as const, negated: false, operator: '>' as const, number: silentHours * 3_600_000 }]
        : []),
    ]
    const { devices, next } = store.devices.page(limit, after, unwrap(store.groups.condition(terms, atMs)))
    const names = modelNames(store)
    const rows = devices.map((device) => ({
      ...deviceView(store, device),
      latest: latestView(store, device.id, names),
    }))
    return c.json({ atMs, devices: rows, next }, 200)
  })

  const one = createRoute({
    method: 'get',
    path: '/v1/devices/{id}',
    summary: 'One device with its latest boots',
    request: { params: z.object({ id: schemas.deviceName }) },
    responses: schemas.answers(schemas.deviceDetail, 'The device'),
  })
  app.openapi(one, (c) => {
    const { id } = c.req.valid('param')
    const device = store.devices.byName(id) ?? fail('not-found', `no device "${id}"`)
    return c.json(
      {
        ...deviceView(store, device),
        latest: latestView(store, device.id, modelNames(store)),
        notUpdating: whyNotView(store, device, services.clock.wallMs()),
        boots: store.fleet.deviceBoots(device.id, 10),
      },
      200,
    )
  })

  const eventQuery = z.object({
    limit: z.string().optional(),
    before: z.string().regex(POSITION).optional().openapi({ description: '`next` of the page before' }),
    code: z.enum(EVENT_CODES).optional(),
    sinceMs: z.string().optional(),
  })
  const eventPage = (
    c: Context<CloudEnv>,
    query: { before?: string | undefined; code?: string | undefined },
    device?: number,
  ) => {
    const limit = integerQuery(c, 'limit', 100, 1, 1_000)
    const sinceMs = integerQuery(c, 'sinceMs', 0, 0, LIMITS.counter)
    const before = query.before?.split('.').map(Number) as unknown as EventPosition | undefined
    const { events, next } = store.events.list({ device, code: query.code, sinceMs }, limit, before)
    const names = modelNames(store)
    const atMs = services.clock.wallMs()
    return { atMs, events: events.map((event) => eventView(event, names)), next: next?.join('.') ?? null }
  }
  const ofDevice = createRoute({
    method: 'get',
    path: '/v1/devices/{id}/events',
    summary: 'Events of a device, newest first: reverts, failures with their codes, what it waits for',
    request: { params: z.object({ id: schemas.deviceName }), query: eventQuery },
    responses: schemas.answers(schemas.events, 'At most `limit` events'),
  })
  app.openapi(ofDevice, (c) => {
    const { id } = c.req.valid('param')
    const device = store.devices.byName(id) ?? fail('not-found', `no device "${id}"`)
    return c.json(eventPage(c, c.req.valid('query'), device.id), 200)
  })
  const ofFleet = createRoute({
    method: 'get',
    path: '/v1/events',
    summary: 'Events of all devices, newest first',
    request: { query: eventQuery },
    responses: schemas.answers(schemas.events, 'At most `limit` events'),
  })
  app.openapi(ofFleet, (c) => c.json(eventPage(c, c.req.valid('query')), 200))

  /** @returns the text as it was given, or null */
  const windowOf = (text: string | null): string | null => {
    if (text !== null) unwrap(parseWindow(text))
    return text
  }
  const setWindow = (
    of: 'device' | 'site',
    name: string,
    window: string | null,
    actor: string,
    change: () => void,
  ): { name: string; window: string | null } => {
    store.atomically(() => {
      change()
      const action = `${of}.window-set`
      store.audit.append({ atMs: services.clock.wallMs(), actor, action, subject: name, detail: { window } })
    })
    services.signSoon()
    return { name, window }
  }
  const routes = {
    device: '/v1/devices/{id}/window',
    site: '/v1/sites/{id}/window',
  } as const
  for (const of of ['device', 'site'] as const) {
    const route = createRoute({
      method: 'put',
      path: routes[of],
      summary: `Set or clear the hours in which ${of === 'device' ? 'a device' : 'the devices of a site'} may download updates`,
      middleware: changes(services, 4_096),
      request: { params: z.object({ id: schemas.id }), ...schemas.change(schemas.windowRequest) },
      responses: schemas.answers(schemas.windowAnswer, 'The hours; assignments are signed anew with them'),
    })
    app.openapi(route, (c) => {
      const { id } = c.req.valid('param')
      const window = windowOf(c.req.valid('json').window)
      const by = c.get('principal').subject
      if (of === 'site') {
        return c.json(
          setWindow(of, id, window, by, () => store.devices.setSiteWindow(id, window)),
          200,
        )
      }
      const device = store.devices.byName(id) ?? fail('not-found', `no device "${id}"`)
      return c.json(
        setWindow(of, id, window, by, () => store.devices.setWindow(device.id, window)),
        200,
      )
    })
  }
}
