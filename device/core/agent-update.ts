import { bytesToHex, hexToBytes, sha256Hex } from '../../contract/bytes.ts'
import type { ContractError } from '../../contract/errors.ts'
import { EVENT_CODES, eventCodec } from '../../contract/messages.ts'
import { targetPathOf } from '../../contract/metadata-file.ts'
import { seededRandom } from '../../contract/random.ts'
import type { Assignment, Release } from '../../contract/release.ts'
import { directorOf } from '../../contract/repository-target.ts'
import { ageFloor, type Consulted, consult, forgetConsultation, trustedNow } from './agent-repository.ts'
import type { AgentEvent, AgentState } from './agent-state.ts'
import type { EventDetails, Step } from './agent-step.ts'
import { EMPTY_IMAGE, penalty, withImage } from './boot-record.ts'
import { flashMillijoule } from './energy.ts'
import { otherSlot } from './flash-layout.ts'
import {
  CHECK_WINDOW_MS,
  confirmedRecord,
  downloadTimedOut,
  IDLE,
  judgeAssignment,
  judgeBlock,
  judgeRelease,
  nextRequest,
  RESTING_MS,
  RETRIES_MAX,
  RETRY_DELAY_MS,
  retryDelayMs,
  trialVerdict,
  wantedBy,
} from './update.ts'

/** The agent's part in an update, event by event; what is decided on which grounds is in update.ts. */

/** Block requests are not queued and share this id; outbox ids begin at 1. */
const GET_ID = 0

type Downloading = Extract<AgentState['update'], { phase: 'downloading' }>

/** Chosen: a day without an assignment ends with one small request: whether root, time or keys have changed. */
export const POLL_INTERVAL_MS = 24 * 3_600_000
/** Chosen: an assignment by an unknown director asks for a newer root at most this often, or a gateway could keep the radio busy. */
const UNKNOWN_DIRECTOR_POLL_MS = 3_600_000
/** Chosen: complaints of documents that the director has not signed, or not for now; a flood of them must not become one of events. */
const REFUSALS_MAX = 8
const REFUSALS_MS = 3_600_000

/** Judges a document against what holds now: who directs, the record, the time. */
function judge(step: Step, payload: Uint8Array): ReturnType<typeof judgeAssignment> {
  ageFloor(step)
  const { config, record, trust } = step.state
  const context = {
    device: config.device,
    site: config.site,
    board: config.board.name,
    director: directorOf(trust.files.root),
    nowMs: trustedNow(step.state, step.now.wallMs),
  }
  return judgeAssignment(payload, context, record)
}

/** A retry takes nothing for granted that was true at the attempt before it. */
function retry(step: Step): void {
  const judged = judge(step, step.state.assignment)
  step.set({ update: IDLE })
  if (!judged.ok) giveUp(step, judged.error, judged.error.sha256 ?? null)
  else if (judged.value.kind === 'consult') beginConsulting(step, judged.value.assignment)
}

/** The broker repeats a retained assignment at every connection: one that was refused is complained of once a boot. */
function refuse(
  step: Step,
  payload: Uint8Array,
  error: ContractError,
  about: { seq?: number; sha256?: string } = {},
): void {
  const digest = sha256Hex(payload)
  if (digest === step.state.refusedDigest) return
  step.set({ refusedDigest: digest })
  const { seq, sha256 } = about
  if (seq !== undefined && seq > step.state.record.assignmentSeq) step.writeRecord({ assignmentSeq: seq })
  // What is authentic and new is always told; the rest costs whoever sends it nothing.
  if (seq === undefined && !mayComplain(step)) return
  step.event('install-refused', {
    error,
    about: sha256 ?? null,
    ...(seq !== undefined && { assignmentSeq: seq }),
  })
}

function mayComplain(step: Step): boolean {
  const { refusals, refusalsFromMs } = step.state
  const { monotonicMs } = step.now
  if (monotonicMs - refusalsFromMs >= REFUSALS_MS) {
    step.set({ refusals: 1, refusalsFromMs: monotonicMs })
    return true
  }
  step.set({ refusals: refusals + 1 })
  return refusals < REFUSALS_MAX
}

export function assigned(step: Step, payload: Uint8Array): void {
  const { record, update } = step.state
  const judged = judge(step, payload)
  if (!judged.ok) {
    const { error } = judged
    // The director's key may have been replaced while this device slept: root tells.
    if (error.code === 'unknown-key' && mayAskForRoot(step, payload)) {
      step.set({ unknownDirector: payload, unknownDirectorAtMs: step.now.monotonicMs })
      poll(step)
    } else refuse(step, payload, error, error)
    return
  }
  const { kind, assignment } = judged.value
  const { target, seq } = assignment
  if (update.phase === 'trial') {
    if (kind === 'consult' && target.sha256 === bytesToHex(record.images[step.state.slot].sha256)) {
      if (seq > record.assignmentSeq) step.writeRecord({ assignmentSeq: seq })
      return
    }
    // Wanted no more: back to the confirmed image without a mark against this one; the retained assignment is judged there.
    step.writeRecord({ phase: 'confirmed' })
    step.reboot('the trial was called off by a newer assignment')
    return
  }
  // What the repository did not confirm is not asked again for the same document.
  if (kind === 'consult' && sha256Hex(payload) === step.state.refusedDigest) return
  const isNew = seq > record.assignmentSeq
  if (isNew) step.writeRecord({ assignmentSeq: seq })
  if (wantedBy(update) === (kind === 'current' ? undefined : target.sha256)) {
    // The newest document is the one to be judged again. A newer number for what is waited for says: now.
    if (isNew) step.set({ assignment: payload })
    if (isNew && update.phase === 'waiting') retry(step)
    return
  }
  if (kind === 'current') {
    forgetConsultation(step)
    step.set({ update: IDLE })
    return
  }
  const { restingSha256, restingUntilMs } = step.state
  step.set({ assignment: payload, attempts: 0, installTold: false })
  if (!isNew && target.sha256 === restingSha256 && step.now.monotonicMs < restingUntilMs) {
    step.set({ update: { phase: 'waiting', target, retryAtMs: restingUntilMs } })
    return
  }
  beginConsulting(step, assignment)
}

const mayAskForRoot = ({ state, now }: Step, payload: Uint8Array): boolean =>
  state.update.phase === 'idle' &&
  now.monotonicMs - state.unknownDirectorAtMs >= UNKNOWN_DIRECTOR_POLL_MS &&
  sha256Hex(payload) !== state.refusedDigest

/** One attempt: everything from here on may be repeated. */
function beginConsulting(step: Step, { target }: Assignment): void {
  step.set({ update: { phase: 'consulting', target } })
  consulted(step, consult(step, targetPathOf(target)))
}

/** Asks whether anything is new. */
function poll(step: Step): void {
  step.set({ nextPollMs: step.now.monotonicMs + POLL_INTERVAL_MS })
  consulted(step, consult(step, undefined))
}

/** @param ended what a consultation came to; undefined while it goes on */
export function consulted(step: Step, ended: Consulted | undefined): void {
  if (ended === undefined) return
  const { path, result } = ended
  if (path === undefined) polled(step, result.ok ? undefined : result.error)
  else if (!result.ok) attemptFailed(step, result.error)
  else if (result.value !== undefined) confirmedByRepository(step, result.value)
}

function polled(step: Step, error: ContractError | undefined): void {
  const { unknownDirector } = step.state
  step.set({ unknownDirector: null })
  // Not to be reached is no news: a device is out of reach most of its life.
  if (error !== undefined && error.code !== 'metadata-unavailable')
    step.event('repository-refused', { error, about: null })
  if (unknownDirector !== null) assigned(step, unknownDirector)
}

/** Director and image repository have both spoken. */
function confirmedByRepository(step: Step, release: Release): void {
  const { config, record, update, assignment: payload } = step.state
  if (update.phase !== 'consulting') return
  // Judged again: its time may have run out while the repository was asked.
  const judged = judge(step, payload)
  if (!judged.ok || judged.value.kind !== 'consult') {
    step.set({ update: IDLE })
    if (!judged.ok) refuse(step, payload, judged.error, judged.error)
    return
  }
  const { assignment } = judged.value
  const decision = judgeRelease(assignment, release, {
    record,
    board: config.board,
    radio: config.radio,
    slotBytes: config.slotBytes,
    featuresSha256: config.featuresSha256,
    remainingMj: step.remainingMj,
  })
  if (!decision.ok) {
    step.set({ update: IDLE })
    if (step.state.installTold) giveUp(step, decision.error, release.sha256)
    else refuse(step, payload, decision.error, { seq: assignment.seq, sha256: release.sha256 })
    return
  }
  if (!step.state.installTold) {
    step.set({ installTold: true })
    step.count({ installsStarted: 1 })
    step.event('install-started', { detail: release.name, assignmentSeq: assignment.seq, about: release.sha256 })
  }
  beginInstall(step, decision.value, release)
}

function beginInstall(step: Step, from: 'stored' | 'download', release: Release): void {
  const slot = otherSlot(step.state.record.active)
  if (from === 'stored') {
    check(step, release, slot)
    return
  }
  // From here on the other slot is being overwritten: its old image must not be taken for whole. The first block is programmed in
  // a later step, which is not reached when this write fails.
  const { record } = step.state
  step.writeRecord({ phase: 'confirmed', images: withImage(record, slot, EMPTY_IMAGE) })
  const startedAtMs = step.now.monotonicMs
  requestBlock(step, { phase: 'downloading', release, slot, offset: 0, startedAtMs, requestedAtMs: 0, attempts: 0 })
}

function check(step: Step, release: Release, slot: Downloading['slot']): void {
  step.set({ update: { phase: 'checking', release, slot, deadlineMs: step.now.monotonicMs + CHECK_WINDOW_MS } })
  step.effect({ type: 'check-image', slot, release })
}

/** Asks for the next range of the download. */
export function requestBlock(step: Step, downloading: Downloading): void {
  const { state, payload } = nextRequest(downloading, step.now.monotonicMs)
  step.set({ update: state })
  if (!step.state.connected) return
  step.radio('get', payload.length, 'tx')
  step.effect({ type: 'publish', id: GET_ID, kind: 'get', payload, qos: 0 })
}

/** @param sha256 of the artifact the block belongs to, from its topic */
export function blockArrived(step: Step, sha256: string, payload: Uint8Array): void {
  const { update } = step.state
  // A block of a download that a newer assignment has ended may still be on the air.
  if (update.phase !== 'downloading' || update.release.sha256 !== sha256) return
  const judged = judgeBlock(update, payload)
  if (!judged.ok) {
    attemptFailed(step, judged.error)
    return
  }
  const decision = judged.value
  if (decision.kind === 'ignored') return
  const { release, slot } = update
  step.effect({ type: 'program-slot', slot, offset: decision.offset, data: decision.data })
  step.spend({ install: flashMillijoule(decision.data.length) })
  if (!decision.complete) {
    requestBlock(step, decision.state)
    return
  }
  const { assignmentSeq } = step.state.record
  step.event('download-complete', { detail: release.name, assignmentSeq, about: release.sha256 })
  check(step, release, slot)
}

export function imageChecked(step: Step, event: Extract<AgentEvent, { type: 'image-checked' }>): void {
  const { update, record } = step.state
  // The check of an image that a newer assignment has replaced says nothing about the new one.
  if (update.phase !== 'checking' || update.release.sha256 !== event.sha256) return
  const { release, slot } = update
  const sha256 = hexToBytes(release.sha256)
  if (!event.result.ok) {
    // Not kept as "stored" either: bytes that have rotted must be fetched anew.
    const images = withImage(record, slot, EMPTY_IMAGE)
    const { error } = event.result
    if (error.code === 'hash-mismatch') {
      // These bytes are not the image: they say nothing about it, and much about a cache, the air or this flash.
      step.writeRecord({ images })
      attemptFailed(step, error)
    } else {
      step.writeRecord({ ...penalty(record, sha256), images })
      installFailed(step, error)
    }
    return
  }
  const images = withImage(record, slot, { sha256, bytes: release.bytes })
  step.writeRecord({ images, phase: 'pending' })
  step.set({ update: { phase: 'rebooting', release } })
  step.reboot(`trial of ${release.name}`)
}

/** An attempt has failed for a reason that may pass: a poisoned cache, a link, a tired flash, a repository that says what cannot be
 *  believed (whoever is between may say anything). Tried again, a bounded number of times. */
export function attemptFailed(step: Step, error: ContractError): void {
  const { update, attempts, config, record } = step.state
  if (update.phase === 'idle' || update.phase === 'trial' || update.phase === 'waiting') return
  forgetConsultation(step)
  const target = update.phase === 'consulting' ? update.target : update.release
  const { sha256 } = target
  if (attempts >= RETRIES_MAX) {
    installFailed(step, error)
    step.set({ restingSha256: sha256, restingUntilMs: step.now.monotonicMs + RESTING_MS })
    return
  }
  const draw = seededRandom(record.boots).fork(`${config.device} attempt ${attempts}`).next()
  const retryAtMs = step.now.monotonicMs + retryDelayMs(attempts, draw)
  step.set({ update: { phase: 'waiting', target, retryAtMs }, attempts: attempts + 1 })
  step.event('install-delayed', { error, assignmentSeq: record.assignmentSeq, about: sha256 })
}

/** The update is given up; the image that runs goes on. */
export function installFailed(step: Step, error: ContractError): void {
  const { update } = step.state
  const wanted = wantedBy(update)
  if (wanted === undefined) return
  step.set({ update: IDLE })
  giveUp(step, error, wanted)
}

/** What was never begun has not failed: it is refused. */
function giveUp(step: Step, error: ContractError, about: string | null): void {
  const { installTold, record } = step.state
  if (installTold) step.count({ installsFailed: 1 })
  const code = installTold ? 'install-failed' : 'install-refused'
  step.event(code, { error, assignmentSeq: record.assignmentSeq, about })
}

/** @param found the record as the flash holds it, which from now on is the agent's too */
export function flashFailed(step: Step, error: ContractError, found: AgentState['record'] | undefined): void {
  const { update, record, slot } = step.state
  const trial = update.phase === 'trial'
  // `active` and `phase` are what this boot decided, even where the record could not be written: an update of this boot must never
  // go to the slot that runs.
  const kept = trial
    ? { active: otherSlot(slot), phase: 'running' as const }
    : { active: slot, phase: 'confirmed' as const }
  step.set({ record: { ...(found ?? record), boots: record.boots, ...kept } })
  if (!trial) attemptFailed(step, error)
  else if (update.confirmAtMs === Number.POSITIVE_INFINITY) {
    step.set({ update: { ...update, confirmAtMs: step.now.monotonicMs + RETRY_DELAY_MS } })
  }
}

/** Timers of an update: a block that does not come, a trial that ends. */
export function updateTimers(step: Step): void {
  const { update, connected, consultation, nextPollMs } = step.state
  const { monotonicMs } = step.now
  if (update.phase === 'trial') concludeTrial(step)
  if (connected && update.phase === 'idle' && consultation === null && monotonicMs >= nextPollMs) poll(step)
  if (update.phase === 'waiting' && monotonicMs >= update.retryAtMs) retry(step)
  if (update.phase === 'checking' && monotonicMs >= update.deadlineMs) {
    const error = { code: 'model-load-failed', detail: 'the check of the image did not end' } as const
    imageChecked(step, { type: 'image-checked', sha256: update.release.sha256, result: { ok: false, error } })
  }
  if (update.phase !== 'downloading' || !connected) return
  const verdict = downloadTimedOut(update, monotonicMs)
  if (verdict === 'retry') requestBlock(step, update)
  else if (verdict === 'give-up') {
    attemptFailed(step, {
      code: 'download-stalled',
      detail: `${update.offset} of ${update.release.bytes} bytes came`,
    })
  }
}

function concludeTrial(step: Step): void {
  const { update, manifest, record } = step.state
  if (update.phase !== 'trial') return
  const verdict = trialVerdict(update, step.now.monotonicMs)
  if (verdict === 'healthy') {
    // Confirmed is what the flash says is confirmed: the event waits for `record-written`.
    step.set({ update: { ...update, confirmAtMs: Number.POSITIVE_INFINITY } })
    step.effect({ type: 'write-record', record: confirmedRecord(record, manifest.securityCounter) })
  } else if (verdict === 'failed') {
    step.reboot('the trial was not confirmed in time')
  }
}

/** A record of the last step is in flash. */
export function recordWritten(step: Step): void {
  const { update, record, manifest } = step.state
  if (update.phase !== 'trial' || update.confirmAtMs !== Number.POSITIVE_INFINITY) return
  step.set({ record: confirmedRecord(record, manifest.securityCounter), update: IDLE })
  step.count({ installsConfirmed: 1 })
  tellUntold(step)
}

/** Queues the event that the record stands for, unless an earlier boot's copy of it is still in the queue. It is struck from the
 *  record when it has been acknowledged: told at least once, whatever the power does. */
export function tellUntold(step: Step): void {
  const { record, manifest, outbox } = step.state
  const { untold, assignmentSeq } = record
  if (untold === 'none') return
  const queued = outbox.messages.find(({ kind, payload }) => {
    const event = kind === 'event' ? eventCodec.decode(payload) : undefined
    return event?.ok && EVENT_CODES[event.value.code] === untold && event.value.assignmentSeq === assignmentSeq
  })
  if (queued !== undefined) {
    step.set({ untoldId: queued.id })
    return
  }
  const details: EventDetails =
    untold === 'reverted'
      ? {
          // Without a mark against it the image was not tried: what the slot holds is not what was checked.
          error:
            record.failures === 0
              ? { code: 'hash-mismatch', detail: 'the slot changed between check and trial' }
              : { code: 'trial-failed', detail: 'the trial was not confirmed' },
          assignmentSeq,
          about: record.failedSha256,
        }
      : { detail: manifest.name, assignmentSeq }
  step.set({ untoldId: step.event(untold, details) })
}

/** The gateway has the event. */
export function toldUntold(step: Step): void {
  step.set({ untoldId: 0 })
  step.writeRecord({ untold: 'none' })
}
