import { createRoute, z } from '@hono/zod-openapi'
import { hexToBytes } from '../../contract/bytes.ts'
import { LIMITS } from '../../contract/limits.ts'
import { present } from '../../contract/present.ts'
import { keyIdOf } from '../../contract/signed.ts'
import { requireRole } from './auth.ts'
import { bodyLimitOf } from './body-limit.ts'
import type { CloudApp, CloudServices } from './environment.ts'
import { fail, integerQuery } from './problem.ts'
import * as schemas from './schemas.ts'
import { deviceView } from './views.ts'

/** Enrolment, device tokens and service tokens, devices. */
export function deviceRoutes(app: CloudApp, services: CloudServices): void {
  const { store, engine, tokens, clock } = services

  /** The key of an imported device; the same one may be imported again. */
  const importKey = (id: number, name: string, publicKey: string, nowMs: number): void => {
    const keyId = keyIdOf(hexToBytes(publicKey))
    const active = store.identities.activeKey(id)
    if (active?.keyId === keyId) return
    if (active !== undefined) fail('conflict', `${name} has another key; it changes by a claim`)
    if (store.identities.key(keyId) !== undefined)
      fail('conflict', `the key of ${name} belongs, or belonged, to a device`)
    store.identities.addKey({ keyId, publicKey, device: id, sinceMs: nowMs })
  }

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
    const by = c.get('principal').subject
    const now = clock.wallMs()
    const minted = await Promise.all(
      rows.map(async ({ ttlSeconds, publicKey, ...row }) => {
        if (publicKey !== undefined && ttlSeconds === undefined) return undefined
        const ttlMs = ttlSeconds === undefined ? services.deviceTokenTtlMs : ttlSeconds * 1000
        return tokens.mintDevice(row, ttlMs, publicKey && keyIdOf(hexToBytes(publicKey)))
      }),
    )
    store.atomically(() => {
      rows.forEach((row, i) => {
        const device = store.devices.enrol(
          { name: row.device, site: row.site, board: row.board, tags: row.tags ?? [] },
          now,
        )
        const token = minted[i]
        if (token !== undefined) {
          const { jti, issuedMs, expiresMs } = token
          store.tokens.add({ jti, kind: 'device', subject: row.device, issuedMs, expiresMs })
        }
        if (row.publicKey !== undefined) importKey(device.id, row.device, row.publicKey, now)
        const wanted = row.model === undefined ? undefined : store.models.byName(row.model)
        if (row.model !== undefined && wanted === undefined) fail('not-found', `no release "${row.model}"`)
        if (wanted !== undefined && wanted.state !== 'production' && device.target === null) {
          // A named model other than production is what the device left the factory with: recorded, signed like any other.
          store.devices.retarget(device.id, { release: wanted.id, rollout: null, stage: 0, arm: 'none' })
        } else engine.admit(device)
      })
      const first = present(rows[0], 'a device of a list that is not empty')
      const detail = { devices: rows.length, first: first.device, ttlMs: services.deviceTokenTtlMs }
      store.audit.append({ atMs: now, actor: by, action: 'devices.enrolled', subject: first.site, detail })
    })
    services.nudge()
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
    request: { params: z.object({ id: schemas.id }) },
    responses: schemas.answers(schemas.deviceDetail, 'The device'),
  })
  app.openapi(one, (c) => {
    const { id } = c.req.valid('param')
    const device = store.devices.byName(id) ?? fail('not-found', `no device "${id}"`)
    return c.json({ ...deviceView(store, device), boots: store.fleet.deviceBoots(device.id, 10) }, 200)
  })
}
