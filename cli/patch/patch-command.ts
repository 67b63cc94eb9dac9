import { Command, Option } from 'commander'
import type { Clock } from '../../contract/clock.ts'
import { CommandFailure } from '../failure.ts'
import type { OutputFlags } from './patch-actions.ts'
import type { VerifyDecoderFlags } from './patch-verify-decoder.ts'

/** `kinglet patch …` */
export function patchCommand(clock: Clock): Command {
  const patch = new Command('patch').description('make, apply and inspect patches between two versions of a model')

  patch
    .command('make')
    .description('make the patch that turns one file into another: model bundles, ONNX and TFLite best, any file')
    .usage('[options] OLD NEW | --full NEW')
    .argument('<FILE...>', 'OLD, which devices have, and NEW; with --full only NEW')
    .requiredOption('-o, --output <PATCH>', 'patch file to write')
    .option('--full', 'make a compact full image, which needs no old file')
    .addOption(
      new Option(
        '--format <NAME>',
        'kinglet-1: for devices and decoders of before version 2; bsdiff: for clients that are not ours and have a bspatch',
      )
        .choices(['kinglet', 'kinglet-1', 'bsdiff'])
        .default('kinglet'),
    )
    .option('--force', 'replace the patch file if there is one')
    .option('--json', 'print the result as JSON')
    .action(async (files: string[], flags: OutputFlags & { readonly full?: boolean; readonly format: string }) => {
      const [oldPath, newPath] = flags.full ? [null, files[0]] : files
      if (oldPath === undefined || newPath === undefined || files.length > (flags.full ? 1 : 2)) {
        throw new CommandFailure(`patch make takes OLD and NEW, or --full and NEW: files given: ${files.length}`, {
          exitCode: 2,
        })
      }
      const { make, makeBsdiff } = await import('./patch-actions.ts')
      if (flags.format !== 'bsdiff') make(oldPath, newPath, flags, flags.format === 'kinglet-1' ? 1 : 2, clock)
      else if (oldPath !== null) await makeBsdiff(oldPath, newPath, flags)
      else throw new CommandFailure('--full goes with our own format: bsdiff patches need an old file', { exitCode: 2 })
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
      const { apply } = await import('./patch-actions.ts')
      await apply(oldPath, patchPath, flags)
    })

  patch
    .command('info')
    .description('print what the header of a patch says: nothing of it is proven')
    .argument('<PATCH>', 'patch file')
    .option('--json', 'print it as JSON')
    .action(async (path: string, flags: { readonly json?: boolean }) => {
      const { info } = await import('./patch-actions.ts')
      info(path, flags)
    })

  patch
    .command('verify-decoder')
    .description('run a decoder that is not ours over test vectors: does it make, and refuse, what ours does?')
    .argument(
      '<VECTORS>',
      'file of test vectors: test/fixtures/patch-vectors-2.json of the repository, or patch-vectors.json for version 1',
    )
    .requiredOption(
      '--exec <COMMAND>',
      'decoder: gets the path of the old file as last argument, the patch on standard input; writes the new file to standard output, exit code 0',
    )
    .option('--json', 'print the result as JSON')
    .action(async (vectors: string, flags: VerifyDecoderFlags) => {
      const { verifyDecoder } = await import('./patch-verify-decoder.ts')
      await verifyDecoder(vectors, flags)
    })
  return patch
}
