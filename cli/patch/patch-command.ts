import { Command } from 'commander'
import { bytesToHex } from '../../contract/bytes.ts'
import {
  type PatchHeader,
  type PatchImage,
  type PatchMethod,
  readPatchHeader,
} from '../../contract/patch/patch-header.ts'
import { CommandFailure } from '../failure.ts'
import { ImageFile } from './image-file.ts'
import { applyPatchFile, describeImage, readHeader } from './patch-apply.ts'
import { makePatchFile } from './patch-make.ts'

interface OutputFlags {
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
const headerJson = ({ method, base, result }: PatchHeader) => ({
  method,
  base: imageJson(base),
  result: imageJson(result),
})

/** `kinglet patch …` */
export function patchCommand(): Command {
  const patch = new Command('patch').description('make, apply and inspect patches between two versions of a model')

  patch
    .command('make')
    .description('make the patch that turns one file into another: model bundles, ONNX and TFLite best, any file')
    .usage('[options] OLD NEW | --full NEW')
    .argument('<FILE...>', 'OLD, which devices have, and NEW; with --full only NEW')
    .requiredOption('-o, --output <PATCH>', 'patch file to write')
    .option('--full', 'make a compact full image, which needs no old file')
    .option('--force', 'replace the patch file if there is one')
    .option('--json', 'print the result as JSON')
    .action((files: string[], flags: OutputFlags & { readonly full?: boolean }) => {
      const [oldPath, newPath] = flags.full ? [null, files[0]] : files
      if (oldPath === undefined || newPath === undefined || files.length > (flags.full ? 1 : 2)) {
        throw new CommandFailure(`patch make takes OLD and NEW, or --full and NEW: files given: ${files.length}`, {
          exitCode: 2,
        })
      }
      make(oldPath, newPath, flags)
    })

  patch
    .command('apply')
    .description('make the new file from the old one and a patch; writes nothing but the image that the patch names')
    .usage('[options] [OLD] PATCH')
    .argument('<FILE...>', 'OLD and PATCH; only PATCH when it is a compact full image')
    .requiredOption('-o, --output <NEW>', 'file to write')
    .option('--force', 'replace the file if there is one')
    .option('--json', 'print the result as JSON')
    .action(async (files: string[], flags: OutputFlags) => {
      const [patchPath, oldPath = null] = files.toReversed()
      if (patchPath === undefined || files.length > 2) {
        throw new CommandFailure(`patch apply takes OLD and PATCH: files given: ${files.length}`, { exitCode: 2 })
      }
      const { header, patchBytes, sha256 } = await applyPatchFile(
        oldPath,
        patchPath,
        flags.output,
        flags.force === true,
      )
      if (flags.json) console.log(JSON.stringify({ ...headerJson(header), patchBytes, sha256 }))
      else console.log(`${flags.output}: ${header.result.bytes} bytes, sha256 ${sha256}`)
    })

  patch
    .command('info')
    .description('print what the header of a patch says: nothing of it is proven')
    .argument('<PATCH>', 'patch file')
    .option('--json', 'print it as JSON')
    .action((path: string, flags: { readonly json?: boolean }) => {
      const file = ImageFile.openPatch(path)
      const { header, version } = readHeader(file)
      file.close()
      if (flags.json) {
        console.log(JSON.stringify({ version, ...headerJson(header), patchBytes: file.bytes }))
        return
      }
      const { method, base, result } = header
      console.log(`${path}: patch version ${version}, ${file.bytes} bytes, ${METHODS[method]}`)
      console.log(`  base    ${base === null ? 'none: a compact full image' : describeImage(base)}`)
      console.log(`  result  ${describeImage(result)}`)
    })
  return patch
}

function make(oldPath: string | null, newPath: string, { output, force, json }: OutputFlags): void {
  const made = makePatchFile(oldPath, newPath, output, force === true)
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
