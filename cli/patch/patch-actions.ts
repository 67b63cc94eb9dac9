import { bytesToHex } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import {
  type PatchHeader,
  type PatchImage,
  type PatchMethod,
  type PatchVersion,
  readPatchHeader,
} from '../../contract/patch/patch-header.ts'
import { ImageFile } from './image-file.ts'
import { applyPatchFile, describeImage, readHeader } from './patch-apply.ts'
import { applyBsdiffFile, makeBsdiffFile, readBsdiffFile } from './patch-bsdiff.ts'
import { makePatchFile } from './patch-make.ts'

export interface OutputFlags {
  readonly output: string
  readonly force?: boolean
  readonly json?: boolean
}

const METHODS: Readonly<Record<PatchMethod, string>> = {
  stored: 'stored as it is',
  numbers: 'numbers and bytes coded apart',
  bytes: 'coded as bytes',
}

const percent = (bytes: number, of: number): string => (of === 0 ? '–' : `${((100 * bytes) / of).toFixed(1)} %`)
const imageJson = (image: PatchImage | null) =>
  image && { bytes: image.bytes, sha256Half: bytesToHex(image.sha256Half) }
const headerJson = ({ version, method, base, result }: PatchHeader) => ({
  version,
  method,
  base: imageJson(base),
  result: imageJson(result),
})

/** `kinglet patch make` */
export function make(
  oldPath: string | null,
  newPath: string,
  { output, force, json }: OutputFlags,
  version: PatchVersion,
  clock: Clock,
): void {
  const made = makePatchFile(oldPath, newPath, output, force === true, version, clock)
  for (const note of made.notes) console.error(note)
  const bytes = made.patch.length
  const { resultBytes, fullBytes } = made
  const read = readPatchHeader(made.patch)
  if (!read.ok) throw new Error(read.error.detail)
  const { header } = read.value
  if (json) {
    const { isEqual, notes } = made
    console.log(JSON.stringify({ ...headerJson(header), patchBytes: bytes, fullBytes, isEqual, notes }))
    return
  }
  const kind = header.base === null ? 'a compact full image' : `${percent(bytes, fullBytes)} of a compact full image`
  const shares = `${percent(bytes, resultBytes)} of the new file, ${kind}`
  console.log(`${output}: ${bytes} bytes, ${shares}; ${METHODS[header.method]}`)
}

/** `kinglet patch make --format bsdiff` */
export async function makeBsdiff(
  oldPath: string,
  newPath: string,
  { output, force, json }: OutputFlags,
): Promise<void> {
  const { patchBytes, resultBytes } = await makeBsdiffFile(oldPath, newPath, output, force === true)
  if (json) console.log(JSON.stringify({ format: 'bsdiff', patchBytes, resultBytes }))
  else console.log(`${output}: ${patchBytes} bytes, ${percent(patchBytes, resultBytes)} of the new file; BSDIFF40`)
}

/** `kinglet patch apply` */
export async function apply(oldPath: string | null, patchPath: string, flags: OutputFlags): Promise<void> {
  const bsdiff = readBsdiffFile(patchPath)
  if (bsdiff !== undefined) {
    const { resultBytes, sha256 } = applyBsdiffFile(
      oldPath,
      patchPath,
      bsdiff.patch,
      flags.output,
      flags.force === true,
    )
    if (flags.json)
      console.log(JSON.stringify({ format: 'bsdiff', patchBytes: bsdiff.patch.length, resultBytes, sha256 }))
    else
      console.log(
        `${flags.output}: ${resultBytes} bytes, sha256 ${sha256}; a BSDIFF40 patch names no image to compare with`,
      )
    return
  }
  const { header, patchBytes, sha256 } = await applyPatchFile(oldPath, patchPath, flags.output, flags.force === true)
  if (flags.json) console.log(JSON.stringify({ ...headerJson(header), patchBytes, sha256 }))
  else console.log(`${flags.output}: ${header.result.bytes} bytes, sha256 ${sha256}`)
}

/** `kinglet patch info` */
export function info(path: string, flags: { readonly json?: boolean }): void {
  const bsdiff = readBsdiffFile(path)
  if (bsdiff !== undefined) {
    const { patch, resultBytes } = bsdiff
    if (flags.json) console.log(JSON.stringify({ format: 'bsdiff', patchBytes: patch.length, resultBytes }))
    else
      console.log(`${path}: BSDIFF40 patch, ${patch.length} bytes; makes ${resultBytes} bytes, and names neither image`)
    return
  }
  const file = ImageFile.openPatch(path)
  const header = readHeader(file)
  file.close()
  if (flags.json) {
    console.log(JSON.stringify({ ...headerJson(header), patchBytes: file.bytes }))
    return
  }
  const { version, method, base, result } = header
  console.log(`${path}: patch version ${version}, ${file.bytes} bytes, ${METHODS[method]}`)
  console.log(`  base    ${base === null ? 'none: a compact full image' : describeImage(base)}`)
  console.log(`  result  ${describeImage(result)}`)
}
