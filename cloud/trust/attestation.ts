import { readSignedEvent } from '../../contract/attested-event.ts'
import { bytesToHex, hexToBytes } from '../../contract/bytes.ts'
import { EVENT_CODES } from '../../contract/messages.ts'
import type { EventRow } from '../../contract/uplink.ts'
import type { DeviceKeyRecord } from '../store/identity-store.ts'
import { verifyEd25519 } from './ed25519.ts'

/** chosen: what a device signed with a key it has replaced since may wait this long in spools (the gateway's report queue holds a
 *  week) */
const RETIRED_KEY_MS = 7 * 24 * 3_600_000

/** Whether an event is the device's own word.
 *  @param keys all keys the device ever had
 *  @returns 1: signed by a key of the device, and the row says what was signed. 0: the device has a key, and this is not signed by
 *    it: anybody between may have made it up. null: the device never had a key, so there is nothing to hold the row against */
export function attestedBy(row: EventRow, keys: readonly DeviceKeyRecord[]): 0 | 1 | null {
  if (keys.length === 0) return null
  if (row.signed === undefined) return 0
  const read = readSignedEvent(hexToBytes(row.signed), row.device)
  if (!read.ok || read.value.signature === undefined) return 0
  const { event, message, signature } = read.value
  const same =
    event.incarnation === row.incarnation &&
    event.boot === row.boot &&
    event.uptimeMs === row.uptimeMs &&
    event.seq === row.seq &&
    event.wallMs === row.wallMs &&
    EVENT_CODES[event.code] === row.code &&
    (event.model && bytesToHex(event.model)) === row.model &&
    event.error === row.error &&
    event.detail === row.detail &&
    event.assignmentSeq === row.assignmentSeq
  if (!same) return 0
  const believed = keys.filter(
    ({ state, untilMs }) =>
      state === 'active' || (state === 'retired' && row.receivedMs <= (untilMs ?? 0) + RETIRED_KEY_MS),
  )
  return believed.some(({ publicKey }) => verifyEd25519(message, signature, publicKey)) ? 1 : 0
}
