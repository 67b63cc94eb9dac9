import type { Clock } from '../../contract/clock.ts'
import { LIMITS } from '../../contract/limits.ts'
import type { SeededRandom } from '../../contract/random.ts'
import type { Logger } from '../../platform/logger.ts'
import type { MessageCounters } from '../message-counters.ts'
import { SPOOL_KINDS } from '../store/spool-rows.ts'
import type { StoreClient } from '../store/store-client.ts'
import type { CloudClient, CloudError } from './cloud-client.ts'
import { Retry } from './retry.ts'

interface Parts {
  readonly cloud: CloudClient
  readonly counters: MessageCounters
  readonly clock: Clock
  readonly random: SeededRandom
  readonly logger: Logger
  readonly store: StoreClient
}

/** again: the batch must be made anew, at once */
type Outcome = 'done' | 'again' | 'failed'

/** Statuses that say "this batch is wrong" and not "not now" or "not you". */
const isRefusal = ({ status }: CloudError): boolean =>
  status !== undefined && status >= 400 && status < 500 && ![401, 403, 404, 408, 429].includes(status)

/** Carries the spool to the cloud's `POST /v1/ingest`, at least once: rows leave the spool when the cloud has answered, and a batch
 *  that was sent twice does no harm, since every row is cumulative or has an identity. Absence of the cloud means waiting. A
 *  batch that the cloud refuses as wrong is halved until the row that it refuses is alone, and that row is dropped and
 *  counted (uplink/refused): one bad row must not hold up all others for ever.
 */
export class Uplink {
  readonly #parts: Parts
  readonly #intervalMs: number
  readonly #retry: Retry
  readonly #batchRows: number
  #rowsMax: number

  /** @param intervalMs of the injected clock between two batches
   *  @param batchRows rows of a kind in a batch, at most LIMITS.ingestRows. The two bound the share of the store's time that forwarding
   *    takes from messages; a gateway that is flooded beyond them keeps its spool full and lets
   *    superseded reports go. */
  constructor(parts: Parts, intervalMs: number, batchRows: number) {
    this.#parts = parts
    this.#intervalMs = intervalMs
    this.#batchRows = Math.min(batchRows, LIMITS.ingestRows)
    this.#rowsMax = this.#batchRows
    this.#retry = new Retry(parts.clock, parts.random)
  }

  start(): void {
    this.#retry.start(() => this.#turn())
  }

  close(): Promise<void> {
    return this.#retry.close()
  }

  async #turn(): Promise<void> {
    const outcome = await this.#send()
    if (outcome === 'failed') await this.#retry.pause()
    else if (outcome !== 'again') await this.#retry.wait(this.#intervalMs)
  }

  async #send(): Promise<Outcome> {
    const { cloud, store, counters, logger } = this.#parts
    try {
      const next = await store.ask('nextBatch', this.#rowsMax, SPOOL_KINDS)
      if (next === undefined) return 'done'
      const answer = await cloud.postJson('/v1/ingest', next.body)
      if (answer.ok) {
        await store.ask('delivered')
        counters.add('uplink', 'delivered', next.rows)
        this.#retry.succeeded()
        this.#rowsMax = Math.min(this.#batchRows, this.#rowsMax * 2)
        return 'done'
      }
      counters.add('uplink', answer.error.code)
      if (!isRefusal(answer.error)) return 'failed'
      logger.warn({ error: answer.error, rows: next.rows }, 'the cloud refused a batch')
      if (this.#rowsMax === 1) return await this.#singleOut()
      this.#rowsMax = Math.max(1, this.#rowsMax >> 1)
      return 'again'
    } catch (cause) {
      // Reading or marking the spool failed (disk); the rows are still there.
      logger.error({ err: cause }, 'uplink failed')
      counters.add('uplink', 'internal')
      return 'failed'
    }
  }

  /** Sends the oldest row of each kind alone and drops those that are refused even so. */
  async #singleOut(): Promise<Outcome> {
    const { cloud, store, counters, logger } = this.#parts
    for (const kind of SPOOL_KINDS) {
      const next = await store.ask('nextBatch', 1, [kind])
      if (next === undefined) continue
      const answer = await cloud.postJson('/v1/ingest', next.body)
      if (!answer.ok && !isRefusal(answer.error)) {
        counters.add('uplink', answer.error.code)
        return 'failed'
      }
      if (!answer.ok)
        logger.error(
          { error: answer.error, batch: Buffer.from(next.body).toString() },
          'row dropped: the cloud refuses it',
        )
      await store.ask('delivered')
      counters.add('uplink', answer.ok ? 'delivered' : 'refused')
    }
    this.#rowsMax = 2
    return 'again'
  }
}
