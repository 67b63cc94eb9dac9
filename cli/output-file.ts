import { readSync, statSync } from 'node:fs'
import { FileAside } from '../platform/durable-file.ts'
import { CommandFailure, fileFailure } from './failure.ts'

/** What a command writes where it was told to: a file that appears under its name when it is whole, and not at all when something fails
 *  before. Until then it lies beside. One that is there is replaced only with `--force`; secrets never are (`secret-file.ts`).
 *  What the file system refuses comes as a CommandFailure. */
export class OutputFile {
  readonly path: string
  readonly #replaces: boolean
  readonly #aside: string
  readonly #file: FileAside
  #bytes = 0

  /** Refuses, before long work, an output that would be refused after it. Leaves nothing. */
  static check(path: string, replaces: boolean): void {
    new OutputFile(path, replaces).discard()
  }

  /** Writes a whole file. */
  static write(path: string, content: Uint8Array, replaces: boolean): void {
    const out = new OutputFile(path, replaces)
    try {
      out.append(content)
      out.commit()
    } catch (cause) {
      out.discard()
      throw cause
    }
  }

  /** @param replaces whether a file of that name may be replaced */
  constructor(path: string, replaces: boolean) {
    this.path = path
    this.#replaces = replaces
    this.#aside = `${path}.${process.pid}.partial`
    try {
      this.#refuseExisting()
      this.#file = new FileAside(path, { aside: this.#aside })
    } catch (cause) {
      throw cause instanceof CommandFailure ? cause : fileFailure(path, cause)
    }
  }

  append(bytes: Uint8Array): void {
    try {
      this.#file.append(bytes)
    } catch (cause) {
      throw fileFailure(this.path, cause)
    }
    this.#bytes += bytes.length
  }

  /** Reads back what was appended, whole. */
  read(offset: number, into: Uint8Array): void {
    if (offset + into.length > this.#bytes) throw new RangeError(`${offset} + ${into.length} of ${this.#bytes} bytes`)
    for (let done = 0; done < into.length; ) {
      const count = readSync(this.#file.fd, into, done, into.length - done, offset + done)
      if (count === 0) throw new CommandFailure(`${this.#aside}: it became shorter while it was written`)
      done += count
    }
  }

  /** Gives the file its name, once its bytes are on the medium. The last call; when it fails, `discard` is. */
  commit(): void {
    try {
      // Somebody may have made such a file meanwhile.
      this.#refuseExisting()
      this.#file.commit()
    } catch (cause) {
      throw cause instanceof CommandFailure ? cause : fileFailure(this.path, cause)
    }
    this.#file.close()
  }

  /** Takes away what was written, also when `commit` failed. */
  discard(): void {
    this.#file.discard()
  }

  #refuseExisting(): void {
    const stats = statSync(this.path, { throwIfNoEntry: false })
    if (stats === undefined) return
    if (stats.isDirectory()) throw new CommandFailure(`${this.path}: it is a folder, a file is expected`)
    // A rename would put a file in the place of the device.
    if (!stats.isFile()) throw new CommandFailure(`${this.path}: it is a pipe or a device, a file is expected`)
    if (this.#replaces) return
    throw new CommandFailure(`${this.path}: there is such a file already`, { hint: '--force replaces it' })
  }
}
