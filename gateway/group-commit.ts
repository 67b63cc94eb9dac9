import type { Clock } from '../contract/clock.ts'
import type { Store } from './store.ts'

/** One change of the store: `apply` runs inside a transaction that it shares with others, `done` after that is on the medium. */
export interface Work {
  apply(): void
  done(error?: Error): void
}

export interface GroupCommitHooks {
  /** writes what the works changed in memory; inside the transaction, before its commit */
  beforeCommit(): void
  /** forgets what the works changed in memory; after a rollback */
  afterRollback(): void
}

/** chosen: about 3 ms of SQLite work, so that the broker is never held up for long */
const BATCH_MAX = 1_000

/** Collects changes for a moment and commits them as one transaction, so that a hundred messages cost one fsync.
 *
 *  The queue is bounded by its sources: aedes reads no further from a connection before every packet of the last chunk is
 *  answered, and a full batch is committed at once. When a commit fails (disk full, a bug), memory is rolled back with the store
 *  and the works are tried one by one, so that one bad message cannot take the others with it; those that fail alone are told.
 */
export class GroupCommit {
  readonly #store: Store
  readonly #clock: Clock
  readonly #windowMs: number
  readonly #hooks: GroupCommitHooks
  #queue: Work[] = []
  #cancel: (() => void) | undefined
  #closed = false

  /** @param windowMs how long the first message of a batch waits for company, in ms of `clock` */
  constructor(store: Store, clock: Clock, windowMs: number, hooks: GroupCommitHooks) {
    this.#store = store
    this.#clock = clock
    this.#windowMs = windowMs
    this.#hooks = hooks
  }

  submit(work: Work): void {
    if (this.#closed) {
      work.done(new Error('the store is closed'))
      return
    }
    this.#queue.push(work)
    if (this.#queue.length >= BATCH_MAX) this.flush()
    else this.#cancel ??= this.#clock.after(this.#windowMs, () => this.flush())
  }

  /** Commits what is queued now. */
  flush(): void {
    this.#cancel?.()
    this.#cancel = undefined
    const works = this.#queue
    if (works.length === 0) return
    this.#queue = []
    const failure = this.#commit(works)
    if (failure === undefined) {
      for (const work of works) work.done()
      return
    }
    for (const work of works) work.done(works.length === 1 ? failure : this.#commit([work]))
  }

  /** Commits the rest; later works are refused. */
  close(): void {
    this.flush()
    this.#closed = true
  }

  #commit(works: readonly Work[]): Error | undefined {
    try {
      this.#store.exec('BEGIN IMMEDIATE')
      for (const work of works) work.apply()
      this.#hooks.beforeCommit()
      this.#store.exec('COMMIT')
      return undefined
    } catch (cause) {
      // SQLite itself rolls back on some errors (disk full); then there is no transaction left to end.
      if (this.#store.inTransaction) this.#store.exec('ROLLBACK')
      this.#hooks.afterRollback()
      return cause instanceof Error ? cause : new Error(String(cause))
    }
  }
}
