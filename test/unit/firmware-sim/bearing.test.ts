import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../../contract/random.ts'
import {
  BEARING_6205,
  drawMachine,
  type Machine,
  passFrequency,
  RACES,
  type Running,
  SENSOR,
  senseBearing,
} from '../../../firmware-sim/bearing.ts'
import { BEARING_SCENES, drawRunning } from '../../../firmware-sim/bearing-scene.ts'

const QUIET = { turningG: 0, strokesPerSecond: 0, strokeG: 0 }
const SECONDS = 4
const sense = (machine: Machine, running: Partial<Running> = {}, seed = 5, seconds = SECONDS) =>
  senseBearing(
    machine,
    { wear: 0, load: 0.7, shaftHz: 25, floor: QUIET, ...running },
    SENSOR.rateHz * seconds,
    seededRandom(seed),
  )
const machineOf = (seed: number) => drawMachine(seededRandom(seed))
const along = (samples: Float32Array, [x, y, z]: readonly number[]) =>
  Float64Array.from({ length: samples.length / 3 }, (_, i) => {
    return samples[3 * i]! * x! + samples[3 * i + 1]! * y! + samples[3 * i + 2]! * z!
  })
const mean = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b, 0) / values.length
const deviation = (values: ArrayLike<number>) => {
  const middle = mean(values)
  return Math.sqrt(mean(Array.from(values, (value) => (value - middle) ** 2)))
}
/** Amplitude of a frequency, by correlation with it. */
const amplitudeAt = (values: Float64Array, hz: number) => {
  let [re, im] = [0, 0]
  const middle = mean(values)
  for (let i = 0; i < values.length; i++) {
    re += (values[i]! - middle) * Math.cos((2 * Math.PI * hz * i) / SENSOR.rateHz)
    im += (values[i]! - middle) * Math.sin((2 * Math.PI * hz * i) / SENSOR.rateHz)
  }
  return (2 * Math.hypot(re, im)) / values.length
}
/** What wear adds: all else is drawn alike. */
const addedBy = (machine: Machine, wear: number) => {
  const [sound, worn] = [sense(machine), sense(machine, { wear })]
  return along(
    worn.map((value, i) => value - sound[i]!),
    machine.resonance.along,
  )
}

describe('a bearing', () => {
  it('has the pass frequencies that are published for a 6205: 3.5848 and 5.4152 times the shaft rate', () => {
    expect(passFrequency(BEARING_6205, 'outer', 1)).toBeCloseTo(3.5848, 2)
    expect(passFrequency(BEARING_6205, 'inner', 1)).toBeCloseTo(5.4152, 2)
    // Both races together see each roller once a turn of all.
    expect(RACES.reduce((sum, race) => sum + passFrequency(BEARING_6205, race, 30), 0)).toBeCloseTo(270, 9)
    // Rollers that press at an angle see less of the difference.
    expect(passFrequency({ ...BEARING_6205, contactDegrees: 40 }, 'outer', 1)).toBeGreaterThan(3.7)
  })

  it('that wears rings its resonance at the pass frequency of its race, and nothing else of it changes', () => {
    for (const seed of [1, 2, 3, 4]) {
      const machine = machineOf(seed)
      const added = addedBy(machine, 1)
      const envelope = added.map((value) => value * value)
      const hz = passFrequency(machine.geometry, machine.race, 25)
      const others = [0.37, 0.61, 0.79, 1.31, 1.43].map((share) => amplitudeAt(envelope, share * hz))
      // Speed and slip smear the line: the highest within a hundredth.
      const line = Math.max(...[-0.01, -0.005, 0, 0.005, 0.01].map((off) => amplitudeAt(envelope, (1 + off) * hz)))
      expect(line).toBeGreaterThan(3 * Math.max(...others))
      const { hz: rings } = machine.resonance
      const band = (from: number, to: number) =>
        Math.max(...Array.from({ length: 60 }, (_, i) => amplitudeAt(added, from + ((to - from) * i) / 60)))
      expect(band(rings - 60, rings + 60)).toBeGreaterThan(5 * band(10, 200))
    }
  })

  it('rings harder the more it is worn: half as hard at 0.63, not at all at 0', () => {
    const machine = machineOf(1)
    const [none, half, all] = [0, 0.63, 1].map((wear) => deviation(addedBy(machine, wear)))
    expect(none).toBe(0)
    expect(half! / all!).toBeCloseTo(0.5, 1)
  })

  it('under more load rings harder too, and sound ones hiss a little', () => {
    const machine = machineOf(2)
    const hiss = [0.2, 1].map((load) => deviation(along(sense(machine, { load }), machine.resonance.along)))
    expect(hiss[1]!).toBeGreaterThan(hiss[0]!)
  })

  it('shakes at the rate of its shaft, around gravity of one g as the sensor is mounted', () => {
    const machine = machineOf(3)
    const samples = sense(machine, { shaftHz: 20 })
    for (const [axis, g] of machine.gravity.entries()) {
      expect(mean(samples.filter((_, i) => i % 3 === axis))).toBeCloseTo(g, 2)
    }
    expect(Math.hypot(...machine.gravity)).toBeCloseTo(1, 9)
    const [first] = machine.harmonics
    const shaken = along(samples, first!.along)
    const line = Math.max(...[-0.2, -0.1, 0, 0.1, 0.2].map((off) => amplitudeAt(shaken, 20 + off)))
    expect(line).toBeGreaterThan(0.4 * first!.g)
    expect(line).toBeGreaterThan(10 * amplitudeAt(shaken, 27))
  })

  it('that stands gives gravity and the sensor, 6 mg and the steps of its converter', () => {
    const samples = sense(machineOf(4), { shaftHz: 0, wear: 1 })
    for (const axis of [0, 1, 2]) {
      const values = samples.filter((_, i) => i % 3 === axis)
      expect(deviation(values)).toBeCloseTo(Math.sqrt(0.006 ** 2 + SENSOR.stepG ** 2 / 12), 3)
    }
    expect(samples.every((value) => Number.isInteger(value / SENSOR.stepG))).toBe(true)
  })

  it('on a platform with a press is shaken by it below 200 Hz', () => {
    const machine = machineOf(5)
    const floor = { turningG: 0.1, strokesPerSecond: 1, strokeG: 0.5 }
    const [still, shaken] = [QUIET, floor].map((what) => sense(machine, { shaftHz: 0, floor: what }))
    const added = along(
      shaken!.map((value, i) => value - still![i]!),
      [0.6, 0.6, 0.5],
    )
    const band = (from: number, to: number) =>
      Math.max(...Array.from({ length: 200 }, (_, i) => amplitudeAt(added, from + ((to - from) * i) / 200)))
    expect(band(9, 180)).toBeGreaterThan(10 * band(500, 1_500))
  })

  it('gives the same for the same seed, and stays within the range of the sensor', () => {
    const machine = machineOf(6)
    expect(sense(machine, { wear: 0.5 }, 7, 1)).toEqual(sense(machine, { wear: 0.5 }, 7, 1))
    expect(sense(machine, { wear: 0.5 }, 8, 1)).not.toEqual(sense(machine, { wear: 0.5 }, 7, 1))
    const hammered = sense(machine, { floor: { turningG: 0, strokesPerSecond: 5, strokeG: 500 } }, 1, 1)
    expect(hammered.every((value) => value >= -16 && value < 16)).toBe(true)
    expect(hammered.some((value) => value === -16)).toBe(true)
  })
})

describe('how machines of a place run', () => {
  it('lies within what the place says, and some stand', () => {
    for (const { calm, raised } of BEARING_SCENES) {
      for (const workload of [calm, raised]) {
        const runs = Array.from({ length: 300 }, (_, i) => drawRunning(workload, 0.3, seededRandom(1).fork(`${i}`)))
        const standing = runs.filter(({ shaftHz }) => shaftHz === 0).length
        expect(standing).toBeGreaterThan(10)
        expect(standing).toBeLessThan(60)
        for (const { load, shaftHz, wear } of runs) {
          expect(wear).toBe(0.3)
          expect(load >= workload.load[0] && load <= workload.load[1]).toBe(true)
          expect(shaftHz === 0 || (shaftHz >= workload.shaftHz[0] && shaftHz <= workload.shaftHz[1])).toBe(true)
        }
      }
    }
  })
})
