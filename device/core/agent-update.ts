import { bytesToHex, hexToBytes, sha256Hex } from '../../contract/bytes.ts'
import type { ContractError } from '../../contract/errors.ts'
import type { AgentEvent, AgentState } from './agent-state.ts'
import type { Step } from './agent-step.ts'
import { type BootRecord, EMPTY_IMAGE, penalty, type SlotImage } from './boot-record.ts'
import { flashMillijoule } from './energy.ts'
import { otherSlot, type SlotIndex } from './flash-layout.ts'
import {
  confirmedRecord,
  downloadTimedOut,
  IDLE,
  judgeAssignment,
  judgeBlock,
  nextRequest,
  trialVerdict,
} from './update.ts'

/** The agent's part in an update, event by event; what is decided on which grounds is in update.ts. */

/** Block requests are not queued and share this id; outbox ids begin at 1. */
const GET_ID = 0

type Downloading = Extract<AgentState['update'], { phase: 'downloading' }>

export function assigned(step: Step, payload: Uint8Array): void {
  const { config, record, update } = step.state
  const judged = judgeAssignment(payload, {
    assignment: {
      device: config.device,
      site: config.site,
      board: config.board.name,
      director: config.director,
      release: config.release,
      nowMs: step.now.wallMs,
    },
    record,
    board: config.board,
    radio: config.radio,
    slotBytes: config.slotBytes,
    featuresSha256: config.featuresSha256,
    remainingMj: step.remainingMj,
  })
  if (!judged.ok) {
    // The broker repeats a retained assignment at every connection: one that was refused is complained of once a boot.
    const digest = sha256Hex(payload)
    if (digest === step.state.refusedDigest) return
    step.set({ refusedDigest: digest })
    const { seq, sha256 } = judged.error
    if (seq !== undefined && seq > record.assignmentSeq) step.writeRecord({ assignmentSeq: seq })
    step.event('install-refused', {
      error: judged.error,
      about: sha256 ?? null,
      ...(seq !== undefined && { assignmentSeq: seq }),
    })
    return
  }
  const decision = judged.value
  if (update.phase === 'trial') {
    const running = bytesToHex(record.images[step.state.slot].sha256)
    if (decision.kind === 'stored' && decision.release.sha256 === running) {
      if (decision.seq > record.assignmentSeq) step.writeRecord({ assignmentSeq: decision.seq })
      return
    }
    // Wanted no more: back to the confirmed image without a mark against this one; the retained assignment is judged there.
    step.writeRecord({ phase: 'confirmed' })
    step.reboot('the trial was called off by a newer assignment')
    return
  }
  const busyWith = update.phase === 'idle' ? undefined : update.release.sha256
  const wanted = decision.kind === 'current' ? undefined : decision.release.sha256
  const isNew = decision.seq > record.assignmentSeq
  if (isNew) step.writeRecord({ assignmentSeq: decision.seq })
  if (busyWith === wanted) return
  if (decision.kind === 'current') {
    step.set({ update: IDLE })
    return
  }
  const slot = otherSlot(record.active)
  const { release, seq } = decision
  step.count({ installsStarted: 1 })
  step.event('install-started', { detail: release.name, assignmentSeq: seq, about: release.sha256 })
  if (decision.kind === 'stored') {
    step.set({ update: { phase: 'checking', release, slot } })
    step.effect({ type: 'check-image', slot, release })
    return
  }
  // From here on the other slot is being overwritten: its old image must not be taken for whole.
  step.writeRecord({ images: withImage(step.state.record, slot, EMPTY_IMAGE) })
  requestBlock(step, { phase: 'downloading', release, slot, offset: 0, requestedAtMs: 0, attempts: 0 })
}

function withImage(record: BootRecord, slot: SlotIndex, image: SlotImage): BootRecord['images'] {
  return slot === 0 ? [image, record.images[1]] : [record.images[0], image]
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
    installFailed(step, judged.error)
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
  step.set({ update: { phase: 'checking', release, slot } })
  step.effect({ type: 'check-image', slot, release })
}

export function imageChecked(step: Step, event: Extract<AgentEvent, { type: 'image-checked' }>): void {
  const { update, record } = step.state
  // The check of an image that a newer assignment has replaced says nothing about the new one.
  if (update.phase !== 'checking' || update.release.sha256 !== event.sha256) return
  const { release, slot } = update
  const sha256 = hexToBytes(release.sha256)
  if (!event.result.ok) {
    // Not kept as "stored" either: bytes that have rotted must be fetched anew.
    step.writeRecord({ ...penalty(record, sha256), images: withImage(record, slot, EMPTY_IMAGE) })
    installFailed(step, event.result.error)
    return
  }
  const images = withImage(record, slot, { sha256, bytes: release.bytes })
  step.writeRecord({ images, phase: 'pending' })
  step.set({ update: { phase: 'rebooting', release } })
  step.reboot(`trial of ${release.name}`)
}

export function installFailed(step: Step, error: ContractError): void {
  const { update, record } = step.state
  if (update.phase === 'idle' || update.phase === 'trial') return
  // Phase "rebooting": the record that was to start the trial did not reach the flash, so there is none to start.
  if (update.phase === 'rebooting') step.set({ record: { ...record, phase: 'confirmed' } })
  step.count({ installsFailed: 1 })
  step.set({ update: IDLE })
  step.event('install-failed', { error, assignmentSeq: record.assignmentSeq, about: update.release.sha256 })
}

/** Timers of an update: a block that does not come, a trial that ends. */
export function updateTimers(step: Step): void {
  const { update, connected } = step.state
  if (update.phase === 'trial') concludeTrial(step)
  if (update.phase !== 'downloading' || !connected) return
  const verdict = downloadTimedOut(update, step.now.monotonicMs)
  if (verdict === 'retry') requestBlock(step, update)
  else if (verdict === 'give-up') {
    installFailed(step, {
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
    const confirmed = confirmedRecord(record, manifest.securityCounter)
    step.set({ record: confirmed, update: IDLE })
    step.effect({ type: 'write-record', record: confirmed })
    step.count({ installsConfirmed: 1 })
    step.event('install-confirmed', { detail: manifest.name, assignmentSeq: record.assignmentSeq })
  } else if (verdict === 'failed') {
    step.reboot('the trial was not confirmed in time')
  }
}
