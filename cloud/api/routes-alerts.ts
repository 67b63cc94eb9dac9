import { createRoute, z } from '@hono/zod-openapi'
import { LIMITS } from '../../contract/limits.ts'
import { present } from '../../contract/present.ts'
import { groupAlerts } from './alert-groups.ts'
import { ALERT_CODES } from './alert-words.ts'
import { changes } from './changes.ts'
import type { CloudApp, CloudServices } from './environment.ts'
import { fail, integerQuery } from './problem.ts'
import * as schemas from './schemas.ts'
import { alertView } from './views.ts'

/** chosen: for as long as alerts are kept */
const FIGURES_DAYS_MAX = 400
/** chosen: of a fleet whose every site is silent; more are counted as left out */
const GROUPED_MAX = 5_000
const params = z.object({ id: schemas.rowId })

/** What the fleet does that somebody should look at, and who has taken it on. */
export function alertRoutes(app: CloudApp, services: CloudServices): void {
  const { store, clock, hub } = services

  const list = createRoute({
    method: 'get',
    path: '/v1/alerts',
    summary: 'Alerts, newest first',
    request: { query: schemas.page.extend({ family: schemas.ofFamily, state: z.literal('open').optional() }) },
    responses: schemas.answers(
      z.object({ alerts: z.array(schemas.alert), next: z.number().nullable() }),
      'At most `limit` alerts with an id below `before`, all or those that are open; `next` is the `before` of the page that follows',
    ),
  })
  app.openapi(list, (c) => {
    const { family, state } = c.req.valid('query')
    const limit = integerQuery(c, 'limit', 200, 1, 1_000)
    const before = integerQuery(c, 'before', LIMITS.counter, 1, LIMITS.counter)
    const found = store.alerts.list(limit, before, { family, isOpen: state === 'open' })
    return c.json({ alerts: found.map((alert) => alertView(store, alert)), next: schemas.nextOf(found, limit) }, 200)
  })

  const acknowledge = createRoute({
    method: 'post',
    path: '/v1/alerts/{id}/acknowledge',
    summary: 'Say that one has taken an open alert on; it stays open until what it tells of is over',
    middleware: changes(services, 4_096),
    request: {
      params,
      ...schemas.change(schemas.reasonRequest),
    },
    responses: schemas.answers(schemas.alert, 'The alert; who had acknowledged it before stays'),
  })
  app.openapi(acknowledge, (c) => {
    const id = Number(c.req.valid('param').id)
    const { reason } = c.req.valid('json')
    const now = clock.wallMs()
    const by = c.get('principal').subject
    const alert = store.atomically(() => {
      const known = store.alerts.byId(id) ?? fail('not-found', `no alert ${id}`)
      if (known.acknowledged !== null) return known
      if (known.state !== 'open') fail('conflict', `alert ${id} is over: it was resolved by itself`)
      store.alerts.acknowledge(id, { ms: now, by, reason })
      const detail = { code: known.code, metric: known.metric, reason }
      store.audit.append({ atMs: now, actor: by, action: 'alert.acknowledged', subject: String(id), detail })
      return { ...known, acknowledged: { ms: now, by, reason } }
    })
    const view = alertView(store, alert)
    hub.publish('alert', { change: 'acknowledged', ...view })
    return c.json(view, 200)
  })

  const groups = createRoute({
    method: 'get',
    path: '/v1/alerts/groups',
    summary:
      'Open alerts by what stands behind them: the site, the gateway, the rollout or the family; the worst first',
    request: { query: z.object({ family: schemas.ofFamily }) },
    responses: schemas.answers(
      z.object({ groups: z.array(schemas.alertGroup), isCut: z.boolean() }),
      'Groups of the newest 5 000 open alerts; `isCut`: there are more',
    ),
  })
  app.openapi(groups, (c) => {
    const { family } = c.req.valid('query')
    const open = store.alerts.list(GROUPED_MAX, LIMITS.counter, { family, isOpen: true })
    const groups = groupAlerts(store, open).map((group) => ({
      ...group,
      alerts: group.alerts.map((alert) => alertView(store, alert)),
    }))
    return c.json({ groups, isCut: open.length === GROUPED_MAX }, 200)
  })

  const figures = createRoute({
    method: 'get',
    path: '/v1/alerts/figures',
    summary: 'How many alerts were raised, and how many somebody took on, by code',
    request: { query: z.object({ days: z.string().optional() }) },
    responses: schemas.answers(z.object({ figures: z.array(schemas.alertFigures) }), 'Of the last `days` (30)'),
  })
  app.openapi(figures, (c) => {
    const days = integerQuery(c, 'days', 30, 1, FIGURES_DAYS_MAX)
    const rows = store.alerts.figures(clock.wallMs() - days * 86_400_000)
    const views = rows.map(({ waitsMs, ...row }) => ({
      ...row,
      medianWaitMs: waitsMs[Math.floor((waitsMs.length - 1) / 2)] ?? null,
    }))
    return c.json({ figures: views }, 200)
  })

  const silences = createRoute({
    method: 'get',
    path: '/v1/silences',
    summary: 'Alerts that nobody is told of for now',
    responses: schemas.answers(z.object({ silences: z.array(schemas.silence) }), 'Those in force'),
  })
  app.openapi(silences, (c) => c.json({ silences: [...store.silences.inForce()] }, 200))

  const silence = createRoute({
    method: 'post',
    path: '/v1/silences',
    summary: 'Have nobody told of alerts of a kind for some hours; they are raised and listed as ever',
    middleware: changes(services, 4_096),
    request: schemas.change(schemas.silenceRequest),
    responses: schemas.answers(schemas.silence, 'The silence'),
  })
  app.openapi(silence, (c) => {
    const { code, metric = null, cohort = null, hours, reason } = c.req.valid('json')
    if (!ALERT_CODES.has(code))
      fail('invalid-request', `no alert has the code "${code}": ${[...ALERT_CODES].join(', ')}`)
    const now = clock.wallMs()
    const by = c.get('principal').subject
    const untilMs = Math.ceil(now + hours * 3_600_000)
    const made = store.atomically(() => {
      const id = store.silences.add({ code, metric, cohort, fromMs: now, untilMs, by, reason })
      const detail = { code, metric, cohort, untilMs, reason }
      store.audit.append({ atMs: now, actor: by, action: 'alert.silenced', subject: String(id), detail })
      return store.silences.byId(id)
    })
    announce(code)
    return c.json(present(made, 'the silence just stored'), 200)
  })

  const end = createRoute({
    method: 'delete',
    path: '/v1/silences/{id}',
    summary: 'End a silence: what is open is told',
    middleware: changes(services, 4_096),
    request: { params, ...schemas.changed },
    responses: schemas.answers(schemas.silence, 'The silence that was'),
  })
  app.openapi(end, (c) => {
    const id = Number(c.req.valid('param').id)
    const now = clock.wallMs()
    const actor = c.get('principal').subject
    const ended = store.atomically(() => {
      const known = store.silences.byId(id) ?? fail('not-found', `no silence ${id}`)
      if (known.endedMs !== null) return known
      store.silences.end(id, now)
      const detail = { code: known.code, metric: known.metric, cohort: known.cohort }
      store.audit.append({ atMs: now, actor, action: 'alert.silence-ended', subject: String(id), detail })
      return { ...known, endedMs: now }
    })
    announce(ended.code)
    return c.json(ended, 200)
  })

  /** Tells pages of the alerts that are shown otherwise now. */
  function announce(code: string): void {
    for (const alert of store.alerts.allOpen()) {
      if (alert.code === code) hub.publish('alert', { change: 'silence', ...alertView(store, alert) })
    }
  }
}
