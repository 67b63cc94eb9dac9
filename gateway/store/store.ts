import { closeSync, fdatasync, openSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { makeFolder } from '../../platform/make-folder.ts'

export type Store = Database.Database

/** Schema by version; a store is brought up from whatever `user_version` it has. Statements are never edited, only appended. */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE device (id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
   CREATE TABLE boot (
     id INTEGER PRIMARY KEY, device TEXT NOT NULL, boot INTEGER NOT NULL, state TEXT NOT NULL, UNIQUE (device, boot));
   CREATE TABLE aggregate (
     hour INTEGER, grp TEXT, cells TEXT NOT NULL, revision INTEGER NOT NULL, sent INTEGER NOT NULL DEFAULT 0,
     PRIMARY KEY (hour, grp)) WITHOUT ROWID;
   CREATE INDEX aggregate_unsent ON aggregate (hour) WHERE sent < revision;
   CREATE TABLE verdict (
     device TEXT, boot INTEGER, hour INTEGER, site TEXT NOT NULL, model TEXT NOT NULL, confirmed INTEGER NOT NULL,
     rejected INTEGER NOT NULL, revision INTEGER NOT NULL, sent INTEGER NOT NULL DEFAULT 0,
     PRIMARY KEY (device, boot, hour)) WITHOUT ROWID;
   CREATE INDEX verdict_unsent ON verdict (hour) WHERE sent < revision;
   CREATE TABLE spool_report (
     id INTEGER PRIMARY KEY, site TEXT NOT NULL, device TEXT NOT NULL, boot INTEGER NOT NULL,
     seq INTEGER NOT NULL, board TEXT NOT NULL, received INTEGER NOT NULL, payload BLOB NOT NULL);
   CREATE TABLE spool_event (
     id INTEGER PRIMARY KEY, site TEXT NOT NULL, device TEXT NOT NULL, received INTEGER NOT NULL,
     payload BLOB NOT NULL);
   CREATE TABLE wake_pending (
     id INTEGER PRIMARY KEY AUTOINCREMENT, site TEXT NOT NULL, device TEXT NOT NULL, boot INTEGER NOT NULL,
     idx INTEGER NOT NULL, model TEXT NOT NULL, label INTEGER NOT NULL, grp TEXT NOT NULL, received INTEGER NOT NULL,
     features BLOB NOT NULL);
   CREATE TABLE assignment (
     device TEXT PRIMARY KEY, site TEXT NOT NULL, seq INTEGER NOT NULL, document BLOB NOT NULL) WITHOUT ROWID;
   CREATE TABLE assignment_tag (
     device TEXT, seq INTEGER, rollout TEXT NOT NULL, stage INTEGER NOT NULL, arm TEXT NOT NULL, board TEXT NOT NULL,
     PRIMARY KEY (device, seq)) WITHOUT ROWID;
   CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;`,
  // Verdicts by slot of uptime. What was counted by hour of receipt is kept as it is: slot -1, and its hour.
  `CREATE TABLE slot_verdict (
     device TEXT, incarnation INTEGER, boot INTEGER, slot INTEGER, hour INTEGER, model TEXT, site TEXT NOT NULL,
     confirmed INTEGER NOT NULL, rejected INTEGER NOT NULL, unjudged INTEGER NOT NULL, revision INTEGER NOT NULL,
     sent INTEGER NOT NULL DEFAULT 0, booked INTEGER NOT NULL,
     PRIMARY KEY (device, incarnation, boot, slot, hour, model)) WITHOUT ROWID;
   INSERT INTO slot_verdict SELECT device, 0, boot, -1, hour, model, site, confirmed, rejected, 0, revision, sent, hour FROM verdict;
   DROP TABLE verdict;
   ALTER TABLE slot_verdict RENAME TO verdict;
   CREATE INDEX verdict_unsent ON verdict (booked) WHERE sent < revision;
   ALTER TABLE wake_pending ADD COLUMN incarnation INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE wake_pending ADD COLUMN slot INTEGER NOT NULL DEFAULT -1;
   ALTER TABLE wake_pending ADD COLUMN hour INTEGER;`,
  // Wakes that the cloud may ask for, to judge them a second time.
  `CREATE TABLE kept_wake (
     id INTEGER PRIMARY KEY, device TEXT NOT NULL, incarnation INTEGER NOT NULL, boot INTEGER NOT NULL, idx INTEGER NOT NULL,
     received INTEGER NOT NULL, payload BLOB NOT NULL, UNIQUE (device, incarnation, boot, idx));
   CREATE INDEX kept_wake_device ON kept_wake (device, id);
   CREATE INDEX kept_wake_age ON kept_wake (received);`,
  // Which pipeline of its bundle woke.
  `CREATE TABLE pipeline_verdict (
     device TEXT, incarnation INTEGER, boot INTEGER, slot INTEGER, hour INTEGER, model TEXT, pipeline INTEGER, site TEXT NOT NULL,
     confirmed INTEGER NOT NULL, rejected INTEGER NOT NULL, unjudged INTEGER NOT NULL, revision INTEGER NOT NULL,
     sent INTEGER NOT NULL DEFAULT 0, booked INTEGER NOT NULL,
     PRIMARY KEY (device, incarnation, boot, slot, hour, model, pipeline)) WITHOUT ROWID;
   INSERT INTO pipeline_verdict SELECT device, incarnation, boot, slot, hour, model, 0, site, confirmed, rejected, unjudged, revision,
     sent, booked FROM verdict;
   DROP TABLE verdict;
   ALTER TABLE pipeline_verdict RENAME TO verdict;
   CREATE INDEX verdict_unsent ON verdict (booked) WHERE sent < revision;
   ALTER TABLE wake_pending ADD COLUMN pipeline INTEGER NOT NULL DEFAULT 0;`,
]

/** Opens (or creates) the gateway's store.
 *
 *  `synchronous = NORMAL`: in WAL mode a commit then writes the log and does not wait for the medium, so it survives a killed process but
 *  not a power cut. The waiting is done by LogSync, outside of this thread and before anything is acknowledged: the same
 *  fdatasync of the same file that FULL would do inside of COMMIT. FULL would hold the store's thread 2 ms a commit; NORMAL with
 *  LogSync keeps the durability of FULL and takes the next batch in meanwhile.
 *  A checkpoint syncs log and database itself, in every mode but OFF.
 *  @param dataDir created when missing
 *  @throws when the file is not a store or comes from a newer Kinglet */
export function openStore(dataDir: string): Store {
  makeFolder(dataDir)
  const store = new Database(join(dataDir, 'gateway.sqlite'))
  store.pragma('journal_mode = WAL')
  store.pragma('synchronous = NORMAL')
  // chosen: the log is folded back, with this thread waiting, every 4000 pages (16 MB) and not every 1000
  store.pragma('wal_autocheckpoint = 4000')
  const version = store.pragma('user_version', { simple: true }) as number
  if (version > MIGRATIONS.length) {
    store.close()
    throw new Error(`gateway store has schema ${version}, this program knows ${MIGRATIONS.length}`)
  }
  store.transaction(() => {
    for (const statements of MIGRATIONS.slice(version)) store.exec(statements)
    store.pragma(`user_version = ${MIGRATIONS.length}`)
  })()
  return store
}

/** Waits for the medium in the thread pool. One sync serves everything that was committed before it began; what is committed
 *  meanwhile is served by the next one, so a slow medium makes larger groups and not a longer queue.
 *  (Another descriptor of the log file is safe: SQLite's advisory locks are on the database and its -shm file.)
 */
export class LogSync {
  readonly #descriptor: number
  #waiting: ((error?: Error) => void)[] = []
  #running = false

  constructor(store: Store) {
    this.#descriptor = openSync(`${store.name}-wal`, 'r+')
  }

  /** @param done called when every commit made so far is on the medium, or with the error of the medium */
  after(done: (error?: Error) => void): void {
    this.#waiting.push(done)
    if (!this.#running) this.#sync()
  }

  /** When nothing waits any more. */
  close(): void {
    closeSync(this.#descriptor)
  }

  #sync(): void {
    const waiting = this.#waiting
    this.#waiting = []
    this.#running = true
    fdatasync(this.#descriptor, (error) => {
      this.#running = false
      if (this.#waiting.length > 0) this.#sync()
      for (const done of waiting) done(error ?? undefined)
    })
  }
}

/** Small named values: feed cursor, last seen keys. */
export class Settings {
  readonly #get: Database.Statement<[string], { value: string }>
  readonly #set: Database.Statement<[string, string]>

  constructor(store: Store) {
    this.#get = store.prepare('SELECT value FROM setting WHERE name = ?')
    this.#set = store.prepare('INSERT INTO setting VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value')
  }

  get(name: string): string | undefined {
    return this.#get.get(name)?.value
  }

  set(name: string, value: string): void {
    this.#set.run(name, value)
  }
}
