import type { CloudApi } from '../cloud-api.ts'
import { apiOf, type CloudFlags } from '../cloud-option.ts'
import { CommandFailure } from '../failure.ts'

interface AlertRow {
  readonly id: number
  readonly severity: string
  readonly code: string
  readonly state: 'open' | 'resolved'
  readonly sinceMs: number
  readonly resolvedMs: number | null
  readonly acknowledged: { readonly ms: number; readonly by: string; readonly reason: string } | null
  readonly silence: { readonly untilMs: number; readonly by: string; readonly reason: string } | null
  readonly title: string
  readonly words: string
  readonly metric: string
  readonly cohort: string | null
}

interface GroupRow {
  readonly cause: string
  readonly severity: string
  readonly sinceMs: number
  readonly codes: Readonly<Record<string, number>>
  readonly isUntouched: boolean
  readonly alerts: readonly AlertRow[]
}

interface SilenceRow {
  readonly id: number
  readonly code: string
  readonly metric: string | null
  readonly cohort: string | null
  readonly untilMs: number
  readonly by: string
  readonly reason: string
}

interface FiguresRow {
  readonly code: string
  readonly raised: number
  readonly open: number
  readonly acknowledged: number
  readonly medianWaitMs: number | null
}

export interface AlertListFlags extends CloudFlags {
  readonly all?: boolean
  readonly family?: string
  readonly json?: boolean
}

export interface GroupsFlags extends CloudFlags {
  readonly family?: string
  readonly json?: boolean
}

export interface AcknowledgeFlags extends CloudFlags {
  readonly reason: string
}

export interface SilenceFlags extends CloudFlags {
  readonly code?: string
  readonly metric?: string
  readonly cohort?: string
  readonly hours: number
  readonly reason: string
}

export interface FiguresFlags extends CloudFlags {
  readonly days: number
}

export function idOf(text: string, list: string): number {
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text)
  throw new CommandFailure(`"${text}" is no id`, { hint: `${list} shows them, in front`, exitCode: 2 })
}

/** `kinglet alert list` */
export async function listAlerts({ all, family, json, ...flags }: AlertListFlags): Promise<void> {
  const api = apiOf(flags)
  const asked = new URLSearchParams({ limit: '200', ...(all !== true && { state: 'open' }), ...(family && { family }) })
  for (let next: number | null | undefined; next !== null; ) {
    if (next !== undefined) asked.set('before', String(next))
    const page: { alerts: AlertRow[]; next: number | null } = await api.get(`/v1/alerts?${asked.toString()}`)
    for (const row of page.alerts) console.log(json === true ? JSON.stringify(row) : lineOf(row))
    next = page.next
  }
}

/** `kinglet alert groups` */
export async function alertGroups({ family, json, ...flags }: GroupsFlags): Promise<void> {
  const asked = family === undefined ? '' : `?family=${family}`
  const answer = await apiOf(flags).get<{ groups: GroupRow[]; isCut: boolean }>(`/v1/alerts/groups${asked}`)
  for (const group of answer.groups) {
    const { cause, severity, sinceMs, codes, isUntouched, alerts } = group
    if (json === true) {
      console.log(JSON.stringify(group))
      continue
    }
    const kinds = Object.entries(codes).map(([code, count]) => (count === 1 ? code : `${count} × ${code}`))
    console.log(
      `${severity}  ${cause}  since ${timeOf(sinceMs)}  ${kinds.join(', ')}${isUntouched ? '' : '  (taken on)'}`,
    )
    for (const alert of alerts) console.log(lineOf(alert))
    const more = Object.values(codes).reduce((sum, count) => sum + count, -alerts.length)
    if (more > 0) console.log(`       and ${more} more`)
  }
  if (answer.isCut) console.error('there are older alerts, which are not in these groups: "alert list" shows all')
}

/** `kinglet alert ack ID` */
export async function acknowledgeAlert(id: string, { reason, ...flags }: AcknowledgeFlags): Promise<void> {
  const path = `/v1/alerts/${idOf(id, 'alert list')}/acknowledge`
  const row = await apiOf(flags).post<AlertRow>(path, { reason })
  console.log(lineOf(row))
}

/** `kinglet alert silence [ID]` */
export async function silenceAlerts(id: string | undefined, flags: SilenceFlags): Promise<void> {
  const { code, metric, cohort, hours, reason } = flags
  if ((id === undefined) === (code === undefined)) {
    throw new CommandFailure('an ID of "alert list", or --code: one of the two says what is silenced', { exitCode: 2 })
  }
  if (id !== undefined && (metric !== undefined || cohort !== undefined)) {
    throw new CommandFailure('--metric and --cohort go with --code; an ID has both', { exitCode: 2 })
  }
  const api = apiOf(flags)
  const kind = id === undefined ? { code, metric, cohort } : await kindOf(api, idOf(id, 'alert list'))
  console.log(silenceLine(await api.post<SilenceRow>('/v1/silences', { ...kind, hours, reason })))
}

async function kindOf(api: CloudApi, id: number): Promise<{ code: string; metric: string; cohort: string }> {
  const { alerts } = await api.get<{ alerts: AlertRow[] }>(`/v1/alerts?limit=1&before=${id + 1}`)
  const [alert] = alerts
  if (alert?.id !== id) throw new CommandFailure(`there is no alert ${id}`, { hint: 'alert list shows them' })
  return { code: alert.code, metric: alert.metric, cohort: alert.cohort ?? '' }
}

/** `kinglet alert silences` */
export async function listSilences(flags: CloudFlags): Promise<void> {
  const { silences } = await apiOf(flags).get<{ silences: SilenceRow[] }>('/v1/silences')
  for (const each of silences) console.log(silenceLine(each))
}

/** `kinglet alert unsilence ID` */
export async function endSilence(id: string, flags: CloudFlags): Promise<void> {
  console.log(silenceLine(await apiOf(flags).delete<SilenceRow>(`/v1/silences/${idOf(id, 'alert silences')}`)))
}

/** `kinglet alert figures` */
export async function alertFigures({ days, ...flags }: FiguresFlags): Promise<void> {
  const { figures } = await apiOf(flags).get<{ figures: FiguresRow[] }>(`/v1/alerts/figures?days=${days}`)
  for (const { code, raised, open, acknowledged, medianWaitMs } of figures) {
    const share = `${acknowledged} taken on (${Math.round((100 * acknowledged) / raised)} %)`
    const wait = medianWaitMs === null ? '' : `, half of them within ${(medianWaitMs / 3_600_000).toFixed(1)} h`
    console.log(`${code}  ${raised} raised, ${open} open, ${share}${wait}`)
  }
}

function silenceLine({ id, code, metric, cohort, untilMs, by, reason }: SilenceRow): string {
  const of = [code, metric, cohort === '' ? 'the whole fleet' : cohort].filter((part) => part !== null).join('  ')
  return `${String(id).padStart(5)}  ${of}  until ${timeOf(untilMs)}  (${by}: ${reason})`
}

function lineOf({
  id,
  severity,
  code,
  state,
  sinceMs,
  resolvedMs,
  acknowledged,
  silence,
  title,
  words,
}: AlertRow): string {
  const until = state === 'open' || resolvedMs === null ? 'open' : `over ${timeOf(resolvedMs)}`
  const taken = acknowledged === null ? '' : `  (${acknowledged.by}: ${acknowledged.reason})`
  const quiet =
    silence === null ? '' : `  (silenced until ${timeOf(silence.untilMs)} by ${silence.by}: ${silence.reason})`
  return `${String(id).padStart(5)}  ${severity}  ${code}  since ${timeOf(sinceMs)}  ${until}  ${title} ${words}${taken}${quiet}`
}

export const timeOf = (ms: number): string => `${new Date(ms).toISOString().slice(0, 16)}Z`
