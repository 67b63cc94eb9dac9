import { DIRECTOR_FIELD } from '../../contract/repository-target.ts'
import type { OfflineDocument } from '../../release/tuf-document.ts'
import type { KeyFolder } from './key-folder.ts'
import { noRepository } from './repository-change.ts'
import type { RepositoryFolder } from './repository-folder.ts'

const DAY_MS = 86_400_000

/** Who may sign what, and which of those keys are here, in lines. */
export function* keyListing(folder: KeyFolder, repository: RepositoryFolder, nowMs: number): Generator<string> {
  const held = folder.list()
  const { root, targets } = repository.state()
  if (root === undefined && held.length === 0 && repository.isEmpty) throw noRepository()
  const trusted = new Set<string>()
  const roleLines = function* (
    name: string,
    { keyids, threshold }: { keyids: readonly string[]; threshold: number },
    document: OfflineDocument | undefined,
    paths = '',
  ): Generator<string> {
    const dated = document === undefined ? '' : `, version ${document.content.version}, ${expiry(document, nowMs)}`
    yield `${name}${paths}: ${threshold} of ${keyids.length} keys${dated}`
    for (const id of keyids) {
      trusted.add(id)
      const key = held.find(({ keyId }) => keyId === id)
      yield `  ${id}  ${key === undefined ? 'elsewhere' : key.held === 'file' ? key.path : `exec:${key.held}`}`
    }
  }
  if (root !== undefined) {
    const { roles } = root.content
    const top = targets.get('targets')
    yield* roleLines('root', roles.root, root)
    yield* roleLines('targets', roles.targets, top)
    for (const role of top?.content.delegations?.roles ?? []) {
      yield* roleLines(role.name, role, targets.get(role.name), ` (${role.paths.join(', ')})`)
    }
    yield* roleLines('snapshot and timestamp, the cloud´s', roles.timestamp, undefined)
    const director = root.content[DIRECTOR_FIELD]
    yield director === undefined
      ? 'director: NOBODY, so no device follows an assignment: "kinglet keys director"'
      : `director, the cloud´s: ${director.threshold} of ${director.keys.length} keys`
    for (const { keyId } of director?.keys ?? []) yield `  ${keyId}  elsewhere`
  }
  const others = held.filter(({ keyId }) => !trusted.has(keyId))
  if (others.length > 0) yield 'in the folder and trusted by no role (new, or replaced):'
  for (const { keyId, role, path } of others) yield `  ${keyId}  ${path} (${role})`
  const staged = repository.staged()
  if (staged.length > 0) yield `waiting for signatures: ${staged.map(({ path }) => path).join(', ')}`
}

function expiry({ content: { expires } }: OfflineDocument, nowMs: number): string {
  const days = Math.floor((Date.parse(expires) - nowMs) / DAY_MS)
  return days < 0 ? `EXPIRED ${expires}: "kinglet keys renew"` : `expires ${expires.slice(0, 10)} (${days} days)`
}
