import { Command, Option } from 'commander'
import { sha256Hex } from '../contract/bytes.ts'
import type { Clock } from '../contract/clock.ts'
import { signDocument } from '../contract/signed.ts'
import { releaseOf } from '../model/pack.ts'
import { CloudApi } from './cloud-api.ts'
import { readKeyFile } from './key-file.ts'
import { type OfflineFlags, offlineOptions, offlineTools } from './keys-command.ts'
import { openBundleFile, readBundleFile } from './open-bundle-file.ts'
import { noRepository } from './repository-change.ts'
import { publishRepository } from './repository-publish.ts'
import { readToken } from './token-file.ts'

interface AddFlags extends OfflineFlags {
  readonly key?: string
  readonly cloud: string
  readonly tokenFile: string
}

interface PromoteFlags {
  readonly cloud: string
  readonly tokenFile: string
  readonly to: string
  readonly reason: string
}

interface ModelView {
  readonly name: string
  readonly version: number
  readonly state: string
}

/** `kinglet release …` */
export function releaseCommand(clock: Clock): Command {
  const release = new Command('release').description('sign bundles and put them into the registry')
  offlineOptions(release.command('add'))
    .description('sign a bundle into the image repository and register it as candidate')
    .argument('<BUNDLE>', 'bundle file')
    .option('--key <FILE>', 'secret release key: signs the release document that assignments carry, and registers it')
    .requiredOption('--cloud <URL>', 'address of the cloud')
    .requiredOption('--token-file <FILE>', 'file with the operator token')
    .action(async (file: string, flags: AddFlags) => {
      const bytes = readBundleFile(file)
      const bundle = await openBundleFile(file, Number.POSITIVE_INFINITY)
      const content = releaseOf(bytes, bundle.manifest)
      await bundle.dispose()
      const document = flags.key === undefined ? undefined : signDocument(content, readKeyFile(flags.key))
      const { repository, lifecycle } = offlineTools(flags, clock)
      if (repository.isEmpty && document === undefined) throw noRepository()
      const api = new CloudApi(flags.cloud, readToken(flags.tokenFile))
      if (!repository.isEmpty) await lifecycle.addRelease(content)
      await api.put(`/v1/artifacts/${sha256Hex(bytes)}`, bytes)
      if (!repository.isEmpty) console.log(await publishRepository(repository, api))
      if (repository.staged().length > 0) console.log('when the signatures are there: "kinglet keys publish"')
      if (document === undefined) return
      const added = await api.post<ModelView>('/v1/models', { release: document })
      console.log(`${added.name} ${added.version} is registered as ${added.state}`)
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
