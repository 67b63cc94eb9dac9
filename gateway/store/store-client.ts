import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import { present } from '../../contract/present.ts'
import type { Logger } from '../../platform/logger.ts'
import type { MessageCounters } from '../message-counters.ts'
import { type StoreMessage, type StoreMethod, type StoreRequest, serveStore } from './store-server.ts'
import type { StoreFigures, StoreOptions, StoreService } from './store-service.ts'

interface Pending {
  resolve(value: unknown): void
  reject(error: Error): void
}

/** The store as the broker's thread sees it: a question, a promise. The store has a thread of its own, because SQLite, decoding and
 *  aggregation cost about as much as taking the message does. A bug that ends that thread ends the process, like any bug:
 *  nothing that it had not answered was acknowledged. */
export class StoreClient {
  readonly #port: Worker | MessagePort
  readonly #counters: MessageCounters
  readonly #logger: Logger
  readonly #pending = new Map<number, Pending>()
  #lastId = 0
  #open = true
  #figures: StoreFigures | undefined

  private constructor(port: Worker | MessagePort, counters: MessageCounters, logger: Logger) {
    this.#port = port
    this.#counters = counters
    this.#logger = logger
    port.on('message', (message: StoreMessage) => this.#receive(message))
  }

  /** @param inProcess on this thread, behind the same messages: Node 20 starts no thread from TypeScript, so programs that run
   *    from sources (unit tests) need it
   *  @param counters gets what the store counts
   *  @throws when the store cannot be opened */
  static async open(
    options: StoreOptions,
    inProcess: boolean,
    counters: MessageCounters,
    logger: Logger,
  ): Promise<StoreClient> {
    const channel = inProcess ? new MessageChannel() : undefined
    const port = channel?.port1 ?? new Worker(new URL('./store-worker.js', import.meta.url), { workerData: options })
    const client = new StoreClient(port, counters, logger)
    try {
      await new Promise<unknown>((resolve, reject) => {
        client.#pending.set(0, { resolve, reject })
        port.once('error', reject)
        if (channel !== undefined) serveStore(channel.port2, options)
      })
    } catch (cause) {
      await client.#end()
      throw cause
    }
    // From here on an error of the thread has no listener and is thrown.
    port.removeAllListeners('error')
    return client
  }

  /** false from `close` on */
  get isOpen(): boolean {
    return this.#open
  }

  get figures(): StoreFigures {
    return present(this.#figures, 'the figures of an open store')
  }

  /** @returns what the service's method returns; rejects with what it throws */
  ask<M extends StoreMethod>(
    method: M,
    ...args: Parameters<StoreService[M]>
  ): Promise<Awaited<ReturnType<StoreService[M]>>> {
    return this.#send(method, args, [])
  }

  /** As `ask('enter', batch)`, but hands the batch's memory over: it is empty afterwards. */
  enter(batch: Uint8Array<ArrayBuffer>): Promise<Awaited<ReturnType<StoreService['enter']>>> {
    return this.#send('enter', [batch], [batch.buffer])
  }

  /** Waits for what was asked before, closes the file and ends the thread. */
  async close(): Promise<void> {
    const closed = this.ask('close')
    this.#open = false
    await closed
    await this.#end()
  }

  #send<T>(method: StoreMethod, args: readonly unknown[], transfer: ArrayBuffer[]): Promise<T> {
    if (!this.#open) return Promise.reject(new Error('the store is closed'))
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId
      this.#pending.set(id, { resolve: resolve, reject })
      this.#port.postMessage({ id, method, args } satisfies StoreRequest, transfer)
    })
  }

  #receive(message: StoreMessage): void {
    if ('log' in message) {
      this.#logger[message.log](message.context, message.text)
      return
    }
    const { id, value, error, counts, figures } = message
    for (const [kind, outcome, amount] of counts ?? []) this.#counters.add(kind, outcome, amount)
    this.#figures = figures ?? this.#figures
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    if (error === undefined) pending?.resolve(value)
    else pending?.reject(Object.assign(new Error(error.message), { code: error.code }))
  }

  async #end(): Promise<void> {
    if (this.#port instanceof Worker) await this.#port.terminate()
    else this.#port.close()
  }
}
