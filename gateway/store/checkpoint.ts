import type { AggregateTable } from './aggregation.ts'
import type { DeviceTable } from './device-table.ts'
import type { Spool } from './spool.ts'
import type { Settings, Store } from './store.ts'

interface Parts {
  readonly store: Store
  readonly settings: Settings
  readonly devices: DeviceTable
  readonly aggregates: AggregateTable
  readonly spool: Spool
  /** makes memory what the tables and the spool say */
  recover(): void
}

const NAME = 'checkpoint'
/** chosen: reports to be taken in again after a crash, about a quarter of a second of work */
const REPLAY_MAX = 10_000

/** Decides when device and aggregate state is written.
 *
 *  A report's row in the spool is all that must be on the medium before it is acknowledged: the state it changes (timeline of its
 *  boot, sums of its group) follows from it. So state is written once for many reports, and after a crash the reports
 *  spooled since the last writing are taken in again (the ledger's `replay`). Everything else (wakes, events, verdicts, assignments) has
 *  no such row that stays, and calls `require`: its transaction writes all state. So does one that takes an uncovered report off
 *  the spool; forwarding reads the spool after `writeNow`, so what it takes off is covered.
 */
export class Checkpoint {
  readonly #parts: Parts
  #covered: number
  #required = false

  constructor(parts: Parts) {
    this.#parts = parts
    this.#covered = this.#stored()
    parts.spool.startAfter(this.#covered)
  }

  /** Newest spooled report whose effect is in the state tables. */
  get covered(): number {
    return this.#covered
  }

  /** The transaction under way must write the state. */
  require(): void {
    this.#required = true
  }

  /** At the end of every transaction of messages. */
  beforeCommit(): void {
    const { spool } = this.#parts
    const replay = spool.lastReport - this.#covered
    if (this.#required || spool.lastDeleted > this.#covered || replay >= REPLAY_MAX) this.#write()
  }

  /** Writes in a transaction of its own, for whoever reads the tables or deletes from the spool.
   *  @throws what the store throws; memory is recovered then */
  writeNow(): void {
    if (this.#parts.spool.lastReport <= this.#covered) return
    try {
      this.#parts.store.transaction(() => this.#write())()
    } catch (cause) {
      this.#parts.recover()
      throw cause
    }
  }

  /** After a rollback: what the tables say is true. */
  reset(): void {
    this.#covered = this.#stored()
    this.#required = false
  }

  #write(): void {
    const { devices, aggregates, spool, settings } = this.#parts
    devices.writeDirty()
    spool.writeCells(aggregates.takeDirty())
    this.#covered = spool.lastReport
    settings.set(NAME, String(this.#covered))
    this.#required = false
  }

  #stored(): number {
    return Number(this.#parts.settings.get(NAME) ?? 0)
  }
}
