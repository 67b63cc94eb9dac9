import { bytesEqual, bytesToHex, hexToBytes } from '../../../contract/bytes.ts'
import { type ContractError, contractError } from '../../../contract/errors.ts'
import { LIMITS } from '../../../contract/limits.ts'
import { blockCheck, blockCodec, getCodec } from '../../../contract/messages.ts'

import { PATCH_STATE_BYTES } from '../../../contract/patch/patch-state.ts'

import { present } from '../../../contract/present.ts'

import type { Release } from '../../../contract/release.ts'
import { err, ok, type Result } from '../../../contract/result.ts'
import { type Board, modelRamBytes } from '../../../model/boards.ts'
import type { BootRecord } from '../flash/boot-record.ts'
import { otherSlot, type SlotIndex } from '../flash/flash-layout.ts'
import type { Progress } from '../flash/progress-record.ts'
import { flashMillijoule, type Radio } from '../power/energy.ts'
import { type AirAddress, downloadAirBytes } from './air-bytes.ts'

/** What is downloaded to get a release: its bundle, or a patch that makes it from the running image or from nothing. */
export interface Artifact {
  readonly kind: 'image' | 'patch'
  readonly sha256: string
  readonly bytes: number
}

export interface Downloading {
  readonly phase: 'downloading'
  readonly release: Release
  readonly artifact: Artifact
  readonly slot: SlotIndex
  /** bytes of the artifact that need not come again */
  readonly offset: number
  /** where the blocks that are under way end */
  readonly askedTo: number
  readonly startedAtMs: number
  /** when a block was last asked for or came */
  readonly requestedAtMs: number
  /** requests in a row without an answer, the last one included */
  readonly attempts: number
  /** times in a row that the next block came damaged */
  readonly damaged: number
}

/** Chosen: longer than a radio round trip through a sleeping gateway, short beside a download of minutes. */
export const BLOCK_TIMEOUT_MS = 10 * 60_000
/** Chosen: a day of silence from the gateway ends a download; the assignment stays and a new one starts it again. */
const BLOCK_ATTEMPTS_MAX = 144
/** Chosen: as long as an assignment lives. Whoever lets every block come at the last moment does not decide when an image of last
 *  month is tried. */
const DOWNLOAD_MS_MAX = 7 * 24 * 3_600_000
/** Chosen: in this time a gateway allows a device more blocks than it asks for at once, see gateway/downloads/block-server.ts. */
export const RATE_LIMITED_MS = 15_000
/** Chosen: bad air damages one block in ten at most; what is damaged eight times in a row is so where it comes from. */
export const DAMAGED_MAX = 8

/** What the choice of an artifact rests on. */
export interface ArtifactContext extends AirAddress {
  readonly record: BootRecord
  readonly board: Board
  readonly radio: Radio
  readonly sectorBytes: number
  /** RAM of the image that goes on running meanwhile, bytes */
  readonly activeArenaBytes: number
  readonly progress: Progress | null
  /** a patch of this release has failed here: only the bundle itself will do */
  readonly withoutPatches: boolean
}

export interface ArtifactChoice {
  readonly artifact: Artifact
  /** where its download goes on */
  readonly offset: number
  /** energy that it takes, radio and flash, mJ */
  readonly costMj: number
}

/** Chooses what is downloaded: what was begun already; else what takes the least energy on the air, of the bundle and those of its
 *  patches that this device can use and has the RAM for. */
export function chooseArtifact(release: Release, context: ArtifactContext): ArtifactChoice {
  const { record, board, radio, sectorBytes, progress } = context
  const running = bytesToHex(record.images[record.active].sha256)
  const hasRam = PATCH_STATE_BYTES + sectorBytes + context.activeArenaBytes <= modelRamBytes(board)
  const usable = context.withoutPatches || !hasRam ? [] : (release.patches ?? [])
  const artifacts: Artifact[] = [
    { kind: 'image', sha256: release.sha256, bytes: release.bytes },
    ...usable
      .filter(({ base }) => base === null || base === running)
      .map(({ sha256, bytes }) => ({ kind: 'patch' as const, sha256, bytes })),
  ]
  const choices = artifacts.map((artifact) => {
    const offset = progress === null ? 0 : resumeOffset(progress, release, artifact, record)
    const airBytes = downloadAirBytes(context, artifact.sha256, offset, artifact.bytes)
    const airMj = (airBytes / 1024) * radio.millijoulePerKilobyte + radio.fixedMillijoule
    const stateBytes = artifact.kind === 'patch' ? PATCH_STATE_BYTES + sectorBytes : 0
    const recordBytes = Math.ceil((stateBytes + 1) / sectorBytes) * sectorBytes
    const blocks = Math.ceil((artifact.bytes - offset) / LIMITS.blockBytes)
    const writtenBytes = release.bytes * (1 - offset / artifact.bytes) + blocks * recordBytes
    return { artifact, offset, airMj, costMj: airMj + flashMillijoule(writtenBytes) }
  })
  const [best] = choices.sort(
    (a, b) => Number(b.offset > 0) - Number(a.offset > 0) || a.airMj - b.airMj || a.artifact.bytes - b.artifact.bytes,
  )
  const { artifact, offset, costMj } = present(best, 'the image itself among the choices')
  return { artifact, offset, costMj }
}

/** Where a download goes on after a reset or an attempt that failed: at 0 unless everything that the record says is still so. */
function resumeOffset(progress: Progress, release: Release, artifact: Artifact, record: BootRecord): number {
  const slot = otherSlot(record.active)
  const holds =
    progress.artifact === artifact.sha256 &&
    progress.release === release.sha256 &&
    progress.slot === slot &&
    progress.offset <= artifact.bytes &&
    // Declared empty before the first write, and nothing was verified there since.
    record.images[slot].bytes === 0 &&
    progress.base === bytesToHex(record.images[record.active].sha256)
  return holds ? progress.offset : 0
}

/** The requests for the blocks that may be under way and are not.
 *  @param inFlight how many may be */
export function nextRequests(
  state: Downloading,
  nowMs: number,
  inFlight: number,
): { readonly state: Downloading; readonly payloads: readonly Uint8Array[] } {
  const { artifact } = state
  const sha256 = hexToBytes(artifact.sha256)
  const payloads: Uint8Array[] = []
  let offset = Math.max(state.askedTo, state.offset)
  while (offset < artifact.bytes && offset - state.offset < inFlight * LIMITS.blockBytes) {
    const length = Math.min(LIMITS.blockBytes, artifact.bytes - offset)
    payloads.push(getCodec.encode({ sha256, offset, length }))
    offset += length
  }
  return { state: { ...state, askedTo: offset, requestedAtMs: nowMs }, payloads }
}

export type BlockDecision =
  /** not the block that is waited for: late, repeated, ahead of one that was lost */
  | { readonly kind: 'ignored' }
  /** asked too fast, or of a gateway without a cloud: what was refused is asked for again later */
  | { readonly kind: 'refused'; readonly state: Downloading }
  | { readonly kind: 'damaged'; readonly state: Downloading }
  | { readonly kind: 'apply'; readonly data: Uint8Array; readonly last: boolean }

/** Judges a block against the download in progress.
 *  @returns `malformed` | `too-large` | `download-truncated` | `block-damaged` when the same block was damaged too often;
 *    `hash-mismatch` (of the gateway's copy) | `artifact-not-found` | `size-mismatch` at once: the attempt must end
 */
export function judgeBlock(
  state: Downloading,
  payload: Uint8Array,
  nowMs: number,
): Result<BlockDecision, ContractError> {
  const block = blockCodec.decode(payload)
  if (!block.ok) return damaged(state, block.error)
  const { offset, totalBytes, data, error, check } = block.value
  if (error === 'rate-limited') return ok(refused(state, offset, nowMs + RATE_LIMITED_MS))
  if (error === 'unavailable') return ok(refused(state, offset, nowMs + BLOCK_TIMEOUT_MS))
  if (error !== undefined) {
    const code = error === 'hash-mismatch' || error === 'too-large' ? error : 'artifact-not-found'
    return err(contractError(code, `the gateway answered "${error}"`))
  }
  const { artifact } = state
  if (totalBytes !== artifact.bytes) {
    return err(contractError('size-mismatch', `the gateway has ${totalBytes} bytes, the release ${artifact.bytes}`))
  }
  if (offset !== state.offset || data === undefined) return ok({ kind: 'ignored' })
  const expected = Math.min(LIMITS.blockBytes, totalBytes - offset)
  if (data.length !== expected) {
    const detail = `block at ${offset} has ${data.length} of ${expected} bytes`
    return damaged(state, contractError('download-truncated', detail))
  }
  if (check === undefined || !bytesEqual(check, blockCheck(data))) {
    return damaged(state, contractError('block-damaged', `block at ${offset} is not what its check says`))
  }
  return ok({ kind: 'apply', data, last: offset + data.length === totalBytes })
}

function damaged(state: Downloading, error: ContractError): Result<BlockDecision, ContractError> {
  if (state.damaged >= DAMAGED_MAX) return err(error)
  return ok({ kind: 'damaged', state: { ...state, damaged: state.damaged + 1, askedTo: state.offset } })
}

function refused(state: Downloading, offset: number, againAtMs: number): BlockDecision {
  if (offset < state.offset || offset >= state.askedTo) return { kind: 'ignored' }
  // Those before it are still under way; the first of them to come asks for it again.
  const requestedAtMs = offset > state.offset ? state.requestedAtMs : againAtMs - BLOCK_TIMEOUT_MS
  return { kind: 'refused', state: { ...state, askedTo: offset, requestedAtMs } }
}

/** What a download does when its block does not come: ask again, or give up. */
export const downloadTimedOut = (state: Downloading, nowMs: number): 'wait' | 'retry' | 'give-up' => {
  if (nowMs - state.startedAtMs >= DOWNLOAD_MS_MAX) return 'give-up'
  if (nowMs - state.requestedAtMs < BLOCK_TIMEOUT_MS) return 'wait'
  return state.attempts >= BLOCK_ATTEMPTS_MAX ? 'give-up' : 'retry'
}
