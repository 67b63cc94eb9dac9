import { createHash } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { LIMITS } from '../../contract/limits.ts'
import { PATCH_HEADER_BYTES_MAX } from '../../contract/patch/patch-header.ts'
import { CommandFailure, fileFailure } from '../failure.ts'

const CHUNK_BYTES = 64 * 1024
/** A patch may be as long as its result and a header. */
const FILE_BYTES_MAX = LIMITS.patchImageBytes + PATCH_HEADER_BYTES_MAX

/** An image or a patch that is read in ranges, its size bounded first. What the file system refuses comes as a CommandFailure. */
export class ImageFile {
  readonly path: string
  readonly bytes: number
  readonly #file: number

  private constructor(path: string, file: number, bytes: number) {
    this.path = path
    this.#file = file
    this.bytes = bytes
  }

  static openImage(path: string): ImageFile {
    return ImageFile.#open(path, LIMITS.patchImageBytes)
  }

  static openPatch(path: string): ImageFile {
    return ImageFile.#open(path, FILE_BYTES_MAX)
  }

  static #open(path: string, maxBytes: number): ImageFile {
    let file: number
    try {
      file = openSync(path, 'r')
    } catch (cause) {
      throw fileFailure(path, cause)
    }
    const stats = fstatSync(file)
    if (stats.isFile() && stats.size <= maxBytes) return new ImageFile(path, file, stats.size)
    closeSync(file)
    if (stats.isFile()) throw tooLarge(path, stats.size)
    if (stats.isDirectory()) throw new CommandFailure(`${path}: it is a folder, a file is expected`)
    throw new CommandFailure(`${path}: it is a pipe or a device, a file is expected`, {
      hint: 'patches are made and applied with random access: write it to a file first',
    })
  }

  /** Reads `into.length` bytes from `offset` on, whole. */
  read(offset: number, into: Uint8Array): void {
    for (let done = 0; done < into.length; ) {
      let count: number
      try {
        count = readSync(this.#file, into, done, into.length - done, offset + done)
      } catch (cause) {
        throw fileFailure(this.path, cause)
      }
      if (count === 0) {
        throw new CommandFailure(`${this.path}: it became shorter while it was read`, {
          hint: 'try again when nothing writes to the file',
        })
      }
      done += count
    }
  }

  /** The file in pieces, in order; a piece is valid until the next one is asked for. */
  *chunks(): Generator<Uint8Array> {
    const chunk = new Uint8Array(CHUNK_BYTES)
    for (let at = 0; at < this.bytes; at += CHUNK_BYTES) {
      const part = chunk.subarray(0, this.bytes - at)
      this.read(at, part)
      yield part
    }
  }

  readAll(): Uint8Array {
    const all = new Uint8Array(this.bytes)
    this.read(0, all)
    return all
  }

  sha256(): Uint8Array {
    const hash = createHash('sha256')
    for (const chunk of this.chunks()) hash.update(chunk)
    return hash.digest()
  }

  close(): void {
    closeSync(this.#file)
  }
}

/** @param what the file, or what a patch would make */
export const tooLarge = (what: string, bytes: number): CommandFailure =>
  new CommandFailure(`${what}: too-large: ${bytes} bytes, at most ${LIMITS.patchImageBytes}`, {
    hint: `patches are for images of up to ${LIMITS.patchImageBytes / 1024 ** 2} MiB; a larger one is sent whole`,
  })
