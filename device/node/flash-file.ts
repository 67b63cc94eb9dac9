import { closeSync, existsSync, fsyncSync, openSync, readSync, statSync, writeSync } from 'node:fs'
import { FileAside } from '../../platform/durable-file.ts'
import { FlashOverBytes, SECTOR_BYTES } from '../ports/flash-over-bytes.ts'

/** Flash in a file, for Linux-class devices: every operation is on disk (fsync) when it returns. */
export class FlashFile extends FlashOverBytes {
  readonly #fd: number
  readonly #closed: () => void

  private constructor(fd: number, sizeBytes: number, closed: () => void) {
    super(sizeBytes)
    this.#fd = fd
    this.#closed = closed
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

  close(): void {
    closeSync(this.#fd)
    this.#closed()
  }

  protected fill(out: Uint8Array, offset: number): void {
    let got = 0
    while (got < out.length) {
      const n = readSync(this.#fd, out, got, out.length - got, offset + got)
      if (n === 0) throw new RangeError(`read of ${out.length} bytes at ${offset} beyond ${this.sizeBytes}`)
      got += n
    }
  }

  protected writeDurably(offset: number, data: Uint8Array): void {
    let done = 0
    while (done < data.length) done += writeSync(this.#fd, data, done, data.length - done, offset + done)
    fsyncSync(this.#fd)
  }

  protected failureOf(cause: unknown): { readonly full: boolean; readonly detail: string } {
    const { code } = cause as NodeJS.ErrnoException
    return { full: code === 'ENOSPC' || code === 'EDQUOT', detail: code ?? 'write' }
  }
}
