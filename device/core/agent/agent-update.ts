import { bytesToHex, sha256Hex } from '../../../contract/bytes.ts'
import type { ContractError } from '../../../contract/errors.ts'
import { targetPathOf } from '../../../contract/metadata-file.ts'
import type { Assignment, Release } from '../../../contract/release.ts'
import { directorOf } from '../../../contract/repository-target.ts'
import { bundleRamBytes } from '../../../model/pipeline/level-plan.ts'
import { otherSlot } from '../flash/flash-layout.ts'
import { downloadTimedOut } from '../update/download.ts'
import { IDLE, judgeAssignment, judgeRelease, wantedBy } from '../update/update.ts'
import { beginInstall, delayed, repeatRequests } from './agent-download.ts'
import { attemptFailed, concludeTrial, dropProgress, giveUp, imageChecked } from './agent-install.ts'
import { ageFloor, type Consulted, consult, forgetConsultation, trustedNow } from './agent-repository.ts'
import type { Step } from './agent-step.ts'

/** The agent's part in an update before its first block: assignments, the image repository, and the timers of all of it. Blocks are in
 *  agent-download.ts, the install in agent-install.ts; what is decided on which grounds in update.ts. */

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
  const { config, record } = step.state
  const { trust } = step.state.repository
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
  const judged = judge(step, step.state.attempt.assignment)
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
  if (digest === step.state.reporting.refusedDigest) return
  step.change('reporting', { refusedDigest: digest })
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
  const { refusals, refusalsFromMs } = step.state.reporting
  const { monotonicMs } = step.now
  if (monotonicMs - refusalsFromMs >= REFUSALS_MS) {
    step.change('reporting', { refusals: 1, refusalsFromMs: monotonicMs })
    return true
  }
  step.change('reporting', { refusals: refusals + 1 })
  return refusals < REFUSALS_MAX
}

export function assigned(step: Step, payload: Uint8Array): void {
  const { record, update } = step.state
  const judged = judge(step, payload)
  if (!judged.ok) {
    const { error } = judged
    // The director's key may have been replaced while this device slept: root tells.
    if (error.code === 'unknown-key' && mayAskForRoot(step, payload)) {
      step.change('repository', { unknownDirector: payload, unknownDirectorAtMs: step.now.monotonicMs })
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
  if (kind === 'consult' && sha256Hex(payload) === step.state.reporting.refusedDigest) return
  const isNew = seq > record.assignmentSeq
  if (isNew) step.writeRecord({ assignmentSeq: seq })
  if (kind === 'current') {
    dropProgress(step)
    if (isNew) tellAlreadyInstalled(step, assignment)
  }
  if (wantedBy(update) === (kind === 'current' ? undefined : target.sha256)) {
    // The newest document is the one to be judged again. A newer number for what is waited for says: now.
    if (isNew) step.change('attempt', { assignment: payload, window: assignment.window ?? null })
    if (isNew && update.phase === 'waiting') retry(step)
    return
  }
  if (kind === 'current') {
    forgetConsultation(step)
    step.set({ update: IDLE })
    return
  }
  const { restingSha256, restingUntilMs } = step.state.attempt
  step.change('attempt', {
    assignment: payload,
    window: assignment.window ?? null,
    attempts: 0,
    installTold: false,
    withoutPatchesSha256: '',
    delayTold: '',
  })
  if (!isNew && target.sha256 === restingSha256 && step.now.monotonicMs < restingUntilMs) {
    step.set({ update: { phase: 'waiting', target, reason: 'download-stalled', retryAtMs: restingUntilMs } })
    return
  }
  beginConsulting(step, assignment)
}

/** The device's word on a rollout that names what it runs already. What it signed under assignments of before says nothing of this one: it may
 *  have gone back since, without anybody being told. */
function tellAlreadyInstalled(step: Step, { rollout, seq, target }: Assignment): void {
  if (step.state.config.sign === undefined || rollout?.arm !== 'canary') return
  step.event('already-installed', { detail: target.name, assignmentSeq: seq, about: target.sha256 })
}

const mayAskForRoot = ({ state, now }: Step, payload: Uint8Array): boolean =>
  state.update.phase === 'idle' &&
  now.monotonicMs - state.repository.unknownDirectorAtMs >= UNKNOWN_DIRECTOR_POLL_MS &&
  sha256Hex(payload) !== state.reporting.refusedDigest

/** One attempt: everything from here on may be repeated. */
function beginConsulting(step: Step, { target }: Assignment): void {
  const stored = step.state.record.images[otherSlot(step.state.record.active)]
  const isStored = stored.bytes > 0 && bytesToHex(stored.sha256) === target.sha256
  // Before the repository is asked: that is radio too.
  if (!isStored && delayed(step, target)) return
  step.set({ update: { phase: 'consulting', target } })
  consulted(step, consult(step, targetPathOf(target)))
}

/** Asks whether anything is new. */
function poll(step: Step): void {
  step.change('repository', { nextPollMs: step.now.monotonicMs + POLL_INTERVAL_MS })
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
  const { unknownDirector } = step.state.repository
  step.change('repository', { unknownDirector: null })
  // Not to be reached is no news: a device is out of reach most of its life.
  if (error !== undefined && error.code !== 'metadata-unavailable')
    step.event('repository-refused', { error, about: null })
  if (unknownDirector !== null) assigned(step, unknownDirector)
}

/** Director and image repository have both spoken. */
function confirmedByRepository(step: Step, release: Release): void {
  const { config, record, manifest, update } = step.state
  const { progress, withoutPatchesSha256, assignment: payload } = step.state.attempt
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
    ...config,
    record,
    activeArenaBytes: bundleRamBytes(manifest),
    progress,
    withoutPatches: withoutPatchesSha256 === release.sha256,
    remainingMj: step.remainingMj,
  })
  if (!decision.ok) {
    step.set({ update: IDLE })
    if (step.state.attempt.installTold) giveUp(step, decision.error, release.sha256)
    else refuse(step, payload, decision.error, { seq: assignment.seq, sha256: release.sha256 })
    return
  }
  if (!step.state.attempt.installTold) {
    step.change('attempt', { installTold: true })
    step.count({ installsStarted: 1 })
    step.event('install-started', { detail: release.name, assignmentSeq: assignment.seq, about: release.sha256 })
  }
  beginInstall(step, decision.value, release)
}

/** Timers of an update: a block that does not come, a trial that ends. */
export function updateTimers(step: Step): void {
  const { update, connected } = step.state
  const { consultation, nextPollMs } = step.state.repository
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
  if (verdict === 'retry') repeatRequests(step, update, 1)
  else if (verdict === 'give-up') {
    attemptFailed(step, {
      code: 'download-stalled',
      detail: `${update.offset} of ${update.artifact.bytes} bytes came`,
    })
  }
}
