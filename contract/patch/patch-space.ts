import type { ContractError } from '../errors.ts'
import type { Result } from '../result.ts'
import { PatchFault } from './patch-fault.ts'

/** What a decoder reads and writes. All within bounds that the decoder has checked. */
export interface PatchSlots {
  /** Copies bytes of the base into `into`, whole. */
  readBase(offset: number, into: Uint8Array): void
  /** Copies bytes of the result that `writePage` has taken into `into`, whole. */
  readResult(offset: number, into: Uint8Array): void
  /** Takes the next page of the result: each once, in order, `pageBytes` long but the last. */
  writePage(offset: number, page: Uint8Array): Result<void, ContractError>
}

/** Chosen: numbers and expected bytes are read one after the other. */
const CACHE_BYTES = 256

/** Bytes that were read in one go because they are asked for one by one. */
class Cache {
  readonly bytes = new Uint8Array(CACHE_BYTES)
  from = 0
  end = 0
}

/** Base and result as a decoder sees them: one space of addresses, base first, of which the result ends with what was made last. */
export class PatchSpace {
  readonly #page: Uint8Array
  readonly #slots: PatchSlots
  readonly #baseCache = new Cache()
  readonly #resultCache = new Cache()
  baseBytes = 0
  resultBytes = 0
  /** bytes of the result made so far */
  produced = 0
  /** the page's own first byte in the result */
  #pageFrom = 0
  /** the last four bytes of the result, the nearest lowest */
  recent = 0

  constructor(slots: PatchSlots, pageBytes: number) {
    this.#slots = slots
    this.#page = new Uint8Array(pageBytes)
  }

  /** Bytes that the page still takes. */
  get room(): number {
    return this.#pageFrom + this.#page.length - this.produced
  }

  /** What the page holds that was not handed over yet. */
  get pageSoFar(): Uint8Array {
    return this.#page.subarray(0, this.produced - this.#pageFrom)
  }

  /** Takes over what `pageSoFar` was when as much was made as now. */
  restorePage(page: Uint8Array): void {
    this.#pageFrom = this.produced - page.length
    this.#page.set(page)
  }

  readBase(offset: number, into: Uint8Array): void {
    this.#slots.readBase(offset, into)
  }

  /** A byte of base or result, by its address in the common space. */
  byteAt(address: number): number {
    const inResult = address - this.baseBytes
    const pageFrom = this.#pageFrom
    if (inResult >= pageFrom) return this.#page[inResult - pageFrom]!
    const cache = inResult < 0 ? this.#baseCache : this.#resultCache
    if (address < cache.from || address >= cache.end) {
      const end = inResult < 0 ? this.baseBytes : this.baseBytes + pageFrom
      const length = Math.min(CACHE_BYTES, end - address)
      const into = cache.bytes.subarray(0, length)
      if (inResult < 0) this.#slots.readBase(address, into)
      else this.#slots.readResult(inResult, into)
      cache.from = address
      cache.end = address + length
    }
    return cache.bytes[address - cache.from]!
  }

  emit(byte: number): void {
    this.#page[this.produced - this.#pageFrom] = byte
    this.produced++
    this.recent = ((this.recent << 8) | byte) >>> 0
    this.#turnPage()
  }

  /** @param fill puts the bytes from `done` on into what it is given */
  emitAll(length: number, fill: (into: Uint8Array, done: number) => void): void {
    for (let done = 0; done < length; ) {
      const used = this.produced - this.#pageFrom
      const into = this.#page.subarray(used, Math.min(this.#page.length, used + length - done))
      fill(into, done)
      done += into.length
      this.produced += into.length
      for (const byte of into.subarray(-4)) this.recent = ((this.recent << 8) | byte) >>> 0
      this.#turnPage()
    }
  }

  /** Hands a full page over, or the last one. */
  #turnPage(): void {
    const used = this.produced - this.#pageFrom
    if (used < this.#page.length && this.produced < this.resultBytes) return
    const written = this.#slots.writePage(this.#pageFrom, this.#page.subarray(0, used))
    if (!written.ok) throw new PatchFault(written.error)
    if (used === this.#page.length) this.#pageFrom = this.produced
  }
}
