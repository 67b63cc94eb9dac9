import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { DatabaseTooNewError, openDatabase } from '../../../../cloud/store/database.ts'
import { MIGRATIONS } from '../../../../cloud/store/migrations.ts'
import { Store } from '../../../../cloud/store/store.ts'
import { attestedBy } from '../../../../cloud/trust/attestation.ts'
import { CloudWorld, releaseOf, SHA } from '../../../fixtures/cloud-world.ts'
import { T0 } from '../../../fixtures/synthetic-fleet.ts'

describe('database', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kinglet-db-'))
  let count = 0
  const fresh = (): string => join(folder, `${count++}.db`)

  it('is numbered without gaps, and opening again migrates nothing', () => {
    expect(MIGRATIONS.map(({ version }) => version)).toEqual(MIGRATIONS.map((_, i) => i + 1))
    const path = fresh()
    new Store(path, T0).close()
    const db = openDatabase(path, T0 + 1)
    expect(db.prepare('SELECT DISTINCT at_ms FROM migrations').pluck().all()).toEqual([T0])
    db.close()
  })

  it('refuses a database that is newer than the code', () => {
    const path = fresh()
    const next = { version: MIGRATIONS.length + 1, name: 'of tomorrow', sql: 'CREATE TABLE tomorrow (x)' }
    openDatabase(path, T0, [...MIGRATIONS, next]).close()
    expect(() => new Store(path, T0)).toThrow(DatabaseTooNewError)
  })

  it('a migration that fails leaves the version before it, whole', () => {
    const path = fresh()
    const broken = {
      version: MIGRATIONS.length + 1,
      name: 'broken',
      sql: 'CREATE TABLE half (x); SELECT no_such_function()',
    }
    expect(() => openDatabase(path, T0, [...MIGRATIONS, broken])).toThrow()
    const store = new Store(path, T0)
    expect(store.db.prepare("SELECT count(*) FROM sqlite_master WHERE name = 'half'").pluck().get()).toBe(0)
    store.close()
  })

  it('releases of before keep their content and lose the signature; their devices get assignments anew', () => {
    const path = fresh()
    const before = MIGRATIONS.findIndex(({ name }) => name === 'releases without signatures')
    const old = openDatabase(path, T0, MIGRATIONS.slice(0, before))
    const release = releaseOf('kws-1', 1, SHA['kws-1'], { boards: ['board-a'] })
    const { sha256 } = release
    old.prepare('INSERT INTO artifacts VALUES (?, 1000, 0)').run(sha256)
    old
      .prepare(
        `INSERT INTO releases (name, version, sha256, prefix, bytes, parent, state, document, registered_ms)
         VALUES ('kws-1', 1, ?, ?, 1000, NULL, 'production', ?, 0)`,
      )
      .run(sha256, sha256.slice(0, 16), JSON.stringify({ signed: release, signatures: [{ keyId: 'a', sig: 'b' }] }))
    old.prepare("INSERT INTO devices (name, site, board, target) VALUES ('d-1', 's', 'board-a', 1)").run()
    old.prepare("INSERT INTO devices (name, site, board) VALUES ('d-2', 's', 'board-a')").run()
    old.close()
    const store = new Store(path, T0)
    expect(store.models.byName('kws-1')!.content).toEqual(release)
    expect(store.devices.dirty(10).map(({ name }) => name)).toEqual(['d-1'])
    store.close()
  })

  it('what a dead process left undone in a transaction never happened', () => {
    const world = new CloudWorld(fresh(), 1, {})
    world.addRelease('kws-1', 1, 'production')
    world.enrol(5)
    // Mid-transaction, then the handle goes away without a commit, as with kill -9.
    world.store.db.exec('BEGIN IMMEDIATE')
    world.store.devices.retarget(1, { release: 1, rollout: 'r-x', stage: 1, arm: 'canary' })
    expect(world.store.devices.byId(1)!.arm).toBe('canary')
    world.reopen()
    expect(world.store.devices.byId(1)!.arm).toBe('none')
    expect(world.assigner.signSlice().signed).toBe(5)
    world.store.close()
    rmSync(folder, { recursive: true })
  })
})

describe('assignments', () => {
  it('sequence numbers rise, past what a device says it accepted, and expiring ones are signed anew', () => {
    const world = new CloudWorld(':memory:', 2, { 'kws-1': { falseWakes: 0, verified: 1 } })
    world.addRelease('kws-1', 1, 'production')
    world.enrol(3)
    world.assigner.signSlice()
    const first = world.store.assignments.after(0, 10)
    expect(first.map(({ seq }) => seq)).toEqual([1, 1, 1])
    // The store was restored from a backup: the first device is further than the store knows.
    world.fleet[0]!.assignmentSeq = 41
    const { reports, verdicts } = world.fleet[0]!.live(T0 + 2 * 3_600_000, { falseWakes: 0, verified: 1 })
    world.store.telemetry.ingest({ v: 1, gateway: 'g', reports, verdicts, events: [], aggregates: [] }, attestedBy)
    world.store.devices.markDirty(1)
    world.assigner.signSlice()
    expect(world.store.assignments.after(first.at(-1)!.cursor, 10)).toMatchObject([{ device: 'device-0000', seq: 42 }])
    world.clock.advanceTo(T0 + 23 * 24 * 3_600_000)
    expect(world.assigner.signSlice().signed).toBe(3)
    expect(world.assigner.signSlice().signed).toBe(0)
    world.store.close()
  })

  it('a candidate that raises the security counter could not be taken back: refused unless said so', () => {
    const world = new CloudWorld(':memory:', 3, {})
    world.addRelease('kws-1', 1, 'production')
    world.addRelease('kws-2', 2, 'staging', { securityCounter: 2 })
    world.addRelease('kws-bad', 3, 'staging', { boards: ['other-board'] })
    world.enrol(3)
    expect(world.start('kws-2')).toMatchObject({ ok: false, error: { code: 'security-counter-too-low' } })
    expect(world.start('kws-bad')).toMatchObject({ ok: false, error: { code: 'wrong-board' } })
    expect(world.start('kws-9')).toMatchObject({ ok: false, error: { code: 'not-found' } })
    world.store.close()
  })
})
