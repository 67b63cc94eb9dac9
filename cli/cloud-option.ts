import type { Command } from 'commander'
import { CloudApi } from './cloud-api.ts'
import { readToken } from './token-file.ts'

export interface CloudFlags {
  readonly cloud: string
  readonly tokenFile: string
}

/** For `--ca`: the entry file reads it before any command runs. */
export const CA_WORDS = 'authority of the cloud’s certificate, PEM, beside those of the public web'

/** The options of a command that calls the cloud as an operator. */
export const withCloud = (command: Command): Command =>
  command
    .requiredOption('--cloud <URL>', 'address of the cloud')
    .requiredOption(
      '--token-file <FILE>',
      'file with a token: operator.token of the cloud, or another that may do this',
    )
    .option('--ca <FILE>', CA_WORDS)

/** @throws CommandFailure when the token cannot be read or the address is none */
export const apiOf = ({ cloud, tokenFile }: CloudFlags): CloudApi => new CloudApi(cloud, readToken(tokenFile))
