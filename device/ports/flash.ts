import type { ContractError } from '../../contract/errors.ts'
import type { Result } from '../../contract/result.ts'

/** NOR flash as the core needs it: synchronous, erased in sectors to 0xff, programmed in aligned words. An operation that has
 *  returned is durable. Adapters: a file (device/node), a simulated chip (firmware-sim).
 */
export interface Flash {
  readonly sizeBytes: number
  /** erase unit */
  readonly sectorBytes: number
  /** program unit: offset and length of a program are multiples of it */
  readonly programBytes: number
  read(offset: number, length: number): Uint8Array
  /** Erases the sector that begins at `offset`.
   *  @returns `flash-write-failed` | `flash-full` (the medium below has no room) */
  erase(offset: number): Result<void, ContractError>
  /** Programs erased bytes.
   *  @returns `flash-write-failed` | `flash-full` (the medium below has no room) */
  program(offset: number, data: Uint8Array): Result<void, ContractError>
}
