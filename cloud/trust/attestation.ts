import { readSignedEvent, type SignedEvent } from '../../contract/attested-event.ts'
import { readSignedReport } from '../../contract/attested-report.ts'
import { bytesToHex, hexToBytes } from '../../contract/bytes.ts'
import { EVENT_CODES } from '../../contract/messages.ts'
import type { EventRow, ReportRow } from '../../contract/uplink.ts'
import type { DeviceKeyRecord } from '../store/identity-store.ts'
import { verifyEd25519 } from './ed25519.ts'

/** chosen: what a device signed with a key it has replaced since may wait this long in spools (the gateway's report queue holds a
 *  week) */
const RETIRED_KEY_MS = 7 * 24 * 3_600_000

/** Whether a row is the device's own word.
 *  @param keys all keys the device ever had
 *  @returns 1: signed by a key of the device, and the row says what was signed. 0: the device has a key, and this is not signed by
 *    it: anybody between may have made it up. null: the device never had a key, so there is nothing to hold the row against */
export function attestedBy(row: EventRow | ReportRow, keys: readonly DeviceKeyRecord[]): 0 | 1 | null {
  if (keys.length === 0) return null
  if (row.signed === undefined) return 0
  const bytes = hexToBytes(row.signed)
  const signed = 'code' in row ? signedEvent(row, bytes) : signedReport(row, bytes)
  if (signed?.signature === undefined) return 0
  const { message, signature } = signed
  const believed = keys.filter(
    ({ state, untilMs }) =>
      state === 'active' || (state === 'retired' && row.receivedMs <= (untilMs ?? 0) + RETIRED_KEY_MS),
  )
  return believed.some(({ publicKey }) => verifyEd25519(message, signature, publicKey)) ? 1 : 0
}

/** What was signed and by what; undefined when the row says something else. */
type Signed = Pick<SignedEvent, 'message' | 'signature'> | undefined

function signedEvent(row: EventRow, bytes: Uint8Array): Signed {
  const read = readSignedEvent(bytes, row.device)
  if (!read.ok) return undefined
  const { event } = read.value
  const same =
    sameBoot(event, row) &&
    event.seq === row.seq &&
    event.wallMs === row.wallMs &&
    EVENT_CODES[event.code] === row.code &&
    (event.model && bytesToHex(event.model)) === row.model &&
    event.error === row.error &&
    event.detail === row.detail &&
    event.assignmentSeq === row.assignmentSeq
  return same ? read.value : undefined
}

function signedReport(row: ReportRow, bytes: Uint8Array): Signed {
  const read = readSignedReport(bytes, row.device)
  if (!read.ok) return undefined
  const { report } = read.value
  const same =
    sameBoot(report, row) &&
    bytesToHex(report.model) === row.model &&
    (report.wakeLink && bytesToHex(report.wakeLink)) === row.wakeLink &&
    SCALARS.every((name) => report[name] === row[name]) &&
    report.signals?.length === row.signals?.length &&
    (report.signals ?? []).every((value, i) => value === row.signals?.[i]) &&
    LISTS.every((name) => report[name].every((value, i) => value === row[name][i]))
  return same ? read.value : undefined
}

type Origin = Pick<EventRow, 'incarnation' | 'boot' | 'uptimeMs'>
const sameBoot = (signed: { readonly [K in keyof Origin]?: Origin[K] | undefined }, row: Origin): boolean =>
  signed.incarnation === row.incarnation && signed.boot === row.boot && signed.uptimeMs === row.uptimeMs

const SCALARS = ['seq', 'wallMs', 'slot', 'level', 'batteryPermille', 'assignmentSeq', 'inferenceMs'] as const
const LISTS = ['counters', 'levelMs', 'energyMj', 'posteriorBins', 'noiseBins'] as const
