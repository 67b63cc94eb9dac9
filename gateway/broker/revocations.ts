import { LRUCache } from 'lru-cache'
import * as z from 'zod/mini'
import type { Clock } from '../../contract/clock.ts'
import { revocationFeedSchema } from '../../contract/enrolment.ts'
import { LIMITS } from '../../contract/limits.ts'
import type { Logger } from '../../platform/logger.ts'
import type { CloudClient } from '../cloud-link/cloud-client.ts'
import type { MessageCounters } from '../message-counters.ts'

interface Parts {
  readonly cloud: CloudClient
  readonly clock: Clock
  readonly counters: MessageCounters
  readonly logger: Logger
  /** what `keep` was given last; undefined for nothing */
  readonly stored: string | undefined
  /** puts the list on disk, for a start in the cloud's absence */
  keep(list: string): unknown
}

/** chosen: 100 bytes an item of one answer */
const FEED_BYTES_MAX = LIMITS.ingestRows * 128
/** chosen: answers read in one turn; what is left waits for the next */
const PAGES_MAX = 16
/** chosen: 6 MB; devices revoked for longest are forgotten first. Tokens of devices with a key are dead after an hour by themselves; what
 *  is lost beyond this bound are long tokens of imported devices. */
const DEVICES_MAX = 100_000

const storedSchema = z.object({
  cursor: z.int(),
  items: z.array(z.tuple([z.string(), z.number()])).check(z.maxLength(DEVICES_MAX)),
})

/** Which tokens are refused before they expire: asked of the cloud in turns, kept on disk. While the cloud is away the last list holds;
 *  it hands out no tokens then either, so that a stolen key is of use for an hour at most. */
export class Revocations {
  readonly #parts: Parts
  readonly #everyMs: number
  /** asking is no use of an entry, being revoked again is */
  readonly #before = new LRUCache<string, number>({ max: DEVICES_MAX })
  #cursor = 0
  #revoked: (device: string, beforeMs: number) => void = () => {}
  #cancel: () => void = () => {}
  #closed = false

  /** @param everyMs of the injected clock between two questions: how long a revocation takes to be heard of */
  constructor(parts: Parts, everyMs: number) {
    this.#parts = parts
    this.#everyMs = everyMs
    const stored = parts.stored === undefined ? undefined : storedSchema.safeParse(JSON.parse(parts.stored))
    if (!stored?.success) return
    this.#cursor = stored.data.cursor
    for (const [device, beforeMs] of stored.data.items) this.#before.set(device, beforeMs)
  }

  /** @param revoked told of each device whose older tokens are refused from now on: its connection is to end, and
   *    what was assigned to it before is served no more */
  start(revoked: (device: string, beforeMs: number) => void): void {
    this.#revoked = revoked
    void this.#turn()
  }

  close(): void {
    this.#closed = true
    this.#cancel()
  }

  /** Whether a token is refused. @param issuedMs undefined: it does not say when it was issued, and is refused if any is */
  refuses(device: string, issuedMs: number | undefined): boolean {
    const beforeMs = this.#before.peek(device)
    return beforeMs !== undefined && (issuedMs === undefined || issuedMs <= beforeMs)
  }

  async #turn(): Promise<void> {
    for (let page = 0; page < PAGES_MAX && !this.#closed; page++) if (!(await this.#ask())) break
    if (!this.#closed) this.#cancel = this.#parts.clock.after(this.#everyMs, () => void this.#turn())
  }

  /** @returns whether there may be more */
  async #ask(): Promise<boolean> {
    const { cloud, counters, logger } = this.#parts
    const answer = await cloud.getJson(`/v1/revocations?after=${this.#cursor}`, FEED_BYTES_MAX)
    if (!answer.ok) {
      counters.add('revocations', answer.error.code)
      return false
    }
    const feed = revocationFeedSchema.safeParse(answer.value)
    if (!feed.success) {
      counters.add('revocations', 'malformed')
      logger.warn({ detail: feed.error.issues[0]?.message }, 'the cloud sent no usable revocations')
      return false
    }
    const { cursor, items } = feed.data
    if (items.length === 0) return false
    this.#cursor = cursor
    for (const { device, beforeMs } of items) {
      this.#before.set(device, beforeMs)
      this.#revoked(device, beforeMs)
    }
    counters.add('revocations', 'accepted', items.length)
    // Oldest first, as they are read back.
    this.#parts.keep(JSON.stringify({ cursor, items: [...this.#before.rentries()] }))
    return items.length === LIMITS.ingestRows
  }
}
