import { bytesEqual, hexToBytes } from '../../../contract/bytes.ts'
import type { ContractError } from '../../../contract/errors.ts'
import { EVENT_CODES, eventCodec } from '../../../contract/messages.ts'
import { seededRandom } from '../../../contract/random.ts'
import type { Release } from '../../../contract/release.ts'
import { EMPTY_IMAGE, penalty, withImage } from '../flash/boot-record.ts'
import { otherSlot } from '../flash/flash-layout.ts'
import type { Artifact, Downloading } from '../update/download.ts'
import {
  CHECK_WINDOW_MS,
  confirmedRecord,
  IDLE,
  RESTING_MS,
  RETRIES_MAX,
  RETRY_DELAY_MS,
  retryDelayMs,
  trialVerdict,
  wantedBy,
} from '../update/update.ts'
import { forgetConsultation } from './agent-repository.ts'
import type { AgentEvent, AgentState } from './agent-state.ts'
import type { EventDetails, Step } from './agent-step.ts'

/** The agent's part in an install, from the check of the image to the confirmed trial. Who asked for it, and whether it may begin, is in
 *  agent-update.ts; its blocks in agent-download.ts; what is decided on which grounds in update.ts. */

/** Has the host judge what is in the slot.
 *  @param artifact what was downloaded for it; null when the slot had it already */
export function check(step: Step, release: Release, slot: Downloading['slot'], artifact: Artifact | null): void {
  const deadlineMs = step.now.monotonicMs + CHECK_WINDOW_MS
  step.set({ update: { phase: 'checking', release, slot, artifact, deadlineMs } })
  step.effect({ type: 'check-image', slot, release })
}

/** A download has ended, or is wanted no more: it must not be gone on with. */
export function dropProgress(step: Step): void {
  if (step.state.attempt.progress === null) return
  step.change('attempt', { progress: null })
  step.effect({ type: 'clear-progress' })
}

/** Bytes that do not make the release: they are not gone on with, and after a patch the next attempt takes the bundle itself. */
export function spoiled(step: Step, release: Release, artifact: Artifact | null): void {
  dropProgress(step)
  if (artifact?.kind === 'patch') step.change('attempt', { withoutPatchesSha256: release.sha256 })
}

export function imageChecked(step: Step, event: Extract<AgentEvent, { type: 'image-checked' }>): void {
  const { update, record } = step.state
  // The check of an image that a newer assignment has replaced says nothing about the new one.
  if (update.phase !== 'checking' || update.release.sha256 !== event.sha256) return
  const { release, slot, artifact } = update
  const sha256 = hexToBytes(release.sha256)
  if (!event.result.ok) {
    // Not kept as "stored" either: bytes that have rotted must be fetched anew. Nor gone on with: first, so that a cut between the two
    // writes has it fetched and not judged a second time.
    spoiled(step, release, event.result.error.code === 'hash-mismatch' ? artifact : null)
    const images = withImage(record, slot, EMPTY_IMAGE)
    const { error } = event.result
    if (error.code === 'hash-mismatch') {
      // These bytes are not the image: they say nothing about it, and much about a cache, the air, a patch or this flash.
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
  dropProgress(step)
  step.set({ update: { phase: 'rebooting', release } })
  step.reboot(`trial of ${release.name}`)
}

/** An attempt has failed for a reason that may pass: a poisoned cache, a link, a tired flash, a repository that says what cannot be
 *  believed (whoever is between may say anything). Tried again, a bounded number of times. */
export function attemptFailed(step: Step, error: ContractError): void {
  const { update, config, record } = step.state
  const { attempts } = step.state.attempt
  if (update.phase === 'idle' || update.phase === 'trial' || update.phase === 'waiting') return
  forgetConsultation(step)
  const target = update.phase === 'consulting' ? update.target : update.release
  const { sha256 } = target
  if (attempts >= RETRIES_MAX) {
    installFailed(step, error)
    step.change('attempt', { restingSha256: sha256, restingUntilMs: step.now.monotonicMs + RESTING_MS })
    return
  }
  const draw = seededRandom(record.boots).fork(`${config.device} attempt ${attempts}`).next()
  const retryAtMs = step.now.monotonicMs + retryDelayMs(attempts, draw)
  step.set({ update: { phase: 'waiting', target, reason: error.code, retryAtMs } })
  step.change('attempt', { attempts: attempts + 1 })
  step.event('install-delayed', { error, assignmentSeq: record.assignmentSeq, about: sha256 })
}

/** The update is given up; the image that runs goes on. */
function installFailed(step: Step, error: ContractError): void {
  const { update } = step.state
  const wanted = wantedBy(update)
  if (wanted === undefined) return
  step.set({ update: IDLE })
  giveUp(step, error, wanted)
}

/** What was never begun has not failed: it is refused. */
export function giveUp(step: Step, error: ContractError, about: string | null): void {
  const { record } = step.state
  const { installTold } = step.state.attempt
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

/** Confirms a trial that is healthy, ends one whose time is up. */
export function concludeTrial(step: Step): void {
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
  const { record, manifest, model: running, outbox } = step.state
  const { untold } = record
  if (untold === 'none') return
  // Not what is accepted or runs by now: an acknowledgement that was kept back must not make a word of the past one of the present.
  const assignmentSeq = record.untoldSeq ?? record.assignmentSeq
  const before = untold === 'reverted' ? record.failedSha256 : record.images[record.active].sha256
  const about = record.untoldModel ?? before.slice(0, 8)
  const queued = outbox.messages.find(({ kind, payload }) => {
    const event = kind === 'event' ? eventCodec.decode(payload) : undefined
    return event?.ok && EVENT_CODES[event.value.code] === untold && event.value.assignmentSeq === assignmentSeq
  })
  if (queued !== undefined) {
    step.change('reporting', { untoldId: queued.id })
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
        }
      : bytesEqual(about, running)
        ? { detail: manifest.name }
        : {}
  step.change('reporting', { untoldId: step.event(untold, { ...details, assignmentSeq, about }) })
}

/** The gateway has the event. */
export function toldUntold(step: Step): void {
  step.change('reporting', { untoldId: 0 })
  step.writeRecord({ untold: 'none', untoldSeq: undefined, untoldModel: undefined })
}
