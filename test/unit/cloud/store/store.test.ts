import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { DatabaseTooNewError, openDatabase } from '../../../../cloud/store/database.ts'
import { MIGRATIONS } from '../../../../cloud/store/migrations.ts'
import { Store } from '../../../../cloud/store/store.ts'
import { attestedBy } from '../../../../cloud/trust/attestation.ts'
import { seededRandom } from '../../../../contract/random.ts'
import { CloudWorld, releaseOf, SHA } from '../../../fixtures/cloud-world.ts'
import { batchOf, ingestInto, SyntheticDevice, T0 } from '../../../fixtures/synthetic-fleet.ts'

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

  it('answers no writer before its batch is on the disk: a gateway forgets what was answered', () => {
    const db = openDatabase(fresh(), T0)
    const of = (name: string): unknown => db.pragma(name, { simple: true })
    // 2 is FULL: in WAL mode each commit waits for the medium.
    expect([of('journal_mode'), of('synchronous')]).toEqual(['wal', 2])
    db.close()
  })

  it('compiles a statement once, and forgets the oldest of very many', () => {
    const db = openDatabase(fresh(), T0)
    const often = 'SELECT ? AS of_many'
    const first = db.prepare(often)
    for (let i = 0; i < 2_000; i++) {
      expect(db.prepare<[number], { n: number }>(`SELECT ${i} + ? AS n`).get(1)).toEqual({ n: i + 1 })
      if (i % 500 === 0) expect(db.prepare(often)).toBe(first)
    }
    const second = db.prepare('SELECT 1 + ? AS n')
    expect(db.prepare('SELECT 1 + ? AS n')).toBe(second)
    for (let i = 0; i < 1_000; i++) db.prepare(`SELECT ${i} AS pushing_out`)
    expect(db.prepare('SELECT 1 + ? AS n')).not.toBe(second)
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

  it('baselines of before keep what they know, hour by hour', () => {
    const path = fresh()
    const before = MIGRATIONS.findIndex(({ name }) => name === 'baselines of any signal')
    const old = openDatabase(path, T0, MIGRATIONS.slice(0, before))
    const hours = Array.from({ length: 24 }, (_, hour) =>
      hour % 3 === 0
        ? null
        : {
            listeningMs: 3_600_000 * hour,
            activeMs: 1_800_000,
            rejected: hour / 4,
            noiseBins: [hour, 2, 0, 0, 0, 0, 0, 1],
          },
    )
    old.prepare('INSERT INTO baselines VALUES (7, ?, 10, 20, ?)').run('a'.repeat(16), JSON.stringify(hours))
    old.close()
    const store = new Store(path, T0)
    const { hours: kept, ...rest } = store.baselines.get(7)!
    expect(rest).toEqual({ device: 7, model: 'a'.repeat(16), sinceMs: 10, untilMs: 20 })
    expect(kept).toEqual(
      Array.from({ length: 24 }, (_, hour) =>
        hour % 3 === 0
          ? null
          : {
              uptimeMs: 3_600_000 * hour,
              sums: { falseWakesPerHour: [hour / 4, hour, 0, 0], dutyCycle: [0.5, hour, 0, 0] },
              bins: { noiseFloor: [hour, 2, 0, 0, 0, 0, 0, 1] },
            },
      ),
    )
    store.close()
  })

  it('gateways of before are known with the sites of their rows, and say nothing until they are enrolled; their tokens and verdicts stay', () => {
    const path = fresh()
    const before = MIGRATIONS.findIndex(({ name }) => name === 'gateways by enrolment')
    const old = openDatabase(path, T0, MIGRATIONS.slice(0, before))
    old.prepare('INSERT INTO gateways VALUES (\'gw-1\', 1, 2, 3, \'["lab","roof"]\')').run()
    old.prepare("INSERT INTO devices (name, site, board) VALUES ('d-1', 'lab', 'board-a')").run()
    old.prepare("INSERT INTO verdicts VALUES (1, 1, 5, 'm', 'gw-1', 480000, 4, 3, 2)").run()
    old.prepare("INSERT INTO verdicts VALUES (1, 1, 6, 'm', '@old', NULL, 1, 0, 0)").run()
    old.prepare("INSERT INTO tokens VALUES ('a1', 'gateway', 'gw-1', 10, 99)").run()
    old.prepare("INSERT INTO revocations VALUES ('d-1', 7, 8), ('gone', 9, 8)").run()
    old.close()
    const store = new Store(path, T0)
    const { gateways, tokens, identities } = store
    expect(gateways.byName('gw-1')).toMatchObject({ state: 'unenrolled', sites: ['lab', 'roof'], enrolledMs: null })
    expect(gateways.byName('@old')).toBeUndefined()
    const verdicts = store.db.prepare('SELECT gateway, revision FROM verdicts ORDER BY slot').all()
    expect(verdicts).toEqual([
      { gateway: 'gw-1', revision: 9 },
      { gateway: '@old', revision: 1 },
    ])
    // What it has brought is held out with it, should it turn out to lie.
    const brought = store.db.prepare('SELECT gateway, device, last_ms AS lastMs FROM gateway_devices').all()
    expect(brought).toEqual([{ gateway: 'gw-1', device: 1, lastMs: 480_000 * 3_600_000 }])
    expect(tokens.standing('a1', 'gw-1', 10)).toBe('good')
    // Of a device that is gone nobody knows the site: every gateway hears of it.
    const heard = (site: string) => identities.revocationsAfter(0, 10, [site]).map(({ device }) => device)
    expect([heard('lab'), heard('roof')]).toEqual([['d-1', 'gone'], ['gone']])
    store.close()
  })

  it('a gateway may have what its devices may need: bundle, patches and verifier of a release in production or on its way', () => {
    const world = new CloudWorld(fresh(), 1, {})
    world.enrol(1)
    const { models, devices } = world.store
    const [bundle, patch, verifier] = ['5', '6', '7'].map((digit) => digit.repeat(64))
    const kept = world.addRelease('kws-1', 1, 'staging')
    const release = {
      ...kept.content,
      name: 'kws-9',
      version: 9,
      sha256: bundle!,
      patches: [{ base: null, sha256: patch!, bytes: 5 }],
    }
    models.putArtifact(bundle!, 5, 0)
    const record = models.add(release, null, 0, { verifier: { sha256: verifier!, bytes: 9 } })
    const needed = (sites: string[]) =>
      [bundle, patch, verifier, '8'.repeat(64)].map((hash) => models.isNeededAt(hash!, sites))
    expect(needed(['site-1'])).toEqual([false, false, false, false])
    devices.retarget(1, { release: record.id, rollout: null, stage: 0, arm: 'none' })
    expect([needed(['site-1']), needed(['site-2'])]).toEqual([
      [true, true, true, false],
      [false, false, false, false],
    ])
    models.setState(record, 'production', 'test', 'test', 0)
    expect(needed(['site-2'])).toEqual([true, true, true, false])
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
    ingestInto(world.store, { v: 1, gateway: 'g', reports, verdicts, events: [], aggregates: [] }, attestedBy)
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

describe('telemetry of before slots', () => {
  const before = MIGRATIONS.findIndex(({ name }) => name === 'slots of uptime')
  const MODEL = SHA['kws-1'].slice(0, 16)
  const H = 3_600_000

  /** A database as the release before wrote it: hours by the device's clock, which is eight hours ahead, verdicts by hour of receipt. */
  function written(): Store {
    const folder = mkdtempSync(join(tmpdir(), 'kinglet-db-'))
    const path = join(folder, 'old.db')
    const old = openDatabase(path, T0, MIGRATIONS.slice(0, before))
    old.prepare("INSERT INTO devices (name, site, board, last_seen_ms) VALUES ('d', 's', 'b', ?)").run(T0 + 5 * H)
    const bins = '[0,0,0,0,0,0,0,0]'
    for (let seq = 0; seq < 5; seq++) {
      const uptime = (seq + 1) * H
      const time = T0 + uptime + 8 * H
      const body = JSON.stringify({
        uptimeMs: uptime,
        counters: [uptime, 0, 10 * seq, 0, 2 * seq, 0, seq, 0, 0, 0, 0, 0, 0, 0],
      })
      old.prepare('INSERT INTO reports VALUES (1, 3, ?, ?, ?, ?)').run(seq, time, T0 + uptime, body)
      old
        .prepare('INSERT INTO device_hours VALUES (1, 3, ?, ?, ?, ?, ?, ?, 0, ?, 0, 0, 0, ?)')
        .run(
          ...[time / H, seq, MODEL, time, uptime, uptime, 2 * seq, bins].map((v) =>
            typeof v === 'number' ? BigInt(v) : v,
          ),
        )
    }
    old
      .prepare("INSERT INTO boots VALUES (1, 3, 4, ?, ?, ?, ?, 0, 0, 900, 0, '[]', '[]', '[]', ?, ?)")
      .run(MODEL, T0 + 13 * H, T0 + 8 * H, 5 * H, bins, bins)
    // Of a boot without reports: two hours that fall into its first slot.
    old
      .prepare("INSERT INTO boots VALUES (1, 1, 0, ?, ?, ?, 0, 0, 0, 900, 0, '[]', '[]', '[]', ?, ?)")
      .run(MODEL, T0 - 10 * H, T0 - 10 * H, bins, bins)
    const verdict = old.prepare('INSERT INTO verdicts VALUES (1, ?, ?, ?, 1, ?)')
    verdict.run(3, T0 / H + 2, MODEL, 7)
    verdict.run(3, T0 / H + 3, MODEL, 1)
    verdict.run(1, T0 / H - 13, MODEL, 2)
    verdict.run(1, T0 / H - 11, MODEL, 3)
    verdict.run(9, T0 / H, MODEL, 4)
    old.prepare("INSERT INTO events VALUES (1, 3, 0, ?, ?, 'booted', ?, NULL, NULL, NULL, NULL)").run(T0, T0, MODEL)
    old.close()
    return new Store(path, T0)
  }

  it('keeps every count, and puts it where it happened by the time of receipt', () => {
    const store = written()
    expect(store.outcomes.firstStart(1, MODEL, T0 - H)).toBe(T0)
    const slots = store.outcomes.slots(1, MODEL, T0 - 100 * H, T0 + 100 * H)
    expect(slots.map(({ hour }) => hour - T0 / H)).toEqual([0, 1, 2, 3, 4])
    expect(slots.map(({ rejected }) => rejected)).toEqual([0, 0, 7, 1, 0])
    expect(slots.map(({ wakes }) => wakes)).toEqual([0, 2, 2, 2, 2])
    expect(slots.map(({ inferences, overruns }) => [inferences, overruns])).toEqual([
      [0, 0],
      [10, 1],
      [10, 1],
      [10, 1],
      [10, 1],
    ])
    expect(store.fleet.counters().verdicts).toEqual({ confirmed: 5, rejected: 17, unjudged: 0 })
    expect(store.fleet.deviceBoots(1, 5).map(({ boot, incarnation }) => [boot, incarnation])).toEqual([
      [3, 0],
      [1, 0],
    ])
    while (store.fleet.refresh(100) > 0);
    expect(store.fleet.hours(0, 1e9).map(({ hour, rejected }) => [hour - T0 / H, rejected])).toContainEqual([2, 7])
    store.close()
  })

  it('an old gateway that says a sum again, or higher, does not add to what was kept before gateways were told apart', () => {
    const store = written()
    const row = { site: 's', device: 'd', boot: 3, model: MODEL, hourMs: T0 + 2 * H, confirmed: 1, rejected: 7 }
    const say = (gateway: string, more: object = {}) =>
      ingestInto(store, { ...batchOf({ verdicts: [{ ...row, ...more }] }), gateway }, attestedBy)
    say('g')
    say('g', { rejected: 9 })
    const rejected = () => store.outcomes.slots(1, MODEL, T0, T0 + 5 * H).map((slot) => slot.rejected)
    expect(rejected()).toEqual([0, 0, 9, 1, 0])
    // A new gateway's slot is beside it.
    say('g', { hourMs: undefined, slot: 2, rejected: 2 })
    expect(rejected()).toEqual([0, 0, 11, 1, 0])
    store.close()
  })

  it('a replaced board comes after what is stored', () => {
    const store = written()
    const device = new SyntheticDevice('d', MODEL, T0 + 20 * H, seededRandom(1))
    const { reports } = device.live(T0 + 24 * H, { falseWakes: 0, verified: 0 })
    ingestInto(store, batchOf({ reports: reports.map((row) => ({ ...row, incarnation: 5 })) }), attestedBy)
    expect(store.fleet.deviceBoots(1, 5).map(({ boot, incarnation }) => [boot, incarnation])).toEqual([
      [1, 5],
      [3, 0],
      [1, 0],
    ])
    store.close()
  })
})
