import { Command } from 'commander'
import { sha256Hex } from '../contract/bytes.ts'
import { signDocument } from '../contract/signed.ts'
import { releaseOf } from '../model/pack.ts'
import { CloudApi } from './cloud-api.ts'
import { makeKeyFile, readKeyFile } from './key-file.ts'
import { openBundleFile, readBundleFile } from './open-bundle-file.ts'
import { secureRandom } from './random-secure.ts'
import { readToken } from './token-file.ts'

/** `kinglet keys …` */
export function keysCommand(): Command {
  const keys = new Command('keys').description('signing keys')
  keys
    .command('make')
    .description('make an Ed25519 key pair: FILE (secret, mode 0600) and FILE.pub.json')
    .argument('<FILE>', 'where to write the secret key; never overwritten')
    .action((file: string) => {
      const role = makeKeyFile(file, secureRandom)
      console.log(`${file} and ${file}.pub.json: key ${role.keys[0]!.keyId}`)
    })
  return keys
}

interface AddFlags {
  readonly key: string
  readonly cloud: string
  readonly tokenFile: string
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
      const added = await api.post<{ name: string; version: number; state: string }>('/v1/models', {
        release: document,
      })
      console.log(`${added.name} ${added.version} is registered as ${added.state}`)
    })
  return release
}
