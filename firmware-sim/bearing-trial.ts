import type { Clock } from '../contract/clock.ts'
import type { LadderLevel } from '../contract/ladder-levels.ts'
import { present } from '../contract/present.ts'
import { seededRandom } from '../contract/random.ts'
import { PORTABLE_SCHEMES } from '../contract/tuf/signature-scheme.ts'
import { radioNamed, totalEnergy } from '../device/core/power/energy.ts'
import type { Board } from '../model/boards.ts'
import type { Engine } from '../model/engine/engine.ts'
import { BEARING_SCENES, type BearingTake, bearingSenses, bearingTakes } from './bearing-scene.ts'
import { VirtualClock } from './clock-virtual.ts'
import type { DeviceSpec } from './device-sim.ts'
import { SharedEngine } from './engine-shared.ts'
import { Fleet } from './fleet.ts'
import { Hearing } from './hearing.ts'
import { Ledger } from './ledger.ts'
import { SILENT_TRANSPORT } from './transport-silent.ts'

const HOUR_MS = 3_600_000

export interface BearingTrialOptions {
  readonly bundle: Uint8Array
  readonly engine: Engine
  readonly real: Clock
  readonly board: Board
  readonly level: LadderLevel
  readonly seed: number
  readonly devices: number
  /** how many of them have a bearing that wears, from new at the start to gone at the end; the others stay sound */
  readonly worn: number
  readonly hours: number
  /** of the time the floor shakes as the field's does, 0 to 1 */
  readonly raisedShare: number
  readonly onHour?: (hour: number, alarmed: number) => void
}

/** What one device came to. */
export interface BearingOutcome {
  readonly device: string
  readonly scene: string
  readonly wears: boolean
  readonly alarms: number
  /** wear of its bearing when it first alarmed, 0 to 1; null: it never did */
  readonly firstAlarmWear: number | null
  readonly energyMj: number
}

export interface BearingTrialResult {
  readonly hours: number
  readonly outcomes: readonly BearingOutcome[]
  /** takes of ten seconds in which a worn machine ran, and those of them that alarmed */
  readonly wornTakes: number
  readonly wornTakesAlarmed: number
  /** alarms in takes of machines that were sound, or stood */
  readonly falseAlarms: number
  readonly windows: number
  readonly inferences: number
}

/** Machines of which some wear, with the shipping agent on each; no network, virtual time. The same seed gives the same run. */
export async function runBearingTrial(options: BearingTrialOptions): Promise<BearingTrialResult> {
  const { bundle, engine, real, board, level, seed, devices, worn, hours, raisedShare } = options
  const random = seededRandom(seed)
  const shared = new SharedEngine(engine)
  const time = new VirtualClock(0)
  const ledger = new Ledger()
  const specs = Array.from({ length: devices }, (_, i): DeviceSpec => {
    const { name } = present(BEARING_SCENES[i % BEARING_SCENES.length], 'a scene')
    return {
      ...{ device: `${name}-${i + 1}`, site: 'hall', board, radio: present(radioNamed('ble-1m'), 'the radio') },
      ...{ scene: { name }, power: null, governed: false, level, busyness: 1, reportPhaseMs: (i % 60) * 60_000 },
    }
  })
  const wearing = new Set(specs.slice(0, worn).map(({ device }) => device))
  const wearOf = (device: string, nowMs: number): number =>
    wearing.has(device) ? Math.min(1, nowMs / (hours * HOUR_MS)) : 0
  const fleet = await Fleet.start<BearingTake>({
    specs,
    world: {
      ...{ engine: shared, ledger, hearing: new Hearing(bearingSenses(random.fork('machines'))) },
      takesOf: bearingTakes(random.fork('machines'), wearOf, () => raisedShare),
      ...{ trustRoot: new Uint8Array(0), schemes: PORTABLE_SCHEMES },
    },
    ...{ time, real, factoryImage: bundle, transportOf: () => SILENT_TRANSPORT, random },
  })
  const firstWear = new Map<string, number>()
  const measuresOf = (device: (typeof fleet.devices)[number]) =>
    present(device.host.state, 'the state of a device that has started').measures
  let hour = 0
  await fleet.runUntil((nowMs) => {
    for (const device of fleet.devices) {
      const { device: name } = device.spec
      if (measuresOf(device).counters.wakes > 0 && !firstWear.has(name)) firstWear.set(name, wearOf(name, nowMs))
    }
    if (nowMs >= (hour + 1) * HOUR_MS) options.onHour?.(++hour, firstWear.size)
    return nowMs >= hours * HOUR_MS
  })
  const outcomes = fleet.devices.map((device): BearingOutcome => {
    const { counters, energy } = measuresOf(device)
    const { device: name, scene } = device.spec
    return {
      ...{ device: name, scene: scene.name, wears: wearing.has(name), alarms: counters.wakes },
      ...{ firstAlarmWear: firstWear.get(name) ?? null, energyMj: Number(totalEnergy(energy).toFixed(3)) },
    }
  })
  await fleet.close()
  await shared.close()
  return {
    ...{ hours, outcomes, wornTakes: ledger.keywordsSpoken, wornTakesAlarmed: ledger.keywordsFound },
    ...{ falseAlarms: ledger.falseWakes, windows: ledger.windows, inferences: ledger.inferences },
  }
}
