import { Worker } from 'node:worker_threads'
import type { LookedAt, LookOptions, LookService } from './look-service.ts'
import type { LookAnswer, LookMethod, LookQuestion } from './look-worker.ts'
import { type GateLook, sameLook } from './rollout/gate-looks.ts'
import { allChanges, type ChangeFollower, type Changes, EVERYTHING, NOTHING } from './store/device-changes.ts'
import type { RolloutRecord } from './store/rollout-store.ts'
import type { Store } from './store/store.ts'

/** Chosen: devices of a rollout, or of a fleet, from which on it is looked at beside. Below, a look takes some tens of milliseconds in place at
 *  most, and whoever asks for one has it at once. */
export const LARGE_FROM = 1_000

/** chosen: what a look at a million devices takes, and some more */
const HEAP_MIB = 8_192

const THREAD = new URL('./look-worker.js', import.meta.url)

interface Waiting {
  resolve(value: unknown): void
  reject(cause: Error): void
}

/** `isSame`: nothing has changed since the look before but the time */
export type Seen = LookedAt & { readonly isSame: boolean }

type Answers = Pick<LookService, LookMethod>

/** Looks at what is large on a thread of its own, beside the one that answers requests, and only where something has changed. The thread starts
 *  with the first question. One that breaks is replaced: it only reads, and what it had kept is read again. */
export class LookClient {
  readonly #store: Store
  readonly #options: LookOptions
  /** from the first look on */
  #changes: ChangeFollower | undefined
  readonly #where: URL | Answers
  readonly #looks = new Map<string, GateLook>()
  readonly #waiting = new Map<number, Waiting>()
  #worker: Worker | undefined
  #lastId = 0
  /** what was written while the last look began: before or after its moment, nobody knows */
  #unsure: Changes = NOTHING
  #queue: Promise<unknown> = Promise.resolve()
  #closed = false

  /** @param where the thread's program, or what answers in place: Node 20 starts no thread from TypeScript */
  constructor(store: Store, options: LookOptions, where: URL | Answers = THREAD) {
    this.#store = store
    this.#options = options
    this.#where = where
  }

  /** Reads the gate of a rollout.
   *  @returns null: it has ended */
  look(rollout: RolloutRecord, nowMs: number): Promise<Seen | null> {
    return this.#inTurn(async () => {
      this.#changes ??= this.#store.changes.follow()
      const changes = this.#changes
      const last = this.#looks.get(rollout.id)
      const isSame = last !== undefined && !changes.isChanged && this.#unsure === NOTHING
      const same = isSame ? sameLook(this.#store, last, rollout, nowMs) : undefined
      if (same !== undefined) return { look: same, packedInput: null, isSame: true }
      const before = allChanges(this.#unsure, changes.take())
      this.#unsure = EVERYTHING
      await this.#ask('begin', [])
      const meanwhile = changes.take()
      const seen = await this.#ask('look', [rollout.id, nowMs, allChanges(before, meanwhile)])
      this.#unsure = meanwhile.all || meanwhile.devices.length > 0 ? meanwhile : NOTHING
      if (seen === null) this.#looks.delete(rollout.id)
      else this.#looks.set(rollout.id, seen.look)
      return seen === null ? null : { ...seen, isSame: false }
    })
  }

  /** Whether what a look has said may be doubted by now: a gateway was put into quarantine, or something else that bears on all devices. */
  get isOverturned(): boolean {
    return this.#changes?.isLost ?? false
  }

  /** What the service reads of one moment. */
  ask<M extends Exclude<LookMethod, 'begin' | 'look'>>(
    method: M,
    ...args: Parameters<Answers[M]>
  ): Promise<Awaited<ReturnType<Answers[M]>>> {
    return this.#inTurn(() => this.#ask(method, args))
  }

  /** Ends the thread. What it was asked is not answered any more. */
  async close(): Promise<void> {
    this.#closed = true
    const worker = this.#worker
    this.#lose(new Error('the cloud stops'), worker)
    await worker?.terminate()
  }

  /** One question at a time: a look and its beginning belong together. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(work)
    this.#queue = turn.catch(() => undefined)
    return turn
  }

  async #ask<M extends keyof Answers>(
    method: M,
    args: Parameters<Answers[M]>,
  ): Promise<Awaited<ReturnType<Answers[M]>>> {
    type Answer = Awaited<ReturnType<Answers[M]>>
    const where = this.#where
    if (!(where instanceof URL)) {
      const ask = where[method] as (...args: readonly unknown[]) => unknown
      return (await ask.apply(where, args)) as Answer
    }
    return (await new Promise<unknown>((resolve, reject) => {
      if (this.#closed) return reject(new Error('the cloud stops'))
      const id = ++this.#lastId
      this.#waiting.set(id, { resolve, reject })
      this.#thread(where).postMessage({ id, method, args } satisfies LookQuestion)
    })) as Answer
  }

  #thread(program: URL): Worker {
    if (this.#worker !== undefined) return this.#worker
    const worker = new Worker(program, {
      workerData: this.#options,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
    })
    worker.on('message', (answer: LookAnswer) => {
      const waiting = this.#waiting.get(answer.id)
      this.#waiting.delete(answer.id)
      if ('failed' in answer) waiting?.reject(new Error(answer.failed))
      else waiting?.resolve(answer.value)
    })
    worker.on('error', (cause) => this.#lose(cause, worker))
    worker.on('exit', () => this.#lose(new Error('the thread that looks has ended'), worker))
    this.#worker = worker
    return worker
  }

  #lose(cause: Error, worker: Worker | undefined): void {
    // One of before may end while its successor is at work.
    if (worker !== this.#worker) return
    this.#worker = undefined
    this.#looks.clear()
    for (const { reject } of this.#waiting.values()) reject(cause)
    this.#waiting.clear()
  }
}
