import { parseDeviceQuery, type QueryTerm } from '../../contract/device-query.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { SqliteDatabase } from './database.ts'
import { type DeviceCondition, deviceCondition } from './device-conditions.ts'

/** A query with a name. What it chooses is looked up each time it is asked for. */
export interface Group {
  readonly name: string
  readonly query: string
  readonly changedMs: number
  /** subject of the token that set it */
  readonly by: string
}

/** Saved groups of devices. */
export class GroupStore {
  readonly #db: SqliteDatabase
  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  list(): readonly Group[] {
    return this.#db
      .prepare<[], Group>('SELECT name, query, changed_ms AS changedMs, changed_by AS by FROM groups ORDER BY name')
      .all()
  }

  get(name: string): Group | undefined {
    return this.#db
      .prepare<[string], Group>(
        'SELECT name, query, changed_ms AS changedMs, changed_by AS by FROM groups WHERE name = ?',
      )
      .get(name)
  }

  set({ name, query, changedMs, by }: Group): void {
    this.#db
      .prepare(
        `INSERT INTO groups (name, query, changed_ms, changed_by) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE
         SET query = excluded.query, changed_ms = excluded.changed_ms, changed_by = excluded.changed_by`,
      )
      .run(name, query, changedMs, by)
  }

  remove(name: string): void {
    this.#db.prepare('DELETE FROM groups WHERE name = ?').run(name)
  }

  /** The condition that a query is, with its groups looked up.
   *  @returns `invalid-request` where it names a group that there is not */
  condition(terms: readonly QueryTerm[], nowMs: number): Result<DeviceCondition, ContractError> {
    const groups = new Map<string, readonly QueryTerm[]>()
    for (const term of terms) {
      if (term.field !== 'group' || !('values' in term)) continue
      for (const name of term.values) {
        const group = this.get(name)
        if (group === undefined) return err(contractError('invalid-request', `there is no group "${name}"`))
        const members = parseDeviceQuery(group.query)
        if (!members.ok) return err(contractError('invalid-request', `group "${name}": ${members.error.detail}`))
        groups.set(name, members.value)
      }
    }
    return ok(deviceCondition(terms, groups, nowMs))
  }
}
