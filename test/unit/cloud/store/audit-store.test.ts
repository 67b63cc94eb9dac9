import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openDatabase } from '../../../../cloud/store/database.ts'
import { MIGRATIONS } from '../../../../cloud/store/migrations.ts'
import { Retention } from '../../../../cloud/store/retention.ts'
import { DEFAULT_RETENTION } from '../../../../cloud/store/retention-ages.ts'
import { Store } from '../../../../cloud/store/store.ts'
import { AUDIT_BEGINNING, type AuditEntry, auditFault } from '../../../../contract/audit-chain.ts'
import { T0 } from '../../../fixtures/synthetic-fleet.ts'

const DAY = 86_400_000
const entry = (atMs: number, subject = 's') => ({
  atMs,
  actor: 'operator',
  action: 'a.done',
  subject,
  detail: { n: 0.1 },
})
function faultsOf(newestFirst: readonly AuditEntry[]): (string | undefined)[] {
  return newestFirst.map((one, i) => auditFault(one, newestFirst[i + 1])).filter((fault) => fault !== undefined)
}
function drop(store: Store, nowMs: number): void {
  const retention = new Retention(store.db, DEFAULT_RETENTION)
  retention.begin(nowMs)
  while (retention.slice(() => false).more);
}

describe('the audit log', () => {
  it('chains each entry to the one before, in a transaction that is taken back too', () => {
    const store = new Store(':memory:', T0)
    store.audit.append(entry(T0))
    expect(() =>
      store.atomically(() => {
        store.audit.append(entry(T0 + 1, 'never'))
        throw new Error('back')
      }),
    ).toThrow('back')
    store.audit.append(entry(T0 + 2))
    const entries = store.audit.list(10)
    expect(entries.map(({ id, subject }) => [id, subject])).toEqual([
      [2, 's'],
      [1, 's'],
    ])
    expect(entries.at(-1)?.prev).toBe(AUDIT_BEGINNING)
    expect(faultsOf(entries)).toEqual([])
  })

  it.each([
    ["UPDATE audit SET actor = 'x' WHERE id = 2", /entry 2 is not what its hash says/],
    ["UPDATE audit SET detail = 'no JSON' WHERE id = 2", /entry 2 is not what its hash says/],
    ['UPDATE audit SET hash = NULL WHERE id = 2', /entry 2 is not what its hash says/],
    ['DELETE FROM audit WHERE id = 2', /between entries 1 and 3 some were taken out/],
  ])('shows what was done to its rows: %s', (sql, fault) => {
    const store = new Store(':memory:', T0)
    for (let i = 0; i < 4; i++) store.audit.append(entry(T0 + i))
    store.db.exec(sql)
    store.audit.append(entry(T0 + 9))
    expect(faultsOf(store.audit.list(10)).join('\n')).toMatch(fault)
  })

  it('of a database of before is chained when it is opened, and goes on', () => {
    const folder = mkdtempSync(join(tmpdir(), 'kinglet-audit-'))
    const path = join(folder, 'cloud.db')
    const before = MIGRATIONS.findIndex(({ name }) => name === 'audit chain')
    const old = openDatabase(path, T0, MIGRATIONS.slice(0, before))
    const insert = old.prepare(
      "INSERT INTO audit (id, at_ms, actor, action, subject, detail) VALUES (?, ?, 'o', 'a', 's', ?)",
    )
    // Those before the third have gone by age.
    for (const id of [3, 4, 6]) insert.run(id, T0 + id, '{"reason":"r"}')
    old.close()
    const store = new Store(path, T0)
    store.audit.append(entry(T0 + 10))
    const entries = store.audit.list(10)
    expect(entries.map(({ id }) => id)).toEqual([7, 6, 4, 3])
    expect(faultsOf(entries)).toEqual([])
    store.close()
    rmSync(folder, { recursive: true })
  })

  it('loses its oldest by age, never one in the middle, and never the last', () => {
    const store = new Store(':memory:', T0)
    const old = T0 - 2_000 * DAY
    // The clock was set back between.
    for (const atMs of [old, old + 1, T0, old + 2, T0]) store.audit.append(entry(atMs))
    drop(store, T0)
    expect(store.audit.list(10).map(({ id }) => id)).toEqual([5, 4, 3])
    drop(store, T0 + 2_000 * DAY)
    expect(store.audit.list(10).map(({ id }) => id)).toEqual([5])
    store.audit.append(entry(T0 + 2_000 * DAY))
    const entries = store.audit.list(10)
    expect(entries.map(({ id }) => id)).toEqual([6, 5])
    expect(faultsOf(entries)).toEqual([])
  })
})
