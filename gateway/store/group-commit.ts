import type { Statement } from 'better-sqlite3'
import { BATCH_MESSAGES_MAX } from './message-batch.ts'
import { LogSync, type Store } from './store.ts'

/** One change of the store: `apply` runs inside a transaction that it shares with others, `done` once that is on the medium. */
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

/** chosen: as many messages as a batch may bring */
const BATCH_MAX = BATCH_MESSAGES_MAX

/** Commits the changes of one turn of the event loop as one transaction, so that a hundred messages cost one fsync.
 *
 *  The queue is bounded by its sources: a batch of messages (ingest.ts), a verdict for each wake that was fetched, one answer of
 *  the assignment feed; a full transaction is committed at once. When a commit fails (disk full, a bug), memory is rolled back with the store
 *  and the works are tried one by one, so that one bad message cannot take the others with it; those that fail alone are told.
 */
export class GroupCommit {
  readonly #store: Store
  readonly #sync: LogSync
  readonly #begin: Statement
  readonly #end: Statement
  readonly #hooks: GroupCommitHooks
  #queue: Work[] = []
  #scheduled: NodeJS.Immediate | undefined
  #closed = false
  #commits = 0
  #works = 0

  constructor(store: Store, hooks: GroupCommitHooks) {
    this.#store = store
    this.#sync = new LogSync(store)
    this.#begin = store.prepare('BEGIN IMMEDIATE')
    this.#end = store.prepare('COMMIT')
    this.#hooks = hooks
  }

  submit(work: Work): void {
    if (this.#closed) {
      work.done(new Error('the store is closed'))
      return
    }
    this.#queue.push(work)
    if (this.#queue.length >= BATCH_MAX) this.flush()
    else this.#scheduled ??= setImmediate(() => this.flush())
  }

  /** Commits what is queued now. */
  flush(): void {
    clearImmediate(this.#scheduled)
    this.#scheduled = undefined
    const works = this.#queue
    if (works.length === 0) return
    this.#queue = []
    const failure = this.#commit(works)
    const committed: Work[] = []
    if (failure === undefined) committed.push(...works)
    else if (works.length === 1) for (const work of works) work.done(failure)
    else {
      for (const work of works) {
        const alone = this.#commit([work])
        if (alone === undefined) committed.push(work)
        else work.done(alone)
      }
    }
    if (committed.length === 0) return
    this.#sync.after((error) => {
      for (const work of committed) work.done(error)
    })
  }

  /** Commits the rest and waits for the medium; later works are refused. */
  async close(): Promise<void> {
    this.flush()
    this.#closed = true
    // Syncs end in the order in which they were asked for.
    await new Promise<void>((resolve) => this.#sync.after(() => resolve()))
    this.#sync.close()
  }

  /** commits and the works in them, for the mean size of a batch */
  get totals(): { readonly commits: number; readonly works: number } {
    return { commits: this.#commits, works: this.#works }
  }

  #commit(works: readonly Work[]): Error | undefined {
    try {
      this.#begin.run()
      for (const work of works) work.apply()
      this.#hooks.beforeCommit()
      this.#end.run()
      this.#commits++
      this.#works += works.length
      return undefined
    } catch (cause) {
      // SQLite itself rolls back on some errors (disk full); then there is no transaction left to end.
      if (this.#store.inTransaction) this.#store.exec('ROLLBACK')
      this.#hooks.afterRollback()
      return cause instanceof Error ? cause : new Error(String(cause))
    }
  }
}
