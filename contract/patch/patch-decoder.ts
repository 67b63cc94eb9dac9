import { type ContractError, contractError } from '../errors.ts'
import { present } from '../present.ts'
import { err, ok, type Result } from '../result.ts'
import { BYTE_STEP_BYTES, ByteCoder } from './patch-bytes.ts'
import { malformed, PatchFault } from './patch-fault.ts'
import {
  encodePatchHeader,
  isPatchImage,
  PATCH_HEADER_BYTES_MAX,
  type PatchHeader,
  readPatchHeader,
} from './patch-header.ts'
import { BYTES_AT, NUMBERS_AT, PATCH_MEMORY, STRETCH_AT } from './patch-layout.ts'
import { bytesOfNumber, NUMBER_STEP_BYTES, NumberCoder } from './patch-numbers.ts'
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
const WINDOW_BYTES = 256
const STEP_BYTES = Math.max(BYTE_STEP_BYTES, NUMBER_STEP_BYTES)
type Phase = 'header' | 'stored' | 'begin' | 'stretch' | 'bytes' | 'copy' | 'describe' | 'numbers' | 'done'
const PHASES: readonly Phase[] = [
  'header',
  'stored',
  'begin',
  'stretch',
  'bytes',
  'copy',
  'describe',
  'numbers',
  'done',
]

/** Makes the image that a patch describes, page by page, from the blocks of the patch in order. The patch may be anything: every
 *  bound is checked, the work is bounded by the patch's bytes and the result's, and nothing is written before base and size are known
 *  to fit. Whether the result is the image that was asked for is not judged here: the caller checks its whole hash.
 */
export class PatchDecoder {
  readonly #options: PatchDecoderOptions
  readonly #range = new RangeDecoder(0, WINDOW_BYTES)
  readonly #numbers = new NumberCoder(this.#range, NUMBERS_AT)
  #bytes = new ByteCoder(this.#range, BYTES_AT, 0)
  readonly #space: PatchSpace
  #header: PatchHeader | undefined
  #phase: Phase = 'header'
  #consumed = 0
  /** bytes of the stretch, and of the copy in it, that are still to be made */
  #stretch = 0
  #copy = 0
  #shift = 0

  constructor(options: PatchDecoderOptions, slots: PatchSlots) {
    this.#options = options
    this.#space = new PatchSpace(slots, options.pageBytes)
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
    return this.#space.produced
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
    this.#consumed += block.length
    return ok(this.#phase === 'done' ? 'done' : 'more')
  }

  #take(block: Uint8Array, last: boolean): void {
    const range = this.#range
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
        if (this.#phase === 'done') {
          if (range.at < range.end) malformed(`${range.end - range.at} bytes after the end`)
        } else if (isAll) this.#truncated()
        return
      }
      if (this.#phase === 'done') malformed(`${block.length - taken} bytes after the end`)
    }
  }

  #truncated(): never {
    const detail = `${this.#space.produced} of ${this.#space.resultBytes} bytes when the patch ended`
    throw new PatchFault(contractError('patch-truncated', detail))
  }

  /** Goes on as long as the window has what a step may need. */
  #run(isAll: boolean): void {
    const range = this.#range
    while (this.#phase !== 'done') {
      if (this.#phase === 'stored') {
        if (!this.#stored()) return
        continue
      }
      if (!isAll && range.end - range.at < STEP_BYTES) return
      if (range.isOverrun) this.#truncated()
      switch (this.#phase) {
        case 'header':
          this.#begin(isAll)
          break
        case 'begin':
          range.begin()
          this.#phase = 'stretch'
          break
        case 'stretch':
          this.#stretch = range.uint(STRETCH_AT, 0)
          if (this.#stretch < 0 || this.#stretch > this.#space.resultBytes - this.#space.produced)
            malformed('a stretch too long')
          this.#phase = 'bytes'
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
    const range = this.#range
    if (!isAll && range.end < PATCH_HEADER_BYTES_MAX) return
    const read = readPatchHeader(range.window.subarray(range.at, range.end))
    if (!read.ok) throw new PatchFault(read.error)
    const { header, headerBytes } = read.value
    this.#admit(header)
    range.at += headerBytes
    this.#phase = header.method === 'stored' ? 'stored' : 'begin'
    if (this.#space.resultBytes === 0) this.#phase = 'done'
  }

  #admit(header: PatchHeader): void {
    const { base, maxResultBytes } = this.#options
    if (header.base !== null && (base === null || !isPatchImage(header.base, base.bytes, base.sha256))) {
      const detail = 'the patch is for another base than the one that is here'
      throw new PatchFault(contractError('wrong-base', detail))
    }
    const { bytes } = header.result
    if (bytes > maxResultBytes) {
      const detail = `the result has ${bytes} bytes, at most ${maxResultBytes}`
      throw new PatchFault(contractError('flash-over-budget', detail))
    }
    this.#header = header
    this.#space.resultBytes = bytes
    this.#space.baseBytes = header.base?.bytes ?? 0
    if (header.method === 'stored') return
    const { bits, slots } = PATCH_MEMORY[header.method]
    this.#range.reserve(bits)
    this.#bytes = new ByteCoder(this.#range, BYTES_AT, slots)
    this.#bytes.shifts[0] = this.#space.baseBytes
  }

  /** @returns whether there may be more to do */
  #stored(): boolean {
    const range = this.#range
    const length = Math.min(range.end - range.at, this.#space.resultBytes - this.#space.produced)
    this.#space.emitAll(length, (into, done) =>
      into.set(range.window.subarray(range.at + done, range.at + done + into.length)),
    )
    range.at += length
    if (this.#space.produced === this.#space.resultBytes) this.#phase = 'done'
    return this.#phase === 'done'
  }

  #byteSteps(isAll: boolean): void {
    const range = this.#range
    const bytes = this.#bytes
    while (this.#stretch > 0) {
      if (!isAll && range.end - range.at < STEP_BYTES) return
      if (range.isOverrun) this.#truncated()
      if (bytes.isCopy(this.#space.produced, false)) {
        const target = this.#space.baseBytes + this.#space.produced
        const copy = bytes.copy(target, this.#space.baseBytes)
        if (copy === undefined || copy.length > this.#stretch) malformed('a copy out of bounds')
        this.#shift = copy.shift
        this.#copy = copy.length
        this.#phase = 'copy'
        return
      }
      const source = this.#space.baseBytes + this.#space.produced - bytes.shifts[0]!
      const expected = bytes.shifts[0]! > 0 && source >= 0 ? this.#space.byteAt(source) : -1
      this.#space.emit(bytes.literal(this.#space.produced, this.#space.recent, expected, 0))
      this.#stretch--
    }
    this.#phase = this.#space.produced === this.#space.resultBytes ? 'done' : 'describe'
  }

  #copyPart(): void {
    const baseBytes = this.#space.baseBytes
    const source = baseBytes + this.#space.produced - this.#shift
    let length = Math.min(this.#copy, this.#space.room)
    if (source < baseBytes) {
      length = Math.min(length, baseBytes - source)
      this.#space.emitAll(length, (into) => this.#space.readBase(source, into))
    } else {
      // What is copied may begin in the page and end before it does: byte by byte is right in every case.
      for (let i = 0; i < length; i++) this.#space.emit(this.#space.byteAt(source + i))
    }
    this.#copy -= length
    this.#stretch -= length
    if (this.#copy === 0) this.#phase = 'bytes'
  }

  #describe(): void {
    if (this.#header?.method !== 'numbers') malformed('numbers in a patch without them')
    const numbers = this.#numbers
    const run = numbers.begin({ base: this.#bytes.baseEnd, result: this.#space.produced })
    if (run === undefined) malformed('no description of numbers')
    const length = run.count * bytesOfNumber(run.kind)
    if (length > this.#space.resultBytes - this.#space.produced) malformed('more numbers than the result has room for')
    const end = run.source === 'base' ? this.#space.baseBytes : run.source === 'result' ? this.#space.produced : length
    if (run.source !== 'none' && (run.offset < 0 || run.offset + length > end))
      malformed('predicting numbers out of bounds')
    if (run.source === 'base') this.#bytes.baseEnd = run.offset + length
    this.#phase = 'numbers'
  }

  #numberSteps(isAll: boolean): void {
    const range = this.#range
    const numbers = this.#numbers
    const run = present(numbers.run, 'the run whose numbers come')
    const width = bytesOfNumber(run.kind)
    const from = run.source === 'none' ? -1 : run.offset + (run.source === 'result' ? this.#space.baseBytes : 0)
    while (numbers.done < run.count) {
      if (!isAll && range.end - range.at < STEP_BYTES) return
      if (range.isOverrun) this.#truncated()
      let predicting = 0
      if (from >= 0) {
        const at = from + numbers.done * width
        for (let i = width - 1; i >= 0; i--) predicting = predicting * 256 + this.#space.byteAt(at + i)
      }
      const value = numbers.number(predicting, 0)
      this.#space.emit(value & 0xff)
      if (width > 1) this.#space.emit((value >>> 8) & 0xff)
      if (width > 2) {
        this.#space.emit((value >>> 16) & 0xff)
        this.#space.emit(value >>> 24)
      }
    }
    this.#phase = this.#space.produced === this.#space.resultBytes ? 'done' : 'stretch'
  }

  /** Everything that is needed to go on after a power cut, at most PATCH_STATE_BYTES and a page. The pages written so far are not part
   *  of it: the next one to be written is at the last multiple of the page at or below `producedBytes`. */
  checkpoint(): Uint8Array {
    const header = this.#header === undefined ? new Uint8Array(0) : encodePatchHeader(this.#header)
    const scalars = Float64Array.from(this.#scalars(header.length))
    const range = this.#range
    const parts = [
      new Uint8Array(scalars.buffer),
      header,
      range.window.subarray(range.at, range.end),
      ...(this.#phase === 'header' || this.#phase === 'stored' ? [] : this.#tables()),
      this.#space.pageSoFar,
    ]
    const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
    let at = 0
    for (const part of parts) {
      out.set(part, at)
      at += part.length
    }
    return out
  }

  #tables(): Uint8Array[] {
    const { probability, seen } = this.#range
    const { slots, weights } = this.#bytes
    return [probability, seen, slots, weights].map((table) => new Uint8Array(table.buffer))
  }

  #scalars(headerBytes: number): number[] {
    const range = this.#range
    const bytes = this.#bytes
    const own = [
      PHASES.indexOf(this.#phase),
      this.#consumed,
      this.#space.produced,
      this.#stretch,
      this.#copy,
      this.#shift,
    ]
    return [
      headerBytes,
      range.end - range.at,
      ...own,
      this.#space.recent,
      ...range.scalars(),
      bytes.history,
      bytes.baseEnd,
      ...bytes.shifts,
      ...this.#numbers.scalars(),
    ]
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
      return decoder.#restore(checkpoint) ? ok(decoder) : err(contractError('malformed', 'no checkpoint of a patch'))
    } catch (fault) {
      if (fault instanceof PatchFault) return err(fault.error)
      throw fault
    }
  }

  /** The flash may hold anything: what is taken over is within the bounds that the rest relies on. */
  #restore(checkpoint: Uint8Array): boolean {
    const scalarBytes = 8 * this.#scalars(0).length
    if (checkpoint.length < scalarBytes) return false
    const scalars = Array.from(new Float64Array(checkpoint.slice(0, scalarBytes).buffer))
    if (!scalars.every((value) => Number.isSafeInteger(value))) return false
    let at = scalarBytes
    const take = (length: number): Uint8Array => {
      at += length
      return checkpoint.subarray(at - length, at)
    }
    const next = (): number => present(scalars.shift(), 'a number of the checkpoint')
    const [headerBytes, held, phase] = [next(), next(), PHASES[next()]]
    if (phase === undefined || headerBytes < 0 || held < 0 || held > WINDOW_BYTES) return false
    if (headerBytes > PATCH_HEADER_BYTES_MAX) return false
    const header = readPatchHeader(take(headerBytes))
    if (header.ok) this.#admit(header.value.header)
    else if (phase !== 'header') return false
    this.#phase = phase
    this.#consumed = next()
    this.#space.produced = next()
    this.#stretch = next()
    this.#copy = next()
    this.#shift = next()
    this.#space.recent = next()
    const range = this.#range
    range.window.set(take(held).subarray(0, held))
    range.end = held
    range.restore(next)
    const bytes = this.#bytes
    bytes.history = next() & 7
    bytes.baseEnd = next()
    for (let i = 0; i < bytes.shifts.length; i++) bytes.shifts[i] = next()
    if (!this.#numbers.restore(next)) return false
    if (phase !== 'header' && phase !== 'stored') {
      for (const table of this.#tables()) {
        const part = take(table.length)
        if (part.length === table.length) table.set(part)
      }
      range.bound()
    }
    const page = take(this.#space.produced % this.#options.pageBytes)
    if (at !== checkpoint.length) return false
    this.#space.restorePage(page)
    return this.#isSound()
  }

  #isSound(): boolean {
    const left = this.#space.resultBytes - this.#space.produced
    const within = (value: number, most: number): boolean => value >= 0 && value <= most
    const target = this.#space.baseBytes + this.#space.produced
    const { run, done } = this.#numbers
    const phase = this.#phase
    if (!within(this.#space.produced, this.#space.resultBytes) || !within(this.#consumed, Number.MAX_SAFE_INTEGER))
      return false
    if (!within(this.#stretch, left) || !within(this.#copy, this.#stretch)) return false
    if (phase === 'copy' && (this.#copy === 0 || this.#shift < 1 || this.#shift > target)) return false
    if (!within(this.#bytes.baseEnd, this.#space.baseBytes)) return false
    if (phase !== 'numbers') return phase === 'done' ? left === 0 : true
    if (run === undefined || !within(done, run.count) || this.#header?.method !== 'numbers') return false
    const length = run.count * bytesOfNumber(run.kind)
    const ahead = (run.count - done) * bytesOfNumber(run.kind)
    const end = run.source === 'base' ? this.#space.baseBytes : this.#space.produced
    return ahead <= left && (run.source === 'none' || (run.offset >= 0 && run.offset + length <= end))
  }
}
