import type { SeededRandom } from '../contract/random.ts'

/** What a three-axis accelerometer on a bearing's housing senses: shaft and harmonics, gravity, rolling noise, the impacts of a race that
 *  wears, the floor that other machines shake, and the sensor itself. Everything is in g and Hz. It is a simulation: its numbers are
 *  chosen to lie where small industrial motors and cheap sensors are, and a real machine has its own.
 *  @see R. B. Randall, J. Antoni, "Rolling element bearing diagnostics: a tutorial", Mechanical Systems and Signal Processing 25 (2011), for the
 *    fault frequencies and for impacts with a random slip that ring a resonance
 *  @see P. D. McFadden, J. D. Smith, "Model for the vibration produced by a single point defect in a rolling element bearing", Journal of Sound
 *    and Vibration 96 (1984), for the load zone that modulates an inner race */

/** Sizes of a rolling bearing, in mm and degrees. */
export interface BearingGeometry {
  readonly rollers: number
  readonly rollerMm: number
  readonly pitchMm: number
  readonly contactDegrees: number
}

/** The deep-groove bearing of many small motors. */
export const BEARING_6205: BearingGeometry = { rollers: 9, rollerMm: 7.94, pitchMm: 39.04, contactDegrees: 0 }

export const RACES = ['outer', 'inner'] as const
export type Race = (typeof RACES)[number]

/** How often rollers pass a damaged place of a race, Hz. The outer race stands still, the inner one turns with the shaft. */
export function passFrequency({ rollers, rollerMm, pitchMm, contactDegrees }: BearingGeometry, race: Race, hz: number) {
  const ratio = (rollerMm / pitchMm) * Math.cos((contactDegrees * Math.PI) / 180)
  return (rollers / 2) * hz * (race === 'outer' ? 1 - ratio : 1 + ratio)
}

/** Three values, one an axis of the sensor. */
export type Axes = readonly [x: number, y: number, z: number]

/** A machine with its sensor, as it was built and mounted: what does not change from hour to hour. */
export interface Machine {
  readonly geometry: BearingGeometry
  /** the race that wears */
  readonly race: Race
  /** of gravity, of unit length: how the sensor is mounted */
  readonly gravity: Axes
  /** g at full load of the shaft's rate and its multiples, and the direction in which each shakes */
  readonly harmonics: readonly { readonly g: number; readonly along: Axes }[]
  /** what rings when a roller passes the damaged place, Hz, its share of critical damping, and its direction */
  readonly resonance: { readonly hz: number; readonly damping: number; readonly along: Axes }
  /** g, root mean square at full load: rollers on sound races shake the same resonance without end */
  readonly rollingG: number
  /** g of the motor's hum at twice the grid's 50 Hz */
  readonly humG: number
}

/** What comes through the floor. */
export interface FloorShake {
  /** g of each of two other machines that turn */
  readonly turningG: number
  /** strokes a second of a press, or of a wheel over a joint, and their peak, g */
  readonly strokesPerSecond: number
  readonly strokeG: number
}

/** How a machine runs. */
export interface Running {
  /** 0: sound, 1: the race is broken out */
  readonly wear: number
  /** share of full load, up to about 1.2 */
  readonly load: number
  /** 0: it stands still, and only the floor and the sensor are there */
  readonly shaftHz: number
  readonly floor: FloorShake
}

/** spec: three axes at 3 200 Hz, ±16 g in steps of 3.9 mg, as an ADXL345 gives in full resolution. */
export const SENSOR = { channels: 3, rateHz: 3_200, rangeG: 16, stepG: 1 / 256 } as const
/** Chosen: 150 µg/√Hz over 1 600 Hz, between what hobby and industrial sensors state. */
const SENSOR_NOISE_G = 0.006
/** Chosen: peak of an impact, g, at full load on a race that is broken out; half of it is there at a wear of 0.63. */
const IMPACT_G = 1.5
const IMPACT_GROWTH = 1.5
/** Rollers slip by about a hundredth from impact to impact, which is why real lines are smeared (Randall and Antoni). */
const SLIP = 0.01
/** Chosen: the impact where the inner race leaves the load zone, beside that in its middle. */
const UNLOADED_SHARE = 0.2
/** Chosen: an induction motor's speed wanders by so much, slowly. */
const SPEED_WANDER = 0.004

const between = (random: SeededRandom, low: number, high: number): number => low + (high - low) * random.next()

/** Standard normal numbers. @see G. E. P. Box, M. E. Muller, "A note on the generation of random normal deviates", 1958 */
function normals(random: SeededRandom): () => number {
  let spare: number | undefined
  return () => {
    if (spare !== undefined) {
      const value = spare
      spare = undefined
      return value
    }
    const size = Math.sqrt(-2 * Math.log(1 - random.next()))
    const angle = 2 * Math.PI * random.next()
    spare = size * Math.sin(angle)
    return size * Math.cos(angle)
  }
}

/** A direction, all alike. */
function direction(random: SeededRandom): Axes {
  const next = normals(random)
  const [x, y, z] = [next(), next(), next()]
  const length = Math.hypot(x, y, z) || 1
  return [x / length, y / length, z / length]
}

/** One of many machines of a kind: the same motor, mounted and balanced by other people. */
export function drawMachine(random: SeededRandom): Machine {
  return {
    geometry: BEARING_6205,
    race: random.next() < 0.6 ? 'outer' : 'inner',
    gravity: direction(random),
    harmonics: [between(random, 0.04, 0.16), between(random, 0.02, 0.08), between(random, 0.01, 0.03)].map((g) => ({
      g,
      along: direction(random),
    })),
    resonance: { hz: between(random, 900, 1_350), damping: between(random, 0.03, 0.06), along: direction(random) },
    rollingG: between(random, 0.01, 0.02),
    humG: between(random, 0.005, 0.02),
  }
}

/** Adds a mode that rings: two poles, fed by what strikes it. */
function ringing(hz: number, damping: number) {
  const r = Math.exp((-2 * Math.PI * damping * hz) / SENSOR.rateHz)
  const angle = (2 * Math.PI * hz * Math.sqrt(1 - damping * damping)) / SENSOR.rateHz
  const [a, b] = [2 * r * Math.cos(angle), -r * r]
  const at = { last: 0, before: 0 }
  return {
    /** what a stroke of 1 has to be for a decaying sine of 1 */
    stroke: Math.sin(angle),
    /** root mean square of what noise of 1 makes it ring at */
    noiseGain: Math.sqrt((1 + r * r) / ((1 - r * r) * (1 + r ** 4 - 2 * r * r * Math.cos(2 * angle)))),
    next(input: number): number {
      const value = a * at.last + b * at.before + input
      at.before = at.last
      at.last = value
      return value
    },
  }
}

/** Angles of something that turns at a rate that wanders, a vector at a time. */
function turning(hz: number, wander: number, random: SeededRandom) {
  const next = normals(random)
  const at = { angle: 2 * Math.PI * random.next(), drift: 0 }
  // A walk that forgets within two seconds.
  const keep = Math.exp(-1 / (2 * SENSOR.rateHz))
  const kick = wander * Math.sqrt(1 - keep * keep)
  return (): number => {
    at.drift = keep * at.drift + kick * next()
    at.angle += (2 * Math.PI * hz * (1 + at.drift)) / SENSOR.rateHz
    return at.angle
  }
}

/** What the sensor gives for some time.
 *  @param vectors how many, at SENSOR.rateHz
 *  @param random each part of it is drawn from a fork of its own, so that wear changes nothing but the impacts
 *  @returns vector after vector, g */
export function senseBearing(machine: Machine, running: Running, vectors: number, random: SeededRandom): Float32Array {
  const out = new Float32Array(SENSOR.channels * vectors)
  const add = (at: number, [x, y, z]: Axes, g: number): void => {
    out[3 * at] = out[3 * at]! + x * g
    out[3 * at + 1] = out[3 * at + 1]! + y * g
    out[3 * at + 2] = out[3 * at + 2]! + z * g
  }
  if (running.shaftHz > 0) addShaft(machine, running, vectors, random.fork('shaft'), add)
  addFloor(running.floor, vectors, random.fork('floor'), add)
  const noise = normals(random.fork('sensor'))
  const { stepG, rangeG } = SENSOR
  for (let i = 0; i < out.length; i++) {
    const g = out[i]! + machine.gravity[i % 3]! + SENSOR_NOISE_G * noise()
    out[i] = Math.max(-rangeG, Math.min(rangeG - stepG, stepG * Math.round(g / stepG)))
  }
  return out
}

type Add = (at: number, along: Axes, g: number) => void

/** Unbalance and misalignment, hum, and the resonance with what strikes it. */
function addShaft(machine: Machine, running: Running, vectors: number, random: SeededRandom, add: Add): void {
  const { geometry, race, harmonics, resonance, rollingG, humG } = machine
  const { wear, load, shaftHz } = running
  const angleOf = turning(shaftHz, SPEED_WANDER, random.fork('speed'))
  const phases = harmonics.map(() => 2 * Math.PI * random.next())
  const hum = turning(100, 0, random)
  const rolling = normals(random.fork('rolling'))
  const impacts = random.fork('impacts')
  const impact = normals(impacts)
  const mode = ringing(resonance.hz, resonance.damping)
  // The load stiffens and loosens the shaft's own shaking only a little; rolling and impacts follow it.
  const shaking = 0.7 + 0.3 * load
  const strike = IMPACT_G * wear ** IMPACT_GROWTH * (0.4 + 0.6 * load) * mode.stroke
  const rubbing = (rollingG * load) / mode.noiseGain
  const everyVectors = SENSOR.rateHz / passFrequency(geometry, race, shaftHz)
  let due = everyVectors * impacts.next()
  for (let at = 0; at < vectors; at++) {
    const angle = angleOf()
    for (const [n, { g, along }] of harmonics.entries()) {
      add(at, along, shaking * g * Math.sin((n + 1) * angle + phases[n]!))
    }
    add(at, resonance.along, humG * Math.sin(hum()))
    let stroke = rubbing * rolling()
    if (at >= due) {
      due += everyVectors * Math.max(0.5, 1 + SLIP * impact())
      const zone = race === 'outer' ? 1 : UNLOADED_SHARE + (1 - UNLOADED_SHARE) * Math.max(0, Math.cos(angle))
      stroke += strike * zone * Math.max(0, 1 + 0.2 * impact())
    }
    add(at, resonance.along, mode.next(stroke))
  }
}

/** A platform of steel carries what is slow: other machines that turn, and strokes that ring it. Chosen: up to 100 and at 40 to 180 Hz, below
 *  what a bearing's housing rings at. */
function addFloor(
  { turningG, strokesPerSecond, strokeG }: FloorShake,
  vectors: number,
  random: SeededRandom,
  add: Add,
): void {
  const others = [0, 1].map((n) => ({
    angle: turning(between(random, 9, 100), SPEED_WANDER, random.fork(`other ${n}`)),
    along: direction(random),
    g: turningG * between(random, 0.5, 1.5),
  }))
  const along = direction(random)
  const floor = ringing(between(random, 40, 180), between(random, 0.05, 0.12))
  for (let at = 0; at < vectors; at++) {
    for (const other of others) add(at, other.along, other.g * Math.sin(other.angle()))
    const struck = random.next() < strokesPerSecond / SENSOR.rateHz
    add(at, along, floor.next(struck ? strokeG * between(random, 0.5, 1.5) * floor.stroke : 0))
  }
}
