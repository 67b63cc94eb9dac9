import { type ContractError, contractError } from '../errors.ts'
import { present } from '../present.ts'
import { err, ok, type Result } from '../result.ts'
import { bytesOfNumber } from './number-run.ts'
import { encodeCheckpoint, restoreCheckpoint } from './patch-checkpoint.ts'
import { malformed, PatchFault } from './patch-fault.ts'
import { PATCH_HEADER_BYTES_MAX, type PatchHeader, readPatchHeader } from './patch-header.ts'
import { STRETCH_AT } from './patch-layout.ts'
import type { PatchSlots } from './patch-space.ts'
import { type PatchDecoderOptions, PatchState, STEP_BYTES, WINDOW_BYTES } from './patch-state.ts'

/** Makes the image that a patch describes, page by page, from the blocks of the patch in order. The patch may be anything: every
 *  bound is checked, the work is bounded by the patch's bytes and the result's, and nothing is written before base and size are known
 *  to fit. Whether the result is the image that was asked for is not judged here: the caller checks its whole hash.
 */
export class PatchDecoder {
  readonly #state: PatchState

  constructor(options: PatchDecoderOptions, slots: PatchSlots) {
    this.#state = new PatchState(options, slots)
  }

  /** The header, once enough of the patch has come. */
  get header(): PatchHeader | undefined {
    return this.#state.header
  }

  /** Bytes of the patch taken so far: where the next block begins. */
  get consumedBytes(): number {
    return this.#state.consumed
  }

  /** Bytes of the result made so far, of which those of a page that is not full are still here. */
  get producedBytes(): number {
    return this.#state.space.produced
  }

  /** Takes the next bytes of the patch and makes as much of the result as they allow.
   *  @param last whether the patch ends with them
   *  @returns whether the result is whole; `patch-malformed` | `patch-truncated` | `unknown-schema-version` | `wrong-base` |
   *    `flash-over-budget`, or what `writePage` failed with. After an error the decoder is of no more use.
   */
  push(block: Uint8Array, last: boolean): Result<'more' | 'done', ContractError> {
    try {
      this.#take(block, last)
    } catch (fault) {
      if (fault instanceof PatchFault) return err(fault.error)
      throw fault
    }
    this.#state.consumed += block.length
    return ok(this.#state.phase === 'done' ? 'done' : 'more')
  }

  #take(block: Uint8Array, last: boolean): void {
    const state = this.#state
    const { range } = state
    const { window } = range
    for (let taken = 0; ; ) {
      window.copyWithin(0, range.at, range.end)
      range.end -= range.at
      range.at = 0
      const part = block.subarray(taken, taken + WINDOW_BYTES - range.end)
      window.set(part, range.end)
      range.end += part.length
      taken += part.length
      const isAll = last && taken === block.length
      this.#run(isAll)
      if (taken === block.length) {
        if (state.phase === 'done') {
          if (range.at < range.end) malformed(`${range.end - range.at} bytes after the end`)
          // The last step may have read more than any writer leaves out.
          if (range.isOverrun) this.#truncated()
        } else if (isAll) this.#truncated()
        return
      }
      if (state.phase === 'done') malformed(`${block.length - taken} bytes after the end`)
    }
  }

  #truncated(): never {
    const detail = `${this.#state.space.produced} of ${this.#state.space.resultBytes} bytes when the patch ended`
    throw new PatchFault(contractError('patch-truncated', detail))
  }

  /** Goes on as long as the window has what a step may need. */
  #run(isAll: boolean): void {
    const state = this.#state
    const { range } = state
    while (state.phase !== 'done') {
      if (state.phase === 'stored') {
        if (!this.#stored()) return
        continue
      }
      if (!isAll && range.end - range.at < STEP_BYTES) return
      if (range.isOverrun) this.#truncated()
      switch (state.phase) {
        case 'header':
          this.#begin(isAll)
          break
        case 'begin':
          range.begin()
          state.phase = 'stretch'
          break
        case 'stretch':
          state.stretch = range.uint(STRETCH_AT, 0)
          if (state.stretch < 0 || state.stretch > state.space.resultBytes - state.space.produced)
            malformed('a stretch too long')
          state.phase = 'bytes'
          break
        case 'bytes':
          this.#byteSteps(isAll)
          break
        case 'copy':
          this.#copyPart()
          break
        case 'describe':
          this.#describe()
          break
        case 'numbers':
          this.#numberSteps(isAll)
          break
      }
    }
  }

  #begin(isAll: boolean): void {
    const state = this.#state
    const { range } = state
    if (!isAll && range.end < PATCH_HEADER_BYTES_MAX) return
    const read = readPatchHeader(range.window.subarray(range.at, range.end))
    if (!read.ok) throw new PatchFault(read.error)
    const { header, headerBytes } = read.value
    state.admit(header)
    range.at += headerBytes
    state.phase = header.method === 'stored' ? 'stored' : 'begin'
    if (state.space.resultBytes === 0) state.phase = 'done'
  }

  /** @returns whether there may be more to do */
  #stored(): boolean {
    const state = this.#state
    const { range } = state
    const length = Math.min(range.end - range.at, state.space.resultBytes - state.space.produced)
    state.space.emitAll(length, (into, done) =>
      into.set(range.window.subarray(range.at + done, range.at + done + into.length)),
    )
    range.at += length
    if (state.space.produced === state.space.resultBytes) state.phase = 'done'
    return state.phase === 'done'
  }

  #byteSteps(isAll: boolean): void {
    const state = this.#state
    const { range } = state
    while (state.stretch > 0) {
      if (!isAll && range.end - range.at < STEP_BYTES) return
      if (range.isOverrun) this.#truncated()
      if (state.bytes.isCopy(state.space.produced, false)) {
        const target = state.space.baseBytes + state.space.produced
        const copy = state.bytes.copy(target, state.space.baseBytes)
        if (copy === undefined || copy.length > state.stretch) malformed('a copy out of bounds')
        state.shift = copy.shift
        state.copy = copy.length
        state.phase = 'copy'
        return
      }
      const { produced, recent } = state.space
      state.space.emit(state.bytes.literal(produced, state.space.baseBytes + produced, recent, state.byteAt, 0))
      state.stretch--
    }
    state.phase = state.space.produced === state.space.resultBytes ? 'done' : 'describe'
  }

  #copyPart(): void {
    const state = this.#state
    const baseBytes = state.space.baseBytes
    const source = baseBytes + state.space.produced - state.shift
    let length = Math.min(state.copy, state.space.room)
    if (source < baseBytes) {
      length = Math.min(length, baseBytes - source)
      state.space.emitAll(length, (into) => state.space.readBase(source, into))
    } else {
      // What is copied may begin in the page and end before it does: byte by byte is right in every case.
      for (let i = 0; i < length; i++) state.space.emit(state.space.byteAt(source + i))
    }
    state.copy -= length
    state.stretch -= length
    if (state.copy === 0) state.phase = 'bytes'
  }

  #describe(): void {
    const state = this.#state
    if (state.header?.method !== 'numbers') malformed('numbers in a patch without them')
    const run = state.numbers.begin({ base: state.bytes.baseEnd, result: state.space.produced })
    if (run === undefined) malformed('no description of numbers')
    const length = run.count * bytesOfNumber(run.kind)
    if (length > state.space.resultBytes - state.space.produced) malformed('more numbers than the result has room for')
    const end = run.source === 'base' ? state.space.baseBytes : run.source === 'result' ? state.space.produced : length
    if (run.source !== 'none' && (run.offset < 0 || run.offset + length > end))
      malformed('predicting numbers out of bounds')
    if (run.source === 'base') state.bytes.baseEnd = run.offset + length
    state.phase = 'numbers'
  }

  #numberSteps(isAll: boolean): void {
    const state = this.#state
    const { range } = state
    const run = present(state.numbers.run, 'the run whose numbers come')
    const width = bytesOfNumber(run.kind)
    const from = run.source === 'none' ? -1 : run.offset + (run.source === 'result' ? state.space.baseBytes : 0)
    while (state.numbers.done < run.count) {
      if (!isAll && range.end - range.at < STEP_BYTES) return
      if (range.isOverrun) this.#truncated()
      let predicting = 0
      if (from >= 0) {
        const at = from + state.numbers.done * width
        for (let i = width - 1; i >= 0; i--) predicting = predicting * 256 + state.space.byteAt(at + i)
      }
      const value = state.numbers.number(predicting, 0)
      state.space.emit(value & 0xff)
      if (width > 1) state.space.emit((value >>> 8) & 0xff)
      if (width > 2) {
        state.space.emit((value >>> 16) & 0xff)
        state.space.emit(value >>> 24)
      }
    }
    state.phase = state.space.produced === state.space.resultBytes ? 'done' : 'stretch'
  }

  /** Everything that is needed to go on after a power cut, at most PATCH_STATE_BYTES and a page. The pages written so far are not part
   *  of it: the next one to be written is at the last multiple of the page at or below `producedBytes`. */
  checkpoint(): Uint8Array {
    return encodeCheckpoint(this.#state)
  }

  /** A decoder that goes on where `checkpoint` was taken, with the same options.
   *  @returns `malformed` when it is no such checkpoint, `wrong-base` when the base is another one now */
  static resume(
    checkpoint: Uint8Array,
    options: PatchDecoderOptions,
    slots: PatchSlots,
  ): Result<PatchDecoder, ContractError> {
    const decoder = new PatchDecoder(options, slots)
    try {
      const restored = restoreCheckpoint(decoder.#state, checkpoint)
      return restored ? ok(decoder) : err(contractError('malformed', 'no checkpoint of a patch'))
    } catch (fault) {
      if (fault instanceof PatchFault) return err(fault.error)
      throw fault
    }
  }
}
