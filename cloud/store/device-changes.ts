import type { SqliteDatabase } from './database.ts'

/** Tables of which the gate and drift read rows of single devices: a row that comes, changes or goes changes what its device contributes.
 *  @see test/unit/cloud/store/device-changes.test.ts, which holds the list against the statements that a look runs */
export const READ_BY_DEVICE: Readonly<
  Record<string, { readonly device: string; readonly columns?: readonly string[] }>
> = {
  boots: { device: 'device' },
  device_hours: { device: 'device' },
  verdicts: { device: 'device' },
  events: { device: 'device' },
  rollout_devices: { device: 'device' },
  device_keys: { device: 'device', columns: ['device'] },
  gateway_devices: { device: 'device', columns: ['gateway', 'device'] },
  devices: { device: 'id', columns: ['site', 'board', 'last_seen_ms'] },
}

/** Tables whose rows bear on any number of devices. They change seldom, and then everything is read again. */
export const READ_AS_A_WHOLE: Readonly<Record<string, { readonly columns?: readonly string[] }>> = {
  gateways: { columns: ['name', 'quarantined_ms'] },
  gateway_sites: {},
  releases: { columns: ['prefix', 'signals'] },
  rollout_stages: {},
  rollout_batches: {},
  rollout_later: {},
  rollout_slices: {},
}

/** What has changed since somebody looked: all, or these devices. */
export interface Changes {
  readonly all: boolean
  /** row numbers, rising; empty where all */
  readonly devices: Int32Array
}

export const NOTHING: Changes = { all: false, devices: new Int32Array() }
export const EVERYTHING: Changes = { all: true, devices: new Int32Array() }

/** Both. */
export function allChanges(a: Changes, b: Changes): Changes {
  if (a.all || b.all) return EVERYTHING
  const devices = new Int32Array(a.devices.length + b.devices.length)
  devices.set(a.devices)
  devices.set(b.devices, a.devices.length)
  return { all: false, devices }
}

/** Notes which devices have changed, for one who keeps what it has read of them. A byte a device. */
export class ChangeFollower {
  #marks = new Uint8Array(1_024)
  #highest = 0
  #all = true
  #any = true

  /** A device has changed. */
  mark(device: number): void {
    if (device >= this.#marks.length) {
      const larger = new Uint8Array(Math.max(device + 1, 2 * this.#marks.length))
      larger.set(this.#marks)
      this.#marks = larger
    }
    this.#marks[device] = 1
    this.#highest = Math.max(this.#highest, device)
    this.#any = true
  }

  /** Nothing that was read counts any more. */
  markAll(): void {
    this.#all = true
    this.#any = true
  }

  /** Whether anything has changed since it was taken last; before the first time everything has. */
  get isChanged(): boolean {
    return this.#any
  }

  /** Whether everything has. */
  get isLost(): boolean {
    return this.#all
  }

  /** What has changed since it was taken last. */
  take(): Changes {
    const devices: number[] = []
    if (!this.#all) for (let id = 0; id <= this.#highest; id++) if (this.#marks[id] === 1) devices.push(id)
    const changes = this.#all ? EVERYTHING : { all: false, devices: Int32Array.from(devices) }
    this.#marks.fill(0, 0, this.#highest + 1)
    this.#highest = 0
    this.#all = false
    this.#any = false
    return changes
  }
}

/** Tells followers of every write to what they read, whichever statement makes it: by triggers of this connection, the only one that writes.
 *  They are temporary: nothing of them is in the file, and what is kept of devices ends with the process. What was undone stays marked, which costs
 *  a reading; who takes what has changed inside of a transaction that is undone has to mark all. */
export class DeviceChanges {
  readonly #db: SqliteDatabase
  readonly #followers = new Set<ChangeFollower>()

  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  /** Everything counts as changed at first. */
  follow(): ChangeFollower {
    if (this.#followers.size === 0) this.#watch()
    const follower = new ChangeFollower()
    this.#followers.add(follower)
    return follower
  }

  #watch(): void {
    this.#db.function('device_changed', (device: unknown) => {
      for (const follower of this.#followers) {
        if (typeof device === 'number') follower.mark(device)
        else follower.markAll()
      }
      return null
    })
    for (const [table, { device, columns }] of Object.entries(READ_BY_DEVICE)) this.#trigger(table, device, columns)
    for (const [table, { columns }] of Object.entries(READ_AS_A_WHOLE)) this.#trigger(table, undefined, columns)
  }

  /** @param device column of its row number; undefined: the row is of no device @param columns that are read; undefined: all */
  #trigger(table: string, device: string | undefined, columns: readonly string[] | undefined): void {
    const tell = (row: 'NEW' | 'OLD'): string =>
      `SELECT device_changed(${device === undefined ? 'NULL' : `${row}.${device}`});`
    const events = {
      INSERT: tell('NEW'),
      [columns === undefined ? 'UPDATE' : `UPDATE OF ${columns.join(', ')}`]: tell('NEW'),
      DELETE: tell('OLD'),
      // Of no statement so far, and so it costs none of them anything.
      ...(device !== undefined && { [`UPDATE OF ${device}`]: `${tell('OLD')} ${tell('NEW')}` }),
    }
    for (const [event, body] of Object.entries(events)) {
      const name = `temp."changed_${table}_${event.toLowerCase()}"`
      this.#db.exec(`CREATE TRIGGER ${name} AFTER ${event} ON main.${table} BEGIN ${body} END`)
    }
  }
}
