import type { Command } from 'commander'
import { CloudApi } from './cloud-api.ts'
import { readToken } from './token-file.ts'

export interface CloudFlags {
  readonly cloud: string
  readonly tokenFile: string
}

/** The options of a command that calls the cloud as an operator. */
export const withCloud = (command: Command): Command =>
  command
    .requiredOption('--cloud <URL>', 'address of the cloud')
    .requiredOption('--token-file <FILE>', 'file with the operator token')

/** @throws CommandFailure when the token cannot be read or the address is none */
export const apiOf = ({ cloud, tokenFile }: CloudFlags): CloudApi => new CloudApi(cloud, readToken(tokenFile))
