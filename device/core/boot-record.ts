import { bytesEqual, sha256 } from '../../contract/bytes.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { LIMITS } from '../../contract/limits.ts'
import { bytes, defineMessage, uint } from '../../contract/message.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { Flash } from '../ports/flash.ts'
import { type FlashLayout, otherSlot, type SlotIndex } from './flash-layout.ts'

/** What survives a reset. Two copies are written in turn; the valid one with the higher sequence number counts. */
export interface BootRecord {
  /** rises with every write */
  readonly seq: number
  /** number of boots so far: the boot id of reports */
  readonly boots: number
  /** the confirmed slot; a trial runs from the other one */
  readonly active: SlotIndex
  readonly phase: BootPhase
  readonly images: readonly [SlotImage, SlotImage]
  /** sequence number of the newest accepted assignment */
  readonly assignmentSeq: number
  /** lowest security counter this device accepts; never falls */
  readonly securityCounter: number
  /** sha256 of the image that last failed its trial (zeros: none) and how often in a row */
  readonly failedSha256: Uint8Array
  readonly failures: number
}

/** confirmed: boots `active`. pending: boots the other slot once, on trial. running: a trial was begun; a boot that finds this
 *  state reverts, because nobody confirmed. */
export type BootPhase = 'confirmed' | 'pending' | 'running'
const PHASES: readonly BootPhase[] = ['confirmed', 'pending', 'running']

/** An image in a slot; zero bytes means empty. */
export interface SlotImage {
  readonly sha256: Uint8Array
  readonly bytes: number
}

export const EMPTY_IMAGE: SlotImage = { sha256: new Uint8Array(32), bytes: 0 }

const codec = defineMessage('boot record', 1, 192, {
  seq: [1, uint(0xffff_ffff)],
  boots: [2, uint(0xffff_ffff)],
  active: [3, uint(1)],
  phase: [4, uint(2)],
  sha256A: [5, bytes(32)],
  bytesA: [6, uint(LIMITS.bundleBytes)],
  sha256B: [7, bytes(32)],
  bytesB: [8, uint(LIMITS.bundleBytes)],
  assignmentSeq: [9, uint()],
  securityCounter: [10, uint()],
  failedSha256: [11, bytes(32)],
  failures: [12, uint(255)],
})

/** Frame in flash: 2 bytes little-endian length, 8 bytes of the payload's sha256, payload, 0xff to the program unit. */
export const FRAME_HEADER_BYTES = 10
const FRAME_BYTES_MAX = 256

/** Frames bytes with a length and a checksum, padded to the flash's program unit. */
export function encodeFrame(payload: Uint8Array, programBytes: number): Uint8Array {
  const length = Math.ceil((FRAME_HEADER_BYTES + payload.length) / programBytes) * programBytes
  const out = new Uint8Array(length).fill(0xff)
  new DataView(out.buffer).setUint16(0, payload.length, true)
  out.set(sha256(payload).subarray(0, 8), 2)
  out.set(payload, FRAME_HEADER_BYTES)
  return out
}

/** @returns the payload of a frame whose checksum holds, else undefined (erased, torn or rotten) */
export function decodeFrame(data: Uint8Array): Uint8Array | undefined {
  if (data.length < FRAME_HEADER_BYTES) return undefined
  const length = new DataView(data.buffer, data.byteOffset, data.byteLength).getUint16(0, true)
  if (length === 0 || FRAME_HEADER_BYTES + length > data.length) return undefined
  const payload = data.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + length)
  return bytesEqual(sha256(payload).subarray(0, 8), data.subarray(2, FRAME_HEADER_BYTES)) ? payload : undefined
}

function readRecord(flash: Flash, offset: number): BootRecord | undefined {
  const payload = decodeFrame(flash.read(offset, FRAME_BYTES_MAX))
  const decoded = payload && codec.decode(payload)
  if (!decoded?.ok) return undefined
  const r = decoded.value
  return {
    seq: r.seq,
    boots: r.boots,
    active: r.active as SlotIndex,
    phase: PHASES[r.phase]!,
    images: [
      { sha256: r.sha256A, bytes: r.bytesA },
      { sha256: r.sha256B, bytes: r.bytesB },
    ],
    assignmentSeq: r.assignmentSeq,
    securityCounter: r.securityCounter,
    failedSha256: r.failedSha256,
    failures: r.failures,
  }
}

/** The newest valid record and the sector the next one goes to; undefined when the device was never provisioned. */
export function newestRecord(
  flash: Flash,
  layout: FlashLayout,
): { readonly record: BootRecord; readonly nextSector: 0 | 1 } | undefined {
  const [a, b] = layout.bootRecords.map((offset) => readRecord(flash, offset))
  if (a !== undefined && (b === undefined || a.seq > b.seq)) return { record: a, nextSector: 1 }
  return b === undefined ? undefined : { record: b, nextSector: 0 }
}

/** Writes a record over the older of the two copies. The newer one stays valid until the new one is whole. */
export function writeRecord(flash: Flash, layout: FlashLayout, record: BootRecord): Result<void, ContractError> {
  const offset = layout.bootRecords[newestRecord(flash, layout)?.nextSector ?? 0]
  const payload = codec.encode({
    seq: record.seq,
    boots: record.boots,
    active: record.active,
    phase: PHASES.indexOf(record.phase),
    sha256A: record.images[0].sha256,
    bytesA: record.images[0].bytes,
    sha256B: record.images[1].sha256,
    bytesB: record.images[1].bytes,
    assignmentSeq: record.assignmentSeq,
    securityCounter: record.securityCounter,
    failedSha256: record.failedSha256,
    failures: record.failures,
  })
  const erased = flash.erase(offset)
  return erased.ok ? flash.program(offset, encodeFrame(payload, flash.programBytes)) : erased
}

/** The penalty for an image that failed its check or its trial. */
export function penalty(record: BootRecord, sha256: Uint8Array): Pick<BootRecord, 'failedSha256' | 'failures'> {
  const again = bytesEqual(record.failedSha256, sha256)
  return { failedSha256: sha256, failures: again ? Math.min(record.failures + 1, 255) : 1 }
}

export type BootOutcome = 'confirmed' | 'trial' | 'reverted' | 'fell-back'

/** Decides what a reset boots. Pure: the caller writes `record` before it runs the image.
 *  @param intact whether a slot's bytes still have the sha256 the record names
 *  @returns the slot to run and the record to write first, or `no-fallback-slot` when no verified image is left
 */
export function planBoot(
  found: BootRecord,
  intact: (slot: SlotIndex) => boolean,
): Result<{ readonly slot: SlotIndex; readonly outcome: BootOutcome; readonly record: BootRecord }, ContractError> {
  const next = { ...found, seq: found.seq + 1, boots: found.boots + 1 }
  const candidate = otherSlot(found.active)
  if (found.phase === 'pending' && intact(candidate)) {
    return ok({ slot: candidate, outcome: 'trial', record: { ...next, phase: 'running' } })
  }
  const confirmed: BootRecord = { ...next, phase: 'confirmed' }
  if (intact(found.active)) {
    if (found.phase === 'confirmed') return ok({ slot: found.active, outcome: 'confirmed', record: confirmed })
    return ok({
      slot: found.active,
      outcome: 'reverted',
      record: { ...confirmed, ...penalty(found, found.images[candidate].sha256) },
    })
  }
  // The confirmed image has rotted. The other one was verified when it was installed; an older good image beats none.
  if (found.images[candidate].bytes > 0 && intact(candidate)) {
    return ok({ slot: candidate, outcome: 'fell-back', record: { ...confirmed, active: candidate } })
  }
  return err(contractError('no-fallback-slot', 'neither slot holds an image with the recorded hash'))
}
