import type { Clock } from '../contract/clock.ts'
import type { Sign } from '../contract/device-proof.ts'
import type { ContractError } from '../contract/errors.ts'
import { labelsOfPipeline } from '../contract/manifest.ts'
import type { LadderLevel } from '../contract/messages.ts'
import { present } from '../contract/present.ts'
import type { SecureRandom, SeededRandom } from '../contract/random.ts'
import { ok, type Result } from '../contract/result.ts'
import type { SignatureSchemes } from '../contract/tuf/signature-scheme.ts'
import { agentConfig } from '../device/core/agent/agent-config.ts'
import { provision } from '../device/core/flash/provision.ts'
import { AgentHost } from '../device/core/host.ts'
import type { Heard } from '../device/core/listen/heard.ts'
import type { Radio } from '../device/core/power/energy.ts'
import { type Battery, MAINS } from '../device/ports/battery.ts'
import type { Transport } from '../device/ports/transport.ts'
import type { Board } from '../model/boards.ts'
import type { Engine } from '../model/engine/engine.ts'
import type { OpenedBundle } from '../model/opened-bundle.ts'
import { BatteryCell } from './battery-cell.ts'
import { FlashNor } from './flash-nor.ts'
import { type Hearing, joinHeard } from './hearing.ts'
import type { Ledger } from './ledger.ts'
import { drawTake, type Scene, type Take, type TakePool } from './scene.ts'

/** What one simulated device is made of. */
export interface DeviceSpec {
  readonly device: string
  readonly site: string
  readonly board: Board
  readonly radio: Radio
  readonly scene: Scene
  /** battery and the time it must reach; null on mains */
  readonly power: { readonly capacityMj: number; readonly horizonMs: number } | null
  readonly governed: boolean
  /** ladder level without a governor */
  readonly level: LadderLevel
  /** how busy this place is beside others of its kind, about 1 */
  readonly busyness: number
  readonly reportPhaseMs: number
}

export interface DeviceWorld {
  readonly clock: Clock
  readonly engine: Engine
  readonly hearing: Hearing
  readonly ledger: Ledger
  /** takes of each scene, calm and raised, made once for the fleet */
  readonly pools: (scene: Scene) => readonly [calm: TakePool, raised: TakePool]
  /** first root of the image repository, the factory's */
  readonly trustRoot: Uint8Array
  readonly schemes: SignatureSchemes
  /** the key that a device signs its events with; undefined: none has one */
  readonly signOf?: ((spec: DeviceSpec) => Sign) | undefined
  /** share of the field whose noise floor is raised now, 0 to 1 */
  readonly raisedShare: () => number
}

const HOUR_MS = 3_600_000

/** Bytes of a seeded stream, where a real device has randomness of its own. */
const drawnBytes = (random: SeededRandom): SecureRandom => ({
  bytes: (length) => Uint8Array.from({ length }, () => Math.floor(256 * random.next())),
})

/** Share of the day's activity at an hour of the day, mean about 1: quiet nights, busy afternoons. */
const diurnal = (wallMs: number): number => 1 - 0.2 * Math.cos((2 * Math.PI * (wallMs - 3 * HOUR_MS)) / (24 * HOUR_MS))

/** One device of the fleet: the shipping agent on simulated flash, battery, board and sound. */
export class DeviceSim {
  readonly spec: DeviceSpec
  readonly #world: DeviceWorld
  readonly #host: AgentHost
  readonly #cell: BatteryCell | undefined
  readonly #random: SeededRandom
  readonly #pools: readonly [TakePool, TakePool]
  /** names of the models that ran here, in order of their first boot */
  readonly modelsRun: string[] = []
  diedAtMs: number | undefined

  private constructor(
    spec: DeviceSpec,
    world: DeviceWorld,
    host: AgentHost,
    cell: BatteryCell | undefined,
    random: SeededRandom,
  ) {
    this.spec = spec
    this.#world = world
    this.#host = host
    this.#cell = cell
    this.#random = random
    this.#pools = world.pools(spec.scene)
  }

  /** Flashes the factory image and boots. */
  static async start(
    spec: DeviceSpec,
    world: DeviceWorld,
    factoryImage: Uint8Array,
    transport: Transport,
    random: SeededRandom,
  ): Promise<Result<DeviceSim, ContractError>> {
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
    const { clock, hearing, raisedShare } = this.#world
    const [calm, raised] = this.#pools
    const activity = diurnal(clock.wallMs()) * this.spec.busyness
    const share = raisedShare()
    const memory = hearing.memoryOf(bundle, level)
    const takes: Take[] = []
    const heards: Heard[] = []
    for (let i = 0; i < count; i++) {
      const take = drawTake(share > 0 && this.#random.next() < share ? raised : calm, activity, this.#random)
      takes.push(take)
      const heard = hearing.recall(memory, take)
      if (heard !== undefined) heards.push(heard)
    }
    if (heards.length === takes.length) {
      this.#take(bundle, takes, heards)
      return undefined
    }
    return Promise.all(takes.map((take) => hearing.hear(memory, take))).then((all) => this.#take(bundle, takes, all))
  }

  #take(bundle: OpenedBundle, takes: readonly Take[], heards: readonly Heard[]): void {
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
