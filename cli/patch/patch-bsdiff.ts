import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bytesEqual, sha256Hex } from '../../contract/bytes.ts'
import { LIMITS } from '../../contract/limits.ts'
import { CommandFailure } from '../failure.ts'
import { OutputFile } from '../output-file.ts'
import { applyBsdiff, BSDIFF_MAGIC, BsdiffError, bsdiffResultBytes } from './bsdiff-apply.ts'
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

/** Reads a patch file when it is a BSDIFF40 patch.
 *  @returns undefined for any other file, which is not read */
export function readBsdiffFile(path: string): { readonly patch: Uint8Array; readonly resultBytes: number } | undefined {
  const file = ImageFile.openPatch(path)
  try {
    const magic = new Uint8Array(Math.min(file.bytes, BSDIFF_MAGIC.length))
    file.read(0, magic)
    if (new TextDecoder('latin1').decode(magic) !== BSDIFF_MAGIC) return undefined
    const patch = file.readAll()
    return { patch, resultBytes: orFailure(path, () => bsdiffResultBytes(patch)) }
  } finally {
    file.close()
  }
}

/** Applies a BSDIFF40 patch from file to file.
 *  @throws CommandFailure, and leaves no file */
export function applyBsdiffFile(
  oldPath: string | null,
  patchPath: string,
  patch: Uint8Array,
  outPath: string,
  replaces: boolean,
): { readonly resultBytes: number; readonly sha256: string } {
  if (oldPath === null) {
    throw new CommandFailure(`${patchPath} is a ${BSDIFF_MAGIC} patch: the old file is needed`, {
      hint: `kinglet patch apply OLD ${patchPath} -o NEW`,
      exitCode: 2,
    })
  }
  const old = readWhole(oldPath)
  OutputFile.check(outPath, replaces)
  const result = orFailure(patchPath, () => applyBsdiff(old, patch, LIMITS.patchImageBytes))
  OutputFile.write(outPath, result, replaces)
  return { resultBytes: result.length, sha256: sha256Hex(result) }
}

function orFailure<T>(path: string, run: () => T): T {
  try {
    return run()
  } catch (cause) {
    if (!(cause instanceof BsdiffError)) throw cause
    throw new CommandFailure(`${path}: patch-malformed: ${cause.message}`, {
      hint: `the ${BSDIFF_MAGIC} patch is damaged, or was made for another old file: make or copy it again`,
      cause,
    })
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
