import { type ContractError, contractError } from '../errors.ts'
import { err, ok, type Result } from '../result.ts'
import {
  encodePatchHeader,
  isPatchImage,
  PATCH_HEADER_BYTES_MAX,
  type PatchHeader,
  readPatchHeader,
} from './patch-header.ts'

const CHECKPOINT_FIXED_BYTES = 10

/** Bytes of everything a decoder keeps between two blocks and while it works, without the page. */
export const PATCH_STATE_BYTES = 16 * 1024

/** What a decoder reads and writes. All within bounds that the decoder has checked. */
export interface PatchSlots {
  /** Copies bytes of the base into `into`, whole. */
  readBase(offset: number, into: Uint8Array): void
  /** Copies bytes of the result that `writePage` has taken into `into`, whole. */
  readResult(offset: number, into: Uint8Array): void
  /** Takes the next page of the result: each once, in order, `pageBytes` long but the last. */
  writePage(offset: number, page: Uint8Array): Result<void, ContractError>
}

export interface PatchDecoderOptions {
  readonly pageBytes: number
  /** what the device may take: a longer result is refused before the first page */
  readonly maxResultBytes: number
  /** the image that `readBase` reads; null when there is none */
  readonly base: { readonly bytes: number; readonly sha256: Uint8Array } | null
}

/** Makes the image that a patch describes, page by page, from the blocks of the patch in order. The patch may be anything: every
 *  bound is checked, the work is bounded by its bytes and the result's, and nothing is written before base and size are known to fit.
 *  Whether the result is the image that was asked for is not judged here: the caller checks its whole hash.
 */
export class PatchDecoder {
  readonly #options: PatchDecoderOptions
  readonly #slots: PatchSlots
  readonly #page: Uint8Array
  #header: PatchHeader | undefined
  #held = new Uint8Array(0)
  #consumed = 0
  #produced = 0

  constructor(options: PatchDecoderOptions, slots: PatchSlots) {
    this.#options = options
    this.#slots = slots
    this.#page = new Uint8Array(options.pageBytes)
  }

  /** The header, once enough of the patch has come. */
  get header(): PatchHeader | undefined {
    return this.#header
  }

  /** Bytes of the patch taken so far: where the next block begins. */
  get consumedBytes(): number {
    return this.#consumed
  }

  /** Bytes of the result made so far, of which those of a page that is not full are still here. */
  get producedBytes(): number {
    return this.#produced
  }

  /** Takes the next bytes of the patch and makes as much of the result as they allow.
   *  @returns whether the result is whole; `patch-malformed` | `patch-truncated` | `unknown-schema-version` | `wrong-base` |
   *    `flash-over-budget`, or what `writePage` failed with. After an error the decoder is of no more use.
   */
  push(block: Uint8Array, last: boolean): Result<'more' | 'done', ContractError> {
    this.#consumed += block.length
    const bytes = new Uint8Array(this.#held.length + block.length)
    bytes.set(this.#held)
    bytes.set(block, this.#held.length)
    let at = 0
    if (this.#header === undefined) {
      if (bytes.length < PATCH_HEADER_BYTES_MAX && !last) {
        this.#held = bytes
        return ok('more')
      }
      const read = readPatchHeader(bytes)
      if (!read.ok) return read
      const fits = this.#admit(read.value.header)
      if (!fits.ok) return fits
      this.#header = read.value.header
      at = read.value.headerBytes
    }
    this.#held = new Uint8Array(0)
    return this.#stored(bytes.subarray(at), this.#header.result.bytes, last)
  }

  #admit({ base, result }: PatchHeader): Result<void, ContractError> {
    const own = this.#options.base
    if (base !== null && (own === null || !isPatchImage(base, own.bytes, own.sha256))) {
      return err(contractError('wrong-base', 'the patch is for another base than the one that is here'))
    }
    const { maxResultBytes } = this.#options
    if (result.bytes > maxResultBytes) {
      return err(contractError('flash-over-budget', `the result has ${result.bytes} bytes, at most ${maxResultBytes}`))
    }
    return ok(undefined)
  }

  #stored(bytes: Uint8Array, resultBytes: number, last: boolean): Result<'more' | 'done', ContractError> {
    const { pageBytes } = this.#options
    if (bytes.length > resultBytes - this.#produced) {
      return err(contractError('patch-malformed', 'bytes after the end'))
    }
    let at = 0
    while (at < bytes.length) {
      const used = this.#produced % pageBytes
      const part = bytes.subarray(at, at + pageBytes - used)
      this.#page.set(part, used)
      at += part.length
      this.#produced += part.length
      if (this.#produced % pageBytes === 0 || this.#produced === resultBytes) {
        const begin = this.#produced - used - part.length
        const written = this.#slots.writePage(begin, this.#page.subarray(0, used + part.length))
        if (!written.ok) return written
      }
    }
    if (this.#produced === resultBytes) return ok('done')
    return last
      ? err(contractError('patch-truncated', `${this.#produced} of ${resultBytes} bytes when the patch ended`))
      : ok('more')
  }

  /** Everything that is needed to go on after a power cut, at most PATCH_STATE_BYTES and a page. The pages written so far are not part
   *  of it: the next one to be written is at the last multiple of the page at or below `producedBytes`. */
  checkpoint(): Uint8Array {
    const header = this.#header === undefined ? new Uint8Array(0) : encodePatchHeader(this.#header)
    const held = this.#header === undefined ? this.#held : header
    const page = this.#page.subarray(0, this.#produced % this.#options.pageBytes)
    const out = new Uint8Array(CHECKPOINT_FIXED_BYTES + held.length + page.length)
    const view = new DataView(out.buffer)
    view.setUint32(0, this.#consumed, true)
    view.setUint32(4, this.#produced, true)
    view.setUint8(8, this.#header === undefined ? 0 : 1)
    view.setUint8(9, held.length)
    out.set(held, CHECKPOINT_FIXED_BYTES)
    out.set(page, CHECKPOINT_FIXED_BYTES + held.length)
    return out
  }

  /** A decoder that goes on where `checkpoint` was taken, with the same options.
   *  @returns `malformed` when it is no such checkpoint, `wrong-base` when the base is another one now */
  static resume(
    checkpoint: Uint8Array,
    options: PatchDecoderOptions,
    slots: PatchSlots,
  ): Result<PatchDecoder, ContractError> {
    const malformed = err(contractError('malformed', 'no checkpoint of a patch'))
    if (checkpoint.length < CHECKPOINT_FIXED_BYTES) return malformed
    const view = new DataView(checkpoint.buffer, checkpoint.byteOffset, checkpoint.byteLength)
    const decoder = new PatchDecoder(options, slots)
    const pageAt = CHECKPOINT_FIXED_BYTES + view.getUint8(9)
    const held = checkpoint.slice(CHECKPOINT_FIXED_BYTES, pageAt)
    decoder.#consumed = view.getUint32(0, true)
    decoder.#produced = view.getUint32(4, true)
    if (view.getUint8(8) === 0) decoder.#held = held
    else {
      const read = readPatchHeader(held)
      if (!read.ok) return malformed
      const fits = decoder.#admit(read.value.header)
      if (!fits.ok) return fits
      decoder.#header = read.value.header
    }
    if (checkpoint.length !== pageAt + (decoder.#produced % options.pageBytes)) return malformed
    decoder.#page.set(checkpoint.subarray(pageAt))
    return ok(decoder)
  }
}
