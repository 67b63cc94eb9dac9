import { apiOf, type CloudFlags } from '../cloud-option.ts'
import { CommandFailure } from '../failure.ts'
import { idOf, timeOf } from './alerts.ts'
import { type IncidentDetail, postmortem } from './postmortem.ts'

export interface OpenFlags extends CloudFlags {
  readonly severity?: string
  readonly alert?: number
  readonly family?: string
  readonly site?: string
  readonly rollout?: string
  readonly hoursAgo?: number
}

export interface IncidentListFlags extends CloudFlags {
  readonly all?: boolean
  readonly json?: boolean
}

export interface ShowFlags extends CloudFlags {
  readonly postmortem?: boolean
  readonly json?: boolean
}

export type NoteFlags = CloudFlags

export interface CloseFlags extends CloudFlags {
  readonly outcome: string
}

type Row = Omit<IncidentDetail, 'timeline' | 'isCut'>

const pathOf = (id: string): string => `/v1/incidents/${idOf(id, 'incident list')}`

/** `kinglet incident open TITLE` */
export async function openIncident(title: string, flags: OpenFlags): Promise<void> {
  const { severity, alert, family, site, rollout, hoursAgo } = flags
  const api = apiOf(flags)
  // By the cloud's clock, which may be a simulation's.
  const { atMs } = await api.get<{ atMs: number }>('/v1/gateways?limit=1')
  const sinceMs = hoursAgo === undefined ? undefined : Math.max(0, Math.floor(atMs - hoursAgo * 3_600_000))
  const wish = { title, severity, alert, family, site, rollout, sinceMs }
  console.log(lineOf(await api.post<Row>('/v1/incidents', wish)))
}

/** `kinglet incident list` */
export async function listIncidents({ all, json, ...flags }: IncidentListFlags): Promise<void> {
  const api = apiOf(flags)
  const asked = new URLSearchParams(all === true ? {} : { state: 'open' })
  for (let next: number | null | undefined; next !== null; ) {
    if (next !== undefined) asked.set('before', String(next))
    const page: { incidents: Row[]; next: number | null } = await api.get(`/v1/incidents?${asked.toString()}`)
    for (const row of page.incidents) console.log(json === true ? JSON.stringify(row) : lineOf(row))
    next = page.next
  }
}

/** `kinglet incident show ID` */
export async function showIncident(id: string, flags: ShowFlags): Promise<void> {
  const { json, postmortem: asPostmortem } = flags
  if (json === true && asPostmortem === true) {
    throw new CommandFailure('--json and --postmortem exclude each other', { exitCode: 2 })
  }
  const incident = await apiOf(flags).get<IncidentDetail>(pathOf(id))
  if (json === true) console.log(JSON.stringify(incident))
  else if (asPostmortem === true) console.log(postmortem(incident))
  else {
    console.log(lineOf(incident))
    if (incident.isCut) console.log('  the oldest entries are left out')
    for (const { atMs, kind, by, words } of incident.timeline) {
      console.log(`  ${timeOf(atMs)}  ${kind.padEnd(7)}  ${by === null ? '' : `${by}: `}${words}`)
    }
  }
}

/** `kinglet incident note ID WORDS` */
export async function noteIncident(id: string, words: string, flags: NoteFlags): Promise<void> {
  console.log(lineOf(await apiOf(flags).post<Row>(`${pathOf(id)}/notes`, { words })))
}

/** `kinglet incident close ID` */
export async function closeIncident(id: string, { outcome, ...flags }: CloseFlags): Promise<void> {
  console.log(lineOf(await apiOf(flags).post<Row>(`${pathOf(id)}/close`, { outcome })))
}

function lineOf({
  id,
  severity,
  title,
  family,
  site,
  rollout,
  beganMs,
  openedBy,
  closedMs,
  closedBy,
  outcome,
}: Row): string {
  const of = Object.entries({ family, site, rollout }).flatMap(([kind, name]) =>
    name === null ? [] : [`${kind}:${name}`],
  )
  const state = closedMs === null ? 'open' : `closed ${timeOf(closedMs)} by ${closedBy}: ${outcome}`
  const about = of.length === 0 ? 'everything' : of.join(' ')
  return `${String(id).padStart(5)}  ${severity}  ${title}  (${about})  since ${timeOf(beganMs)}  by ${openedBy}  ${state}`
}
