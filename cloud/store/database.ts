import Database from 'better-sqlite3'
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
    db.pragma('busy_timeout = 5000')
    // chosen: keeps the hot index pages of some 10^5 devices in memory
    db.pragma('cache_size = -32768')
    migrate(db, migrations, nowMs)
    return db
  } catch (cause) {
    db.close()
    throw cause
  }
}

function migrate(db: SqliteDatabase, migrations: readonly Migration[], nowMs: number): void {
  db.exec(
    'CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, at_ms INTEGER NOT NULL)',
  )
  const found = db.prepare<[], { version: number | null }>('SELECT max(version) AS version FROM migrations').get()
  const current = found?.version ?? 0
  const known = migrations.at(-1)?.version ?? 0
  if (current > known) throw new DatabaseTooNewError(current, known)
  for (const { version, name, sql } of migrations) {
    if (version <= current) continue
    // One transaction a migration: a crash leaves the last complete version, never half of one.
    db.transaction(() => {
      db.exec(sql)
      db.prepare('INSERT INTO migrations (version, name, at_ms) VALUES (?, ?, ?)').run(version, name, nowMs)
    }).immediate()
  }
}
