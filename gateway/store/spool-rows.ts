import { bytesToHex } from '../../contract/bytes.ts'
import { EVENT_CODES, eventCodec } from '../../contract/messages.ts'
import { present } from '../../contract/present.ts'
import type { EventRow, ReportRow } from '../../contract/uplink.ts'
import { modelHex } from './aggregation.ts'
import { decodeReport } from './report-decoder.ts'

/** What waits for the cloud. */
export const SPOOL_KINDS = ['reports', 'events', 'verdicts', 'aggregates'] as const
export type SpoolKind = (typeof SPOOL_KINDS)[number]

/** A spooled report. */
export interface ReportRecord {
  readonly id: number
  readonly site: string
  readonly device: string
  readonly boot: number
  readonly seq: number
  readonly board: string
  readonly received: number
  readonly payload: Buffer
}

/** A spooled event. */
export type EventRecord = Omit<ReportRecord, 'boot' | 'seq' | 'board'>

/** The row the cloud gets of a spooled report. */
export function reportRow({ site, device, received, payload }: ReportRecord): ReportRow {
  const decoded = decodeReport(payload)
  if (!decoded.ok) throw new Error(`spooled report: ${decoded.error.detail}`)
  const { model, counters, levelMs, energyMj, posteriorBins, noiseBins, incarnation, inferenceMs, ...signed } =
    decoded.value
  const { wakeLink, signature, signals, ...rest } = signed
  return {
    ...rest,
    ...(incarnation ? { incarnation } : {}),
    ...(inferenceMs === undefined ? {} : { inferenceMs }),
    ...(signals === undefined ? {} : { signals: [...signals] }),
    ...(wakeLink === undefined ? {} : { wakeLink: bytesToHex(wakeLink) }),
    ...(signature === undefined ? {} : { signed: payload.toString('hex') }),
    site,
    device,
    receivedMs: received,
    model: modelHex(model),
    counters: [...counters],
    levelMs: [...levelMs],
    energyMj: [...energyMj],
    posteriorBins: [...posteriorBins],
    noiseBins: [...noiseBins],
  }
}

/** The row the cloud gets of a spooled event. */
export function eventRow({ site, device, received, payload }: EventRecord): EventRow {
  const decoded = eventCodec.decode(payload)
  if (!decoded.ok) throw new Error(`spooled event: ${decoded.error.detail}`)
  // What is signed is the message: the cloud takes the counter from there.
  const {
    code,
    model,
    error,
    detail,
    assignmentSeq,
    securityCounter: _,
    signature,
    incarnation,
    uptimeMs,
    ...rest
  } = decoded.value
  return {
    ...rest,
    ...(incarnation ? { incarnation } : {}),
    ...(uptimeMs === undefined ? {} : { uptimeMs }),
    site,
    device,
    receivedMs: received,
    code: present(EVENT_CODES[code], 'a code within the bound of the codec'),
    ...(model === undefined ? {} : { model: modelHex(model) }),
    ...(error === undefined ? {} : { error }),
    ...(detail === undefined ? {} : { detail }),
    ...(assignmentSeq === undefined ? {} : { assignmentSeq }),
    ...(signature === undefined ? {} : { signed: payload.toString('hex') }),
  }
}
