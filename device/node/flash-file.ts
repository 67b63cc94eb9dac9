import { closeSync, existsSync, fsyncSync, openSync, readSync, statSync, writeSync } from 'node:fs'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { FileAside } from '../../platform/durable-file.ts'
import type { Flash } from '../ports/flash.ts'

/** Chosen: the erase unit of common serial NOR flash. */
const SECTOR_BYTES = 4_096
/** Chosen: small enough for any record, large enough for one write a page. */
const PROGRAM_BYTES = 16

/** Flash in a file, for Linux-class devices: every operation is on disk (fsync) when it returns. */
export class FlashFile implements Flash {
  readonly sizeBytes: number
  readonly sectorBytes = SECTOR_BYTES
  readonly programBytes = PROGRAM_BYTES
  readonly #fd: number
  readonly #closed: () => void

  private constructor(fd: number, sizeBytes: number, closed: () => void) {
    this.#fd = fd
    this.#closed = closed
    this.sizeBytes = sizeBytes
  }

  /** Opens a flash file, or makes an erased one of `sizeBytes`, for its owner alone since a device's key will be in it. Throws what the file system throws: a composition root reports it.
   *  @param closed called after `close`, for whoever keeps others off the file until then */
  static open(
    path: string,
    sizeBytes: number,
    closed: () => void = () => undefined,
  ): { readonly flash: FlashFile; readonly created: boolean } {
    if (existsSync(path)) {
      const { size } = statSync(path)
      return { flash: new FlashFile(openSync(path, 'r+'), size, closed), created: false }
    }
    // Under another name until it is whole: a power cut or a full disk must not leave a flash that is too small.
    const file = new FileAside(path, { mode: 0o600 })
    const erased = new Uint8Array(SECTOR_BYTES).fill(0xff)
    try {
      for (let at = 0; at < sizeBytes; at += SECTOR_BYTES) file.append(erased.subarray(0, sizeBytes - at))
      file.commit()
    } catch (cause) {
      file.discard()
      throw cause
    }
    return { flash: new FlashFile(file.fd, sizeBytes, closed), created: true }
  }

  read(offset: number, length: number): Uint8Array {
    this.#bound(offset, length)
    const out = new Uint8Array(length)
    let got = 0
    while (got < length) {
      const n = readSync(this.#fd, out, got, length - got, offset + got)
      if (n === 0) throw new RangeError(`read of ${length} bytes at ${offset} beyond ${this.sizeBytes}`)
      got += n
    }
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

  close(): void {
    closeSync(this.#fd)
    this.#closed()
  }

  #write(offset: number, data: Uint8Array): Result<void, ContractError> {
    try {
      this.#writeAll(offset, data)
      fsyncSync(this.#fd)
      return ok(undefined)
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code
      const full = code === 'ENOSPC' || code === 'EDQUOT'
      return err(contractError(full ? 'flash-full' : 'flash-write-failed', `${code ?? 'write'} at ${offset}`))
    }
  }

  #writeAll(offset: number, data: Uint8Array): void {
    let done = 0
    while (done < data.length) done += writeSync(this.#fd, data, done, data.length - done, offset + done)
  }

  #bound(offset: number, length: number): void {
    if (offset < 0 || offset + length > this.sizeBytes)
      throw new RangeError(`${length} bytes at ${offset} of ${this.sizeBytes}`)
  }
}
