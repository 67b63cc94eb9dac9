import { existsSync, rmSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { isProvisioned, provision } from '../../device/core/flash/provision.ts'
import { FlashFile } from '../../device/node/flash-file.ts'
import type { Board } from '../../model/boards.ts'
import { OwnedError, OwnerLock } from '../../platform/owner-lock.ts'
import { CommandFailure, fileFailure } from '../failure.ts'
import { openBundleForBoard, readBundleFile } from '../open-bundle-file.ts'
import { secureRandom } from '../random-secure.ts'
import { keepToOwner } from '../secret-file.ts'

/** Opens a device's flash file; a new one is made as a factory would, with the bundle as its image, and so is one that was left half made. */
export async function openFlash(path: string, board: Board, bundlePath: string): Promise<FlashFile> {
  const isNew = !existsSync(path)
  // Before the file is made: a flash without an image could never boot.
  if (isNew) await (await openBundleForBoard(bundlePath, board)).dispose()
  const { flash, created } = openOwned(path, board.flashBytes)
  if (!created && isProvisioned(flash)) return flash
  try {
    // The process that made the file has ended before there was an image in it.
    if (!isNew) await (await openBundleForBoard(bundlePath, board)).dispose()
  } catch (cause) {
    flash.close()
    throw cause
  }
  const done = provision(flash, readBundleFile(bundlePath), 0, secureRandom)
  if (done.ok) return flash
  flash.close()
  if (created) rmSync(path, { force: true })
  throw new CommandFailure(`${path}: ${done.error.code}: ${done.error.detail}`)
}

/** Opens a flash file that is there. */
export function openExistingFlash(path: string): FlashFile {
  if (!existsSync(path)) throw new CommandFailure(`${path}: there is no such file or folder`)
  return openOwned(path, 0).flash
}

/** For this process alone until it ends: two agents on one flash would each write over what the other has just written. */
function openOwned(path: string, sizeBytes: number): ReturnType<typeof FlashFile.open> {
  let lock: OwnerLock | undefined
  try {
    // SQLite would only say that it cannot.
    statSync(dirname(path))
    lock = OwnerLock.take(`${path}.lock`, `the flash ${path}`)
    // The device's key is in it. One of before it was made for its owner alone, or a copy, may be open to all.
    if (existsSync(path)) keepToOwner(path)
    return FlashFile.open(path, sizeBytes, () => lock?.release())
  } catch (cause) {
    lock?.release()
    if (cause instanceof CommandFailure) throw cause
    if (cause instanceof OwnedError) throw new CommandFailure(cause.message)
    throw fileFailure(path, cause)
  }
}
