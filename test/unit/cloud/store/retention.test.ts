import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterAll, describe, expect, it } from 'vitest'
import { compactDatabase, DatabaseInUseError } from '../../../../cloud/store/database.ts'
import { Retention, retentionQueries } from '../../../../cloud/store/retention.ts'
import { DEFAULT_RETENTION } from '../../../../cloud/store/retention-ages.ts'
import { Store } from '../../../../cloud/store/store.ts'
import { attestedBy } from '../../../../cloud/trust/attestation.ts'
import { seededRandom } from '../../../../contract/random.ts'
import type { AggregateRow } from '../../../../contract/uplink.ts'
import { SHA } from '../../../fixtures/cloud-world.ts'
import { batchOf, HOUR, ingestInto, SyntheticDevice, T0 } from '../../../fixtures/synthetic-fleet.ts'

const DAY = 24 * HOUR
const MODEL = SHA['kws-1'].slice(0, 16)
const folder = mkdtempSync(join(tmpdir(), 'kinglet-retention-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** A pass to its end. @returns rows removed and slices taken */
function pass(store: Store, nowMs: number, policy = DEFAULT_RETENTION, enough = () => false) {
  const retention = new Retention(store.db, policy)
  retention.begin(nowMs)
  let removed = 0
  for (let slices = 1; ; slices++) {
    const slice = retention.slice(enough)
    removed += slice.removed
    if (!slice.more) return { removed, slices }
  }
}
const count = (store: Store, table: string): number =>
  store.db.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number

const aggregate = (hourMs: number): AggregateRow => ({
  ...{ hourMs, revision: 1, model: MODEL, board: 'board-a', site: 'site-1', rollout: '', stage: 0, arm: 'none' },
  ...{ listeningMs: HOUR, activeMs: 1, wakes: 1, gateOpenings: 1, confirmed: 1, rejected: 0, energyMj: 1 },
  radioBytes: 1,
})

/** Lives of devices, in batches as a gateway sends them. */
function live(store: Store, devices: readonly SyntheticDevice[], toMs: number): void {
  for (const device of devices) {
    const { reports, verdicts } = device.live(toMs, { falseWakes: 1, verified: 3 })
    ingestInto(store, batchOf({ reports, verdicts }), attestedBy)
  }
}

describe('retention', () => {
  it('finds what is old by an index in every table, without reading the rest', () => {
    const { db } = new Store(':memory:', T0)
    for (const sql of retentionQueries()) {
      const names = [...sql.matchAll(/@(\w+)/g)].map(([, name]) => [name, 0])
      const parameters = names.length > 0 ? [Object.fromEntries(names)] : [0]
      const plan = db.prepare<unknown[], { detail: string }>(`EXPLAIN QUERY PLAN ${sql}`).all(...parameters)
      const steps = plan.map(({ detail }) => detail)
      expect(steps.join('\n')).not.toMatch(/SCAN|TEMP B-TREE/)
      expect(steps[0]).toMatch(/^SEARCH .* USING (COVERING INDEX|INDEX|PRIMARY KEY|INTEGER PRIMARY KEY) /)
    }
  })

  it('every table that grows has an age: rows beyond it go, rows within it stay', () => {
    const store = new Store(':memory:', T0)
    const now = T0 + 2_000 * DAY
    const device = new SyntheticDevice('d-1', MODEL, T0, seededRandom(1))
    const old = new SyntheticDevice('d-2', MODEL, now - 10 * DAY, seededRandom(2))
    // Three boots of long ago beyond the newest sixteen, and a year of boots since.
    for (let boot = 1; boot <= 20; boot++) {
      live(store, [device], device.atMs + 5 * HOUR)
      ingestInto(store, batchOf({ events: [device.event('booted', device.atMs)] }), attestedBy)
      device.reboot(boot === 2 ? SHA['kws-2'].slice(0, 16) : MODEL, device.atMs)
    }
    live(store, [old], now)
    ingestInto(
      store,
      batchOf({ aggregates: [aggregate(T0), aggregate(now - DAY)], events: [old.event('booted', now - DAY)] }),
      attestedBy,
    )
    store.fleet.refresh(10_000)
    const { id } = store.alerts.raise({ code: 'x', metric: 'm', model: '', sinceMs: T0, ratio: 1, numbers: {} })
    store.alerts.resolve(id, T0)
    const silence = { code: 'x', metric: null, cohort: null, fromMs: T0, by: 'a', reason: 'r' }
    for (const untilMs of [T0 + 1, now + DAY]) store.silences.add({ ...silence, untilMs })
    store.silences.endOver(now)
    store.alerts.raise({ code: 'x', metric: 'm', model: '', sinceMs: T0, ratio: 1, numbers: {} })
    for (const atMs of [T0, now]) store.audit.append({ atMs, actor: 'a', action: 'b', subject: 'c', detail: {} })
    for (const [jti, expiresMs] of [
      ['gone', now - 32 * DAY],
      ['valid', now + 1],
    ] as const) {
      store.tokens.add({ jti, kind: 'viewer', subject: 's', issuedMs: T0, expiresMs })
      const claim = {
        device: 'd',
        site: 's',
        board: 'b',
        tags: [],
        model: null,
        family: 'default',
        sites: null,
        createdMs: T0,
        createdBy: 'x',
      }
      store.identities.addClaim({ ...claim, id: jti, publicKey: '00', expiresMs: expiresMs - 29 * DAY })
    }
    expect(pass(store, now).removed).toBeGreaterThan(100)
    const { db } = store
    const oldest = (table: string, column: string) =>
      db.prepare(`SELECT min(${column}) FROM ${table} WHERE device = 2`).pluck().get()
    expect(db.prepare('SELECT count(*) FROM reports WHERE device = 1').pluck().get()).toBe(0)
    expect(oldest('reports', 'time_ms')).toBeGreaterThan(now - 11 * DAY)
    expect(db.prepare('SELECT count(*) FROM verdicts WHERE device = 1').pluck().get()).toBe(0)
    expect(count(store, 'aggregates')).toBe(1)
    expect(db.prepare('SELECT state FROM alerts').pluck().all()).toEqual(['open'])
    expect(db.prepare('SELECT ended_ms FROM silences').pluck().all()).toEqual([null])
    expect(db.prepare('SELECT at_ms FROM audit').pluck().all()).toEqual([now])
    expect(db.prepare('SELECT jti FROM tokens').pluck().all()).toEqual(['valid'])
    expect(db.prepare('SELECT id FROM claims').pluck().all()).toEqual(['valid'])
    expect(db.prepare('SELECT min(hour) * 3600000 FROM fleet_hours').pluck().get()).toBeGreaterThan(now - 11 * DAY)
    // The newest hour: what the next report is the difference to. The newest boots, and where its present model began (drift).
    expect(db.prepare('SELECT boot FROM device_hours WHERE device = 1').pluck().all()).toEqual([20])
    expect(db.prepare('SELECT boot FROM boots WHERE device = 1 ORDER BY boot').pluck().all()).toEqual([
      4,
      ...Array.from({ length: 16 }, (_, i) => i + 5),
    ])
    expect(db.prepare('SELECT count(*) FROM events').pluck().get()).toBe(1)
    expect(pass(store, now).removed).toBe(0)
  })

  it('what a device last signed of the model it runs stays, however long ago it said it', () => {
    const store = new Store(':memory:', T0)
    const device = new SyntheticDevice('d-1', MODEL, T0, seededRandom(1))
    const confirmed = () => ({ ...device.event('install-confirmed', T0), signed: undefined })
    ingestInto(store, batchOf({ events: [confirmed(), confirmed(), device.event('battery-low', T0)] }), () => 1)
    pass(store, T0 + 3_000 * DAY)
    expect(store.db.prepare('SELECT seq FROM events').pluck().all()).toEqual([1])
    expect(store.identities.attestedRun(1)?.model).toBe(MODEL)
  })

  it('follows the inflow: 6 000 devices and a day’s backlog are caught up in one pass, in slices that end when they are told to', () => {
    const store = new Store(':memory:', T0)
    const add = store.db.prepare(
      "INSERT INTO reports (device, boot, seq, time_ms, received_ms, body) VALUES (?, 1, ?, ?, ?, '{}')",
    )
    store.atomically(() => {
      for (let device = 1; device <= 6_000; device++)
        for (let seq = 0; seq < 10; seq++) add.run(device, seq, T0 + seq, T0)
    })
    let asked = 0
    const { removed, slices } = pass(store, T0 + 91 * DAY, DEFAULT_RETENTION, () => ++asked % 4 === 0)
    expect(removed).toBe(60_000)
    expect(slices).toBeGreaterThan(400)
    expect(count(store, 'reports')).toBe(0)
  })

  it('sums of an hour whose rows are gone are not computed anew from the little that comes late', () => {
    const store = new Store(':memory:', T0)
    const device = new SyntheticDevice('d-1', MODEL, T0, seededRandom(1))
    live(store, [device], T0 + 5 * HOUR)
    store.fleet.refresh(100)
    const before = store.fleet.hours(0, 1e9)
    const now = T0 + 70 * DAY
    pass(store, now)
    const late = {
      site: 's',
      device: 'd-1',
      boot: 1,
      model: MODEL,
      hourMs: T0 + 2 * HOUR,
      confirmed: 1_000,
      rejected: 0,
    }
    ingestInto(store, batchOf({ verdicts: [late] }), attestedBy)
    new Retention(store.db, DEFAULT_RETENTION).begin(now)
    store.fleet.refresh(100)
    expect(store.fleet.hours(0, 1e9)).toEqual(before)
  })

  it('members of a rollout go when it ended long ago; those of an open one stay', () => {
    const store = new Store(':memory:', T0)
    const add = store.db.prepare(
      `INSERT INTO rollouts (id, release, previous, state, percents, stage, stage_started_ms, granted_hours, policy, salt, created_ms,
         created_by, ended_ms, why) VALUES (?, 1, 1, ?, '[]', 1, 0, 0, '{}', '', 0, '', ?, '')`,
    )
    store.db.pragma('foreign_keys = OFF')
    add.run('r-open', 'running', null)
    add.run('r-old', 'completed', T0)
    const device = {
      ...{ bucket: 0.5, late: false, previous: 1, holdback: false, sinceMs: T0, boundMs: DAY },
      ...{ board: 'b', site: 's', environment: null },
    }
    const enrol = (i: number) => store.devices.enrol({ name: `d-${i}`, site: 's', board: 'b', tags: [] }, T0).id
    const ids = Array.from({ length: 100 }, (_, i) => enrol(i))
    for (const id of ['r-open', 'r-old'])
      for (const each of ids) store.rollouts.addDevice(id, { device: each, ...device })
    expect(pass(store, T0 + 401 * DAY).removed).toBe(100)
    expect(store.rollouts.devices('r-open')).toHaveLength(100)
    expect(store.rollouts.devices('r-old')).toHaveLength(0)
    expect(store.rollouts.get('r-old')).toBeDefined()
  })
})

describe('space', () => {
  it('a device that reports every hour and boots every day writes at most 18 kB a day and keeps at most 1.7 MB for as long as it lives', () => {
    const store = new Store(join(folder, 'week.db'), T0)
    const random = seededRandom(5)
    const devices = Array.from(
      { length: 60 },
      (_, i) => new SyntheticDevice(`d-${i}`, MODEL, T0, random.fork(`d-${i}`)),
    )
    for (let day = 1; day <= 7; day++) {
      live(store, devices, T0 + day * DAY)
      for (const device of devices) {
        const events = [device.event('booted', device.atMs), device.event('install-confirmed', device.atMs)]
        ingestInto(store, batchOf({ events }), attestedBy)
        device.reboot(MODEL, device.atMs)
      }
    }
    const bytes = store.db
      .prepare<[], { name: string; bytes: number }>(
        `SELECT m.tbl_name AS name, sum(s.pgsize) AS bytes FROM dbstat s JOIN sqlite_master m ON m.name = s.name GROUP BY m.tbl_name`,
      )
      .all()
    const daily = (table: string): number => (bytes.find(({ name }) => name === table)?.bytes ?? 0) / devices.length / 7
    const { reports, hours, boots, events } = DEFAULT_RETENTION
    const kept =
      daily('reports') * reports +
      (daily('device_hours') + daily('verdicts')) * hours +
      daily('boots') * boots +
      daily('events') * events
    const aDay = ['reports', 'device_hours', 'verdicts', 'boots', 'events'].reduce((sum, name) => sum + daily(name), 0)
    // Measured: 14.7 kB a day, so 5.4 MB a year without ages, and 1.4 MB kept.
    expect(aDay).toBeGreaterThan(10_000)
    expect(aDay).toBeLessThan(18_000)
    expect(kept).toBeGreaterThan(1e6)
    expect(kept).toBeLessThan(1.7e6)
    store.close()
  })

  it('a log that grew behind a long reader is cut as soon as the reader has ended', () => {
    const path = join(folder, 'wal.db')
    const store = new Store(path, T0)
    const reader = new Database(path)
    reader.exec('BEGIN')
    reader.prepare('SELECT count(*) FROM audit').get()
    const walBytes = (): number => statSync(`${path}-wal`).size
    const detail = 'x'.repeat(2_000)
    for (let i = 0; i < 40; i++) {
      store.atomically(() => {
        for (let j = 0; j < 400; j++) store.audit.append({ atMs: T0, actor: 'a', action: 'b', subject: 'c', detail })
      })
    }
    const grown = walBytes()
    expect(grown).toBeGreaterThan(32 * 1024 * 1024)
    const started = performance.now()
    store.checkpoint()
    // The reader is still there: nothing is waited for.
    expect(performance.now() - started).toBeLessThan(2_000)
    expect(walBytes()).toBe(grown)
    reader.exec('COMMIT')
    store.checkpoint()
    expect(walBytes()).toBeLessThanOrEqual(16 * 1024 * 1024)
    reader.close()
    store.close()
  })

  it('compact gives the space of dropped rows back, and refuses while the cloud has the database', () => {
    const path = join(folder, 'compact.db')
    const store = new Store(path, 0)
    store.atomically(() => {
      for (let i = 0; i < 5_000; i++) {
        store.audit.append({
          atMs: i < 4_900 ? T0 : T0 + 2_000 * DAY,
          actor: 'a',
          action: 'b',
          subject: 'c',
          detail: 'x'.repeat(1_000),
        })
      }
    })
    pass(store, T0 + 2_000 * DAY)
    expect(() => compactDatabase(path)).toThrow(DatabaseInUseError)
    expect(store.audit.list(1_000)).toHaveLength(100)
    store.close()
    const { beforeBytes, afterBytes } = compactDatabase(path)
    expect(beforeBytes).toBeGreaterThan(5_000_000)
    expect(afterBytes).toBeLessThan(beforeBytes / 5)
    const again = new Store(path, 0)
    expect(again.audit.list(1_000)).toHaveLength(100)
    expect(again.db.pragma('journal_mode', { simple: true })).toBe('wal')
    again.close()
    expect(() => compactDatabase(join(folder, 'none.db'))).toThrow()
    expect(existsSync(join(folder, 'none.db'))).toBe(false)
  })
})
