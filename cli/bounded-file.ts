import { readFileSync, statSync } from 'node:fs'
import { CommandFailure, fileFailure } from './failure.ts'

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
