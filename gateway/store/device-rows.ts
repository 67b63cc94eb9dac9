import type { Store } from './store.ts'

/** How many rows of a queue on disk are each device's, so that one device has a share of it and not all. Devices without rows cost nothing. */
export class DeviceRows {
  readonly #table: string
  readonly #store: Store
  readonly #counts = new Map<string, number>()
  #total = 0

  /** @param table with a column `device` */
  constructor(store: Store, table: 'spool_report' | 'spool_event' | 'wake_pending') {
    this.#store = store
    this.#table = table
    this.recount()
  }

  get total(): number {
    return this.#total
  }

  of(device: string): number {
    return this.#counts.get(device) ?? 0
  }

  /** @param change rows that were added, less those that were removed */
  changed(device: string, change: number): void {
    const count = this.of(device) + change
    if (count > 0) this.#counts.set(device, count)
    else this.#counts.delete(device)
    this.#total += change
  }

  /** After a rollback, or when rows of many went at once: what the table says is true. */
  recount(): void {
    this.#counts.clear()
    this.#total = 0
    const rows = this.#store.prepare<[], { device: string; n: number }>(
      `SELECT device, count(*) AS n FROM ${this.#table} GROUP BY device`,
    )
    for (const { device, n } of rows.iterate()) this.changed(device, n)
  }
}
