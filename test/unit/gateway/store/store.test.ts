import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ingestBatchSchema } from '../../../../contract/uplink.ts'
import { LogSync, openStore, Settings } from '../../../../gateway/store/store.ts'
import { StoreService } from '../../../../gateway/store/store-service.ts'
import { tempStore } from '../../../fixtures/gateway-store.ts'
import { failSyncs } from '../../../fixtures/medium.ts'

/** The first schema, as the release before wrote it. */
const STORE_OF_BEFORE_SLOTS = `
  CREATE TABLE device (id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE boot (id INTEGER PRIMARY KEY, device TEXT NOT NULL, boot INTEGER NOT NULL, state TEXT NOT NULL, UNIQUE (device, boot));
  CREATE TABLE aggregate (hour INTEGER, grp TEXT, cells TEXT NOT NULL, revision INTEGER NOT NULL, sent INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, grp)) WITHOUT ROWID;
  CREATE INDEX aggregate_unsent ON aggregate (hour) WHERE sent < revision;
  CREATE TABLE verdict (device TEXT, boot INTEGER, hour INTEGER, site TEXT NOT NULL, model TEXT NOT NULL, confirmed INTEGER NOT NULL,
    rejected INTEGER NOT NULL, revision INTEGER NOT NULL, sent INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (device, boot, hour)) WITHOUT ROWID;
  CREATE INDEX verdict_unsent ON verdict (hour) WHERE sent < revision;
  CREATE TABLE spool_report (id INTEGER PRIMARY KEY, site TEXT NOT NULL, device TEXT NOT NULL, boot INTEGER NOT NULL,
    seq INTEGER NOT NULL, board TEXT NOT NULL, received INTEGER NOT NULL, payload BLOB NOT NULL);
  CREATE TABLE spool_event (id INTEGER PRIMARY KEY, site TEXT NOT NULL, device TEXT NOT NULL, received INTEGER NOT NULL,
    payload BLOB NOT NULL);
  CREATE TABLE wake_pending (id INTEGER PRIMARY KEY AUTOINCREMENT, site TEXT NOT NULL, device TEXT NOT NULL, boot INTEGER NOT NULL,
    idx INTEGER NOT NULL, model TEXT NOT NULL, label INTEGER NOT NULL, grp TEXT NOT NULL, received INTEGER NOT NULL, features BLOB NOT NULL);
  CREATE TABLE assignment (device TEXT PRIMARY KEY, site TEXT NOT NULL, seq INTEGER NOT NULL, document BLOB NOT NULL) WITHOUT ROWID;
  CREATE TABLE assignment_tag (device TEXT, seq INTEGER, rollout TEXT NOT NULL, stage INTEGER NOT NULL, arm TEXT NOT NULL,
    board TEXT NOT NULL, PRIMARY KEY (device, seq)) WITHOUT ROWID;
  CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  PRAGMA user_version = 1;`

const folder = () => {
  const dir = mkdtempSync(join(tmpdir(), 'kinglet-store-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

describe('the store', () => {
  it('is made where there is none, folders too, and is what it was the next time', () => {
    const dir = join(folder(), 'a', 'b')
    const store = openStore(dir)
    expect(store.pragma('journal_mode', { simple: true })).toBe('wal')
    expect(store.pragma('synchronous', { simple: true })).toBe(1)
    new Settings(store).set('cursor', '7')
    store.close()
    const again = openStore(dir)
    expect(new Settings(again).get('cursor')).toBe('7')
    again.close()
  })

  it('of a newer program is left alone', () => {
    const dir = folder()
    openStore(dir).close()
    const file = join(dir, 'gateway.sqlite')
    const other = new Database(file)
    const known = other.pragma('user_version', { simple: true }) as number
    other.pragma(`user_version = ${known + 1}`)
    other.close()
    expect(() => openStore(dir)).toThrow(`gateway store has schema ${known + 1}, this program knows ${known}`)
    const after = new Database(file)
    expect(after.pragma('user_version', { simple: true })).toBe(known + 1)
    after.close()
  })

  it('of before slots keeps its boots, its verdicts by the hour, and the wakes that wait', () => {
    const dir = folder()
    const old = new Database(join(dir, 'gateway.sqlite'))
    old.exec(STORE_OF_BEFORE_SLOTS)
    const boot = [[[0, 4, [9, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], { hourMs: 0, group: 'g' }]], [[1, 2]], [], 3]
    old.prepare("INSERT INTO boot (device, boot, state) VALUES ('d1', 7, ?)").run(JSON.stringify(boot))
    old.prepare("INSERT INTO verdict VALUES ('d1', 7, 3600000, 'lab', '0001020304050607', 2, 3, 5, 4)").run()
    old.prepare("INSERT INTO verdict VALUES ('d1', 7, 7200000, 'lab', '0001020304050607', 1, 0, 1, 1)").run()
    old
      .prepare("INSERT INTO wake_pending VALUES (1, 'lab', 'd1', 7, 3, '0001020304050607', 2, '0001020304050607|b|lab||0|none', 7300000, x'01')")
      .run()
    old.prepare("INSERT INTO aggregate VALUES (3600000, '0001020304050607|b|lab||0|none', '[1,2,3,4,5,6,7,8]', 2, 0)").run()
    old.close()
    const limits = { reportsMax: 10, eventsMax: 10, verdictsMax: 10 }
    const options = { dataDir: dir, gatewayId: 'g1', spool: limits, pendingWakesMax: 10, verifies: true }
    const service = new StoreService(options, { info() {}, warn() {}, error() {} })
    const next = () => {
      const batch = JSON.parse(Buffer.from(service.nextBatch(10, ['verdicts', 'aggregates'])!.body).toString())
      service.delivered()
      return ingestBatchSchema.parse(batch)
    }
    const first = next()
    expect(first.verdicts).toMatchObject([{ boot: 7, hourMs: 3_600_000, confirmed: 2, rejected: 3, unjudged: 0 }])
    expect(first.verdicts[0]).not.toHaveProperty('slot')
    expect(first.aggregates).toMatchObject([{ confirmed: 7, rejected: 8, unjudged: 0 }])
    expect(service.deviceSums('d1')[0]).toBe(9)
    const [waiting] = service.pendingWakes(0, 10)
    return service.bookVerdict(waiting!, true).then(() => {
      // Counted as it would have been: on top of its hour of receipt.
      expect(next()).toMatchObject({
        verdicts: [{ hourMs: 7_200_000, confirmed: 2, rejected: 0 }],
        aggregates: [{ hourMs: 7_200_000, confirmed: 1 }],
      })
      return service.close()
    })
  })

  it('that is no store is not opened', () => {
    const dir = folder()
    writeFileSync(join(dir, 'gateway.sqlite'), 'no database, but longer than the head of one'.repeat(20))
    expect(() => openStore(dir)).toThrow()
  })
})

describe('settings', () => {
  it('have the newest value of a name, or none', () => {
    const settings = new Settings(tempStore())
    expect(settings.get('a')).toBeUndefined()
    settings.set('a', '1')
    settings.set('b', '')
    settings.set('a', '2')
    expect([settings.get('a'), settings.get('b'), settings.get('A')]).toEqual(['2', '', undefined])
  })
})

describe('the medium', () => {
  it('is waited for by all that have asked, in order, and never within the call', async () => {
    const sync = new LogSync(tempStore())
    const done: string[] = []
    const ask = (name: string) =>
      new Promise<void>((resolve) => {
        sync.after((error) => {
          done.push(error === undefined ? name : error.message)
          resolve()
        })
      })
    const first = ask('a')
    // While a sync runs, others wait for the next.
    const later = [ask('b'), ask('c')]
    expect(done).toEqual([])
    await Promise.all([first, ...later])
    expect(done).toEqual(['a', 'b', 'c'])
    await ask('d')
    expect(done.at(-1)).toBe('d')
    sync.close()
  })

  it('that fails is told to those that wait, and asked again by the next', async () => {
    const sync = new LogSync(tempStore())
    const ask = () => new Promise<string | undefined>((resolve) => sync.after((error) => resolve(error?.message)))
    const mend = failSyncs('EIO')
    onTestFinished(mend)
    expect(await ask()).toBe('EIO')
    mend()
    expect(await ask()).toBeUndefined()
    sync.close()
  })
})
