import { type ContractError, contractError } from '../errors.ts'
import { TUF_LIMITS, type TufLimits } from '../limits.ts'
import { present } from '../present.ts'
import { err, ok, type Result } from '../result.ts'
import { bytesOf, type Fetched, type FetchStep, targetsRequest } from './metadata-fetch.ts'
import { metadataFile } from './role-name.ts'
import type { SignatureSchemes } from './signature-scheme.ts'
import { TargetSearch } from './target-search.ts'
import { type TimeEvidence, type TrustedFiles, TrustedSet } from './trusted-set.ts'

/** What a cycle leaves behind, whether it succeeded or not: a cycle that fails keeps what it verified up to there. */
export interface CycleResult {
  readonly trusted: TrustedFiles
  /** roles whose files were replaced or dropped, in the order it happened; a name that has no file any more was dropped */
  readonly changed: readonly string[]
  /** signatures that were checked */
  readonly verifications: number
  readonly time: TimeEvidence
}

export type UpdateStep =
  | FetchStep
  | ({ readonly kind: 'done' } & CycleResult)
  | ({ readonly kind: 'failed'; readonly error: ContractError } & CycleResult)

export interface UpdateOptions {
  /** 5.1: read once, and fixed for the whole cycle and its searches; Unix ms, see `contract/time-floor.ts` */
  readonly nowMs: number
  readonly schemes: SignatureSchemes
  /** a device's unless given */
  readonly limits?: TufLimits
  /** `when-searched`: the cycle ends with the snapshot and a search fetches the targets, for a device that does not keep them.
   *  Default `now`, as the specification has it. */
  readonly targets?: 'now' | 'when-searched'
}

type Phase = 'root' | 'timestamp' | 'snapshot' | 'targets' | 'done' | 'failed'

/** One run of the client workflow, without input and output: ask `next()` what to fetch, hand what came to `received()`, until
 *  `next()` says `done` or `failed`. Then search targets.
 *  @see TUF 1.0.33, section 5 "detailed client workflow"
 */
export class UpdateCycle {
  readonly #set: TrustedSet
  readonly #targets: 'now' | 'when-searched'
  readonly #lastRoot: number
  #phase: Phase = 'root'
  #error: ContractError | undefined

  constructor(set: TrustedSet, targets: 'now' | 'when-searched') {
    this.#set = set
    this.#targets = targets
    // 5.3.3: at most Y new roots; what is left of the chain waits for the next cycle.
    this.#lastRoot = set.root.version + set.limits.rootRotations
  }

  next(): UpdateStep {
    if (this.#phase === 'done') return { kind: 'done', ...this.result }
    if (this.#phase === 'failed')
      return { kind: 'failed', error: present(this.#error, 'the reason of a failure'), ...this.result }
    return this.#request(this.#phase)
  }

  /** @param fetched the answer to the last `fetch` of `next()`; never called at another time */
  received(fetched: Fetched): void {
    if (this.#phase === 'done' || this.#phase === 'failed') throw new Error(`nothing was asked for: ${this.#phase}`)
    const next = this.#use(this.#phase, fetched)
    if (next.ok) this.#phase = next.value
    else {
      this.#phase = 'failed'
      this.#error = next.error
    }
  }

  /** What is trusted at this moment: to be kept after every step by who may be interrupted between two. */
  get result(): CycleResult {
    const { files, changed, verifications, timeEvidence } = this.#set
    return { trusted: files, changed: [...changed], verifications, time: timeEvidence }
  }

  /** Whether target addresses carry a hash, by the trusted root. */
  get consistentSnapshot(): boolean {
    return this.#set.root.consistentSnapshot
  }

  /** 5.6.7: starts the search for a target, after the cycle is done. Files that it fetches join `result`. */
  findTarget(path: string): TargetSearch {
    if (this.#phase !== 'done') throw new Error('a search before the metadata is up to date')
    return new TargetSearch(this.#set, path)
  }

  #request(phase: Exclude<Phase, 'done' | 'failed'>): FetchStep {
    const { limits, root, timestamp } = this.#set
    switch (phase) {
      case 'root':
        return { kind: 'fetch', file: metadataFile('root', root.version + 1), maxBytes: limits.rootBytes }
      case 'timestamp':
        return { kind: 'fetch', file: metadataFile('timestamp'), maxBytes: limits.timestampBytes }
      case 'snapshot': {
        const { version, length } = present(timestamp, 'the timestamp before the snapshot').snapshot
        const file = metadataFile('snapshot', root.consistentSnapshot ? version : undefined)
        return { kind: 'fetch', file, maxBytes: length ?? limits.snapshotBytes }
      }
      case 'targets': {
        const request = targetsRequest(this.#set, 'targets')
        // `#enterTargets` has looked before.
        if (!request.ok) throw new Error(request.error.detail)
        return request.value
      }
    }
  }

  #use(phase: Exclude<Phase, 'done' | 'failed'>, fetched: Fetched): Result<Phase, ContractError> {
    // 5.3.3: a root that is not there is the end of the chain. Any other failure is one: the next root may revoke what comes now.
    if (phase === 'root' && fetched === 'not-found') return this.#afterRoots()
    const bytes = bytesOf(fetched, this.#request(phase))
    if (!bytes.ok) return bytes
    const set = this.#set
    switch (phase) {
      case 'root': {
        const used = set.updateRoot(bytes.value)
        if (!used.ok) return used
        // 5.3.9: again, until there is no newer one.
        return set.root.version < this.#lastRoot ? ok('root') : this.#afterRoots()
      }
      case 'timestamp': {
        const used = set.updateTimestamp(bytes.value)
        return used.ok ? this.#enterSnapshot() : used
      }
      case 'snapshot': {
        const used = set.updateSnapshot(bytes.value)
        return used.ok ? this.#enterTargets() : used
      }
      case 'targets': {
        const used = set.updateTargets('targets', set.delegatorOf('targets'), bytes.value)
        return used.ok ? ok('done') : used
      }
    }
  }

  #afterRoots(): Result<Phase, ContractError> {
    // 5.3.10: freeze attack. Only now, since an expired root may have been replaced. 5.3.11 was done by the set at every step; 5.3.12
    // is read from the root wherever it matters.
    const fresh = this.#set.checkRootExpiry()
    return fresh.ok ? ok('timestamp') : fresh
  }

  #enterSnapshot(): Result<Phase, ContractError> {
    if (this.#set.hasCurrentSnapshot()) return this.#enterTargets()
    const { length } = present(this.#set.timestamp, 'the timestamp before the snapshot').snapshot
    return (length ?? 0) > this.#set.limits.snapshotBytes
      ? err(contractError('metadata-too-large', `snapshot of ${length} bytes`))
      : ok('snapshot')
  }

  #enterTargets(): Result<Phase, ContractError> {
    if (this.#targets === 'when-searched') return ok('done')
    if (this.#set.localTargets('targets', this.#set.delegatorOf('targets')) !== undefined) return ok('done')
    const request = targetsRequest(this.#set, 'targets')
    return request.ok ? ok('targets') : request
  }
}

/** Starts a cycle from what is trusted.
 *  @returns the cycle, or why the trusted root is no root: `metadata-too-large` | `metadata-malformed` | `metadata-signature` |
 *    `metadata-threshold`. A cycle itself fails with any `metadata-…` code or `root-not-consecutive`.
 */
export function beginUpdate(trusted: TrustedFiles, options: UpdateOptions): Result<UpdateCycle, ContractError> {
  const set = TrustedSet.load(trusted, options.schemes, options.limits ?? TUF_LIMITS, options.nowMs)
  return set.ok ? ok(new UpdateCycle(set.value, options.targets ?? 'now')) : set
}
