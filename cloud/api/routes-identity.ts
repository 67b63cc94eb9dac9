import { createRoute, z } from '@hono/zod-openapi'
import { LIMITS } from '../../contract/limits.ts'
import { present } from '../../contract/present.ts'
import { ownSites, refuseChoice } from './auth.ts'
import { bodyLimitOf } from './body-limit.ts'
import { changes } from './changes.ts'
import { admitDevice } from './device-admission.ts'
import type { CloudApp, CloudServices } from './environment.ts'
import { fail, integerQuery, unwrap } from './problem.ts'
import type { ProofLimits } from './proof-limits.ts'
import * as schemas from './schemas.ts'
import * as identity from './schemas-identity.ts'
import { alertView } from './views.ts'

/** Claims, enrolment, tokens and keys of devices, revocation. What devices call needs no bearer token: they prove a key. */
export function identityRoutes(app: CloudApp, services: CloudServices, limits: ProofLimits): void {
  const { store, clock, identities, hub } = services
  const claim = createRoute({
    method: 'post',
    path: '/v1/claims',
    summary: 'Make a one-time claim with which one device enrols itself',
    middleware: changes(services, LIMITS.identityBytes, { keepsAnswer: false }),
    request: schemas.change(identity.claimRequest),
    responses: schemas.answers(identity.claim, 'The claim; its secret is not kept'),
  })
  app.openapi(claim, (c) => {
    const { ttlSeconds, replace, ...wish } = c.req.valid('json')
    refuseChoice(c, wish.model)
    const by = c.get('principal').subject
    const made = identities.claim({ ...wish, ttlMs: (ttlSeconds ?? 86_400) * 1000, replace: replace === true }, by)
    return c.json(unwrap(made), 200)
  })

  const challenge = createRoute({
    method: 'post',
    path: '/v1/challenges',
    security: [],
    summary: 'A number to sign in place of a time; good once and for five minutes',
    middleware: bodyLimitOf(LIMITS.identityBytes),
    responses: schemas.answers(identity.challenge, 'The challenge'),
  })
  app.openapi(challenge, (c) => c.json({ challenge: identities.challenge() }, 200))

  const enrol = createRoute({
    method: 'post',
    path: '/v1/enrolments',
    security: [],
    summary: 'Enrol a device that proves its claim and its key',
    middleware: bodyLimitOf(LIMITS.identityBytes),
    request: schemas.jsonBody(identity.enrolmentProof),
    responses: schemas.answers(identity.enrolment, 'Who the device is from now on'),
  })
  app.openapi(enrol, async (c) => {
    const proof = c.req.valid('json')
    const { name, site, board, keyId } = await limits.proven(c, proof.device, () =>
      identities.enrol(proof, (device, model) => admitDevice(services, device, model)),
    )
    services.signSoon()
    return c.json({ device: name, site, board, keyId }, 200)
  })

  const token = createRoute({
    method: 'post',
    path: '/v1/devices/{id}/token',
    security: [],
    summary: 'Mint a token for a device that proves its key',
    middleware: bodyLimitOf(LIMITS.identityBytes),
    request: { params: z.object({ id: schemas.id }), ...schemas.jsonBody(identity.tokenProof) },
    responses: schemas.answers(identity.token, 'A token of at most an hour, for gateways'),
  })
  app.openapi(token, async (c) => {
    const { id } = c.req.valid('param')
    const proof = c.req.valid('json')
    const minted = await limits.proven(c, id, () => identities.token(id, proof))
    const expiresInSeconds = Math.floor((minted.expiresMs - minted.issuedMs) / 1000)
    return c.json({ token: minted.token, expiresMs: minted.expiresMs, expiresInSeconds }, 200)
  })

  const rotate = createRoute({
    method: 'post',
    path: '/v1/devices/{id}/key',
    security: [],
    summary: 'Replace a device’s key by one that the old one vouches for',
    middleware: bodyLimitOf(LIMITS.identityBytes),
    request: { params: z.object({ id: schemas.id }), ...schemas.jsonBody(identity.rotationProof) },
    responses: schemas.answers(identity.rotation, 'The new key is the device’s'),
  })
  app.openapi(rotate, async (c) => {
    const { id } = c.req.valid('param')
    const proof = c.req.valid('json')
    return c.json({ keyId: await limits.proven(c, id, () => identities.rotate(id, proof)) }, 200)
  })

  const revoke = createRoute({
    method: 'post',
    path: '/v1/devices/{id}/revoke',
    summary: 'End a device’s keys and tokens',
    middleware: changes(services, LIMITS.identityBytes),
    request: { params: z.object({ id: schemas.id }), ...schemas.change(schemas.reasonRequest) },
    responses: schemas.answers(identity.revocation, 'From now on nothing of it is believed'),
  })
  app.openapi(revoke, (c) => {
    const { id } = c.req.valid('param')
    const revoked = unwrap(identities.revoke(id, c.req.valid('json').reason, c.get('principal').subject))
    return c.json(
      {
        device: revoked.name,
        beforeMs: present(store.identities.revokedBefore(revoked.name), 'the revocation just stored'),
      },
      200,
    )
  })

  const remove = createRoute({
    method: 'delete',
    path: '/v1/devices/{id}',
    summary: 'Take a device out of the fleet; its name may be enrolled again, as a new device',
    middleware: changes(services, 4_096),
    request: {
      ...schemas.changed,
      params: z.object({ id: schemas.deviceName }),
      query: z.object({ reason: schemas.reason, erase: z.enum(['true', 'false']).optional() }),
    },
    responses: schemas.answers(identity.removal, 'Nothing of it is believed, served or counted any more'),
  })
  app.openapi(remove, (c) => {
    const { id } = c.req.valid('param')
    const { reason, erase } = c.req.valid('query')
    const erased = erase === 'true'
    const removed = unwrap(identities.remove(id, reason, erased, c.get('principal').subject))
    return c.json({ device: id, removedMs: removed.removedMs, erased }, 200)
  })

  const revocations = createRoute({
    method: 'get',
    path: '/v1/revocations',
    summary: 'Tokens that gateways are to refuse, changed after a cursor; a gateway hears of devices of its sites',
    request: { query: z.object({ after: z.string().optional() }) },
    responses: schemas.answers(identity.revocations, 'For each device: tokens issued before the time are refused'),
  })
  app.openapi(revocations, (c) => {
    const asked = integerQuery(c, 'after', 0, 0, LIMITS.counter)
    // A cursor from the future is of a store that was lost: that gateway has to hear everything again.
    const after = asked > store.identities.newestRevocation() ? 0 : asked
    const rows = store.identities.revocationsAfter(after, LIMITS.ingestRows, ownSites(services, c))
    const items = rows.map(({ device, beforeMs }) => ({ device, beforeMs }))
    return c.json({ cursor: rows.at(-1)?.cursor ?? after, items }, 200)
  })

  const notice = createRoute({
    method: 'post',
    path: '/v1/notices',
    summary: 'A gateway has noticed two devices with one identity',
    middleware: bodyLimitOf(LIMITS.identityBytes),
    request: schemas.jsonBody(identity.notice),
    responses: schemas.answers(z.object({ alert: z.number() }), 'The alert, open until a day has passed'),
  })
  app.openapi(notice, (c) => {
    const { device: name, takenOver, sinceMs } = c.req.valid('json')
    const device = store.devices.byName(name)
    const sites = ownSites(services, c)
    // What is there and not its own is as if it were not.
    if (device === undefined || sites?.includes(device.site) === false) return fail('not-found', `no device "${name}"`)
    const now = clock.wallMs()
    const open = store.alerts.open('identity-shared', device.name, '')
    const numbers = { takenOver, sinceMs }
    const raised = { code: 'identity-shared', metric: device.name, model: '', sinceMs: now, ratio: takenOver, numbers }
    const alert = open ?? store.alerts.raise(raised)
    if (open === undefined) {
      const detail = { ...numbers, gateway: c.get('principal').subject }
      store.audit.append({ atMs: now, actor: 'kinglet', action: 'alert.raised', subject: device.name, detail })
      hub.publish('alert', { change: 'raised', ...alertView(store, alert) })
    }
    return c.json({ alert: alert.id }, 200)
  })
}
