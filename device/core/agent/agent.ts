import { bootedDetail } from '../../../contract/attested-event.ts'
import { bytesToHex } from '../../../contract/bytes.ts'
import { LADDER_LEVELS } from '../../../contract/ladder-levels.ts'
import { otherSlot } from '../flash/flash-layout.ts'
import { HEALTHY } from '../listen/microphone.ts'
import { pipelineSignals } from '../listen/pipeline-signals.ts'
import { fullWakeLimit } from '../listen/wake-limit.ts'
import { acknowledge, forgetInFlight } from '../outbox.ts'
import { initialGovernor } from '../power/governor.ts'
import { COOL } from '../power/heat.ts'
import { BLOCK_TIMEOUT_MS } from '../update/download.ts'
import { IDLE, RETRY_DELAY_MS, TRIAL_WINDOW_MS } from '../update/update.ts'
import { blockApplied, blockArrived, blockRefused, repeatRequests } from './agent-download.ts'
import { engineFailed } from './agent-engine.ts'
import { flashFailed, imageChecked, recordWritten, tellUntold, toldUntold } from './agent-install.ts'
import { heard } from './agent-listening.ts'
import { consultationTimedOut, META_TIMEOUT_MS, metaArrived, repeatRequest } from './agent-repository.ts'
import type { AgentConfig, AgentEvent, AgentState, BootContext, Now, StepResult } from './agent-state.ts'
import { GOVERN_INTERVAL_MS, Step } from './agent-step.ts'
import { assigned, consulted, POLL_INTERVAL_MS, updateTimers } from './agent-update.ts'
import { noAttempt } from './attempt.ts'
import { ENGINE_WELL, nearestLevel } from './engine-health.ts'
import { noMeasures } from './measures.ts'
import { nothingReported } from './reporting.ts'
import { repositoryAtBoot } from './repository-view.ts'

/** Chosen: a model on trial reports this soon, so that a broken link to the gateway shows within the trial. */
const TRIAL_REPORT_MS = 10 * 60_000

/** Starts the agent after a boot.
 *  @param boot what the boot found; its record is already written
 */
export function startAgent(config: AgentConfig, boot: BootContext, now: Now): StepResult {
  const { record, slot, outcome, manifest } = boot
  const trial = outcome === 'trial'
  const level = nearestLevel(manifest, LADDER_LEVELS.indexOf(config.fixedLevel))
  const nowMs = now.monotonicMs
  const firstReportMs = trial ? Math.min(TRIAL_REPORT_MS, config.reportPhaseMs) : config.reportPhaseMs
  const step = new Step(
    {
      config,
      record,
      slot,
      manifest,
      model: record.images[slot].sha256.slice(0, 8),
      bootedAtMs: nowMs,
      batteryAtBootMj: boot.batteryMj,
      measures: noMeasures(nowMs, pipelineSignals(manifest).length),
      governor: initialGovernor(level, now.wallMs),
      heat: COOL,
      engine: ENGINE_WELL,
      nextGovernMs: nowMs + GOVERN_INTERVAL_MS,
      connected: false,
      radioAtMs: Number.NEGATIVE_INFINITY,
      microphone: { health: HEALTHY, told: null },
      wakeLimit: fullWakeLimit(nowMs),
      outbox: boot.outbox,
      reporting: nothingReported(nowMs + firstReportMs, boot.outbox.messages.length > 0),
      repository: repositoryAtBoot(boot.trust, nowMs, nowMs + POLL_INTERVAL_MS),
      update: trial
        ? {
            phase: 'trial',
            deadlineMs: nowMs + TRIAL_WINDOW_MS,
            windowsHeard: 0,
            reportAcknowledged: false,
            confirmAtMs: Number.NEGATIVE_INFINITY,
          }
        : IDLE,
      attempt: noAttempt(boot.progress),
    },
    now,
  )
  step.event('booted', { detail: bootedDetail(slot, outcome), ...(boot.trouble && { error: boot.trouble }) })
  const { assignmentSeq } = record
  if (trial) step.event('trial-started', { assignmentSeq })
  if (outcome === 'reverted') step.count({ installsFailed: 1 })
  if (outcome === 'abandoned' && boot.trouble !== undefined) {
    const failed = record.images[otherSlot(slot)].sha256
    step.count({ installsFailed: 1 })
    step.event('install-failed', { error: boot.trouble, assignmentSeq, about: failed })
    step.change('attempt', { restingSha256: bytesToHex(failed), restingUntilMs: nowMs + RETRY_DELAY_MS })
  }
  tellUntold(step)
  step.govern()
  return step.result()
}

/** The agent's one entry: takes an event, returns the next state and what the host is to do. Reads no clock and does nothing by
 *  itself.
 */
export function step(state: AgentState, event: AgentEvent, now: Now): StepResult {
  const next = new Step(state, now)
  switch (event.type) {
    case 'connected':
      next.set({ connected: true, outbox: forgetInFlight(state.outbox) })
      // A block that was asked for before the link broke will not come.
      if (state.update.phase === 'downloading') repeatRequests(next, state.update)
      repeatRequest(next)
      break
    case 'disconnected':
      next.set({ connected: false, outbox: forgetInFlight(state.outbox) })
      break
    case 'published':
      published(next, event.id)
      break
    case 'received':
      next.radio(event.kind, event.payload.length, 'rx', event.kind === 'block' ? event.sha256 : undefined)
      if (event.kind === 'assign') assigned(next, event.payload)
      else if (event.kind === 'block') blockArrived(next, event.sha256, event.payload)
      else if (event.kind === 'meta') consulted(next, metaArrived(next, event.payload))
      break
    case 'heard':
      heard(next, event.heard)
      break
    case 'image-checked':
      imageChecked(next, event)
      break
    case 'block-applied':
      blockApplied(next, event)
      break
    case 'block-refused':
      blockRefused(next, event)
      break
    case 'flash-failed':
      flashFailed(next, event.error, event.record)
      break
    case 'record-written':
      recordWritten(next)
      break
    case 'engine-failed':
      engineFailed(next, event.error)
      break
    case 'report-requested':
      next.report()
      break
    case 'stopping':
      // What is not acknowledged before the power goes is said by the next boot.
      next.report()
      next.saveSpool()
      break
    case 'tick':
      break
  }
  if (!next.isRebooting) timers(next)
  return next.result()
}

/** When the agent wants the next `tick`, monotonic ms. */
export function nextDeadlineMs(state: AgentState): number {
  const { update, connected } = state
  const { consultation } = state.repository
  let dueMs = Math.min(state.reporting.nextReportMs, state.nextGovernMs)
  // Without a link nothing can come: the reconnection asks again, not the clock.
  if (connected) {
    if (consultation !== null) dueMs = Math.min(dueMs, consultation.requestedAtMs + META_TIMEOUT_MS)
    else if (update.phase === 'idle') dueMs = Math.min(dueMs, state.repository.nextPollMs)
    if (update.phase === 'downloading') dueMs = Math.min(dueMs, update.requestedAtMs + BLOCK_TIMEOUT_MS)
  }
  if (update.phase === 'trial' || update.phase === 'checking') dueMs = Math.min(dueMs, update.deadlineMs)
  if (update.phase === 'waiting') dueMs = Math.min(dueMs, update.retryAtMs)
  return dueMs
}

function timers(step: Step): void {
  const { state, now } = step
  if (now.monotonicMs >= state.reporting.nextReportMs) {
    // While the link is down, or nobody acknowledges, the queue also goes to flash: a power cut loses at most an interval of it.
    const waits = !state.connected || state.outbox.messages.length > 0
    step.report()
    if (waits) step.saveSpool()
  }
  if (now.monotonicMs >= state.nextGovernMs) step.govern()
  consulted(step, consultationTimedOut(step))
  updateTimers(step)
}

function published(step: Step, id: number): void {
  const { state } = step
  const message = state.outbox.messages.find((candidate) => candidate.id === id)
  step.set({ outbox: acknowledge(state.outbox, id) })
  if (step.state.reporting.spooled && step.state.outbox.messages.length === 0) {
    step.change('reporting', { spooled: false })
    step.effect({ type: 'clear-spool' })
  }
  if (state.reporting.untoldId > 0 && id === state.reporting.untoldId) toldUntold(step)
  // Any report of this boot will do: at the bound of the outbox the first one is dropped in favour of later ones.
  const isReport =
    message?.kind === 'report' && state.reporting.firstReportId > 0 && id >= state.reporting.firstReportId
  if (state.update.phase === 'trial' && isReport) {
    step.set({ update: { ...state.update, reportAcknowledged: true } })
  }
}
