import { present } from '../../contract/present.ts'
import type { SqliteDatabase } from './database.ts'
import { SILENCE_OF_ALERT, type SilenceRecord } from './silence-store.ts'

export interface AlertRecord {
  readonly id: number
  /** what kind, for example `drift` */
  readonly code: string
  readonly metric: string
  /** first 8 bytes of the model's sha256, hex */
  readonly model: string
  /** the part of the fleet that it is about, in the words of a query of devices (`site:berlin`); null: all of it */
  readonly cohort: string | null
  readonly state: 'open' | 'resolved'
  readonly sinceMs: number
  readonly resolvedMs: number | null
  /** now against the baseline (PSI for histograms) */
  readonly ratio: number
  readonly numbers: Readonly<Record<string, number>>
  /** who has taken it on; null: nobody yet */
  readonly acknowledged: Acknowledgement | null
  /** why nobody is told of it for now; null: people are */
  readonly silence: Pick<SilenceRecord, 'id' | 'untilMs' | 'by' | 'reason'> | null
}

export interface Acknowledgement {
  readonly ms: number
  readonly by: string
  readonly reason: string
}

export interface AlertFigures {
  readonly code: string
  readonly raised: number
  /** of those, open still */
  readonly open: number
  readonly acknowledged: number
  /** from raised to taken on, rising, ms */
  readonly waitsMs: readonly number[]
}

type RaisedAlert = Omit<AlertRecord, 'id' | 'state' | 'resolvedMs' | 'cohort' | 'acknowledged' | 'silence'> &
  Partial<Pick<AlertRecord, 'cohort'>>

interface Row extends Omit<AlertRecord, 'sinceMs' | 'resolvedMs' | 'numbers' | 'cohort' | 'acknowledged' | 'silence'> {
  acknowledged: string | null
  silence: string | null
  told: string
  cohort: string
  since_ms: number
  resolved_ms: number | null
  numbers: string
}

const toRecord = ({
  since_ms,
  resolved_ms,
  numbers,
  cohort,
  acknowledged,
  silence,
  told: _,
  ...row
}: Row): AlertRecord => ({
  ...row,
  cohort: cohort === '' ? null : cohort,
  sinceMs: since_ms,
  resolvedMs: resolved_ms,
  numbers: JSON.parse(numbers) as Record<string, number>,
  acknowledged: acknowledged === null ? null : (JSON.parse(acknowledged) as Acknowledgement),
  silence: silence === null ? null : (JSON.parse(silence) as AlertRecord['silence']),
})

const COLUMNS = `alerts.*, ${SILENCE_OF_ALERT} AS silence`
const TO_TELL = `told <> state AND NOT (state = 'open' AND ${SILENCE_OF_ALERT} IS NOT NULL)`

interface FamilyParameter {
  readonly family: string | null
}
const OF_FAMILY = '(@family IS NULL OR model IN (SELECT prefix FROM releases WHERE family = @family))'

/** Alerts: at most one open for a code, metric, model and cohort. */
export class AlertStore {
  readonly #db: SqliteDatabase
  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  open(code: string, metric: string, model: string, cohort: string | null = null): AlertRecord | undefined {
    const row = this.#db
      .prepare<[string, string, string, string], Row>(
        `SELECT ${COLUMNS} FROM alerts WHERE code = ? AND metric = ? AND model = ? AND cohort = ? AND state = 'open'`,
      )
      .get(code, metric, model, cohort ?? '')
    return row && toRecord(row)
  }

  byId(id: number): AlertRecord | undefined {
    const row = this.#db.prepare<[number], Row>(`SELECT ${COLUMNS} FROM alerts WHERE id = ?`).get(id)
    return row && toRecord(row)
  }

  /** @param family only those about its releases */
  allOpen(family?: string): readonly AlertRecord[] {
    return this.#db
      .prepare<[FamilyParameter], Row>(
        `SELECT ${COLUMNS} FROM alerts WHERE state = 'open' AND ${OF_FAMILY} ORDER BY id`,
      )
      .all({ family: family ?? null })
      .map(toRecord)
  }

  raise(alert: RaisedAlert): AlertRecord {
    const { code, metric, model, cohort = null, sinceMs, ratio, numbers } = alert
    this.#db
      .prepare(
        `INSERT INTO alerts (code, metric, model, cohort, state, since_ms, ratio, numbers)
         VALUES (?, ?, ?, ?, 'open', ?, ?, ?) ON CONFLICT DO NOTHING`,
      )
      .run(code, metric, model, cohort ?? '', sinceMs, ratio, JSON.stringify(numbers))
    return present(this.open(code, metric, model, cohort), 'the alert just stored')
  }

  /** What came and went while it was silenced is told to nobody. */
  resolve(id: number, nowMs: number): void {
    this.#db
      .prepare(
        `UPDATE alerts SET state = 'resolved', resolved_ms = ?,
           told = CASE WHEN told = '' AND ${SILENCE_OF_ALERT} IS NOT NULL THEN 'resolved' ELSE told END WHERE id = ?`,
      )
      .run(nowMs, id)
  }

  acknowledge(id: number, acknowledged: Acknowledgement): void {
    this.#db.prepare('UPDATE alerts SET acknowledged = ? WHERE id = ?').run(JSON.stringify(acknowledged), id)
  }

  /** Alerts whose state the receiver has not been told of, oldest first; not those that are silenced. */
  untold(limit: number): readonly AlertRecord[] {
    return this.#db
      .prepare<[number], Row>(`SELECT ${COLUMNS} FROM alerts WHERE ${TO_TELL} ORDER BY id LIMIT ?`)
      .all(limit)
      .map(toRecord)
  }

  countUntold(): number {
    const count = this.#db.prepare<[], { n: number }>(`SELECT count(*) AS n FROM alerts WHERE ${TO_TELL}`)
    return present(count.get(), 'the row of an aggregate').n
  }

  /** The receiver knows of this state. */
  noteTold({ id, state }: Pick<AlertRecord, 'id' | 'state'>): void {
    this.#db.prepare('UPDATE alerts SET told = ? WHERE id = ?').run(state, id)
  }

  /** Nobody is told of what is known by now. */
  forgetUntold(): void {
    this.#db.prepare('UPDATE alerts SET told = state WHERE told <> state').run()
  }

  /** How alerts were dealt with, by code: how many were raised, how many somebody took on, and how long each of those waited, ms. */
  figures(sinceMs: number): readonly AlertFigures[] {
    return this.#db
      .prepare<[number], Omit<AlertFigures, 'waitsMs'> & { waits: string }>(
        `SELECT code, count(*) AS raised, sum(state = 'open') AS open, count(acknowledged) AS acknowledged,
           json_group_array(json_extract(acknowledged, '$.ms') - since_ms) FILTER (WHERE acknowledged IS NOT NULL) AS waits
         FROM alerts WHERE since_ms >= ? GROUP BY code ORDER BY raised DESC, code`,
      )
      .all(sinceMs)
      .map(({ waits, ...row }) => ({ ...row, waitsMs: (JSON.parse(waits) as number[]).sort((a, b) => a - b) }))
  }

  /** Alerts that were open at some time from one moment to another, the newest of them first. */
  between(fromMs: number, untilMs: number, limit: number): readonly AlertRecord[] {
    return this.#db
      .prepare<[number, number, number], Row>(
        `SELECT ${COLUMNS} FROM alerts WHERE since_ms <= ? AND (resolved_ms IS NULL OR resolved_ms >= ?)
         ORDER BY since_ms DESC LIMIT ?`,
      )
      .all(untilMs, fromMs, limit)
      .map(toRecord)
  }

  /** Newest first. @param before only alerts with a smaller id @param filter only those about a family's releases; only open ones */
  list(
    limit: number,
    before = Number.MAX_SAFE_INTEGER,
    { family, isOpen = false }: { readonly family?: string | undefined; readonly isOpen?: boolean } = {},
  ): readonly AlertRecord[] {
    return this.#db
      .prepare<[FamilyParameter & { before: number; limit: number; open: 0 | 1 }], Row>(
        `SELECT ${COLUMNS} FROM alerts WHERE id < @before AND (@open = 0 OR state = 'open') AND ${OF_FAMILY}
         ORDER BY id DESC LIMIT @limit`,
      )
      .all({ before, limit, family: family ?? null, open: isOpen ? 1 : 0 })
      .map(toRecord)
  }
}
