import { closeSync, fstatSync, openSync, readSync, type Stats, statSync } from 'node:fs'

/** A small file that somebody may replace while the process runs. It is looked at in turns: notices of the file system do not come
 *  through network mounts, nor for the symbolic links by which secrets are often swapped. */
export class WatchedFile {
  readonly path: string
  readonly #bytesMax: number
  #seen = ''

  /** @param bytesMax of its content; more is refused */
  constructor(path: string, bytesMax: number) {
    this.path = path
    this.#bytesMax = bytesMax
  }

  /** Whether it is another than the one that was read last, or could not be read. Missing is no change: it may be between two names. */
  get hasChanged(): boolean {
    const stats = statSync(this.path, { throwIfNoEntry: false })
    return stats !== undefined && signatureOf(stats) !== this.#seen
  }

  /** The content, from one and the same file. @throws what the file system throws; RangeError when it is too long */
  read(): Buffer {
    // What cannot be opened or used is not tried again until it changes.
    this.#seen = signatureOf(statSync(this.path))
    const fd = openSync(this.path, 'r')
    try {
      this.#seen = signatureOf(fstatSync(fd))
      const content = Buffer.alloc(this.#bytesMax + 1)
      let length = 0
      while (length <= this.#bytesMax) {
        const got = readSync(fd, content, length, content.length - length, null)
        if (got === 0) return content.subarray(0, length)
        length += got
      }
      throw new RangeError(`${this.path} has more than ${this.#bytesMax} bytes`)
    } finally {
      closeSync(fd)
    }
  }
}

/** Two writes within a tick of the file system's clock differ in the file (renamed over it) or in length. */
const signatureOf = ({ dev, ino, size, mtimeMs, ctimeMs }: Stats): string =>
  [dev, ino, size, mtimeMs, ctimeMs].join('/')
