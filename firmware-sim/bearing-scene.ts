import type { SeededRandom } from '../contract/random.ts'
import type { FloorShake, Running } from './bearing.ts'

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
  turningG: [0.01, 0.12],
  strokesPerSecond: [0, 3],
  strokeG: [0.2, 0.8],
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
