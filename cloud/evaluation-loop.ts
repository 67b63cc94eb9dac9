import type { Clock } from '../contract/clock.ts'
import type { Logger } from '../platform/logger.ts'
import type { EventHub } from './api/event-hub.ts'
import type { Signal } from './api/signal.ts'
import { alertView, rolloutView } from './api/views.ts'
import { LARGE_FROM, type LookClient } from './look-client.ts'
import type { HarmAfter } from './rollout/after-rollout.ts'
import type { Assigner } from './rollout/assigner.ts'
import type { RolloutEngine, TickOutcome } from './rollout/engine.ts'
import type { Slices } from './slices.ts'
import type { BaselineRecord } from './store/baseline-store.ts'
import type { Retention } from './store/retention.ts'
import type { RolloutRecord } from './store/rollout-store.ts'
import type { Store } from './store/store.ts'
import { hourIndex } from './store/telemetry-store.ts'
import type { DriftChange, DriftMonitor } from './telemetry/drift.ts'
import type { CloudMetrics } from './telemetry/metrics.ts'
import { lookForSilence, type Silence } from './telemetry/silence.ts'
import type { WakeAudit } from './telemetry/wake-audit.ts'

/** chosen: changed hours recomputed in one evaluation; an outage's backlog of days is caught up over several */
const HOURS_PER_EVALUATION = 48
/** chosen, real ms: while a large stage is signed, gateways hear of it this often and not at each slice */
const ANNOUNCE_EVERY_MS = 250

export interface EvaluationParts {
  readonly store: Store
  readonly clock: Clock
  /** real time: durations of work */
  readonly machine: Clock
  readonly slices: Slices
  readonly logger: Logger
  readonly engine: RolloutEngine
  readonly assigner: Assigner
  readonly drift: DriftMonitor
  /** looks at what is large */
  readonly looks: LookClient
  readonly retention: Retention
  readonly hub: EventHub
  readonly metrics: CloudMetrics
  readonly assignmentsChanged: Signal
  /** undefined: the cloud has no verifier */
  readonly wakeAudit: WakeAudit | undefined
  readonly everyMs: number
}

/** What the cloud does by itself: sums, gate, drift, signing, ages; every so often of the injected clock. */
export class EvaluationLoop {
  readonly #parts: EvaluationParts
  #cancel: (() => void) | undefined
  #cancelNudge: (() => void) | undefined
  #cancelSigning: (() => void) | undefined
  #stopped = false
  #lastHour = -1
  #signing = false
  #pruning = false
  /** what is looked at beside at present */
  readonly #beside = new Map<string, Promise<void>>()

  constructor(parts: EvaluationParts) {
    this.#parts = parts
  }

  start(): void {
    void this.evaluate()
    this.#schedule()
  }

  stop(): void {
    this.#stopped = true
    this.#cancel?.()
    this.#cancelNudge?.()
    this.#cancelSigning?.()
  }

  /** Looks at open rollouts soon, after the present request was answered: somebody has just changed one. */
  nudge(): void {
    if (this.#stopped || this.#cancelNudge !== undefined) return
    this.#cancelNudge = this.#parts.clock.after(0, () => {
      this.#cancelNudge = undefined
      this.#rollouts()
      this.#sign()
    })
  }

  /** Signs soon what has to be signed anew. Gates are read on their own period: devices that come, move or go are no evidence yet. */
  signSoon(): void {
    if (this.#stopped || this.#signing || this.#cancelSigning !== undefined) return
    this.#cancelSigning = this.#parts.clock.after(0, () => {
      this.#cancelSigning = undefined
      this.#sign()
    })
  }

  #schedule(): void {
    if (this.#stopped) return
    this.#cancel = this.#parts.clock.after(this.#parts.everyMs, () => {
      void this.evaluate()
      this.#schedule()
    })
  }

  /** One evaluation. What fails is logged and tried again at the next: each part is a transaction of its own.
   *  @returns when what is looked at beside has been acted on, too; all else is done at once */
  async evaluate(): Promise<void> {
    if (this.#stopped) return
    const { machine, metrics } = this.#parts
    const startedMs = machine.monotonicMs()
    this.#rollouts()
    this.#attempt(() => this.#parts.store.silences.endOver(this.#parts.clock.wallMs()))
    this.#attempt(() => this.#drift())
    this.#attempt(() => this.#hourly())
    this.#attempt(() => this.#parts.wakeAudit?.look(this.#parts.clock.wallMs()))
    this.#sign()
    metrics.tickSeconds.observe((machine.monotonicMs() - startedMs) / 1000)
    await Promise.all(this.#beside.values())
  }

  #attempt(part: () => void): void {
    try {
      part()
    } catch (cause) {
      this.#parts.logger.error({ err: cause }, 'evaluation failed')
    }
  }

  /** Looks at each open rollout by itself: one that fails holds no other up. */
  #rollouts(): void {
    this.#attempt(() => {
      for (const open of this.#parts.store.rollouts.allOpen()) this.#attempt(() => this.#rollout(open))
    })
  }

  #rollout(open: RolloutRecord): void {
    const { engine } = this.#parts
    if (!engine.isLarge(open)) this.#tell(engine.tick(open.id))
    else this.#aside(open.id, () => (open.stage === 0 ? this.#beginBeside(open) : this.#lookBeside(open)))
  }

  #tell(outcome: TickOutcome | undefined): void {
    if (outcome === undefined) return
    const { store, hub, logger } = this.#parts
    if (outcome.steps.length > 0) {
      const { id, state, stage, why } = outcome.rollout
      logger.info({ rollout: id, state, stage, steps: outcome.steps.map(({ kind }) => kind) }, why)
    }
    hub.publish('rollout', rolloutView(store, outcome.rollout))
  }

  /** Work that waits for the thread that looks: one of a name at a time. */
  #aside(name: string, work: () => Promise<void>): void {
    if (this.#beside.has(name)) return
    const done = work()
      .catch((cause: unknown) => {
        if (!this.#stopped) this.#parts.logger.error({ err: cause }, 'evaluation failed')
      })
      .finally(() => this.#beside.delete(name))
    this.#beside.set(name, done)
  }

  async #beginBeside({ id }: RolloutRecord): Promise<void> {
    const { looks, engine, clock } = this.#parts
    const pasts = await looks.ask('pasts', id, clock.wallMs())
    if (this.#stopped) return
    this.#tell(engine.tick(id, pasts))
    this.#sign()
  }

  async #lookBeside(rollout: RolloutRecord): Promise<void> {
    const { looks, engine, clock, slices } = this.#parts
    const seen = await looks.look(rollout, clock.wallMs())
    if (seen === null) return
    let noted = 0
    await slices.whole((enough) => {
      noted = engine.noteContacts(seen.look, noted, enough)
      return noted < seen.look.contacts.length
    })
    const isNext = engine.beginsStage(rollout, seen.look.reading)
    const pasts = isNext ? await looks.ask('pasts', rollout.id, clock.wallMs()) : undefined
    if (this.#stopped) return
    // What was in doubt, or another rollout by then, is looked at again.
    const outcome = looks.isOverturned ? undefined : engine.perform(seen.look, seen.packedInput, pasts)
    if (outcome === undefined) this.nudge()
    else if (!seen.isSame) this.#tell(outcome)
    if (outcome !== undefined && outcome.steps.length > 0) this.#sign()
  }

  /** Whether the fleet is too large for what reads all of it to be done in place. */
  get #isLarge(): boolean {
    return this.#parts.store.devices.atMost() >= LARGE_FROM
  }

  async #sumBeside(): Promise<void> {
    const { store, looks } = this.#parts
    for (const hour of store.fleet.begin(HOURS_PER_EVALUATION)) {
      const sums = await looks.ask('sums', hour)
      if (this.#stopped) return
      store.fleet.end(hour, sums)
    }
  }

  #drift(): void {
    const { drift, clock, looks } = this.#parts
    const nowMs = clock.wallMs()
    if (!this.#isLarge) {
      this.#tellDrift(drift.evaluate(nowMs))
      return
    }
    const hour = drift.due(nowMs)
    if (hour === undefined) return
    this.#aside('drift', async () => {
      const { judged, baselines } = await looks.ask('drift', hour)
      await this.#putBaselines(baselines)
      if (!this.#stopped) this.#tellDrift(drift.conclude({ judged }, nowMs))
    })
  }

  #putBaselines(baselines: readonly BaselineRecord[]): Promise<void> {
    const { store, slices } = this.#parts
    let next = 0
    return slices.whole((enough) =>
      store.atomically(() => {
        for (let each = baselines[next]; each !== undefined && !enough(); each = baselines[++next])
          store.baselines.put(each)
        return next < baselines.length
      }),
    )
  }

  #tellDrift(changes: readonly DriftChange[]): void {
    const { store, hub, logger } = this.#parts
    for (const { alert, change } of changes) {
      const view = alertView(store, alert)
      const { metric, modelName: model, family, cohort, ratio } = view
      logger.warn({ metric, model, family, cohort, ratio }, `drift ${change}`)
      hub.publish('alert', { change, ...view })
    }
  }

  /** Sums of the hours that changed, and once an hour what is due then. */
  #hourly(): void {
    const { store, hub, clock, slices, logger, retention } = this.#parts
    const now = clock.wallMs()
    const isNew = hourIndex(now) !== this.#lastHour
    this.#lastHour = hourIndex(now)
    // Before the sums, since it forgets hours whose rows are gone.
    if (isNew && !this.#pruning) retention.begin(now)
    if (this.#isLarge) this.#aside('sums', () => this.#sumBeside())
    else {
      let left = HOURS_PER_EVALUATION
      slices.run(
        (enough) => {
          while (left-- > 0 && store.fleet.refresh(1) > 0) if (enough()) return true
          return false
        },
        (cause) => {
          if (cause !== undefined && !this.#stopped) logger.error({ err: cause }, 'sums of an hour failed')
        },
      )
    }
    this.#attempt(() => store.checkpoint())
    if (!isNew) return
    this.#closeOldNotices(now)
    if (this.#isLarge) {
      this.#aside('afterwards', async () => {
        const { harm, silence } = await this.#parts.looks.ask('afterwards', now)
        if (!this.#stopped) this.#lookAfter(now, harm, silence)
      })
    } else this.#lookAfter(now)
    hub.publish('fleet', { hourMs: this.#lastHour * 3_600_000 })
    this.#prune()
  }

  /** Drops what is older than its age, answering requests in between. */
  #prune(): void {
    if (this.#pruning) return
    this.#pruning = true
    const { retention, slices, store, logger } = this.#parts
    let removed = 0
    slices.run(
      (enough) => {
        const slice = retention.slice(enough)
        removed += slice.removed
        return slice.more
      },
      (cause) => {
        this.#pruning = false
        if (this.#stopped) return
        if (cause !== undefined) logger.error({ err: cause }, 'dropping old rows failed; tried again in an hour')
        else if (removed > 0) {
          logger.info({ removed }, 'dropped what was older than its age')
          this.#attempt(() => store.checkpoint())
        }
      },
    )
  }

  /** What a rollout that is over did to its devices, and who has fallen silent. */
  #lookAfter(nowMs: number, harm?: readonly HarmAfter[], silence?: Silence): void {
    const { store, engine, hub, logger } = this.#parts
    const raised = [...engine.lookAfter(harm), ...lookForSilence(store, nowMs, silence)]
    for (const alert of raised) {
      logger.warn({ code: alert.code, metric: alert.metric, numbers: alert.numbers }, 'alert raised')
      hub.publish('alert', { change: 'raised', ...alertView(store, alert) })
    }
  }

  /** What gateways notice, or are noticed for, has no end of its own: it is closed after a day, and raised again if it goes on. */
  #closeOldNotices(now: number): void {
    const { alerts } = this.#parts.store
    for (const alert of alerts.allOpen()) {
      const isNotice = alert.code === 'identity-shared' || alert.code === 'gateway-overreach'
      if (isNotice && now - alert.sinceMs >= 86_400_000) alerts.resolve(alert.id, now)
    }
  }

  /** Signs slice by slice, answering requests in between. */
  #sign(): void {
    if (this.#stopped || this.#signing) return
    this.#signing = true
    const { assigner, assignmentsChanged, metrics, machine, slices, logger } = this.#parts
    let unannounced = 0
    let announcedMs = machine.monotonicMs()
    const announce = (): void => {
      if (unannounced > 0) assignmentsChanged.raise()
      unannounced = 0
      announcedMs = machine.monotonicMs()
    }
    slices.run(
      (enough) => {
        const { signed, more } = assigner.signSlice(enough)
        metrics.assignmentsSigned.inc(signed)
        unannounced += signed
        if (machine.monotonicMs() - announcedMs >= ANNOUNCE_EVERY_MS) announce()
        return more
      },
      (cause) => {
        this.#signing = false
        announce()
        if (cause !== undefined && !this.#stopped) logger.error({ err: cause }, 'signing failed')
      },
    )
  }
}
