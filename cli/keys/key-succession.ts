import type { Clock } from '../../contract/clock.ts'
import { present } from '../../contract/present.ts'
import type { PublicKey } from '../../contract/signed.ts'
import { writeFileDurably } from '../../platform/durable-file.ts'
import { apiOf } from '../cloud-option.ts'
import { CommandFailure, fileFailure } from '../failure.ts'
import { type OfflineFlags, offlineTools } from './offline-tools.ts'
import { noRepository } from './repository-change.ts'
import type { MetadataHeads } from './repository-publish.ts'

const NEXT = {
  online: ({ nextOnline }: MetadataHeads) => nextOnline,
  director: ({ nextDirector }: MetadataHeads) => nextDirector,
} as const

export interface SuccessionFlags extends OfflineFlags {
  readonly cloud?: string
  readonly tokenFile?: string
}

/** Gives a role of the cloud to another key: the one in `file`, or the one that the cloud makes when there is none. */
export async function succeed(
  role: keyof typeof NEXT,
  file: string | undefined,
  flags: SuccessionFlags,
  clock: Clock,
): Promise<void> {
  const { lifecycle, repository } = offlineTools(flags, clock)
  if (file !== undefined) return lifecycle[role](file)
  if (flags.cloud === undefined || flags.tokenFile === undefined) {
    throw new CommandFailure('which key?', { hint: 'give FILE, or --cloud and --token-file', exitCode: 2 })
  }
  if (repository.isEmpty) throw noRepository()
  repository.assertNothingStaged()
  const api = apiOf({ cloud: flags.cloud, tokenFile: flags.tokenFile })
  const heads = await api.postOnce<MetadataHeads>(`/v1/metadata/${role}-key`, {})
  return lifecycle[role](saveCloudKey(flags.repo, role, present(NEXT[role](heads), `the cloud's next key (${role})`)))
}

/** Keeps the cloud's answer where the change that uses it is made. */
function saveCloudKey(repo: string, name: string, key: PublicKey): string {
  const path = `${repo}/${name}.pub.json`
  try {
    writeFileDurably(path, `${JSON.stringify(key, null, 2)}\n`)
  } catch (cause) {
    throw fileFailure(path, cause)
  }
  return path
}
