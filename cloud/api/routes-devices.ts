import { createRoute, z } from '@hono/zod-openapi'
import { LIMITS } from '../../contract/limits.ts'
import { parseWindow } from '../trust/zone-window.ts'
import { requireRole } from './auth.ts'
import { bodyLimitOf } from './body-limit.ts'
import { importDevices } from './device-import.ts'
import type { CloudApp, CloudServices } from './environment.ts'
import { fail, integerQuery, unwrap } from './problem.ts'
import * as schemas from './schemas.ts'
import { deviceView } from './views.ts'

/** Enrolment, device tokens and service tokens, devices. */
export function deviceRoutes(app: CloudApp, services: CloudServices): void {
  const { store, tokens } = services

  const enrol = createRoute({
    method: 'post',
    path: '/v1/devices',
    summary: 'Import devices, with long tokens or with their public keys',
    middleware: [requireRole(services), bodyLimitOf(1024 * 1024)],
    request: schemas.jsonBody(schemas.enrolRequest),
    responses: schemas.answers(schemas.enrolResponse, 'A token for each device that gets one'),
  })
  app.openapi(enrol, async (c) => {
    const rows = c.req.valid('json')
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
    middleware: [requireRole(services), bodyLimitOf(4_096)],
    request: schemas.jsonBody(schemas.tokenRequest),
    responses: schemas.answers(schemas.tokenResponse, 'The token; it is not kept'),
  })
  app.openapi(mint, async (c) => {
    const { subject, role, ttlSeconds } = c.req.valid('json')
    const minted = await tokens.mintService(subject, role, (ttlSeconds ?? 30 * 86_400) * 1000)
    const { jti, issuedMs, expiresMs, token } = minted
    store.atomically(() => {
      store.tokens.add({ jti, kind: role, subject, issuedMs, expiresMs })
      const by = c.get('principal').subject
      store.audit.append({ atMs: issuedMs, actor: by, action: 'token.minted', subject, detail: { role, expiresMs } })
    })
    return c.json({ token, expiresMs }, 200)
  })

  const list = createRoute({
    method: 'get',
    path: '/v1/devices',
    summary: 'Devices by name',
    middleware: requireRole(services, 'viewer', 'gateway'),
    request: { query: z.object({ limit: z.string().optional(), after: z.string().optional() }) },
    responses: schemas.answers(
      z.object({ devices: z.array(schemas.device), next: z.string().nullable() }),
      'At most `limit` devices after the name `after`',
    ),
  })
  app.openapi(list, (c) => {
    const limit = integerQuery(c, 'limit', 500, 1, LIMITS.ingestRows)
    const devices = store.devices.list(limit, c.req.query('after') ?? '').map((device) => deviceView(store, device))
    return c.json({ devices, next: devices.length === limit ? (devices.at(-1)?.name ?? null) : null }, 200)
  })

  const one = createRoute({
    method: 'get',
    path: '/v1/devices/{id}',
    summary: 'One device with its latest boots',
    middleware: requireRole(services, 'viewer', 'gateway'),
    request: { params: z.object({ id: schemas.deviceName }) },
    responses: schemas.answers(schemas.deviceDetail, 'The device'),
  })
  app.openapi(one, (c) => {
    const { id } = c.req.valid('param')
    const device = store.devices.byName(id) ?? fail('not-found', `no device "${id}"`)
    return c.json({ ...deviceView(store, device), boots: store.fleet.deviceBoots(device.id, 10) }, 200)
  })

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
      middleware: [requireRole(services), bodyLimitOf(4_096)],
      request: { params: z.object({ id: schemas.id }), ...schemas.jsonBody(schemas.windowRequest) },
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
