import type { Clock } from '../contract/clock.ts'
import { type ContractError, contractError } from '../contract/errors.ts'
import type { LadderLevel } from '../contract/ladder-levels.ts'
import { labelsOfPipeline } from '../contract/manifest.ts'
import { err, ok, type Result } from '../contract/result.ts'
import { type Board, boardNamed } from '../model/boards.ts'
import { type Engine, engineFailure } from '../model/engine/engine.ts'
import { agentConfig } from './core/agent/agent-config.ts'
import type { AgentEffect, AgentState } from './core/agent/agent-state.ts'
import { Ears } from './core/ears.ts'
import { layoutOf } from './core/flash/flash-layout.ts'
import { deviceKey, type Identity, readIdentity } from './core/flash/identity.ts'
import { isProvisioned, provision } from './core/flash/provision.ts'
import { AgentHost } from './core/host.ts'
import type { HeardWake } from './core/listen/heard.ts'
import { type Radio, radioNamed } from './core/power/energy.ts'
import type { PowerBudget } from './core/power/governor.ts'
import { HYSTERESIS_CELSIUS } from './core/power/heat.ts'
import type { UpdateWindow } from './core/update/update-schedule.ts'
import { type Battery, MAINS } from './ports/battery.ts'
import type { Flash } from './ports/flash.ts'
import type { Thermometer } from './ports/thermometer.ts'
import type { Transport } from './ports/transport.ts'
import type { Watchdog } from './ports/watchdog.ts'

/** What an agent is made of. Ports of a computer are in `kinglet/device/node/…`, those of a bench in `kinglet/simulation`. */
export interface AgentOptions {
  readonly flash: Flash
  readonly engine: Engine
  readonly transport: Transport
  readonly clock: Clock
  /** id and site, as it is enrolled; default: those that its flash holds the key of */
  readonly device?: string
  readonly site?: string
  /** by name, as `BOARDS` has it, or one of your own */
  readonly board: string | Board
  /** by name, as `RADIOS` has it, or one of your own; default: `wifi` */
  readonly radio?: string | Radio
  /** factory image of a flash that holds none yet: a whole bundle */
  readonly bundle?: Uint8Array
  /** lowest security counter that a new flash accepts; default 0 */
  readonly securityCounter?: number
  /** first root of the image repository, that came with the device; without it nothing is installed */
  readonly trustRoot?: Uint8Array
  /** ladder level without a power budget; default: `gated` */
  readonly level?: LadderLevel
  /** the governor keeps to it; default: mains */
  readonly power?: PowerBudget
  readonly battery?: Battery
  readonly thermometer?: Thermometer
  /** °C above which it steps down its ladder, and up again when it is cooler by `hysteresisCelsius` (5); default: no limit */
  readonly heat?: { readonly maxCelsius: number; readonly hysteresisCelsius?: number }
  readonly watchdog?: Watchdog
  readonly updateWindow?: UpdateWindow
  /** told of each wake when the stretch of sound with it has been heard */
  readonly onWake?: (wake: AgentWake) => void
  /** told of everything that the agent does, after it was done: installs, reports, reboots */
  readonly onEffect?: (effect: AgentEffect, state: AgentState) => void
}

export interface AgentWake extends Pick<HeardWake, 'atMs' | 'posteriorPermille' | 'noiseDb'> {
  /** name of the label, of an alarm `anomaly` */
  readonly label: string
}

/** A device that listens, reports, installs what it is assigned and reverts what does not hold. */
export interface Agent {
  /** The running bundle's name and version; undefined between a reset and the next boot. */
  readonly model: { readonly name: string; readonly version: number } | undefined
  /** Level of the degradation ladder that it listens at. */
  readonly level: LadderLevel | undefined
  /** The whole state, for what is not here. */
  readonly state: AgentState | undefined
  /** Hears a stretch of the bundle's input, of any length; stretches follow each other.
   *  @param samples mono at 16 kHz or what the running bundle says, in [-1, 1); or vectors, or pictures, one after the other
   *  @returns its wakes, none while it boots or hibernates; or `inference-failed`, after which the agent goes on as far as it can */
  hear(samples: Float32Array): Promise<Result<readonly AgentWake[], ContractError>>
  /** Ends as planned: a last report, and what the gateway does not take stays in flash.
   *  @param waitMs at most */
  stop(waitMs?: number): Promise<void>
}

/** Chosen: a gateway acknowledges within a second or is not there */
const STOP_WAIT_MS = 2_000

/** Boots an agent from its flash, which gets its factory image first if it holds none.
 *  @returns the agent, or why it does not boot: `wrong-board`, `invalid-request` for an option, what `provision` and `AgentHost.start` say */
export async function createAgent(options: AgentOptions): Promise<Result<Agent, ContractError>> {
  const { flash, bundle, onWake, onEffect } = options
  const board = typeof options.board === 'string' ? boardNamed(options.board) : options.board
  if (board === undefined) return err(contractError('wrong-board', `no board is called "${String(options.board)}"`))
  const { radio: named = 'wifi' } = options
  const radio = typeof named === 'string' ? radioNamed(named) : named
  if (radio === undefined) return err(contractError('invalid-request', `no radio is called "${String(named)}"`))
  const layout = layoutOf(flash)
  if (!layout.ok) return layout
  if (bundle !== undefined && !isProvisioned(flash)) {
    const provisioned = provision(flash, bundle, options.securityCounter ?? 0)
    if (!provisioned.ok) return provisioned
  }
  const identity = readIdentity(flash, layout.value)
  const names = namesOf(options, identity)
  if (!names.ok) return names
  const started = await AgentHost.start({
    config: agentConfig({
      ...names.value,
      ...{ board, radio, level: options.level ?? 'gated' },
      ...{ trustRoot: options.trustRoot, power: options.power ?? null, updateWindow: options.updateWindow ?? null },
      heat: options.heat === undefined ? null : { hysteresisCelsius: HYSTERESIS_CELSIUS, ...options.heat },
      sign: identity?.active && deviceKey(identity.active).sign,
    }),
    ...{ flash, engine: options.engine, transport: options.transport, clock: options.clock },
    battery: options.battery ?? MAINS,
    ...(options.thermometer && { thermometer: options.thermometer }),
    ...(options.watchdog && { watchdog: options.watchdog }),
    ...(onEffect && { observe: onEffect }),
  })
  return started.ok ? ok(agentOf(started.value, onWake)) : started
}

/** A device speaks in the name that its key is enrolled under: another one would be refused by every gateway. */
function namesOf(
  { device, site }: AgentOptions,
  identity: Identity | undefined,
): Result<{ readonly device: string; readonly site: string }, ContractError> {
  const given = { device: device ?? identity?.device, site: site ?? identity?.site }
  if (given.device === undefined || given.site === undefined) {
    return err(contractError('invalid-request', 'device and site are needed: this flash holds no identity'))
  }
  if (identity !== undefined && (given.device !== identity.device || given.site !== identity.site)) {
    const detail = `this flash holds the key of ${identity.device} at ${identity.site}, not of ${given.device} at ${given.site}`
    return err(contractError('invalid-request', detail))
  }
  return ok({ device: given.device, site: given.site })
}

function agentOf(host: AgentHost, onWake: AgentOptions['onWake']): Agent {
  const ears = new Ears(host)
  return {
    get model() {
      const manifest = host.bundle?.manifest
      return manifest && { name: manifest.name, version: manifest.version }
    },
    get level() {
      return host.level
    },
    get state() {
      return host.state
    },
    async hear(samples) {
      const manifest = host.bundle?.manifest
      const heard = await ears.hear(samples)
      if (!heard.ok) return err(engineFailure(heard.error))
      const wakes = (heard.value?.wakes ?? []).map(({ label, pipeline, atMs, posteriorPermille, noiseDb }) => ({
        label: (manifest && labelsOfPipeline(manifest, pipeline)[label]) ?? '',
        ...{ atMs, posteriorPermille, noiseDb },
      }))
      for (const wake of wakes) onWake?.(wake)
      return ok(wakes)
    },
    stop: (waitMs = STOP_WAIT_MS) => host.stop(waitMs),
  }
}
