import { EVENT_CODES, type EventCode, eventCodec, type Report, wakeCodec } from '../../contract/messages.ts'
import { present } from '../../contract/present.ts'
import { UPTIME_MS_MAX } from '../../contract/uplink.ts'
import type { MessageCounters } from '../message-counters.ts'
import type { Origin } from '../origin.ts'
import { type AggregateTable, groupKey, HOUR_MS, hourStartMs, modelHex, NO_HOUR, sumsOf, tagAt } from './aggregation.ts'
import { hearUptime, momentOf, uptimeOf } from './boot-clock.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { DeviceTable } from './device-table.ts'
import type { GroupCommit } from './group-commit.ts'
import type { HeldAssignments } from './held-assignments.ts'
import type { KeptWakes } from './kept-wakes.ts'
import type { IngestKind, RawMessage } from './message-batch.ts'
import type { PendingWakes } from './pending-wakes.ts'
import { decodeReport } from './report-decoder.ts'
import { insertReport, type Sums } from './report-timeline.ts'
import { insertSeq } from './seq-ranges.ts'
import type { Spool } from './spool.ts'
import type { ReportRecord } from './spool-rows.ts'

/** Events that prove that the device accepted the assignment they name. */
const ACCEPTING: ReadonlySet<EventCode> = new Set<EventCode>([
  'install-started',
  'download-complete',
  'trial-started',
  'install-confirmed',
])

interface Parts {
  readonly commit: GroupCommit
  readonly devices: DeviceTable
  readonly assignments: HeldAssignments
  readonly aggregates: AggregateTable
  readonly spool: Spool
  readonly pending: PendingWakes
  readonly kept: KeptWakes
  readonly counters: MessageCounters
  readonly checkpoint: Checkpoint
  /** whether this gateway has a verifier; without one wakes are only counted */
  readonly verifies: boolean
}

type Done = (entry: Entry, error?: Error) => void

/** What came of a message; `failed` when the store did not take it, anything else is final. */
export interface Entry {
  readonly outcome: string
  /** the device is behind the assignment that is held for it */
  readonly missedAssignment: boolean
}

/** Takes a device's report, wake or event to its durable effect, once.
 *
 *  A message that cannot be decoded or contradicts what the device said before is counted by code and dropped, and yet reported
 *  as done: the broker acknowledges it, because a device that is broken in this way would otherwise send the same message for
 *  ever, and nothing would get better. Only a failure of the gateway's own (disk full) leaves a message unacknowledged.
 */
export class MessageLedger {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** @param message its payload is held until `done`
   *  @param done called when the effect is on the medium, or the message was dropped for good; with an error when neither */
  enter(message: RawMessage, done: Done): void {
    switch (message.kind) {
      case 'report':
        this.#report(message, done)
        break
      case 'wake':
        this.#wake(message, done)
        break
      case 'event':
        this.#event(message, done)
        break
    }
  }

  #report({ origin, receivedMs, payload }: RawMessage, done: Done): void {
    const decoded = decodeReport(payload)
    if (!decoded.ok) {
      this.#drop('report', decoded.error.code, done)
      return
    }
    const report = decoded.value
    const sums = sumsOf(report)
    if (sums === undefined || report.uptimeMs > UPTIME_MS_MAX) {
      this.#drop('report', 'implausible', done)
      return
    }
    const missed = this.#parts.assignments.isBehind(origin.device, report.assignmentSeq)
    const apply = (): string => {
      const outcome = this.#count(origin, report, sums, receivedMs)
      // A late one too: the cloud keeps every boot and takes a row twice without harm; only the sums made here leave it out.
      if (outcome === 'accepted' || outcome === 'late') {
        const { devices, spool } = this.#parts
        const boot = devices.key(devices.get(origin.device), report.boot, report.incarnation)
        spool.addReport(origin, boot, report.seq, receivedMs, payload)
      }
      return outcome
    }
    this.#submit('report', done, apply, missed)
  }

  /** What a report changes in memory; the state tables follow at the next checkpoint. */
  #count(
    origin: Origin,
    report: Report,
    sums: Sums,
    receivedMs: number,
  ): 'accepted' | 'duplicate' | 'conflict' | 'late' {
    const { devices, aggregates } = this.#parts
    const state = devices.get(origin.device)
    const key = devices.key(state, report.boot, report.incarnation)
    const boot = devices.boot(state, key)
    if (boot === undefined) return 'late'
    const { startedMs, uptimeMs } = boot
    hearUptime(boot, receivedMs, report.uptimeMs)
    const tag = tagAt(state.tags, report.assignmentSeq)
    const group = groupKey(modelHex(report.model), origin.site, origin.board, tag)
    const hourMs = hourOf(momentOf(boot, devices.next(state, key), report.uptimeMs))
    const result = insertReport(boot.runs, report.seq, sums, aggregates.place(hourMs, group, origin.device))
    if (result.outcome !== 'accepted') {
      Object.assign(boot, { startedMs, uptimeMs })
      return result.outcome
    }
    for (const { place, delta } of result.bookings) aggregates.book(place, delta)
    if (boot.runs.at(-1)?.[1] === report.seq) {
      boot.assignmentSeq = report.assignmentSeq
      boot.wallOffsetMs = report.wallMs === 0 ? undefined : report.wallMs - report.uptimeMs
    }
    devices.touch(state, boot)
    devices.accept(state, report.assignmentSeq)
    return 'accepted'
  }

  /** Takes spooled reports in again that the state tables do not have yet.
   *  @returns how many */
  replay(records: Iterable<ReportRecord>): number {
    let count = 0
    for (const { site, device, board, received, payload } of records) {
      const decoded = decodeReport(payload)
      const sums = decoded.ok ? sumsOf(decoded.value) : undefined
      if (!decoded.ok || sums === undefined) continue
      this.#count({ site, device, board } as Origin, decoded.value, sums, received)
      count++
    }
    return count
  }

  #wake({ origin, receivedMs, payload }: RawMessage, done: Done): void {
    const decoded = wakeCodec.decode(payload)
    if (!decoded.ok) {
      this.#drop('wake', decoded.error.code, done)
      return
    }
    const wake = decoded.value
    this.#submit('wake', done, () => {
      const { devices, pending, aggregates, spool, kept } = this.#parts
      const state = devices.get(origin.device)
      const key = devices.key(state, wake.boot, wake.incarnation)
      const boot = devices.boot(state, key)
      if (boot === undefined) return 'late'
      if (!insertSeq(boot.wakes, wake.index)) return 'duplicate'
      const said = believedUptime(wake.uptimeMs)
      if (said !== undefined) hearUptime(boot, receivedMs, said)
      const uptimeMs = said ?? believedUptime(uptimeOf(boot, wake.wallMs, receivedMs))
      devices.touch(state, boot)
      this.#parts.checkpoint.require()
      // Of devices that do not sign which wakes they sent nobody can ask.
      if (wake.previous !== undefined) {
        const { boot: number, index, incarnation = 0 } = wake
        kept.add({ device: origin.device, incarnation, boot: number, index }, receivedMs, payload)
      }
      if (!this.#parts.verifies) return 'unverified'
      // A wake carries no assignment: it counts where the boot's newest report does, or else where the device last stood.
      const tag = tagAt(state.tags, boot.assignmentSeq ?? state.acceptedSeq)
      const model = modelHex(wake.model)
      const group = groupKey(model, origin.site, origin.board, tag)
      const { device, site } = origin
      const { index, pipeline = 0, label, features, incarnation = 0 } = wake
      const momentMs = uptimeMs === undefined ? undefined : momentOf(boot, devices.next(state, key), uptimeMs)
      // Of a boot of which nothing is known yet the cloud finds the slot, by the hour of receipt.
      const slot = uptimeMs === undefined ? -1 : Math.floor(uptimeMs / HOUR_MS)
      const hourMs = hourOf(momentMs ?? (receivedMs || undefined))
      const pendingWake = {
        ...{ site, device, incarnation, boot: wake.boot, index, model, label, group, features, receivedMs },
        ...{ slot, hourMs, pipeline },
      }
      if (pending.add(pendingWake)) return 'accepted'
      aggregates.bookVerdict(aggregates.place(hourMs, group, device), undefined)
      spool.addVerdict(pendingWake, undefined)
      return 'unverified'
    })
  }

  #event({ origin, receivedMs, payload }: RawMessage, done: Done): void {
    const decoded = eventCodec.decode(payload)
    if (!decoded.ok) {
      this.#drop('event', decoded.error.code, done)
      return
    }
    const event = decoded.value
    this.#submit('event', done, () => {
      const { devices, spool } = this.#parts
      const state = devices.get(origin.device)
      const boot = devices.boot(state, devices.key(state, event.boot, event.incarnation))
      if (boot !== undefined) {
        if (!insertSeq(boot.events, event.seq)) return 'duplicate'
        const uptimeMs = believedUptime(event.uptimeMs)
        if (uptimeMs !== undefined) hearUptime(boot, receivedMs, uptimeMs)
        devices.touch(state, boot)
        this.#parts.checkpoint.require()
        if (ACCEPTING.has(present(EVENT_CODES[event.code], 'a code within the bound of the codec')))
          devices.accept(state, event.assignmentSeq ?? 0)
      }
      spool.addEvent(origin.site, origin.device, receivedMs, payload)
      return boot === undefined ? 'late' : 'accepted'
    })
  }

  #drop(kind: IngestKind, outcome: string, done: Done): void {
    this.#parts.counters.add(kind, outcome)
    done({ outcome, missedAssignment: false })
  }

  #submit(kind: IngestKind, done: Done, apply: () => string, missedAssignment = false): void {
    let applied = 'failed'
    this.#parts.commit.submit({
      apply() {
        applied = apply()
      },
      done: (error) => {
        const outcome = error === undefined ? applied : 'failed'
        this.#parts.counters.add(kind, outcome)
        done({ outcome, missedAssignment }, error)
      },
    })
  }
}

const hourOf = (momentMs: number | undefined): number => (momentMs === undefined ? NO_HOUR : hourStartMs(momentMs))

const believedUptime = (uptimeMs: number | undefined): number | undefined =>
  uptimeMs === undefined || uptimeMs > UPTIME_MS_MAX ? undefined : uptimeMs
