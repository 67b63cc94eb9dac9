import { ATTESTED_CODES, encodeEvent } from '../../../contract/attested-event.ts'
import { encodeReport } from '../../../contract/attested-report.ts'
import { hexToBytes } from '../../../contract/bytes.ts'
import type { ContractError } from '../../../contract/errors.ts'
import { LADDER_LEVELS } from '../../../contract/ladder-levels.ts'
import { LIMITS } from '../../../contract/limits.ts'
import type { LadderStep } from '../../../contract/manifest.ts'
import { plainText } from '../../../contract/message-codec.ts'
import {
  COUNTER_NAMES,
  type CounterName,
  ENERGY_NAMES,
  EVENT_CODES,
  type EventCode,
} from '../../../contract/messages.ts'
import { present } from '../../../contract/present.ts'
import { enqueue, type OutboxKind, takeForSending } from '../outbox.ts'
import { addSpan, unsettledMs } from '../power/active-time.ts'
import { addEnergy, type EnergyAccounts, totalEnergy } from '../power/energy.ts'
import { govern, HIBERNATE } from '../power/governor.ts'
import { observeHeat } from '../power/heat.ts'
import { messageAirBytes } from '../update/air-bytes.ts'
import {
  type AgentEffect,
  type AgentPart,
  type AgentState,
  copyState,
  type Now,
  type StepResult,
} from './agent-state.ts'
import { nearestLevel, offeredLevels } from './engine-health.ts'

/** Chosen: the battery is looked at this often. */
export const GOVERN_INTERVAL_MS = 10 * 60_000
/** Chosen: of a battery meant for a year, five weeks to send somebody. */
const BATTERY_LOW_SHARE = 0.1
/** Chosen: a link idle for longer pays for a new session. */
const RADIO_SESSION_IDLE_MS = 5 * 60_000
/** What an event says beside its code. */
export interface EventDetails {
  readonly error?: ContractError
  readonly detail?: string
  readonly assignmentSeq?: number
  /** sha256 of the bundle the event is about: bytes (the first 8 count) or hex; omitted: the running one; null: not known */
  readonly about?: Uint8Array | string | null
}

/** State under construction during one step: the parts change by replacement, the effects in order. */
export class Step {
  state: AgentState
  readonly now: Now
  readonly #effects: AgentEffect[] = []
  #rebootReason: string | undefined

  constructor(state: AgentState, now: Now) {
    this.state = state
    this.now = now
  }

  set(change: Partial<AgentState>): void {
    this.state = Object.assign(copyState(this.state), change)
  }

  change<Part extends AgentPart>(part: Part, change: Partial<AgentState[Part]>): void {
    this.state = Object.assign(copyState(this.state), { [part]: { ...this.state[part], ...change } })
  }

  effect(effect: AgentEffect): void {
    this.#effects.push(effect)
  }

  count(change: Partial<Record<CounterName, number>>): void {
    const counters = { ...this.state.measures.counters }
    for (const [name, by] of Object.entries(change)) counters[name as CounterName] += by
    this.change('measures', { counters })
  }

  spend(energy: Partial<EnergyAccounts>): void {
    this.change('measures', { energy: addEnergy(this.state.measures.energy, energy) })
  }

  /** The radio keeps the device awake. */
  #onAir(fromMs: number, toMs: number): void {
    const { counters, active: before } = this.state.measures
    const active = addSpan(before, [fromMs, toMs])
    this.change('measures', { active, onAirToMs: toMs, counters: { ...counters, activeMs: active.settledMs } })
  }

  get remainingMj(): number {
    return Math.max(0, this.state.batteryAtBootMj - totalEnergy(this.state.measures.energy))
  }

  /** Radio bytes of one message with its topic, and the cost of waking the link.
   *  @param blockSha256 the artifact's hash, which is a level of a block's topic */
  radio(kind: string, payloadBytes: number, direction: 'rx' | 'tx', blockSha256?: string): void {
    const { config, radioAtMs } = this.state
    const bytes = messageAirBytes(config, kind, payloadBytes, blockSha256)
    const session = this.now.monotonicMs - radioAtMs > RADIO_SESSION_IDLE_MS ? config.radio.fixedMillijoule : 0
    this.count(direction === 'rx' ? { radioRxBytes: bytes } : { radioTxBytes: bytes })
    this.spend({ radio: (bytes / 1024) * config.radio.millijoulePerKilobyte + session })
    // Messages go one after the other, however many a step sends.
    const fromMs = Math.max(this.now.monotonicMs, this.state.measures.onAirToMs)
    this.#onAir(fromMs, fromMs + (bytes / 1024) * config.radio.msPerKilobyte)
    this.set({ radioAtMs: this.now.monotonicMs })
  }

  /** ms since this boot began, whole */
  get uptimeMs(): number {
    return Math.max(0, Math.round(this.now.monotonicMs - this.state.bootedAtMs))
  }

  enqueue(kind: OutboxKind, payload: Uint8Array): number {
    const { outbox } = this.state
    const next = enqueue(outbox, kind, payload)
    if (next.dropped > outbox.dropped) this.count({ spoolDrops: 1 })
    this.set({ outbox: next })
    return outbox.nextId
  }

  /** @returns the event's id in the outbox */
  event(code: EventCode, { error, detail, assignmentSeq, about }: EventDetails = {}): number {
    const { state, now } = this
    const words = detail ?? error?.detail
    const say = words === undefined ? undefined : plainText(words, LIMITS.eventDetailLength)
    // What is signed also says where the device stands.
    const attests = state.config.sign !== undefined && ATTESTED_CODES.includes(code)
    const hash = typeof about === 'string' ? hexToBytes(about) : (about ?? state.model)
    this.effect({ type: 'tell-event', code, error: error?.code, detail: say })
    this.change('reporting', { eventSeq: state.reporting.eventSeq + 1 })
    return this.enqueue(
      'event',
      encodeEvent(
        state.config.device,
        {
          incarnation: state.record.incarnation,
          boot: state.record.boots,
          seq: state.reporting.eventSeq,
          uptimeMs: this.uptimeMs,
          wallMs: now.wallMs,
          code: EVENT_CODES.indexOf(code),
          model: about === null ? undefined : hash.slice(0, 8),
          error: error?.code,
          detail: say,
          assignmentSeq: assignmentSeq ?? (attests ? state.record.assignmentSeq : undefined),
          securityCounter: attests ? state.record.securityCounter : undefined,
        },
        state.config.sign,
      ),
    )
  }

  /** Tells what could be told at every hop once a report interval, or the radio would be busy with nothing else.
   *  @returns whether it was told */
  tellRarely(code: EventCode, details: EventDetails = {}): boolean {
    const { config, reporting } = this.state
    const { rareToldAtMs } = reporting
    const toldAtMs = rareToldAtMs[code]
    if (toldAtMs !== undefined && this.now.monotonicMs - toldAtMs < config.reportIntervalMs) return false
    this.change('reporting', { rareToldAtMs: { ...rareToldAtMs, [code]: this.now.monotonicMs } })
    this.event(code, details)
    return true
  }

  report(): void {
    const { state, now } = this
    const { counters, energy, active, inferenceMs } = state.measures
    const { uptimeMs } = this
    // Audio may come faster than the clock goes, and a message may be on the air until after now.
    const activeMs = Math.min(uptimeMs, counters.activeMs + unsettledMs(active, now.monotonicMs))
    const capacity = state.config.power?.capacityMj
    const share = capacity === undefined ? 1 : this.remainingMj / capacity
    const id = this.enqueue(
      'report',
      encodeReport(
        state.config.device,
        {
          incarnation: state.record.incarnation,
          boot: state.record.boots,
          seq: state.reporting.reportSeq,
          uptimeMs,
          wallMs: now.wallMs,
          model: state.model,
          slot: state.slot,
          level: state.governor.level,
          counters: COUNTER_NAMES.map((name) => Math.round(name === 'activeMs' ? activeMs : counters[name])),
          levelMs: state.measures.levelMs.map(Math.round),
          energyMj: ENERGY_NAMES.map((name) => Math.round(energy[name])),
          batteryPermille: Math.round(Math.min(1, Math.max(0, share)) * 1000),
          posteriorBins: state.measures.posteriorBins,
          noiseBins: state.measures.noiseBins,
          assignmentSeq: state.record.assignmentSeq,
          inferenceMs: inferenceMs === undefined ? undefined : Math.round(inferenceMs),
          signals: state.measures.signals.length === 0 ? undefined : state.measures.signals,
        },
        state.reporting.wakeLink,
        state.config.sign,
      ),
    )
    this.change('reporting', {
      reportSeq: state.reporting.reportSeq + 1,
      nextReportMs: now.monotonicMs + state.config.reportIntervalMs,
      firstReportId: state.reporting.firstReportId > 0 ? state.reporting.firstReportId : id,
    })
  }

  writeRecord(change: Partial<AgentState['record']>): void {
    const record = { ...this.state.record, ...change }
    this.set({ record })
    this.effect({ type: 'write-record', record })
  }

  saveSpool(): void {
    this.change('reporting', { spooled: true })
    this.effect({ type: 'save-spool', outbox: this.state.outbox })
  }

  /** A planned reboot at the end of this step: nothing more is sent or decided in this boot. */
  reboot(reason: string): void {
    this.#rebootReason = reason
  }

  get isRebooting(): boolean {
    return this.#rebootReason !== undefined
  }

  govern(): void {
    const { config, governor, manifest, engine } = this.state
    this.set({ nextGovernMs: this.now.monotonicMs + GOVERN_INTERVAL_MS })
    this.#warnOfLowBattery()
    if (!config.governed) return
    const offered = offeredLevels(manifest, engine)
    if (config.power === null) {
      this.#keepCool(offered)
      return
    }
    const why = this.#feelHeat(offered.map(({ level }) => LADDER_LEVELS.indexOf(level)))
    const cool = offered.slice(this.state.heat.steps)
    const { remainingMj, now } = this
    this.moveTo(govern(governor, manifest, cool, config.board, config.power, remainingMj, now.wallMs), why)
  }

  /** On mains there is nothing to save, and still too much heat: the level that was chosen, and those below it while it is too warm. */
  #keepCool(offered: readonly LadderStep[]): void {
    const { config, governor, manifest, heat: before } = this.state
    const chosen = nearestLevel(manifest, LADDER_LEVELS.indexOf(config.fixedLevel))
    const levels = offered.map(({ level }) => LADDER_LEVELS.indexOf(level)).filter((level) => level >= chosen)
    const why = this.#feelHeat(levels)
    const { steps } = this.state.heat
    // Whoever has stepped down for another reason stays there.
    if (steps === before.steps) return
    const level = levels[steps] ?? HIBERNATE
    if (level === governor.level) return
    this.moveTo({ ...governor, level, movedAtMs: this.now.wallMs, moves: governor.moves + 1 }, why)
  }

  /** @returns why there are fewer levels, or more again, in words; undefined where nothing changed */
  #feelHeat(levels: readonly number[]): string | undefined {
    const { config, governor, heat: before } = this.state
    if (config.heat === null) return undefined
    const heat = observeHeat(before, config.heat, this.now.celsius, levels.length, levels.indexOf(governor.level))
    this.set({ heat })
    if (heat.steps === before.steps) return undefined
    const celsius = Math.round(heat.celsius ?? Number.NaN)
    return heat.steps > before.steps ? `${celsius} °C, at most ${config.heat.maxCelsius}` : `${celsius} °C again`
  }

  /** @param why undefined: the battery */
  moveTo(next: AgentState['governor'], why?: string): void {
    const from = this.state.governor.level
    this.set({ governor: next })
    if (next.level === from) return
    const to = present(LADDER_LEVELS[next.level], 'a level of the ladder')
    this.count({ ladderMoves: 1 })
    this.effect({ type: 'set-level', level: to })
    this.event('level-changed', { detail: `${LADDER_LEVELS[from]} to ${to}${why === undefined ? '' : `: ${why}`}` })
  }

  /** Once a boot: a battery does not fill up again in the field, and one that is changed resets the device. */
  #warnOfLowBattery(): void {
    const { config } = this.state
    const { batteryLowTold } = this.state.reporting
    if (config.power === null || batteryLowTold) return
    const share = this.remainingMj / config.power.capacityMj
    if (share > BATTERY_LOW_SHARE) return
    this.change('reporting', { batteryLowTold: true })
    this.event('battery-low', { detail: `${Math.round(share * 100)} % left` })
  }

  /** Ends the step: sends what may be sent, or, before a reboot, puts the counters of this boot and what was not acknowledged
   *  into the flash spool. */
  result(): StepResult {
    if (this.#rebootReason !== undefined) {
      this.report()
      this.saveSpool()
      this.effect({ type: 'reboot', reason: this.#rebootReason })
    } else if (this.state.connected) {
      const { outbox, sending } = takeForSending(this.state.outbox)
      this.set({ outbox })
      for (const { id, kind, payload } of sending) {
        this.radio(kind, payload.length, 'tx')
        this.effect({ type: 'publish', id, kind, payload, qos: 1 })
      }
    }
    return { state: this.state, effects: this.#effects }
  }
}
