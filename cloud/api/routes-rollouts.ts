import { createRoute, z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { parseDeviceQuery } from '../../contract/device-query.ts'
import { present } from '../../contract/present.ts'
import type { RolloutRequest } from '../rollout/engine.ts'
import { gateWords } from '../rollout/gate-words.ts'
import type { RolloutRecord } from '../store/rollout-store.ts'
import { bodyLimitOf } from './body-limit.ts'
import { changes } from './changes.ts'
import type { CloudApp, CloudEnv, CloudServices } from './environment.ts'
import { deviceTag, requireMatch, rolloutTag } from './etag.ts'
import { policyOf, templateOf } from './gate-request.ts'
import { fail, integerQuery, unwrap } from './problem.ts'
import { rolloutReport } from './rollout-report.ts'
import * as schemas from './schemas.ts'
import { deviceView, rolloutView } from './views.ts'

/** chosen: canary, half, all */
const DEFAULT_PERCENTS = [20, 50, 100]
/** chosen: two halves tell the most of a difference */
const DEFAULT_SHARE = [50]

/** Rollouts: start, watch, pause, resume, roll back. */
export function rolloutRoutes(app: CloudApp, services: CloudServices): void {
  const { store, engine, registry, hub } = services

  /** Tells everybody of a rollout that has just been changed. */
  function changed(rollout: RolloutRecord) {
    const view = rolloutView(store, rollout)
    hub.publish('rollout', view)
    services.nudge()
    return view
  }

  /** The request of a rollout with everything that it leaves out. */
  function requestOf(body: z.infer<typeof schemas.rolloutRequest>): RolloutRequest {
    const { name, version, policy: reference, gate, irreversible = false, devices = null } = body
    const { experimentHours = null, installingMax } = body
    const { percents = experimentHours === null ? DEFAULT_PERCENTS : DEFAULT_SHARE } = body
    if (experimentHours !== null) {
      if (percents.length !== 1 || percents[0] === 100) {
        return fail('invalid-request', '"percents" of an experiment is one share, below 100')
      }
    } else if (percents.at(-1) !== 100 || percents.some((percent, i) => percent <= (percents[i - 1] ?? 0))) {
      return fail('invalid-request', '"percents" must rise and end at 100')
    }
    if (devices?.trim() === '') return fail('invalid-request', '"devices" chooses by a condition: say which devices')
    const template = reference === undefined ? undefined : templateOf(store, reference)
    return {
      ...{ name, version, percents, policy: policyOf(gate, template?.policy), irreversible },
      policyName: template === undefined ? null : `${template.name}@${template.version}`,
      ...{ devices: devices?.trim() ?? null, experimentHours },
      installingMax: { fleet: installingMax?.fleet ?? null, site: installingMax?.site ?? null },
    }
  }

  const plan = createRoute({
    method: 'post',
    path: '/v1/rollouts/plan',
    summary: 'What a rollout would do and could find; starts nothing',
    middleware: bodyLimitOf(64 * 1024),
    request: schemas.jsonBody(schemas.rolloutRequest),
    responses: schemas.answers(schemas.rolloutPlan, 'The plan'),
  })
  app.openapi(plan, (c) => c.json(unwrap(engine.plan(requestOf(c.req.valid('json')))), 200))

  const start = createRoute({
    method: 'post',
    path: '/v1/rollouts',
    summary: 'Start a rollout of a staged release',
    middleware: changes(services, 64 * 1024),
    request: schemas.change(schemas.rolloutRequest),
    responses: schemas.answers(schemas.rollout, 'The rollout'),
  })
  app.openapi(start, (c) => {
    const { name, version } = c.req.valid('json')
    const release = store.models.byName(name, version)
    if (release !== undefined) unwrap(registry.cleared(release))
    const rollout = unwrap(engine.start(requestOf(c.req.valid('json')), c.get('principal').subject))
    return c.json(changed(rollout), 200)
  })

  const list = createRoute({
    method: 'get',
    path: '/v1/rollouts',
    summary: 'Rollouts, newest first',
    request: {
      query: z.object({
        limit: z.string().optional(),
        before: schemas.name.optional(),
        family: schemas.ofFamily,
        state: z.literal('open').optional().openapi({ description: '`open`: only those that run or are paused' }),
      }),
    },
    responses: schemas.answers(
      z.object({ rollouts: z.array(schemas.rollout), next: z.string().nullable() }),
      'At most `limit` (50) rollouts after the one that `before` names, which is `next` of the page before',
    ),
  })
  app.openapi(list, (c) => {
    const limit = integerQuery(c, 'limit', 50, 1, 500)
    const { before, family, state } = c.req.valid('query')
    const page = store.rollouts.list(limit, before, { family, isOpen: state === 'open' })
    const rollouts = page.map((rollout) => rolloutView(store, rollout))
    return c.json({ rollouts, next: page.length === limit ? (page.at(-1)?.id ?? null) : null }, 200)
  })

  const params = z.object({ id: schemas.name })
  const one = createRoute({
    method: 'get',
    path: '/v1/rollouts/{id}',
    summary: 'One rollout with the numbers of its gate',
    request: { params },
    responses: schemas.answers(schemas.rollout, 'The rollout'),
  })
  app.openapi(one, (c) => {
    const { id } = c.req.valid('param')
    return c.json(rolloutView(store, store.rollouts.get(id) ?? fail('not-found', `no rollout "${id}"`)), 200)
  })

  const cohort = createRoute({
    method: 'get',
    path: '/v1/rollouts/{id}/cohort',
    summary: 'Devices that were chosen for a rollout, and how the choice would differ now',
    request: { params },
    responses: schemas.answers(schemas.rolloutCohort, 'How many, and the first names'),
  })
  app.openapi(cohort, (c) => {
    const { id } = c.req.valid('param')
    const rollout = store.rollouts.get(id) ?? fail('not-found', `no rollout "${id}"`)
    const query = rollout.cohort ?? fail('not-found', `rollout ${id} takes whoever fits: no devices were chosen for it`)
    const condition = store.groups.condition(unwrap(parseDeviceQuery(query)), services.clock.wallMs())
    const { family, content } = present(store.models.byId(rollout.release), 'the release of a rollout')
    const compared = store.cohorts.compare(id, family, content.boards, condition.ok ? condition.value : null)
    return c.json({ query, ...compared, keeping: store.cohorts.keeping(id) }, 200)
  })

  const report = createRoute({
    method: 'get',
    path: '/v1/rollouts/{id}/report',
    summary: 'What a rollout or experiment has found: every signal, every slice',
    request: { params },
    responses: schemas.answers(schemas.rolloutReport, 'As of its end, or of now'),
  })
  app.openapi(report, (c) => {
    const { id } = c.req.valid('param')
    const rollout = store.rollouts.get(id) ?? fail('not-found', `no rollout "${id}"`)
    const found = rolloutReport(store, rollout, services.clock.wallMs())
    return c.json(found ?? fail('conflict', `the gate of rollout ${id} has said nothing yet`), 200)
  })

  /** Refuses to change a rollout that is no longer as whoever asks saw it. */
  function asSeen(c: Context<CloudEnv>, id: string): string {
    const rollout = store.rollouts.get(id)
    if (rollout !== undefined) requireMatch(c, rolloutTag(rollout))
    return id
  }

  for (const action of ['pause', 'resume', 'rollback'] as const) {
    const route = createRoute({
      method: 'post',
      path: `/v1/rollouts/{id}/${action}`,
      summary: `${action.charAt(0).toUpperCase()}${action.slice(1)} a rollout`,
      middleware: changes(services, 4_096),
      request: { params, ...schemas.conditionalChange(schemas.reasonRequest) },
      responses: schemas.answers(schemas.rollout, 'The rollout after it'),
    })
    app.openapi(route, (c) => {
      const id = asSeen(c, c.req.valid('param').id)
      const rollout = unwrap(engine[action](id, c.get('principal').subject, c.req.valid('json').reason))
      return c.json(changed(rollout), 200)
    })
  }

  const advance = createRoute({
    method: 'post',
    path: '/v1/rollouts/{id}/advance',
    summary: 'End the running stage by hand; `full` exposes everybody',
    middleware: changes(services, 4_096),
    request: { params, ...schemas.conditionalChange(schemas.advanceRequest) },
    responses: schemas.answers(schemas.rollout, 'The rollout after it'),
  })
  app.openapi(advance, async (c) => {
    const { reason, full = false } = c.req.valid('json')
    const { id } = c.req.valid('param')
    const pasts = await services.pastsOf(id)
    // As it is now: what was read beside took its time.
    const by = c.get('principal').subject
    return c.json(changed(unwrap(engine.advance(asSeen(c, id), by, reason, full, pasts))), 200)
  })

  const change = createRoute({
    method: 'patch',
    path: '/v1/rollouts/{id}',
    summary: 'Change the share of a stage that must have installed',
    middleware: changes(services, 4_096),
    request: { params, ...schemas.conditionalChange(schemas.rolloutChange) },
    responses: schemas.answers(schemas.rollout, 'The rollout after it'),
  })
  app.openapi(change, (c) => {
    const { reason, minInstalledShare } = c.req.valid('json')
    const id = asSeen(c, c.req.valid('param').id)
    const by = c.get('principal').subject
    return c.json(changed(unwrap(engine.setMinInstalledShare(id, minInstalledShare, by, reason))), 200)
  })

  function deviceAsSeen(c: Context<CloudEnv>, name: string): string {
    const device = store.devices.byName(name)
    if (device !== undefined) requireMatch(c, deviceTag(device))
    return name
  }

  const retarget = createRoute({
    method: 'post',
    path: '/v1/devices/{id}/target',
    summary: 'Give one device a model that no rollout moves, or (null) let it follow production again',
    middleware: changes(services, 4_096),
    request: { params, ...schemas.conditionalChange(schemas.retargetRequest) },
    responses: schemas.answers(schemas.device, 'The device after it'),
  })
  app.openapi(retarget, (c) => {
    const { reason, model } = c.req.valid('json')
    const by = c.get('principal').subject
    const device = unwrap(engine.retarget(deviceAsSeen(c, c.req.valid('param').id), model, by, reason))
    services.signSoon()
    return c.json(deviceView(store, device), 200)
  })

  const move = createRoute({
    method: 'post',
    path: '/v1/devices/{id}/family',
    summary: 'Have a device follow another family; refused while it takes part in a rollout',
    middleware: changes(services, 4_096),
    request: { params: z.object({ id: schemas.id }), ...schemas.conditionalChange(schemas.familyRequest) },
    responses: schemas.answers(schemas.device, 'The device after it'),
  })
  app.openapi(move, (c) => {
    const { reason, family } = c.req.valid('json')
    const by = c.get('principal').subject
    const device = unwrap(engine.moveFamily(deviceAsSeen(c, c.req.valid('param').id), family, by, reason))
    services.signSoon()
    return c.json(deviceView(store, device), 200)
  })

  const readings = createRoute({
    method: 'get',
    path: '/v1/rollouts/{id}/readings',
    summary: 'What the gate said, newest first',
    request: { params, query: z.object({ limit: z.string().optional(), before: z.string().optional() }) },
    responses: schemas.answers(
      z.object({ readings: z.array(schemas.gateReading), next: z.number().nullable() }),
      'At most `limit` readings before the moment `before`',
    ),
  })
  app.openapi(readings, (c) => {
    const { id } = c.req.valid('param')
    if (store.rollouts.get(id) === undefined) return fail('not-found', `no rollout "${id}"`)
    const limit = integerQuery(c, 'limit', 100, 1, 1_000)
    const before = integerQuery(c, 'before', Number.MAX_SAFE_INTEGER, 0, Number.MAX_SAFE_INTEGER)
    const kept = store.readings.list(id, before, limit)
    const rows = kept.map((each) => ({ ...each, words: gateWords(each.reading) }))
    return c.json({ readings: rows, next: kept.length === limit ? (kept.at(-1)?.atMs ?? null) : null }, 200)
  })

  const input = createRoute({
    method: 'get',
    path: '/v1/rollouts/{id}/readings/{at}',
    summary: 'One reading with everything it was computed from; `latest` for the newest',
    request: { params: z.object({ id: schemas.id, at: z.string().regex(/^(latest|\d{1,15})$/) }) },
    responses: schemas.answers(
      schemas.gateReading.extend({ policy: z.any(), input: z.any() }),
      'The reading, the policy and the input of the gate',
    ),
  })
  app.openapi(input, (c) => {
    const { id, at } = c.req.valid('param')
    const kept =
      store.readings.get(id, at === 'latest' ? undefined : Number(at)) ??
      fail('not-found', `the gate of rollout "${id}" has no reading of ${at}`)
    return c.json({ ...kept, words: gateWords(kept.reading) }, 200)
  })
}
