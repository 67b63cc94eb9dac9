import { Command, Option } from 'commander'
import type { Clock } from '../contract/clock.ts'
import { releaseOf } from '../model/pack.ts'
import { CloudApi } from './cloud-api.ts'
import { type OfflineFlags, offlineOptions, offlineTools } from './keys-command.ts'
import { openBundleFile, readBundleFile } from './open-bundle-file.ts'
import { type ModelView, publishRelease } from './release-publication.ts'
import { readToken } from './token-file.ts'

interface AddFlags extends OfflineFlags {
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
    .description('sign a bundle into the image repository, publish that, and register the release; safe to repeat')
    .argument('<BUNDLE>', 'bundle file')
    .requiredOption('--cloud <URL>', 'address of the cloud')
    .requiredOption('--token-file <FILE>', 'file with the operator token')
    .action(async (file: string, flags: AddFlags) => {
      const bytes = readBundleFile(file)
      const bundle = await openBundleFile(file, Number.POSITIVE_INFINITY)
      const content = releaseOf(bytes, bundle.manifest)
      await bundle.dispose()
      const { repository, lifecycle } = offlineTools(flags, clock)
      const api = new CloudApi(flags.cloud, readToken(flags.tokenFile))
      const added = await publishRelease(bytes, content, { api, repository, lifecycle, print: console.log })
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
