import { existsSync, rmSync } from 'node:fs'
import { provision } from '../../device/core/flash/provision.ts'
import { FlashFile } from '../../device/node/flash-file.ts'
import { type Board, modelRamBytes } from '../../model/boards.ts'
import { CommandFailure, fileFailure } from '../failure.ts'
import { openBundleFile, readBundleFile } from '../open-bundle-file.ts'
import { secureRandom } from '../random-secure.ts'

/** Opens a device's flash file; a new one is made as a factory would, with the bundle as its image. */
export async function openFlash(path: string, board: Board, bundlePath: string): Promise<FlashFile> {
  const isNew = !existsSync(path)
  // Before the file is made: a flash without an image could never boot.
  if (isNew) await (await openBundleFile(bundlePath, modelRamBytes(board))).dispose()
  let opened: ReturnType<typeof FlashFile.open>
  try {
    opened = FlashFile.open(path, board.flashBytes)
  } catch (cause) {
    throw fileFailure(path, cause)
  }
  const { flash, created } = opened
  if (!created) return flash
  const done = provision(flash, readBundleFile(bundlePath), 0, secureRandom)
  if (done.ok) return flash
  flash.close()
  rmSync(path, { force: true })
  throw new CommandFailure(`${path}: ${done.error.code}: ${done.error.detail}`)
}
