import { bytesEqual, hexToBytes } from '../../contract/bytes.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { LIMITS } from '../../contract/limits.ts'
import { blockCodec, getCodec } from '../../contract/messages.ts'
import { type AssignmentContext, type Release, verifyAssignment } from '../../contract/release.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { parseSigned } from '../../contract/signed.ts'
import { type Board, modelRamBytes } from '../../model/boards.ts'
import type { BootRecord } from './boot-record.ts'
import { flashMillijoule, type Radio } from './energy.ts'
import { otherSlot, type SlotIndex } from './flash-layout.ts'

/** Where an update is. The phases follow docs/architecture.md, "The life of an update". */
export type UpdateState =
  | { readonly phase: 'idle' }
  | {
      readonly phase: 'downloading'
      readonly release: Release
      readonly slot: SlotIndex
      /** bytes that are in the slot already */
      readonly offset: number
      readonly requestedAtMs: number
      /** unanswered requests in a row */
      readonly attempts: number
    }
  /** an attempt failed for a reason that may pass */
  | { readonly phase: 'waiting'; readonly release: Release; readonly retryAtMs: number }
  | {
      readonly phase: 'checking'
      readonly release: Release
      readonly slot: SlotIndex
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

/** Chosen: longer than a radio round trip through a sleeping gateway, short beside a download of minutes. */
export const BLOCK_TIMEOUT_MS = 10 * 60_000
/** Chosen: a day of silence from the gateway ends a download; the assignment stays and a new one starts it again. */
const BLOCK_ATTEMPTS_MAX = 144
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
const FAILURES_MAX = 2
/** Chosen: an update may take at most this share of what is left in the battery. */
const INSTALL_ENERGY_SHARE = 0.2

/** What the device checks an assignment against. */
export interface UpdateContext {
  readonly assignment: Omit<AssignmentContext, 'lastSeq' | 'securityCounter'>
  readonly record: BootRecord
  readonly board: Board
  readonly radio: Radio
  readonly slotBytes: number
  /** sha256 of the feature definitions this agent implements */
  readonly featuresSha256: string
  /** energy left, mJ; Infinity on mains */
  readonly remainingMj: number
}

export type AssignmentDecision =
  /** accepted, and the device runs that model already */
  | { readonly kind: 'current'; readonly seq: number }
  /** accepted, and the other slot holds that image already: a rollback costs no download */
  | { readonly kind: 'stored'; readonly seq: number; readonly release: Release }
  | { readonly kind: 'download'; readonly seq: number; readonly release: Release }

/** Judges an assignment: signatures, binding, freshness, agreement with the release, then the resource contract, all before a
 *  byte is downloaded.
 *  @returns what to do, or the code it is refused with; with the sequence number and the bundle's hash if the document was
 *    authentic
 */
export function judgeAssignment(
  payload: Uint8Array,
  context: UpdateContext,
): Result<AssignmentDecision, ContractError & { readonly seq?: number; readonly sha256?: string }> {
  const { record } = context
  const document = parseSigned(payload, LIMITS.assignmentBytes)
  if (!document.ok) return document
  const verified = verifyAssignment(document.value, {
    ...context.assignment,
    lastSeq: record.assignmentSeq,
    securityCounter: record.securityCounter,
  })
  if (!verified.ok) return verified
  const { assignment, release } = verified.value
  const sha256 = hexToBytes(release.sha256)
  const refuse = (error: ContractError) => err({ ...error, seq: assignment.seq, sha256: release.sha256 })
  if (bytesEqual(record.images[record.active].sha256, sha256)) return ok({ kind: 'current', seq: assignment.seq })
  if (bytesEqual(record.failedSha256, sha256) && record.failures >= FAILURES_MAX) {
    return refuse(contractError('penalized', `${release.name} failed ${record.failures} times in a row here`))
  }
  if (release.featuresSha256 !== context.featuresSha256) {
    return refuse(contractError('unsupported-features', `${release.name} needs another feature front end`))
  }
  const ramBytes = modelRamBytes(context.board)
  if (release.arenaBytes > ramBytes) {
    return refuse(contractError('arena-over-budget', `needs ${release.arenaBytes} bytes of RAM, ${ramBytes} are free`))
  }
  if (release.bytes > context.slotBytes) {
    return refuse(contractError('flash-over-budget', `${release.bytes} bytes, a slot has ${context.slotBytes}`))
  }
  const stored = record.images[otherSlot(record.active)]
  if (stored.bytes === release.bytes && bytesEqual(stored.sha256, sha256)) {
    return ok({ kind: 'stored', seq: assignment.seq, release })
  }
  const costMj =
    (release.bytes / 1024) * context.radio.millijoulePerKilobyte +
    context.radio.fixedMillijoule +
    flashMillijoule(release.bytes)
  if (costMj > context.remainingMj * INSTALL_ENERGY_SHARE) {
    return refuse(
      contractError(
        'energy-over-budget',
        `the update takes ${Math.round(costMj)} mJ of ${Math.round(context.remainingMj)} mJ left`,
      ),
    )
  }
  return ok({ kind: 'download', seq: assignment.seq, release })
}

type Downloading = Extract<UpdateState, { phase: 'downloading' }>

/** The request for the next range of a download. */
export function nextRequest(
  state: Downloading,
  nowMs: number,
): { readonly state: Downloading; readonly payload: Uint8Array } {
  return {
    state: { ...state, requestedAtMs: nowMs, attempts: state.attempts + 1 },
    payload: getCodec.encode({
      sha256: hexToBytes(state.release.sha256),
      offset: state.offset,
      length: Math.min(LIMITS.blockBytes, state.release.bytes - state.offset),
    }),
  }
}

export type BlockDecision =
  /** not the block that is waited for: late, repeated */
  | { readonly kind: 'ignored' }
  | {
      readonly kind: 'store'
      readonly offset: number
      readonly data: Uint8Array
      readonly state: Downloading
      readonly complete: boolean
    }

/** Judges a block against the download in progress.
 *  @returns `malformed` | `too-large` | `artifact-not-found` | `size-mismatch` | `download-truncated` when the download must end
 */
export function judgeBlock(state: Downloading, payload: Uint8Array): Result<BlockDecision, ContractError> {
  const block = blockCodec.decode(payload)
  if (!block.ok) return block
  const { offset, totalBytes, data, error } = block.value
  if (error === 'rate-limited' || error === 'unavailable') return ok({ kind: 'ignored' })
  if (error !== undefined) return err(contractError('artifact-not-found', `the gateway answered "${error}"`))
  if (totalBytes !== state.release.bytes) {
    return err(
      contractError('size-mismatch', `the gateway has ${totalBytes} bytes, the release ${state.release.bytes}`),
    )
  }
  if (offset !== state.offset || data === undefined) return ok({ kind: 'ignored' })
  const expected = Math.min(LIMITS.blockBytes, totalBytes - offset)
  if (data.length !== expected) {
    return err(contractError('download-truncated', `block at ${offset} has ${data.length} of ${expected} bytes`))
  }
  const next = offset + data.length
  return ok({
    kind: 'store',
    offset,
    data,
    state: { ...state, offset: next, attempts: 0 },
    complete: next === totalBytes,
  })
}

/** What a download does when its block does not come: ask again, or give up. */
export const downloadTimedOut = (state: Downloading, nowMs: number): 'wait' | 'retry' | 'give-up' => {
  if (nowMs - state.requestedAtMs < BLOCK_TIMEOUT_MS) return 'wait'
  return state.attempts >= BLOCK_ATTEMPTS_MAX ? 'give-up' : 'retry'
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
    failedSha256: new Uint8Array(32),
    failures: 0,
    untold: 'install-confirmed',
  }
}
