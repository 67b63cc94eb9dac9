import { Command, Option } from 'commander'
import { sha256Hex } from '../contract/bytes.ts'
import { signDocument } from '../contract/signed.ts'
import { releaseOf } from '../model/pack.ts'
import { CloudApi } from './cloud-api.ts'
import { readKeyFile } from './key-file.ts'
import { openBundleFile, readBundleFile } from './open-bundle-file.ts'
import { readToken } from './token-file.ts'

interface AddFlags {
  readonly key: string
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
export function releaseCommand(): Command {
  const release = new Command('release').description('sign bundles and put them into the registry')
  release
    .command('add')
    .description('sign a bundle with the release key and register it as candidate')
    .argument('<BUNDLE>', 'bundle file')
    .requiredOption('--key <FILE>', 'secret release key; it does not leave this machine')
    .requiredOption('--cloud <URL>', 'address of the cloud')
    .requiredOption('--token-file <FILE>', 'file with the operator token')
    .action(async (file: string, flags: AddFlags) => {
      const bytes = readBundleFile(file)
      const bundle = await openBundleFile(file, Number.POSITIVE_INFINITY)
      const document = signDocument(releaseOf(bytes, bundle.manifest), readKeyFile(flags.key))
      await bundle.dispose()
      const api = new CloudApi(flags.cloud, readToken(flags.tokenFile))
      await api.put(`/v1/artifacts/${sha256Hex(bytes)}`, bytes)
      const added = await api.post<ModelView>('/v1/models', {
        release: document,
      })
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
