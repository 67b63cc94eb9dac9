import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { KeyFolder } from '../../../cli/key-folder.ts'
import { KeyLifecycle } from '../../../cli/key-lifecycle.ts'
import { RepositoryFolder } from '../../../cli/repository-folder.ts'
import { SigningCeremony } from '../../../cli/signing-ceremony.ts'
import type { Clock } from '../../../contract/clock.ts'

export const realRandom = { bytes: (length: number) => new Uint8Array(randomBytes(length)) }

/** An operator's machine with real keys and cheap scrypt, in two folders. */
export function operatorMachine(
  dir: string,
  clock: Clock,
  { keys = 'keys', repo = 'repo', print = (_: string): void => undefined } = {},
) {
  const cost = { n: 2 ** 14, r: 8, p: 1 }
  const folder = new KeyFolder(join(dir, keys), { read: async () => 'correct horse' }, realRandom, cost)
  const repository = new RepositoryFolder(join(dir, repo))
  const parts = { folder, repository, clock, print }
  const ceremony = new SigningCeremony(parts)
  return { folder, repository, ceremony, lifecycle: new KeyLifecycle({ ...parts, ceremony }) }
}
