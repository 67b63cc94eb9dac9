import { BackupError, backUpCloud, restoreCloud } from '../../cloud/backup.ts'
import { DatabaseTooNewError } from '../../cloud/store/database.ts'
import type { Clock } from '../../contract/clock.ts'
import { CommandFailure } from '../failure.ts'

/** For who waits; a log needs what came of it alone. */
const tell = (line: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`${line}\n`)
}

/** `kinglet cloud backup` */
export function backUp(dataDir: string, into: string, clock: Clock): void {
  const { database, artifacts } = refusing(() => backUpCloud(dataDir, into, clock.wallMs(), tell))
  process.stdout.write(
    `${into}: the database (${database.bytes} bytes), ${artifacts.count} artifacts (${artifacts.bytes} bytes), keys and the operator token: a secret\n`,
  )
}

/** `kinglet cloud restore` */
export function restore(from: string, dataDir: string, clock: Clock): void {
  const { madeMs } = refusing(() => restoreCloud(from, dataDir, clock.wallMs(), tell))
  process.stdout.write(
    `${dataDir}: as it was ${new Date(madeMs).toISOString()}\nstart it with "kinglet cloud run --data ${dataDir}", repeat "kinglet release add" for what was released since, and "kinglet keys publish"\n`,
  )
}

function refusing<T>(work: () => T): T {
  try {
    return work()
  } catch (cause) {
    if (cause instanceof BackupError || cause instanceof DatabaseTooNewError) {
      throw new CommandFailure(cause.message, { cause })
    }
    throw cause
  }
}
