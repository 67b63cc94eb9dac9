import { present } from '../contract/present.ts'
import type { SeededRandom } from '../contract/random.ts'
import { drawMachine, type FloorShake, type Machine, type Running, SENSOR, senseBearing } from './bearing.ts'
import { type SensedTake, type Senses, TAKE_MS, type TakeSource } from './take.ts'

/** A place with machines, before and after what is around them changes. */
export interface BearingScene {
  readonly name: string
  readonly calm: Workload
  readonly raised: Workload
}

type Range = readonly [low: number, high: number]

/** How machines of a place are run, and what shakes their floor; each stretch of time draws from the ranges. */
export interface Workload {
  readonly load: Range
  readonly shaftHz: Range
  /** of the time in which they stand */
  readonly standing: number
  readonly turningG: Range
  readonly strokesPerSecond: Range
  readonly strokeG: Range
}

/** Pumps on a floor of their own at their rated load: what a first model is trained on. */
const rated: Workload = {
  load: [0.5, 0.9],
  shaftHz: [23, 27],
  standing: 0.1,
  turningG: [0.001, 0.006],
  strokesPerSecond: [0, 0.02],
  strokeG: [0.02, 0.06],
}

/** Other loads and speeds, on a platform with presses and other machines. */
const shaken: Workload = {
  load: [0.2, 1.2],
  shaftHz: [18, 30],
  standing: 0.1,
  turningG: [0.01, 0.1],
  strokesPerSecond: [0, 1],
  strokeG: [0.1, 0.5],
}

export const BEARING_SCENES: readonly BearingScene[] = [
  { name: 'pump', calm: rated, raised: shaken },
  { name: 'conveyor', calm: { ...rated, load: [0.4, 1], shaftHz: [20, 25] }, raised: { ...shaken, shaftHz: [18, 26] } },
]

const within = ([low, high]: Range, random: SeededRandom): number => low + (high - low) * random.next()

/** Draws how a machine runs for a while. @param wear of its bearing, 0 to 1 */
export function drawRunning(workload: Workload, wear: number, random: SeededRandom): Running {
  const floor: FloorShake = {
    turningG: within(workload.turningG, random),
    strokesPerSecond: within(workload.strokesPerSecond, random),
    strokeG: within(workload.strokeG, random),
  }
  const stands = random.next() < workload.standing
  return {
    ...{ wear, floor, load: within(workload.load, random) },
    shaftHz: stands ? 0 : within(workload.shaftHz, random),
  }
}

export const bearingSceneNamed = (name: string): BearingScene | undefined =>
  BEARING_SCENES.find((scene) => scene.name === name)

/** Ten seconds of a machine. */
export interface BearingTake extends SensedTake {
  readonly machine: Machine
  readonly running: Running
  /** decides noise and phases */
  readonly key: string
}

/** Chosen: as many machines as a site may have of a kind, and stretches of each at a wear, so that what a fleet senses is made once. */
const MACHINES = 8
const STRETCHES = 12
/** Wear goes by tenths: finer than what anybody tells apart. */
const WEAR_STEPS = 10

/** What the sensor on a machine gives in takes. @param random seeds machines, loads and noises */
export const bearingSenses = (random: SeededRandom): Senses<BearingTake> => ({
  valuesPerSecond: SENSOR.channels * SENSOR.rateHz,
  leadValues: 0,
  render: ({ machine, running, key }) =>
    senseBearing(machine, running, (SENSOR.rateHz * TAKE_MS) / 1_000, random.fork(key)),
})

/** Takes of machines that wear. A worn one that runs should alarm; one that stands cannot.
 *  @param wearOf wear of a device's bearing at a time, 0 to 1
 *  @param raisedShare share of the field whose floor shakes now, 0 to 1 */
export function bearingTakes(
  random: SeededRandom,
  wearOf: (device: string, nowMs: number) => number,
  raisedShare: () => number,
): (spec: { readonly device: string; readonly scene: { readonly name: string } }) => TakeSource<BearingTake> {
  const known = new Map<string, BearingTake>()
  const machines = new Map<string, Machine>()
  const machineOf = (name: string): Machine => {
    const machine = machines.get(name) ?? drawMachine(random.fork(`machine ${name}`))
    machines.set(name, machine)
    return machine
  }
  const take = (scene: BearingScene, raised: boolean, name: string, wear: number, stretch: number): BearingTake => {
    const key = `${name}/${raised ? 'raised' : 'calm'}/${wear}/${stretch}`
    const made = known.get(key)
    if (made !== undefined) return made
    const running = drawRunning(raised ? scene.raised : scene.calm, wear / WEAR_STEPS, random.fork(`running ${key}`))
    const isWorn = wear > 0 && running.shaftHz > 0
    const drawn: BearingTake = {
      ...{ key, running, machine: machineOf(name) },
      ...(isWorn && { expected: 'anomaly' }),
    }
    known.set(key, drawn)
    return drawn
  }
  return ({ device, scene: { name } }) => {
    const scene = present(bearingSceneNamed(name), `the scene ${name}`)
    const machine = `${name}-${Math.floor(MACHINES * random.fork(`machine of ${device}`).next())}`
    return {
      draw(nowMs, own) {
        const share = raisedShare()
        const raised = share > 0 && own.next() < share
        const wear = Math.round(WEAR_STEPS * Math.max(0, Math.min(1, wearOf(device, nowMs))))
        return take(scene, raised, machine, wear, Math.floor(STRETCHES * own.next()))
      },
    }
  }
}
