import type { Statement } from 'better-sqlite3'
import { present } from '../../contract/present.ts'
import { hourStartMs } from './aggregation.ts'
import type { Store } from './store.ts'

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
 *  Bound: `max` wakes (0.6 kB each). Past it a wake is counted as wake/unverified and gets no verdict; the report's own wake
 *  counter still has it, so rates over verified wakes stay unbiased as long as the queue does not prefer one kind of wake.
 */
export class PendingWakes {
  readonly #max: number
  readonly #insert: Statement<(string | number | Uint8Array)[]>
  readonly #after: Statement<[number, number], PendingRow>
  readonly #delete: Statement<[number]>
  readonly #countAll: Statement<[], { n: number }>
  #count = 0

  constructor(store: Store, max: number) {
    this.#max = max
    this.#insert = store.prepare(
      `INSERT INTO wake_pending (site, device, boot, idx, model, label, grp, received, features, incarnation, slot, hour)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    this.#after = store.prepare('SELECT * FROM wake_pending WHERE id > ? ORDER BY id LIMIT ?')
    this.#delete = store.prepare('DELETE FROM wake_pending WHERE id = ?')
    this.#countAll = store.prepare('SELECT count(*) AS n FROM wake_pending')
    this.recount()
  }

  get count(): number {
    return this.#count
  }

  recount(): void {
    this.#count = present(this.#countAll.get(), 'the row of an aggregate').n
  }

  /** @returns false when the queue is full and the wake was not added */
  add(wake: PendingWake): boolean {
    if (this.#count >= this.#max) return false
    const { site, device, boot, index, model, label, group, receivedMs, features } = wake
    const { incarnation, slot, hourMs } = wake
    this.#insert.run(
      ...[site, device, boot, index, model, label, group, receivedMs, features],
      ...[incarnation, slot, hourMs],
    )
    this.#count++
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
    const removed = this.#delete.run(id).changes > 0
    if (removed) this.#count--
    return removed
  }
}
