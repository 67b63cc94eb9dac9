import { createRoute, z } from '@hono/zod-openapi'
import { LIMITS } from '../../contract/limits.ts'
import { present } from '../../contract/present.ts'
import { INCIDENT_NOTES_MAX, type IncidentRecord } from '../store/incident-store.ts'
import { causeOf } from './alert-groups.ts'
import { ALERT_RUNBOOK, severityOf } from './alert-words.ts'
import { changes } from './changes.ts'
import type { CloudApp, CloudServices } from './environment.ts'
import { timelineOf } from './incident-timeline.ts'
import { fail, integerQuery } from './problem.ts'
import * as schemas from './schemas.ts'

/** chosen: what began longer ago is no incident, and its rows are going */
const BEGAN_DAYS_MAX = 30

/** Incidents: what people work on together when something is wrong, and what happened meanwhile. */
export function incidentRoutes(app: CloudApp, services: CloudServices): void {
  const { store, clock } = services
  const params = z.object({ id: schemas.rowId })
  const known = (id: string): IncidentRecord =>
    store.incidents.byId(Number(id)) ?? fail('not-found', `no incident ${id}`)
  const view = (incident: IncidentRecord) => ({ ...incident, runbook: ALERT_RUNBOOK })

  const list = createRoute({
    method: 'get',
    path: '/v1/incidents',
    summary: 'Incidents, newest first',
    request: { query: schemas.page.extend({ state: z.literal('open').optional() }) },
    responses: schemas.answers(
      z.object({ incidents: z.array(schemas.incident), next: z.number().nullable() }),
      'At most `limit` incidents with an id below `before`, all or those that are open',
    ),
  })
  app.openapi(list, (c) => {
    const limit = integerQuery(c, 'limit', 100, 1, 500)
    const before = integerQuery(c, 'before', LIMITS.counter, 1, LIMITS.counter)
    const found = store.incidents.list(limit, before, c.req.valid('query').state === 'open')
    return c.json({ incidents: found.map(view), next: schemas.nextOf(found, limit) }, 200)
  })

  const open = createRoute({
    method: 'post',
    path: '/v1/incidents',
    summary:
      'Open an incident about a family, a site, a rollout, or what an alert is about; without any about everything',
    middleware: changes(services, 4_096),
    request: schemas.change(schemas.incidentRequest),
    responses: schemas.answers(schemas.incident, 'The incident'),
  })
  app.openapi(open, (c) => {
    const { title, severity, alert, sinceMs, family, site, rollout } = c.req.valid('json')
    const now = clock.wallMs()
    const by = c.get('principal').subject
    const of = alert === undefined ? undefined : (store.alerts.byId(alert) ?? fail('not-found', `no alert ${alert}`))
    const beganMs = Math.min(now, sinceMs ?? of?.sinceMs ?? now)
    if (now - beganMs > BEGAN_DAYS_MAX * 86_400_000 && sinceMs !== undefined) {
      fail('invalid-request', `an incident began ${BEGAN_DAYS_MAX} days ago at most`)
    }
    const scope = { family: family ?? null, site: site ?? null, rollout: rollout ?? null }
    if (family !== undefined && !store.models.families().includes(family)) fail('not-found', `no family "${family}"`)
    if (rollout !== undefined && store.rollouts.get(rollout) === undefined) fail('not-found', `no rollout "${rollout}"`)
    if (of !== undefined) {
      const { kind, name } = causeOf(store, of)
      if (kind === 'site' || kind === 'family' || kind === 'rollout') scope[kind] ??= name
      // A gateway's sites are where its devices are.
      if (kind === 'gateway') scope.site ??= store.gateways.byName(name)?.sites[0] ?? null
    }
    const worst = severity ?? (of === undefined ? 'P2' : severityOf(of))
    const incident = store.atomically(() => {
      const opened = { ...scope, severity: worst, title, beganMs, openedMs: now, openedBy: by }
      const id = store.incidents.open(opened)
      const detail = { ...scope, severity: worst, title, beganMs, ...(alert !== undefined && { alert }) }
      store.audit.append({ atMs: now, actor: by, action: 'incident.opened', subject: String(id), detail })
      return present(store.incidents.byId(id), 'the incident just stored')
    })
    return c.json(view(incident), 200)
  })

  const one = createRoute({
    method: 'get',
    path: '/v1/incidents/{id}',
    summary: 'An incident with its timeline: alerts, audit, verdicts, states and notes in its time and scope',
    request: { params },
    responses: schemas.answers(schemas.incidentDetail, 'The incident, oldest entry first'),
  })
  app.openapi(one, (c) => {
    const incident = known(c.req.valid('param').id)
    const { entries, isCut } = timelineOf(store, incident, incident.closedMs ?? clock.wallMs())
    return c.json({ ...view(incident), timeline: [...entries], isCut }, 200)
  })

  const note = createRoute({
    method: 'post',
    path: '/v1/incidents/{id}/notes',
    summary: 'Write into the timeline of an incident, also of one that is closed',
    middleware: changes(services, 8_192),
    request: { params, ...schemas.change(schemas.noteRequest) },
    responses: schemas.answers(schemas.incident, 'The incident'),
  })
  app.openapi(note, (c) => {
    const incident = known(c.req.valid('param').id)
    const { words } = c.req.valid('json')
    const atMs = clock.wallMs()
    const by = c.get('principal').subject
    store.atomically(() => {
      const isKept = store.incidents.note(incident.id, { atMs, by, words })
      if (!isKept) fail('conflict', `incident ${incident.id} has ${INCIDENT_NOTES_MAX} notes, and takes no more`)
      const detail = { words: words.slice(0, 200) }
      store.audit.append({ atMs, actor: by, action: 'incident.noted', subject: String(incident.id), detail })
    })
    return c.json(view(incident), 200)
  })

  const close = createRoute({
    method: 'post',
    path: '/v1/incidents/{id}/close',
    summary: 'Say that an incident is over, and what ended it',
    middleware: changes(services, 4_096),
    request: { params, ...schemas.change(schemas.closeRequest) },
    responses: schemas.answers(schemas.incident, 'The incident; who had closed it before stays'),
  })
  app.openapi(close, (c) => {
    const incident = known(c.req.valid('param').id)
    const { outcome } = c.req.valid('json')
    const ms = clock.wallMs()
    const by = c.get('principal').subject
    const closed = store.atomically(() => {
      if (incident.closedMs !== null) return incident
      store.incidents.close(incident.id, { ms, by, outcome })
      const subject = String(incident.id)
      store.audit.append({ atMs: ms, actor: by, action: 'incident.closed', subject, detail: { outcome } })
      return { ...incident, closedMs: ms, closedBy: by, outcome }
    })
    return c.json(view(closed), 200)
  })
}
