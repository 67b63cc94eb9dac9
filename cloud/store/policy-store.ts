import { NAME_PATTERN } from '../../contract/id.ts'
import { present } from '../../contract/present.ts'
import type { SqliteDatabase } from './database.ts'
import type { GatePolicy } from './gate-policy.ts'

/** A gate policy under a name. A version never changes: what was learnt becomes the next one. */
export interface PolicyTemplate {
  readonly name: string
  readonly version: number
  /** whole, so that it means the same when the defaults of a later release are others */
  readonly policy: GatePolicy
  readonly createdMs: number
  readonly createdBy: string
  readonly reason: string
}

interface Row {
  name: string
  version: number
  policy: string
  created_ms: number
  created_by: string
  reason: string
}

const toTemplate = ({ policy, created_ms, created_by, ...row }: Row): PolicyTemplate => ({
  ...row,
  policy: JSON.parse(policy) as GatePolicy,
  createdMs: created_ms,
  createdBy: created_by,
})

/** NAME, which is the newest version, or NAME@VERSION */
export const POLICY_REFERENCE = new RegExp(`${NAME_PATTERN.source.slice(0, -1)}(?:@[1-9][0-9]{0,8})?$`)

/** chosen: versions of all names together, each at most what a request may have */
export const POLICY_TEMPLATES_MAX = 1_000

/** Gate policies by name and version. */
export class PolicyStore {
  readonly #db: SqliteDatabase
  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  /** Keeps a policy as the next version of its name. To be called inside a transaction.
   *  @returns the newest version as it was, where that is the same policy; undefined: there are too many */
  add(
    name: string,
    policy: GatePolicy,
    { nowMs, by, reason }: { readonly nowMs: number; readonly by: string; readonly reason: string },
  ): { readonly template: PolicyTemplate; readonly created: boolean } | undefined {
    const newest = this.get(name)
    if (newest !== undefined && JSON.stringify(newest.policy) === JSON.stringify(policy)) {
      return { template: newest, created: false }
    }
    const count = this.#db.prepare<[], { n: number }>('SELECT count(*) AS n FROM gate_policies').get()
    if (present(count, 'the row of an aggregate').n >= POLICY_TEMPLATES_MAX) return undefined
    const version = (newest?.version ?? 0) + 1
    this.#db
      .prepare(
        'INSERT INTO gate_policies (name, version, policy, created_ms, created_by, reason) VALUES (?, ?, ?, ?, ?, ?)',
      )
      .run(name, version, JSON.stringify(policy), nowMs, by, reason)
    return { template: { name, version, policy, createdMs: nowMs, createdBy: by, reason }, created: true }
  }

  /** @param version the newest when it is left out */
  get(name: string, version?: number): PolicyTemplate | undefined {
    const row = this.#db
      .prepare<[string, number | null, number | null], Row>(
        'SELECT * FROM gate_policies WHERE name = ? AND (? IS NULL OR version = ?) ORDER BY version DESC LIMIT 1',
      )
      .get(name, version ?? null, version ?? null)
    return row && toTemplate(row)
  }

  /** All versions, by name, the newest first. */
  list(): readonly PolicyTemplate[] {
    return this.#db.prepare<[], Row>('SELECT * FROM gate_policies ORDER BY name, version DESC').all().map(toTemplate)
  }
}
