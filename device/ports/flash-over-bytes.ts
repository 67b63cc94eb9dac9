import { type ContractError, contractError } from '../../contract/errors.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { Flash } from './flash.ts'

/** Chosen: the erase unit of common serial NOR flash. */
export const SECTOR_BYTES = 4_096
/** Chosen: small enough for any record, large enough for one write a page. */
const PROGRAM_BYTES = 16

/** Flash over a medium of bytes that can be written in any order, as a file can: whole sectors erased to 0xff, bounds of every operation. */
export abstract class FlashOverBytes implements Flash {
  readonly sizeBytes: number
  readonly sectorBytes = SECTOR_BYTES
  readonly programBytes = PROGRAM_BYTES

  protected constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes
  }

  /** Fills `out` with what is at `offset`; throws when the medium has less. */
  protected abstract fill(out: Uint8Array, offset: number): void

  /** Writes all of it, durably when it returns. Throws what the medium throws. */
  protected abstract writeDurably(offset: number, data: Uint8Array): void

  /** What a failed write means. */
  protected abstract failureOf(cause: unknown): { readonly full: boolean; readonly detail: string }

  read(offset: number, length: number): Uint8Array {
    this.#bound(offset, length)
    const out = new Uint8Array(length)
    this.fill(out, offset)
    return out
  }

  erase(offset: number): Result<void, ContractError> {
    this.#bound(offset, SECTOR_BYTES)
    if (offset % SECTOR_BYTES !== 0) throw new RangeError(`erase at ${offset}`)
    return this.#write(offset, new Uint8Array(SECTOR_BYTES).fill(0xff))
  }

  program(offset: number, data: Uint8Array): Result<void, ContractError> {
    this.#bound(offset, data.length)
    if (offset % PROGRAM_BYTES !== 0 || data.length % PROGRAM_BYTES !== 0) throw new RangeError(`program at ${offset}`)
    return this.#write(offset, data)
  }

  #write(offset: number, data: Uint8Array): Result<void, ContractError> {
    try {
      this.writeDurably(offset, data)
      return ok(undefined)
    } catch (cause) {
      const { full, detail } = this.failureOf(cause)
      return err(contractError(full ? 'flash-full' : 'flash-write-failed', `${detail} at ${offset}`))
    }
  }

  #bound(offset: number, length: number): void {
    if (offset < 0 || offset + length > this.sizeBytes)
      throw new RangeError(`${length} bytes at ${offset} of ${this.sizeBytes}`)
  }
}
