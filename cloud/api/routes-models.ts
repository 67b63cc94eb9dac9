import { Readable } from 'node:stream'
import { createRoute, z } from '@hono/zod-openapi'
import { servedBytes } from '../../contract/byte-range.ts'
import { contractError } from '../../contract/errors.ts'
import { isSha256Hex } from '../../contract/fields.ts'
import { LIMITS } from '../../contract/limits.ts'
import { problemResponse } from '../../platform/problem-response.ts'
import { signalFigures } from '../telemetry/signal-figures.ts'
import { ownSites } from './auth.ts'
import { bodyLimitOf } from './body-limit.ts'
import { changes } from './changes.ts'
import type { CloudApp, CloudServices } from './environment.ts'
import { fail, integerQuery, unwrap } from './problem.ts'
import { may } from './rights.ts'
import * as schemas from './schemas.ts'
import { releaseView, rolloutView } from './views.ts'

/** chosen: a month; older sums are read as a series */
const SIGNAL_HOURS_MAX = 31 * 24

/** Artifacts (raw bytes by hash, with ranges), releases and their patches. */
export function modelRoutes(app: CloudApp, services: CloudServices): void {
  const { store, registry, repository, artifacts, clock } = services

  const stored = (description: string) => ({
    description,
    content: { 'application/json': { schema: z.object({ sha256: z.string(), created: z.boolean() }) } },
  })
  app.openAPIRegistry.registerPath({
    method: 'put',
    path: '/v1/artifacts/{sha256}',
    summary: 'Upload a bundle under its hash; may be repeated',
    request: {
      params: schemas.sha256Param,
      body: { required: true, content: schemas.content('application/octet-stream') },
    },
    responses: { 200: stored('It was here'), 201: stored('It is stored'), ...schemas.problems },
  })
  app.put('/v1/artifacts/:sha256', bodyLimitOf(LIMITS.bundleBytes), async (c) => {
    const sha256 = c.req.param('sha256')
    if (!isSha256Hex(sha256)) return fail('invalid-request', 'an artifact is named by its sha256, lower-case hex')
    const { created } = unwrap(await registry.putArtifact(sha256, new Uint8Array(await c.req.arrayBuffer())))
    return c.json({ sha256, created }, created ? 201 : 200)
  })

  app.openAPIRegistry.registerPath({
    method: 'get',
    path: '/v1/artifacts/{sha256}',
    summary: 'A bundle or a patch by its hash, whole or a range of it',
    request: { params: schemas.sha256Param, headers: z.object({ range: z.string().optional() }) },
    responses: {
      200: { description: 'All of it', content: schemas.content('application/octet-stream') },
      206: { description: 'The range', content: schemas.content('application/octet-stream') },
      ...schemas.problems,
    },
  })
  app.get('/v1/artifacts/:sha256', (c) => {
    const sha256 = c.req.param('sha256')
    const sites = ownSites(services, c)
    const served = isSha256Hex(sha256) && (sites === undefined || store.models.isNeededAt(sha256, sites))
    const size = served ? artifacts.size(sha256) : undefined
    if (size === undefined) return fail('artifact-not-found', `no artifact ${sha256.slice(0, 64)}`)
    const etag = `"${sha256}"`
    const { method } = c.req
    const [range, ifRange, ifNoneMatch] = ['range', 'if-range', 'if-none-match'].map((name) => c.req.header(name))
    const part = servedBytes({ method, range, ifRange, ifNoneMatch }, etag, size)
    if (part.status === 416) {
      return problemResponse(contractError('invalid-request', `${c.req.header('range')} of ${size} bytes`), part)
    }
    // A name is a hash, so what it names never changes.
    const cached = { 'cache-control': 'public, max-age=31536000, immutable', ...part.headers }
    if (part.status === 304) return new Response(null, { status: 304, headers: cached })
    const { status, start, end } = part
    const headers = { 'content-type': 'application/octet-stream', ...cached }
    // HEAD, or nothing to read: a stream that nobody reads would keep its file open.
    if (method !== 'GET' || end === start) return new Response(null, { status, headers })
    const stream = Readable.toWeb(artifacts.stream(sha256, start, end - 1)) as ReadableStream
    return new Response(stream, { status, headers })
  })

  const register = createRoute({
    method: 'post',
    path: '/v1/models',
    summary: 'Register a release that the image repository has and whose bundle was uploaded',
    middleware: changes(services, 4_096),
    request: schemas.change(schemas.releaseRequest),
    responses: schemas.answers(schemas.release, 'The release, as candidate'),
  })
  app.openapi(register, (c) => {
    const { name, version, family, risk } = c.req.valid('json')
    const { release } = unwrap(registry.register(name, version, c.get('principal').subject, family, risk))
    return c.json(releaseView(store, release), 200)
  })

  const list = createRoute({
    method: 'get',
    path: '/v1/models',
    summary:
      'Releases, oldest first, with lineage and history; a gateway sees those that its devices may need, without history',
    request: { query: z.object({ family: schemas.ofFamily }) },
    responses: schemas.answers(z.object({ models: z.array(schemas.release) }), 'All releases'),
  })
  app.openapi(list, (c) => {
    const sites = ownSites(services, c)
    const all = store.models.list(c.req.valid('query').family)
    const seen = sites === undefined ? all : all.filter(({ sha256 }) => store.models.isNeededAt(sha256, sites))
    const views = seen.map((release) => releaseView(store, release))
    return c.json({ models: sites === undefined ? views : views.map((view) => ({ ...view, history: [] })) }, 200)
  })

  const signals = createRoute({
    method: 'get',
    path: '/v1/models/{name}/{version}/signals',
    summary: 'What the devices of a release have counted, by the names that its bundle declares',
    request: { params: schemas.releaseParams, query: z.object({ hours: z.string().optional() }) },
    responses: schemas.answers(
      z.object({ listeningMs: z.number(), signals: z.array(schemas.signal).readonly() }),
      'Signals in the order of the bundle; none where it declares none',
    ),
  })
  app.openapi(signals, (c) => {
    const { name, version } = c.req.valid('param')
    const release = store.models.byName(name, version) ?? fail('not-found', `no release ${name} ${version}`)
    const sinceMs = clock.wallMs() - 3_600_000 * integerQuery(c, 'hours', 24, 1, SIGNAL_HOURS_MAX)
    const manifest = unwrap(registry.manifest(release))
    const sums = store.fleet.signalSums(release.prefix, sinceMs)
    return c.json({ listeningMs: sums.listeningMs, signals: signalFigures(manifest, sums) }, 200)
  })

  const patches = createRoute({
    method: 'get',
    path: '/v1/models/{name}/{version}/patches',
    summary: 'Patches that the signed document of a release names, and which of them were uploaded',
    request: { params: schemas.releaseParams },
    responses: schemas.answers(z.object({ patches: z.array(schemas.releasePatch) }), 'All patches of the release'),
  })
  app.openapi(patches, (c) => {
    const { name, version } = c.req.valid('param')
    const { release } = unwrap(repository.release(name, version))
    const listed = unwrap(registry.patches(name, version))
    return c.json({ patches: listed.map((patch) => ({ ...patch, share: patch.bytes / release.bytes })) }, 200)
  })

  const upload = createRoute({
    method: 'put',
    path: '/v1/models/{name}/{version}/patches/{sha256}',
    summary: 'Upload a patch; refused unless the signed document of the release names it',
    middleware: bodyLimitOf(LIMITS.bundleBytes),
    request: {
      params: schemas.releaseParams.extend({ sha256: schemas.sha256 }),
      body: { content: { 'application/octet-stream': { schema: z.string().openapi({ format: 'binary' }) } } },
    },
    responses: schemas.answers(z.object({ sha256: z.string(), created: z.boolean() }), 'It is stored'),
  })
  app.openapi(upload, async (c) => {
    const { name, version, sha256 } = c.req.valid('param')
    const data = new Uint8Array(await c.req.arrayBuffer())
    const { created } = unwrap(await registry.putPatch(name, version, sha256, data))
    return c.json({ sha256, created }, 200)
  })

  const stop = createRoute({
    method: 'post',
    path: '/v1/models/{name}/stop',
    summary: 'Emergency: take a release from the whole fleet, whatever has brought it there',
    middleware: changes(services, 4_096),
    request: { params: z.object({ name: schemas.name }), ...schemas.change(schemas.stopRequest) },
    responses: schemas.answers(schemas.stopped, 'What was taken back, and what is left'),
  })
  app.openapi(stop, (c) => {
    const { reason, version } = c.req.valid('json')
    const { name } = c.req.valid('param')
    const stopped = unwrap(services.engine.stop(name, version, c.get('principal').subject, reason))
    for (const id of stopped.takenBack) {
      const rollout = store.rollouts.get(id)
      if (rollout !== undefined) services.hub.publish('rollout', rolloutView(store, rollout))
    }
    services.signSoon()
    return c.json(stopped, 200)
  })

  const promote = createRoute({
    method: 'post',
    path: '/v1/models/{name}/promote',
    summary: 'Move a release to another state',
    middleware: changes(services, 4_096),
    request: { params: z.object({ name: schemas.name }), ...schemas.change(schemas.promoteRequest) },
    responses: schemas.answers(schemas.release, 'The release in its new state'),
  })
  app.openapi(promote, (c) => {
    const { to, reason, version, risk } = c.req.valid('json')
    const { name } = c.req.valid('param')
    const release = unwrap(registry.promote(name, to, c.get('principal').subject, reason, version, risk))
    services.signSoon()
    return c.json(releaseView(store, release), 200)
  })

  const gates = createRoute({
    method: 'get',
    path: '/v1/models/{name}/{version}/gates',
    summary: 'Risk of a release, who has approved it, and what it lacks before devices may get it',
    request: { params: schemas.releaseParams },
    responses: schemas.answers(schemas.releaseGates, 'What stands in its way; empty: nothing'),
  })
  app.openapi(gates, (c) => {
    const { name, version } = c.req.valid('param')
    const release = store.models.byName(name, version) ?? fail('not-found', `no release ${name} ${version}`)
    return c.json({ ...registry.gates(release), sha256: release.sha256 }, 200)
  })

  const approve = createRoute({
    method: 'post',
    path: '/v1/models/{name}/approve',
    summary: 'Say that a release may go to devices; for these bytes, and never one’s own',
    middleware: changes(services, 4_096),
    request: { params: z.object({ name: schemas.name }), ...schemas.change(schemas.approveRequest) },
    responses: schemas.answers(schemas.releaseGates, 'What it needs after it'),
  })
  app.openapi(approve, (c) => {
    const { reason, ...of } = c.req.valid('json')
    const release = unwrap(registry.approve(c.req.valid('param').name, c.get('principal').subject, reason, of))
    return c.json({ ...registry.gates(release), sha256: release.sha256 }, 200)
  })

  const risk = createRoute({
    method: 'put',
    path: '/v1/families/{name}/risk',
    summary: 'The least risk of a family’s releases; lowering it is an admin’s',
    middleware: changes(services, 4_096),
    request: { params: z.object({ name: schemas.name }), ...schemas.change(schemas.familyRiskRequest) },
    responses: schemas.answers(schemas.familyRisk, 'From now on'),
  })
  app.openapi(risk, (c) => {
    const { risk, reason } = c.req.valid('json')
    const { subject: by, role } = c.get('principal')
    const mayLower = may(role, 'administer')
    return c.json(unwrap(registry.setFamilyRisk(c.req.valid('param').name, risk, { by, reason, mayLower })), 200)
  })
}
