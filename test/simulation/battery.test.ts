import { beforeAll, describe, expect, it } from 'vitest'
import { type BatteryTrialResult, runBatteryTrial } from '../../firmware-sim/battery-trial.ts'
import { packKws } from '../fixtures/bundles.ts'
import { EngineFake } from '../fixtures/sim-world.ts'
import { syntheticBank } from '../fixtures/sound-bank.ts'
import { realClock } from './real-clock.ts'

const SEED = 1
const DAYS = 2
const DEVICES = 2
const bank = syntheticBank()

/** Energy does not depend on what a network says, so a quick engine stands in; the command `sim battery` runs the real one. */
async function trial(
  governed: boolean,
  capacityShare: number,
  onDay?: (day: number, alive: number) => void,
  heat?: Parameters<typeof runBatteryTrial>[0]['heat'],
) {
  const { bundle } = await packKws()
  return runBatteryTrial(
    {
      bank,
      bundle,
      engine: new EngineFake(),
      real: realClock,
      seed: SEED,
      devices: DEVICES,
      days: DAYS,
      capacityShare,
      ...(heat && { heat }),
      ...(onDay && { onDay: (_: boolean, day: number, alive: number) => onDay(day, alive) }),
    },
    governed,
  )
}

describe(`small batteries (seed ${SEED})`, () => {
  const days: number[] = []
  let governed: BatteryTrialResult
  let ungoverned: BatteryTrialResult
  beforeAll(async () => {
    governed = await trial(true, 0.4, (day) => days.push(day))
    ungoverned = await trial(false, 0.4)
  })

  it('reach their horizon with the governor, by walking down the ladder', () => {
    expect(governed.reachedHorizon).toBe(DEVICES)
    expect(governed.meanLifeDays).toBeCloseTo(DAYS, 5)
    expect(governed.ladderMoves).toBeGreaterThanOrEqual(DEVICES)
    expect(governed.levelShare.full).toBeLessThan(0.9)
    expect(days).toEqual([1, 2])
  })

  it('die early without it, at the full level', () => {
    expect(ungoverned.reachedHorizon).toBe(0)
    expect(ungoverned.meanLifeDays).toBeLessThan(0.45 * DAYS)
    // 0.4 but for its wakes: this engine wakes some 300 times an hour, and each wake holds the device.
    expect(ungoverned.meanLifeDays).toBeGreaterThan(0.25 * DAYS)
    expect(ungoverned.ladderMoves).toBe(0)
    expect(ungoverned.levelShare.full).toBe(1)
  })

  it('account for the whole of each life', () => {
    for (const { levelShare } of [governed, ungoverned]) {
      expect(Object.values(levelShare).reduce((a, b) => a + b)).toBeCloseTo(1, 9)
    }
  })

  it('go down to hibernation when the battery is far too small, rather than fail', async () => {
    const { levelShare, reachedHorizon } = await trial(true, 0.01)
    expect(levelShare.hibernate).toBeGreaterThan(0.1)
    expect(reachedHorizon).toBeGreaterThanOrEqual(0)
  })

  it('in the heat of a day do less at noon, and as before at night; without the governor nobody does', async () => {
    const heat = { lowCelsius: 20, highCelsius: 70, maxCelsius: 60 }
    // A battery of twice what the full level takes: only the heat is in its way.
    const [cool, hot, ungovernedHot] = [
      await trial(true, 2),
      await trial(true, 2, undefined, heat),
      await trial(false, 2, undefined, heat),
    ]
    expect(cool.levelShare.full).toBe(1)
    expect(hot.levelShare.full).toBeLessThan(0.85)
    expect(hot.levelShare.full).toBeGreaterThan(0.5)
    // Above 60 °C for seven hours of the day: down to the last level, and back each night.
    expect(hot.levelShare.hibernate).toBeGreaterThan(0.05)
    expect(hot.ladderMoves).toBeGreaterThanOrEqual(2 * DAYS * DEVICES)
    expect(hot.reachedHorizon).toBe(DEVICES)
    expect(ungovernedHot.levelShare.full).toBe(1)
  })
})
