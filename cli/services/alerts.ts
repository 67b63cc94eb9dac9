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
  readonly title: string
  readonly words: string
}

export interface AlertListFlags extends CloudFlags {
  readonly all?: boolean
  readonly family?: string
  readonly json?: boolean
}

export interface AcknowledgeFlags extends CloudFlags {
  readonly reason: string
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

/** `kinglet alert ack ID` */
export async function acknowledgeAlert(id: string, { reason, ...flags }: AcknowledgeFlags): Promise<void> {
  if (!/^[1-9]\d{0,14}$/.test(id)) {
    throw new CommandFailure(`"${id}" is no id of an alert`, { hint: 'alert list shows them, in front', exitCode: 2 })
  }
  const row = await apiOf(flags).postAgain<AlertRow>(`/v1/alerts/${id}/acknowledge`, { reason })
  console.log(lineOf(row))
}

function lineOf({ id, severity, code, state, sinceMs, resolvedMs, acknowledged, title, words }: AlertRow): string {
  const until = state === 'open' || resolvedMs === null ? 'open' : `over ${timeOf(resolvedMs)}`
  const taken = acknowledged === null ? '' : `  (${acknowledged.by}: ${acknowledged.reason})`
  return `${String(id).padStart(5)}  ${severity}  ${code}  since ${timeOf(sinceMs)}  ${until}  ${title} ${words}${taken}`
}

const timeOf = (ms: number): string => `${new Date(ms).toISOString().slice(0, 16)}Z`
