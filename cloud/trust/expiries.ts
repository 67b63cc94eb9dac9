import { Gauge, type Registry } from 'prom-client'
import type { Clock } from '../../contract/clock.ts'
import type { RepositoryState } from '../../release/repository-review.ts'
import type { Store } from '../store/store.ts'
import type { ImageRepository } from './image-repository.ts'

const DAY_MS = 86_400_000
/** chosen: an offline ceremony takes weeks to arrange; a week is the last call */
export const NOTICE_DAYS = [60, 30, 7] as const
/** chosen: services on the page and among the alerts; those that end first */
const SERVICES_MAX = 200
/** Half of a life is when the cloud makes these anew by itself; with a quarter left something is wrong. */
const ONLINE_NOTICE_SHARE = 0.25

/** Something that ends. */
export interface Expiry {
  /** `root`, `targets`, `delegation:NAME`, `snapshot`, `timestamp`, `token:ROLE:SUBJECT` */
  readonly what: string
  /** Unix ms */
  readonly expiresMs: number
  /** how many ms before its end a person is told; descending, and 0 is the end itself */
  readonly noticesMs: readonly number[]
}

/** Everything whose end the cloud knows: metadata of the image repository and service tokens. */
export class Expiries {
  readonly #store: Store
  readonly #repository: Pick<ImageRepository, 'state' | 'onlineEnds'>

  constructor(store: Store, repository: Pick<ImageRepository, 'state' | 'onlineEnds'>) {
    this.#store = store
    this.#repository = repository
  }

  list(): readonly Expiry[] {
    return [...offline(this.#repository.state), ...this.#online(), ...this.#tokens()]
  }

  /** Puts `kinglet_expiry_seconds` on the page of metrics. */
  measure(registry: Registry, clock: Clock): void {
    const list = () => this.list()
    new Gauge({
      name: 'kinglet_expiry_seconds',
      help: 'Seconds until something ends, negative afterwards: metadata of the image repository, service tokens.',
      labelNames: ['what'],
      registers: [registry],
      collect() {
        this.reset()
        for (const { what, expiresMs } of list()) this.set({ what }, (expiresMs - clock.wallMs()) / 1000)
      },
    })
  }

  #online(): Expiry[] {
    return this.#repository.onlineEnds.map(({ role, expiresMs, ttlMs }) => ({
      what: role,
      expiresMs,
      noticesMs: [ttlMs * ONLINE_NOTICE_SHARE, 0],
    }))
  }

  /** Of a token only those notices that lie within its life; one that was made for less than the last of them is somebody's for a day, and its
   *  end is no news. */
  #tokens(): Expiry[] {
    return this.#store.tokens.serviceEnds(SERVICES_MAX).map(({ kind, subject, issuedMs, expiresMs }) => {
      const within = NOTICE_DAYS.map((days) => days * DAY_MS).filter((ms) => ms < expiresMs - issuedMs)
      return { what: `token:${kind}:${subject}`, expiresMs, noticesMs: within.length === 0 ? [] : [...within, 0] }
    })
  }
}

function offline({ root, targets }: RepositoryState): Expiry[] {
  const noticesMs = [...NOTICE_DAYS.map((days) => days * DAY_MS), 0]
  const documents = [
    ...(root === undefined ? [] : [['root', root] as const]),
    ...[...targets].map(([role, document]) => [role === 'targets' ? role : `delegation:${role}`, document] as const),
  ]
  return documents.map(([what, { content }]) => ({ what, expiresMs: Date.parse(content.expires), noticesMs }))
}
