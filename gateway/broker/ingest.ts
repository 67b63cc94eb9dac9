import type { Clock } from '../../contract/clock.ts'
import type { BelievedClock } from '../believed-clock.ts'
import type { MessageCounters } from '../message-counters.ts'
import type { Origin } from '../origin.ts'
import type { HeldAssignment } from '../store/held-assignments.ts'
import { BATCH_MESSAGES_MAX, type IngestKind, MessageBatch } from '../store/message-batch.ts'
import type { StoreClient } from '../store/store-client.ts'

type Done = (error?: Error) => void

interface Parts {
  readonly clock: Clock
  readonly believed: Pick<BelievedClock, 'receiptMs'>
  readonly store: Pick<StoreClient, 'enter'>
  readonly counters: MessageCounters
  /** wakes are on disk and wait for the verifier */
  wakesAdded(): void
  /** a device's report named an older assignment than this one */
  assignmentMissed(held: HeldAssignment): void
}

/** chosen: one at the medium, one committed behind it, one being decoded, one on its way; the next one grows meanwhile */
const BATCHES_UNDER_WAY_MAX = 4

/** Takes messages from the broker to the store in batches and answers for each when the store has it on the medium. What a message
 *  means, and whether it is one at all, is found out there (message-ledger.ts).
 *
 *  The queue is bounded by its sources: aedes reads no further from a connection before every packet of the last chunk is
 *  answered. While BATCHES_UNDER_WAY_MAX batches are unanswered only full ones follow, so a slow medium makes larger batches and
 *  slower devices, and not a longer queue.
 */
export class Ingest {
  readonly #parts: Parts
  readonly #windowMs: number
  readonly #underWay = new Set<Promise<void>>()
  #batch = new MessageBatch()
  #waiting: Done[] = []
  #cancel: (() => void) | undefined
  #closed = false

  /** @param windowMs how long the first message of a batch waits for company, in ms of the clock */
  constructor(parts: Parts, windowMs: number) {
    this.#parts = parts
    this.#windowMs = windowMs
  }

  /** @param payload copied
   *  @param done called when the effect is on the medium, or the message was dropped for good; with an error when neither */
  accept(kind: IngestKind, origin: Origin, payload: Buffer, done: Done): void {
    if (this.#closed) {
      this.#parts.counters.add(kind, 'failed')
      done(new Error('the gateway is closing'))
      return
    }
    const message = { kind, origin, payload, receivedMs: this.#parts.believed.receiptMs() }
    if (!this.#batch.add(message)) {
      this.#flush()
      this.#batch.add(message)
    }
    this.#waiting.push(done)
    if (this.#batch.count === BATCH_MESSAGES_MAX) this.#flush()
    else this.#cancel ??= this.#parts.clock.after(this.#windowMs, () => this.#due())
  }

  /** Answers for what it has; later messages are refused. */
  async close(): Promise<void> {
    this.#closed = true
    this.#flush()
    await Promise.all(this.#underWay)
  }

  #due(): void {
    this.#cancel = undefined
    if (this.#underWay.size < BATCHES_UNDER_WAY_MAX) this.#flush()
  }

  #flush(): void {
    this.#cancel?.()
    this.#cancel = undefined
    const waiting = this.#waiting
    if (waiting.length === 0) return
    const batch = this.#batch
    this.#waiting = []
    this.#batch = new MessageBatch()
    const sent = this.#enter(batch, waiting).finally(() => {
      this.#underWay.delete(sent)
      // It came due while there were too many.
      if (this.#cancel === undefined) this.#flush()
    })
    this.#underWay.add(sent)
  }

  async #enter(batch: MessageBatch, waiting: readonly Done[]): Promise<void> {
    const answer = await this.#parts.store.enter(batch.take())
    const errors = new Map(answer.failed.map(({ index, error }) => [index, new Error(error)]))
    waiting.forEach((done, index) => {
      done(errors.get(index))
    })
    if (answer.wakesAdded) this.#parts.wakesAdded()
    for (const held of answer.missed) this.#parts.assignmentMissed(held)
  }
}
