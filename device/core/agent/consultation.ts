import type { TargetSearch } from '../../../contract/tuf/target-search.ts'
import type { UpdateCycle } from '../../../contract/tuf/update-cycle.ts'

/** A consultation under way. */
export interface Consultation {
  readonly cycle: UpdateCycle
  /** what is looked for; undefined: only whether there is anything new */
  readonly path: string | undefined
  readonly search: TargetSearch | undefined
  /** the file that is being fetched, and what has come of it */
  readonly file: string
  readonly maxBytes: number
  readonly received: Uint8Array
  readonly startedAtMs: number
  readonly requestedAtMs: number
  /** unanswered requests in a row */
  readonly attempts: number
}
