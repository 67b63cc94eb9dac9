import { bytesToHex, hexToBytes } from '../../contract/bytes.ts'
import type { ContractError } from '../../contract/errors.ts'
import { LIMITS } from '../../contract/limits.ts'
import {
  COUNTER_NAMES,
  type CounterName,
  type Counters,
  ENERGY_NAMES,
  EVENT_CODES,
  type EventCode,
  eventCodec,
  LADDER_LEVELS,
  reportCodec,
  wakeCodec,
} from '../../contract/messages.ts'
import { type DeviceId, devicePrefix, type SiteId } from '../../contract/topics.ts'
import type { AgentConfig, AgentEffect, AgentEvent, AgentState, BootContext, Now, StepResult } from './agent-state.ts'
import { type BootRecord, EMPTY_IMAGE, penalty, type SlotImage } from './boot-record.ts'
import {
  activeMsOf,
  addEnergy,
  type EnergyAccounts,
  flashMillijoule,
  listeningEnergy,
  macsOf,
  NO_ENERGY,
  totalEnergy,
} from './energy.ts'
import { otherSlot, type SlotIndex } from './flash-layout.ts'
import { govern, HIBERNATE, initialGovernor, observeListening } from './governor.ts'
import { addBins, type Heard, zeroBins } from './heard.ts'
import { acknowledge, enqueue, forgetInFlight, type OutboxKind, takeForSending } from './outbox.ts'
import {
  BLOCK_TIMEOUT_MS,
  confirmedRecord,
  downloadTimedOut,
  IDLE,
  judgeAssignment,
  judgeBlock,
  nextRequest,
  TRIAL_WINDOW_MS,
  trialVerdict,
} from './update.ts'

/** Chosen: the battery is looked at this often. */
const GOVERN_INTERVAL_MS = 10 * 60_000
/** Chosen: a model on trial reports this soon, so that a broken link to the gateway shows within the trial. */
const TRIAL_REPORT_MS = 10 * 60_000
/** Chosen: a link idle for longer pays for a new session. */
const RADIO_SESSION_IDLE_MS = 5 * 60_000
/** QoS-1 PUBLISH: fixed header, topic length, packet id; and the four bytes of its PUBACK. */
const MQTT_OVERHEAD_BYTES = 11
/** outbox ids stay below; block requests are not queued and share one id above. */
const GET_ID = 0

const zeroCounters = (): Counters =>
  Object.fromEntries(COUNTER_NAMES.map((name) => [name, 0])) as Record<CounterName, number>

/** State under construction during one step: the parts change by replacement, the effects in order. */
class Step {
  state: AgentState
  readonly effects: AgentEffect[] = []
  readonly now: Now

  constructor(state: AgentState, now: Now) {
    this.state = state
    this.now = now
  }

  set(change: Partial<AgentState>): void {
    this.state = { ...this.state, ...change }
  }

  count(change: Partial<Record<CounterName, number>>): void {
    const counters = { ...this.state.counters }
    for (const [name, by] of Object.entries(change)) counters[name as CounterName] += by
    this.set({ counters })
  }

  spend(energy: Partial<EnergyAccounts>): void {
    this.set({ energy: addEnergy(this.state.energy, energy) })
  }

  get remainingMj(): number {
    return Math.max(0, this.state.batteryAtBootMj - totalEnergy(this.state.energy))
  }

  /** Radio bytes of one message with its topic, and the cost of waking the link. */
  radio(kind: string, payloadBytes: number, direction: 'rx' | 'tx'): void {
    const { config, radioAtMs } = this.state
    const topicBytes = devicePrefix(config.site as SiteId, config.device as DeviceId).length + kind.length
    const bytes = payloadBytes + topicBytes + MQTT_OVERHEAD_BYTES
    const session = this.now.monotonicMs - radioAtMs > RADIO_SESSION_IDLE_MS ? config.radio.fixedMillijoule : 0
    this.count(direction === 'rx' ? { radioRxBytes: bytes } : { radioTxBytes: bytes })
    this.spend({ radio: (bytes / 1024) * config.radio.millijoulePerKilobyte + session })
    this.set({ radioAtMs: this.now.monotonicMs })
  }

  enqueue(kind: OutboxKind, payload: Uint8Array): number {
    const { outbox } = this.state
    const next = enqueue(outbox, kind, payload)
    if (next.dropped > outbox.dropped) this.count({ spoolDrops: 1 })
    this.set({ outbox: next })
    return outbox.nextId
  }

  /** Sends what may be sent. Called once at the end of each step. */
  flush(): void {
    if (!this.state.connected) return
    const { outbox, sending } = takeForSending(this.state.outbox)
    this.set({ outbox })
    for (const { id, kind, payload } of sending) {
      this.radio(kind, payload.length, 'tx')
      this.effects.push({ type: 'publish', id, kind, payload, qos: 1 })
    }
  }

  event(code: EventCode, error?: ContractError, detail?: string, assignmentSeq?: number): void {
    const { state, now } = this
    const say = (detail ?? error?.detail)?.slice(0, LIMITS.eventDetailLength)
    this.effects.push({ type: 'tell-event', code, error: error?.code, detail: say })
    this.set({ eventSeq: state.eventSeq + 1 })
    this.enqueue(
      'event',
      eventCodec.encode({
        boot: state.record.boots,
        seq: state.eventSeq,
        wallMs: now.wallMs,
        code: EVENT_CODES.indexOf(code),
        model: state.model,
        error: error?.code,
        detail: say,
        assignmentSeq,
      }),
    )
  }

  report(): void {
    const { state, now } = this
    const { counters, energy } = state
    const capacity = state.config.power?.capacityMj
    const share = capacity === undefined ? 1 : this.remainingMj / capacity
    const id = this.enqueue(
      'report',
      reportCodec.encode({
        boot: state.record.boots,
        seq: state.reportSeq,
        uptimeMs: Math.round(now.monotonicMs - state.bootedAtMs),
        wallMs: now.wallMs,
        model: state.model,
        slot: state.slot,
        level: state.governor.level,
        counters: COUNTER_NAMES.map((name) => Math.round(counters[name])),
        levelMs: state.levelMs.map(Math.round),
        energyMj: ENERGY_NAMES.map((name) => Math.round(energy[name])),
        batteryPermille: Math.round(Math.min(1, Math.max(0, share)) * 1000),
        posteriorBins: state.posteriorBins,
        noiseBins: state.noiseBins,
        assignmentSeq: state.record.assignmentSeq,
      }),
    )
    this.set({
      reportSeq: state.reportSeq + 1,
      nextReportMs: now.monotonicMs + state.config.reportIntervalMs,
      firstReportId: state.firstReportId > 0 ? state.firstReportId : id,
    })
  }

  writeRecord(change: Partial<AgentState['record']>): void {
    const record = { ...this.state.record, ...change, seq: this.state.record.seq + 1 }
    this.set({ record })
    this.effects.push({ type: 'write-record', record })
  }

  saveSpool(): void {
    this.set({ spooled: true })
    this.effects.push({ type: 'save-spool', outbox: this.state.outbox })
  }

  /** A planned reboot: the counters of this boot and what was not acknowledged go through the flash spool. */
  reboot(reason: string): void {
    this.report()
    this.saveSpool()
    this.effects.push({ type: 'reboot', reason })
  }

  govern(): void {
    const { config, governor, manifest } = this.state
    this.set({ nextGovernMs: this.now.monotonicMs + GOVERN_INTERVAL_MS })
    if (config.power === null || !config.governed) return
    const next = govern(
      governor,
      manifest,
      config.board,
      config.timing,
      config.power,
      this.remainingMj,
      this.now.wallMs,
    )
    this.set({ governor: next })
    if (next.level === governor.level) return
    const [from, to] = [LADDER_LEVELS[governor.level]!, LADDER_LEVELS[next.level]!]
    this.count({ ladderMoves: 1 })
    this.effects.push({ type: 'set-level', level: to })
    this.event('level-changed', undefined, `${from} to ${to}`)
  }
}

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
        ? { phase: 'trial', deadlineMs: now.monotonicMs + TRIAL_WINDOW_MS, windowsHeard: 0, reportAcknowledged: false }
        : IDLE,
      reportSeq: 0,
      eventSeq: 0,
      nextReportMs: now.monotonicMs + (trial ? Math.min(TRIAL_REPORT_MS, config.reportPhaseMs) : config.reportPhaseMs),
      nextGovernMs: now.monotonicMs + GOVERN_INTERVAL_MS,
      firstReportId: 0,
      refusedSeq: -1,
      radioAtMs: Number.NEGATIVE_INFINITY,
    },
    now,
  )
  step.event('booted', undefined, `slot ${slot}, ${outcome}`)
  if (trial) step.event('trial-started')
  if (outcome === 'reverted') {
    step.count({ installsFailed: 1 })
    step.event('reverted', { code: 'trial-failed', detail: 'the trial was not confirmed' })
  }
  step.govern()
  return { state: step.state, effects: step.effects }
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
      if (state.update.phase === 'downloading') request(next, state.update)
      break
    case 'disconnected':
      next.set({ connected: false, outbox: forgetInFlight(state.outbox) })
      break
    case 'published':
      published(next, event.id)
      break
    case 'received':
      next.radio(event.kind, event.payload.length, 'rx')
      if (event.kind === 'assign') assigned(next, event.payload)
      else if (event.kind === 'block') blockArrived(next, event.payload)
      break
    case 'heard':
      heard(next, event.heard)
      break
    case 'image-checked':
      imageChecked(next, event)
      break
    case 'flash-failed':
      installFailed(next, event.error)
      break
    case 'engine-failed':
      next.event('engine-failed', event.error)
      // A confirmed model that fails keeps running as far as it can; a model on trial has lost its trial.
      if (state.update.phase === 'trial') next.reboot('engine failed on trial')
      break
    case 'report-requested':
      next.report()
      break
    case 'tick':
      break
  }
  timers(next)
  next.flush()
  return { state: next.state, effects: next.effects }
}

/** When the agent wants the next `tick`, monotonic ms. */
export function nextDeadlineMs(state: AgentState): number {
  const { update } = state
  const due = [state.nextReportMs, state.nextGovernMs]
  if (update.phase === 'downloading') due.push(update.requestedAtMs + BLOCK_TIMEOUT_MS)
  if (update.phase === 'trial') due.push(update.deadlineMs)
  return Math.min(...due)
}

function timers(step: Step): void {
  const { state, now } = step
  if (now.monotonicMs >= state.nextReportMs) {
    step.report()
    // While the link is down the queue also goes to flash, so that a power cut loses at most an interval.
    if (!state.connected) step.saveSpool()
  }
  if (now.monotonicMs >= state.nextGovernMs) step.govern()
  const { update } = step.state
  if (update.phase === 'downloading' && state.connected) {
    const verdict = downloadTimedOut(update, now.monotonicMs)
    if (verdict === 'retry') request(step, update)
    else if (verdict === 'give-up') {
      installFailed(step, {
        code: 'download-stalled',
        detail: `${update.offset} of ${update.release.bytes} bytes came`,
      })
    }
  }
  if (update.phase === 'trial') concludeTrial(step)
}

function published(step: Step, id: number): void {
  const { state } = step
  step.set({ outbox: acknowledge(state.outbox, id) })
  if (step.state.spooled && step.state.outbox.messages.length === 0) {
    step.set({ spooled: false })
    step.effects.push({ type: 'clear-spool' })
  }
  if (state.update.phase === 'trial' && id === state.firstReportId) {
    step.set({ update: { ...state.update, reportAcknowledged: true } })
  }
}

function assigned(step: Step, payload: Uint8Array): void {
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
    const { seq } = judged.error
    if (seq !== undefined && seq === step.state.refusedSeq) return
    step.set({ refusedSeq: seq ?? step.state.refusedSeq })
    if (seq !== undefined && seq > record.assignmentSeq) step.writeRecord({ assignmentSeq: seq })
    step.event('install-refused', judged.error, undefined, seq)
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
  step.count({ installsStarted: 1 })
  step.event('install-started', undefined, decision.release.name, decision.seq)
  if (decision.kind === 'stored') {
    step.set({ update: { phase: 'checking', release: decision.release, slot } })
    step.effects.push({ type: 'check-image', slot, release: decision.release })
    return
  }
  // From here on the other slot is being overwritten: its old image must not be taken for whole.
  step.writeRecord({ images: withImage(step.state.record, slot, EMPTY_IMAGE) })
  request(step, { phase: 'downloading', release: decision.release, slot, offset: 0, requestedAtMs: 0, attempts: 0 })
}

function withImage(record: BootRecord, slot: SlotIndex, image: SlotImage): BootRecord['images'] {
  return slot === 0 ? [image, record.images[1]] : [record.images[0], image]
}

function request(step: Step, downloading: Extract<AgentState['update'], { phase: 'downloading' }>): void {
  const { state, payload } = nextRequest(downloading, step.now.monotonicMs)
  step.set({ update: state })
  if (!step.state.connected) return
  step.radio('get', payload.length, 'tx')
  step.effects.push({ type: 'publish', id: GET_ID, kind: 'get', payload, qos: 0 })
}

function blockArrived(step: Step, payload: Uint8Array): void {
  const { update } = step.state
  if (update.phase !== 'downloading') return
  const judged = judgeBlock(update, payload)
  if (!judged.ok) {
    installFailed(step, judged.error)
    return
  }
  const decision = judged.value
  if (decision.kind === 'ignored') return
  step.effects.push({ type: 'program-slot', slot: update.slot, offset: decision.offset, data: decision.data })
  step.spend({ install: flashMillijoule(decision.data.length) })
  if (!decision.complete) {
    request(step, decision.state)
    return
  }
  step.event('download-complete', undefined, update.release.name)
  step.set({ update: { phase: 'checking', release: update.release, slot: update.slot } })
  step.effects.push({ type: 'check-image', slot: update.slot, release: update.release })
}

function imageChecked(step: Step, event: Extract<AgentEvent, { type: 'image-checked' }>): void {
  const { update, record } = step.state
  if (update.phase !== 'checking' || update.slot !== event.slot) return
  const { release } = update
  const sha256 = hexToBytes(release.sha256)
  if (!event.result.ok) {
    step.writeRecord(penalty(record, sha256))
    installFailed(step, event.result.error)
    return
  }
  const images = withImage(record, update.slot, { sha256, bytes: release.bytes })
  step.writeRecord({ images, phase: 'pending' })
  step.set({ update: { phase: 'rebooting', release } })
  step.reboot(`trial of ${release.name}`)
}

function installFailed(step: Step, error: ContractError): void {
  const { phase } = step.state.update
  if (phase !== 'downloading' && phase !== 'checking') return
  step.count({ installsFailed: 1 })
  step.set({ update: IDLE })
  step.event('install-failed', error, undefined, step.state.record.assignmentSeq)
}

function heard(step: Step, stretch: Heard): void {
  const { config, governor, manifest, update } = step.state
  const level = LADDER_LEVELS[governor.level]!
  const ladderStep = manifest.ladder.find((candidate) => candidate.level === level)
  const macs = ladderStep === undefined ? 0 : macsOf(manifest, ladderStep)
  const wakes = stretch.wakes.length
  step.spend(listeningEnergy(config.board, macs, stretch))
  step.set({
    levelMs: step.state.levelMs.map((ms, i) => (i === governor.level ? ms + stretch.elapsedMs : ms)),
    posteriorBins: addBins(step.state.posteriorBins, stretch.posteriorBins),
    noiseBins: addBins(step.state.noiseBins, stretch.noiseBins),
    governor: observeListening(governor, stretch),
  })
  const firstWake = step.state.counters.wakes
  step.count({
    listeningMs: stretch.listeningMs,
    windows: stretch.windows,
    inferences: stretch.inferences,
    gateOpenings: stretch.gateOpenings,
    overruns: stretch.overruns,
    wakes,
    activeMs: activeMsOf(config.board, macs, stretch.inferences, wakes, manifest.policy.wakeHoldMs),
  })
  stretch.wakes.forEach((wake, i) => {
    step.effects.push({ type: 'tell-wake', wake })
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

function concludeTrial(step: Step): void {
  const { update, manifest, record } = step.state
  if (update.phase !== 'trial') return
  const verdict = trialVerdict(update, step.now.monotonicMs)
  if (verdict === 'healthy') {
    const confirmed = confirmedRecord(record, manifest.securityCounter)
    step.set({ record: confirmed, update: IDLE })
    step.effects.push({ type: 'write-record', record: confirmed })
    step.count({ installsConfirmed: 1 })
    step.event('install-confirmed', undefined, manifest.name, record.assignmentSeq)
  } else if (verdict === 'failed') {
    step.reboot('the trial was not confirmed in time')
  }
}
