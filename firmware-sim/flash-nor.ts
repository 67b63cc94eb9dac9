import { type ContractError, contractError } from '../contract/errors.ts'
import { present } from '../contract/present.ts'
import type { SeededRandom } from '../contract/random.ts'
import { err, ok, type Result } from '../contract/result.ts'
import type { Flash } from '../device/ports/flash.ts'

export type FlashOperation =
  | { readonly kind: 'erase'; readonly offset: number }
  | { readonly kind: 'program'; readonly offset: number; readonly data: Uint8Array }

/** What becomes of an operation, apart from success. The power goes with `before`, `after`, `torn` and `half-erased`: nothing that
 *  the firmware does until `powerUp` has an effect, and it does not learn of it. */
export type FlashFault =
  | { readonly kind: 'before' }
  | { readonly kind: 'after' }
  /** `bytes` bytes are programmed; of the next one, those zero bits that `mask` does not hold up */
  | { readonly kind: 'torn'; readonly bytes: number; readonly mask: number }
  /** each byte of the sector is erased, old, or of any value in between; the seed says which */
  | { readonly kind: 'half-erased'; readonly random: SeededRandom }
  /** refused by the chip, the power stays; what happened meanwhile is a torn or half-erased sector, or nothing */
  | { readonly kind: 'failed'; readonly random: SeededRandom }

export interface FlashNorOptions {
  readonly sizeBytes: number
  readonly sectorBytes?: number
  readonly programBytes?: number
  /** operations after which erase and program fail with this code, as a worn-out or full medium does */
  readonly failAfter?: { readonly operations: number; readonly code: 'flash-full' | 'flash-write-failed' }
}

/** The content of a chip. Sectors are never written in place, so an image of the whole chip costs a few pointers; an absent one is
 *  erased. */
export type FlashImage = ReadonlyMap<number, Uint8Array>

/** Bits of a sector that a cut has left undecided, by the sector's content: so an image of the chip has them too. */
const UNDECIDED = new WeakMap<Uint8Array, Uint8Array>()

/** NOR flash in memory, stricter than hardware: only whole sectors are erased, only erased bytes are programmed, only in aligned
 *  words. Breaking a rule throws, because it is a bug of the firmware. Sectors are allocated when they are first programmed,
 *  so that a fleet of thousands fits in memory. */
export class FlashNor implements Flash {
  readonly sizeBytes: number
  readonly sectorBytes: number
  readonly programBytes: number
  /** asked before each operation what becomes of it; undefined: it succeeds */
  onOperation: ((operation: FlashOperation, index: number) => FlashFault | undefined) | undefined
  /** Draws what undecided bits read as, each time anew. With it the word that was being programmed, and what of a sector was not erased yet,
   *  are undecided after a cut, until the sector is erased again; without it a cut leaves every bit one thing or the other. */
  undecided: SeededRandom | undefined
  readonly #failAfter: FlashNorOptions['failAfter']
  #sectors = new Map<number, Uint8Array>()
  #operations = 0
  #dead = false
  #read = new Set<number>()
  #erased = new Set<number>()

  constructor({ sizeBytes, sectorBytes = 4_096, programBytes = 16, failAfter }: FlashNorOptions) {
    this.sizeBytes = sizeBytes
    this.sectorBytes = sectorBytes
    this.programBytes = programBytes
    this.#failAfter = failAfter
  }

  /** erase and program operations so far */
  get operations(): number {
    return this.#operations
  }

  /** the power is gone */
  get dead(): boolean {
    return this.#dead
  }

  powerUp(): void {
    this.#dead = false
  }

  image(): FlashImage {
    return new Map(this.#sectors)
  }

  restore(image: FlashImage): void {
    this.#sectors = new Map(image)
    this.#dead = false
  }

  /** The bytes of a sector as they are, undefined when erased; the object changes with the content. */
  sector(index: number): Uint8Array | undefined {
    return this.#sectors.get(index)
  }

  /** Begins to note which sectors are read before they are erased: what follows is a function of these, and of nothing else of
   *  this chip. */
  watch(): void {
    this.#read = new Set()
    this.#erased = new Set()
  }

  /** sectors whose content mattered since `watch`, ascending */
  get watched(): readonly number[] {
    return [...this.#read].sort((a, b) => a - b)
  }

  read(offset: number, length: number): Uint8Array {
    this.#bound(offset, length)
    const out = new Uint8Array(length).fill(0xff)
    for (let at = offset; at < offset + length; ) {
      const index = Math.floor(at / this.sectorBytes)
      const within = at - index * this.sectorBytes
      const take = Math.min(this.sectorBytes - within, offset + length - at)
      const sector = this.#sectors.get(index)
      if (!this.#erased.has(index)) this.#read.add(index)
      if (sector !== undefined) out.set(sector.subarray(within, within + take), at - offset)
      const bits = sector && UNDECIDED.get(sector)
      if (bits !== undefined && this.undecided !== undefined) {
        for (let i = 0; i < take; i++) {
          const mask = bits[within + i] ?? 0
          if (mask !== 0) out[at - offset + i]! ^= mask & Math.floor(this.undecided.next() * 256)
        }
      }
      at += take
    }
    return out
  }

  erase(offset: number): Result<void, ContractError> {
    this.#bound(offset, this.sectorBytes)
    if (offset % this.sectorBytes !== 0) throw new RangeError(`erase at ${offset} is not on a sector`)
    return this.#operate({ kind: 'erase', offset })
  }

  program(offset: number, data: Uint8Array): Result<void, ContractError> {
    this.#bound(offset, data.length)
    if (offset % this.programBytes !== 0 || data.length % this.programBytes !== 0) {
      throw new RangeError(`program of ${data.length} bytes at ${offset} is not aligned to ${this.programBytes}`)
    }
    return this.#operate({ kind: 'program', offset, data })
  }

  /** Flips one bit of each of `count` bytes in a range, as years and radiation do. */
  rot(offset: number, length: number, count: number, random: SeededRandom): void {
    this.#bound(offset, length)
    for (let i = 0; i < count; i++) {
      const at = offset + Math.floor(random.next() * length)
      const sector = this.#writable(Math.floor(at / this.sectorBytes))
      sector[at % this.sectorBytes]! ^= 1 << Math.floor(random.next() * 8)
    }
  }

  /** Performs an operation, whole or in part, on the medium itself: no counting, no power. */
  apply(operation: FlashOperation, fault?: FlashFault): void {
    if (fault?.kind === 'before') return
    if (operation.kind === 'erase') this.#erase(operation.offset, fault)
    else this.#program(operation.offset, operation.data, fault)
  }

  #operate(operation: FlashOperation): Result<void, ContractError> {
    if (this.#dead) return ok(undefined)
    const index = this.#operations++
    if (this.#failAfter !== undefined && this.#operations > this.#failAfter.operations) {
      return err(contractError(this.#failAfter.code, `flash operation ${this.#operations}`))
    }
    const fault = this.onOperation?.(operation, index)
    // The rules hold for the whole operation, however little of it happens.
    if (operation.kind === 'program') this.#mustBeErased(operation.offset, operation.data)
    this.apply(operation, fault?.kind === 'failed' ? faultOf(operation, fault.random) : fault)
    if (fault?.kind === 'failed') return err(contractError('flash-write-failed', `flash operation ${index + 1}`))
    if (fault !== undefined) this.#dead = true
    return ok(undefined)
  }

  #erase(offset: number, fault: FlashFault | undefined): void {
    const index = offset / this.sectorBytes
    this.#erased.add(index)
    if (fault?.kind !== 'half-erased') {
      this.#sectors.delete(index)
      return
    }
    const { random } = fault
    const sector = this.#writable(index)
    // Anything from hardly begun to nearly done, and at either end.
    const done = random.next()
    const wild = random.next() * 0.5
    // Bits that were programmed, and on their way.
    const bits = sector.map((byte) => ~byte)
    for (let i = 0; i < sector.length; i++) {
      if (random.next() >= done) continue
      sector[i] = random.next() < wild ? Math.floor(random.next() * 256) : 0xff
    }
    if (this.undecided !== undefined) UNDECIDED.set(sector, bits)
  }

  #program(offset: number, data: Uint8Array, fault: FlashFault | undefined): void {
    const whole = fault?.kind === 'torn' ? Math.min(fault.bytes, data.length) : data.length
    const touched = fault?.kind === 'torn' && whole < data.length ? whole + 1 : whole
    for (let at = 0; at < touched; ) {
      const index = Math.floor((offset + at) / this.sectorBytes)
      const within = offset + at - index * this.sectorBytes
      const take = Math.min(this.sectorBytes - within, touched - at)
      if (!this.#erased.has(index)) this.#read.add(index)
      const sector = this.#writable(index)
      for (let i = 0; i < take; i++) {
        const mask = fault?.kind === 'torn' && at + i === whole ? fault.mask : 0
        sector[within + i]! &= data[at + i]! | mask
      }
      at += take
    }
    if (touched > whole && this.undecided !== undefined) this.#leaveUndecided(offset, data, whole, this.undecided)
  }

  /** The word in which a program was cut: early, so that each bit which it was to change may have changed or not, for every reader anew; or
   *  so late that this is true of a single bit. */
  #leaveUndecided(offset: number, data: Uint8Array, at: number, random: SeededRandom): void {
    const from = at - (at % this.programBytes)
    const word = data.subarray(from, from + this.programBytes)
    const sector = present(this.#sectors.get(Math.floor((offset + from) / this.sectorBytes)), 'a sector just written')
    const within = (offset + from) % this.sectorBytes
    const bits = UNDECIDED.get(sector) ?? new Uint8Array(this.sectorBytes)
    UNDECIDED.set(sector, bits)
    const changing = [...word.keys()].filter((i) => word[i] !== 0xff)
    const isLate = random.next() < 0.5
    for (const i of changing) {
      if (isLate) sector[within + i]! &= word[i]!
      else bits[within + i]! |= ~word[i]!
    }
    const last = changing[Math.floor(random.next() * changing.length)]
    if (!isLate || last === undefined) return
    // Its lowest bit that changes.
    const zeros = ~word[last]! & 0xff
    bits[within + last]! |= zeros & -zeros
  }

  #mustBeErased(offset: number, data: Uint8Array): void {
    for (let i = 0; i < data.length; i++) {
      if (data[i] === 0xff) continue
      const sector = this.#sectors.get(Math.floor((offset + i) / this.sectorBytes))
      const within = (offset + i) % this.sectorBytes
      if (sector !== undefined && (sector[within] !== 0xff || (UNDECIDED.get(sector)?.[within] ?? 0) !== 0)) {
        throw new RangeError(`program over a byte at ${offset + i} that is not erased`)
      }
    }
  }

  #writable(index: number): Uint8Array {
    const former = this.#sectors.get(index)
    const sector = former === undefined ? new Uint8Array(this.sectorBytes).fill(0xff) : former.slice()
    const bits = former && UNDECIDED.get(former)
    if (bits !== undefined) UNDECIDED.set(sector, bits.slice())
    this.#sectors.set(index, sector)
    return sector
  }

  #bound(offset: number, length: number): void {
    if (offset < 0 || offset + length > this.sizeBytes)
      throw new RangeError(`${length} bytes at ${offset} of ${this.sizeBytes}`)
  }
}

/** A share of operations fails, as on a chip at the end of its life.
 *  @param within range of offsets that is worn; the rest is sound */
export const failingAt =
  (rate: number, random: SeededRandom, within: { readonly from: number; readonly to: number }) =>
  ({ offset }: FlashOperation): FlashFault | undefined =>
    offset >= within.from && offset < within.to && random.next() < rate ? { kind: 'failed', random } : undefined

/** A fault in the middle of an operation, drawn. */
export function faultOf(operation: FlashOperation, random: SeededRandom): FlashFault {
  if (random.next() < 0.2) return { kind: 'before' }
  if (operation.kind === 'erase') return { kind: 'half-erased', random }
  const bytes = Math.floor(random.next() * operation.data.length)
  return { kind: 'torn', bytes, mask: Math.floor(random.next() * 256) }
}
