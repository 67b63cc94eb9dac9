import type { Clock } from '../contract/clock.ts'
import type { Logger } from '../platform/logger.ts'
import type { EventHub } from './api/event-hub.ts'
import type { Signal } from './api/signal.ts'
import { alertView, modelNames, rolloutView } from './api/views.ts'
import type { Assigner } from './rollout/assigner.ts'
import type { RolloutEngine } from './rollout/engine.ts'
import type { Store } from './store/store.ts'
import { hourIndex } from './store/telemetry-store.ts'
import type { DriftMonitor } from './telemetry/drift.ts'
import { lookForSilence } from './telemetry/silence.ts'
import type { CloudMetrics } from './telemetry/metrics.ts'

/** chosen: changed hours recomputed in one evaluation; an outage's backlog of days is caught up over several */
const HOURS_PER_EVALUATION = 48
/** chosen: raw rows dropped in one evaluation */
const PRUNE_ROWS = 5_000

export interface EvaluationParts {
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
  readonly engine: RolloutEngine
  readonly assigner: Assigner
  readonly drift: DriftMonitor
  readonly hub: EventHub
  readonly metrics: CloudMetrics
  readonly assignmentsChanged: Signal
  readonly everyMs: number
  readonly reportRetentionMs: number
}

/** What the cloud does by itself: sums, gate, drift, signing; every so often of the injected clock. */
export class EvaluationLoop {
  readonly #parts: EvaluationParts
  #cancel: (() => void) | undefined
  #cancelNudge: (() => void) | undefined
  #cancelSigning: (() => void) | undefined
  #stopped = false
  #lastHour = -1

  constructor(parts: EvaluationParts) {
    this.#parts = parts
  }

  start(): void {
    this.evaluate()
    this.#schedule()
  }

  stop(): void {
    this.#stopped = true
    this.#cancel?.()
    this.#cancelNudge?.()
    this.#cancelSigning?.()
  }

  /** Evaluates soon, after the present request was answered. */
  nudge(): void {
    if (this.#stopped || this.#cancelNudge !== undefined) return
    this.#cancelNudge = this.#parts.clock.after(0, () => {
      this.#cancelNudge = undefined
      this.evaluate()
    })
  }

  #schedule(): void {
    if (this.#stopped) return
    this.#cancel = this.#parts.clock.after(this.#parts.everyMs, () => {
      this.evaluate()
      this.#schedule()
    })
  }

  /** One evaluation. What fails is logged and tried again at the next: each part is a transaction of its own. */
  evaluate(): void {
    if (this.#stopped) return
    const { clock, logger, metrics } = this.#parts
    const startedMs = clock.monotonicMs()
    const parts = [() => this.#rollout(), () => this.#drift(), () => this.#hourly()]
    for (const part of parts) {
      try {
        part()
      } catch (cause) {
        logger.error({ err: cause }, 'evaluation failed')
      }
    }
    this.#sign()
    metrics.tickSeconds.observe((clock.monotonicMs() - startedMs) / 1000)
  }

  #rollout(): void {
    const { store, engine, hub, logger } = this.#parts
    const outcome = engine.tick()
    if (outcome === undefined) return
    if (outcome.steps.length > 0) {
      const { id, state, stage, why } = outcome.rollout
      logger.info({ rollout: id, state, stage, steps: outcome.steps.map(({ kind }) => kind) }, why)
    }
    hub.publish('rollout', rolloutView(store, outcome.rollout))
  }

  #drift(): void {
    const { store, drift, hub, clock, logger } = this.#parts
    const changes = drift.evaluate(clock.wallMs())
    if (changes.length === 0) return
    const names = modelNames(store)
    for (const { alert, change } of changes) {
      logger.warn({ metric: alert.metric, model: names.get(alert.model), ratio: alert.ratio }, `drift ${change}`)
      hub.publish('alert', { change, ...alertView(alert, names) })
    }
  }

  /** Work of a finished hour. */
  #hourly(): void {
    const { store, hub, clock, reportRetentionMs } = this.#parts
    const now = clock.wallMs()
    store.fleet.refresh(HOURS_PER_EVALUATION)
    if (hourIndex(now) === this.#lastHour) return
    this.#lastHour = hourIndex(now)
    store.telemetry.prune(now - reportRetentionMs, PRUNE_ROWS)
    store.tokens.prune(now)
    this.#closeOldNotices(now)
    this.#lookAfter(now)
    hub.publish('fleet', { hourMs: this.#lastHour * 3_600_000 })
  }

  /** What a rollout that is over did to its devices, and who has fallen silent. */
  #lookAfter(nowMs: number): void {
    const { store, engine, hub, logger } = this.#parts
    const raised = [...engine.lookAfter(), ...lookForSilence(store, nowMs)]
    const names = modelNames(store)
    for (const alert of raised) {
      logger.warn({ code: alert.code, metric: alert.metric, numbers: alert.numbers }, 'alert raised')
      hub.publish('alert', { change: 'raised', ...alertView(alert, names) })
    }
  }

  /** What gateways notice has no end of its own: it is closed after a day, and raised again if a gateway still says so. */
  #closeOldNotices(now: number): void {
    const { alerts } = this.#parts.store
    for (const alert of alerts.allOpen()) {
      if (alert.code === 'identity-shared' && now - alert.sinceMs >= 86_400_000) alerts.resolve(alert.id, now)
    }
  }

  /** Signs slice by slice, answering requests in between. */
  #sign(): void {
    const { assigner, assignmentsChanged, metrics, clock, logger } = this.#parts
    if (this.#stopped || this.#cancelSigning !== undefined) return
    try {
      const { signed, more } = assigner.signSlice()
      metrics.assignmentsSigned.inc(signed)
      if (signed > 0) assignmentsChanged.raise()
      if (!more) return
    } catch (cause) {
      logger.error({ err: cause }, 'signing failed')
      return
    }
    this.#cancelSigning = clock.after(0, () => {
      this.#cancelSigning = undefined
      this.#sign()
    })
  }
}
