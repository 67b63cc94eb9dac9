import type { SqliteDatabase } from './database.ts'

export interface MetadataRecord {
  readonly role: string
  readonly version: number
  readonly content: Uint8Array
}

/** Files of the image repository, and the highest version of each role, which never falls. */
export class MetadataStore {
  readonly #db: SqliteDatabase
  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  /** Highest version made or taken of each role. */
  versions(): Readonly<Record<string, number>> {
    const rows = this.#db
      .prepare<[], { role: string; version: number }>('SELECT role, version FROM metadata_versions ORDER BY role')
      .all()
    return Object.fromEntries(rows.map(({ role, version }) => [role, version]))
  }

  version(role: string): number {
    const row = this.#db
      .prepare<[string], { version: number }>('SELECT version FROM metadata_versions WHERE role = ?')
      .get(role)
    return row?.version ?? 0
  }

  /** Adds a file of a higher version than any before; throws otherwise, whoever asks. */
  add({ role, version, content }: MetadataRecord, nowMs: number): void {
    this.#db
      .prepare(
        `INSERT INTO metadata_versions (role, version) VALUES (?, ?)
         ON CONFLICT (role) DO UPDATE SET version = excluded.version`,
      )
      .run(role, version)
    this.#db
      .prepare('INSERT INTO metadata (role, version, content, stored_ms) VALUES (?, ?, ?, ?)')
      .run(role, version, content, nowMs)
  }

  /** Leaves versions out, which others may have made. What is made next is above them. */
  skip(role: string, count: number): void {
    this.#db.prepare('UPDATE metadata_versions SET version = version + ? WHERE role = ?').run(count, role)
  }

  get(role: string, version: number): Uint8Array | undefined {
    const row = this.#db
      .prepare<[string, number], { content: Buffer }>('SELECT content FROM metadata WHERE role = ? AND version = ?')
      .get(role, version)
    return row && new Uint8Array(row.content)
  }

  /** The file of the highest version. */
  newest(role: string): Uint8Array | undefined {
    return this.get(role, this.version(role))
  }

  /** Drops what `keep` newer files of the role have superseded. */
  prune(role: string, keep: number): void {
    this.#db.prepare('DELETE FROM metadata WHERE role = ? AND version <= ?').run(role, this.version(role) - keep)
  }
}
