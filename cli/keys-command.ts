import { Command } from 'commander'
import { makeKeyFile } from './key-file.ts'
import { secureRandom } from './random-secure.ts'

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
