import { existsSync } from 'node:fs'
import { writeFileDurably } from '../platform/durable-file.ts'
import { CommandFailure, fileFailure } from './failure.ts'

const exists = (path: string): CommandFailure =>
  new CommandFailure(`${path} exists; a secret is never overwritten`, { hint: 'choose another file name' })

/** Refuses a file that is there, before a secret is made that could not be kept. */
export function assertNewSecretFile(path: string): void {
  if (existsSync(path)) throw exists(path)
}

/** Writes a secret to a new file of mode 0600, and to the medium: nobody can make it a second time. Unlike other output it has no
 *  `--force`: the only copy of a key may be what it replaces. */
export function writeSecretFile(path: string, text: string): void {
  assertNewSecretFile(path)
  try {
    writeFileDurably(path, text, { mode: 0o600 })
  } catch (cause) {
    throw fileFailure(path, cause)
  }
}
