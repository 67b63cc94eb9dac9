import type { Assignment, Release } from '../../../contract/release.ts'
import { EMPTY_IMAGE, withImage } from '../flash/boot-record.ts'
import { otherSlot } from '../flash/flash-layout.ts'
import { flashMillijoule } from '../power/energy.ts'
import { type Downloading, judgeBlock, nextRequests } from '../update/download.ts'
import type { ReleaseDecision } from '../update/update.ts'
import { downloadDelay } from '../update/update-schedule.ts'
import { attemptFailed, check, dropProgress, spoiled } from './agent-install.ts'
import { trustedNow } from './agent-repository.ts'
import type { AgentEvent } from './agent-state.ts'
import type { Step } from './agent-step.ts'

/** The agent's part in a download: asking for blocks, having them applied, waiting for its hours. What is decided on which grounds is in
 *  download.ts. */

/** Block requests are not queued and share this id; outbox ids begin at 1. */
const GET_ID = 0

/** One attempt at the image itself, which the other slot may hold already, or a part of it. */
export function beginInstall(step: Step, decision: ReleaseDecision, release: Release): void {
  const { record } = step.state
  const slot = otherSlot(record.active)
  if (decision.from === 'stored') {
    check(step, release, slot, null)
    return
  }
  const { artifact, offset } = decision
  if (offset === 0) {
    // What an earlier download has left says nothing of this one.
    dropProgress(step)
    // From here on the other slot is being overwritten: its old image must not be taken for whole. The first block is programmed in
    // a later step, which is not reached when this write fails.
    step.writeRecord({ phase: 'confirmed', images: withImage(record, slot, EMPTY_IMAGE) })
  }
  if (offset === artifact.bytes) {
    check(step, release, slot, artifact)
    return
  }
  const startedAtMs = step.now.monotonicMs
  const begun = { release, artifact, slot, offset, askedTo: offset, startedAtMs, requestedAtMs: startedAtMs }
  requestBlocks(step, { phase: 'downloading', ...begun, attempts: 1, damaged: 0 })
}

/** Asks for the blocks that may be under way and are not.
 *  @param inFlight how many; the radio's figure if not given */
function requestBlocks(
  step: Step,
  downloading: Downloading,
  inFlight: number = step.state.config.radio.blocksInFlight,
): void {
  const { state, payloads } = nextRequests(downloading, step.now.monotonicMs, inFlight)
  step.set({ update: state })
  if (!step.state.connected) return
  for (const payload of payloads) {
    step.radio('get', payload.length, 'tx')
    step.effect({ type: 'publish', id: GET_ID, kind: 'get', payload, qos: 0 })
  }
}

/** Asks again for what has not come, as after a reconnection: what was asked for before will not come.
 *  @param inFlight one for a gateway that has been silent, which may go on being so */
export function repeatRequests(step: Step, downloading: Downloading, inFlight?: number): void {
  const { offset, attempts } = downloading
  requestBlocks(step, { ...downloading, askedTo: offset, attempts: attempts + 1 }, inFlight)
}

/** @param sha256 of the artifact the block belongs to, from its topic */
export function blockArrived(step: Step, sha256: string, payload: Uint8Array): void {
  const { update, record } = step.state
  // A block of a download that a newer assignment has ended may still be on the air.
  if (update.phase !== 'downloading' || update.artifact.sha256 !== sha256) return
  const judged = judgeBlock(update, payload, step.now.monotonicMs)
  if (!judged.ok) {
    attemptFailed(step, judged.error)
    return
  }
  const decision = judged.value
  if (decision.kind === 'ignored') return
  if (decision.kind === 'refused') step.set({ update: decision.state })
  // One at a time until it is whole: those behind it that are under way will be for nothing.
  else if (decision.kind === 'damaged') requestBlocks(step, decision.state, 1)
  else {
    const { release, artifact, slot, offset } = update
    const { data, last } = decision
    const base = record.images[record.active]
    step.effect({ type: 'apply-block', release, artifact, slot, base, offset, data, last })
  }
}

/** A block and its progress are in flash. */
export function blockApplied(step: Step, { sha256, applied }: Extract<AgentEvent, { type: 'block-applied' }>): void {
  const { update, record } = step.state
  step.spend({ install: flashMillijoule(applied.writtenBytes) })
  if (update.phase !== 'downloading' || update.artifact.sha256 !== sha256) return
  const { release, artifact, slot } = update
  const { offset, progress } = applied
  const next = { ...update, offset, attempts: 1, damaged: 0 }
  step.set({ update: next })
  step.change('attempt', { progress })
  if (offset === artifact.bytes) {
    const { assignmentSeq } = record
    step.event('download-complete', { detail: release.name, assignmentSeq, about: release.sha256 })
    check(step, release, slot, artifact)
    return
  }
  if (!delayed(step, release)) requestBlocks(step, next)
}

/** A block could not be written, or is none of a patch that leads to the release. */
export function blockRefused(step: Step, { sha256, error }: Extract<AgentEvent, { type: 'block-refused' }>): void {
  const { update } = step.state
  if (update.phase !== 'downloading' || update.artifact.sha256 !== sha256) return
  // A flash that fails leaves the record of the block before.
  if (error.code !== 'flash-full' && error.code !== 'flash-write-failed') spoiled(step, update.release, update.artifact)
  attemptFailed(step, error)
}

/** Lets a download wait for its hours or for charge, and says so once.
 *  @returns whether it has to wait */
export function delayed(step: Step, target: Assignment['target']): boolean {
  const { config, governor, record } = step.state
  const { delayTold, window } = step.state.attempt
  const charge = config.power === null ? null : step.remainingMj / config.power.capacityMj
  const wallMs = trustedNow(step.state, step.now.wallMs)
  const delay = downloadDelay(wallMs, window ?? config.updateWindow, charge, governor.level)
  if (delay === undefined) return false
  const { error, waitMs } = delay
  const retryAtMs = step.now.monotonicMs + waitMs
  step.set({ update: { phase: 'waiting', target, reason: error.code, retryAtMs } })
  if (delayTold !== error.code) {
    step.change('attempt', { delayTold: error.code })
    step.event('install-delayed', { error, assignmentSeq: record.assignmentSeq, about: target.sha256 })
  }
  return true
}
