import { bytesEqual, hexToBytes } from '../../../contract/bytes.ts'
import { type ContractError, contractError, type ErrorCode } from '../../../contract/errors.ts'
import { LIMITS } from '../../../contract/limits.ts'
import {
  type Assignment,
  type AssignmentContext,
  agreesWithRepository,
  type Release,
  verifyAssignment,
} from '../../../contract/release.ts'
import { err, ok, type Result } from '../../../contract/result.ts'
import { parseSigned } from '../../../contract/signed.ts'
import { modelRamBytes } from '../../../model/boards.ts'
import { type BootRecord, untoldOf } from '../flash/boot-record.ts'
import { otherSlot, type SlotIndex } from '../flash/flash-layout.ts'
import { type Artifact, type ArtifactContext, chooseArtifact, type Downloading } from './download.ts'

/** Where an update is. The phases follow docs/architecture.md, "The life of an update". */
export type UpdateState =
  | { readonly phase: 'idle' }
  /** the image repository is asked what the assigned target is */
  | { readonly phase: 'consulting'; readonly target: Assignment['target'] }
  | Downloading
  /** an attempt failed for a reason that may pass, or a download waits for its hours or for charge */
  | {
      readonly phase: 'waiting'
      readonly target: Assignment['target']
      readonly reason: ErrorCode
      readonly retryAtMs: number
    }
  | {
      readonly phase: 'checking'
      readonly release: Release
      readonly slot: SlotIndex
      /** what was downloaded for it; null when the slot had it already */
      readonly artifact: Artifact | null
      readonly deadlineMs: number
    }
  | { readonly phase: 'rebooting'; readonly release: Release }
  | {
      readonly phase: 'trial'
      readonly deadlineMs: number
      readonly windowsHeard: number
      readonly reportAcknowledged: boolean
      /** the confirming record is not tried again before this: Infinity while its write is not answered, past at first */
      readonly confirmAtMs: number
    }

export const IDLE: UpdateState = { phase: 'idle' }

/** sha256 of the image an update is about, hex; undefined when there is none under way, or it runs already. */
export function wantedBy(update: UpdateState): string | undefined {
  if (update.phase === 'idle' || update.phase === 'trial') return undefined
  return update.phase === 'consulting' || update.phase === 'waiting' ? update.target.sha256 : update.release.sha256
}

/** Chosen: hashing, loading and a few dozen inferences take seconds on the slowest board; a check that has not ended by then hangs. */
export const CHECK_WINDOW_MS = 60 * 60_000
/** Chosen: an attempt that failed for a reason that may pass is repeated after 1, 2, 4 … 128 minutes, a quarter of an hour's outage
 *  or four hours' alike, and then given up for a day, or until another assignment comes. */
export const RETRY_DELAY_MS = 60_000
export const RETRIES_MAX = 8
export const RESTING_MS = 24 * 3_600_000
/** Chosen: a trial fails when it has not been healthy for this long. */
export const TRIAL_WINDOW_MS = 3 * 3_600_000
/** Chosen: the new model must have looked at this many windows without an engine error. */
export const TRIAL_WINDOWS_MIN = 100
/** Chosen: an image whose check or trial failed twice in a row is not fetched again until another one was confirmed. */
export const FAILURES_MAX = 2
/** Chosen: an update may take at most this share of what is left in the battery. */
const INSTALL_ENERGY_SHARE = 0.2

export type AssignmentDecision =
  /** accepted, and the device runs that model already */
  | { readonly kind: 'current'; readonly assignment: Assignment }
  /** authentic; the image repository has to agree before anything is done */
  | { readonly kind: 'consult'; readonly assignment: Assignment }

/** Judges the director's half of an update: signature, binding, freshness.
 *  @returns what to do, or the code it is refused with; with the sequence number and the bundle's hash if the document was
 *    authentic
 */
export function judgeAssignment(
  payload: Uint8Array,
  context: Omit<AssignmentContext, 'lastSeq'>,
  record: BootRecord,
): Result<AssignmentDecision, ContractError & { readonly seq?: number; readonly sha256?: string }> {
  const document = parseSigned(payload, LIMITS.assignmentBytes)
  if (!document.ok) return document
  const verified = verifyAssignment(document.value, { ...context, lastSeq: record.assignmentSeq })
  if (!verified.ok) return verified
  const assignment = verified.value
  const { name, sha256 } = assignment.target
  const hash = hexToBytes(sha256)
  if (bytesEqual(record.images[record.active].sha256, hash)) return ok({ kind: 'current', assignment })
  if (bytesEqual(record.failedSha256, hash) && record.failures >= FAILURES_MAX) {
    const detail = `${name} failed ${record.failures} times in a row here`
    return err({ ...contractError('penalized', detail), seq: assignment.seq, sha256 })
  }
  return ok({ kind: 'consult', assignment })
}

/** What the device checks a release against. */
export interface ReleaseContext extends ArtifactContext {
  readonly slotBytes: number
  /** sha256 of the feature definitions this agent implements */
  readonly featuresSha256: readonly string[]
  /** energy left, mJ; Infinity on mains */
  readonly remainingMj: number
}

/** `stored`: the other slot holds that image already: a rollback costs no download. */
export type ReleaseDecision =
  | { readonly from: 'stored' }
  | { readonly from: 'download'; readonly artifact: Artifact; readonly offset: number }

/** Judges what the image repository has at the assigned path: agreement, then the resource contract, all before a byte of the image is
 *  downloaded.
 *  @returns where the image comes from, or the code it is refused with
 */
export function judgeRelease(
  assignment: Assignment,
  release: Release,
  context: ReleaseContext,
): Result<ReleaseDecision, ContractError> {
  const { record, board } = context
  const agrees = agreesWithRepository(assignment, release, {
    board: board.name,
    securityCounter: record.securityCounter,
  })
  if (!agrees.ok) return agrees
  if (!context.featuresSha256.includes(release.featuresSha256)) {
    return err(contractError('unsupported-features', `${release.name} needs another feature front end`))
  }
  const ramBytes = modelRamBytes(board)
  if (release.arenaBytes > ramBytes) {
    return err(contractError('arena-over-budget', `needs ${release.arenaBytes} bytes of RAM, ${ramBytes} are free`))
  }
  if (release.bytes > context.slotBytes) {
    return err(contractError('flash-over-budget', `${release.bytes} bytes, a slot has ${context.slotBytes}`))
  }
  const stored = record.images[otherSlot(record.active)]
  if (stored.bytes === release.bytes && bytesEqual(stored.sha256, hexToBytes(release.sha256))) {
    return ok({ from: 'stored' })
  }
  const { artifact, offset, costMj } = chooseArtifact(release, context)
  if (costMj > context.remainingMj * INSTALL_ENERGY_SHARE) {
    const detail = `the update takes ${Math.round(costMj)} mJ of ${Math.round(context.remainingMj)} mJ left`
    return err(contractError('energy-over-budget', detail))
  }
  return ok({ from: 'download', artifact, offset })
}

/** Delay before attempt `attempts + 1`, doubling, less up to half at random so that a site does not return as one.
 *  @param random a draw in [0, 1) */
export const retryDelayMs = (attempts: number, random: number): number =>
  Math.round(RETRY_DELAY_MS * 2 ** Math.min(attempts, RETRIES_MAX) * (1 - random / 2))

type Trial = Extract<UpdateState, { phase: 'trial' }>

export const trialVerdict = (state: Trial, nowMs: number): 'healthy' | 'waiting' | 'failed' => {
  if (state.windowsHeard >= TRIAL_WINDOWS_MIN && state.reportAcknowledged && nowMs >= state.confirmAtMs)
    return 'healthy'
  return nowMs >= state.deadlineMs ? 'failed' : 'waiting'
}

/** The boot record after a healthy trial. */
export function confirmedRecord(record: BootRecord, securityCounter: number): BootRecord {
  return {
    ...record,
    active: otherSlot(record.active),
    phase: 'confirmed',
    securityCounter: Math.max(record.securityCounter, securityCounter),
    // A model that was left because it does not run is not what the next assignment brings back.
    ...(bytesEqual(record.failedSha256, record.images[record.active].sha256)
      ? {}
      : { failedSha256: new Uint8Array(32), failures: 0 }),
    ...untoldOf('install-confirmed', record, record.images[otherSlot(record.active)]),
  }
}
