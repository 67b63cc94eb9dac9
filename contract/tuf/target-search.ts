import { type ContractError, contractError, type ErrorCode } from '../errors.ts'
import { present } from '../present.ts'
import { rolesFor } from './delegation.ts'
import type { TargetFile, TargetsMetadata } from './metadata.ts'
import { bytesOf, type Fetched, type FetchStep, targetsRequest } from './metadata-fetch.ts'
import { isSafeTargetPath } from './role-name.ts'
import type { Delegator, TrustedSet } from './trusted-set.ts'

export type SearchStep =
  | FetchStep
  | {
      readonly kind: 'found'
      readonly target: TargetFile
      /** the role that speaks for it */
      readonly role: string
    }
  | { readonly kind: 'failed'; readonly error: ContractError }

interface Visit {
  readonly role: string
  readonly delegator: Delegator
}

/** The search for the role that speaks for a path: delegations in their order, depth first, each role once, a bounded number of
 *  them. Driven like a cycle.
 *  @see TUF 1.0.33, 5.6.7
 */
export class TargetSearch {
  readonly #set: TrustedSet
  readonly #path: string
  readonly #visited = new Set<string>()
  /** the next one last */
  readonly #toVisit: Visit[]
  #current: Visit | undefined
  #step: SearchStep

  constructor(set: TrustedSet, path: string) {
    this.#set = set
    this.#path = path
    this.#toVisit = [{ role: 'targets', delegator: set.delegatorOf('targets') }]
    this.#step = isSafeTargetPath(path)
      ? this.#search()
      : failed('target-path-unsafe', `not a plain path: ${JSON.stringify(path).slice(0, 100)}`)
  }

  /** @returns what to fetch, or the end: `target-unknown`, `target-path-unsafe`, `delegation-too-deep`, or why a role on the way could
   *  not be had. Such a role ends the search: going on would let an attacker who withholds it choose who speaks for the path. */
  next(): SearchStep {
    return this.#step
  }

  /** @param fetched the answer to the last `fetch` of `next()`; never called at another time */
  received(fetched: Fetched): void {
    if (this.#step.kind !== 'fetch') throw new Error(`nothing was asked for: ${this.#step.kind}`)
    const bytes = bytesOf(fetched, this.#step)
    const { role, delegator } = present(this.#current, 'the role that was asked for')
    const targets = bytes.ok ? this.#set.updateTargets(role, delegator, bytes.value) : bytes
    this.#step = targets.ok
      ? (this.#visit(role, targets.value) ?? this.#search())
      : { kind: 'failed', error: targets.error }
  }

  /** Visits the roles at hand until one has to be fetched or the search is over. Bounded by `rolesVisited`, and for roles met again
   *  by the delegations of those. */
  #search(): SearchStep {
    for (;;) {
      const visit = this.#toVisit.pop()
      if (visit === undefined) return failed('target-unknown', `nobody knows ${this.#path.slice(0, 100)}`)
      const { role, delegator } = visit
      // 5.6.7.1: each role once, and no more than so many.
      if (this.#visited.has(role)) continue
      if (this.#visited.size >= this.#set.limits.rolesVisited) {
        return failed('delegation-too-deep', `more than ${this.#visited.size} roles asked`)
      }
      this.#visited.add(role)
      const local = this.#set.localTargets(role, delegator)
      if (local === undefined) {
        this.#current = visit
        const request = targetsRequest(this.#set, role)
        return request.ok ? request.value : { kind: 'failed', error: request.error }
      }
      const found = this.#visit(role, local)
      if (found !== undefined) return found
    }
  }

  #visit(role: string, { targets, delegations }: TargetsMetadata): SearchStep | undefined {
    const target = targets.get(this.#path)
    if (target !== undefined) return { kind: 'found', target, role }
    if (delegations === undefined) return undefined
    // 5.6.7.2: the delegations that match come before everything that waits, in their order.
    const roles = rolesFor(delegations, this.#path)
    // 5.6.7.2.1: after a terminating one nobody else is asked.
    if (roles.at(-1)?.terminating === true) this.#toVisit.length = 0
    for (const delegated of [...roles].reverse()) {
      this.#toVisit.push({ role: delegated.name, delegator: { role: delegated, keys: delegations.keys } })
    }
    return undefined
  }
}

const failed = (code: ErrorCode, detail: string): SearchStep => ({ kind: 'failed', error: contractError(code, detail) })
