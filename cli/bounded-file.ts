import { readFileSync, statSync } from 'node:fs'
import { CommandFailure, fileFailure, fileReason } from './failure.ts'

/** Reads a whole file whose size is bounded first.
 *  @throws CommandFailure: larger than `most` bytes, a pipe or a device, or what the file system says */
export function readBounded(path: string, most: number): Buffer {
  try {
    const stats = statSync(path)
    if (stats.size > most) throw new CommandFailure(`${path}: too-large: ${stats.size} bytes, at most ${most} are read`)
    if (!stats.isFile() && !stats.isDirectory()) {
      throw new CommandFailure(`${path}: it is a pipe or a device, a file is expected`)
    }
    return readFileSync(path)
  } catch (cause) {
    throw cause instanceof CommandFailure ? cause : fileFailure(path, cause)
  }
}

/** As `readBounded`, of one file among many: what cannot be read is told and passed over.
 *  @returns its bytes, or why it cannot be used */
export function readOrRefuse(path: string, most: number): Buffer | { readonly refusal: string } {
  try {
    const stats = statSync(path)
    if (stats.size > most) return { refusal: `${stats.size} bytes, at most ${most}` }
    // To read a pipe would wait for whoever writes.
    if (!stats.isFile() && !stats.isDirectory()) return { refusal: 'it is a pipe or a device, a file is expected' }
    return readFileSync(path)
  } catch (cause) {
    return { refusal: fileReason(cause) }
  }
}
