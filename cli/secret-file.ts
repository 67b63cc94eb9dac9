import { existsSync, writeFileSync } from 'node:fs'
import { CommandFailure, fileFailure } from './failure.ts'

const exists = (path: string): CommandFailure =>
  new CommandFailure(`${path} exists; a secret is never overwritten`, { hint: 'choose another file name' })

/** Refuses a file that is there, before a secret is made that could not be kept. */
export function assertNewSecretFile(path: string): void {
  if (existsSync(path)) throw exists(path)
}

/** Writes a secret to a new file of mode 0600. Unlike other output it has no `--force`: the only copy of a key may be what it replaces. */
export function writeSecretFile(path: string, text: string): void {
  try {
    writeFileSync(path, text, { mode: 0o600, flag: 'wx' })
  } catch (cause) {
    throw (cause as NodeJS.ErrnoException).code === 'EEXIST' ? exists(path) : fileFailure(path, cause)
  }
}
