import { AsyncLocalStorage } from 'node:async_hooks'
import { present } from '../../contract/present.ts'
import type { SqliteDatabase } from './database.ts'

/** Which request it is that somebody may make again. */
export interface RequestKey {
  readonly subject: string
  readonly key: string
}

/** What is known of a request that was made before. */
export interface KnownRequest {
  /** of all that it asked for; another one under the same key is another request */
  readonly fingerprint: string
  readonly atMs: number
  /** HTTP; null: it was not answered, or its answer is not kept */
  readonly status: number | null
  readonly answer: string | null
}

interface Row extends KnownRequest {
  readonly tookEffect: 0 | 1
}

/** Chosen: longer than anybody tries again, and shorter than the years that audit entries are kept. */
export const REQUEST_KEPT_MS = 24 * 3_600_000
/** chosen: a request forgets a few that are too old, so that they never are many */
const FORGOTTEN_AT_ONCE = 16

const OF_REQUEST = 'subject = @subject AND key = @key'

/** Requests that carry a key of their own, and what they were answered. */
export class RequestStore {
  readonly #db: SqliteDatabase
  /** those that this process is doing, by subject and key */
  readonly underWay = new Map<string, Promise<void>>()
  readonly #current = new AsyncLocalStorage<RequestKey & { isOver: boolean }>()

  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  /** Notes that a request is made.
   *  @returns undefined when it is to be done: it is new, or it was cut off before it changed anything */
  begin(request: RequestKey, fingerprint: string, atMs: number): KnownRequest | undefined {
    const oldest = atMs - REQUEST_KEPT_MS
    return this.#db
      .transaction(() => {
        this.#db
          .prepare(
            `DELETE FROM requests WHERE (subject, key) IN
               (SELECT subject, key FROM requests WHERE at_ms < ? ORDER BY at_ms LIMIT ${FORGOTTEN_AT_ONCE})`,
          )
          .run(oldest)
        const known = this.#db
          .prepare<[RequestKey & { oldest: number }], Row>(
            `SELECT fingerprint, at_ms AS atMs, status, answer, took_effect AS tookEffect FROM requests
             WHERE ${OF_REQUEST} AND at_ms >= @oldest`,
          )
          .get({ ...request, oldest })
        if (known !== undefined && (known.fingerprint !== fingerprint || known.tookEffect === 1)) return known
        if (known !== undefined && known.status !== null) return known
        this.#db
          .prepare(
            `INSERT INTO requests (subject, key, fingerprint, at_ms) VALUES (@subject, @key, @fingerprint, @atMs)
             ON CONFLICT (subject, key) DO UPDATE SET fingerprint = excluded.fingerprint, at_ms = excluded.at_ms,
               took_effect = 0, status = NULL, answer = NULL`,
          )
          .run({ ...request, fingerprint, atMs })
        return undefined
      })
      .immediate()
  }

  /** Runs `work` as this request: what it changes notes, in one transaction with itself, that the request took effect.
   *  @returns whether it did */
  async within(request: RequestKey, work: () => Promise<void>): Promise<boolean> {
    const current = { ...request, isOver: false }
    try {
      await this.#current.run(current, work)
    } finally {
      // Timers that the work has left behind are of no request.
      current.isOver = true
    }
    const took = this.#db.prepare<[RequestKey], { n: 0 | 1 }>(
      `SELECT took_effect AS n FROM requests WHERE ${OF_REQUEST}`,
    )
    return took.get(request)?.n === 1
  }

  /** To be called around the work of each transaction: what is undone later was no effect, and what changes no row is none. */
  noting<T>(work: () => T): T {
    const current = this.#current.getStore()
    if (current === undefined || current.isOver) return work()
    const before = this.#rowsChanged()
    const result = work()
    if (this.#rowsChanged() === before) return result
    const { subject, key } = current
    this.#db.prepare(`UPDATE requests SET took_effect = 1 WHERE ${OF_REQUEST}`).run({ subject, key })
    return result
  }

  /** Since the database was opened. */
  #rowsChanged(): number {
    const count = this.#db.prepare<[], { n: number }>('SELECT total_changes() AS n')
    return present(count.get(), 'the row of a function').n
  }

  /** @param answer null: it is not to be kept */
  answered(request: RequestKey, status: number, answer: string | null): void {
    this.#db
      .prepare(`UPDATE requests SET took_effect = 1, status = @status, answer = @answer WHERE ${OF_REQUEST}`)
      .run({ ...request, status, answer })
  }

  /** The request was refused, or failed before it changed anything: it may be made anew, and differently. */
  forget({ subject, key }: RequestKey): void {
    this.#db.prepare(`DELETE FROM requests WHERE ${OF_REQUEST}`).run({ subject, key })
  }
}
