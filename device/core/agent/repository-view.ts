import type { TrustRecord } from '../flash/trust-record.ts'
import type { Consultation } from './consultation.ts'

/** What this boot believes of the image repository and of the time, and what it is asking. */
export interface RepositoryView {
  readonly trust: TrustRecord
  /** whether the signatures of `trust` were checked in this boot */
  readonly trustVerified: boolean
  /** when the floor of `trust` was last let rise, monotonic ms */
  readonly floorAtMs: number
  readonly consultation: Consultation | null
  readonly nextPollMs: number
  /** an assignment whose director was not known, until root has been asked for; and when that last happened */
  readonly unknownDirector: Uint8Array | null
  readonly unknownDirectorAtMs: number
}

export const repositoryAtBoot = (trust: TrustRecord, nowMs: number, nextPollMs: number): RepositoryView => ({
  trust,
  trustVerified: false,
  floorAtMs: nowMs,
  consultation: null,
  nextPollMs,
  unknownDirector: null,
  unknownDirectorAtMs: Number.NEGATIVE_INFINITY,
})
