import Database from 'better-sqlite3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DriftMonitor } from '../../../../cloud/telemetry/drift.ts'
import { DEFAULT_DRIFT_POLICY } from '../../../../cloud/telemetry/drift-policy.ts'
import { lookForSilence } from '../../../../cloud/telemetry/silence.ts'
import { CloudWorld } from '../../../fixtures/cloud-world.ts'

/** Rows of a device that become more for as long as it lives: they are looked up by boot and slot, or by time. */
const OF_A_DEVICE = ['reports', 'device_hours', 'verdicts']
/** Read as a whole by nothing that is done at every look. */
const GROWING = [...OF_A_DEVICE, 'boots', 'events', 'alerts', 'fleet_hours', 'aggregates']
/** Indexes of the few rows that are not over. */
const OPEN_ONLY = /USING INDEX alerts_(?:open|untold)$/

/** Tables by the name that a statement gives them. */
function aliasesOf(sql: string): ReadonlyMap<string, string> {
  const aliases = new Map<string, string>()
  for (const [, table = '', alias] of sql.matchAll(/\b(?:FROM|JOIN|UPDATE|INTO)\s+(\w+)(?:\s+(?:AS\s+)?(\w+))?/gi)) {
    aliases.set(table, table)
    if (alias !== undefined) aliases.set(alias, table)
  }
  return aliases
}

describe('what a look at the fleet asks the database', () => {
  const asked = new Set<string>()
  const { prepare } = Database.prototype
  let world: CloudWorld
  beforeAll(() => {
    Database.prototype.prepare = function (this: Database.Database, sql: string) {
      asked.add(sql)
      return prepare.call(this, sql)
    } as typeof prepare
    const usual = { falseWakes: 1, verified: 1 }
    world = new CloudWorld(':memory:', 1, { 'kws-1': usual, 'kws-2': usual })
    world.addRelease('kws-1', 1, 'production')
    world.addRelease('kws-2', 2, 'staging')
    world.enrol(60)
    const drift = new DriftMonitor(world.store, DEFAULT_DRIFT_POLICY)
    world.hours(30)
    world.start('kws-2')
    world.hours(4)
    drift.evaluate(world.clock.wallMs())
    lookForSilence(world.store, world.clock.wallMs())
    world.engine.lookAfter()
    world.store.fleet.refresh(10)
    world.store.fleet.present()
    world.store.alerts.allOpen()
  })
  afterAll(() => {
    Database.prototype.prepare = prepare
    world.store.close()
  })

  it('reads no history from its beginning', () => {
    const dear: string[] = []
    let explained = 0
    for (const sql of asked) {
      if (!/^\s*(?:SELECT|UPDATE|DELETE|WITH)\b/i.test(sql)) continue
      const names = [...sql.matchAll(/@(\w+)/g)].map(([, name = '']) => [name, 1])
      const unnamed = (sql.match(/\?/g) ?? []).map(() => 1)
      const plan = prepare.call(world.store.db, `EXPLAIN QUERY PLAN ${sql}`) as Database.Statement<unknown[]>
      const steps = (names.length > 0 ? plan.all(Object.fromEntries(names)) : plan.all(...unnamed)) as {
        detail: string
      }[]
      const aliases = aliasesOf(sql)
      explained++
      for (const { detail } of steps) {
        const [, how, name = '', rest = ''] = /^(SCAN|SEARCH) (\w+)(.*)$/.exec(detail) ?? []
        const table = aliases.get(name) ?? name
        const isWhole = how === 'SCAN' && GROWING.includes(table) && !OPEN_ONLY.test(rest)
        const isOfDevice = how === 'SEARCH' && OF_A_DEVICE.includes(table) && rest.endsWith('(device=?)')
        if (isWhole || isOfDevice) dear.push(`${detail}: ${sql.replace(/\s+/g, ' ').slice(0, 200)}`)
      }
    }
    expect(explained).toBeGreaterThan(60)
    expect(dear).toEqual([])
  })
})
