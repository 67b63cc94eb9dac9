import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { compactDatabase, DatabaseInUseError } from '../../cloud/store/database.ts'
import { CommandFailure } from '../failure.ts'

const mebibytes = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MiB`

/** `kinglet cloud compact`: dropped rows leave holes that new rows fill; this gives the holes back to the disk. */
export function compactCloud(dataDir: string): void {
  const path = join(dataDir, 'cloud.db')
  if (!existsSync(path)) {
    throw new CommandFailure(`${path} does not exist`, { hint: '--data names the folder that "kinglet cloud run" has' })
  }
  try {
    const { beforeBytes, afterBytes } = compactDatabase(path)
    process.stdout.write(`${path}: ${mebibytes(beforeBytes)} before, ${mebibytes(afterBytes)} after\n`)
  } catch (cause) {
    const hint = cause instanceof DatabaseInUseError ? 'it may run again as soon as this has ended' : undefined
    throw new CommandFailure(cause instanceof Error ? cause.message : String(cause), { cause, ...(hint && { hint }) })
  }
}
