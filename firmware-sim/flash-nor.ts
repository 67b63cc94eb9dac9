import { type ContractError, contractError } from '../contract/errors.ts'
import { err, ok, type Result } from '../contract/result.ts'
import type { Flash } from '../device/ports/flash.ts'

export interface FlashNorOptions {
  readonly sizeBytes: number
  readonly sectorBytes?: number
  readonly programBytes?: number
  /** operations after which erase and program fail with this code, as a worn-out or full medium does */
  readonly failAfter?: { readonly operations: number; readonly code: 'flash-full' | 'flash-write-failed' }
}

/** NOR flash in memory, stricter than hardware: only whole sectors are erased, only erased bytes are programmed, only in aligned
 *  words. Breaking a rule throws, because it is a bug of the firmware. Sectors are allocated when they are first programmed,
 *  so that a fleet of thousands fits in memory. */
export class FlashNor implements Flash {
  readonly sizeBytes: number
  readonly sectorBytes: number
  readonly programBytes: number
  readonly #sectors = new Map<number, Uint8Array>()
  readonly #failAfter: FlashNorOptions['failAfter']
  #operations = 0

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

  read(offset: number, length: number): Uint8Array {
    this.#bound(offset, length)
    const out = new Uint8Array(length).fill(0xff)
    for (let at = offset; at < offset + length; ) {
      const index = Math.floor(at / this.sectorBytes)
      const within = at - index * this.sectorBytes
      const take = Math.min(this.sectorBytes - within, offset + length - at)
      const sector = this.#sectors.get(index)
      if (sector !== undefined) out.set(sector.subarray(within, within + take), at - offset)
      at += take
    }
    return out
  }

  erase(offset: number): Result<void, ContractError> {
    this.#bound(offset, this.sectorBytes)
    if (offset % this.sectorBytes !== 0) throw new RangeError(`erase at ${offset} is not on a sector`)
    const failure = this.#count()
    if (failure !== undefined) return err(failure)
    this.#sectors.delete(offset / this.sectorBytes)
    return ok(undefined)
  }

  program(offset: number, data: Uint8Array): Result<void, ContractError> {
    this.#bound(offset, data.length)
    if (offset % this.programBytes !== 0 || data.length % this.programBytes !== 0) {
      throw new RangeError(`program of ${data.length} bytes at ${offset} is not aligned to ${this.programBytes}`)
    }
    const failure = this.#count()
    if (failure !== undefined) return err(failure)
    for (let at = 0; at < data.length; ) {
      const index = Math.floor((offset + at) / this.sectorBytes)
      const within = offset + at - index * this.sectorBytes
      const take = Math.min(this.sectorBytes - within, data.length - at)
      const sector = this.#sectors.get(index) ?? new Uint8Array(this.sectorBytes).fill(0xff)
      this.#sectors.set(index, sector)
      for (let i = 0; i < take; i++) {
        if (sector[within + i] !== 0xff && data[at + i] !== 0xff) {
          throw new RangeError(`program over a byte at ${offset + at + i} that is not erased`)
        }
        if (data[at + i] !== 0xff) sector[within + i] = data[at + i]!
      }
      at += take
    }
    return ok(undefined)
  }

  #bound(offset: number, length: number): void {
    if (offset < 0 || offset + length > this.sizeBytes)
      throw new RangeError(`${length} bytes at ${offset} of ${this.sizeBytes}`)
  }

  #count(): ContractError | undefined {
    this.#operations++
    if (this.#failAfter === undefined || this.#operations <= this.#failAfter.operations) return undefined
    return contractError(this.#failAfter.code, `flash operation ${this.#operations}`)
  }
}
