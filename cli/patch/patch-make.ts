import { bytesEqual, sha256 } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import type { PatchVersion } from '../../contract/patch/patch-header.ts'
import { readTensorMap } from '../../model/tensor-map.ts'
import { makePatch } from '../../release/patch/make-patch.ts'
import { OutputFile } from '../output-file.ts'
import { ProgressLine } from '../progress-line.ts'
import { ImageFile } from './image-file.ts'
import { decodePatch } from './patch-decode.ts'

export interface MadePatch {
  readonly patch: Uint8Array
  readonly resultBytes: number
  /** of the compact full image, the patch that needs no base */
  readonly fullBytes: number
  /** whether old and new file are the same */
  readonly isEqual: boolean
  /** what a person should know: one sentence each */
  readonly notes: readonly string[]
}

/** Makes a patch and writes it to a file.
 *  @param oldPath null for a compact full image
 *  @param version of the format, for decoders that read no later one
 *  @throws CommandFailure for files that cannot be read or written, before the long work where that can be known */
export function makePatchFile(
  oldPath: string | null,
  newPath: string,
  outPath: string,
  replaces: boolean,
  version: PatchVersion,
  clock: Pick<Clock, 'monotonicMs'>,
): MadePatch {
  const base = oldPath === null ? null : readImage(oldPath)
  const result = readImage(newPath)
  OutputFile.check(outPath, replaces)
  const isEqual = base !== null && bytesEqual(base, result)
  const notes: string[] = []
  if (isEqual) notes.push(`${oldPath} and ${newPath} are equal`)
  const newMap = readTensorMap(result)
  if (!newMap.ok) {
    notes.push(
      `${newPath}: ${newMap.error.code}: ${newMap.error.detail}; its bytes are coded as bytes, none as numbers`,
    )
  } else if (base !== null) {
    const oldMap = readTensorMap(base)
    if (!oldMap.ok) {
      notes.push(`${oldPath}: ${oldMap.error.code}: ${oldMap.error.detail}; its bytes predict bytes, and no numbers`)
    }
  }

  const progress = new ProgressLine(outPath, clock)
  progress.show(0)
  const fullShare = base === null ? 1 : 0.5
  const full = makePatch(null, result, { version, onProgress: (share) => progress.show(share * fullShare) })
  const patch =
    base === null
      ? full
      : makePatch(base, result, {
          full,
          version,
          onProgress: (share) => progress.show(fullShare + share * (1 - fullShare)),
        })
  progress.clear()
  assertDecodes(patch, base, result)

  OutputFile.write(outPath, patch, replaces)
  return { patch, resultBytes: result.length, fullBytes: full.length, isEqual, notes }
}

/** A patch that does not apply would be found on every device: here it costs a hundredth of the time that its making took. */
function assertDecodes(patch: Uint8Array, base: Uint8Array | null, result: Uint8Array): void {
  const known = base && { image: base, sha256: sha256(base) }
  const sizes = { pageBytes: 4_096, blockBytes: 4_096 }
  const decoded = decodePatch(patch, known, new Uint8Array(result.length), sha256, sizes)
  if (!decoded.ok) throw new Error(`the patch does not apply: ${decoded.error.code}: ${decoded.error.detail}`)
}

function readImage(path: string): Uint8Array {
  const file = ImageFile.openImage(path)
  try {
    return file.readAll()
  } finally {
    file.close()
  }
}
