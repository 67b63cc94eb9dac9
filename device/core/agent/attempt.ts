import type { ErrorCode } from '../../../contract/errors.ts'
import type { ZonedWindow } from '../../../contract/update-window.ts'
import type { Progress } from '../flash/progress-record.ts'

/** The assignment that is being carried out, and what its attempts have come to. */
export interface Attempt {
  readonly assignment: Uint8Array
  /** how many attempts at it have failed for reasons that may pass */
  readonly attempts: number
  /** whether `install-started` was said of it */
  readonly installTold: boolean
  /** how far a download has come that the flash knows of; null: none is under way */
  readonly progress: Progress | null
  /** the release of which a patch has failed in this boot, hex ('': none): its bundle is downloaded instead */
  readonly withoutPatchesSha256: string
  /** what the download is said to wait for; '': nothing yet */
  readonly delayTold: ErrorCode | ''
  /** hours that the assignment says; null: none */
  readonly window: ZonedWindow | null
  /** the release that this boot has given up, hex ('': none), and until when its retained assignment waits */
  readonly restingSha256: string
  readonly restingUntilMs: number
}

export const noAttempt = (progress: Progress | null): Attempt => ({
  assignment: new Uint8Array(0),
  attempts: 0,
  installTold: false,
  progress,
  withoutPatchesSha256: '',
  delayTold: '',
  window: null,
  restingSha256: '',
  restingUntilMs: 0,
})
