import { LIMITS } from '../../contract/limits.ts'
import { present } from '../../contract/present.ts'
import { DIRECTOR_FIELD } from '../../contract/repository-target.ts'
import type { RepositoryState } from '../../release/repository-review.ts'
import { roleOf, type TufKey } from '../../release/tuf-document.ts'
import { CommandFailure } from '../failure.ts'
import { isOfflineRole } from './key-folder.ts'
import { noRepository, type RepositoryChange } from './repository-change.ts'

/** A role's keys wherever they stand: in the root, or in the delegations of targets. */
interface Trust {
  readonly keys: Record<string, TufKey>
  readonly role: { keyids: string[]; threshold: number }
}

export const short = (keyId: string): string => keyId.slice(0, 16)

export function assertOfflineRole(role: string): void {
  if (isOfflineRole(role)) return
  throw new CommandFailure(`"${role}" is no offline role`, {
    hint: 'root, targets, or a model family: lower-case letters, digits and dashes',
    exitCode: 2,
  })
}

/** Keys and threshold of an offline role as they are. */
export function trustOf(state: RepositoryState, role: string): { keyids: readonly string[]; threshold: number } {
  if (state.root === undefined) throw noRepository()
  const delegator = role === 'root' || role === 'targets' ? state.root : state.targets.get('targets')
  const found = delegator === undefined || !isOfflineRole(role) ? undefined : roleOf(delegator, role)
  if (found !== undefined) return found
  throw new CommandFailure(`there is no role "${role}"`, { hint: '"kinglet keys list" shows the roles', exitCode: 2 })
}

/** The place in the next metadata where a role's keys stand; what the role signs is signed anew. */
export function editTrust(change: RepositoryChange, role: string): Trust {
  if (role === 'root') return { keys: change.root().keys, role: change.root().roles.root }
  if (role === 'targets') {
    change.targets()
    return { keys: change.root().keys, role: change.root().roles.targets }
  }
  const delegations = present(change.targets().delegations, 'the delegations of targets')
  change.targets(role)
  return {
    keys: delegations.keys,
    role: present(
      delegations.roles.find(({ name }) => name === role),
      `the family ${role}`,
    ),
  }
}

export function setThreshold(role: string, trust: Trust, threshold: number | undefined): void {
  if (trust.role.keyids.length > LIMITS.signatures) {
    throw new CommandFailure(`${role} would have more than ${LIMITS.signatures} keys`, { hint: 'revoke one first' })
  }
  if (threshold === undefined) return
  if (threshold > trust.role.keyids.length) {
    throw new CommandFailure(`${role} has ${trust.role.keyids.length} keys, so ${threshold} cannot sign`, {
      exitCode: 2,
    })
  }
  trust.role.threshold = threshold
}

/** Finds the one trusted key whose id begins so. */
export function findKey(state: RepositoryState, prefix: string): { role: string; keyId: string } {
  if (state.root === undefined) throw noRepository()
  if (!/^[0-9a-f]{8,64}$/.test(prefix)) {
    throw new CommandFailure(`"${prefix}" is no key id`, {
      hint: 'at least its first 8 digits; "kinglet keys list" shows them',
      exitCode: 2,
    })
  }
  const roles: [string, readonly string[]][] = Object.entries(state.root.content.roles).map(([role, { keyids }]) => [
    role,
    keyids,
  ])
  for (const { name, keyids } of state.targets.get('targets')?.content.delegations?.roles ?? [])
    roles.push([name, keyids])
  roles.push(['director', state.root.content[DIRECTOR_FIELD]?.keys.map(({ keyId }) => keyId) ?? []])
  const found = roles.flatMap(([role, ids]) =>
    ids.filter((id) => id.startsWith(prefix)).map((keyId) => ({ role, keyId })),
  )
  const ids = new Set(found.map(({ keyId }) => keyId))
  const [first] = found
  if (ids.size === 1 && first !== undefined) return first
  throw new CommandFailure(ids.size === 0 ? `no role trusts a key ${prefix}…` : `${prefix}… is more than one key`, {
    hint: '"kinglet keys list" shows the keys',
  })
}
