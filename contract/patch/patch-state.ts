import { contractError } from '../errors.ts'
import { BYTE_STEP_BYTES, ByteCoder } from './patch-bytes.ts'
import { PatchFault } from './patch-fault.ts'
import { isPatchImage, type PatchHeader } from './patch-header.ts'
import { BYTES_AT, NUMBERS_AT, PATCH_MEMORY } from './patch-layout.ts'
import { NUMBER_STEP_BYTES, NumberCoder } from './patch-numbers.ts'
import { type PatchSlots, PatchSpace } from './patch-space.ts'
import { RangeDecoder } from './range-decoder.ts'

/** Bytes of everything a decoder keeps between two blocks and while it works, without the page. `test/unit/contract/patch` adds up what
 *  it really allocates. */
export const PATCH_STATE_BYTES = 16 * 1024

export interface PatchDecoderOptions {
  readonly pageBytes: number
  /** what the device may take: a longer result is refused before the first page */
  readonly maxResultBytes: number
  /** the image that `readBase` reads; null when there is none */
  readonly base: { readonly bytes: number; readonly sha256: Uint8Array } | null
}

/** Chosen: what one step may read, and as much again, so that steps are many to a refill. */
export const WINDOW_BYTES = 256
export const STEP_BYTES = Math.max(BYTE_STEP_BYTES, NUMBER_STEP_BYTES)
/** What a decoder is about to read; a checkpoint has the index. */
export const PATCH_PHASES = [
  'header',
  'stored',
  'begin',
  'stretch',
  'bytes',
  'copy',
  'describe',
  'numbers',
  'done',
] as const
export type PatchPhase = (typeof PATCH_PHASES)[number]

/** All that a decoder knows between two blocks, which is what its checkpoints hold. */
export class PatchState {
  readonly options: PatchDecoderOptions
  readonly range = new RangeDecoder(0, WINDOW_BYTES)
  readonly numbers = new NumberCoder(this.range, NUMBERS_AT)
  bytes = new ByteCoder(this.range, BYTES_AT, 1, 0)
  readonly space: PatchSpace
  /** of base or result, by its address in the common space */
  readonly byteAt = (address: number): number => this.space.byteAt(address)
  header: PatchHeader | undefined
  phase: PatchPhase = 'header'
  /** bytes of the patch taken so far */
  consumed = 0
  /** bytes of the stretch, and of the copy in it, that are still to be made */
  stretch = 0
  copy = 0
  shift = 0

  constructor(options: PatchDecoderOptions, slots: PatchSlots) {
    this.options = options
    this.space = new PatchSpace(slots, options.pageBytes)
  }

  /** Takes a header over, and makes the room its method needs.
   *  @throws PatchFault `wrong-base` | `flash-over-budget` */
  admit(header: PatchHeader): void {
    const { base, maxResultBytes } = this.options
    if (header.base !== null && (base === null || !isPatchImage(header.base, base.bytes, base.sha256))) {
      const detail = 'the patch is for another base than the one that is here'
      throw new PatchFault(contractError('wrong-base', detail))
    }
    const { bytes } = header.result
    if (bytes > maxResultBytes) {
      const detail = `the result has ${bytes} bytes, at most ${maxResultBytes}`
      throw new PatchFault(contractError('flash-over-budget', detail))
    }
    this.header = header
    this.space.resultBytes = bytes
    this.space.baseBytes = header.base?.bytes ?? 0
    if (header.method === 'stored') return
    const { bits, slots } = PATCH_MEMORY[header.method]
    this.range.reserve(bits)
    this.bytes = new ByteCoder(this.range, BYTES_AT, header.version, slots)
    this.bytes.shifts[0] = this.space.baseBytes
  }
}
