import type { SqliteDatabase } from './database.ts'

/** How much a release can do wrong; the order is that of what is asked of it. */
export const RELEASE_RISKS = ['low', 'medium', 'high'] as const
export type ReleaseRisk = (typeof RELEASE_RISKS)[number]

export const higherRisk = (a: ReleaseRisk, b: ReleaseRisk): ReleaseRisk =>
  RELEASE_RISKS.indexOf(a) >= RELEASE_RISKS.indexOf(b) ? a : b

export interface Approval {
  readonly sha256: string
  readonly by: string
  readonly atMs: number
  readonly reason: string
}

/** The least risk of a family's releases. */
export interface FamilyRisk {
  readonly family: string
  readonly risk: ReleaseRisk
  readonly changedMs: number
  readonly by: string
  readonly reason: string
}

/** Who has approved which bytes, and how careful a family is. */
export class ApprovalStore {
  readonly #db: SqliteDatabase
  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  /** @returns false: this person has approved it already */
  add({ sha256, by, atMs, reason }: Approval): boolean {
    const { changes } = this.#db
      .prepare('INSERT INTO approvals (sha256, approved_by, at_ms, reason) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING')
      .run(sha256, by, atMs, reason)
    return changes > 0
  }

  /** Those that count, oldest first. */
  of(sha256: string): readonly Approval[] {
    return this.#db
      .prepare<[string], Approval>(
        `SELECT sha256, approved_by AS "by", at_ms AS atMs, reason FROM approvals
         WHERE sha256 = ? AND ended_ms IS NULL ORDER BY at_ms, approved_by`,
      )
      .all(sha256)
  }

  riskOf(family: string): FamilyRisk | undefined {
    return this.#db
      .prepare<[string], FamilyRisk>(
        'SELECT family, risk, changed_ms AS changedMs, changed_by AS "by", reason FROM family_risks WHERE family = ?',
      )
      .get(family)
  }

  setRisk(risk: FamilyRisk): void {
    this.#db
      .prepare(
        `INSERT INTO family_risks (family, risk, changed_ms, changed_by, reason) VALUES (@family, @risk, @changedMs, @by, @reason)
         ON CONFLICT (family) DO UPDATE SET risk = excluded.risk, changed_ms = excluded.changed_ms,
           changed_by = excluded.changed_by, reason = excluded.reason`,
      )
      .run(risk)
  }
}
