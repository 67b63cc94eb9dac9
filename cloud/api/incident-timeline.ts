import { gateWords } from '../rollout/gate-words.ts'
import type { IncidentRecord } from '../store/incident-store.ts'
import type { Store } from '../store/store.ts'
import { causeOf } from './alert-groups.ts'
import { alertView } from './views.ts'

/** Something that happened while an incident lasted, where it is about. */
export interface TimelineEntry {
  readonly atMs: number
  readonly kind: 'alert' | 'audit' | 'verdict' | 'state' | 'note'
  readonly by: string | null
  readonly words: string
}

/** Chosen: rows of each kind that are looked at, the newest; what came before is said to be left out. */
const ROWS_MAX = 2_000

/** What alerts, people, gates and releases did in an incident's time and scope, oldest first. A note is always in it.
 *  @param untilMs its end, or now */
export function timelineOf(
  store: Store,
  incident: IncidentRecord,
  untilMs: number,
): { readonly entries: readonly TimelineEntry[]; readonly isCut: boolean } {
  const { beganMs: fromMs } = incident
  const scope = scopeOf(store, incident)
  const alerts = store.alerts.between(fromMs, untilMs, ROWS_MAX)
  const audit = store.audit.between(fromMs, untilMs, ROWS_MAX)
  const within = (ms: number | null): ms is number => ms !== null && ms >= fromMs && ms <= untilMs
  const entries: TimelineEntry[] = []
  let isCut = alerts.length === ROWS_MAX || audit.length === ROWS_MAX
  const ids = new Set<string>()
  for (const alert of alerts) {
    if (!scope.hasAlert(alert)) continue
    ids.add(String(alert.id))
    const { severity, title, words } = alertView(store, alert)
    const of = `alert ${alert.id} ${severity}`
    if (within(alert.sinceMs))
      entries.push({ atMs: alert.sinceMs, kind: 'alert', by: null, words: `${of}: ${title} ${words}` })
    if (within(alert.resolvedMs))
      entries.push({ atMs: alert.resolvedMs, kind: 'alert', by: null, words: `${of} is over` })
  }
  for (const { atMs, actor, action, subject, detail } of audit) {
    // Told by the alerts themselves, and by the notes.
    if (/^(alert\.(raised|resolved)|incident\.noted)$/.test(action)) continue
    const isOfAlert = action.startsWith('alert.') && ids.has(subject)
    const isOwn = action.startsWith('incident.') && subject === String(incident.id)
    if (!isOwn && !isOfAlert && !scope.hasSubject(action, subject)) continue
    const reason = (detail as { reason?: unknown } | null)?.reason
    const why = typeof reason === 'string' ? `: ${reason}` : ''
    entries.push({ atMs, kind: 'audit', by: actor, words: `${action} ${subject}${why}` })
  }
  for (const id of scope.rollouts) {
    const readings = store.readings.list(id, untilMs + 1, ROWS_MAX)
    isCut ||= readings.length === ROWS_MAX
    let before = ''
    for (const { atMs, verdict, reading } of [...readings].reverse()) {
      if (verdict !== before && atMs >= fromMs) {
        entries.push({ atMs, kind: 'verdict', by: null, words: `gate of ${id}: ${gateWords(reading)}` })
      }
      before = verdict
    }
    for (const { stage, percent, startedMs, endedMs } of store.rollouts.stages(id)) {
      const of = `${id} stage ${stage} (${percent} %)`
      if (within(startedMs)) entries.push({ atMs: startedMs, kind: 'state', by: null, words: `${of} begins` })
      if (within(endedMs)) entries.push({ atMs: endedMs, kind: 'state', by: null, words: `${of} ends` })
    }
  }
  for (const { id, name, version } of scope.releases) {
    for (const { from, to, atMs, by, reason } of store.models.history(id)) {
      if (!within(atMs)) continue
      const words = `${name} ${version}: ${from === null ? to : `${from} → ${to}`}${reason === '' ? '' : `: ${reason}`}`
      entries.push({ atMs, kind: 'state', by, words })
    }
  }
  for (const { atMs, by, words } of store.incidents.notes(incident.id)) entries.push({ atMs, kind: 'note', by, words })
  return { entries: entries.sort((a, b) => a.atMs - b.atMs), isCut }
}

/** What an incident is about: an incident of nothing in particular is about all. */
function scopeOf(store: Store, { family, site, rollout, beganMs }: IncidentRecord) {
  const isAll = family === null && site === null && rollout === null
  const named = rollout === null ? undefined : store.rollouts.get(rollout)
  const ofRollout = named === undefined ? undefined : store.models.byId(named.release)
  const releases =
    ofRollout !== undefined ? [ofRollout] : family !== null || isAll ? store.models.list(family ?? undefined) : []
  const rollouts =
    rollout !== null
      ? [rollout]
      : family !== null || isAll
        ? store.rollouts
            .list(500, undefined, { ...(family !== null && { family }) })
            .filter(({ endedMs }) => endedMs === null || endedMs >= beganMs)
            .map(({ id }) => id)
        : []
  const names = new Set([
    ...rollouts,
    ...releases.map(({ name }) => name),
    ...[family, site].filter((each) => each !== null),
  ])
  return {
    rollouts,
    releases,
    hasAlert(alert: Parameters<typeof causeOf>[1]): boolean {
      if (isAll) return true
      const cause = causeOf(store, alert)
      if (cause.kind === 'site') return cause.name === site
      if (cause.kind === 'gateway')
        return site !== null && store.gateways.byName(cause.name)?.sites.includes(site) === true
      return releases.some(({ prefix }) => prefix === alert.model)
    },
    hasSubject(action: string, subject: string): boolean {
      if (isAll || names.has(subject)) return true
      if (action.startsWith('device.')) {
        const device = store.devices.byName(subject)
        return device !== undefined && (device.site === site || device.family === family)
      }
      return (
        action.startsWith('gateway.') && site !== null && store.gateways.byName(subject)?.sites.includes(site) === true
      )
    },
  }
}
