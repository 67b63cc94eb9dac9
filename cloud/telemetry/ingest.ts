import { type ContractError, contractError, type ErrorCode } from '../../contract/errors.ts'
import { LIMITS } from '../../contract/limits.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { type IngestBatch, ingestBatchSchema } from '../../contract/uplink.ts'
import { believedReceiptMs } from '../store/boot-timeline.ts'
import type { GatewayRecord } from '../store/gateway-store.ts'
import type { Store } from '../store/store.ts'

/** chosen: what a gateway's spool holds of reports, about a week; what comes of a former site later than that is not waited for */
const FORMER_SITE_MS = 7 * 86_400_000

/** What of a batch a gateway may say. */
export interface AdmittedBatch {
  readonly batch: IngestBatch
  /** rows of devices that were removed: a gateway or a device has not heard of it yet */
  readonly ofRemoved: number
  /** other rows that were refused, by their code */
  readonly refused: Readonly<Record<string, number>>
  /** of the refused, those that no honest gateway sends: what is said of a device in the days after it has moved is none of them */
  readonly suspicious: number
  readonly devices: ReadonlySet<string>
}

/** Keeps of a batch what its gateway may say: rows of its sites, of devices that are enrolled there, or were when the row was received. A
 *  gateway makes no device known, and moves none.
 *  @param nowMs the cloud's time, Unix ms */
export function admitRows(store: Store, gateway: GatewayRecord, sent: IngestBatch, nowMs: number): AdmittedBatch {
  const sites = new Set(gateway.sites)
  const named = [...sent.reports, ...sent.verdicts, ...sent.events]
  const removed = store.devices.removedOf(new Set(named.map(({ device }) => device)))
  const known = new Map(
    [...new Set(named.map(({ device }) => device))].map((name) => [name, store.devices.byName(name)]),
  )
  const refused: Record<string, number> = {}
  let ofRemoved = 0
  let suspicious = 0
  const devices = new Set<string>()
  const refuse = (code: ErrorCode, isSuspicious = true): false => {
    refused[code] = (refused[code] ?? 0) + 1
    if (isSuspicious) suspicious++
    return false
  }
  /** @param receivedMs undefined where the row does not say */
  const mayBeSaid = (row: { site: string; device: string }, receivedMs?: number): boolean => {
    if (!sites.has(row.site)) return refuse('foreign-site')
    if (removed.has(row.device)) {
      ofRemoved++
      return false
    }
    const device = known.get(row.device)
    if (device === undefined || device.enrolledMs === null) return refuse('unknown-device')
    if (device.site !== row.site) {
      const leftMs = store.devices.leftSiteMs(device.id, row.site)
      // A device that goes on with its token of before is no fault of the gateway that hears it.
      if (leftMs === undefined) return refuse('foreign-device')
      const heardMs = believedReceiptMs(receivedMs ?? leftMs, nowMs)
      if (nowMs - leftMs > FORMER_SITE_MS || heardMs > leftMs) return refuse('foreign-device', false)
    }
    devices.add(row.device)
    return true
  }
  const batch: IngestBatch = {
    ...sent,
    reports: sent.reports.filter((row) => mayBeSaid(row, row.receivedMs)),
    verdicts: sent.verdicts.filter((row) => mayBeSaid(row)),
    events: sent.events.filter((row) => mayBeSaid(row, row.receivedMs)),
    aggregates: sent.aggregates.filter(({ site, hourMs }) => {
      if (!sites.has(site)) return refuse('foreign-site')
      // Of an hour, not of a moment: a clock that is ahead by what is believed may be in the next.
      return believedReceiptMs(hourMs, nowMs) === hourMs || refuse('implausible-time', false)
    }),
  }
  return { batch, ofRemoved, refused, suspicious, devices }
}

/** Parses an ingest body: size, then JSON, then version, then every field.
 *  @returns the batch, or `too-large` | `malformed` | `unknown-schema-version`
 */
export function parseIngest(body: Uint8Array): Result<IngestBatch, ContractError> {
  if (body.length > LIMITS.ingestBytes) {
    return err(contractError('too-large', `batch of ${body.length} bytes, limit ${LIMITS.ingestBytes}`))
  }
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch {
    return err(contractError('malformed', 'the batch is not JSON'))
  }
  const version = (json as { v?: unknown } | null)?.v
  if (version !== 1) {
    return err(contractError('unknown-schema-version', `batch version ${String(version).slice(0, 20)}, known: 1`))
  }
  const parsed = ingestBatchSchema.safeParse(json)
  if (parsed.success) return ok(parsed.data)
  const issue = parsed.error.issues[0]
  return err(contractError('malformed', `batch.${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`))
}
