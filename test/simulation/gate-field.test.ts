import { afterEach, describe, expect, it } from 'vitest'
import type { GatePolicy } from '../../cloud/store/gate-policy.ts'
import type { RolloutRecord } from '../../cloud/store/rollout-store.ts'
import { type Behaviour, CloudWorld } from '../fixtures/cloud-world.ts'
import { HOUR, type SyntheticDevice, T0 } from '../fixtures/synthetic-fleet.ts'

/** What fleets do in the field: devices die, sleep, lose their link, report once a day; and what a gate has to make of it. Real store, engine
 *  and gate; devices that follow their assignments.
 */
const USUAL: Behaviour = { falseWakes: 0.5, verified: 1 }

const worlds: CloudWorld[] = []
afterEach(() => {
  for (const world of worlds.splice(0)) world.store.close()
})

interface Setup {
  readonly devices: number
  readonly candidate?: Behaviour
  readonly seed?: number
  readonly history?: number
  readonly percents?: readonly number[]
  readonly policy?: Partial<GatePolicy>
  readonly prepare?: (world: CloudWorld) => void
}

function begin({ devices, candidate = USUAL, seed = 1, history = 30, percents, policy, prepare }: Setup) {
  const world = new CloudWorld(':memory:', seed, { 'kws-1': USUAL, 'kws-2': candidate })
  worlds.push(world)
  world.addRelease('kws-1', 1, 'production')
  world.addRelease('kws-2', 2, 'staging')
  world.enrol(devices)
  prepare?.(world)
  world.hours(history)
  const started = world.start('kws-2', percents, policy)
  if (!started.ok) throw new Error(started.error.detail)
  const { id } = started.value
  const rollout = (): RolloutRecord => world.store.rollouts.get(id)!
  /** Runs until the rollout ends. @returns hours */
  const run = (hours: number): number =>
    world.hours(hours, () => rollout().state === 'completed' || rollout().state === 'rolled-back')
  return { world, id, rollout, run }
}

const reasons = ({ reading }: RolloutRecord) =>
  reading?.reasons.map(({ code, metric }) => `${code} ${metric ?? ''}`.trim())
/** A share of devices, the same at every call. */
const among = (device: SyntheticDevice, share: number): boolean => device.phaseMs / HOUR < share

describe('silence is evidence', () => {
  it('a model after which devices fall silent is taken back', () => {
    const { rollout, run } = begin({ devices: 200, candidate: { ...USUAL, dying: 1, diesAfterHours: 8 } })
    const hours = run(100)
    expect(rollout()).toMatchObject({ state: 'rolled-back', stage: 1 })
    expect(reasons(rollout())).toEqual(['metric-worse contact'])
    expect(hours).toBeLessThan(24)
  })

  it.each([0.3, 0.5])('also when it is a share of %f', (dying) => {
    const { rollout, run } = begin({ devices: 200, candidate: { ...USUAL, dying, diesAfterHours: 6 } })
    run(100)
    expect(rollout()).toMatchObject({ state: 'rolled-back', stage: 1 })
    expect(reasons(rollout())).toEqual(['metric-worse contact'])
  })

  it('devices that sleep for days at random, and those that report once a day, are no deaths', () => {
    for (const online of [
      (device: SyntheticDevice, now: number) => !(among(device, 0.1) && Math.sin(now / HOUR / 9 + device.phaseMs) > 0),
      (device: SyntheticDevice, now: number) =>
        Math.floor((now - T0) / HOUR) % 24 === Math.floor((device.phaseMs / HOUR) * 24),
    ]) {
      const { rollout } = begin({
        devices: 200,
        history: 80,
        prepare: (world) => {
          world.online = online
        },
      })
      const world = worlds.at(-1)!
      world.hours(72, () => rollout().state === 'rolled-back')
      expect(rollout().state).not.toBe('rolled-back')
      expect(rollout().reading?.metrics.find(({ name }) => name === 'contact')?.rollback?.logE).toBeLessThan(2)
    }
  })
})
