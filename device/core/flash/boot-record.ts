import { bytesEqual } from '../../../contract/bytes.ts'
import { type ContractError, contractError } from '../../../contract/errors.ts'
import { LIMITS } from '../../../contract/limits.ts'

import { bytes, defineMessage, int, optional, uint } from '../../../contract/message-codec.ts'

import { present } from '../../../contract/present.ts'

import { err, ok, type Result } from '../../../contract/result.ts'
import type { Flash } from '../../ports/flash.ts'
import { type FlashLayout, otherSlot, type SlotIndex } from './flash-layout.ts'
import { readPair, writePair } from './record-pair.ts'

/** What survives a reset, kept as a pair of records (record-pair.ts). docs/install.md has the order of its writes. */
export interface BootRecord {
  /** number of boots so far: the boot id of reports */
  readonly boots: number
  /** which run of boot ids it is, 1 to 2^32 - 1: made when the flash was provisioned, so that a board that takes another's place under its
   *  id is not taken for its past; undefined on a flash of before there was one */
  readonly incarnation?: number | undefined
  /** the confirmed slot; a trial runs from the other one */
  readonly active: SlotIndex
  readonly phase: BootPhase
  readonly images: readonly [SlotImage, SlotImage]
  /** sequence number of the newest accepted assignment */
  readonly assignmentSeq: number
  /** lowest security counter this device accepts; never falls */
  readonly securityCounter: number
  /** sha256 of the image that last failed its check or trial (zeros: none) and how often in a row */
  readonly failedSha256: Uint8Array
  readonly failures: number
  /** what the last change of the running image was, as long as nobody has acknowledged to have heard of it */
  readonly untold: Untold
  /** newest assignment accepted when that happened, and first 8 bytes of the sha256 of the image it happened to: told as they were, whatever
   *  has been accepted, run or refused since. undefined: nothing is untold, or written by firmware of before */
  readonly untoldSeq?: number | undefined
  readonly untoldModel?: Uint8Array | undefined
}

/** An event that is written down with the change it tells of, so that a power cut between the two loses neither. */
export type Untold = (typeof UNTOLD)[number]
const UNTOLD = ['none', 'install-confirmed', 'reverted', 'fell-back', 'image-found'] as const

/** A change of the running image, to be told until it is acknowledged.
 *  @param record as it was when it happened */
export const untoldOf = (
  untold: Exclude<Untold, 'none'>,
  { assignmentSeq }: Pick<BootRecord, 'assignmentSeq'>,
  { sha256 }: SlotImage,
): Pick<BootRecord, 'untold' | 'untoldSeq' | 'untoldModel'> => ({
  untold,
  untoldSeq: assignmentSeq,
  untoldModel: sha256.slice(0, 8),
})

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
  boots: [1, uint(0xffff_ffff)],
  active: [2, uint(1)],
  phase: [3, uint(PHASES.length - 1)],
  sha256A: [4, bytes(32)],
  bytesA: [5, uint(LIMITS.bundleBytes)],
  sha256B: [6, bytes(32)],
  bytesB: [7, uint(LIMITS.bundleBytes)],
  assignmentSeq: [8, uint()],
  securityCounter: [9, uint()],
  failedSha256: [10, bytes(32)],
  failures: [11, uint(255)],
  untold: [12, uint(UNTOLD.length - 1)],
  incarnation: [13, optional(int(1, 0xffff_ffff))],
  untoldSeq: [14, optional(uint())],
  untoldModel: [15, optional(bytes(8))],
})

/** The newest valid record; undefined when the device was never provisioned or both copies are lost. */
export function readRecord(flash: Flash, layout: FlashLayout): BootRecord | undefined {
  const payload = readPair(flash, layout.boot)
  const decoded = payload && codec.decode(payload)
  if (!decoded?.ok) return undefined
  const { active, phase, sha256A, bytesA, sha256B, bytesB, untold, ...rest } = decoded.value
  return {
    ...rest,
    active: active as SlotIndex,
    phase: present(PHASES[phase], 'a phase within the bound of the codec'),
    images: [
      { sha256: sha256A, bytes: bytesA },
      { sha256: sha256B, bytes: bytesB },
    ],
    untold: present(UNTOLD[untold], 'a tale within the bound of the codec'),
  }
}

/** Writes a record over the older of the two copies; the newer one stays valid until the new one is whole.
 *  @returns `flash-write-failed` | `flash-full`; then the record before it still holds */
export function writeRecord(flash: Flash, layout: FlashLayout, record: BootRecord): Result<void, ContractError> {
  const { images, active, phase, untold, ...rest } = record
  const payload = codec.encode({
    ...rest,
    active,
    phase: PHASES.indexOf(phase),
    sha256A: images[0].sha256,
    bytesA: images[0].bytes,
    sha256B: images[1].sha256,
    bytesB: images[1].bytes,
    untold: UNTOLD.indexOf(untold),
  })
  return writePair(flash, layout.boot, payload)
}

export const withImage = (record: BootRecord, slot: SlotIndex, image: SlotImage): BootRecord['images'] =>
  slot === 0 ? [image, record.images[1]] : [record.images[0], image]

/** The penalty for an image that failed its check or its trial. */
export function penalty(record: BootRecord, sha256: Uint8Array): Pick<BootRecord, 'failedSha256' | 'failures'> {
  const again = bytesEqual(record.failedSha256, sha256)
  return { failedSha256: sha256, failures: again ? Math.min(record.failures + 1, 255) : 1 }
}

/** confirmed: the active slot. trial: the other one, for the first time. reverted: a trial was not confirmed. fell-back: the
 *  confirmed image is lost. found: no image is the one on record; the slot holds another whole one. abandoned: a trial was due and could not be recorded. */
export type BootOutcome = 'confirmed' | 'trial' | 'reverted' | 'fell-back' | 'found' | 'abandoned'

export interface BootPlan {
  readonly slot: SlotIndex
  readonly outcome: BootOutcome
  readonly record: BootRecord
}

/** Decides what a reset boots. Pure; the caller writes `record`: before it runs an image on trial, so that the next boot knows of
 *  it, and after it has opened any other.
 *  @param usable whether a slot's bytes still have the sha256 the record names, and have not refused to load in this boot
 *  @returns the slot to run, or `no-fallback-slot` when no verified image is left
 */
export function planBoot(found: BootRecord, usable: (slot: SlotIndex) => boolean): Result<BootPlan, ContractError> {
  const next = { ...found, boots: nextBoot(found) }
  const candidate = otherSlot(found.active)
  if (found.phase === 'pending' && usable(candidate)) {
    return ok({ slot: candidate, outcome: 'trial', record: { ...next, phase: 'running' } })
  }
  const confirmed: BootRecord = { ...next, phase: 'confirmed' }
  if (usable(found.active)) {
    if (found.phase === 'confirmed') return ok({ slot: found.active, outcome: 'confirmed', record: confirmed })
    const { sha256 } = found.images[candidate]
    // An image that has rotted before its trial was not tried: no mark against it, and nothing to take for stored.
    const verdict =
      found.phase === 'running'
        ? penalty(found, sha256)
        : { failedSha256: sha256, failures: 0, images: withImage(found, candidate, EMPTY_IMAGE) }
    const tale = untoldOf('reverted', found, found.images[candidate])
    return ok({ slot: found.active, outcome: 'reverted', record: { ...confirmed, ...verdict, ...tale } })
  }
  // The confirmed image has rotted or does not load. The other one was verified when it was installed; an older good image beats
  // none.
  if (found.images[candidate].bytes > 0 && usable(candidate)) {
    const tale = untoldOf('fell-back', found, found.images[candidate])
    const record: BootRecord = { ...confirmed, active: candidate, ...tale }
    return ok({ slot: candidate, outcome: 'fell-back', record })
  }
  return err(contractError('no-fallback-slot', 'neither slot holds an image with the recorded hash'))
}

/** Boot ids go from 1 to 2^32 - 1 and stay there: a device that boots every second gets there in 136 years. */
const nextBoot = ({ boots }: BootRecord): number => Math.min(boots + 1, 0xffff_ffff)

/** An incarnation from four bytes that nobody else has. */
export const incarnationOf = (bytes: Uint8Array): number =>
  Math.max(1, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0))
