import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { bytesToHex } from '../../contract/bytes.ts'
import { type ContractError, contractError, type ErrorCode } from '../../contract/errors.ts'
import { LIMITS } from '../../contract/limits.ts'
import { PatchDecoder } from '../../contract/patch/patch-decoder.ts'
import {
  isPatchImage,
  PATCH_HEADER_BYTES_MAX,
  type PatchHeader,
  type PatchImage,
  readPatchHeader,
  sha256Half,
} from '../../contract/patch/patch-header.ts'
import { present } from '../../contract/present.ts'
import { ok } from '../../contract/result.ts'
import { CommandFailure } from '../failure.ts'
import { OutputFile } from '../output-file.ts'
import { ProgressLine } from '../progress-line.ts'
import { ImageFile, tooLarge } from './image-file.ts'

interface FileBase {
  readonly file: ImageFile
  readonly sha256: Uint8Array
}

/** Chosen: a file of a computer is written in larger pieces than a flash. */
const PAGE_BYTES = 64 * 1024

export interface AppliedPatch {
  readonly header: PatchHeader
  readonly patchBytes: number
  readonly sha256: string
}

/** Applies a patch from file to file: reads the base in ranges and the patch in blocks, and gives the new file its name only when it is
 *  the image that the patch names.
 *  @param oldPath null for none
 *  @throws CommandFailure, and leaves no file */
export async function applyPatchFile(
  oldPath: string | null,
  patchPath: string,
  outPath: string,
  replaces: boolean,
): Promise<AppliedPatch> {
  const open: ImageFile[] = []
  const opened = (file: ImageFile): ImageFile => {
    open.push(file)
    return file
  }
  try {
    const patch = opened(ImageFile.openPatch(patchPath))
    const header = readHeader(patch)
    const baseFile = oldPath === null ? null : opened(ImageFile.openImage(oldPath))
    const base = baseFile && { file: baseFile, sha256: baseFile.sha256() }
    if (header.base !== null) assertBase(patchPath, header.base, base)
    if (header.result.bytes > LIMITS.patchImageBytes) throw tooLarge(`what ${patchPath} makes`, header.result.bytes)
    const sha256 = await interruptible(async (signal) => {
      const out = new OutputFile(outPath, replaces)
      try {
        const hash = await decode(patch, base, header, out, signal)
        out.commit()
        return hash
      } catch (cause) {
        out.discard()
        throw cause
      }
    })
    return { header, patchBytes: patch.bytes, sha256: bytesToHex(sha256) }
  } finally {
    for (const file of open) file.close()
  }
}

/** Reads the header of a patch file, and nothing else. */
export function readHeader(patch: ImageFile): PatchHeader {
  const first = new Uint8Array(Math.min(patch.bytes, PATCH_HEADER_BYTES_MAX))
  patch.read(0, first)
  const read = readPatchHeader(first)
  if (read.ok) return read.value.header
  if (read.error.code !== 'patch-malformed') throw patchFailure(patch.path, read.error)
  throw new CommandFailure(`${patch.path}: ${read.error.code}: ${read.error.detail}`, {
    hint: 'patches are made by "kinglet patch make"; "patch apply" takes the old file first, then the patch',
  })
}

/** Runs what must tidy up behind itself when somebody ends the command. */
async function interruptible<T>(run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const interrupted = new AbortController()
  const interrupt = (): void => interrupted.abort()
  const signals = ['SIGINT', 'SIGTERM'] as const
  for (const signal of signals) process.once(signal, interrupt)
  try {
    return await run(interrupted.signal)
  } finally {
    for (const signal of signals) process.off(signal, interrupt)
  }
}

async function decode(
  patch: ImageFile,
  base: FileBase | null,
  header: PatchHeader,
  out: OutputFile,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const hash = createHash('sha256')
  const decoder = new PatchDecoder(
    {
      pageBytes: PAGE_BYTES,
      maxResultBytes: LIMITS.patchImageBytes,
      base: base === null ? null : { bytes: base.file.bytes, sha256: base.sha256 },
    },
    {
      readBase: (offset, into) => present(base, 'the base of a patch that reads it').file.read(offset, into),
      readResult: (offset, into) => out.read(offset, into),
      writePage: (_, page) => {
        out.append(page)
        hash.update(page)
        return ok(undefined)
      },
    },
  )
  const progress = new ProgressLine(out.path)
  let at = 0
  try {
    for (const block of patch.chunks()) {
      at += block.length
      const pushed = decoder.push(block, at === patch.bytes)
      if (!pushed.ok) throw patchFailure(patch.path, pushed.error)
      progress.show(at / patch.bytes)
      // Signals come in between.
      await setImmediate()
      if (signal.aborted) throw new CommandFailure('interrupted, nothing was written', { exitCode: 130 })
    }
  } finally {
    progress.clear()
  }
  const sha256 = new Uint8Array(hash.digest())
  if (!isPatchImage(header.result, decoder.producedBytes, sha256)) {
    const detail = 'what the patch makes is not the image that it names; nothing was written'
    throw patchFailure(patch.path, contractError('hash-mismatch', detail))
  }
  return sha256
}

const HINTS: Partial<Record<ErrorCode, string>> = {
  'patch-malformed': 'the patch is damaged: copy it again, or make it anew with "kinglet patch make"',
  'patch-truncated': 'the end of the patch is missing: copy it again',
  'hash-mismatch': 'the patch is damaged: copy it again, or make it anew with "kinglet patch make"',
  'unknown-schema-version': 'a newer kinglet made it: update this one',
}

function patchFailure(path: string, { code, detail }: ContractError): CommandFailure {
  const hint = HINTS[code]
  return new CommandFailure(`${path}: ${code}: ${detail}`, hint === undefined ? {} : { hint })
}

function assertBase(patchPath: string, wanted: PatchImage, base: FileBase | null): void {
  if (base === null) {
    throw new CommandFailure(`${patchPath} is a patch on ${describeImage(wanted)}: the old file is needed`, {
      hint: `kinglet patch apply OLD ${patchPath} -o NEW`,
      exitCode: 2,
    })
  }
  const { file, sha256 } = base
  if (isPatchImage(wanted, file.bytes, sha256)) return
  const found = describeImage({ bytes: file.bytes, sha256Half: sha256Half(sha256) })
  throw new CommandFailure(`${file.path}: wrong-base: it is ${found}; the patch is for ${describeImage(wanted)}`, {
    hint: `give the file that ${patchPath} was made from, or make a patch from this one`,
  })
}

export const describeImage = ({ bytes, sha256Half }: PatchImage): string =>
  `${bytes} bytes with SHA-256 ${bytesToHex(sha256Half)}…`
