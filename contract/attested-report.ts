import { bytesToHex, sha256 } from './bytes.ts'
import { reportMessage, type Sign } from './device-proof.ts'
import type { ContractError } from './errors.ts'
import { type Report, reportCodec, type Wake, wakeCodec } from './messages.ts'
import { ok, type Result } from './result.ts'

/** chosen: nobody who would put another wake in the place of one finds one with the same 128 bits */
const WAKE_LINK_BYTES = 16

/** What the first wake of a boot follows, and what a report before any says. */
export const NO_WAKES = new Uint8Array(WAKE_LINK_BYTES)

/** Names a wake by its bytes. Each wake of a device with a key carries the link of the one before it and each report, signed, that of the
 *  newest: so one signature an hour speaks for every wake of the boot, and the name of each is in the next.
 *  @param message the wake as it goes on the air */
export const wakeLink = (message: Uint8Array): Uint8Array => sha256(message).slice(0, WAKE_LINK_BYTES)

/** Encodes a report, signed if there is a key.
 *  @param link of the newest wake of the boot; NO_WAKES before the first
 *  @param sign undefined for a device without a key, whose reports say no link either */
export function encodeReport(
  device: string,
  content: Omit<Report, 'wakeLink' | 'signature'>,
  link: Uint8Array,
  sign: Sign | undefined,
): Uint8Array {
  if (sign === undefined) return reportCodec.encode(content)
  const report = { ...content, wakeLink: link }
  return reportCodec.encode({ ...report, signature: sign(reportMessage(device, report)) })
}

/** A signed report taken apart: what it says, what was signed, and by what. */
export interface SignedReport {
  readonly report: Report
  readonly message: Uint8Array
  /** 64 bytes, not yet verified; undefined when the report carries none */
  readonly signature: Uint8Array | undefined
}

/** Reads a report as the device sent it. @param device who is said to have sent it; another name makes another message */
export function readSignedReport(data: Uint8Array, device: string): Result<SignedReport, ContractError> {
  const decoded = reportCodec.decode(data)
  if (!decoded.ok) return decoded
  const { signature, ...report } = decoded.value
  return ok({ report: decoded.value, message: reportMessage(device, report), signature })
}

/** Which of some messages are wakes that the device has signed to have sent. Each names the one before it, so those before one that is missing
 *  are known only from an earlier signature.
 *  @param signed what reports of the boot say, each: wakes so far, and the link of the newest of them
 *  @param messages in any order, from anybody
 *  @returns by index */
export function linkedWakes(
  signed: readonly { readonly wakes: number; readonly link: Uint8Array }[],
  messages: readonly Uint8Array[],
): ReadonlyMap<number, Wake> {
  const byLink = new Map(messages.map((message) => [bytesToHex(wakeLink(message)), message]))
  const found = new Map<number, Wake>()
  for (const { wakes, link } of signed) {
    let index = wakes
    let wanted: string | undefined = bytesToHex(link)
    while (index > 0 && wanted !== undefined && !found.has(index)) {
      const message = byLink.get(wanted)
      const wake = message && wakeCodec.decode(message)
      if (wake?.ok !== true || wake.value.index !== index || wake.value.previous === undefined) break
      found.set(index, wake.value)
      wanted = bytesToHex(wake.value.previous)
      index--
    }
  }
  return found
}
