import type { Clock } from '../contract/clock.ts'
import { LADDER_LEVELS } from '../contract/ladder-levels.ts'
import { present } from '../contract/present.ts'
import { seededRandom } from '../contract/random.ts'
import { PORTABLE_SCHEMES } from '../contract/tuf/signature-scheme.ts'
import { radioNamed } from '../device/core/power/energy.ts'
import { HYSTERESIS_CELSIUS } from '../device/core/power/heat.ts'
import { BOARDS } from '../model/boards.ts'
import type { Engine } from '../model/engine/engine.ts'
import { VirtualClock } from './clock-virtual.ts'
import type { DeviceSpec } from './device-sim.ts'
import { SharedEngine } from './engine-shared.ts'
import { Fleet } from './fleet.ts'
import { Hearing } from './hearing.ts'
import { Ledger } from './ledger.ts'
import { SCENES, scenePools, soundSenses, soundTakes } from './scene.ts'
import type { SoundBank } from './sound-bank.ts'
import { SILENT_TRANSPORT } from './transport-silent.ts'

const DAY_MS = 86_400_000

export interface BatteryTrialOptions {
  readonly bank: SoundBank
  readonly bundle: Uint8Array
  readonly engine: Engine
  readonly real: Clock
  readonly seed: number
  readonly devices: number
  /** days the batteries must last */
  readonly days: number
  /** battery as a share of what the full level would take over the horizon */
  readonly capacityShare: number
  /** a day's coldest and warmest, at midnight and noon of the simulation, and what the devices may get; absent: no thermometer */
  readonly heat?: { readonly lowCelsius: number; readonly highCelsius: number; readonly maxCelsius: number }
  readonly onDay?: (governed: boolean, day: number, alive: number) => void
}

export interface BatteryTrialResult {
  readonly governed: boolean
  readonly devices: number
  readonly reachedHorizon: number
  /** mean over devices, days */
  readonly meanLifeDays: number
  /** mean share of the lived time in each ladder level */
  readonly levelShare: Readonly<Record<string, number>>
  readonly ladderMoves: number
  /** keywords found over keywords spoken to listening devices */
  readonly found: number
}

/** A housing takes the temperature of the air: of what devices of this kind take themselves, some tens of milliwatts, nobody feels a degree. */
const celsiusAt = ({ lowCelsius, highCelsius }: NonNullable<BatteryTrialOptions['heat']>, nowMs: number): number =>
  lowCelsius + ((highCelsius - lowCelsius) * (1 - Math.cos((2 * Math.PI * nowMs) / DAY_MS))) / 2

/** The same small batteries twice: with the governor, and without it at the full level. No network, virtual time. */
export async function runBatteryTrial(options: BatteryTrialOptions, governed: boolean): Promise<BatteryTrialResult> {
  const { bank, bundle, engine, real, seed, devices, days, capacityShare, heat } = options
  const random = seededRandom(seed)
  const shared = new SharedEngine(engine)
  const time = new VirtualClock(0)
  const ledger = new Ledger()
  const boards = BOARDS.filter(({ name }) => name !== 'ESP32-S3')
  const horizonMs = days * DAY_MS
  const specs = Array.from({ length: devices }, (_, i): DeviceSpec => {
    const board = present(boards[i % boards.length], 'a board')
    // Full level: microphone on, five inferences a second.
    const fullMilliwatt = board.listenIdleMilliwatt + (5 * board.kwsMicrojoule) / 1000
    return {
      device: `cell-${i + 1}`,
      site: 'bench',
      board,
      radio: present(radioNamed('ble-1m'), 'the radio'),
      scene: present(SCENES[i % SCENES.length], 'a scene'),
      power: { capacityMj: fullMilliwatt * (horizonMs / 1000) * capacityShare, horizonMs },
      governed,
      ...(heat && { heat: { maxCelsius: heat.maxCelsius, hysteresisCelsius: HYSTERESIS_CELSIUS } }),
      level: 'full',
      busyness: 1,
      reportPhaseMs: (i % 60) * 60_000,
    }
  })
  const fleet = await Fleet.start({
    specs,
    world: {
      engine: shared,
      hearing: new Hearing(soundSenses(bank, random.fork('sounds'))),
      ledger,
      takesOf: soundTakes(scenePools([...bank.keywords.keys()]), () => 0),
      ...(heat && { thermometerOf: () => ({ celsius: () => celsiusAt(heat, time.wallMs()) }) }),
      trustRoot: new Uint8Array(0),
      schemes: PORTABLE_SCHEMES,
    },
    time,
    real,
    factoryImage: bundle,
    transportOf: () => SILENT_TRANSPORT,
    random,
  })
  const levelMs = LADDER_LEVELS.map(() => 0)
  let moves = 0
  let day = 0
  const states = new Map(
    fleet.devices.map((device) => [device, present(device.host.state, 'the state of a device that has started')]),
  )
  await fleet.runUntil((nowMs) => {
    for (const device of fleet.devices) if (device.host.state !== undefined) states.set(device, device.host.state)
    const alive = fleet.devices.filter(({ diedAtMs }) => diedAtMs === undefined).length
    if (nowMs >= (day + 1) * DAY_MS) options.onDay?.(governed, ++day, alive)
    return nowMs >= horizonMs || alive === 0
  })
  for (const state of states.values()) {
    state.measures.levelMs.forEach((ms, i) => {
      levelMs[i] = (levelMs[i] ?? 0) + ms
    })
    moves += state.measures.counters.ladderMoves
  }
  const lives = fleet.devices.map(({ diedAtMs }) => diedAtMs ?? time.wallMs())
  const lived = levelMs.reduce((sum, ms) => sum + ms, 0)
  const result: BatteryTrialResult = {
    governed,
    devices,
    reachedHorizon: fleet.devices.filter(({ diedAtMs }) => diedAtMs === undefined).length,
    meanLifeDays: lives.reduce((sum, ms) => sum + ms, 0) / devices / DAY_MS,
    levelShare: Object.fromEntries(LADDER_LEVELS.map((level, i) => [level, (levelMs[i] ?? 0) / Math.max(1, lived)])),
    ladderMoves: moves,
    found: ledger.keywordsFound / Math.max(1, ledger.keywordsSpoken),
  }
  await fleet.close()
  await shared.close()
  return result
}
