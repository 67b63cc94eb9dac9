import { afterEach, describe, expect, it, vi } from 'vitest'
import { judgeStage } from '../../cloud/rollout/gate.ts'
import type { GateInput } from '../../cloud/rollout/gate-input.ts'
import type { GatePolicy } from '../../cloud/store/gate-policy.ts'
import type { RolloutRecord } from '../../cloud/store/rollout-store.ts'
import { type Behaviour, CloudWorld } from '../fixtures/cloud-world.ts'
import { HOUR, type SyntheticDevice, T0 } from '../fixtures/synthetic-fleet.ts'

// Hundreds of simulated hours; a busy machine takes minutes for them.
vi.setConfig({ testTimeout: 300_000 })

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

describe('zero is evidence', () => {
  it('a model that never wakes is taken back within hours', () => {
    const { rollout, run } = begin({ devices: 200, candidate: { falseWakes: 0, verified: 0 } })
    expect(run(100)).toBeLessThan(24)
    expect(reasons(rollout())).toEqual(['metric-worse verifiedWakesPerHour'])
  })
  it('a better model without a single false wake advances', () => {
    const { rollout, run } = begin({ devices: 200, candidate: { falseWakes: 0, verified: 1.1 } })
    run(170)
    expect(rollout()).toMatchObject({ state: 'completed' })
  })
})

describe('what happened when', () => {
  const quarterOut = (world: CloudWorld): void => {
    const from = T0 + 10 * HOUR
    world.online = (device, now) => !(among(device, 0.25) && now > from && now <= from + 28 * HOUR)
  }
  it.each([1, 2, 3])(
    'equal models differ by no outage: a quarter offline from 20 h before to 8 h after the start (seed %i)',
    (seed) => {
      const { world, rollout } = begin({ devices: 300, seed, prepare: quarterOut })
      world.hours(40, () => rollout().state === 'rolled-back')
      expect(rollout().state).not.toBe('rolled-back')
      const verified = rollout().reading!.metrics[1]!
      expect(Math.abs(Math.log(verified.ratio!))).toBeLessThan(0.25)
    },
  )
  it.each([6, 24])('nor by reports that come every %i h, by day and by night', (every) => {
    const { world, rollout } = begin({
      devices: 300,
      history: 60,
      prepare: (world) => {
        world.online = (device, now) =>
          Math.floor((now - T0) / HOUR) % every === Math.floor((device.phaseMs / HOUR) * every)
        world.daily = (now) => 1 + 0.8 * Math.sin(((now - T0) / HOUR / 24) * 2 * Math.PI)
      },
    })
    world.hours(72, () => rollout().state === 'rolled-back')
    expect(rollout().state).not.toBe('rolled-back')
    expect(rollout().reading!.metrics[1]!.ratio).toBeGreaterThan(0.8)
    expect(rollout().reading!.metrics[1]!.ratio).toBeLessThan(1.25)
  })
  it('a worse model is no better for the backlog of an outage', () => {
    const { rollout, run } = begin({ devices: 300, candidate: { ...USUAL, falseWakes: 1.5 }, prepare: quarterOut })
    run(60)
    expect(reasons(rollout())).toEqual(['metric-worse falseWakesPerHour'])
  })
})

describe('who cannot be heard', () => {
  it('a quarter of the fleet that has been dead since before does not hold the rest, and gets the model when it comes back', () => {
    let back = false
    const { world, rollout, run } = begin({
      devices: 200,
      history: 80,
      candidate: { falseWakes: 0.2, verified: 1.1 },
      prepare: (world) => {
        world.online = (device, now) => back || !(among(device, 0.25) && now > T0 + 5 * HOUR)
      },
    })
    expect(rollout().plan).toMatchObject({ unheard: expect.any(Number) })
    expect(rollout().plan.unheard).toBeGreaterThan(30)
    run(120)
    expect(rollout().state).toBe('completed')
    back = true
    world.hours(4)
    expect(world.running()).toEqual({ 'kws-2': 200 })
  })
  it('revoked devices take no part', () => {
    const { world, rollout, run } = begin({
      devices: 160,
      candidate: { falseWakes: 0.2, verified: 1.1 },
      history: 30,
      prepare: (world) => {
        world.hours(26)
        for (const { name } of world.fleet.slice(0, 64)) {
          world.store.identities.revokeTokens(name, world.clock.wallMs())
        }
        world.online = (device) => world.fleet.indexOf(device) >= 64
      },
    })
    expect(rollout().plan).toMatchObject({ devices: 96, unheard: 0 })
    run(400)
    expect(rollout().state).toBe('completed')
    expect(world.store.rollouts.devices(rollout().id)).toHaveLength(96)
  })
})

describe('every stage has a gate', () => {
  it('a stage of everybody at once leaves a control behind', () => {
    const { rollout, run } = begin({ devices: 200, percents: [100], candidate: { ...USUAL, falseWakes: 1.5 } })
    expect(run(60)).toBeLessThan(24)
    expect(reasons(rollout())).toEqual(['metric-worse falseWakesPerHour'])
  })
  it('harm that begins in the last stage is seen there', () => {
    const { rollout, run } = begin({
      devices: 300,
      candidate: { falseWakes: 0.25, verified: 1, later: { afterHours: 60, falseWakes: 2.5 } },
      policy: { soakHours: 72 },
    })
    run(200)
    expect(rollout()).toMatchObject({ state: 'rolled-back', stage: 3 })
  })
  it('harm that begins when all is over raises an alert, and the rollout can still be taken back', () => {
    const { world, rollout, run } = begin({
      devices: 200,
      candidate: { falseWakes: 0.25, verified: 1, later: { afterHours: 110, falseWakes: 2 } },
    })
    run(120)
    expect(rollout().state).toBe('completed')
    const hours = world.hours(120, () => {
      world.engine.lookAfter()
      return world.store.alerts.allOpen().length > 0
    })
    const [alert] = world.store.alerts.allOpen()
    expect(alert).toMatchObject({ code: 'after-rollout', metric: 'falseWakesPerHour' })
    expect(hours).toBeLessThan(110)
    expect(world.engine.rollback(rollout().id, 'ann', 'false wakes').ok).toBe(true)
    expect(rollout()).toMatchObject({ state: 'rolled-back', why: 'Rolled back after its end by ann: false wakes' })
    world.hours(3)
    expect(world.running()).toEqual({ 'kws-1': 200 })
    expect(world.store.models.productionFor('default', 'board-a')!.name).toBe('kws-1')
    world.engine.lookAfter()
    expect(world.store.alerts.allOpen()).toEqual([])
  })
  it.each([
    ['energyPerHour', { energy: 3, active: 5 }],
    ['activeFraction', { active: 5 }],
    ['listeningShare', { listening: 0.1, falseWakes: 5, verified: 10 }],
    ['restarts', { restarts: 0.1 }],
  ] as const)('%s is gated', (signal, change) => {
    const { rollout, run } = begin({ devices: 200, candidate: { ...USUAL, ...change } })
    run(72)
    expect(rollout().state).toBe('rolled-back')
    expect(reasons(rollout())).toContain(`metric-worse ${signal}`)
  })
  it('an ungated rollout ends and is called so', () => {
    const { rollout, run } = begin({ devices: 50, percents: [100], policy: { ungated: true } })
    expect(run(40)).toBeLessThan(30)
    expect(rollout().state).toBe('completed')
    expect(rollout().why).toContain('not gated, as was asked for')
  })
})

describe('small fleets', () => {
  it.each([3, 10, 30, 100, 160])(
    '%i devices can finish a good model in 28 days, and say what was proven',
    (devices) => {
      const { world, rollout, run } = begin({ devices, candidate: { falseWakes: 0.25, verified: 1.05 } })
      expect(run(28 * 24)).toBeLessThan(28 * 24)
      expect(rollout().state).toBe('completed')
      world.hours(2)
      expect(world.running()).toEqual({ 'kws-2': devices })
      expect(rollout().plan.comparison).toBe(devices < 120 ? 'past' : 'control')
    },
  )
  it('ten devices that all die are noticed', () => {
    const { rollout, run } = begin({
      devices: 10,
      percents: [50, 100],
      candidate: { ...USUAL, dying: 1, diesAfterHours: 5 },
    })
    run(28 * 24)
    expect(rollout()).toMatchObject({ state: 'rolled-back', stage: 1 })
  })
  it('a hundred devices find six times the false wakes against their own past', () => {
    const { rollout, run } = begin({ devices: 100, candidate: { ...USUAL, falseWakes: 3 } })
    run(96)
    expect(rollout()).toMatchObject({ state: 'rolled-back', stage: 1 })
    expect(rollout().why).toContain('Compared with the same devices before')
  })
})

describe('pause', () => {
  it('stops exposure, downloads and the clock of the stage; resume goes on where it was', () => {
    const { world, id, rollout } = begin({
      devices: 200,
      candidate: { falseWakes: 0.3, verified: 1.05 },
      prepare: (world) => {
        // Half of the fleet has a link every sixth hour only.
        world.online = (device, now) => !among(device, 0.5) || Math.floor((now - T0) / HOUR) % 6 === 0
      },
    })
    world.hours(3)
    const installed = world.running()['kws-2'] ?? 0
    const exposed = world.store.rollouts.exposed(id)
    expect(installed).toBeLessThan(exposed)
    expect(world.engine.pause(id, 'ann', 'wait').ok).toBe(true)
    const hours = rollout().reading!.elapsedHours
    world.hours(24)
    expect(world.running()['kws-2'] ?? 0).toBe(installed)
    expect(world.store.rollouts.exposed(id)).toBe(exposed)
    expect(world.engine.resume(id, 'ann', 'go on').ok).toBe(true)
    world.hours(1)
    expect(rollout().reading!.elapsedHours - hours).toBeLessThan(2)
    world.hours(8)
    expect(world.running()['kws-2']).toBe(exposed)
  })

  it('ends with a stage that a person ends: whoever waited gets the model, and the clock of the next stage runs', () => {
    let isOnline = true
    const { world, id, rollout } = begin({
      ...{ devices: 40, history: 2, percents: [50, 100] },
      prepare: (world) => {
        world.online = (device) => isOnline || !among(device, 0.5)
      },
    })
    isOnline = false
    world.hours(2)
    const exposed = world.store.rollouts.exposed(id)
    const installed = world.running()['kws-2'] ?? 0
    expect(installed).toBeLessThan(exposed)
    expect(world.engine.pause(id, 'ann', 'wait').ok).toBe(true)
    isOnline = true
    world.hours(5)
    expect(world.running()['kws-2']).toBe(installed)
    expect(world.engine.advance(id, 'ann', 'go on', false)).toMatchObject({ ok: true, value: { stage: 2 } })
    world.hours(3)
    expect(world.store.rollouts.exposed(id)).toBeGreaterThan(exposed)
    expect(world.running()['kws-2']).toBe(world.store.rollouts.exposed(id))
    expect(rollout()).toMatchObject({ pausedSinceMs: null })
  })
})

describe('boards', () => {
  /** Two boards, each with devices on kws-1. */
  const twoBoards = (seed: number, boardsOf: Record<'kws-2' | 'kws-bad', string[]>) => {
    const good = { falseWakes: 0.25, verified: 1.05 }
    const world = new CloudWorld(':memory:', seed, {
      'kws-1': USUAL,
      'kws-2': good,
      'kws-bad': { falseWakes: 0.15, verified: 1.1 },
    })
    worlds.push(world)
    world.addRelease('kws-1', 1, 'production', { boards: ['board-a', 'board-b'] })
    world.addRelease('kws-2', 2, 'staging', { boards: boardsOf['kws-2'] })
    world.addRelease('kws-bad', 3, 'staging', { boards: boardsOf['kws-bad'] })
    world.enrol(60, 'board-a')
    world.enrol(60, 'board-b')
    world.hours(30)
    return world
  }
  const finish = (world: CloudWorld, name: string) => {
    const started = world.start(name)
    if (!started.ok) throw new Error(started.error.detail)
    world.hours(600, () => world.store.rollouts.allOpen()[0] === undefined)
    expect(world.store.rollouts.get(started.value.id)!.state).toBe('completed')
    world.hours(2)
  }

  it('a release for one board leaves the other on its production, and the next for all takes both along', () => {
    const world = twoBoards(41, { 'kws-2': ['board-a'], 'kws-bad': [] })
    finish(world, 'kws-2')
    expect(world.running()).toEqual({ 'kws-1': 60, 'kws-2': 60 })
    const { models } = world.store
    expect(models.productionFor('default', 'board-a')!.name).toBe('kws-2')
    expect(models.productionFor('default', 'board-b')!.name).toBe('kws-1')
    expect(models.byName('kws-1')!.state).toBe('production')
    finish(world, 'kws-bad')
    expect(world.running()).toEqual({ 'kws-bad': 120 })
    expect(models.productions().map(({ name }) => name)).toEqual(['kws-bad'])
  })

  it('a board that only a new production supports gets it; a pinned device stays until it is told otherwise', () => {
    const world = twoBoards(42, { 'kws-2': [], 'kws-bad': ['board-a', 'board-b'] })
    world.enrol(1, 'board-c')
    const { devices } = world.store
    const last = world.fleet.at(-1)!.name
    expect(devices.byName(last)!.target).toBeNull()
    const first = world.fleet[0]!.name
    expect(world.engine.retarget(first, 'kws-1', 'ann', 'a reference').ok).toBe(true)
    expect(world.engine.retarget(last, 'kws-bad', 'ann', 'try')).toMatchObject({ error: { code: 'wrong-board' } })
    finish(world, 'kws-2')
    world.engine.lookAfter()
    world.hours(2)
    expect(world.store.models.byId(devices.byName(last)!.target!)!.name).toBe('kws-2')
    expect(world.running()).toEqual({ 'kws-1': 1, 'kws-2': 120 })
    expect(world.engine.retarget(first, null, 'ann', 'done').ok).toBe(true)
    world.hours(2)
    expect(world.running()).toEqual({ 'kws-2': 121 })
  })
})

describe('by hand', () => {
  it('a stage can be ended on the evidence as it is, or all of them; a changed share lets it go on by itself', () => {
    const { world, id, rollout } = begin({ devices: 200 })
    world.hours(3)
    expect(world.engine.advance(id, 'ann', 'seen enough', false)).toMatchObject({ ok: true, value: { stage: 2 } })
    expect(rollout().why).toContain('not by the gate')
    // What is shown of the gate is of the stage that runs now.
    expect(rollout().reading?.elapsedHours).toBe(0)
    world.hours(3)
    expect(world.engine.setMinInstalledShare(id, 0.5, 'ann', 'a slow site').ok).toBe(true)
    expect(rollout().policy.minInstalledShare).toBe(0.5)
    expect(world.engine.advance(id, 'ann', 'all', true)).toMatchObject({ ok: true, value: { stage: 3 } })
    world.hours(30)
    expect(rollout().state).toBe('completed')
    const actions = world.store.audit.list(50).map(({ action }) => action)
    for (const action of ['rollout.advanced', 'rollout.changed']) expect(actions).toContain(action)
  })
  it('an advisory gate tells a person and does nothing else', () => {
    const { rollout, run } = begin({ devices: 200, candidate: { ...USUAL, falseWakes: 2 }, policy: { advisory: true } })
    run(30)
    expect(rollout()).toMatchObject({ state: 'running', stage: 1 })
    expect(rollout().reading?.verdict).toBe('rollback')
    expect(rollout().why).toMatch(/^Advisory, nothing acts on it: Roll back/)
  })
  it('a manual stage waits for a person, whose word is kept; the others go by themselves', () => {
    const { world, id, rollout } = begin({
      ...{ devices: 200, candidate: { ...USUAL, falseWakes: 0.2 }, percents: [20, 50, 100] },
      policy: { manual: [50], minHours: 6, soakHours: 3 },
    })
    world.hours(60)
    expect(rollout()).toMatchObject({ state: 'running', stage: 2 })
    expect(reasons(rollout())).toEqual(['waits-for-person', 'not-inferior'])
    const { policy, input, reading } = world.store.readings.get(id)!
    expect(JSON.parse(JSON.stringify(judgeStage(policy, input as GateInput)))).toEqual(reading)
    expect(world.engine.advance(id, 'ann', 'seen enough', false).ok).toBe(true)
    world.hours(10)
    expect(rollout().state).toBe('completed')
    const said = world.store.audit.list(50).find(({ action }) => action === 'rollout.advanced')
    expect(said).toMatchObject({ actor: 'ann', detail: { stage: 2, why: 'seen enough' } })
    const strange = begin({ devices: 20 }).world
    strange.engine.rollback(strange.store.rollouts.allOpen()[0]!.id, 'ann', 'make room')
    strange.addRelease('kws-bad', 3, 'staging')
    expect(strange.start('kws-bad', [20, 100], { manual: [50] })).toMatchObject({
      ok: false,
      error: { code: 'invalid-request', detail: 'gate.manual: no stage of 50 %; the stages are 20, 100' },
    })
  })
  it('what the gate said is kept with what it said it of, and comes out again', () => {
    const { world, id, run } = begin({ devices: 160, candidate: { ...USUAL, falseWakes: 2 } })
    const hours = run(40)
    const { readings } = world.store
    const kept = readings.list(id, Number.MAX_SAFE_INTEGER, 100)
    expect(kept.length).toBeGreaterThanOrEqual(hours - 1)
    expect(kept[0]!.verdict).toBe('rollback')
    for (const { atMs } of kept) {
      const { policy, input, reading } = readings.get(id, atMs)!
      expect(JSON.parse(JSON.stringify(judgeStage(policy, input as GateInput)))).toEqual(reading)
    }
  })
})
