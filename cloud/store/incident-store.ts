import type { AlertSeverity } from '../alert-severity.ts'
import type { SqliteDatabase } from './database.ts'

export interface IncidentRecord {
  readonly id: number
  readonly severity: AlertSeverity
  readonly title: string
  /** what it is about: either of these; without any, everything */
  readonly family: string | null
  readonly site: string | null
  readonly rollout: string | null
  /** from when on its timeline is read */
  readonly beganMs: number
  readonly openedMs: number
  readonly openedBy: string
  /** null: it is open */
  readonly closedMs: number | null
  readonly closedBy: string | null
  readonly outcome: string | null
}

export interface IncidentNote {
  readonly id: number
  readonly atMs: number
  readonly by: string
  readonly words: string
}

const COLUMNS = `id, severity, title, family, site, rollout, began_ms AS beganMs, opened_ms AS openedMs, opened_by AS openedBy,
  closed_ms AS closedMs, closed_by AS closedBy, outcome`

/** chosen: of one incident; people write a few dozen */
export const INCIDENT_NOTES_MAX = 500

/** Incidents, and what people wrote down while they lasted. Never deleted: a few a month, by hand. */
export class IncidentStore {
  readonly #db: SqliteDatabase
  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  /** @returns its id */
  open(incident: Omit<IncidentRecord, 'id' | 'closedMs' | 'closedBy' | 'outcome'>): number {
    const { lastInsertRowid } = this.#db
      .prepare(
        `INSERT INTO incidents (severity, title, family, site, rollout, began_ms, opened_ms, opened_by)
         VALUES (@severity, @title, @family, @site, @rollout, @beganMs, @openedMs, @openedBy)`,
      )
      .run(incident)
    return Number(lastInsertRowid)
  }

  byId(id: number): IncidentRecord | undefined {
    return this.#db.prepare<[number], IncidentRecord>(`SELECT ${COLUMNS} FROM incidents WHERE id = ?`).get(id)
  }

  /** Newest first. @param before only those with a smaller id */
  list(limit: number, before: number, isOpen: boolean): readonly IncidentRecord[] {
    return this.#db
      .prepare<[number, number, number], IncidentRecord>(
        `SELECT ${COLUMNS} FROM incidents WHERE id < ? AND (? = 0 OR closed_ms IS NULL) ORDER BY id DESC LIMIT ?`,
      )
      .all(before, isOpen ? 1 : 0, limit)
  }

  close(id: number, { ms, by, outcome }: { readonly ms: number; readonly by: string; readonly outcome: string }): void {
    this.#db
      .prepare('UPDATE incidents SET closed_ms = ?, closed_by = ?, outcome = ? WHERE id = ? AND closed_ms IS NULL')
      .run(ms, by, outcome, id)
  }

  /** @returns false: it has as many as it may have */
  note(incident: number, { atMs, by, words }: Omit<IncidentNote, 'id'>): boolean {
    const { changes } = this.#db
      .prepare(
        `INSERT INTO incident_notes (incident, at_ms, noted_by, words)
         SELECT @incident, @atMs, @by, @words WHERE (SELECT count(*) FROM incident_notes WHERE incident = @incident) < @most`,
      )
      .run({ incident, atMs, by, words, most: INCIDENT_NOTES_MAX })
    return changes > 0
  }

  notes(incident: number): readonly IncidentNote[] {
    return this.#db
      .prepare<[number], IncidentNote>(
        'SELECT id, at_ms AS atMs, noted_by AS "by", words FROM incident_notes WHERE incident = ? ORDER BY id',
      )
      .all(incident)
  }
}
