import { present } from '../../contract/present.ts'
import type { AssignmentStore } from './assignment-store.ts'
import type { SqliteDatabase } from './database.ts'
import type { DeviceCondition } from './device-conditions.ts'
import { DEFAULT_FAMILY } from './model-store.ts'

export interface DeviceRecord {
  /** row number, internal */
  readonly id: number
  readonly name: string
  readonly site: string
  readonly board: string
  /** what it follows: production and rollouts of this family */
  readonly family: string
  readonly tags: readonly string[]
  readonly enrolledMs: number | null
  readonly lastSeenMs: number
  /** longest time between two contacts of the last weeks, ms; 0: unknown */
  readonly gapMs: number
  /** a person chose its model; no rollout moves it */
  readonly pinned: boolean
  /** release it is to run, or null */
  readonly target: number | null
  readonly rollout: string | null
  readonly stage: number
  readonly arm: 'canary' | 'control' | 'none'
  /** when it was removed: what is left is history; null otherwise */
  readonly removedMs: number | null
  /** its own hours of updates; null: those of its site, if any */
  readonly updateWindow: string | null
}

interface Row {
  id: number
  name: string
  site: string
  board: string
  family: string
  tags: string
  enrolled_ms: number | null
  last_seen_ms: number
  gap_ms: number
  pinned: number
  target: number | null
  rollout: string | null
  stage: number
  arm: 'canary' | 'control' | 'none'
  removed_ms: number | null
  update_window: string | null
}

const toRecord = (row: Row): DeviceRecord => ({
  id: row.id,
  name: row.name,
  site: row.site,
  board: row.board,
  family: row.family,
  tags: JSON.parse(row.tags) as string[],
  enrolledMs: row.enrolled_ms,
  lastSeenMs: row.last_seen_ms,
  gapMs: row.gap_ms,
  pinned: row.pinned === 1,
  target: row.target,
  rollout: row.rollout,
  stage: row.stage,
  arm: row.arm,
  removedMs: row.removed_ms,
  updateWindow: row.update_window,
})

/** What a device's next assignment shall say. */
export interface DeviceTarget {
  readonly release: number
  readonly rollout: string | null
  readonly stage: number
  readonly arm: 'canary' | 'control' | 'none'
}

/** Chosen: rows that one page looks at, at most; some tens of milliseconds where each has to be asked for its newest boot. */
const PAGE_SCAN = 10_000
const EVERY_DEVICE: DeviceCondition = { sql: '1', parameters: [] }

const NO_TARGET_SQL = "target = NULL, rollout = NULL, stage = 0, arm = 'none', dirty = 0"

/** Tables with rows of single devices, in an order that their references allow. */
const TABLES_OF_A_DEVICE = [
  ...[
    'reports',
    'boots',
    'device_hours',
    'verdicts',
    'events',
    'baselines',
    'rollout_devices',
    'rollout_cohort',
    'keeps',
    'install_turns',
  ],
  ...['assignments', 'device_keys', 'gateway_devices', 'device_moves'],
] as const

/** Devices and what each is to run. */
export class DeviceStore {
  readonly #db: SqliteDatabase
  // Prepared once: imports and signing run them for every device of a fleet.
  readonly #enrol
  readonly #byName
  readonly #byId
  readonly #move
  readonly #retarget
  readonly #clean
  readonly #dirty

  readonly #anyRemoved
  readonly #isRemoved
  readonly #siteWindow
  readonly #leftSite
  readonly #assignments: Pick<AssignmentStore, 'withdraw'>

  constructor(db: SqliteDatabase, assignments: Pick<AssignmentStore, 'withdraw'>) {
    this.#db = db
    this.#assignments = assignments
    this.#anyRemoved = db.prepare('SELECT 1 FROM removals LIMIT 1')
    this.#siteWindow = db.prepare<[string], { window: string }>(
      'SELECT update_window AS window FROM sites WHERE name = ?',
    )
    this.#leftSite = db.prepare<[number, string], { leftMs: number }>(
      'SELECT left_ms AS leftMs FROM device_moves WHERE device = ? AND site = ?',
    )
    this.#isRemoved = db.prepare<[string]>('SELECT 1 FROM removals WHERE name = ?')
    this.#enrol = db.prepare<[string, string, string, string, number, string]>(
      `INSERT INTO devices (name, site, board, tags, enrolled_ms, family) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET site = excluded.site, board = excluded.board, tags = excluded.tags,
           family = iif(enrolled_ms IS NULL, excluded.family, family),
           enrolled_ms = coalesce(enrolled_ms, excluded.enrolled_ms)`,
    )
    this.#move = db.prepare<[number]>(
      'UPDATE devices SET dirty = max(dirty, 1) WHERE id = ? AND target IS NOT NULL AND removed_ms IS NULL',
    )
    this.#byName = db.prepare<[string], Row>('SELECT * FROM devices WHERE name = ?')
    this.#byId = db.prepare<[number], Row>('SELECT * FROM devices WHERE id = ?')
    this.#retarget = db.prepare<[number, string | null, number, string, number]>(
      'UPDATE devices SET target = ?, rollout = ?, stage = ?, arm = ?, dirty = 1 WHERE id = ?',
    )
    this.#clean = db.prepare<[number]>('UPDATE devices SET dirty = 0 WHERE id = ?')
    this.#dirty = db.prepare<[number], Row>('SELECT * FROM devices WHERE dirty = 1 ORDER BY id LIMIT ?')
  }

  /** Enrols or re-enrols a device; its history and target stay. One that was removed begins anew, and its history stands under another name.
   *  One that has moved to another site or board gets an assignment for its new place; that for the old one is served no more.
   *  @param device `family`: what a new one follows; one that is enrolled keeps its own */
  enrol(
    device: { name: string; site: string; board: string; tags: readonly string[]; family?: string },
    nowMs: number,
  ): DeviceRecord {
    const former = this.byName(device.name)
    if (former !== undefined && former.removedMs !== null) this.#setAside(former.id, former.name)
    const moved = former?.removedMs === null && (former.site !== device.site || former.board !== device.board)
    if (moved) {
      this.#assignments.withdraw(former.id)
      this.#move.run(former.id)
      if (former.site !== device.site) this.#leaveSite(former.id, former.site, device.site, nowMs)
    }
    const family = device.family ?? DEFAULT_FAMILY
    this.#enrol.run(device.name, device.site, device.board, JSON.stringify(device.tags), nowMs, family)
    const stored = present(this.byName(device.name), 'the device just stored')
    if (stored.id !== former?.id) this.#begin(stored.id, stored.name)
    return stored
  }

  #leaveSite(id: number, former: string, site: string, nowMs: number): void {
    this.#db
      .prepare(
        `INSERT INTO device_moves (device, site, left_ms) VALUES (?, ?, ?)
         ON CONFLICT DO UPDATE SET left_ms = excluded.left_ms`,
      )
      .run(id, former, nowMs)
    this.#db.prepare('DELETE FROM device_moves WHERE device = ? AND site = ?').run(id, site)
  }

  /** When the device left a site that it was enrolled at before; undefined: it was not. */
  leftSiteMs(id: number, site: string): number | undefined {
    return this.#leftSite.get(id, site)?.leftMs
  }

  /** History keeps the name of its device and the number of its row: no id has a `~`. */
  #setAside(id: number, name: string): void {
    this.#db.prepare('UPDATE devices SET name = ? WHERE id = ?').run(`${name}~${id}`, id)
  }

  /** Numbers the assignments of a name that was removed above those that it had. */
  #begin(id: number, name: string): void {
    this.#db
      .prepare(
        'UPDATE devices SET seq_floor = coalesce((SELECT seq_floor FROM removals WHERE name = ?), 0) WHERE id = ?',
      )
      .run(name, id)
    this.#db.prepare('DELETE FROM removals WHERE name = ?').run(name)
  }

  /** Takes a device out of the fleet: no target, no assignment, in no arm; rows of it are refused until it is enrolled again. Its keys and
   *  tokens are revoked apart (IdentityStore). Inside a transaction.
   *  @param erase forgets all rows of it too; revocations keep the name */
  remove(device: DeviceRecord, nowMs: number, erase: boolean): void {
    const { id, name } = device
    this.leave(id, nowMs)
    this.#keepNothing(id)
    this.#assignments.withdraw(id)
    // Of history only the erasure is new, and its name is not the one that rows come under.
    if (device.removedMs === null) this.#refuseRows(id, name, nowMs)
    this.#db
      .prepare(`UPDATE devices SET enrolled_ms = NULL, ${NO_TARGET_SQL}, removed_ms = ? WHERE id = ?`)
      .run(nowMs, id)
    if (erase) this.#erase(id, name)
  }

  #refuseRows(id: number, name: string, nowMs: number): void {
    this.#db
      .prepare(
        `INSERT INTO removals (name, removed_ms, seq_floor) VALUES (?, ?, (SELECT max(d.seq_floor, coalesce(
           (SELECT max(b.assignment_seq) FROM boots b WHERE b.device = d.id), 0)) FROM devices d WHERE d.id = ?))
         ON CONFLICT (name) DO UPDATE SET removed_ms = excluded.removed_ms, seq_floor = excluded.seq_floor`,
      )
      .run(name, nowMs, id)
  }

  #erase(id: number, name: string): void {
    for (const table of TABLES_OF_A_DEVICE) this.#db.prepare(`DELETE FROM ${table} WHERE device = ?`).run(id)
    this.#db.prepare('DELETE FROM claims WHERE device = ? AND sites IS NULL').run(name)
    this.#db.prepare("DELETE FROM tokens WHERE kind = 'device' AND subject = ?").run(name)
    this.#db.prepare('DELETE FROM alerts WHERE metric = ?').run(name)
    this.#db.prepare('DELETE FROM devices WHERE id = ?').run(id)
  }

  /** Sets or, with null, clears a device's own hours of updates, and has its assignment signed anew. Inside a transaction. */
  setWindow(id: number, window: string | null): void {
    this.#db.prepare('UPDATE devices SET update_window = ? WHERE id = ?').run(window, id)
    this.#move.run(id)
  }

  /** The same for all devices of a site that have none of their own. */
  setSiteWindow(site: string, window: string | null): void {
    if (window === null) this.#db.prepare('DELETE FROM sites WHERE name = ?').run(site)
    else {
      this.#db
        .prepare(
          'INSERT INTO sites VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET update_window = excluded.update_window',
        )
        .run(site, window)
    }
    this.#db
      .prepare(
        'UPDATE devices SET dirty = max(dirty, 1) WHERE site = ? AND update_window IS NULL AND target IS NOT NULL AND removed_ms IS NULL',
      )
      .run(site)
  }

  /** Hours of updates that hold for a device; null: any. */
  windowOf({ site, updateWindow }: Pick<DeviceRecord, 'site' | 'updateWindow'>): string | null {
    return updateWindow ?? this.#siteWindow.get(site)?.window ?? null
  }

  /** From now on the device counts in no arm of any rollout, and is chosen for none. */
  leave(id: number, nowMs: number): void {
    for (const table of ['rollout_devices', 'rollout_cohort']) {
      this.#db.prepare(`UPDATE ${table} SET left_ms = ? WHERE device = ? AND left_ms IS NULL`).run(nowMs, id)
    }
  }

  /** Nothing of a rollout that has completed holds it back from production any more. */
  #keepNothing(id: number): void {
    this.#db.prepare("UPDATE keeps SET ended_by = 'left' WHERE device = ? AND ended_by IS NULL").run(id)
  }

  /** Takes the target from a device that cannot run it, so that it may be admitted anew. Inside a transaction. */
  untarget(id: number, nowMs: number): void {
    this.leave(id, nowMs)
    this.#keepNothing(id)
    this.#assignments.withdraw(id)
    this.#db.prepare(`UPDATE devices SET ${NO_TARGET_SQL} WHERE id = ?`).run(id)
  }

  /** Has a device follow another family, with nothing to run until it is admitted to it. Inside a transaction. */
  moveFamily(id: number, family: string): void {
    this.#keepNothing(id)
    this.#db.prepare(`UPDATE devices SET family = ?, pinned = 0, ${NO_TARGET_SQL} WHERE id = ?`).run(family, id)
  }

  /** Has devices, and those that are claimed, follow the first family that there is: when they came there was none to say. Inside a transaction.
   *  @returns how many devices */
  followFirst(family: string): number {
    this.#db.prepare('UPDATE claims SET family = ? WHERE family = ?').run(family, DEFAULT_FAMILY)
    return this.#db.prepare('UPDATE devices SET family = ? WHERE family = ?').run(family, DEFAULT_FAMILY).changes
  }

  /** Those of the names that belong to removed devices. */
  removedOf(names: Iterable<string>): ReadonlySet<string> {
    if (this.#anyRemoved.get() === undefined) return new Set()
    return new Set([...names].filter((name) => this.#isRemoved.get(name) !== undefined))
  }

  byName(name: string): DeviceRecord | undefined {
    const row = this.#byName.get(name)
    return row && toRecord(row)
  }

  byId(id: number): DeviceRecord | undefined {
    const row = this.#byId.get(id)
    return row && toRecord(row)
  }

  /** Devices in order of their names, without those that were removed. A page may be short, or empty, before the last: it looks at a
   *  bounded number of rows.
   *  @param limit at most this many rows
   *  @returns `next`: the name to go on after; null at the end */
  page(
    limit: number,
    after = '',
    condition = EVERY_DEVICE,
    scan = PAGE_SCAN,
  ): { readonly devices: readonly DeviceRecord[]; readonly next: string | null } {
    const devices = this.#db
      .prepare<(string | number)[], Row>(
        `SELECT * FROM (SELECT * FROM devices WHERE name > ? AND removed_ms IS NULL ORDER BY name LIMIT ?) d
         WHERE ${condition.sql} ORDER BY d.name LIMIT ?`,
      )
      .all(after, scan, ...condition.parameters, limit)
      .map(toRecord)
    if (devices.length === limit) return { devices, next: devices.at(-1)?.name ?? null }
    const last = this.#db
      .prepare<[string, number], { name: string }>(
        'SELECT name FROM devices WHERE name > ? AND removed_ms IS NULL ORDER BY name LIMIT 1 OFFSET ?',
      )
      .get(after, scan - 1)
    return { devices, next: last?.name ?? null }
  }

  enrolled(): readonly DeviceRecord[] {
    return this.#db
      .prepare<[], Row>('SELECT * FROM devices WHERE enrolled_ms IS NOT NULL ORDER BY id')
      .all()
      .map(toRecord)
  }

  /** No fewer than there are devices, told without counting them. */
  atMost(): number {
    const highest = this.#db.prepare<[], { n: number }>('SELECT coalesce(max(id), 0) AS n FROM devices')
    return present(highest.get(), 'the row of an aggregate').n
  }

  /** unkeyed: enrolled without a key, so that who they are and what they say is the word of whoever has their token, and of their gateway */
  count(family?: string): { known: number; enrolled: number; unkeyed: number } {
    const counts = this.#db.prepare<[{ family: string | null }], { known: number; enrolled: number; unkeyed: number }>(
      `SELECT count(*) AS known, count(enrolled_ms) AS enrolled,
         count(enrolled_ms) FILTER (WHERE NOT EXISTS (SELECT 1 FROM device_keys k WHERE k.device = d.id)) AS unkeyed
       FROM devices d WHERE removed_ms IS NULL AND (@family IS NULL OR family = @family)`,
    )
    return present(counts.get({ family: family ?? null }), 'the row of an aggregate')
  }

  /** Sets what a device is to run and marks it for signing. */
  retarget(id: number, target: DeviceTarget): void {
    this.#retarget.run(target.release, target.rollout, target.stage, target.arm, id)
  }

  setPinned(id: number, pinned: boolean): void {
    this.#db.prepare('UPDATE devices SET pinned = ? WHERE id = ?').run(pinned ? 1 : 0, id)
  }

  /** Enrolled devices with nothing to run, or with a model that is archived, and no person's choice. */
  stranded(): readonly DeviceRecord[] {
    return this.#db
      .prepare<[], Row>(
        `SELECT * FROM devices WHERE enrolled_ms IS NOT NULL AND pinned = 0
           AND (target IS NULL OR target IN (SELECT id FROM releases WHERE state = 'archived'))`,
      )
      .all()
      .map(toRecord)
  }

  markDirty(id: number): void {
    this.#db.prepare('UPDATE devices SET dirty = max(dirty, 1) WHERE id = ?').run(id)
  }

  /** Marks every device that has something to run. */
  markAllAssigned(): void {
    this.#db.prepare('UPDATE devices SET dirty = max(dirty, 1) WHERE target IS NOT NULL').run()
  }

  clean(id: number): void {
    this.#clean.run(id)
  }

  /** Devices whose assignment is to be signed anew. */
  dirty(limit: number): readonly DeviceRecord[] {
    return this.#dirty.all(limit).map(toRecord)
  }
}
