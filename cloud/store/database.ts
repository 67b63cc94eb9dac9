import { statfsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import Database from 'better-sqlite3'
import { present } from '../../contract/present.ts'
import { MIGRATIONS, type Migration } from './migrations.ts'

export type SqliteDatabase = Database.Database
export type Statement<Parameters extends unknown[], Row = unknown> = Database.Statement<Parameters, Row>

/** The database was written by a newer release of Kinglet: opening it could lose what this code does not know. */
export class DatabaseTooNewError extends Error {
  readonly found: number
  readonly known: number
  constructor(found: number, known: number) {
    super(`the database has schema version ${found}, this release knows ${known}: use the release that wrote it`)
    this.name = 'DatabaseTooNewError'
    this.found = found
    this.known = known
  }
}

/** Chosen: the file of the write-ahead log is cut to this once its content is in the database. A batch of 2 000 rows takes 4 MiB, so it is not cut
 *  and grown again all day. */
const WAL_BYTES_KEPT = 16 * 1024 * 1024
const BUSY_MS = 5_000

/** chosen: above the statements that the store's code has. Queries of devices are composed, so that there is no end to those. */
const COMPILED_MAX = 1_000

/** From now on a statement is compiled once: at every call it took a ninth of the time of a fleet whose gate looks hourly. A text is asked for
 *  in one way everywhere (`pluck` and `raw` stay with it), and not while it is iterated. */
function compileOnce(db: SqliteDatabase): void {
  const compiled = new Map<string, unknown>()
  const compile = db.prepare.bind(db)
  db.prepare = ((sql: string) => {
    const statement = compiled.get(sql) ?? compile(sql)
    // The newest stay; a text that was pushed out is compiled again.
    if (!compiled.delete(sql) && compiled.size >= COMPILED_MAX) {
      compiled.delete(present(compiled.keys().next().value, 'the oldest text'))
    }
    compiled.set(sql, statement)
    return statement
  }) as SqliteDatabase['prepare']
}

/** Opens (or creates) the cloud's SQLite file and brings it to the newest schema.
 *
 *  WAL with `synchronous = FULL`: a batch that was answered is on the disk, so a gateway may forget it even if the power
 *  fails the next moment. One flush a batch of up to 2 000 rows is cheap.
 *  @param path file, or ":memory:"
 *  @param nowMs recorded with each migration
 *  @throws DatabaseTooNewError
 */
export function openDatabase(
  path: string,
  nowMs: number,
  migrations: readonly Migration[] = MIGRATIONS,
): SqliteDatabase {
  const db = new Database(path)
  try {
    db.pragma('journal_mode = WAL')
    db.pragma('synchronous = FULL')
    db.pragma('foreign_keys = ON')
    db.pragma(`busy_timeout = ${BUSY_MS}`)
    db.pragma(`journal_size_limit = ${WAL_BYTES_KEPT}`)
    // chosen: keeps the hot index pages of some 10^5 devices in memory
    db.pragma('cache_size = -32768')
    migrate(db, migrations, nowMs)
    compileOnce(db)
    return db
  } catch (cause) {
    db.close()
    throw cause
  }
}

/** Opens it beside its owner to read, as of the moment at which a transaction begins. */
export function openReader(path: string): SqliteDatabase {
  const db = new Database(path, { readonly: true, fileMustExist: true, timeout: BUSY_MS })
  // chosen: as the owner's
  db.pragma('cache_size = -32768')
  compileOnce(db)
  return db
}

function migrate(db: SqliteDatabase, migrations: readonly Migration[], nowMs: number): void {
  db.exec(
    'CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, at_ms INTEGER NOT NULL)',
  )
  const found = db.prepare<[], { version: number | null }>('SELECT max(version) AS version FROM migrations').get()
  const current = found?.version ?? 0
  const known = migrations.at(-1)?.version ?? 0
  if (current > known) throw new DatabaseTooNewError(current, known)
  for (const { version, name, sql, fill } of migrations) {
    if (version <= current) continue
    // One transaction a migration: a crash leaves the last complete version, never half of one.
    db.transaction(() => {
      db.exec(sql)
      fill?.(db)
      db.prepare('INSERT INTO migrations (version, name, at_ms) VALUES (?, ?, ?)').run(version, name, nowMs)
    }).immediate()
  }
}

const bytesOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0

/** Cuts the write-ahead log when it is longer than it should be: a reader that took long (a backup, a query of an operator) has kept it from
 *  being used again. Does nothing while such a reader is still there, and does not wait for it. */
export function shortenWal(db: SqliteDatabase): void {
  if (bytesOf(`${db.name}-wal`) <= WAL_BYTES_KEPT) return
  db.pragma('busy_timeout = 0')
  try {
    db.pragma('wal_checkpoint(TRUNCATE)')
  } finally {
    db.pragma(`busy_timeout = ${BUSY_MS}`)
  }
}

/** Writes the database anew without the space of rows that are gone.
 *  @returns bytes of the file before and after
 *  @throws DatabaseInUseError when another process has it open
 *  @throws Error when the disk has no room for a copy, or the file is damaged: then it is as it was */
export function compactDatabase(path: string): { beforeBytes: number; afterBytes: number } {
  const db = new Database(path, { fileMustExist: true, timeout: 0 })
  try {
    // Leaving the write-ahead log takes the file for oneself: refused while anybody else has it open.
    try {
      db.pragma('journal_mode = DELETE')
    } catch (cause) {
      if ((cause as { code?: string }).code?.startsWith('SQLITE_BUSY')) throw new DatabaseInUseError(path, { cause })
      throw cause
    }
    db.pragma('locking_mode = EXCLUSIVE')
    const beforeBytes = bytesOf(path)
    const disk = statfsSync(dirname(path))
    const free = disk.bavail * disk.bsize
    // SQLite writes the new file beside the journal of the old one.
    if (free < 2 * beforeBytes) {
      throw new Error(
        `${path} has ${beforeBytes} bytes, which takes twice as many free ones to compact; there are ${free}`,
      )
    }
    db.exec('VACUUM')
    db.pragma('journal_mode = WAL')
    return { beforeBytes, afterBytes: bytesOf(path) }
  } finally {
    db.close()
  }
}

/** Somebody else works on the database. */
export class DatabaseInUseError extends Error {
  constructor(path: string, options: ErrorOptions) {
    super(`${path} is in use: stop the cloud first`, options)
    this.name = 'DatabaseInUseError'
  }
}
