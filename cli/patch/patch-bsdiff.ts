import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bytesEqual } from '../../contract/bytes.ts'
import { CommandFailure } from '../failure.ts'
import { OutputFile } from '../output-file.ts'
import { ImageFile } from './image-file.ts'

/** Makes the classic BSDIFF40 patch of two files, for clients that are not ours and carry a `bspatch`. It is applied once here, and
 *  written only when it gives the new file.
 *  @throws CommandFailure for files that cannot be read or written, and where the package is not installed */
export async function makeBsdiffFile(
  oldPath: string,
  newPath: string,
  outPath: string,
  replaces: boolean,
): Promise<{ readonly patchBytes: number; readonly resultBytes: number }> {
  const result = readWhole(newPath)
  // It is read by the native code; here it is refused, in words, when it cannot be.
  readWhole(oldPath)
  OutputFile.check(outPath, replaces)
  const bsdiff = await loadBsdiff()
  const folder = mkdtempSync(join(tmpdir(), 'kinglet-bsdiff-'))
  try {
    const [patchPath, againPath] = [join(folder, 'patch'), join(folder, 'again')]
    await bsdiff.diff(oldPath, newPath, patchPath)
    await bsdiff.patch(oldPath, againPath, patchPath)
    if (!bytesEqual(readFileSync(againPath), result)) throw new Error('the patch does not give the new file')
    const patch = readFileSync(patchPath)
    OutputFile.write(outPath, patch, replaces)
    return { patchBytes: patch.length, resultBytes: result.length }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function loadBsdiff() {
  try {
    return (await import('bsdiff-node')).default
  } catch (cause) {
    throw new CommandFailure('--format bsdiff needs the package bsdiff-node, which is not installed', {
      hint: 'npm install bsdiff-node builds it: that takes a C++ compiler, Python 3 and, with npm 11, leave to run its script',
      cause,
    })
  }
}

function readWhole(path: string): Uint8Array {
  const file = ImageFile.openImage(path)
  try {
    return file.readAll()
  } finally {
    file.close()
  }
}
