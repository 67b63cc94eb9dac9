import { describe, expect, it } from 'vitest'
import { FLEET_SHAPES, poisson, simulate } from '../../../../bench/gate-simulation.ts'
import { planLines } from '../../../../cli/release/rollout-plan-words.ts'
import type { SignalPast } from '../../../../cloud/rollout/detection.ts'
import { reach, reachOfFew } from '../../../../cloud/rollout/detection.ts'
import { firstEventLogE, firstEventTest, type Spell } from '../../../../cloud/rollout/first-event.ts'
import { environmentOf } from '../../../../cloud/rollout/fleet-slices.ts'
import { DEFAULT_GATE_POLICY } from '../../../../cloud/rollout/gate-defaults.ts'
import { planStages } from '../../../../cloud/rollout/stage-plan.ts'
import type { GatePolicy } from '../../../../cloud/store/gate-policy.ts'
import { present } from '../../../../contract/present.ts'
import { seededRandom } from '../../../../contract/random.ts'

const SEED = 20_261_130
const RATE = 0.2

/** A fleet of two boards whose devices differ as an exponential distribution does. */
function fleet(devices: number, ofB = 0) {
  const random = seededRandom(SEED).fork('fleet')
  const wakes: SignalPast = {
    past: Array.from({ length: devices }, () => [poisson(random, RATE * FLEET_SHAPES.exponential(random) * 168), 168]),
    halves: [],
  }
  const energy: SignalPast = {
    past: Array.from({ length: devices }, () => [1_000, 168]),
    halves: Array.from({ length: devices }, (_, i) => [
      [500, 84],
      [500 * (1 + 0.1 * ((i % 3) - 1)), 84],
    ]),
  }
  return {
    devices: Array.from({ length: devices }, (_, i) => ({ board: i < ofB ? 'b' : 'a', site: 's', environment: null })),
    ...{ unheard: 0, bytesPerDevice: 1_500 },
    pasts: new Map([
      ['falseWakesPerHour', wakes],
      ['energyPerHour', energy],
    ]),
  }
}
const policy: GatePolicy = { ...DEFAULT_GATE_POLICY, maxHours: 72 }
const findOf = (plan: ReturnType<typeof planStages>, stage: number, name: string) =>
  present(
    plan.stages[stage]?.finds?.find((each) => each.name === name),
    name,
  )

describe('what a rollout finds, said before it starts', () => {
  it('is found as often as it says: four of five times, by the same looks', () => {
    const plan = planStages(policy, [50, 100], fleet(400))
    const [stage] = plan.stages
    expect(stage).toMatchObject({ exposed: 200, fresh: 200, control: 200, bytes: 300_000 })
    const ratio = present(stage?.smallestHarm, 'a ratio')
    expect(findOf(plan, 0, 'falseWakesPerHour').ratio).toBeCloseTo(ratio, 9)
    const arms = { canary: 200, control: 200, shape: 'exponential', preHours: 168, hours: 72, every: 6 } as const
    const test = { marginRatio: 1.25, alpha: 0.015 / 2 }
    const found = simulate({ ...arms, ...test, ratio }, 150, SEED).gate
    expect(found).toBeGreaterThan(0.65)
    expect(found).toBeLessThan(0.95)
    // Half as far above the margin is missed more often than not.
    const less = simulate({ ...arms, ...test, ratio: 1.25 + (ratio - 1.25) / 2 }, 150, SEED).gate
    expect(less).toBeLessThan(0.5)
  })

  it('slices cost the whole so much: a fifth of the error probability moves what it finds by less than two percent', () => {
    const without = planStages({ ...policy, slices: { ...policy.slices, share: 0 } }, [50, 100], fleet(400, 100))
    const sliced = planStages(policy, [50, 100], fleet(400, 100))
    expect(without.slices).toEqual([])
    expect(sliced.slices?.map(({ value, devices, weight }) => [value, devices, weight])).toEqual([
      ['a', 300, 0.1],
      ['b', 100, 0.1],
    ])
    const of = (plan: typeof sliced) => Math.log(present(plan.stages[0]?.smallestHarm, 'a ratio') / 1.25)
    expect(of(sliced) / of(without)).toBeGreaterThan(1.005)
    expect(of(sliced) / of(without)).toBeLessThan(1.02)
    const [large, small] = present(sliced.stages[0]?.slices, 'slices')
    expect(present(large, 'a ratio')).toBeGreaterThan(present(sliced.stages[0]?.smallestHarm, 'a ratio'))
    expect(present(small, 'a ratio')).toBeGreaterThan(present(large, 'a ratio'))
  })

  it('of first events says how many devices it takes, by the test itself', () => {
    const plan = planStages(policy, [50, 100], fleet(400))
    const contact = findOf(plan, 0, 'contact')
    expect(contact.ratio).toBeNull()
    const spells = (events: number): Spell[] => [
      ...Array.from({ length: 200 }, (_, i) => ({
        ...{ arm: 'canary' as const, from: 0, to: 100 },
        event: i < events ? i : null,
      })),
      ...Array.from({ length: 200 }, () => ({ arm: 'control' as const, from: 0, to: 100, event: null })),
    ]
    for (const events of [1, 5, 20]) {
      const { logE } = firstEventTest(spells(events), 'higher', 1.25)
      expect(firstEventLogE(events, { canary: 200, control: 200 }, 1.25)).toBeCloseTo(logE, 1)
    }
    const threshold = Math.log(1 / 0.005)
    const least = Array.from({ length: 50 }, (_, i) => i + 1).find(
      (events) => firstEventTest(spells(events), 'higher', 1.25).logE >= threshold,
    )
    // Four of five times at least so many of 200 is somewhat more than so many of 200.
    const share = present(contact.share, 'a share') * 200
    expect(share).toBeGreaterThan(present(least, 'a number'))
    expect(share).toBeLessThan(1.5 * present(least, 'a number') + 2)
    // Everybody exposed and nobody left: nothing can be found.
    const none = planStages({ ...policy, holdbackShare: 0 }, [100], fleet(400))
    expect(findOf(none, 0, 'contact').share).toBeNull()
  })

  it('of an amount goes by how far devices wander, and of what is not known says nothing', () => {
    const plan = planStages(policy, [50, 100], fleet(400))
    const energy = findOf(plan, 0, 'energyPerHour')
    const alpha = 0.003 * (2 / 3)
    const variance = 0.0067 * (1 / 200 + 1 / 200)
    expect(energy.ratio).toBeCloseTo(1.25 * Math.exp(reach(alpha) * Math.sqrt(variance)), 2)
    expect(findOf(plan, 0, 'latency').ratio).toBeNull()
    expect(plan.stages[0]?.finds?.map(({ name }) => name)).not.toContain('bearing/alarms')
    const advisory = policy.metrics.map((each) => (each.name === 'latency' ? { ...each, advisory: true } : each))
    const told = planStages({ ...policy, metrics: advisory }, [50, 100], fleet(400))
    expect(told.stages[0]?.finds?.map(({ name }) => name)).not.toContain('latency')
  })

  it('is told in lines', () => {
    const lines = planLines(planStages(policy, [50, 100], fleet(400, 60)))
    const text = lines.join('\n')
    expect(text).toMatch(/ {2}50 %: 200 devices \(200 new, 300\.0 kB on the air\); finds false wakes ×\d\.\d\d/)
    expect(text).toMatch(
      /by its end, with 80 % power: false wakes per hour ×\d\.\d\d, devices fallen silent in \d+\.\d %, energy/,
    )
    expect(text).toMatch(/the same false wakes in one slice: board a \(340\) ×\d\.\d\d, board b \(60\) ×\d\.\d\d/)
  })
})

it('few devices need to be surer: Student’s quantiles', () => {
  // Of nine degrees of freedom 4.781 is as rare as 3.2905 is of the normal distribution (5 in 10 000).
  const freedom = 9
  const normal = 3.2905
  const student = 4.781
  const wallace = ((8 * freedom + 1) / (8 * freedom + 3)) * Math.sqrt(freedom * Math.log1p(student ** 2 / freedom))
  expect(Math.abs(wallace - normal)).toBeLessThan(0.02)
  expect(reachOfFew(0.001, 10)).toBeGreaterThan(1.4 * reach(0.001))
  expect(reachOfFew(0.001, 1_000)).toBeCloseTo(reach(0.001), 1)
})

describe('the environment of a device', () => {
  it.each([
    ['nothing counted', [0, 0, 0, 0, 0, 0, 0, 0], null],
    ['below -60 dBFS', [1, 1, 5, 0, 0, 0, 0, 0], 'quiet'],
    ['-60 to -50', [0, 0, 0, 5, 1, 0, 0, 0], 'medium'],
    ['-50 to -40', [0, 0, 0, 1, 5, 0, 0, 0], 'medium'],
    ['-40 and above', [0, 0, 0, 0, 2, 5, 0, 0], 'loud'],
    ['mostly quiet and at times very loud', [0, 6, 0, 0, 0, 0, 0, 5], 'quiet'],
  ] as const)('%s', (_, bins, environment) => {
    expect(environmentOf(bins)).toBe(environment)
  })
})
