import type { Clock } from '../../contract/clock.ts'
import type { Logger } from '../../platform/logger.ts'
import type { CloudError } from './cloud-client.ts'

/** chosen: the feed is heard every half minute; a restart or a new release of the cloud takes less than this */
const SILENT_MS = 10 * 60_000
/** chosen: how often an absence that lasts is said again */
const SAY_EVERY_MS = 5 * 60_000

/** Whether the cloud answers. Everything in a gateway waits for it in patience, so somebody has to say that it is waited for. */
export class CloudContact {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #url: string
  #heardMs: number
  #saidMs = Number.NEGATIVE_INFINITY
  #state: 'unknown' | 'there' | 'away' | 'refusing' = 'unknown'

  constructor(parts: { readonly clock: Clock; readonly logger: Logger }, url: string) {
    this.#clock = parts.clock
    this.#logger = parts.logger
    this.#url = url
    this.#heardMs = parts.clock.monotonicMs()
  }

  /** ms since the cloud answered, or since the start; undefined while that is not long */
  get silentForMs(): number | undefined {
    const silentMs = this.#clock.monotonicMs() - this.#heardMs
    return silentMs > SILENT_MS ? silentMs : undefined
  }

  /** Whether the cloud does not take the gateway's token. */
  get isRefused(): boolean {
    return this.#state === 'refusing'
  }

  /** It has answered. @param isRefused with 401: it does not take the token; undefined: the answer says nothing of that */
  heard(isRefused: boolean | undefined): void {
    this.#heardMs = this.#clock.monotonicMs()
    if (isRefused === undefined && this.#state === 'refusing') return
    if (isRefused) {
      if (!this.#mayBeSaid('refusing')) return
      const advice =
        'the cloud does not take the service token: put one of "kinglet token make" into the token file, it is read at once'
      this.#logger.error({ cloud: this.#url }, advice)
      return
    }
    if (this.#state === 'away' || this.#state === 'refusing')
      this.#logger.info({ cloud: this.#url }, 'the cloud answers again')
    else if (this.#state === 'unknown') this.#logger.info({ cloud: this.#url }, 'the cloud answers')
    this.#state = 'there'
  }

  /** A request has failed for good, without an answer. */
  failed(error: CloudError): void {
    if (!this.#mayBeSaid('away')) return
    const { code, detail } = error
    this.#logger.warn(
      { cloud: this.#url, error: { code, detail } },
      'the cloud does not answer: what comes is kept on disk and sent later',
    )
  }

  /** When it begins, and now and then while it lasts. */
  #mayBeSaid(state: 'away' | 'refusing'): boolean {
    const now = this.#clock.monotonicMs()
    if (this.#state === state && now - this.#saidMs < SAY_EVERY_MS) return false
    this.#state = state
    this.#saidMs = now
    return true
  }
}
