import { NO_WAKES } from '../../../contract/attested-report.ts'
import type { EventCode } from '../../../contract/messages.ts'

/** What this boot has said and is about to say. */
export interface Reporting {
  readonly reportSeq: number
  readonly eventSeq: number
  readonly nextReportMs: number
  /** outbox id of the first report of this boot, 0 before it; a trial waits until it or a later one is acknowledged */
  readonly firstReportId: number
  /** the flash spool holds messages that are in the outbox too */
  readonly spooled: boolean
  /** outbox id of the event that `record.untold` stands for; 0: not queued yet */
  readonly untoldId: number
  readonly batteryLowTold: boolean
  /** when events that could be told at every hop were last told, monotonic ms */
  readonly rareToldAtMs: Readonly<Partial<Record<EventCode, number>>>
  /** sha256 of the last assignment document that was refused in this boot, hex: its retained copy is not complained of again */
  readonly refusedDigest: string
  /** refusals of what is not authentic, and since when they are counted */
  readonly refusals: number
  readonly refusalsFromMs: number
  /** link of the newest wake, NO_WAKES before the first */
  readonly wakeLink: Uint8Array
}

export const nothingReported = (nextReportMs: number, spooled: boolean): Reporting => ({
  reportSeq: 0,
  eventSeq: 0,
  nextReportMs,
  firstReportId: 0,
  spooled,
  untoldId: 0,
  batteryLowTold: false,
  rareToldAtMs: {},
  refusedDigest: '',
  refusals: 0,
  refusalsFromMs: Number.NEGATIVE_INFINITY,
  wakeLink: NO_WAKES,
})
