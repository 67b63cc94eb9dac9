import { Command } from 'commander'
import type { Clock } from '../../contract/clock.ts'
import { LIMITS } from '../../contract/limits.ts'
import { apiOf, CA_WORDS, type CloudFlags, withCloud } from '../cloud-option.ts'
import { CommandFailure } from '../failure.ts'
import { integerOption } from '../number-option.ts'
import type { SuccessionFlags } from './key-succession.ts'
import type { OfflineFlags } from './offline-tools.ts'

/** Adds the options of every command that works with offline keys. */
export const offlineOptions = (command: Command): Command =>
  command
    .option('--keys <DIR>', 'folder of the offline keys', 'kinglet-keys')
    .option('--repo <DIR>', 'folder of the image repository', 'kinglet-repo')
    .option('--passphrase-file <FILE>', 'passphrase of the keys (default: KINGLET_PASSPHRASE, or asked for)')

interface InitFlags extends OfflineFlags {
  readonly onlineKey: string
  readonly rootKeys: number
  readonly rootThreshold: number
  readonly rootKey: readonly string[]
  readonly targetsKeys: number
}

const keyCount = integerOption(1, LIMITS.signatures)
const several = (value: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), value]

/** `kinglet keys …`: the offline keys of the image repository, from the first root to the last rotation. */
export function keysCommand(clock: Clock): Command {
  const keys = new Command('keys').description('offline keys of the image repository, and who may sign what')
  const command = (name: string, description: string) => offlineOptions(keys.command(name).description(description))
  const tools = async (flags: OfflineFlags) => (await import('./offline-tools.ts')).offlineTools(flags, clock)

  command('init', 'make the keys and the first root: who may sign what, for every device')
    .requiredOption(
      '--online-key <FILE>',
      'keys/online.pub.json from the data folder of the cloud (director.pub.json is read beside it), or the answer of its GET /v1/keys',
    )
    .option('--root-keys <N>', 'root keys to make here', integerOption(0, LIMITS.signatures), 3)
    .option('--root-threshold <N>', 'how many of them a new root needs', keyCount, 2)
    .option('--root-key <FILE>', 'public key (.pub.json) of a root holder elsewhere; may be repeated', several, [])
    .option('--targets-keys <N>', 'targets keys to make here; one of them signs', keyCount, 1)
    .action(async (flags: InitFlags) =>
      (await tools(flags)).lifecycle.init({
        cloudKeyFile: flags.onlineKey,
        rootKeys: flags.rootKeys,
        rootThreshold: flags.rootThreshold,
        rootKeyFiles: flags.rootKey,
        targetsKeys: flags.targetsKeys,
      }),
    )

  command('make', 'make an encrypted key for ROLE')
    .argument('<ROLE>', 'root, targets or a model family')
    .option('--count <N>', 'how many', keyCount, 1)
    .option('--signer <exec:COMMAND>', 'the secret is elsewhere: COMMAND public prints the key, COMMAND sign signs')
    .action(async (role: string, flags: OfflineFlags & { count: number; signer?: string }) => {
      if (flags.signer !== undefined && !flags.signer.startsWith('exec:')) {
        throw new CommandFailure(`"${flags.signer}" is no signer`, {
          hint: 'for example exec:/opt/hsm/sign',
          exitCode: 2,
        })
      }
      const { lifecycle } = await tools(flags)
      await lifecycle.make(role, flags.signer === undefined ? flags.count : 1, flags.signer?.slice('exec:'.length))
    })

  command('list', 'show roles, versions, expiry and keys, and where each key is').action(
    async (flags: OfflineFlags) => {
      const { folder, repository } = await tools(flags)
      const { keyListing } = await import('./key-listing.ts')
      for (const line of keyListing(folder, repository, clock.wallMs())) console.log(line)
    },
  )

  command('rotate', 'replace all keys of roles by new ones; the old ones sign the change')
    .argument('<ROLE...>', 'root, targets, model families; several change in one root')
    .action(async (roles: string[], flags: OfflineFlags) => (await tools(flags)).lifecycle.rotate(roles))

  command('add', 'let further keys sign for a role')
    .argument('<ROLE>', 'root, targets or a model family')
    .argument('<FILE...>', 'public keys, .pub.json of "kinglet keys make"')
    .option('--threshold <N>', 'how many must sign from now on', keyCount)
    .action(async (role: string, files: string[], flags: OfflineFlags & { threshold?: number }) =>
      (await tools(flags)).lifecycle.add(role, files, flags.threshold),
    )

  command('revoke', 'take the trust from one key; what it signed is signed anew by the others')
    .argument('<KEYID>', 'the key id, or at least its first 8 digits')
    .option('--threshold <N>', 'how many must sign from now on', keyCount)
    .action(async (keyId: string, flags: OfflineFlags & { threshold?: number }) =>
      (await tools(flags)).lifecycle.revoke(keyId, flags.threshold),
    )

  const succession = {
    online: 'give snapshot and timestamp to another online key of the cloud',
    director: 'let another key of the cloud direct the devices: what the former one signed holds no longer',
  }
  for (const role of ['online', 'director'] as const) {
    command(role, succession[role])
      .argument('[FILE]', 'its public key; without, --cloud is asked to make the next one')
      .option('--cloud <URL>', 'address of the cloud')
      .option('--ca <FILE>', CA_WORDS)
      .option('--token-file <FILE>', 'file with a token: operator.token of the cloud, or another that may do this')
      .action(async (file: string | undefined, flags: SuccessionFlags) =>
        (await import('./key-succession.ts')).succeed(role, file, flags, clock),
      )
  }

  command('delegate', 'let a key of its own sign the releases of a model family')
    .argument('<FAMILY>', 'name of the family and of its metadata file')
    .argument('<PATTERN...>', 'paths of its releases, for example "kws-*/*"')
    .action(async (family: string, patterns: string[], flags: OfflineFlags) =>
      (await tools(flags)).lifecycle.delegate(family, patterns),
    )

  command('renew', 'sign the same content again with an expiry a year from now')
    .argument('[ROLE...]', 'default: all offline roles')
    .action(async (roles: string[], flags: OfflineFlags) => (await tools(flags)).lifecycle.renew(roles))

  command('sign', 'add signatures to what waits here, or to files that a repository elsewhere waits for')
    .argument('[FILE...]', 'staged files, with their names as they are (2.root.json)')
    .action(async (files: string[], flags: OfflineFlags) => (await tools(flags)).ceremony.sign(files))

  command('collect', 'take the signatures of staged files that were signed elsewhere')
    .argument('<FILE...>', 'the copies that came back')
    .action(async (files: string[], flags: OfflineFlags) => (await tools(flags)).ceremony.collect(files))

  command('discard', 'give up the change that waits for signatures').action(async (flags: OfflineFlags) => {
    const names = (await tools(flags)).repository.discard()
    console.log(names.length === 0 ? 'nothing was waiting' : `given up: ${names.join(', ')}`)
  })

  withCloud(command('publish', 'send what is complete to the cloud, which verifies it')).action(
    async (flags: OfflineFlags & CloudFlags) => {
      const { publishRepository } = await import('./repository-publish.ts')
      console.log(await publishRepository((await tools(flags)).repository, apiOf(flags)))
    },
  )
  return keys
}
