import { basename } from 'node:path'
import { Command, Option } from 'commander'
import type { Clock } from '../../contract/clock.ts'
import { LIMITS } from '../../contract/limits.ts'
import { releaseOf } from '../../model/pack.ts'
import { CloudApi } from '../cloud-api.ts'
import { CommandFailure } from '../failure.ts'
import { type OfflineFlags, offlineOptions, offlineTools } from '../keys/keys-command.ts'
import { openBundleFile, readBundleFile } from '../open-bundle-file.ts'
import { readToken } from '../token-file.ts'
import type { ModelView } from './model-view.ts'
import { type PatchFrom, publishRelease } from './release-publication.ts'

interface AddFlags extends OfflineFlags {
  readonly patchFrom: readonly string[]
  readonly patches: boolean
  readonly cloud: string
  readonly tokenFile: string
}

interface PromoteFlags {
  readonly cloud: string
  readonly tokenFile: string
  readonly to: string
  readonly reason: string
}

/** `kinglet release …` */
export function releaseCommand(clock: Clock): Command {
  const release = new Command('release').description('sign bundles and put them into the registry')
  offlineOptions(release.command('add'))
    .description(
      'sign a bundle and its patches into the image repository, publish that, and register the release; safe to repeat',
    )
    .argument('<BUNDLE>', 'bundle file')
    .option(
      '--patch-from <BUNDLE>',
      'make a patch from this bundle and no others; may be repeated (default: from every release of the family in the cloud that is not archived)',
      (file: string, files: readonly string[]) => [...files, file],
      [],
    )
    .option('--no-patches', 'devices download the whole bundle')
    .requiredOption('--cloud <URL>', 'address of the cloud')
    .requiredOption('--token-file <FILE>', 'file with the operator token')
    .action(async (file: string, flags: AddFlags) => {
      const bytes = readBundleFile(file)
      const bundle = await openBundleFile(file, Number.POSITIVE_INFINITY)
      const content = releaseOf(bytes, bundle.manifest)
      await bundle.dispose()
      const { repository, lifecycle } = offlineTools(flags, clock)
      const api = new CloudApi(flags.cloud, readToken(flags.tokenFile))
      const patchFrom = patchFromOf(flags)
      const added = await publishRelease(bytes, content, { api, repository, lifecycle, patchFrom, print: console.log })
      if (added !== undefined) console.log(`${added.name} ${added.version} is registered as ${added.state}`)
    })
  release
    .command('promote')
    .description('move a release on: candidate, staging, production, archived')
    .argument('<MODEL>', 'name of the release')
    .addOption(
      new Option('--to <STATE>', 'where to; staging before production')
        .choices(['staging', 'production', 'archived'])
        .makeOptionMandatory(),
    )
    .requiredOption('--reason <TEXT>', 'why, for the audit log')
    .requiredOption('--cloud <URL>', 'address of the cloud')
    .requiredOption('--token-file <FILE>', 'file with the operator token')
    .action(async (model: string, { to, reason, ...flags }: PromoteFlags) => {
      const api = new CloudApi(flags.cloud, readToken(flags.tokenFile))
      const path = `/v1/models/${encodeURIComponent(model)}/promote`
      const { name, version, state } = await api.post<ModelView>(path, { to, reason })
      console.log(`${name} ${version} is in ${state}`)
    })
  return release
}

function patchFromOf({ patches, patchFrom }: AddFlags): PatchFrom {
  if (patches && patchFrom.length === 0) return 'cloud'
  if (!patches && patchFrom.length > 0) {
    throw new CommandFailure('--patch-from and --no-patches exclude each other', { exitCode: 2 })
  }
  const most = LIMITS.releasePatches - 1
  if (patchFrom.length > most) throw new CommandFailure(`at most ${most} of --patch-from`, { exitCode: 2 })
  return patches ? patchFrom.map((file) => ({ name: basename(file), bundle: readBundleFile(file) })) : 'none'
}
