import { FlashOverBytes, SECTOR_BYTES } from '../ports/flash-over-bytes.ts'

/** What is used of a `FileSystemSyncAccessHandle`, which only a worker has.
 *  @see WHATWG File System Standard, "FileSystemSyncAccessHandle" */
export interface SyncFile {
  getSize(): number
  /** @returns how many bytes there were */
  read(into: Uint8Array, options: { readonly at: number }): number
  /** @returns how many bytes were written */
  write(from: Uint8Array, options: { readonly at: number }): number
  flush(): void
  close(): void
}

/** Flash in the origin-private file system of a browser. A write is flushed before it returns; whether the machine below has it on its medium
 *  by then is the browser's to know. The handle is exclusive: a second tab cannot open the flash of the first. */
export class FlashOpfs extends FlashOverBytes {
  readonly #file: SyncFile

  private constructor(file: SyncFile, sizeBytes: number) {
    super(sizeBytes)
    this.#file = file
  }

  /** Opens a flash, or makes an erased one. A page that is closed while the file is made leaves a part of it, in which nothing was written
   *  yet: the rest is added.
   *  @throws RangeError for a file of another size, and what the file system throws */
  static open(file: SyncFile, sizeBytes: number): FlashOpfs {
    const found = file.getSize()
    if (found > sizeBytes) throw new RangeError(`the flash has ${found} bytes, its board ${sizeBytes}`)
    const flash = new FlashOpfs(file, sizeBytes)
    const erased = new Uint8Array(SECTOR_BYTES).fill(0xff)
    for (let at = found - (found % SECTOR_BYTES); at < sizeBytes && found < sizeBytes; at += SECTOR_BYTES) {
      flash.#writeAll(at, erased)
    }
    file.flush()
    return flash
  }

  close(): void {
    this.#file.close()
  }

  protected fill(out: Uint8Array, offset: number): void {
    const got = this.#file.read(out, { at: offset })
    if (got !== out.length) throw new RangeError(`read of ${out.length} bytes at ${offset}: there are ${got}`)
  }

  protected writeDurably(offset: number, data: Uint8Array): void {
    this.#writeAll(offset, data)
    this.#file.flush()
  }

  protected failureOf(cause: unknown): { readonly full: boolean; readonly detail: string } {
    const name = cause instanceof Error ? cause.name : 'write'
    return { full: name === 'QuotaExceededError', detail: name }
  }

  #writeAll(offset: number, data: Uint8Array): void {
    const done = this.#file.write(data, { at: offset })
    if (done !== data.length) throw new Error(`${done} of ${data.length} bytes written`)
  }
}
