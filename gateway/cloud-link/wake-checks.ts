import { bytesToHex } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import { LIMITS } from '../../contract/limits.ts'
import type { SeededRandom } from '../../contract/random.ts'
import { type WakeAnswer, wakeChecksSchema } from '../../contract/wake-check.ts'
import type { Logger } from '../../platform/logger.ts'
import type { StoreClient } from '../store/store-client.ts'
import type { CloudClient } from './cloud-client.ts'
import { Retry } from './retry.ts'

/** chosen: the cloud draws once an hour and waits for a day */
const EVERY_MS = 30 * 60_000
/** chosen: a list of checks is some 2 kB */
const LIST_BYTES_MAX = 64 * 1024

interface Parts {
  readonly cloud: Pick<CloudClient, 'getJson' | 'postJson'>
  readonly store: Pick<StoreClient, 'ask'>
  readonly clock: Clock
  readonly random: SeededRandom
  readonly logger: Logger
}

/** Brings the cloud the wakes that it asks for, to judge them a second time. */
export class WakeChecks {
  readonly #parts: Parts
  readonly #retry: Retry

  constructor(parts: Parts) {
    this.#parts = parts
    this.#retry = new Retry(parts.clock, parts.random)
  }

  start(): void {
    this.#retry.start(async () => {
      if (await this.look()) {
        this.#retry.succeeded()
        await this.#retry.wait(EVERY_MS)
      } else await this.#retry.pause()
    })
  }

  close(): Promise<void> {
    return this.#retry.close()
  }

  /** Answers what is asked now. @returns false when that is to be tried again soon */
  async look(): Promise<boolean> {
    const { cloud, store, logger } = this.#parts
    try {
      const list = await cloud.getJson('/v1/wake-checks', LIST_BYTES_MAX)
      // A cloud of before knows of no checks.
      if (!list.ok) return list.error.status === 404
      const { checks } = wakeChecksSchema.parse(list.value)
      for (const { id, first, last, ...boot } of checks) {
        const wakes = await store.ask('keptWakes', boot, first, Math.min(last, first + LIMITS.wakeCheckWakes - 1))
        const answer: WakeAnswer = { v: 1, wakes: wakes.map(bytesToHex) }
        const told = await cloud.postJson(`/v1/wake-checks/${id}`, new TextEncoder().encode(JSON.stringify(answer)))
        // What is not asked any more was answered before.
        if (!told.ok && told.error.status !== 404) return false
      }
      return true
    } catch (cause) {
      logger.error({ err: cause }, 'wakes that the cloud asks for could not be brought')
      return false
    }
  }
}
