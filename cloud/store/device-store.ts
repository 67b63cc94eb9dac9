import { present } from '../../contract/present.ts'
import type { SqliteDatabase } from './database.ts'

export interface DeviceRecord {
  /** row number, internal */
  readonly id: number
  readonly name: string
  readonly site: string
  readonly board: string
  readonly tags: readonly string[]
  readonly enrolledMs: number | null
  readonly lastSeenMs: number
  /** release it is to run, or null */
  readonly target: number | null
  readonly rollout: string | null
  readonly stage: number
  readonly arm: 'canary' | 'control' | 'none'
}

interface Row {
  id: number
  name: string
  site: string
  board: string
  tags: string
  enrolled_ms: number | null
  last_seen_ms: number
  target: number | null
  rollout: string | null
  stage: number
  arm: 'canary' | 'control' | 'none'
}

const toRecord = (row: Row): DeviceRecord => ({
  id: row.id,
  name: row.name,
  site: row.site,
  board: row.board,
  tags: JSON.parse(row.tags) as string[],
  enrolledMs: row.enrolled_ms,
  lastSeenMs: row.last_seen_ms,
  target: row.target,
  rollout: row.rollout,
  stage: row.stage,
  arm: row.arm,
})

/** What a device's next assignment shall say. */
export interface DeviceTarget {
  readonly release: number
  readonly rollout: string | null
  readonly stage: number
  readonly arm: 'canary' | 'control' | 'none'
}

/** Devices and what each is to run. */
export class DeviceStore {
  readonly #db: SqliteDatabase
  // Prepared once: imports and signing run them for every device of a fleet.
  readonly #enrol
  readonly #byName
  readonly #byId
  readonly #retarget
  readonly #clean
  readonly #dirty

  constructor(db: SqliteDatabase) {
    this.#db = db
    this.#enrol = db.prepare<[string, string, string, string, number]>(
      `INSERT INTO devices (name, site, board, tags, enrolled_ms) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET site = excluded.site, board = excluded.board, tags = excluded.tags,
           enrolled_ms = coalesce(enrolled_ms, excluded.enrolled_ms)`,
    )
    this.#byName = db.prepare<[string], Row>('SELECT * FROM devices WHERE name = ?')
    this.#byId = db.prepare<[number], Row>('SELECT * FROM devices WHERE id = ?')
    this.#retarget = db.prepare<[number, string | null, number, string, number]>(
      'UPDATE devices SET target = ?, rollout = ?, stage = ?, arm = ?, dirty = 1 WHERE id = ?',
    )
    this.#clean = db.prepare<[number]>('UPDATE devices SET dirty = 0 WHERE id = ?')
    this.#dirty = db.prepare<[number], Row>('SELECT * FROM devices WHERE dirty = 1 ORDER BY id LIMIT ?')
  }

  /** Enrols or re-enrols a device; its history and target stay. */
  enrol(device: { name: string; site: string; board: string; tags: readonly string[] }, nowMs: number): DeviceRecord {
    this.#enrol.run(device.name, device.site, device.board, JSON.stringify(device.tags), nowMs)
    return present(this.byName(device.name), 'the device just stored')
  }

  byName(name: string): DeviceRecord | undefined {
    const row = this.#byName.get(name)
    return row && toRecord(row)
  }

  byId(id: number): DeviceRecord | undefined {
    const row = this.#byId.get(id)
    return row && toRecord(row)
  }

  /** Devices in order of their names. @param limit at most this many rows */
  list(limit: number, after = ''): readonly DeviceRecord[] {
    return this.#db
      .prepare<[string, number], Row>('SELECT * FROM devices WHERE name > ? ORDER BY name LIMIT ?')
      .all(after, limit)
      .map(toRecord)
  }

  enrolled(): readonly DeviceRecord[] {
    return this.#db
      .prepare<[], Row>('SELECT * FROM devices WHERE enrolled_ms IS NOT NULL ORDER BY id')
      .all()
      .map(toRecord)
  }

  count(): { known: number; enrolled: number } {
    const counts = this.#db.prepare<[], { known: number; enrolled: number }>(
      'SELECT count(*) AS known, count(enrolled_ms) AS enrolled FROM devices',
    )
    return present(counts.get(), 'the row of an aggregate')
  }

  /** Sets what a device is to run and marks it for signing. */
  retarget(id: number, target: DeviceTarget): void {
    this.#retarget.run(target.release, target.rollout, target.stage, target.arm, id)
  }

  markDirty(id: number): void {
    this.#db.prepare('UPDATE devices SET dirty = 1 WHERE id = ?').run(id)
  }

  /** Marks every device that has something to run. */
  markAllAssigned(): void {
    this.#db.prepare('UPDATE devices SET dirty = 1 WHERE target IS NOT NULL').run()
  }

  clean(id: number): void {
    this.#clean.run(id)
  }

  /** Devices whose assignment is to be signed anew. */
  dirty(limit: number): readonly DeviceRecord[] {
    return this.#dirty.all(limit).map(toRecord)
  }
}
