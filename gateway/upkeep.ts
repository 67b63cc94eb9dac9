import type { Clock } from '../contract/clock.ts'
import type { Logger } from '../platform/logger.ts'
import type { BelievedClock } from './believed-clock.ts'
import { HOUR_MS } from './store/aggregation.ts'
import type { StoreClient } from './store/store-client.ts'

/** Has the store forget what is past its time, now and every hour. */
export class Upkeep {
  readonly #store: Pick<StoreClient, 'ask'>
  readonly #clock: Clock
  readonly #believed: Pick<BelievedClock, 'receiptMs'>
  readonly #logger: Logger
  #cancel: () => void = () => {}

  constructor(parts: {
    readonly store: Pick<StoreClient, 'ask'>
    readonly clock: Clock
    readonly believed: Pick<BelievedClock, 'receiptMs'>
    readonly logger: Logger
  }) {
    this.#store = parts.store
    this.#clock = parts.clock
    this.#believed = parts.believed
    this.#logger = parts.logger
  }

  start(): void {
    this.#store
      .ask('upkeep', this.#believed.receiptMs())
      .catch((cause: unknown) => this.#logger.error({ err: cause }, 'upkeep failed'))
    this.#cancel = this.#clock.after(HOUR_MS, () => this.start())
  }

  close(): void {
    this.#cancel()
  }
}
