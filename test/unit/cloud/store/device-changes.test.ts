import Database from 'better-sqlite3'
import { afterEach, describe, expect, it } from 'vitest'
import { gatherEvidence } from '../../../../cloud/rollout/evidence.ts'
import { READ_AS_A_WHOLE, READ_BY_DEVICE } from '../../../../cloud/store/device-changes.ts'
import { hourIndex } from '../../../../cloud/store/telemetry-store.ts'
import { DEFAULT_DRIFT_POLICY } from '../../../../cloud/telemetry/drift-policy.ts'
import { DriftReader } from '../../../../cloud/telemetry/drift-reader.ts'
import { present } from '../../../../contract/present.ts'
import { CloudWorld } from '../../../fixtures/cloud-world.ts'

/** What a look reads and nobody needs to be told of: the rollout's own row, which each look reads, and what was kept of looks. */
const READ_AT_EVERY_LOOK = ['rollouts', 'gate_readings']

describe('who keeps what was read of devices', () => {
  const { prepare } = Database.prototype
  afterEach(() => {
    Database.prototype.prepare = prepare
  })
  const rolledOut = (): CloudWorld => {
    const usual = { falseWakes: 1, verified: 2 }
    const world = new CloudWorld(':memory:', 1, { 'kws-1': usual, 'kws-2': usual })
    world.addRelease('kws-1', 1, 'production')
    world.addRelease('kws-2', 2, 'staging')
    world.enrol(150)
    world.hours(30)
    world.start('kws-2')
    world.hours(4)
    return world
  }

  it('is told of every table that a look reads', () => {
    const asked = new Set<string>()
    Database.prototype.prepare = function (this: Database.Database, sql: string) {
      const statement = prepare.call(this, sql)
      if (!statement.reader) return statement
      const [all, get] = [statement.all.bind(statement), statement.get.bind(statement)]
      const noting =
        (ask: (...args: unknown[]) => unknown) =>
        (...args: unknown[]) => {
          if (recording) asked.add(sql)
          return ask(...args)
        }
      Object.assign(statement, { all: noting(all as () => unknown), get: noting(get as () => unknown) })
      return statement
    } as typeof prepare
    let recording = false
    const world = rolledOut()
    const { store, clock } = world
    recording = true
    gatherEvidence(store, present(store.rollouts.allOpen()[0], 'the open rollout'), clock.wallMs())
    recording = false
    const tables = new Set(
      [...asked].flatMap((sql) => [...sql.matchAll(/\b(?:FROM|JOIN)\s+(\w+)/gi)].map(([, name = '']) => name)),
    )
    const known = store.db.prepare<[], string>("SELECT name FROM sqlite_schema WHERE type = 'table'").pluck().all()
    for (const name of tables) if (!known.includes(name)) tables.delete(name)
    const told = new Set([...Object.keys(READ_BY_DEVICE), ...Object.keys(READ_AS_A_WHOLE), ...READ_AT_EVERY_LOOK])
    expect(tables.size).toBeGreaterThan(8)
    expect([...tables].filter((table) => !told.has(table))).toEqual([])
  })

  it('reads drift without writing', () => {
    const world = rolledOut()
    const before = world.store.db.prepare('SELECT total_changes() AS n').get()
    const { judged, baselines } = new DriftReader(world.store, DEFAULT_DRIFT_POLICY).read(
      hourIndex(world.clock.wallMs()),
    )
    expect(judged.length).toBeGreaterThan(0)
    expect(baselines.length).toBeGreaterThan(100)
    expect(world.store.db.prepare('SELECT total_changes() AS n').get()).toEqual(before)
  })
})
