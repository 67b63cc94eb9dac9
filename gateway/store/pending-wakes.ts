import type { Statement } from 'better-sqlite3'
import { hourStartMs } from './aggregation.ts'
import { DeviceRows } from './device-rows.ts'
import type { Store } from './store.ts'

/** chosen: a device hears less in a day, and the verifier is done with them in seconds; a hundredth of the queue */
const DEVICE_WAKES_MAX = 500

/** A wake that waits for the verifier. */
export interface PendingWake {
  readonly site: string
  readonly device: string
  /** 0: of a device that does not say */
  readonly incarnation: number
  readonly boot: number
  readonly index: number
  /** hour of the boot's uptime in which it was heard; -1: not known, of before slots were counted */
  readonly slot: number
  /** start of the wall hour it counts in, Unix ms; NO_HOUR: not known */
  readonly hourMs: number
  /** hex prefix of the bundle's sha256 */
  readonly model: string
  /** index of the pipeline of its bundle that woke */
  readonly pipeline: number
  /** index into the labels of the pipeline */
  readonly label: number
  /** what it counts for, settled when it came: the device may be in another arm when it is judged; see aggregation.ts `groupKey` */
  readonly group: string
  /** int8, as sent */
  readonly features: Uint8Array
  readonly receivedMs: number
}

type PendingRow = Omit<PendingWake, 'index' | 'receivedMs' | 'group' | 'hourMs'> & {
  readonly id: number
  readonly idx: number
  readonly grp: string
  readonly received: number
  readonly hour: number | null
}

/** Wakes on disk between their acknowledgement and their verdict. Added in the transaction that counts the wake, removed in
 *  the one that books the verdict: each is judged exactly once, whenever the process dies.
 *
 *  Bound: `max` wakes (0.6 kB each), of one device DEVICE_WAKES_MAX, so that one that sends without end delays others for as long as those take and
 *  takes no place of theirs. Past it a wake is counted as wake/unverified and gets no verdict; the report's own wake
 *  counter still has it, so rates over verified wakes stay unbiased as long as the queue does not prefer one kind of wake.
 */
export class PendingWakes {
  readonly #max: number
  readonly #insert: Statement<(string | number | Uint8Array)[]>
  readonly #after: Statement<[number, number], PendingRow>
  readonly #delete: Statement<[number], { device: string }>
  readonly #rows: DeviceRows

  constructor(store: Store, max: number) {
    this.#max = max
    this.#insert = store.prepare(
      `INSERT INTO wake_pending (site, device, boot, idx, model, label, grp, received, features, incarnation, slot, hour, pipeline)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    this.#after = store.prepare('SELECT * FROM wake_pending WHERE id > ? ORDER BY id LIMIT ?')
    this.#delete = store.prepare('DELETE FROM wake_pending WHERE id = ? RETURNING device')
    this.#rows = new DeviceRows(store, 'wake_pending')
  }

  get count(): number {
    return this.#rows.total
  }

  recount(): void {
    this.#rows.recount()
  }

  /** @returns false when the queue or the device's share of it is full and the wake was not added */
  add(wake: PendingWake): boolean {
    if (this.#rows.total >= this.#max || this.#rows.of(wake.device) >= DEVICE_WAKES_MAX) return false
    const { site, device, boot, index, model, label, group, receivedMs, features } = wake
    const { incarnation, slot, hourMs, pipeline } = wake
    this.#insert.run(
      ...[site, device, boot, index, model, label, group, receivedMs, features],
      ...[incarnation, slot, hourMs, pipeline],
    )
    this.#rows.changed(device, 1)
    return true
  }

  after(id: number, limit: number): readonly (PendingWake & { readonly id: number })[] {
    return this.#after.all(id, limit).map(({ idx, grp, received, hour, ...row }) => ({
      ...{ ...row, index: idx, group: grp, receivedMs: received },
      hourMs: hour ?? hourStartMs(received),
    }))
  }

  /** @returns false when it is gone already */
  remove(id: number): boolean {
    const removed = this.#delete.get(id)
    if (removed !== undefined) this.#rows.changed(removed.device, -1)
    return removed !== undefined
  }
}
