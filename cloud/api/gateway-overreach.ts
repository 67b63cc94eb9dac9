import type { CloudServices } from './environment.ts'
import { alertView } from './views.ts'

/** Tells of a gateway that has sent rows which it may not: one alert, and one line of the audit, until it has kept to its own for a day.
 *  Inside a transaction.
 *  @param refused by code */
export function noteOverreach(
  { store, hub }: Pick<CloudServices, 'store' | 'hub'>,
  gateway: string,
  refused: Readonly<Record<string, number>>,
  nowMs: number,
): void {
  if (store.alerts.open('gateway-overreach', gateway, '') !== undefined) return
  const numbers = { ...refused }
  const alert = store.alerts.raise({
    ...{ code: 'gateway-overreach', metric: gateway, model: '', sinceMs: nowMs },
    ...{ ratio: Object.values(refused).reduce((a, b) => a + b, 0), numbers },
  })
  const detail = { code: alert.code, ...numbers }
  store.audit.append({ atMs: nowMs, actor: 'kinglet', action: 'alert.raised', subject: gateway, detail })
  hub.publish('alert', { change: 'raised', ...alertView(store, alert) })
}
