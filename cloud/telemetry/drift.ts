import type { AlertRecord } from '../store/alert-store.ts'
import type { Store } from '../store/store.ts'
import { hourIndex } from '../store/telemetry-store.ts'
import type { DriftPolicy } from './drift-policy.ts'
import { DriftReader, type DriftReading } from './drift-reader.ts'

/** chosen: as in `evidence.ts` */
const SETTLE_MS = 15 * 60_000

export interface DriftChange {
  readonly alert: AlertRecord
  readonly change: 'raised' | 'resolved'
}

/** Raises and resolves alerts by what the reader has found, once an hour. */
export class DriftMonitor {
  readonly #store: Store
  readonly #reader: DriftReader
  #lastHour = -1

  constructor(store: Store, policy: DriftPolicy) {
    this.#store = store
    this.#reader = new DriftReader(store, policy)
  }

  /** Raises and resolves alerts. Does nothing within an hour it has looked at. */
  evaluate(nowMs: number): readonly DriftChange[] {
    const hour = this.due(nowMs)
    if (hour === undefined) return []
    return this.#store.atomically(() => {
      const { judged, baselines } = this.#reader.read(hour)
      for (const baseline of baselines) this.#store.baselines.put(baseline)
      return this.conclude({ judged }, nowMs)
    })
  }

  /** The hour up to which is to be looked at, once. */
  due(nowMs: number): number | undefined {
    const hour = hourIndex(nowMs - SETTLE_MS)
    if (hour === this.#lastHour) return undefined
    this.#lastHour = hour
    return hour
  }

  conclude({ judged }: Pick<DriftReading, 'judged'>, nowMs: number): readonly DriftChange[] {
    return this.#store.atomically(() => {
      const keys = new Set(judged.map(({ metric, model, query }) => keyOf(metric, model, query)))
      const changes = judged.flatMap((each) => this.#decide(each, nowMs))
      // Nobody runs the model any more, or too few: there is nothing left to be alarmed about.
      for (const alert of this.#store.alerts.allOpen()) {
        if (alert.code === 'drift' && !keys.has(keyOf(alert.metric, alert.model, alert.cohort))) {
          changes.push(this.#resolve(alert, nowMs))
        }
      }
      return changes
    })
  }

  #decide({ metric, model, query: cohort, judgement }: DriftReading['judged'][number], nowMs: number): DriftChange[] {
    const { raise, calm, ratio, numbers } = judgement
    const { alerts, audit } = this.#store
    const open = alerts.open('drift', metric, model, cohort)
    if (open === undefined && raise) {
      const alert = alerts.raise({ code: 'drift', metric, model, cohort, sinceMs: nowMs, ratio, numbers })
      const detail = { model, ...(cohort !== null && { cohort }), ...numbers }
      audit.append({ atMs: nowMs, actor: 'kinglet', action: 'alert.raised', subject: metric, detail })
      return [{ alert, change: 'raised' }]
    }
    return open !== undefined && calm ? [this.#resolve(open, nowMs)] : []
  }

  #resolve(alert: AlertRecord, nowMs: number): DriftChange {
    const { alerts, audit } = this.#store
    alerts.resolve(alert.id, nowMs)
    const { model, cohort, id } = alert
    const detail = { model, ...(cohort !== null && { cohort }), alert: id }
    audit.append({ atMs: nowMs, actor: 'kinglet', action: 'alert.resolved', subject: alert.metric, detail })
    return { alert: { ...alert, state: 'resolved', resolvedMs: nowMs }, change: 'resolved' }
  }
}

const keyOf = (metric: string, model: string, cohort: string | null): string => `${metric} ${model} ${cohort ?? ''}`
