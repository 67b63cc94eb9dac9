import { existsSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { sha256Hex } from '../../contract/bytes.ts'
import { LIMITS } from '../../contract/limits.ts'
import { makeFolderDurably, writeFileDurably } from '../../platform/durable-file.ts'
import { fileFailure } from '../failure.ts'
import type { MadePatch } from './release-patches.ts'

/** Patches from before they are signed until the cloud has them, in the folder `patches` of a repository, named by their hash. What a
 *  signed document names cannot always be made again: another version of this program makes other bytes. */
export class KeptPatches {
  readonly #folder: string

  /** @param repositoryPath folder of the offline repository */
  constructor(repositoryPath: string) {
    this.#folder = join(repositoryPath, 'patches')
  }

  /** Has them on the medium when it returns.
   *  @throws CommandFailure when the folder cannot be written */
  keep(patches: readonly MadePatch[]): void {
    if (patches.length === 0) return
    try {
      makeFolderDurably(this.#folder)
      for (const { sha256, data } of patches) writeFileDurably(join(this.#folder, sha256), data)
    } catch (cause) {
      throw fileFailure(this.#folder, cause)
    }
  }

  /** @returns the patch; undefined when it is not here, or is another file by now */
  get(sha256: string): Uint8Array | undefined {
    const path = join(this.#folder, sha256)
    try {
      if (!existsSync(path) || statSync(path).size > LIMITS.bundleBytes) return undefined
      const data = new Uint8Array(readFileSync(path))
      return sha256Hex(data) === sha256 ? data : undefined
    } catch (cause) {
      throw fileFailure(path, cause)
    }
  }

  /** The cloud has them. */
  drop(hashes: readonly string[]): void {
    for (const sha256 of hashes) rmSync(join(this.#folder, sha256), { force: true })
  }
}
