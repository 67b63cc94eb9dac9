import { bytesEqual, sha256 } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { LADDER_LEVELS, type LadderLevel } from '../../contract/messages.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { modelRamBytes } from '../../model/boards.ts'
import type { Engine } from '../../model/engine.ts'
import { type OpenedBundle, openBundle } from '../../model/opened-bundle.ts'
import type { Battery } from '../ports/battery.ts'
import type { Flash } from '../ports/flash.ts'
import type { Transport } from '../ports/transport.ts'
import { nextDeadlineMs, startAgent, step } from './agent.ts'
import type { AgentConfig, AgentEffect, AgentEvent, AgentState, Now, StepResult } from './agent-state.ts'
import { newestRecord, planBoot, writeRecord } from './boot-record.ts'
import { totalEnergy } from './energy.ts'
import { type FlashLayout, layoutOf, type SlotIndex } from './flash-layout.ts'
import type { Heard } from './heard.ts'
import { checkImage } from './image-check.ts'
import { programSlot } from './provision.ts'
import { clearSpool, readSpool, saveSpool } from './spool.ts'

export interface HostOptions {
  readonly config: Omit<AgentConfig, 'slotBytes'>
  readonly flash: Flash
  readonly engine: Engine
  readonly transport: Transport
  readonly battery: Battery
  readonly clock: Clock
  /** told of every effect after it was performed: logs, the application, a simulator's ledger */
  readonly observe?: (effect: AgentEffect, state: AgentState) => void
}

/** One device: boots from flash, runs the agent's steps and performs their effects through the ports. The same host runs on
 *  a device, in a page and in the simulator; only the ports differ.
 */
export class AgentHost {
  readonly #options: HostOptions
  readonly #layout: FlashLayout
  #running: { state: AgentState; readonly bundle: OpenedBundle } | undefined
  #boot: Promise<Result<void, ContractError>>
  #cancelTick: () => void = () => undefined
  /** events that came while the effects of another were performed; at most what the ports say within those calls */
  readonly #events: AgentEvent[] = []
  #performing = false
  #closed = false

  private constructor(options: HostOptions, layout: FlashLayout) {
    this.#options = options
    this.#layout = layout
    this.#boot = Promise.resolve(ok(undefined))
  }

  /** Boots the device.
   *  @returns the running host, or `flash-over-budget` | `no-fallback-slot` | the code that keeps the image from loading
   */
  static async start(options: HostOptions): Promise<Result<AgentHost, ContractError>> {
    const layout = layoutOf(options.flash)
    if (!layout.ok) return layout
    const host = new AgentHost(options, layout.value)
    const booted = await host.#reset()
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

  /** Takes the power away: no spool, no report. */
  async close(): Promise<void> {
    this.#closed = true
    this.#cancelTick()
    await this.#options.transport.close()
    await this.#boot
    await this.#running?.bundle.dispose()
    this.#running = undefined
  }

  #now(): Now {
    const { clock } = this.#options
    return { monotonicMs: clock.monotonicMs(), wallMs: Math.round(clock.wallMs()) }
  }

  #reset(): Promise<Result<void, ContractError>> {
    this.#boot = this.#bootUp()
    return this.#boot
  }

  async #bootUp(): Promise<Result<void, ContractError>> {
    const { flash, engine, transport, battery, config } = this.#options
    const previous = this.#running?.bundle
    this.#running = undefined
    this.#events.length = 0
    this.#cancelTick()
    await transport.close()
    await previous?.dispose()
    const newest = newestRecord(flash, this.#layout)
    if (newest === undefined) return err(contractError('no-fallback-slot', 'the device was never provisioned'))
    const plan = planBoot(newest.record, (slot) => this.#isIntact(newest.record.images[slot], slot))
    if (!plan.ok) return plan
    const { record, slot, outcome } = plan.value
    // Before anything of the image runs: if this boot dies, the next one must know that it was tried.
    const written = writeRecord(flash, this.#layout, record)
    if (!written.ok) return written
    const image = flash.read(this.#layout.slots[slot], record.images[slot].bytes)
    const bundle = await openBundle(image, engine, modelRamBytes(config.board))
    if (!bundle.ok) {
      // An image on trial that cannot even load has failed; the record says "running", so the next boot reverts.
      return outcome === 'trial' ? this.#bootUp() : bundle
    }
    if (this.#closed) {
      await bundle.value.dispose()
      return ok(undefined)
    }
    const started = startAgent(
      { ...config, slotBytes: this.#layout.slotBytes },
      {
        record,
        slot,
        outcome,
        manifest: bundle.value.manifest,
        outbox: readSpool(flash, this.#layout),
        batteryMj: battery.remainingMj(),
      },
      this.#now(),
    )
    this.#apply(bundle.value, started)
    this.#drain()
    transport.open((event) => this.dispatch(event))
    return ok(undefined)
  }

  #isIntact(image: { readonly sha256: Uint8Array; readonly bytes: number }, slot: SlotIndex): boolean {
    if (image.bytes === 0 || image.bytes > this.#layout.slotBytes) return false
    return bytesEqual(sha256(this.#options.flash.read(this.#layout.slots[slot], image.bytes)), image.sha256)
  }

  #drain(): void {
    while (this.#running !== undefined && !this.#closed) {
      const event = this.#events.shift()
      if (event === undefined) break
      this.#apply(this.#running.bundle, step(this.#running.state, event, this.#now()))
    }
    this.#schedule()
  }

  #apply(bundle: OpenedBundle, { state, effects }: StepResult): void {
    const before = this.#running === undefined ? 0 : totalEnergy(this.#running.state.energy)
    this.#running = { state, bundle }
    this.#options.battery.spent(totalEnergy(state.energy) - before)
    this.#performing = true
    try {
      for (const effect of effects) {
        const failure = this.#perform(effect)
        this.#options.observe?.(effect, state)
        if (failure !== undefined) {
          // The effects after a failed flash write were decided in the belief that it held.
          this.#events.unshift({ type: 'flash-failed', error: failure })
          break
        }
      }
    } finally {
      this.#performing = false
    }
  }

  #schedule(): void {
    this.#cancelTick()
    if (this.#running === undefined || this.#closed) return
    const { clock } = this.#options
    const delayMs = Math.max(0, nextDeadlineMs(this.#running.state) - clock.monotonicMs())
    this.#cancelTick = clock.after(delayMs, () => this.dispatch({ type: 'tick' }))
  }

  /** @returns the flash's error, if what follows depends on the write */
  #perform(effect: AgentEffect): ContractError | undefined {
    const { flash, engine, transport, config } = this.#options
    const failureOf = (result: Result<unknown, ContractError>) => (result.ok ? undefined : result.error)
    switch (effect.type) {
      case 'publish':
        transport.publish(effect.id, effect.kind, effect.payload, effect.qos)
        return undefined
      case 'program-slot':
        return failureOf(programSlot(flash, this.#layout, effect.slot, effect.offset, effect.data))
      case 'write-record':
        return failureOf(writeRecord(flash, this.#layout, effect.record))
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
        void this.#reset()
        return undefined
      case 'set-level':
      case 'tell-wake':
      case 'tell-event':
        return undefined
    }
  }
}
