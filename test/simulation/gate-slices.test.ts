import { afterEach, describe, expect, it, vi } from 'vitest'
import { type SlicedFleet, simulateSlices } from '../../bench/slice-simulation.ts'
import { gatherEvidence } from '../../cloud/rollout/evidence.ts'
import { judgeStage } from '../../cloud/rollout/gate.ts'
import type { GateInput } from '../../cloud/rollout/gate-input.ts'
import { gateWords } from '../../cloud/rollout/gate-words.ts'
import type { GatePolicy } from '../../cloud/store/gate-policy.ts'
import { present } from '../../contract/present.ts'
import { CloudWorld } from '../fixtures/cloud-world.ts'
import type { SyntheticDevice } from '../fixtures/synthetic-fleet.ts'

// Thousands of simulated devices; a busy machine takes minutes for them.
vi.setConfig({ testTimeout: 600_000 })

/** What is harmed in one board, site or environment alone. Real store, engine and gate; devices that follow their assignments. */
const USUAL = { falseWakes: 0.5, verified: 1 }

const worlds: CloudWorld[] = []
afterEach(() => {
  for (const world of worlds.splice(0)) world.store.close()
})

interface Fleet {
  readonly seed?: number
  /** devices of each board at each site */
  readonly devices: readonly (readonly [board: string, site: string, count: number])[]
  readonly own?: (device: SyntheticDevice) => number
  readonly noiseBin?: (device: SyntheticDevice) => number
  readonly percents?: readonly number[]
  readonly policy?: Partial<GatePolicy>
  readonly history?: number
}

function begin({ seed = 1, devices, own = () => 1, noiseBin, percents = [20, 50, 100], policy, history = 12 }: Fleet) {
  const world = new CloudWorld(':memory:', seed, { 'kws-1': USUAL, 'kws-2': USUAL })
  worlds.push(world)
  world.own = (device, model) => (model === 'kws-2' ? own(device) : 1)
  if (noiseBin !== undefined) world.noiseBin = noiseBin
  world.addRelease('kws-1', 1, 'production')
  world.addRelease('kws-2', 2, 'staging')
  for (const [board, site, count] of devices) world.enrol(count, board, { site })
  world.hours(history)
  const started = world.start('kws-2', percents, policy)
  if (!started.ok) throw new Error(started.error.detail)
  const { id } = started.value
  const rollout = () => present(world.store.rollouts.get(id), 'the rollout')
  const run = (hours: number) => world.hours(hours, () => !['running', 'paused'].includes(rollout().state))
  return { world, id, rollout, run }
}
const named = ({ rollout }: ReturnType<typeof begin>) =>
  rollout().reading?.reasons.map(({ code, metric, slice }) => [code, metric, slice && `${slice.by} ${slice.value}`])

describe('harm in a slice of the fleet', () => {
  it('x10 in the 2 % of the devices that have one board is found, and the board is named', () => {
    const fleet = begin({
      devices: [
        ['board-a', 'site-1', 1470],
        ['board-b', 'site-1', 30],
      ],
      own: (device) => (device.board === 'board-b' ? 10 : 1),
      percents: [50, 100],
    })
    const hours = fleet.run(30)
    const { state, reading, stage } = fleet.rollout()
    console.log(`${state} in stage ${stage} after ${hours} h. ${gateWords(present(reading, 'a reading'))}`)
    expect(state).toBe('rolled-back')
    expect(named(fleet)).toEqual([['metric-worse', 'falseWakesPerHour', 'board board-b']])
    expect(fleet.rollout().why).toMatch(
      /^Roll back: false wakes per hour in board board-b: worse than the margin allows/,
    )
  })

  it('x4 in a tenth with the others at a half is found before everybody has it, though the whole has fewer', () => {
    const fleet = begin({
      devices: [
        ['board-a', 'site-1', 300],
        ['board-a', 'site-2', 60],
        ['board-a', 'site-3', 240],
      ],
      own: (device) => (device.site === 'site-2' ? 4 : 0.5),
    })
    const hours = fleet.run(120)
    const { state, reading, stage } = fleet.rollout()
    console.log(`${state} in stage ${stage} after ${hours} h. ${gateWords(present(reading, 'a reading'))}`)
    expect(state).toBe('rolled-back')
    expect(stage).toBeLessThan(3)
    expect(named(fleet)).toEqual([['metric-worse', 'falseWakesPerHour', 'site site-2']])
    expect(present(reading?.metrics[0]?.ratio, 'a ratio')).toBeLessThan(1)
  })

  it('the environment of a device is what it heard before the rollout, whatever it hears of it since', () => {
    const loud = (device: SyntheticDevice) => Number(device.name.slice(-1)) < 3
    const fleet = begin({
      devices: [['board-a', 'site-1', 400]],
      own: (device) => (loud(device) ? 4 : 0.5),
      noiseBin: (device) => (loud(device) ? 6 : 1),
    })
    expect(fleet.rollout().plan.slices).toEqual([
      { by: 'environment', value: 'quiet', devices: 280, weight: 0.1 },
      { by: 'environment', value: 'loud', devices: 120, weight: 0.1 },
    ])
    fleet.world.noiseBin = () => 1
    fleet.run(60)
    expect(fleet.rollout().state).toBe('rolled-back')
    expect(named(fleet)).toContainEqual(['metric-worse', 'falseWakesPerHour', 'environment loud'])
  })

  it('equal models are let through all stages, and every verdict comes out again from what is kept', () => {
    const fleet = begin({
      devices: [
        ['board-a', 'site-1', 120],
        ['board-b', 'site-1', 60],
        ['board-b', 'site-2', 60],
      ],
      own: () => 0.8,
      policy: { minHours: 6, soakHours: 6 },
    })
    fleet.run(150)
    expect(fleet.rollout()).toMatchObject({ state: 'completed' })
    const { readings } = fleet.world.store
    const kept = readings.list(fleet.id, Number.MAX_SAFE_INTEGER, 200)
    expect(kept.length).toBeGreaterThan(20)
    let withFrozen = 0
    for (const { atMs } of kept) {
      const { policy, input, reading } = present(readings.get(fleet.id, atMs), 'a reading')
      expect(JSON.parse(JSON.stringify(judgeStage(policy, input as GateInput)))).toEqual(reading)
      expect(reading.slices?.map(({ by, value }) => `${by} ${value}`)).toEqual([
        ...['board board-a', 'board board-b', 'site site-1', 'site site-2'],
      ])
      if ((input as GateInput).signals.falseWakesPerHour?.frozenSlices !== undefined) withFrozen++
    }
    expect(withFrozen).toBeGreaterThan(0)
  })

  it('the slices of a kind are the devices of the whole, and what a stage froze of them counts in the next', () => {
    const fleet = begin({
      devices: [
        ['board-a', 'site-1', 120],
        ['board-b', 'site-1', 120],
      ],
      policy: { minHours: 6 },
    })
    fleet.world.hours(8)
    const gather = () => gatherEvidence(fleet.world.store, fleet.rollout(), fleet.world.clock.wallMs())
    const before = judgeStage(fleet.rollout().policy, gather())
    const metric = present(before.metrics[0], 'false wakes')
    const [a, b] = present(metric.slices, 'slices')
    for (const arm of ['canary', 'control'] as const) {
      for (const of of ['devices', 'events', 'exposure'] as const) {
        const sum = present(a?.[arm], 'an arm')[of] + present(b?.[arm], 'an arm')[of]
        expect(sum).toBeCloseTo(present(metric[arm], 'an arm')[of], 6)
      }
    }
    // Contact and faults are of the devices too, whose life is asked of the store.
    for (const name of ['contact', 'restarts', 'falseWakesPerHour']) {
      const { first, slices } = present(
        before.metrics.find((each) => each.name === name),
        name,
      )
      const sum = (of: 'canaryAtRisk' | 'controlAtRisk') =>
        slices?.reduce((total, slice) => total + present(slice.first, 'first events')[of], 0)
      expect([name, sum('canaryAtRisk'), sum('controlAtRisk')]).toEqual([
        name,
        first?.canaryAtRisk,
        first?.controlAtRisk,
      ])
      expect(first?.canaryAtRisk).toBeGreaterThan(40)
    }
    expect(fleet.world.engine.advance(fleet.id, 'ann', 'seen enough', false)).toMatchObject({ ok: true })
    const { frozenSlices } = present(gather().signals.falseWakesPerHour, 'false wakes')
    expect(frozenSlices?.map(({ slice, stage }) => [slice, stage])).toEqual([
      [0, 1],
      [1, 1],
    ])
    expect(present(frozenSlices?.[1]?.batch, 'a batch').d).toBeCloseTo(present(b?.running, 'a batch').d, 9)
    // Nothing is compared in the new stage yet: what is known is what was frozen.
    const next = judgeStage(fleet.rollout().policy, gather())
    expect(next.metrics[0]?.slices?.[1]?.ratio).toBeCloseTo(Math.exp(present(b?.running, 'a batch').d), 9)
  })
})

/** Few runs here; `npm run bench:gates` has the table. */
const SEED = 20_261_130
const RUNS = 25
const LOOKS = { devices: 300, signals: 8, every: 6 } as const

describe(`8 signals x 6 slices over three stages, seed ${SEED}`, () => {
  it.each(['constant', 'gammaCv2', 'lognormal15', 'silent70', 'tenthAt20'] as const)(
    'equal models are rolled back no more often than was said, on the line itself: %s',
    (shape) => {
      const { mixture } = simulateSlices({ ...LOOKS, shape, marginRatio: 1 }, RUNS, SEED)
      expect(mixture).toBeLessThanOrEqual(0.05 + 3 * Math.sqrt((0.05 * 0.95) / RUNS))
    },
  )

  it('x4 in a tenth with the others at a half is found by the slices and never by the whole', () => {
    const fleet: SlicedFleet = {
      ...{ ...LOOKS, devices: 600, shape: 'exponential' },
      harm: ({ board }) => (board === 'b-small' ? 4 : 0.5),
    }
    const { mixture, divided, whole, named } = simulateSlices(fleet, 8, SEED)
    expect(mixture).toBeGreaterThanOrEqual(0.75)
    expect(named).toBe(mixture)
    // The mean of e-values is never weaker than the same weights as shares of the error probability.
    expect(mixture).toBeGreaterThanOrEqual(divided)
    expect(whole).toBeLessThanOrEqual(0.125)
  })
})
