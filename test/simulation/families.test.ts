import { afterEach, describe, expect, it, vi } from 'vitest'
import type { RolloutRecord } from '../../cloud/store/rollout-store.ts'
import { present } from '../../contract/present.ts'
import { openFixture } from '../fixtures/cloud-database.ts'
import { type Behaviour, CloudWorld } from '../fixtures/cloud-world.ts'
import { T0 } from '../fixtures/synthetic-fleet.ts'

// Hundreds of simulated hours; a busy machine takes minutes for them.
vi.setConfig({ testTimeout: 300_000 })

/** Several families in one fleet, several rollouts at once. Real store, engine and gate; devices that follow their assignments. */
const USUAL: Behaviour = { falseWakes: 0.5, verified: 1 }
const GOOD: Behaviour = { falseWakes: 0.2, verified: 1.05 }
const HARMFUL: Behaviour = { falseWakes: 4, verified: 1 }

const worlds: CloudWorld[] = []
afterEach(() => {
  for (const world of worlds.splice(0)) world.store.close()
})

const started = (world: CloudWorld, name: string, percents?: readonly number[]): string => {
  const result = world.start(name, percents)
  if (!result.ok) throw new Error(result.error.detail)
  return result.value.id
}
const rollout = (world: CloudWorld, id: string): RolloutRecord => present(world.store.rollouts.get(id), id)
const isOver = (world: CloudWorld) => (): boolean => world.store.rollouts.allOpen().length === 0
/** Targets of devices, by name of release and count. */
const targets = (world: CloudWorld, names: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const name of names) {
    const { target } = present(world.store.devices.byName(name), name)
    const model = target === null ? 'none' : present(world.store.models.byId(target), 'a target').name
    counts[model] = (counts[model] ?? 0) + 1
  }
  return counts
}

/** 120 devices that follow `wake` and 120 that follow `hum`, on one board. */
function twoFamilies(seed: number, candidates: Record<'kws-2' | 'hum-2', Behaviour>): CloudWorld {
  const world = new CloudWorld(':memory:', seed, { 'kws-1': USUAL, 'hum-1': USUAL, ...candidates })
  worlds.push(world)
  world.addRelease('kws-1', 1, 'production', {}, [], 'wake')
  world.addRelease('hum-1', 1, 'production', {}, [], 'hum')
  world.addRelease('kws-2', 2, 'staging', {}, [], 'wake')
  world.addRelease('hum-2', 2, 'staging', {}, [], 'hum')
  world.enrol(120, 'board-a', { family: 'wake', model: 'kws-1' })
  world.enrol(120, 'board-a', { family: 'hum', model: 'hum-1' })
  world.hours(26)
  return world
}

describe('families', () => {
  it('each has its rollout at the same time: the good one goes out, the harmful one comes back, and neither sees the other', () => {
    const world = twoFamilies(7, { 'kws-2': GOOD, 'hum-2': HARMFUL })
    const wake = started(world, 'kws-2')
    const hum = started(world, 'hum-2')
    world.hours(600, isOver(world))
    expect(rollout(world, wake)).toMatchObject({ state: 'completed' })
    expect(rollout(world, hum)).toMatchObject({ state: 'rolled-back', stage: 1 })
    world.hours(2)
    expect(world.running()).toEqual({ 'kws-2': 120, 'hum-1': 120 })
    const { models } = world.store
    expect(models.productionFor('wake', 'board-a')?.name).toBe('kws-2')
    expect(models.productionFor('hum', 'board-a')?.name).toBe('hum-1')
    const family = (id: string) =>
      new Set(world.store.rollouts.devices(id).map(({ device }) => world.store.devices.byId(device)?.family))
    expect([family(wake), family(hum)]).toEqual([new Set(['wake']), new Set(['hum'])])

    // Alone, the good one says the very same: what the harmful one does beside it is in none of its readings.
    const alone = twoFamilies(7, { 'kws-2': GOOD, 'hum-2': HARMFUL })
    const only = started(alone, 'kws-2')
    expect(only).toBe(wake)
    alone.hours(600, isOver(alone))
    const inputs = (from: CloudWorld) =>
      from.store.readings
        .list(wake, Number.MAX_SAFE_INTEGER, 1_000)
        .map(({ atMs }) => from.store.readings.get(wake, atMs))
    expect(inputs(world).length).toBeGreaterThan(20)
    expect(inputs(world)).toEqual(inputs(alone))
  })

  it('in one of them, two rollouts for boards that are not the same; a third for a board of either is refused, with rollout and device', () => {
    const world = new CloudWorld(':memory:', 11, { 'kws-1': USUAL, 'kws-2': GOOD, 'kws-bad': HARMFUL })
    worlds.push(world)
    world.addRelease('kws-1', 1, 'production', { boards: ['board-a', 'board-b'] })
    world.addRelease('kws-2', 2, 'staging', { boards: ['board-a'] })
    world.addRelease('kws-bad', 3, 'staging', { boards: ['board-b'] })
    world.addRelease('hum-2', 4, 'staging', { boards: ['board-b', 'board-c'] })
    world.enrol(120, 'board-a')
    world.enrol(120, 'board-b')
    world.hours(26)
    const good = started(world, 'kws-2')
    const bad = started(world, 'kws-bad')
    const refused = world.start('hum-2')
    expect(refused).toMatchObject({ ok: false, error: { code: 'conflict' } })
    if (!refused.ok) {
      expect(refused.error.detail).toContain(`rollout ${bad} of kws-bad 3 is running and has device-0120`)
      expect(refused.error.detail).toContain('let it end or take it back first')
    }
    world.hours(600, isOver(world))
    expect(rollout(world, good)).toMatchObject({ state: 'completed' })
    expect(rollout(world, bad)).toMatchObject({ state: 'rolled-back', stage: 1 })
    world.hours(2)
    expect(world.running()).toEqual({ 'kws-2': 120, 'kws-1': 120 })
    const { models } = world.store
    expect(models.productionFor('default', 'board-b')?.name).toBe('kws-1')
    // A board that no device has stands in the way all the same: one may be enrolled while both are open.
    started(world, 'hum-2')
    models.setState(present(models.byName('kws-bad'), 'kws-bad'), 'staging', 'ann', 'again', T0)
    expect(world.start('kws-bad')).toMatchObject({ ok: false, error: { code: 'conflict' } })
  })

  it('a rollout that completes takes nothing from another that is open, and whoever is enrolled meanwhile gets an arm of the one for it', () => {
    const world = new CloudWorld(':memory:', 13, { 'kws-1': USUAL, 'kws-2': GOOD, 'kws-bad': GOOD })
    worlds.push(world)
    world.addRelease('kws-1', 1, 'production')
    world.addRelease('kws-2', 2, 'staging', { boards: ['board-a'] })
    world.addRelease('kws-bad', 3, 'staging', { boards: ['board-b'] })
    world.enrol(20, 'board-a')
    world.enrol(20, 'board-b')
    world.hours(3)
    const a = started(world, 'kws-2', [50, 100])
    const b = started(world, 'kws-bad', [50, 100])
    world.tick()
    world.enrol(40, 'board-b')
    const late = world.fleet.slice(40).map(({ name }) => name)
    const counts = targets(world, late)
    expect(counts['kws-2']).toBeUndefined()
    expect(counts['kws-bad']).toBeGreaterThan(8)
    expect(counts['kws-1']).toBeGreaterThan(8)
    const before = world.store.rollouts.devices(b)
    world.engine.advance(a, 'ann', 'all at once', true)
    world.engine.advance(a, 'ann', 'done', true)
    expect(rollout(world, a).state).toBe('completed')
    expect(world.store.rollouts.devices(b)).toEqual(before)
    expect(targets(world, late)).toEqual(counts)
    // A completed rollout may be taken back while one for other boards has followed it.
    expect(world.engine.rollback(a, 'ann', 'try').ok).toBe(true)
    expect(rollout(world, b).state).toBe('running')
    expect(
      targets(
        world,
        world.fleet.slice(0, 20).map(({ name }) => name),
      ),
    ).toEqual({ 'kws-1': 20 })
  })

  it('a device that is in a rollout is taken by no other, whatever the code around the store believes', () => {
    const world = twoFamilies(17, { 'kws-2': GOOD, 'hum-2': GOOD })
    const wake = started(world, 'kws-2')
    const hum = started(world, 'hum-2')
    world.tick()
    const [row] = world.store.rollouts.devices(wake)
    const taken = present(row, 'a device')
    expect(() => world.store.rollouts.addDevice(hum, taken)).toThrow('a device takes part in one rollout at a time')
    world.store.devices.leave(taken.device, T0)
    world.store.rollouts.addDevice(hum, taken)
    expect(world.store.rollouts.openOf(taken.device)?.id).toBe(hum)
  })

  it('what a rollout has left behind is watched while one of another family goes on, and can be taken back', () => {
    const later = { ...GOOD, later: { afterHours: 110, falseWakes: 3 } }
    const world = twoFamilies(19, { 'kws-2': later, 'hum-2': GOOD })
    const wake = started(world, 'kws-2')
    world.hours(200, isOver(world))
    expect(rollout(world, wake).state).toBe('completed')
    const hum = started(world, 'hum-2')
    world.hours(160, () => {
      world.engine.lookAfter()
      return world.store.alerts.allOpen('wake').length > 0
    })
    expect(world.store.alerts.allOpen('wake')).toMatchObject([{ code: 'after-rollout', metric: 'falseWakesPerHour' }])
    expect(world.store.alerts.allOpen('hum')).toEqual([])
    expect(world.engine.rollback(wake, 'ann', 'false wakes').ok).toBe(true)
    expect(rollout(world, hum).state).not.toBe('rolled-back')
    world.engine.lookAfter()
    expect(world.store.alerts.allOpen('wake')).toEqual([])
    world.hours(3)
    expect(world.running()['kws-1']).toBe(120)
    // One of its own family follows it: then it is over.
    expect(world.engine.rollback(wake, 'ann', 'again')).toMatchObject({ error: { code: 'conflict' } })
  })
})

describe('production by board', () => {
  const finish = (world: CloudWorld, name: string): string => {
    const id = started(world, name, [100])
    world.tick()
    expect(world.engine.advance(id, 'ann', 'done', true).ok).toBe(true)
    expect(rollout(world, id).state).toBe('completed')
    return id
  }
  const states = (world: CloudWorld) =>
    Object.fromEntries(world.store.models.list('wake').map(({ name, state }) => [name, state]))

  it('stays until each of its boards has a later one, and comes back in its order', () => {
    const world = new CloudWorld(':memory:', 23, {})
    worlds.push(world)
    world.addRelease('kws-1', 1, 'production', { boards: ['board-a', 'board-b'] }, [], 'wake')
    world.addRelease('kws-2', 2, 'staging', { boards: ['board-a'] }, [], 'wake')
    world.addRelease('kws-bad', 3, 'staging', { boards: ['board-b'] }, [], 'wake')
    world.addRelease('hum-2', 4, 'staging', { boards: ['board-a', 'board-b'] }, [], 'wake')
    // Of another family, for the same boards: nothing of this concerns it.
    world.addRelease('hum-1', 1, 'production', {}, [], 'hum')
    world.enrol(4, 'board-a', { family: 'wake' })
    world.enrol(4, 'board-b', { family: 'wake' })
    const { models } = world.store
    const of = (board: string) => models.productionFor('wake', board)?.name
    finish(world, 'kws-2')
    expect([of('board-a'), of('board-b'), states(world)['kws-1']]).toEqual(['kws-2', 'kws-1', 'production'])
    finish(world, 'kws-bad')
    expect([of('board-a'), of('board-b'), states(world)['kws-1']]).toEqual(['kws-2', 'kws-bad', 'archived'])
    const last = finish(world, 'hum-2')
    expect(states(world)).toMatchObject({ 'kws-2': 'archived', 'kws-bad': 'archived', 'hum-2': 'production' })
    world.enrol(1, 'board-b', { family: 'wake' })
    expect(world.engine.rollback(last, 'ann', 'worse').ok).toBe(true)
    expect(states(world)).toEqual({
      ...{ 'kws-1': 'archived', 'kws-2': 'production', 'kws-bad': 'production', 'hum-2': 'archived' },
    })
    const names = world.fleet.map(({ name }) => name)
    expect(targets(world, names.slice(0, 4))).toEqual({ 'kws-2': 4 })
    // Who was enrolled on what is taken back gets what is production of its board.
    expect(targets(world, names.slice(4))).toEqual({ 'kws-bad': 5 })
    expect(models.productionFor('hum', 'board-b')?.name).toBe('hum-1')
  })
})

describe('productions that a rollout had replaced', () => {
  it('are in their former order when it is taken back: the later one of a board is the board’s again', () => {
    const world = new CloudWorld(':memory:', 37, {})
    worlds.push(world)
    world.addRelease('kws-2', 2, 'staging', { boards: ['board-b'] })
    world.addRelease('kws-1', 1, 'production', { boards: ['board-a', 'board-b'] })
    world.addRelease('kws-bad', 3, 'staging')
    world.enrol(4, 'board-a')
    world.enrol(4, 'board-b')
    const { engine, store } = world
    for (const name of ['kws-2', 'kws-bad']) {
      const id = started(world, name, [100])
      world.tick()
      engine.advance(id, 'ann', 'done', true)
      expect(rollout(world, id).state).toBe('completed')
      if (name === 'kws-2') continue
      expect(store.models.productions().map((release) => release.name)).toEqual(['kws-bad'])
      expect(engine.rollback(id, 'ann', 'worse').ok).toBe(true)
    }
    expect(store.models.productionFor('default', 'board-a')?.name).toBe('kws-1')
    expect(store.models.productionFor('default', 'board-b')?.name).toBe('kws-2')
  })
})

describe('a device', () => {
  it('is moved to another family by a person, with a reason, and not while a rollout has it', () => {
    const world = twoFamilies(29, { 'kws-2': GOOD, 'hum-2': GOOD })
    const { engine, store } = world
    const move = (family: string) => engine.moveFamily('device-0000', family, 'ann', 'it hangs at a pump')
    expect(move('wake')).toMatchObject({ ok: true })
    expect(store.audit.list(10, Number.MAX_SAFE_INTEGER).some(({ action }) => action === 'device.family-moved')).toBe(
      false,
    )
    expect(move('bearing')).toMatchObject({ error: { code: 'not-found', detail: expect.stringMatching(/hum, wake/) } })
    expect(engine.moveFamily('nobody', 'hum', 'ann', 'x')).toMatchObject({ error: { code: 'not-found' } })
    const wake = started(world, 'kws-2')
    world.tick()
    const refused = move('hum')
    expect(refused).toMatchObject({ error: { code: 'conflict', detail: expect.stringContaining(wake) } })
    expect(engine.rollback(wake, 'ann', 'later').ok).toBe(true)
    expect(engine.retarget('device-0000', 'hum-1', 'ann', 'x')).toMatchObject({ error: { code: 'conflict' } })
    expect(engine.retarget('device-0000', 'kws-1', 'ann', 'x').ok).toBe(true)
    expect(move('hum')).toMatchObject({ ok: true, value: { family: 'hum', pinned: false, rollout: null } })
    expect(targets(world, ['device-0000'])).toEqual({ 'hum-1': 1 })
    expect(store.audit.list(1, Number.MAX_SAFE_INTEGER)).toMatchObject([
      {
        ...{ action: 'device.family-moved', actor: 'ann', subject: 'device-0000' },
        detail: { from: 'wake', to: 'hum', wasPinned: true, reason: 'it hangs at a pump' },
      },
    ])
    world.hours(2)
    expect(world.running()).toEqual({ 'kws-1': 119, 'hum-1': 121 })
    // From now on it is of the other family's rollouts.
    const hum = started(world, 'hum-2')
    world.tick()
    const device = present(store.devices.byName('device-0000'), 'the device').id
    expect(store.rollouts.openOf(device)?.id).toBe(hum)
  })

  it('is not moved to a family that has nothing for its board, or only what it would refuse', () => {
    const world = new CloudWorld(':memory:', 31, {})
    worlds.push(world)
    world.addRelease('kws-1', 1, 'production', { securityCounter: 5 }, [], 'wake')
    world.addRelease('hum-1', 1, 'production', { boards: ['board-b'] }, [], 'hum')
    world.addRelease('hum-2', 2, 'production', { boards: ['board-c'], securityCounter: 4 }, [], 'hum')
    world.enrol(1, 'board-a', { family: 'wake' })
    world.enrol(1, 'board-c', { family: 'wake' })
    const move = (name: string) => world.engine.moveFamily(name, 'hum', 'ann', 'x')
    expect(move('device-0000')).toMatchObject({ error: { code: 'wrong-board' } })
    expect(move('device-0001')).toMatchObject({ error: { code: 'security-counter-too-low' } })
    expect(world.store.devices.page(10).devices.map(({ family }) => family)).toEqual(['wake', 'wake'])
  })
})

describe('a database of before families', () => {
  it('opens, and its running rollout ends as it would have: all of it is of the family "default"', () => {
    const { path, remove } = openFixture('cloud-15.json.br', 15)
    const world = new CloudWorld(path, 1, { 'kws-1': USUAL, 'kws-2': GOOD, 'kws-bad': HARMFUL })
    worlds.push(world)
    const { store } = world
    const [open] = store.rollouts.allOpen()
    const id = present(open, 'the rollout of before').id
    expect(open).toMatchObject({ state: 'running', stage: 1 })
    expect(store.models.families()).toEqual(['default'])
    const known = store.devices.page(1_000).devices
    expect(known).toHaveLength(120)
    expect(new Set(known.map(({ family }) => family))).toEqual(new Set(['default']))
    const exposed = store.rollouts.devices(id).filter(({ stage }) => stage !== null)
    expect(exposed).toHaveLength(24)
    world.resume(known)
    expect(world.running()).toEqual({ 'kws-1': 96, 'kws-2': 24 })
    world.hours(400, isOver(world))
    expect(rollout(world, id).state).toBe('completed')
    world.hours(2)
    expect(world.running()).toEqual({ 'kws-2': 120 })
    // A harmful one after it comes back.
    const bad = started(world, 'kws-bad')
    world.hours(200, isOver(world))
    expect(rollout(world, bad).state).toBe('rolled-back')
    remove()
  })
})
