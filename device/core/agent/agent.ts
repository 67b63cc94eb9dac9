import { bytesToHex } from '../../../contract/bytes.ts'
import type { ContractError } from '../../../contract/errors.ts'
import { COUNTER_NAMES, type CounterName, type Counters, LADDER_LEVELS, wakeCodec } from '../../../contract/messages.ts'
import { otherSlot } from '../flash/flash-layout.ts'
import { addBins, type Heard, zeroBins } from '../listen/heard.ts'
import { acknowledge, forgetInFlight } from '../outbox.ts'
import { activeMsOf, addEnergy, listeningEnergy, macsOf, NO_ENERGY } from '../power/energy.ts'
import { HIBERNATE, initialGovernor, observeListening } from '../power/governor.ts'
import { BLOCK_TIMEOUT_MS } from '../update/download.ts'
import { IDLE, RETRY_DELAY_MS, TRIAL_WINDOW_MS } from '../update/update.ts'
import { blockApplied, blockArrived, blockRefused, repeatRequests } from './agent-download.ts'
import { flashFailed, imageChecked, recordWritten, tellUntold, toldUntold } from './agent-install.ts'
import { consultationTimedOut, META_TIMEOUT_MS, metaArrived, repeatRequest } from './agent-repository.ts'
import {
  type AgentConfig,
  type AgentEvent,
  type AgentState,
  type BootContext,
  copyState,
  type Now,
  type StepResult,
} from './agent-state.ts'
import { GOVERN_INTERVAL_MS, Step } from './agent-step.ts'
import { assigned, consulted, POLL_INTERVAL_MS, updateTimers } from './agent-update.ts'

/** Chosen: a model on trial reports this soon, so that a broken link to the gateway shows within the trial. */
const TRIAL_REPORT_MS = 10 * 60_000

const zeroCounters = (): Counters =>
  Object.fromEntries(COUNTER_NAMES.map((name) => [name, 0])) as Record<CounterName, number>

/** Starts the agent after a boot.
 *  @param boot what the boot found; its record is already written
 */
export function startAgent(config: AgentConfig, boot: BootContext, now: Now): StepResult {
  const { record, slot, outcome, manifest } = boot
  const trial = outcome === 'trial'
  const level = LADDER_LEVELS.indexOf(config.fixedLevel)
  const step = new Step(
    {
      config,
      record,
      slot,
      manifest,
      model: record.images[slot].sha256.slice(0, 8),
      bootedAtMs: now.monotonicMs,
      counters: zeroCounters(),
      levelMs: LADDER_LEVELS.map(() => 0),
      energy: NO_ENERGY,
      batteryAtBootMj: boot.batteryMj,
      posteriorBins: zeroBins(),
      noiseBins: zeroBins(),
      governor: initialGovernor(level, now.wallMs),
      outbox: boot.outbox,
      connected: false,
      spooled: boot.outbox.messages.length > 0,
      update: trial
        ? {
            phase: 'trial',
            deadlineMs: now.monotonicMs + TRIAL_WINDOW_MS,
            windowsHeard: 0,
            reportAcknowledged: false,
            confirmAtMs: Number.NEGATIVE_INFINITY,
          }
        : IDLE,
      reportSeq: 0,
      eventSeq: 0,
      nextReportMs: now.monotonicMs + (trial ? Math.min(TRIAL_REPORT_MS, config.reportPhaseMs) : config.reportPhaseMs),
      nextGovernMs: now.monotonicMs + GOVERN_INTERVAL_MS,
      firstReportId: 0,
      refusedDigest: '',
      refusals: 0,
      refusalsFromMs: Number.NEGATIVE_INFINITY,
      trust: boot.trust,
      trustVerified: false,
      floorAtMs: now.monotonicMs,
      consultation: null,
      nextPollMs: now.monotonicMs + POLL_INTERVAL_MS,
      unknownDirector: null,
      unknownDirectorAtMs: Number.NEGATIVE_INFINITY,
      installTold: false,
      assignment: new Uint8Array(0),
      attempts: 0,
      progress: boot.progress,
      withoutPatchesSha256: '',
      delayTold: '',
      restingSha256: '',
      restingUntilMs: 0,
      untoldId: 0,
      batteryLowTold: false,
      engineFailedAtMs: Number.NEGATIVE_INFINITY,
      radioAtMs: Number.NEGATIVE_INFINITY,
    },
    now,
  )
  step.event('booted', { detail: `slot ${slot}, ${outcome}`, ...(boot.trouble && { error: boot.trouble }) })
  const { assignmentSeq } = record
  if (trial) step.event('trial-started', { assignmentSeq })
  if (outcome === 'reverted') step.count({ installsFailed: 1 })
  if (outcome === 'abandoned' && boot.trouble !== undefined) {
    const failed = record.images[otherSlot(slot)].sha256
    step.count({ installsFailed: 1 })
    step.event('install-failed', { error: boot.trouble, assignmentSeq, about: failed })
    step.set({ restingSha256: bytesToHex(failed), restingUntilMs: now.monotonicMs + RETRY_DELAY_MS })
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
    case 'tick':
      break
  }
  if (!next.isRebooting) timers(next)
  return next.result()
}

/** When the agent wants the next `tick`, monotonic ms. */
export function nextDeadlineMs(state: AgentState): number {
  const { update, connected, consultation } = state
  let dueMs = Math.min(state.nextReportMs, state.nextGovernMs)
  // Without a link nothing can come: the reconnection asks again, not the clock.
  if (connected) {
    if (consultation !== null) dueMs = Math.min(dueMs, consultation.requestedAtMs + META_TIMEOUT_MS)
    else if (update.phase === 'idle') dueMs = Math.min(dueMs, state.nextPollMs)
    if (update.phase === 'downloading') dueMs = Math.min(dueMs, update.requestedAtMs + BLOCK_TIMEOUT_MS)
  }
  if (update.phase === 'trial' || update.phase === 'checking') dueMs = Math.min(dueMs, update.deadlineMs)
  if (update.phase === 'waiting') dueMs = Math.min(dueMs, update.retryAtMs)
  return dueMs
}

function timers(step: Step): void {
  const { state, now } = step
  if (now.monotonicMs >= state.nextReportMs) {
    step.report()
    // While the link is down the queue also goes to flash, so that a power cut loses at most an interval.
    if (!state.connected) step.saveSpool()
  }
  if (now.monotonicMs >= state.nextGovernMs) step.govern()
  consulted(step, consultationTimedOut(step))
  updateTimers(step)
}

function published(step: Step, id: number): void {
  const { state } = step
  const message = state.outbox.messages.find((candidate) => candidate.id === id)
  step.set({ outbox: acknowledge(state.outbox, id) })
  if (step.state.spooled && step.state.outbox.messages.length === 0) {
    step.set({ spooled: false })
    step.effect({ type: 'clear-spool' })
  }
  if (state.untoldId > 0 && id === state.untoldId) toldUntold(step)
  // Any report of this boot will do: at the bound of the outbox the first one is dropped in favour of later ones.
  const isReport = message?.kind === 'report' && state.firstReportId > 0 && id >= state.firstReportId
  if (state.update.phase === 'trial' && isReport) {
    step.set({ update: { ...state.update, reportAcknowledged: true } })
  }
}

function engineFailed(step: Step, error: ContractError): void {
  const { config, engineFailedAtMs, update } = step.state
  // An engine that fails does so at every hop, five times a second: said once a report interval, or the radio would be busy
  // with nothing else.
  if (step.now.monotonicMs - engineFailedAtMs >= config.reportIntervalMs) {
    step.set({ engineFailedAtMs: step.now.monotonicMs })
    step.event('engine-failed', { error })
  }
  // A confirmed model that fails keeps running as far as it can; a model on trial has lost its trial.
  if (update.phase === 'trial') step.reboot('engine failed on trial')
}

function heard(step: Step, stretch: Heard): void {
  const { config, governor, manifest, update } = step.state
  const level = LADDER_LEVELS[governor.level]
  const ladderStep = manifest.ladder.find((candidate) => candidate.level === level)
  const macs = ladderStep === undefined ? 0 : macsOf(manifest, ladderStep)
  const wakes = stretch.wakes.length
  const { state } = step
  const { counters } = state
  const firstWake = counters.wakes
  const next = copyState(state)
  next.energy = addEnergy(state.energy, listeningEnergy(config.board, macs, stretch))
  next.levelMs = state.levelMs.map((ms, i) => (i === governor.level ? ms + stretch.elapsedMs : ms))
  next.posteriorBins = addBins(state.posteriorBins, stretch.posteriorBins)
  next.noiseBins = addBins(state.noiseBins, stretch.noiseBins)
  next.governor = observeListening(governor, stretch)
  const activeMs = activeMsOf(config.board, macs, stretch.inferences, wakes, manifest.policy.wakeHoldMs)
  next.counters = {
    listeningMs: counters.listeningMs + stretch.listeningMs,
    windows: counters.windows + stretch.windows,
    inferences: counters.inferences + stretch.inferences,
    wakes: counters.wakes + wakes,
    gateOpenings: counters.gateOpenings + stretch.gateOpenings,
    overruns: counters.overruns + stretch.overruns,
    activeMs: counters.activeMs + activeMs,
    spoolDrops: counters.spoolDrops,
    radioRxBytes: counters.radioRxBytes,
    radioTxBytes: counters.radioTxBytes,
    installsStarted: counters.installsStarted,
    installsConfirmed: counters.installsConfirmed,
    installsFailed: counters.installsFailed,
    ladderMoves: counters.ladderMoves,
  }
  step.state = next
  stretch.wakes.forEach((wake, i) => {
    step.effect({ type: 'tell-wake', wake })
    step.enqueue(
      'wake',
      wakeCodec.encode({
        boot: step.state.record.boots,
        index: firstWake + i + 1,
        wallMs: step.now.wallMs,
        model: step.state.model,
        label: wake.label,
        posteriorPermille: wake.posteriorPermille,
        level: governor.level,
        features: wake.features,
        noiseDb: Math.max(-120, Math.min(0, wake.noiseDb)),
      }),
    )
  })
  if (update.phase === 'trial') {
    step.set({ update: { ...update, windowsHeard: update.windowsHeard + stretch.windows } })
    if (governor.level === HIBERNATE) {
      // A hibernating device hears nothing; it must not fail a trial for that.
      step.set({ update: { ...update, windowsHeard: Number.POSITIVE_INFINITY } })
    }
  }
}
