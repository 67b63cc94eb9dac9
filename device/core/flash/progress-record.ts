import { bytesToHex, hexToBytes } from '../../../contract/bytes.ts'
import type { ContractError } from '../../../contract/errors.ts'
import { LIMITS } from '../../../contract/limits.ts'
import { bytes, defineMessage, uint } from '../../../contract/message-codec.ts'
import { PATCH_STATE_BYTES } from '../../../contract/patch/patch-state.ts'
import type { Result } from '../../../contract/result.ts'
import type { Flash } from '../../ports/flash.ts'
import { frameBytes } from './flash-frame.ts'
import { type FlashLayout, PROGRESS_FIELDS_BYTES, type SlotIndex } from './flash-layout.ts'
import { readPair, writePair } from './record-pair.ts'

/** How far a download has come, as it is kept in flash. It is no promise: what it leads to is checked like any other image, so a record
 *  that is stale or wrong costs a download and nothing else. */
export interface Progress {
  /** sha256 of what is being downloaded: the bundle, or a patch that makes it; hex */
  readonly artifact: string
  /** sha256 of the bundle that is to be in the slot at the end, hex */
  readonly release: string
  readonly slot: SlotIndex
  /** sha256 of the image that ran meanwhile, hex: a patch reads it */
  readonly base: string
  /** bytes of the artifact that need not come again; all of them when the slot only has to be checked */
  readonly offset: number
}

/** Chosen: checked before parsing; sectors of internal flash have up to 256 KiB. */
const PROGRESS_BYTES_MAX = PATCH_STATE_BYTES + 256 * 1024 + PROGRESS_FIELDS_BYTES

const codec = defineMessage('progress', 1, PROGRESS_BYTES_MAX, {
  artifact: [1, bytes(32)],
  release: [2, bytes(32)],
  slot: [3, uint(1)],
  base: [4, bytes(32)],
  offset: [5, uint(LIMITS.bundleBytes)],
  /** of the patch's decoder; nothing for a full image or a download that is whole */
  checkpoint: [6, bytes(0, PROGRESS_BYTES_MAX - PROGRESS_FIELDS_BYTES)],
})

/** @returns undefined when no download is under way */
export function readProgress(
  flash: Flash,
  layout: FlashLayout,
): { readonly progress: Progress; readonly checkpoint: Uint8Array } | undefined {
  const payload = readPair(flash, layout.progress)
  const decoded = payload === undefined || payload.length === 0 ? undefined : codec.decode(payload)
  if (!decoded?.ok) return undefined
  const { artifact, release, slot, base, offset, checkpoint } = decoded.value
  const hashes = { artifact: bytesToHex(artifact), release: bytesToHex(release), base: bytesToHex(base) }
  return { progress: { ...hashes, slot: slot as SlotIndex, offset }, checkpoint }
}

/** @returns the bytes of flash that were erased for it and programmed, or `flash-write-failed` | `flash-full` | `too-large`; then the
 *  record before it still holds */
export function writeProgress(
  flash: Flash,
  layout: FlashLayout,
  { artifact, release, slot, base, offset }: Progress,
  checkpoint: Uint8Array,
): Result<number, ContractError> {
  const hashes = { artifact: hexToBytes(artifact), release: hexToBytes(release), base: hexToBytes(base) }
  const content = codec.encode({ ...hashes, slot, offset, checkpoint })
  const written = writePair(flash, layout.progress, content)
  if (!written.ok) return written
  const sectors = Math.ceil(frameBytes(content.length, flash.programBytes) / flash.sectorBytes)
  return { ok: true, value: sectors * flash.sectorBytes }
}

/** Strikes the record out; nothing is written when there is none. A failure leaves a stale one. */
export function clearProgress(flash: Flash, layout: FlashLayout): void {
  const payload = readPair(flash, layout.progress)
  if (payload !== undefined && payload.length > 0) writePair(flash, layout.progress, new Uint8Array(0))
}
