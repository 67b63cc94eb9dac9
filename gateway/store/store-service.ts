import { present } from '../../contract/present.ts'
import type { Logger } from '../../platform/logger.ts'
import { MessageCounters } from '../message-counters.ts'
import { AggregateTable, HOUR_MS, hourStartMs } from './aggregation.ts'
import { Checkpoint } from './checkpoint.ts'
import { DeviceTable } from './device-table.ts'
import { GroupCommit } from './group-commit.ts'
import { type ChangedAssignment, type HeldAssignment, HeldAssignments, type NewAssignment } from './held-assignments.ts'
import { KEPT_MS, KeptWakes } from './kept-wakes.ts'
import { readBatch } from './message-batch.ts'
import { MessageLedger } from './message-ledger.ts'
import { type PendingWake, PendingWakes } from './pending-wakes.ts'
import type { Place, Sums } from './report-timeline.ts'
import { Spool, type SpoolBatch, type SpoolLimits } from './spool.ts'
import type { SpoolKind } from './spool-rows.ts'
import { openStore, Settings, type Store } from './store.ts'

export interface StoreOptions {
  readonly dataDir: string
  /** names this gateway to the cloud */
  readonly gatewayId: string
  readonly spool: SpoolLimits
  /** wakes on disk that wait for the verifier */
  readonly pendingWakesMax: number
  /** whether there is a verifier; without one wakes are only counted */
  readonly verifies: boolean
}

/** What came of a batch of messages, all of which are final but those that failed. */
export interface BatchAnswer {
  /** positions of messages that the store could not take (disk full), and why */
  readonly failed: readonly { readonly index: number; readonly error: string }[]
  /** the verifier has something to do */
  readonly wakesAdded: boolean
  /** assignments of devices that are behind them, each once */
  readonly missed: readonly HeldAssignment[]
}

/** Queues and totals, as of the newest answer. */
export interface StoreFigures {
  readonly commits: { readonly commits: number; readonly works: number }
  readonly spoolReports: number
  readonly spoolEvents: number
  readonly pendingWakes: number
}

/** Rows for the cloud, encoded. */
export interface UplinkBatch {
  /** JSON of contract/uplink.ts `IngestBatch` */
  readonly body: Uint8Array
  readonly rows: number
}

/** chosen: corrections of older hours are not expected, and the cloud has them */
const RETENTION_MS = 7 * 24 * HOUR_MS
/** chosen: hours whose cells stay in memory; older ones are read back when a straggler needs them */
const CACHED_HOURS_MS = 2 * HOUR_MS

/** Everything of a gateway that is on disk, and what must be done in its transactions: decoding, de-duplication, aggregation, spool,
 *  pending wakes, assignments. It reads no clock and talks to nobody; the broker's thread asks it through `StoreClient`, and
 *  its methods take and return what may cross between threads.
 *
 *  Messages, verdicts and assignments are on the medium when their promise resolves. The rest waits for no medium, because a power cut that
 *  undoes it does no harm: rows are sent to the cloud twice, keys are fetched again. */
export class StoreService {
  readonly counters = new MessageCounters()
  readonly #store: Store
  readonly #settings: Settings
  readonly #devices: DeviceTable
  readonly #aggregates: AggregateTable
  readonly #spool: Spool
  readonly #pending: PendingWakes
  readonly #kept: KeptWakes
  readonly #assignments: HeldAssignments
  readonly #checkpoint: Checkpoint
  readonly #commit: GroupCommit
  readonly #ledger: MessageLedger
  readonly #gatewayId: string
  /** the batch on its way to the cloud */
  #sent: SpoolBatch | undefined

  /** @throws when the store cannot be opened; see store.ts */
  constructor(options: StoreOptions, logger: Logger) {
    const { counters } = this
    this.#gatewayId = options.gatewayId
    const store = openStore(options.dataDir)
    this.#store = store
    const settings = new Settings(store)
    const devices = new DeviceTable(store)
    const spool = new Spool(store, devices, counters, options.spool)
    const aggregates = new AggregateTable(spool)
    const pending = new PendingWakes(store, options.pendingWakesMax)
    const kept = new KeptWakes(store)
    const recover = (): void => {
      devices.reset()
      aggregates.reset()
      spool.recount()
      pending.recount()
      kept.recount()
      checkpoint.reset()
      assignments.reset()
      const replayed = ledger.replay(spool.reportsAfter(checkpoint.covered))
      logger.info({ replayed }, 'state recovered')
    }
    const checkpoint = new Checkpoint({ store, settings, devices, aggregates, spool, recover })
    const assignments = new HeldAssignments({ store, settings, devices, checkpoint, counters })
    const commit = new GroupCommit(store, {
      beforeCommit: () => checkpoint.beforeCommit(),
      afterRollback: recover,
    })
    const { verifies } = options
    const ledger = new MessageLedger({
      commit,
      devices,
      assignments,
      aggregates,
      spool,
      pending,
      kept,
      counters,
      checkpoint,
      verifies,
    })
    this.#settings = settings
    this.#devices = devices
    this.#aggregates = aggregates
    this.#spool = spool
    this.#pending = pending
    this.#kept = kept
    this.#assignments = assignments
    this.#checkpoint = checkpoint
    this.#commit = commit
    this.#ledger = ledger
    recover()
  }

  get figures(): StoreFigures {
    const { reports: spoolReports, events: spoolEvents } = this.#spool.depth
    return { commits: this.#commit.totals, spoolReports, spoolEvents, pendingWakes: this.#pending.count }
  }

  setting(name: string): string | undefined {
    return this.#settings.get(name)
  }

  keepSetting(name: string, value: string): void {
    this.#settings.set(name, value)
  }

  /** @param batch messages as message-batch.ts writes them */
  enter(batch: Uint8Array): Promise<BatchAnswer> {
    const failed: { index: number; error: string }[] = []
    const missed = new Set<string>()
    let wakesAdded = false
    return new Promise((resolve) => {
      let open = 1
      const close = (): void => {
        if (--open > 0) return
        const documents = [...missed].map((device) =>
          present(this.#assignments.of(device), 'the assignment of a device that missed it'),
        )
        resolve({ failed, wakesAdded, missed: documents })
      }
      let count = 0
      for (const message of readBatch(batch)) {
        const index = count++
        open++
        this.#ledger.enter(message, ({ outcome, missedAssignment }, error) => {
          if (error !== undefined) failed.push({ index, error: error.message })
          else if (message.kind === 'wake' && outcome === 'accepted') wakesAdded = true
          if (missedAssignment) missed.add(message.origin.device)
          close()
        })
      }
      close()
    })
  }

  /** The oldest wakes after `id` that wait for a verdict. */
  pendingWakes(id: number, limit: number): readonly (PendingWake & { readonly id: number })[] {
    return this.#pending.after(id, limit)
  }

  /** See KeptWakes.range. */
  keptWakes(...args: Parameters<KeptWakes['range']>): readonly Uint8Array[] {
    return this.#kept.range(...args)
  }

  /** Books a verdict and takes the wake off.
   *  @param confirmed undefined: the wake could not be judged, which is counted apart
   *  @returns false when it was gone already, and nothing was booked */
  bookVerdict(wake: Omit<PendingWake, 'features'> & { id: number }, confirmed: boolean | undefined): Promise<boolean> {
    return this.#durably(() => {
      if (!this.#pending.remove(wake.id)) return false
      this.#checkpoint.require()
      this.#aggregates.bookVerdict(this.#aggregates.place(wake.hourMs, wake.group, wake.device), confirmed)
      this.#spool.addVerdict(wake, confirmed)
      return true
    })
  }

  assignments(): { readonly cursor: string; readonly held: readonly HeldAssignment[] } {
    return { cursor: this.#assignments.cursor, held: this.#assignments.all() }
  }

  /** See HeldAssignments.serve and .leave. */
  serveSites(sites: readonly string[]): Promise<void> {
    return this.#durably(() => this.#assignments.serve(sites))
  }

  dropDeparted(
    departed: readonly { readonly device: string; readonly site: string }[],
  ): Promise<readonly HeldAssignment[]> {
    return this.#durably(() => this.#assignments.leave(departed))
  }

  takeAssignments(items: readonly NewAssignment[], cursor: number): Promise<readonly ChangedAssignment[]> {
    return this.#durably(() => this.#assignments.take(items, cursor))
  }

  /** See HeldAssignments.drop. */
  dropAssignment(device: string, beforeMs: number): Promise<HeldAssignment | undefined> {
    return this.#durably(() => this.#assignments.drop(device, beforeMs))
  }

  /** The oldest rows of each kind that the cloud does not have, of committed and checkpointed state; see Spool.nextBatch. */
  nextBatch(rowsMax: number, kinds: readonly SpoolKind[]): UplinkBatch | undefined {
    this.#commit.flush()
    this.#checkpoint.writeNow()
    this.#sent = this.#spool.nextBatch(this.#gatewayId, rowsMax, kinds)
    if (this.#sent === undefined) return undefined
    const { batch, rows } = this.#sent
    return { body: Buffer.from(JSON.stringify(batch)), rows }
  }

  /** Takes the newest `nextBatch` off the spool. */
  delivered(): void {
    this.#sent?.delivered()
    this.#sent = undefined
  }

  /** Sums of the hours from `hourMs` on. */
  cellsSince(hourMs: number): readonly (Place & { readonly values: readonly number[] })[] {
    this.#checkpoint.writeNow()
    return this.#spool.storedCells(hourMs)
  }

  /** See DeviceTable.sums. */
  deviceSums(device: string): Sums {
    return this.#devices.sums(device)
  }

  /** What is due once an hour.
   *  @param nowMs Unix ms; 0 when the gateway does not know the time: nothing is too old then */
  upkeep(nowMs: number): void {
    this.#checkpoint.writeNow()
    if (nowMs === 0) return
    this.#spool.forgetBefore(hourStartMs(nowMs) - RETENTION_MS)
    this.#aggregates.forgetBefore(hourStartMs(nowMs) - CACHED_HOURS_MS)
    this.#kept.forgetBefore(nowMs - KEPT_MS)
  }

  /** Answers what is under way, then closes the file. */
  async close(): Promise<void> {
    await this.#commit.close()
    this.#checkpoint.writeNow()
    this.#store.close()
  }

  #durably<T>(apply: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      let value: T
      this.#commit.submit({
        apply() {
          value = apply()
        },
        done: (error) => (error === undefined ? resolve(value) : reject(error)),
      })
    })
  }
}
