import { hostname } from 'node:os'
import Database from 'better-sqlite3'

/** Somebody else has it. */
export class OwnedError extends Error {
  constructor(what: string, owner: string) {
    super(`${what} is in use by ${owner}: it has one owner at a time, end that one first`)
    this.name = 'OwnedError'
  }
}

/** Keeps a folder or a file for one process. It is a lock of the operating system, taken through SQLite's on a small file of its own: it ends
 *  with the process however that ends, a number left in a file by a process that is gone means nothing, and it holds between containers that share
 *  a file system, which do not see each other's processes. */
export class OwnerLock {
  readonly #db: Database.Database

  private constructor(db: Database.Database) {
    this.#db = db
  }

  /** @param path of the lock's own file; it stays when the lock is released
   *  @param what in words, for whoever is refused
   *  @throws OwnedError, which names the process that has it; what SQLite throws when the file cannot be made */
  static take(path: string, what: string): OwnerLock {
    const db = new Database(path, { timeout: 0 })
    try {
      writeOwner(db)
      // Holds the lock that writers need, and writes nothing: others may still read who it is.
      db.exec('BEGIN IMMEDIATE')
      return new OwnerLock(db)
    } catch (cause) {
      const owner = isBusy(cause) ? readOwner(db) : undefined
      db.close()
      throw owner === undefined ? cause : new OwnedError(what, owner)
    }
  }

  release(): void {
    this.#db.close()
  }
}

function writeOwner(db: Database.Database): void {
  try {
    db.transaction(() => {
      db.exec('CREATE TABLE IF NOT EXISTS owner (id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, host TEXT NOT NULL)')
      db.prepare('INSERT OR REPLACE INTO owner VALUES (1, ?, ?)').run(process.pid, hostname())
    }).immediate()
  } catch (cause) {
    // On a full disk the lock is still a lock, and nobody is named.
    if ((cause as { code?: unknown }).code !== 'SQLITE_FULL') throw cause
  }
}

function readOwner(db: Database.Database): string {
  try {
    const row = db.prepare<[], { pid: number; host: string }>('SELECT pid, host FROM owner').get()
    if (row !== undefined) return `process ${row.pid} on ${row.host}`
  } catch {
    // It is just being written, or never was.
  }
  return 'another process'
}

const isBusy = (cause: unknown): boolean => String((cause as { code?: unknown }).code).startsWith('SQLITE_BUSY')
