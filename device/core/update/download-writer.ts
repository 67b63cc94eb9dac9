import { bytesToHex, hexToBytes } from '../../../contract/bytes.ts'
import { type ContractError, contractError } from '../../../contract/errors.ts'
import { PatchDecoder } from '../../../contract/patch/patch-decoder.ts'
import { isPatchImage } from '../../../contract/patch/patch-header.ts'
import type { PatchSlots } from '../../../contract/patch/patch-space.ts'
import type { Release } from '../../../contract/release.ts'
import { err, ok, type Result } from '../../../contract/result.ts'
import type { Flash } from '../../ports/flash.ts'
import type { SlotImage } from '../flash/boot-record.ts'
import { type FlashLayout, otherSlot, type SlotIndex } from '../flash/flash-layout.ts'
import { type Progress, readProgress, writeProgress } from '../flash/progress-record.ts'
import { programSlot } from '../flash/provision.ts'
import type { Artifact } from './download.ts'

/** One block of a download, in order. */
export interface BlockOrder {
  readonly release: Release
  readonly artifact: Artifact
  /** the slot that is written; the other one holds the image that runs, which a patch reads */
  readonly slot: SlotIndex
  readonly base: SlotImage
  readonly offset: number
  readonly data: Uint8Array
  readonly last: boolean
}

/** What has become of a block. */
export interface BlockApplied {
  /** bytes of the artifact that were taken so far */
  readonly offset: number
  /** as it is in flash now */
  readonly progress: Progress
  /** bytes of flash that were erased and programmed for it, slot and record */
  readonly writtenBytes: number
}

/** Writes downloads into a slot: a bundle as it comes, a patch through its decoder, whose state lives here between two blocks. After
 *  each block the flash says how far it has come, so that a reset costs the block that was under way and no more.
 */
export class DownloadWriter {
  readonly #flash: Flash
  readonly #layout: FlashLayout
  #patch: { readonly sha256: string; readonly decoder: PatchDecoder } | undefined
  #writtenBytes = 0

  constructor(flash: Flash, layout: FlashLayout) {
    this.#flash = flash
    this.#layout = layout
  }

  /** Drops what it holds of a download in RAM, as a reset does. */
  forget(): void {
    this.#patch = undefined
  }

  /** Writes a block, then how far the download has come.
   *  @returns `flash-full` | `flash-write-failed`; of a patch besides `patch-malformed`, `patch-truncated`, `unknown-schema-version`,
   *    `wrong-base`, `flash-over-budget`, `contradicts-release`, and `malformed` when the record in flash does not lead to this block
   */
  apply(order: BlockOrder): Result<BlockApplied, ContractError> {
    this.#writtenBytes = 0
    const applied = this.#apply(order)
    if (!applied.ok) this.forget()
    return applied
  }

  #apply(order: BlockOrder): Result<BlockApplied, ContractError> {
    const { release, artifact, slot, base, offset, data, last } = order
    const end = offset + data.length
    let checkpoint = new Uint8Array(0)
    if (artifact.kind === 'image') {
      const written = this.#program(slot, offset, data)
      if (!written.ok) return written
    } else {
      const pushed = this.#push(order)
      if (!pushed.ok) return pushed
      checkpoint = pushed.value
    }
    // A sector that is not full could not be erased again without the bytes before: a bundle goes on at its beginning. Of a patch, those
    // bytes are in the checkpoint.
    const { sectorBytes } = this.#flash
    const resume = artifact.kind === 'patch' || last ? end : Math.floor(end / sectorBytes) * sectorBytes
    const progress: Progress = {
      artifact: artifact.sha256,
      release: release.sha256,
      slot,
      base: bytesToHex(base.sha256),
      offset: resume,
    }
    const recorded = writeProgress(this.#flash, this.#layout, progress, checkpoint)
    if (!recorded.ok) return recorded
    return ok({ offset: end, progress, writtenBytes: this.#writtenBytes + recorded.value })
  }

  /** @returns the decoder's checkpoint; nothing after the last block */
  #push(order: BlockOrder): Result<Uint8Array<ArrayBuffer>, ContractError> {
    const { artifact, data, last } = order
    const found = this.#decoder(order)
    if (!found.ok) return found
    const decoder = found.value
    const pushed = decoder.push(data, last)
    if (!pushed.ok) return pushed
    const agrees = agreesWithHeader(decoder, order.release)
    if (!agrees.ok) return agrees
    if (!last && pushed.value === 'done') return err(contractError('patch-malformed', 'bytes after the end'))
    this.#patch = last ? undefined : { sha256: artifact.sha256, decoder }
    return ok(last ? new Uint8Array(0) : Uint8Array.from(decoder.checkpoint()))
  }

  #decoder(order: BlockOrder): Result<PatchDecoder, ContractError> {
    const { release, artifact, slot, base, offset } = order
    const held = this.#patch
    if (held?.sha256 === artifact.sha256 && held.decoder.consumedBytes === offset) return ok(held.decoder)
    const pageBytes = this.#flash.sectorBytes
    const options = { pageBytes, maxResultBytes: release.bytes, base }
    const slots: PatchSlots = {
      readBase: (at, into) => this.#read(otherSlot(slot), at, into),
      readResult: (at, into) => this.#read(slot, at, into),
      writePage: (at, page) => {
        // Before the first page: the header has been read, the block not yet judged.
        const agrees = agreesWithHeader(decoder, release)
        return agrees.ok ? this.#program(slot, at, page) : agrees
      },
    }
    let decoder = new PatchDecoder(options, slots)
    if (offset === 0) return ok(decoder)
    const recorded = readProgress(this.#flash, this.#layout)
    if (recorded?.progress.artifact !== artifact.sha256 || recorded.progress.offset !== offset) {
      return err(contractError('malformed', `no record of a download at ${offset}`))
    }
    const resumed = PatchDecoder.resume(recorded.checkpoint, options, slots)
    if (resumed.ok) decoder = resumed.value
    return resumed
  }

  #read(slot: SlotIndex, offset: number, into: Uint8Array): void {
    into.set(this.#flash.read(this.#layout.slots[slot] + offset, into.length))
  }

  #program(slot: SlotIndex, offset: number, data: Uint8Array): Result<void, ContractError> {
    this.#writtenBytes += data.length
    return programSlot(this.#flash, this.#layout, slot, offset, data)
  }
}

/** A patch that says itself that it makes another image is not gone on with. */
function agreesWithHeader({ header }: PatchDecoder, release: Release): Result<void, ContractError> {
  if (header === undefined || isPatchImage(header.result, release.bytes, hexToBytes(release.sha256)))
    return ok(undefined)
  return err(contractError('contradicts-release', 'the patch makes another image than the release'))
}
