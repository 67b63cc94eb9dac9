import type { Clock } from '../contract/clock.ts'
import type { SeededRandom } from '../contract/random.ts'
import type { Transport } from '../device/ports/transport.ts'
import type { ClockMaster } from './clock-shared.ts'
import type { VirtualClock } from './clock-virtual.ts'
import { DeviceSim, type DeviceSpec, type DeviceWorld } from './device-sim.ts'
import { type SensedTake, TAKE_MS } from './take.ts'

export interface FleetOptions<T extends SensedTake> {
  readonly specs: readonly DeviceSpec[]
  readonly world: Omit<DeviceWorld<T>, 'clock'>
  /** time as the devices see it; the fleet moves it */
  readonly time: VirtualClock
  /** paces the fleet against the clock that cloud and gateway share; undefined: as fast as the machine can */
  readonly master?: ClockMaster
  /** the machine's clock, to wait on */
  readonly real: Clock
  /** of all devices, or of each */
  readonly factoryImage: Uint8Array | ((spec: DeviceSpec) => Uint8Array)
  readonly transportOf: (spec: DeviceSpec) => Transport
  readonly random: SeededRandom
  /** told how many devices have booted */
  readonly onBooted?: (count: number) => void
}

/** A device listens in turns of five minutes: often enough for timers of ten minutes, seldom enough for thousands of devices. */
const TURN_MS = 5 * 60_000
/** Virtual time between two groups of devices. */
const STEP_MS = 60_000
const TAKES_PER_TURN = TURN_MS / TAKE_MS

/** Devices are served in this many groups, each a minute after the last, so that the fleet does not breathe in one rhythm. */
const GROUPS = TURN_MS / STEP_MS

/** Chosen: some tens of milliseconds. */
const BOOTS_AT_ONCE = 8

/** Runs many simulated devices against one time. Time waits for the fleet: it never runs ahead of devices that still listen. */
export class Fleet<T extends SensedTake> {
  readonly devices: readonly DeviceSim<T>[]
  readonly #options: FleetOptions<T>
  #minute = 0

  private constructor(options: FleetOptions<T>, devices: readonly DeviceSim<T>[]) {
    this.#options = options
    this.devices = devices
  }

  /** Flashes and boots all devices. Throws when one cannot boot from its factory image. */
  static async start<T extends SensedTake>(options: FleetOptions<T>): Promise<Fleet<T>> {
    const { specs, world, time, factoryImage, transportOf, random } = options
    const devices: DeviceSim<T>[] = []
    for (const spec of specs) {
      const started = await DeviceSim.start(
        spec,
        { ...world, clock: time },
        typeof factoryImage === 'function' ? factoryImage(spec) : factoryImage,
        transportOf(spec),
        random.fork(`sound of ${spec.device}`),
      )
      if (!started.ok) throw new Error(`${spec.device}: ${started.error.code}: ${started.error.detail}`)
      devices.push(started.value)
      options.onBooted?.(devices.length)
      // A boot waits for nothing: the network and whoever watches need their turns.
      if (devices.length % BOOTS_AT_ONCE === 0)
        await new Promise<void>((resolve) => void options.real.after(0, resolve))
    }
    return new Fleet(options, devices)
  }

  /** Runs until `done` says so; it is asked after every minute of virtual time. */
  async runUntil(done: (nowMs: number) => boolean): Promise<void> {
    const { time, master } = this.#options
    while (!done(time.wallMs())) {
      const target = time.wallMs() + STEP_MS
      if (master !== undefined) {
        const early = target - master.nowMs()
        if (early > 0) await this.#pause(early / master.scale)
        // Two minutes behind means that the machine is too slow for the scale: everybody's time waits.
        else if (-early > 2 * STEP_MS) master.holdAt(target + STEP_MS)
      }
      master?.grant(target)
      // The network and the engine need their turns of the event loop; without a network once an hour is enough.
      if (master !== undefined || this.#minute % 60 === 0) await this.#pause(0)
      time.advanceTo(target)
      const group = this.#minute++ % GROUPS
      const listening: Promise<void>[] = []
      for (let i = group; i < this.devices.length; i += GROUPS) {
        const pending = this.devices[i]?.listen(TAKES_PER_TURN)
        if (pending !== undefined) listening.push(pending)
      }
      if (listening.length > 0) await Promise.all(listening)
    }
  }

  /** Asks every living device for a last report and waits until all that was queued has been acknowledged.
   *  @param realMsMax bound on the wait
   *  @returns devices that still hold messages */
  async drain(realMsMax: number): Promise<number> {
    const { real } = this.#options
    const deadline = real.monotonicMs() + realMsMax
    const holding = () =>
      this.devices.filter(
        ({ host, diedAtMs }) => diedAtMs === undefined && (host.state?.outbox.messages.length ?? 1) > 0,
      ).length
    // Twice: the acknowledgement of the first report may confirm a trial, which is counted after it.
    for (let round = 0; round < 2; round++) {
      for (const { host } of this.devices) host.dispatch({ type: 'report-requested' })
      while (holding() > 0 && real.monotonicMs() < deadline) await this.#pause(20)
    }
    return holding()
  }

  async close(): Promise<void> {
    await Promise.all(this.devices.map(({ host }) => host.close()))
  }

  #pause(realMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#options.real.after(realMs, resolve)
    })
  }
}
