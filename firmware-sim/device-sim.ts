import type { Clock } from '../contract/clock.ts'
import type { Sign } from '../contract/device-proof.ts'
import type { ContractError } from '../contract/errors.ts'
import type { LadderLevel } from '../contract/ladder-levels.ts'
import { labelsOfPipeline } from '../contract/manifest.ts'
import { present } from '../contract/present.ts'
import type { SecureRandom, SeededRandom } from '../contract/random.ts'
import { ok, type Result } from '../contract/result.ts'
import type { SignatureSchemes } from '../contract/tuf/signature-scheme.ts'
import { agentConfig } from '../device/core/agent/agent-config.ts'
import { provision } from '../device/core/flash/provision.ts'
import { AgentHost } from '../device/core/host.ts'
import type { Heard } from '../device/core/listen/heard.ts'
import { createListener, type Listener } from '../device/core/listen/listener.ts'
import type { Radio } from '../device/core/power/energy.ts'
import type { HeatLimit } from '../device/core/power/heat.ts'
import { type Battery, MAINS } from '../device/ports/battery.ts'
import type { Thermometer } from '../device/ports/thermometer.ts'
import type { Transport } from '../device/ports/transport.ts'
import type { Board } from '../model/boards.ts'
import { type Engine, engineFailure } from '../model/engine/engine.ts'
import type { OpenedBundle } from '../model/opened-bundle.ts'
import { BatteryCell } from './battery-cell.ts'
import { FlashNor } from './flash-nor.ts'
import { type Hearing, hasLastingState, joinHeard, levelOf } from './hearing.ts'
import type { Ledger } from './ledger.ts'
import type { SensedTake, TakeSource } from './take.ts'

/** What one simulated device is made of. */
export interface DeviceSpec {
  readonly device: string
  readonly site: string
  readonly board: Board
  readonly radio: Radio
  /** the kind of place that it is in */
  readonly scene: { readonly name: string }
  /** battery and the time it must reach; null on mains */
  readonly power: { readonly capacityMj: number; readonly horizonMs: number } | null
  readonly governed: boolean
  /** how warm it may get; absent: no limit */
  readonly heat?: HeatLimit
  /** ladder level without a governor */
  readonly level: LadderLevel
  /** how busy this place is beside others of its kind, about 1 */
  readonly busyness: number
  readonly reportPhaseMs: number
}

export interface DeviceWorld<T extends SensedTake> {
  readonly clock: Clock
  readonly engine: Engine
  readonly hearing: Hearing<T>
  readonly ledger: Ledger
  /** where each device's takes come from */
  readonly takesOf: (spec: DeviceSpec) => TakeSource<T>
  /** first root of the image repository, the factory's */
  readonly trustRoot: Uint8Array
  readonly schemes: SignatureSchemes
  /** absent: none has a thermometer */
  readonly thermometerOf?: ((spec: DeviceSpec) => Thermometer) | undefined
  /** the key that a device signs its events with; undefined: none has one */
  readonly signOf?: ((spec: DeviceSpec) => Sign) | undefined
}

/** Bytes of a seeded stream, where a real device has randomness of its own. */
const drawnBytes = (random: SeededRandom): SecureRandom => ({
  bytes: (length) => Uint8Array.from({ length }, () => Math.floor(256 * random.next())),
})

/** One device of the fleet: the shipping agent on simulated flash, battery, board and sound. */
export class DeviceSim<T extends SensedTake> {
  readonly spec: DeviceSpec
  readonly #world: DeviceWorld<T>
  readonly #host: AgentHost
  readonly #cell: BatteryCell | undefined
  readonly #random: SeededRandom
  readonly #takes: TakeSource<T>
  /** names of the models that ran here, in order of their first boot */
  readonly modelsRun: string[] = []
  diedAtMs: number | undefined
  /** who hears what lasts from take to take */
  #followed: { readonly bundle: OpenedBundle; readonly level: LadderLevel; readonly listener: Listener } | undefined

  private constructor(
    spec: DeviceSpec,
    world: DeviceWorld<T>,
    host: AgentHost,
    cell: BatteryCell | undefined,
    random: SeededRandom,
  ) {
    this.spec = spec
    this.#world = world
    this.#host = host
    this.#cell = cell
    this.#random = random
    this.#takes = world.takesOf(spec)
  }

  /** Flashes the factory image and boots. */
  static async start<T extends SensedTake>(
    spec: DeviceSpec,
    world: DeviceWorld<T>,
    factoryImage: Uint8Array,
    transport: Transport,
    random: SeededRandom,
  ): Promise<Result<DeviceSim<T>, ContractError>> {
    const flash = new FlashNor({ sizeBytes: spec.board.flashBytes })
    const provisioned = provision(flash, factoryImage, 0, drawnBytes(random.fork('incarnation')))
    if (!provisioned.ok) return provisioned
    const cell = spec.power === null ? undefined : new BatteryCell(spec.power.capacityMj)
    const battery: Battery = cell ?? MAINS
    const host = await AgentHost.start({
      config: agentConfig({
        ...spec,
        trustRoot: world.trustRoot,
        schemes: world.schemes,
        sign: world.signOf?.(spec),
      }),
      flash,
      engine: world.engine,
      transport,
      battery,
      thermometer: world.thermometerOf?.(spec),
      clock: world.clock,
      observe: (effect, state) => world.ledger.effect(effect, state),
    })
    if (!host.ok) return host
    return ok(new DeviceSim(spec, world, host.value, cell, random))
  }

  get host(): AgentHost {
    return this.#host
  }

  /** name of the running model; undefined between a reset and the next boot */
  get model(): string | undefined {
    return this.#host.bundle?.manifest.name
  }

  /** The next `count` takes of the device's place, heard with the running model and level; resolves at once when all of them are
   *  remembered. A device that is booting or dead hears nothing. */
  listen(count: number): Promise<void> | undefined {
    const { bundle, level } = this.#host
    if (bundle === undefined || level === undefined || this.diedAtMs !== undefined) return undefined
    const { name } = bundle.manifest
    if (this.modelsRun.at(-1) !== name && !this.modelsRun.includes(name)) this.modelsRun.push(name)
    const { clock, hearing } = this.#world
    const nowMs = clock.wallMs()
    const takes = Array.from({ length: count }, () => this.#takes.draw(nowMs, this.#random))
    if (level !== 'hibernate' && hasLastingState(bundle, level)) return this.#follow(bundle, level, takes)
    const memory = hearing.memoryOf(bundle, level)
    const heards: Heard[] = []
    for (const take of takes) {
      const heard = hearing.recall(memory, take)
      if (heard !== undefined) heards.push(heard)
    }
    if (heards.length === takes.length) {
      this.#take(bundle, takes, heards)
      return undefined
    }
    return Promise.all(takes.map((take) => hearing.hear(memory, take))).then((all) => this.#take(bundle, takes, all))
  }

  /** Hears takes with a listener of the device's own, which knows what went before them. */
  async #follow(bundle: OpenedBundle, level: LadderLevel, takes: readonly T[]): Promise<void> {
    if (this.#followed?.bundle !== bundle || this.#followed.level !== level) {
      const { manifest, definitions, sessions } = bundle
      const step = present(levelOf(manifest, level), `the level ${level}`)
      this.#followed = { bundle, level, listener: createListener({ manifest, definitions, step, sessions }) }
    }
    const { listener } = this.#followed
    const heards: Heard[] = []
    for (const take of takes) {
      const heard = await listener.listen(this.#world.hearing.sense(take))
      if (!heard.ok) {
        this.#host.dispatch({ type: 'engine-failed', error: engineFailure(heard.error) })
        return
      }
      heards.push(heard.value)
    }
    this.#take(bundle, takes, heards)
  }

  #take(bundle: OpenedBundle, takes: readonly T[], heards: readonly Heard[]): void {
    const joined = joinHeard(heards)
    // A device that rebooted while it listened has lost that audio, on hardware and here.
    if (this.#host.bundle !== bundle || !this.#host.hear(joined)) return
    const labels = labelsOfPipeline(bundle.manifest)
    const { ledger, clock } = this.#world
    ledger.heard(joined)
    takes.forEach((take, i) => {
      ledger.take(take, present(heards[i], 'what was heard of a take'), labels)
    })
    if (this.#cell?.dead) {
      this.diedAtMs = clock.wallMs()
      void this.#host.close()
    }
  }
}
