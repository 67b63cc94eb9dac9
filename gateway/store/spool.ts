import type { Statement } from 'better-sqlite3'
import { LIMITS } from '../../contract/limits.ts'
import type { IngestBatch, VerdictRow } from '../../contract/uplink.ts'
import type { MessageCounters } from '../message-counters.ts'
import type { Origin } from '../origin.ts'
import { type AggregateCell, aggregateRow, cellValues, hourStartMs, verdictCounts } from './aggregation.ts'
import { DeviceRows } from './device-rows.ts'
import type { DeviceTable } from './device-table.ts'
import type { PendingWake } from './pending-wakes.ts'
import type { Place } from './report-timeline.ts'
import { type EventRecord, eventRow, type ReportRecord, reportRow, type SpoolKind } from './spool-rows.ts'
import type { Store } from './store.ts'

type VerdictRecord = Omit<VerdictRow, 'hourMs' | 'slot'> & {
  readonly incarnation: number
  readonly pipeline: number
  /** -1: counted by hour of receipt, as before there were slots */
  readonly slot: number
  readonly hour: number
  readonly revision: number
}
interface AggregateRecord {
  readonly hour: number
  readonly grp: string
  readonly cells: string
  readonly revision: number
}

/** A batch and how to mark it as delivered. */
export interface SpoolBatch {
  readonly batch: IngestBatch
  readonly rows: number
  /** takes the rows off the spool; a row that changed since stays due */
  delivered(): void
}

export interface SpoolLimits {
  /** reports that wait for the cloud before superseded ones are dropped */
  readonly reportsMax: number
  readonly eventsMax: number
  /** verdict rows kept, sent or not */
  readonly verdictsMax: number
}

/** chosen: six weeks of hourly reports; a hundredth of the spool. What a device sends beyond that while the cloud is away takes the place of what
 *  it sent before, and of nothing else */
const DEVICE_ROWS_MAX = 1_000
/** chosen: a device at its bound costs one search of the spool for so many messages */
const DEVICE_STRIDE = 100
/** chosen: pruned in strides, so that a full spool costs one scan of a stride for as many messages */
const PRUNE_STRIDE = 512

/** Rows waiting for the cloud, on disk. Reports and events are a queue; verdicts and aggregates are cumulative rows of which only
 *  the newest state is sent, so the cloud's absence does not make them more.
 *
 *  Bounds: of one device DEVICE_ROWS_MAX reports and as many events, then its own oldest go (spool/device-full). Of all: past `reportsMax` reports the oldest that a newer report of the same boot supersedes go first (counters are
 *  cumulative; what is lost is their place in time), counted as spool/superseded; the newest of each boot is always kept, even
 *  past the bound; only past twice the bound the oldest go whatever they are, counted as spool/report-dropped, since a device that
 *  invents boots must not fill the disk. Past `eventsMax` the oldest events go (spool/event-dropped), past `verdictsMax` the
 *  oldest verdict rows of the devices with the most (spool/verdict-dropped; looked at once an hour).
 */
export class Spool {
  readonly #store: Store
  readonly #devices: DeviceTable
  readonly #counters: MessageCounters
  readonly #limits: SpoolLimits
  readonly #addReport: Statement<[number, string, string, number, number, string, number, Buffer]>
  readonly #addEvent: Statement<[number, string, string, number, Buffer]>
  readonly #bumpVerdict: Statement<(string | number)[]>
  readonly #writeCell: Statement<[number, string, string, number]>
  readonly #readCell: Statement<[number, string], { cells: string; revision: number }>
  readonly #cellsSince: Statement<[number], AggregateRecord>
  readonly #reports: Statement<[number], ReportRecord>
  readonly #after: Statement<[number], ReportRecord>
  readonly #events: Statement<[number], EventRecord>
  readonly #verdicts: Statement<[number], VerdictRecord>
  readonly #aggregates: Statement<[number], AggregateRecord>
  readonly #reportStride: Statement<[number, number], { id: number; device: string; boot: number; seq: number }>
  readonly #deleteReport: Statement<[number]>
  readonly #deleteStride: Statement<[number, number, string], Gone>
  readonly #deleteEvent: Statement<[number]>
  readonly #oldestEvents: Statement<[number], Gone>
  readonly #oldestReports: Statement<[number], Gone>
  readonly #oldestReportsOf: Statement<[string, number]>
  readonly #oldestEventsOf: Statement<[string, number]>
  readonly #verdictSent: Statement<(string | number)[]>
  readonly #aggregateSent: Statement<[number, number, string]>
  readonly #reportRows: DeviceRows
  readonly #eventRows: DeviceRows
  #pruneAfter = 0
  // Never used twice while a batch that names them may be under way; cheaper than AUTOINCREMENT's table.
  #lastReport = 0
  #lastEvent = 0
  #lastDeleted = 0

  constructor(store: Store, devices: DeviceTable, counters: MessageCounters, limits: SpoolLimits) {
    this.#store = store
    this.#devices = devices
    this.#counters = counters
    this.#limits = limits
    this.#addReport = store.prepare(
      'INSERT INTO spool_report (id, site, device, boot, seq, board, received, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
    )
    this.#addEvent = store.prepare(
      'INSERT INTO spool_event (id, site, device, received, payload) VALUES (?, ?, ?, ?, ?)',
    )
    this.#bumpVerdict = store.prepare(
      `INSERT INTO verdict (device, incarnation, boot, slot, hour, model, pipeline, site, booked, confirmed, rejected, unjudged, revision)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)
       ON CONFLICT DO UPDATE SET confirmed = confirmed + excluded.confirmed, rejected = rejected + excluded.rejected,
       unjudged = unjudged + excluded.unjudged, booked = max(booked, excluded.booked), revision = revision + 1`,
    )
    this.#writeCell = store.prepare(
      `INSERT INTO aggregate (hour, grp, cells, revision) VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET cells = excluded.cells, revision = excluded.revision`,
    )
    this.#readCell = store.prepare('SELECT cells, revision FROM aggregate WHERE hour = ? AND grp = ?')
    this.#cellsSince = store.prepare('SELECT hour, grp, cells, revision FROM aggregate WHERE hour >= ?')
    this.#reports = store.prepare('SELECT * FROM spool_report ORDER BY id LIMIT ?')
    this.#after = store.prepare('SELECT * FROM spool_report WHERE id > ? ORDER BY id')
    this.#events = store.prepare('SELECT * FROM spool_event ORDER BY id LIMIT ?')
    this.#verdicts = store.prepare(
      `SELECT site, device, incarnation, boot, model, pipeline, slot, hour, confirmed, rejected, unjudged, revision FROM verdict
       WHERE sent < revision ORDER BY booked LIMIT ?`,
    )
    this.#aggregates = store.prepare(
      'SELECT hour, grp, cells, revision FROM aggregate WHERE sent < revision ORDER BY hour LIMIT ?',
    )
    this.#reportStride = store.prepare(
      'SELECT id, device, boot, seq FROM spool_report WHERE id > ? ORDER BY id LIMIT ?',
    )
    this.#deleteReport = store.prepare('DELETE FROM spool_report WHERE id = ?')
    this.#deleteStride = store.prepare(
      'DELETE FROM spool_report WHERE id > ? AND id <= ? AND id NOT IN (SELECT value FROM json_each(?)) RETURNING device',
    )
    this.#deleteEvent = store.prepare('DELETE FROM spool_event WHERE id = ?')
    this.#oldestEvents = store.prepare(
      'DELETE FROM spool_event WHERE id IN (SELECT id FROM spool_event ORDER BY id LIMIT ?) RETURNING device',
    )
    this.#oldestReports = store.prepare(
      'DELETE FROM spool_report WHERE id IN (SELECT id FROM spool_report ORDER BY id LIMIT ?) RETURNING device',
    )
    const oldestOf = (table: string): Statement<[string, number]> =>
      store.prepare(`DELETE FROM ${table} WHERE id IN (SELECT id FROM ${table} WHERE device = ? ORDER BY id LIMIT ?)`)
    this.#oldestReportsOf = oldestOf('spool_report')
    this.#oldestEventsOf = oldestOf('spool_event')
    this.#verdictSent = store.prepare(
      'UPDATE verdict SET sent = ? WHERE device = ? AND incarnation = ? AND boot = ? AND slot = ? AND hour = ? AND model = ? AND pipeline = ?',
    )
    this.#aggregateSent = store.prepare('UPDATE aggregate SET sent = ? WHERE hour = ? AND grp = ?')
    this.#reportRows = new DeviceRows(store, 'spool_report')
    this.#eventRows = new DeviceRows(store, 'spool_event')
    this.recount()
  }

  get depth(): { readonly reports: number; readonly events: number } {
    return { reports: this.#reportRows.total, events: this.#eventRows.total }
  }

  /** Id of the newest report that was ever added. */
  get lastReport(): number {
    return this.#lastReport
  }

  /** Bound of the ids of reports that were pruned. */
  get lastDeleted(): number {
    return this.#lastDeleted
  }

  /** Ids go on above this one, also when the spool is empty. */
  startAfter(report: number): void {
    this.#lastReport = Math.max(this.#lastReport, report)
  }

  /** Reports added after this one, oldest first. */
  reportsAfter(report: number): IterableIterator<ReportRecord> {
    return this.#after.iterate(report)
  }

  /** Counts rows anew; after a rollback, whose insertions were counted. */
  recount(): void {
    const last = (table: string): number =>
      (this.#store.prepare(`SELECT coalesce(max(id), 0) AS n FROM ${table}`).get() as { n: number }).n
    this.#reportRows.recount()
    this.#eventRows.recount()
    this.#lastReport = Math.max(this.#lastReport, last('spool_report'))
    this.#lastEvent = Math.max(this.#lastEvent, last('spool_event'))
  }

  /** @param boot its key in the device's `boots`
   *  @param payload the report as the device encoded it; decoded again when it is sent */
  addReport(origin: Origin, boot: number, seq: number, receivedMs: number, payload: Buffer): void {
    const { site, device, board } = origin
    this.#addReport.run(++this.#lastReport, site, device, boot, seq, board, receivedMs, payload)
    this.#reportRows.changed(device, 1)
    if (this.#reportRows.of(device) > DEVICE_ROWS_MAX) {
      const own = this.#oldestReportsOf.run(device, DEVICE_STRIDE).changes
      this.#lastDeleted = this.#lastReport
      this.#reportRows.changed(device, -own)
      this.#counters.add('spool', 'device-full', own)
    }
    const { reportsMax } = this.#limits
    if (this.#reportRows.total <= reportsMax || this.#lastReport % PRUNE_STRIDE !== 0) return
    this.#prune()
    if (this.#reportRows.total < 2 * reportsMax) return
    const dropped = gone(this.#reportRows, this.#oldestReports.all(PRUNE_STRIDE))
    // Ids have no gaps to speak of, so this is at least the newest that went.
    this.#lastDeleted = this.#lastReport
    this.#counters.add('spool', 'report-dropped', dropped)
  }

  addEvent(site: string, device: string, receivedMs: number, payload: Buffer): void {
    this.#addEvent.run(++this.#lastEvent, site, device, receivedMs, payload)
    this.#eventRows.changed(device, 1)
    if (this.#eventRows.of(device) > DEVICE_ROWS_MAX) {
      const own = this.#oldestEventsOf.run(device, DEVICE_STRIDE).changes
      this.#eventRows.changed(device, -own)
      this.#counters.add('spool', 'device-full', own)
    }
    if (this.#eventRows.total < this.#limits.eventsMax + PRUNE_STRIDE) return
    this.#counters.add('spool', 'event-dropped', gone(this.#eventRows, this.#oldestEvents.all(PRUNE_STRIDE)))
  }

  /** @param wake of which it is
   *  @param confirmed undefined: the verifier could not judge */
  addVerdict(
    wake: Pick<PendingWake, 'device' | 'incarnation' | 'boot' | 'slot' | 'site' | 'model' | 'pipeline' | 'receivedMs'>,
    confirmed: boolean | undefined,
  ): void {
    const { device, incarnation, boot, slot, site, model, pipeline } = wake
    const booked = hourStartMs(wake.receivedMs)
    this.#bumpVerdict.run(
      ...[device, incarnation, boot, slot, slot < 0 ? booked : 0, model, pipeline, site, booked],
      ...verdictCounts(confirmed),
    )
  }

  writeCells(cells: readonly AggregateCell[]): void {
    for (const cell of cells) this.#writeCell.run(cell.hourMs, cell.group, JSON.stringify(cell.values), cell.revision)
  }

  loadCell(place: Place): { readonly values: number[]; readonly revision: number } | undefined {
    const row = this.#readCell.get(place.hourMs, place.group)
    return row && { values: cellValues(JSON.parse(row.cells) as number[]), revision: row.revision }
  }

  /** Committed cells of the hours from `hourMs` on. */
  storedCells(hourMs: number): readonly (Place & { readonly values: readonly number[] })[] {
    return this.#cellsSince
      .all(hourMs)
      .map(({ hour, grp, cells }) => ({ hourMs: hour, group: grp, values: cellValues(JSON.parse(cells) as number[]) }))
  }

  /** The oldest rows of each kind that the cloud does not have.
   *  @param rowsMax of each kind, at most LIMITS.ingestRows
   *  @param kinds the others stay empty
   *  @returns undefined when nothing is due */
  nextBatch(gateway: string, rowsMax: number, kinds: readonly SpoolKind[]): SpoolBatch | undefined {
    const limit = (kind: SpoolKind): number => (kinds.includes(kind) ? Math.min(rowsMax, LIMITS.ingestRows) : 0)
    const reports = this.#reports.all(limit('reports'))
    const events = this.#events.all(limit('events'))
    const verdicts = this.#verdicts.all(limit('verdicts'))
    const aggregates = this.#aggregates.all(limit('aggregates'))
    const rows = reports.length + events.length + verdicts.length + aggregates.length
    if (rows === 0) return undefined
    const batch: IngestBatch = {
      v: 1,
      gateway,
      reports: reports.map(reportRow),
      verdicts: verdicts.map(verdictRow),
      events: events.map(eventRow),
      aggregates: aggregates.map(({ hour, grp, cells, revision }) =>
        aggregateRow({ hourMs: hour, group: grp, values: cellValues(JSON.parse(cells) as number[]), revision }),
      ),
    }
    const delivered = this.#store.transaction(() => {
      for (const { id, device } of reports) this.#reportRows.changed(device, -this.#deleteReport.run(id).changes)
      for (const { id, device } of events) this.#eventRows.changed(device, -this.#deleteEvent.run(id).changes)
      for (const { revision, device, incarnation, boot, slot, hour, model, pipeline } of verdicts) {
        this.#verdictSent.run(revision, device, incarnation, boot, slot, hour, model, pipeline)
      }
      for (const { revision, hour, grp } of aggregates) this.#aggregateSent.run(revision, hour, grp)
    })
    return { batch, rows, delivered }
  }

  /** Removes verdicts that were booked, and aggregates of hours, before `hourMs`, where the cloud has them. */
  forgetBefore(hourMs: number): void {
    this.#store.prepare('DELETE FROM verdict WHERE booked < ? AND sent >= revision').run(hourMs)
    const { n } = this.#store.prepare('SELECT count(*) AS n FROM verdict').get() as { n: number }
    const excess = n - this.#limits.verdictsMax
    if (excess > 0) {
      // Those of the device that has the most go first: many rows are what one invents (boots, models), and takes from nobody else.
      this.#store
        .prepare(
          `DELETE FROM verdict WHERE (device, incarnation, boot, slot, hour, model, pipeline) IN
           (SELECT device, incarnation, boot, slot, hour, model, pipeline FROM
             (SELECT *, row_number() OVER (PARTITION BY device ORDER BY booked DESC) AS rank FROM verdict)
            ORDER BY rank DESC, booked LIMIT ?)`,
        )
        .run(excess)
      this.#counters.add('spool', 'verdict-dropped', excess)
    }
    this.#store.prepare('DELETE FROM aggregate WHERE hour < ? AND sent >= revision').run(hourMs)
  }

  /** Looks at the next stride of the oldest reports and keeps of it what nothing supersedes. */
  #prune(): void {
    const stride = this.#reportStride.all(this.#pruneAfter, 2 * PRUNE_STRIDE)
    const kept: number[] = []
    for (const { id, device, boot, seq } of stride) {
      const runs = this.#devices.get(device).boots.get(boot)?.runs
      // A report of a closed boot has no known successor: it stays.
      if (runs === undefined || runs.at(-1)?.[1] === seq) kept.push(id)
    }
    const last = stride.at(-1)?.id ?? this.#pruneAfter
    const stale = this.#deleteStride.all(this.#pruneAfter, last, JSON.stringify(kept))
    const superseded = gone(this.#reportRows, stale)
    this.#counters.add('spool', 'superseded', superseded)
    this.#lastDeleted = Math.max(this.#lastDeleted, last)
    // Every row was looked at: what was the newest then may be superseded now, so start over.
    this.#pruneAfter = stride.length < 2 * PRUNE_STRIDE ? 0 : last
  }
}

/** A row that was deleted. */
interface Gone {
  readonly device: string
}

/** @returns how many went */
function gone(rows: DeviceRows, those: readonly Gone[]): number {
  for (const { device } of those) rows.changed(device, -1)
  return those.length
}

const verdictRow = ({ hour, slot, incarnation, pipeline, ...row }: VerdictRecord): VerdictRow => ({
  ...row,
  ...(pipeline === 0 ? {} : { pipeline }),
  ...(incarnation === 0 ? {} : { incarnation }),
  ...(slot < 0 ? { hourMs: hour } : { slot }),
})
