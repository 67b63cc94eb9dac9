import type { Clock } from '../../contract/clock.ts'
import type { ContractError } from '../../contract/errors.ts'
import { LADDER_LEVELS, type LadderLevel } from '../../contract/ladder-levels.ts'
import { ok, type Result } from '../../contract/result.ts'
import { modelRamBytes } from '../../model/boards.ts'
import type { Engine } from '../../model/engine/engine.ts'
import type { OpenedBundle } from '../../model/opened-bundle.ts'
import type { Battery } from '../ports/battery.ts'
import type { Flash } from '../ports/flash.ts'
import type { Thermometer } from '../ports/thermometer.ts'
import type { Transport } from '../ports/transport.ts'
import { NO_WATCHDOG, type Watchdog } from '../ports/watchdog.ts'
import { nextDeadlineMs, startAgent, step } from './agent/agent.ts'
import type { AgentConfig, AgentEffect, AgentEvent, AgentState, Now, StepResult } from './agent/agent-state.ts'
import { bootImage } from './boot.ts'
import { readRecord, writeRecord } from './flash/boot-record.ts'
import { type FlashLayout, layoutOf } from './flash/flash-layout.ts'
import { clearProgress, readProgress } from './flash/progress-record.ts'
import { clearSpool, readSpool, saveSpool } from './flash/spool.ts'
import { factoryTrust, readTrust, writeTrust } from './flash/trust-record.ts'
import type { Heard } from './listen/heard.ts'
import { totalEnergy } from './power/energy.ts'
import { type BlockOrder, DownloadWriter } from './update/download-writer.ts'
import { checkImage } from './update/image-check.ts'

export interface HostOptions {
  readonly config: Omit<AgentConfig, 'slotBytes' | 'sectorBytes'>
  readonly flash: Flash
  readonly engine: Engine
  readonly transport: Transport
  readonly battery: Battery
  /** read when the battery is looked at; absent: nobody can tell how warm it is */
  readonly thermometer?: Thermometer | undefined
  readonly clock: Clock
  /** ends boots and trials that hang; without one only their own deadlines do */
  readonly watchdog?: Watchdog
  /** told of every effect after it was performed: logs, the application, a simulator's ledger */
  readonly observe?: (effect: AgentEffect, state: AgentState) => void
}

/** Chosen: hashing, loading and the golden vectors take seconds on the slowest board. */
const BOOT_WATCHDOG_MS = 5 * 60_000
/** Chosen: three times the longest pause between two turns of the agent, see GOVERN_INTERVAL_MS. */
const TRIAL_WATCHDOG_MS = 30 * 60_000

/** One device: boots from flash, runs the agent's steps and performs their effects through the ports. The same host runs on
 *  a device and in the simulator; only the ports differ.
 */
export class AgentHost {
  readonly #options: HostOptions
  readonly #layout: FlashLayout
  readonly #writer: DownloadWriter
  #running: { state: AgentState; readonly bundle: OpenedBundle } | undefined
  #boot: Promise<Result<void, ContractError>>
  #cancelTick: () => void = () => undefined
  /** monotonic ms of the tick that is set, if one is */
  #tickMs: number | undefined
  /** events that came while the effects of another were performed; at most what the ports say within those calls */
  readonly #events: AgentEvent[] = []
  #performing = false
  #closed = false
  /** ends the wait of `stop` */
  #stopping: (() => void) | undefined
  /** number of the newest reset: what an older one still does is void */
  #reset = 0

  private constructor(options: HostOptions, layout: FlashLayout) {
    this.#options = options
    this.#layout = layout
    this.#writer = new DownloadWriter(options.flash, layout)
    this.#boot = Promise.resolve(ok(undefined))
  }

  /** Boots the device.
   *  @returns the running host, or `flash-over-budget` | `no-fallback-slot` | the code that keeps the image from loading
   */
  static async start(options: HostOptions): Promise<Result<AgentHost, ContractError>> {
    const layout = layoutOf(options.flash)
    if (!layout.ok) return layout
    const host = new AgentHost(options, layout.value)
    const booted = await host.#restart()
    return booted.ok ? ok(host) : booted
  }

  /** The state of the running boot; undefined between a reset and the next boot. */
  get state(): AgentState | undefined {
    return this.#running?.state
  }

  /** The running bundle with its loaded graphs; undefined between a reset and the next boot. */
  get bundle(): OpenedBundle | undefined {
    return this.#running?.bundle
  }

  get level(): LadderLevel | undefined {
    const level = this.#running?.state.governor.level
    return level === undefined ? undefined : LADDER_LEVELS[level]
  }

  /** Resolves when no boot is under way; fails closed with the code when the device could not boot. */
  booted(): Promise<Result<void, ContractError>> {
    return this.#boot
  }

  /** @returns whether a running boot took it into its counters */
  hear(heard: Heard): boolean {
    const running = this.#running !== undefined && !this.#closed
    this.dispatch({ type: 'heard', heard })
    return running
  }

  /** Feeds an event to the agent. Events that meet a device between reset and boot are lost, as on hardware. */
  dispatch(event: AgentEvent): void {
    if (this.#running === undefined || this.#closed) return
    this.#events.push(event)
    // A port that answers within the call must not see its event decided before the effects of the present step are done.
    if (!this.#performing) this.#drain()
  }

  /** Ends as planned: a last report, time for the gateway to take what there is to say, then `close`. What it does not take is in the flash
   *  spool. A device without a link, or in a reset, is not waited for.
   *  @param waitMs of the clock, at most
   *  @param clock another than the device's where that runs faster than the network does */
  async stop(waitMs: number, clock = this.#options.clock): Promise<void> {
    this.dispatch({ type: 'stopping' })
    let cancel = (): void => undefined
    await new Promise<void>((resolve) => {
      this.#stopping = resolve
      cancel = clock.after(waitMs, resolve)
      this.#stopIfSaid()
    })
    cancel()
    await this.close()
  }

  /** Takes the power away: no spool, no report. */
  async close(): Promise<void> {
    this.#closed = true
    this.#unschedule()
    this.#watchdog.stop()
    await this.#options.transport.close()
    // A boot that hangs is not waited for: it finds itself void if it ever goes on.
    this.#reset++
    await this.#running?.bundle.dispose()
    this.#running = undefined
  }

  #now(): Now {
    const { clock, thermometer } = this.#options
    const times = { monotonicMs: clock.monotonicMs(), wallMs: Math.round(clock.wallMs()) }
    // A sensor may take a while to answer: five times a second it is not asked.
    const isDue = this.#running === undefined || times.monotonicMs >= this.#running.state.nextGovernMs
    return thermometer === undefined || !isDue ? times : { ...times, celsius: thermometer.celsius() }
  }

  get #watchdog(): Watchdog {
    return this.#options.watchdog ?? NO_WATCHDOG
  }

  /** Resets the device. A boot that hangs is ended by the watchdog, whose reset then answers for it. */
  #restart(): Promise<Result<void, ContractError>> {
    const reset = ++this.#reset
    this.#boot = new Promise((resolve, reject) => {
      this.#watchdog.feed(BOOT_WATCHDOG_MS, () => resolve(this.#restart()))
      this.#bootUp(reset).then((booted) => {
        if (reset === this.#reset || this.#closed) resolve(booted)
      }, reject)
    })
    return this.#boot
  }

  async #bootUp(reset: number): Promise<Result<void, ContractError>> {
    const { flash, engine, transport, battery, config } = this.#options
    const previous = this.#running?.bundle
    this.#running = undefined
    this.#writer.forget()
    this.#events.length = 0
    this.#unschedule()
    await transport.close()
    await previous?.dispose()
    if (reset !== this.#reset) return ok(undefined)
    const booted = await bootImage({
      flash,
      layout: this.#layout,
      engine,
      ramBytes: modelRamBytes(config.board),
      wallMs: this.#now().wallMs,
      isVoid: () => reset !== this.#reset,
    })
    if (reset !== this.#reset) {
      if (booted.ok) await booted.value.bundle.dispose()
      return ok(undefined)
    }
    this.#watchdog.stop()
    // What the step that led to the reset was still to be told concerns nobody now.
    this.#events.length = 0
    if (!booted.ok) return booted
    const { bundle, ...boot } = booted.value
    const started = startAgent(
      { ...config, slotBytes: this.#layout.slotBytes, sectorBytes: flash.sectorBytes },
      {
        ...boot,
        manifest: bundle.manifest,
        outbox: readSpool(flash, this.#layout),
        trust: readTrust(flash, this.#layout) ?? factoryTrust(config.trustRoot),
        batteryMj: battery.remainingMj(),
        // Without the checkpoint, which stays in flash until it is needed.
        progress: readProgress(flash, this.#layout)?.progress ?? null,
      },
      this.#now(),
    )
    this.#apply(bundle, started)
    this.#drain()
    transport.open((event) => this.dispatch(event))
    return ok(undefined)
  }

  #drain(): void {
    while (this.#running !== undefined && !this.#closed) {
      const event = this.#events.shift()
      if (event === undefined) break
      this.#apply(this.#running.bundle, step(this.#running.state, event, this.#now()))
    }
    this.#schedule()
    this.#stopIfSaid()
  }

  #stopIfSaid(): void {
    const { state } = this.#running ?? {}
    if (state === undefined || !state.connected || state.outbox.messages.length === 0) this.#stopping?.()
  }

  #apply(bundle: OpenedBundle, { state, effects }: StepResult): void {
    const before = this.#running === undefined ? 0 : totalEnergy(this.#running.state.measures.energy)
    this.#running = { state, bundle }
    this.#options.battery.spent(totalEnergy(state.measures.energy) - before)
    this.#performing = true
    let answer: AgentEvent | undefined
    try {
      for (const effect of effects) {
        const failure = this.#perform(effect)
        this.#options.observe?.(effect, state)
        if (failure !== undefined) {
          // The effects after a failed flash write were decided in the belief that it held.
          const record = readRecord(this.#options.flash, this.#layout)
          answer = { type: 'flash-failed', error: failure, record }
          break
        }
        if (effect.type === 'write-record') answer = { type: 'record-written' }
        else if (effect.type === 'apply-block') answer = this.#applied(effect)
      }
      // Before any other event: the next step must know what the flash holds.
      if (answer !== undefined) this.#events.unshift(answer)
    } finally {
      this.#performing = false
    }
  }

  #applied(order: BlockOrder): AgentEvent {
    const applied = this.#writer.apply(order)
    const { sha256 } = order.artifact
    return applied.ok
      ? { type: 'block-applied', sha256, applied: applied.value }
      : { type: 'block-refused', sha256, error: applied.error }
  }

  #schedule(): void {
    if (this.#running === undefined || this.#closed) {
      this.#unschedule()
      return
    }
    // A model on trial must leave the agent its turns; the tick comes at least as often as the battery is looked at.
    if (this.#running.state.update.phase === 'trial') this.#watchdog.feed(TRIAL_WATCHDOG_MS, () => void this.#restart())
    else this.#watchdog.stop()
    const deadlineMs = nextDeadlineMs(this.#running.state)
    // Five times a second nothing changes it.
    if (deadlineMs === this.#tickMs) return
    this.#unschedule()
    const { clock } = this.#options
    this.#tickMs = deadlineMs
    this.#cancelTick = clock.after(Math.max(0, deadlineMs - clock.monotonicMs()), () => {
      this.#tickMs = undefined
      this.dispatch({ type: 'tick' })
    })
  }

  #unschedule(): void {
    this.#cancelTick()
    this.#tickMs = undefined
  }

  /** @returns the flash's error, if what follows depends on the write */
  #perform(effect: AgentEffect): ContractError | undefined {
    const { flash, engine, transport, config } = this.#options
    const failureOf = (result: Result<unknown, ContractError>) => (result.ok ? undefined : result.error)
    switch (effect.type) {
      case 'publish':
        transport.publish(effect.id, effect.kind, effect.payload, effect.qos)
        return undefined
      // Performed where its answer is made.
      case 'apply-block':
        return undefined
      case 'clear-progress':
        this.#writer.forget()
        clearProgress(flash, this.#layout)
        return undefined
      case 'write-record':
        return failureOf(writeRecord(flash, this.#layout, effect.record))
      case 'write-trust':
        return failureOf(writeTrust(flash, this.#layout, effect.trust))
      // The spool is a second copy of messages that are in the outbox: without it a power cut loses them, and no more.
      case 'save-spool':
        saveSpool(flash, this.#layout, effect.outbox)
        return undefined
      case 'clear-spool':
        clearSpool(flash, this.#layout)
        return undefined
      case 'check-image': {
        const image = flash.read(this.#layout.slots[effect.slot], effect.release.bytes)
        void checkImage(image, effect.release, engine, modelRamBytes(config.board)).then((result) =>
          this.dispatch({ type: 'image-checked', sha256: effect.release.sha256, result }),
        )
        return undefined
      }
      case 'reboot':
        void this.#restart()
        return undefined
      case 'set-level':
      case 'tell-wake':
      case 'tell-event':
        return undefined
    }
  }
}
