import type { Clock } from '../../contract/clock.ts'
import { secureRandom } from '../random-secure.ts'
import { KeyFolder } from './key-folder.ts'
import { KeyLifecycle } from './key-lifecycle.ts'
import { passphraseFrom } from './passphrase.ts'
import { RepositoryFolder } from './repository-folder.ts'
import { SigningCeremony } from './signing-ceremony.ts'

export interface OfflineFlags {
  readonly keys: string
  readonly repo: string
  readonly passphraseFile?: string
}

/** What the commands on offline keys share. */
export function offlineTools(flags: OfflineFlags, clock: Clock, print: (line: string) => void = console.log) {
  const folder = new KeyFolder(flags.keys, passphraseFrom(flags.passphraseFile, process.env, process), secureRandom)
  const repository = new RepositoryFolder(flags.repo)
  const parts = { folder, repository, clock, print }
  const ceremony = new SigningCeremony(parts)
  return { folder, repository, ceremony, lifecycle: new KeyLifecycle({ ...parts, ceremony }) }
}
