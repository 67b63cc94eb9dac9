import type { Clock } from '../../contract/clock.ts'
import type { Logger } from '../../platform/logger.ts'
import type { AlertRecord } from '../store/alert-store.ts'
import type { Store } from '../store/store.ts'
import type { Expiries } from './expiries.ts'

const DAY_MS = 86_400_000
/** chosen: what is silent or ends is found within minutes, and a look costs a query */
const LOOK_EVERY_MS = 10 * 60_000

interface Parts {
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
  readonly expiries: Pick<Expiries, 'list'>
  readonly contacts: GatewayContacts
  /** how long a gateway that has sent telemetry may be unheard, ms */
  readonly silentMs: number
  /** told of each alert that began or ended */
  changed(alert: AlertRecord, change: 'raised' | 'resolved'): void
}

/** An alert that there should be. */
interface Due {
  readonly code: 'expiry' | 'gateway-silent'
  /** what it is about; with the code, the alert's name */
  readonly metric: string
  readonly ratio: number
  readonly numbers: Readonly<Record<string, number>>
}

/** When gateways asked for something last: they ask for assignments all the time, also when their devices say nothing. In memory: after a start all of them
 *  have as long as may pass. */
export class GatewayContacts {
  readonly #clock: Clock
  readonly #startedMs: number
  readonly #last = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
    this.#startedMs = clock.wallMs()
  }

  /** @param name of the gateway, which is enrolled: that bounds what is kept */
  heard(name: string): void {
    this.#last.set(name, this.#clock.wallMs())
  }

  /** Unix ms; the start of the process when it was not heard since */
  lastMs(name: string): number {
    return this.#last.get(name) ?? this.#startedMs
  }
}

/** Raises alerts of what ends and of gateways that have fallen silent, and resolves them when the cause is gone. */
export class ExpiryWatch {
  readonly #parts: Parts
  #cancel: () => void = () => {}

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Looks now, and now and then until `stop`. */
  start(): void {
    try {
      this.look()
    } catch (cause) {
      this.#parts.logger.error({ err: cause }, 'what ends could not be looked at')
    }
    this.#cancel = this.#parts.clock.after(LOOK_EVERY_MS, () => this.start())
  }

  stop(): void {
    this.#cancel()
  }

  look(): void {
    const { store, clock } = this.#parts
    const now = clock.wallMs()
    const due = new Map([...this.#ending(now), ...this.#silent(now)].map((one) => [`${one.code} ${one.metric}`, one]))
    for (const alert of store.alerts.allOpen()) {
      if (alert.code !== 'expiry' && alert.code !== 'gateway-silent') continue
      const name = `${alert.code} ${alert.metric}`
      const same = due.get(name)
      // The next notice is an alert of its own: whoever has closed his eyes to the first is told again.
      if (same?.ratio === alert.ratio) due.delete(name)
      else this.#resolve(alert, now)
    }
    for (const one of due.values()) this.#raise(one, now)
  }

  #ending(now: number): Due[] {
    return this.#parts.expiries.list().flatMap(({ what, expiresMs, noticesMs }) => {
      const reached = noticesMs.filter((ms) => expiresMs - now <= ms).at(-1)
      if (reached === undefined) return []
      const days = reached / DAY_MS
      return [{ code: 'expiry', metric: what, ratio: days, numbers: { expiresMs, noticeDays: days } } as const]
    })
  }

  #silent(now: number): Due[] {
    const { store, contacts, silentMs } = this.#parts
    const due: Due[] = []
    for (let after = ''; ; ) {
      const page = store.gateways.list(200, after)
      for (const { name, state, lastMs, sites } of page) {
        // Who has no right to speak, or has never spoken, is not missed.
        if (state === 'revoked' || state === 'unenrolled' || lastMs === 0) continue
        const heardMs = Math.max(lastMs, contacts.lastMs(name))
        if (now - heardMs <= silentMs) continue
        due.push({ code: 'gateway-silent', metric: name, ratio: 0, numbers: { heardMs: lastMs, sites: sites.length } })
      }
      const last = page.at(-1)
      if (last === undefined || page.length < 200) return due
      after = last.name
    }
  }

  #raise({ code, metric, ratio, numbers }: Due, now: number): void {
    const { store, logger, changed } = this.#parts
    const alert = store.atomically(() => {
      store.audit.append({
        atMs: now,
        actor: 'kinglet',
        action: 'alert.raised',
        subject: metric,
        detail: { code, ...numbers },
      })
      return store.alerts.raise({ code, metric, model: '', sinceMs: now, ratio, numbers })
    })
    logger.warn(
      { code, subject: metric, ...numbers },
      code === 'expiry' ? 'something ends soon' : 'a gateway is silent',
    )
    changed(alert, 'raised')
  }

  #resolve(alert: AlertRecord, now: number): void {
    this.#parts.store.alerts.resolve(alert.id, now)
    this.#parts.changed({ ...alert, state: 'resolved', resolvedMs: now }, 'resolved')
  }
}
