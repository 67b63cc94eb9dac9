import { ALERT_SEVERITIES, type AlertSeverity } from '../alert-severity.ts'
import type { AlertRecord } from '../store/alert-store.ts'
import type { Store } from '../store/store.ts'
import { severityOf } from './alert-words.ts'

/** What stands behind alerts: those with the same are shown as one. */
export interface AlertCause {
  readonly kind: 'site' | 'gateway' | 'rollout' | 'family' | 'code'
  readonly name: string
}

/** chosen: for as long after its end as a rollout is looked back at (336 h) */
const OF_ROLLOUT_MS = 336 * 3_600_000
/** chosen: some screens; more of one cause are counted */
const LISTED_MAX = 50

const SITE_COHORT = /^site:([^\s"|,*]+)$/
/** Devices that keep what a rollout has given them. */
const ROLLOUT_COHORT = /^rollout:(r-[0-9a-f]+)$/

/** The cause of an alert, as far as it can be told: the place where it is about one, else what a gateway did, else the rollout that brought the
 *  model or the model's family, else its code. */
export function causeOf(store: Store, { code, metric, cohort, model, sinceMs }: AlertRecord): AlertCause {
  const place = cohort === null ? undefined : SITE_COHORT.exec(cohort)?.[1]
  if (place !== undefined) return { kind: 'site', name: place }
  const given = cohort === null ? undefined : ROLLOUT_COHORT.exec(cohort)?.[1]
  if (given !== undefined) return { kind: 'rollout', name: given }
  if (code === 'devices-silent') return { kind: 'site', name: metric }
  if (code === 'gateway-silent') {
    const sites = store.gateways.byName(metric)?.sites ?? []
    return sites.length === 1 ? { kind: 'site', name: sites[0] ?? metric } : { kind: 'gateway', name: metric }
  }
  if (code.startsWith('gateway-')) return { kind: 'gateway', name: metric }
  const release = model === '' ? undefined : store.models.byPrefix(model)
  if (release === undefined) return { kind: 'code', name: code }
  const rollout = store.rollouts.newestOf(release.id)
  const isOfRollout =
    rollout !== undefined && sinceMs >= rollout.createdMs && sinceMs <= (rollout.endedMs ?? sinceMs) + OF_ROLLOUT_MS
  return isOfRollout ? { kind: 'rollout', name: rollout.id } : { kind: 'family', name: release.family }
}

export const causeName = ({ kind, name }: AlertCause): string => `${kind}:${name}`

/** Open alerts of one cause. */
export interface AlertGroup {
  readonly cause: string
  readonly severity: AlertSeverity
  readonly sinceMs: number
  /** how many alerts are in it, by code */
  readonly codes: Readonly<Record<string, number>>
  /** nobody has taken any of them on */
  readonly isUntouched: boolean
  /** the worst and oldest first, at most 50 */
  readonly alerts: readonly AlertRecord[]
}

const rankOf = (alert: AlertRecord): number => ALERT_SEVERITIES.indexOf(severityOf(alert))

/** Alerts by what stands behind them: the worst group first, of those the oldest. */
export function groupAlerts(store: Store, alerts: readonly AlertRecord[]): readonly AlertGroup[] {
  const byCause = new Map<string, AlertRecord[]>()
  for (const alert of alerts) {
    const cause = causeName(causeOf(store, alert))
    const known = byCause.get(cause)
    if (known === undefined) byCause.set(cause, [alert])
    else known.push(alert)
  }
  const groups = [...byCause].map(([cause, members]): AlertGroup & { rank: number; firstId: number } => {
    members.sort((a, b) => rankOf(a) - rankOf(b) || a.sinceMs - b.sinceMs || a.id - b.id)
    const codes: Record<string, number> = {}
    for (const { code } of members) codes[code] = (codes[code] ?? 0) + 1
    const rank = Math.min(...members.map(rankOf))
    return {
      ...{ firstId: Math.min(...members.map(({ id }) => id)), rank },
      ...{ cause, codes, severity: ALERT_SEVERITIES[rank] ?? 'P3', alerts: members.slice(0, LISTED_MAX) },
      sinceMs: Math.min(...members.map(({ sinceMs }) => sinceMs)),
      isUntouched: members.every(({ acknowledged }) => acknowledged === null),
    }
  })
  groups.sort((a, b) => a.rank - b.rank || a.sinceMs - b.sinceMs || a.firstId - b.firstId)
  return groups.map(({ rank: _, firstId: __, ...group }) => group)
}
