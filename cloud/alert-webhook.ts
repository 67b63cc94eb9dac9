import { createHmac } from 'node:crypto'
import type { Counter, Registry } from 'prom-client'
import type { Clock } from '../contract/clock.ts'
import type { Logger } from '../platform/logger.ts'
import { alertView } from './api/views.ts'
import type { AlertRecord } from './store/alert-store.ts'
import type { Store } from './store/store.ts'
import { countTold } from './telemetry/metrics.ts'

export interface WebhookTarget {
  /** where every alert is posted to, when it is raised and when it is resolved */
  readonly url: string
  /** signs what is sent */
  readonly secret: Uint8Array
  /** time between two heartbeats, ms; 0: none */
  readonly heartbeatMs: number
}

/** chosen: an alert is told within this, ms */
const LOOK_MS = 2_000
/** chosen: of one request. A receiver that works longer should answer first */
const ANSWER_MS = 10_000
/** chosen: a receiver that is away is asked again after twice LOOK_MS, twice that and so on, up to this; a heartbeat that is due asks too */
const PAUSE_MS_MAX = 5 * 60_000
/** chosen: alerts told in one look */
const LOOK_MAX = 50
/** What a receiver may still take when it is asked again: a key that is being changed, a place that is not there yet, "not now". */
const AGAIN = new Set([401, 403, 404, 405, 408, 410, 425, 429])

/** Tells a receiver of every alert, in the order in which they were raised, until it has taken it: what was not told is in the database, so that
 *  neither a restart nor an outage of the receiver loses one. It may hear one twice (its `webhook-id` is the same). Heartbeats tell that
 *  the cloud is alive: a receiver that hears none raises an alarm of its own.
 *
 *  Requests are signed as Standard Webhooks has it: HMAC-SHA256 over `id.timestamp.body`.
 *  @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
export class AlertWebhook {
  readonly #store: Store
  readonly #clock: Clock
  readonly #machine: Clock
  readonly #logger: Logger
  readonly #target: WebhookTarget
  readonly #told: Counter<'outcome'>
  readonly #stop = new AbortController()
  #failures = 0
  #nextBeatMs = 0
  #cancel: () => void = () => undefined

  /** @param parts `machine`: real time, of sockets */
  constructor(
    parts: {
      readonly store: Store
      readonly clock: Clock
      readonly machine: Clock
      readonly logger: Logger
      readonly registry: Registry
    },
    target: WebhookTarget,
  ) {
    const { store, clock, machine, logger, registry } = parts
    this.#store = store
    this.#clock = clock
    this.#machine = machine
    this.#logger = logger
    this.#target = target
    this.#told = countTold(registry, store)
  }

  start(): void {
    void this.#look()
  }

  stop(): void {
    this.#cancel()
    this.#stop.abort()
  }

  async #look(): Promise<void> {
    let isDone = false
    try {
      await this.#beat()
      isDone = await this.#tell()
    } catch (cause) {
      // A full disk, say. It passes, and then the rest is told.
      this.#logger.error({ err: cause }, 'alerts are not told; it is tried again')
    }
    if (this.#stop.signal.aborted) return
    this.#failures = isDone ? 0 : this.#failures + 1
    const pauseMs = Math.min(PAUSE_MS_MAX, LOOK_MS * 2 ** this.#failures)
    // A heartbeat waits for no receiver's recovery.
    const { heartbeatMs } = this.#target
    const untilBeatMs = heartbeatMs === 0 ? pauseMs : this.#nextBeatMs - this.#machine.monotonicMs()
    this.#cancel = this.#machine.after(Math.max(LOOK_MS, Math.min(pauseMs, untilBeatMs)), () => this.start())
  }

  /** @returns whether everything is told */
  async #tell(): Promise<boolean> {
    for (const alert of this.#store.alerts.untold(LOOK_MAX)) {
      if (!(await this.#tellOf(alert))) return false
    }
    return true
  }

  async #tellOf(alert: AlertRecord): Promise<boolean> {
    const { id, state, code, metric } = alert
    const data = alertView(this.#store, alert)
    const answer = await this.#send(`alert-${id}-${state}`, {
      type: `alert.${state === 'open' ? 'raised' : state}`,
      data,
    })
    const isTaken = typeof answer === 'number' && answer >= 200 && answer < 300
    const isRefused = typeof answer === 'number' && answer >= 400 && answer < 500 && !AGAIN.has(answer)
    if (this.#stop.signal.aborted) return false
    this.#told.inc({ outcome: isTaken ? 'taken' : isRefused ? 'refused' : 'failed' })
    if (!isTaken)
      this.#logger.warn({ alert: id, code, metric, answer, isRefused }, 'the receiver of alerts did not take one')
    // One that it will never take must not keep all others from it.
    if (isTaken || isRefused) this.#store.alerts.noteTold(alert)
    return isTaken || isRefused
  }

  async #beat(): Promise<void> {
    const { heartbeatMs } = this.#target
    const now = this.#machine.monotonicMs()
    if (heartbeatMs === 0 || now < this.#nextBeatMs || this.#stop.signal.aborted) return
    this.#nextBeatMs = now + heartbeatMs
    const atMs = this.#clock.wallMs()
    const { alerts } = this.#store
    await this.#send(`heartbeat-${atMs}`, {
      type: 'heartbeat',
      data: { atMs, everyMs: heartbeatMs, openAlerts: alerts.allOpen().length, untold: alerts.countUntold() },
    })
  }

  /** @returns the status of the answer, or what kept it from coming */
  async #send(id: string, message: Readonly<Record<string, unknown>>): Promise<number | string> {
    const timestamp = Math.floor(this.#machine.wallMs() / 1_000)
    const body = JSON.stringify({ ...message, timestamp: new Date(timestamp * 1_000).toISOString() })
    try {
      const response = await fetch(this.#target.url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'webhook-id': id,
          'webhook-timestamp': String(timestamp),
          'webhook-signature': signatureOf(this.#target.secret, id, timestamp, body),
        },
        body,
        redirect: 'error',
        signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(ANSWER_MS)]),
      })
      await response.body?.cancel()
      return response.status
    } catch (cause) {
      const { cause: inner, message } = cause as Error
      return inner instanceof Error ? inner.message : message
    }
  }
}

/** @param timestamp Unix s */
export const signatureOf = (secret: Uint8Array, id: string, timestamp: number, body: string): string =>
  `v1,${createHmac('sha256', secret).update(`${id}.${timestamp}.${body}`).digest('base64')}`
