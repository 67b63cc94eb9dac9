import { afterEach, describe, expect, it, vi } from 'vitest'
import { present } from '../../../../contract/present.ts'
import { at, closeSites, finish, isOver, rollout, sites, start, started, state } from '../../../fixtures/site-fleet.ts'
import { T0 } from '../../../fixtures/synthetic-fleet.ts'

// A busy machine takes its time.
vi.setConfig({ testTimeout: 60_000 })
afterEach(closeSites)

describe('rollouts of chosen devices of one board', () => {
  it('take no device of each other: a second is refused with the rollout and a device, and one for the whole board too', () => {
    const world = sites(43, 4)
    world.hours(2)
    const first = started(world, 'kws-2', { devices: 'site:berlin,munich' })
    const refused = start(world, 'kws-bad', { devices: 'device:device-0004,device-0008' })
    expect(refused).toMatchObject({ ok: false, error: { code: 'conflict' } })
    expect(refused.ok ? '' : refused.error.detail).toContain(
      `rollout ${first} of kws-2 2 is running and has device-0004: a device is in one rollout at a time`,
    )
    expect(start(world, 'kws-bad', {})).toMatchObject({
      error: { code: 'conflict', detail: expect.stringContaining('and has device-0000:') },
    })
    // A release that one of them may find harmful is not brought to others by another.
    expect(start(world, 'kws-2', { devices: 'site:ulm' })).toMatchObject({
      error: { code: 'conflict', detail: expect.stringContaining('a release is in one rollout at a time') },
    })
    const ulm = started(world, 'kws-bad', { devices: 'site:ulm' })
    world.tick()
    expect(world.store.rollouts.allOpen().map(({ id }) => id)).toEqual([first, ulm])
    // Nor does one for a part begin while one for the whole board is open.
    for (const id of [first, ulm]) world.engine.rollback(id, 'ann', 'make room')
    for (const name of ['kws-2', 'kws-bad']) {
      world.store.models.setState(present(world.store.models.byName(name), name), 'staging', 'ann', 'again', T0)
    }
    const whole = started(world, 'kws-2', {})
    expect(start(world, 'kws-bad', { devices: 'site:ulm' })).toMatchObject({
      error: { code: 'conflict', detail: expect.stringContaining(`rollout ${whole} `) },
    })
  })

  it('are refused where the query is wrong, chooses nobody, or only those who have it', () => {
    const world = sites(44, 3)
    world.hours(2)
    expect(start(world, 'kws-2', { devices: 'place:berlin' })).toMatchObject({ error: { code: 'invalid-request' } })
    expect(start(world, 'kws-2', { devices: 'group:cellar' })).toMatchObject({
      error: { code: 'invalid-request', detail: 'there is no group "cellar"' },
    })
    expect(start(world, 'kws-2', { devices: 'site:rome' })).toMatchObject({
      error: { code: 'wrong-board', detail: expect.stringContaining('"site:rome" chooses no device') },
    })
    finish(world, 'kws-2', { devices: 'site:ulm' })
    expect(start(world, 'kws-2', { devices: 'site:ulm' })).toMatchObject({
      error: { code: 'conflict', detail: expect.stringContaining('none of the 3 devices that were chosen') },
    })
  })

  it('have the devices that fitted at the start: later ones are told as joined, former ones stay', () => {
    const world = sites(45, 10)
    world.hours(2)
    const { store, engine, clock } = world
    store.groups.set({ name: 'cellar', query: 'site:berlin', changedMs: T0, by: 'ann' })
    const id = started(world, 'kws-2', { devices: 'group:cellar' }, [50, 100])
    world.tick()
    world.enrol(3, 'board-a', { site: 'berlin' })
    expect(store.rollouts.members(id).size).toBe(10)
    const move = (name: string, site: string, board = 'board-a') =>
      store.atomically(() => store.devices.enrol({ name, site, board, tags: [] }, clock.wallMs()))
    move('device-0000', 'munich')
    move('device-0010', 'berlin')
    store.atomically(() =>
      store.devices.remove(present(store.devices.byName('device-0001'), 'a device'), clock.wallMs(), false),
    )
    const compare = () => {
      const condition = store.groups.condition([{ field: 'group', negated: false, values: ['cellar'] }], clock.wallMs())
      if (!condition.ok) throw new Error('no group')
      return store.cohorts.compare(id, 'default', [], condition.value)
    }
    expect(compare()).toEqual({
      chosen: 10,
      joined: { count: 4, names: ['device-0010', 'device-0030', 'device-0031', 'device-0032'] },
      departed: { count: 1, names: ['device-0000'] },
      out: { count: 1, names: ['device-0001'] },
    })
    expect(engine.advance(id, 'ann', 'on', false).ok).toBe(true)
    expect(engine.advance(id, 'ann', 'done', false).ok).toBe(true)
    expect(rollout(world, id).state).toBe('completed')
    // The one that moved to Munich is still one of the chosen; who came has production.
    expect(at(world, 'berlin')).toEqual({ 'kws-2': 8, 'kws-1': 4 })
    expect(at(world, 'munich')).toEqual({ 'kws-1': 9, 'kws-2': 1 })
    // A group that has another query has other members from then on.
    store.groups.set({ name: 'cellar', query: 'site:ulm', changedMs: T0, by: 'ann' })
    expect(compare()).toMatchObject({ joined: { count: 10 }, departed: { count: 9 } })
    expect(store.cohorts.compare(id, 'default', [], null)).toMatchObject({ chosen: 10, joined: null, departed: null })
  })
})

describe('what devices keep by a rollout of theirs', () => {
  it('is replaced by the next one for all, comes back when that is taken back, and goes when a person says so', () => {
    const world = sites(47, 6)
    world.hours(2)
    const { engine, store } = world
    finish(world, 'kws-2', { devices: 'site:berlin' })
    expect(at(world, 'berlin')).toEqual({ 'kws-2': 6 })
    expect(engine.retarget('device-0005', null, 'ann', 'follow production').ok).toBe(true)
    expect(at(world, 'berlin')).toEqual({ 'kws-2': 5, 'kws-1': 1 })
    const whole = finish(world, 'kws-bad')
    expect(world.fleet.map(({ site }) => site)).toHaveLength(18)
    expect([at(world, 'berlin'), at(world, 'ulm')]).toEqual([{ 'kws-bad': 6 }, { 'kws-bad': 6 }])
    expect([state(world, 'kws-1'), state(world, 'kws-2'), state(world, 'kws-bad')]).toEqual([
      'archived',
      'staging',
      'production',
    ])
    const keeper = present(store.devices.byName('device-0000'), 'a device').id
    expect(store.cohorts.keepOf(keeper)).toBeUndefined()
    expect(engine.rollback(whole, 'ann', 'worse').ok).toBe(true)
    expect([at(world, 'berlin'), at(world, 'ulm')]).toEqual([{ 'kws-2': 5, 'kws-1': 1 }, { 'kws-1': 6 }])
    expect(store.cohorts.keepOf(keeper)?.release).toBe(store.models.byName('kws-2')?.id)
    engine.lookAfter()
    expect(at(world, 'berlin')).toEqual({ 'kws-2': 5, 'kws-1': 1 })
  })

  it('comes back to one that could not be heard and was given another release by the end of a rollout', () => {
    const world = sites(48, 4)
    world.hours(2)
    finish(world, 'kws-2', { devices: 'site:berlin' })
    world.hours(2)
    // device-0000 is not heard for weeks, so it takes no part and gets the release at the end.
    world.online = ({ name }) => name !== 'device-0000'
    world.hours(24 * 9)
    const whole = finish(world, 'kws-bad')
    const silent = present(world.store.devices.byName('device-0000'), 'a device')
    expect(world.store.rollouts.members(whole).has(silent.id)).toBe(false)
    expect(at(world, 'berlin')).toEqual({ 'kws-bad': 4 })
    expect(world.engine.rollback(whole, 'ann', 'worse').ok).toBe(true)
    expect(at(world, 'berlin')).toEqual({ 'kws-2': 4 })
  })

  it('stays while a release is taken back elsewhere, and is taken back with its own rollout', () => {
    const world = sites(49, 6)
    world.hours(2)
    const { engine } = world
    const berlin = finish(world, 'kws-2', { devices: 'site:berlin' })
    const munich = finish(world, 'kws-2', { devices: 'site:munich' })
    expect([at(world, 'berlin'), at(world, 'munich')]).toEqual([{ 'kws-2': 6 }, { 'kws-2': 6 }])
    expect(engine.rollback(munich, 'ann', 'noisy').ok).toBe(true)
    engine.lookAfter()
    expect([at(world, 'berlin'), at(world, 'munich')]).toEqual([{ 'kws-2': 6 }, { 'kws-1': 6 }])
    expect(state(world, 'kws-2')).toBe('staging')
    const whole = started(world, 'kws-2', {}, [50, 100])
    world.tick()
    expect(engine.rollback(whole, 'ann', 'noisy').ok).toBe(true)
    engine.lookAfter()
    expect([at(world, 'berlin'), at(world, 'ulm')]).toEqual([{ 'kws-2': 6 }, { 'kws-1': 6 }])
    // One for all has followed, also if nothing is left of it.
    expect(engine.rollback(berlin, 'ann', 'too')).toMatchObject({ error: { code: 'conflict' } })
    finish(world, 'kws-1', { devices: 'site:berlin' })
    expect([at(world, 'berlin'), state(world, 'kws-1')]).toEqual([{ 'kws-1': 6 }, 'production'])
    const again = finish(world, 'kws-2', { devices: 'site:ulm' })
    expect(engine.rollback(again, 'ann', 'noisy').ok).toBe(true)
    expect([at(world, 'ulm'), state(world, 'kws-2')]).toEqual([{ 'kws-1': 6 }, 'archived'])
  })

  it('goes with a release that a person archives, with another board and with another family', () => {
    const world = sites(50, 3)
    world.hours(2)
    const { engine, store, clock } = world
    world.addRelease('hum-2', 4, 'staging', { boards: ['board-a'] })
    world.addRelease('hum-1', 1, 'production', {}, [], 'hum')
    finish(world, 'hum-2', { devices: 'site:berlin' })
    const keep = (name: string) => store.cohorts.keepOf(present(store.devices.byName(name), name).id)
    expect(['device-0000', 'device-0001', 'device-0002'].map((name) => keep(name) !== undefined)).toEqual([
      true,
      true,
      true,
    ])
    expect(engine.moveFamily('device-0000', 'hum', 'ann', 'hums').ok).toBe(true)
    expect(keep('device-0000')).toBeUndefined()
    const device = present(store.devices.byName('device-0001'), 'a device')
    store.atomically(() => store.devices.untarget(device.id, clock.wallMs()))
    expect(keep('device-0001')).toBeUndefined()
    store.models.setState(present(store.models.byName('hum-2'), 'hum-2'), 'archived', 'ann', 'old', T0)
    engine.lookAfter()
    expect(keep('device-0002')).toBeUndefined()
    expect(at(world, 'berlin')).toEqual({ 'hum-1': 1, 'kws-1': 2 })
  })

  it('a device that was chosen and has not taken part yet is in that rollout: neither moved nor taken by another', () => {
    const world = sites(51, 3)
    world.addRelease('hum-1', 1, 'production', {}, [], 'hum')
    world.hours(2)
    const id = started(world, 'kws-2', { devices: 'site:berlin' })
    expect(world.engine.moveFamily('device-0000', 'hum', 'ann', 'x')).toMatchObject({
      error: { code: 'conflict', detail: expect.stringContaining(id) },
    })
    expect(world.store.rollouts.takenByOthers(null).size).toBe(3)
    expect(world.store.rollouts.takenByOthers(id).size).toBe(0)
  })

  it('no rollout takes back or pauses what a person has chosen for a device meanwhile', () => {
    const world = sites(52, 4)
    world.hours(2)
    const id = started(world, 'kws-2', { devices: 'site:berlin' }, [100])
    world.tick()
    world.engine.retarget('device-0000', 'kws-bad', 'ann', 'a reference')
    world.engine.pause(id, 'ann', 'wait')
    expect(at(world, 'berlin')['kws-bad']).toBe(1)
    world.engine.resume(id, 'ann', 'on')
    expect(at(world, 'berlin')['kws-bad']).toBe(1)
    world.engine.rollback(id, 'ann', 'back')
    expect(at(world, 'berlin')).toEqual({ 'kws-bad': 1, 'kws-1': 3 })
  })
})

describe('harm that comes after a rollout of chosen devices', () => {
  it('is told of its devices alone, and is over when that rollout is taken back', () => {
    const world = sites(57, 3)
    world.hours(2)
    const { engine, store } = world
    const berlin = finish(world, 'kws-2', { devices: 'site:berlin' })
    const munich = finish(world, 'kws-2', { devices: 'site:munich' })
    const { prefix } = present(store.models.byName('kws-2'), 'kws-2')
    const harm = { metric: 'falseWakesPerHour', model: prefix, ratio: 2, numbers: {} }
    engine.lookAfter([berlin, munich].map((id) => ({ ...harm, rollout: id })))
    const cohorts = () => store.alerts.allOpen().map(({ cohort }) => cohort)
    expect(cohorts()).toEqual([`rollout:${berlin}`, `rollout:${munich}`])
    engine.lookAfter([{ ...harm, rollout: berlin }])
    expect(cohorts()).toHaveLength(2)
    engine.rollback(munich, 'ann', 'noisy')
    engine.lookAfter([])
    expect(cohorts()).toEqual([`rollout:${berlin}`])
    // One that has followed for some of its devices ends the watch; one for others does not.
    finish(world, 'kws-bad', { devices: 'site:ulm' })
    engine.lookAfter([])
    expect(cohorts()).toHaveLength(1)
    started(world, 'kws-bad', { devices: 'site:berlin' })
    engine.lookAfter([])
    expect(cohorts()).toEqual([])
  })
})

describe('an experiment', () => {
  it('has one at a time with the devices of rollouts, is ended by a person, and takes no production away meanwhile', () => {
    const world = sites(55, 20)
    world.hours(2)
    const { engine } = world
    const before = finish(world, 'kws-2', { devices: 'site:ulm' })
    const id = started(world, 'kws-bad', { experimentHours: 48, devices: 'site:ulm' })
    expect(start(world, 'kws-2', { devices: 'site:ulm' })).toMatchObject({ error: { code: 'conflict' } })
    world.hours(3)
    expect(engine.rollback(before, 'ann', 'x')).toMatchObject({ error: { code: 'conflict' } })
    expect(at(world, 'ulm')).toEqual({ 'kws-2': 10, 'kws-bad': 10 })
    expect(engine.advance(id, 'ann', 'seen enough', false).ok).toBe(true)
    expect(rollout(world, id).state).toBe('completed')
    // They go back to what they kept; nothing of the experiment keeps that from being taken back.
    expect(at(world, 'ulm')).toEqual({ 'kws-2': 20 })
    expect(engine.rollback(before, 'ann', 'x').ok).toBe(true)
    expect(at(world, 'ulm')).toEqual({ 'kws-1': 20 })
  })

  it('is refused where it compares nothing or would wait for a person; an advisory one ends by its time', () => {
    const world = sites(56, 20)
    world.hours(2)
    const experiment = { experimentHours: 12 }
    const refused = { error: { code: 'invalid-request' } }
    expect(world.start('kws-bad', [50], { ungated: true }, experiment)).toMatchObject(refused)
    expect(world.start('kws-bad', [50], { manual: 'all' }, experiment)).toMatchObject(refused)
    world.addRelease('hum-2', 4, 'staging', { securityCounter: 2 })
    const { policy } = rollout(world, started(world, 'kws-2', { devices: 'site:ulm' }))
    // Its devices could not go back, whatever is asked for.
    const oneWay = { name: 'hum-2', percents: [50], policy, irreversible: true, devices: 'site:berlin', ...experiment }
    expect(world.engine.start(oneWay, 'ann')).toMatchObject({ error: { code: 'security-counter-too-low' } })
    for (const { id } of world.store.rollouts.allOpen()) world.engine.rollback(id, 'ann', 'make room')
    const advisory = world.start('kws-bad', [50], { advisory: true }, experiment)
    const { id } = present(advisory.ok ? advisory.value : undefined, 'the experiment')
    world.hours(20, isOver(world))
    expect(rollout(world, id).state).toBe('completed')
    world.hours(1)
    expect(world.running()).toEqual({ 'kws-1': 60 })
  })
})

describe('an emergency stop', () => {
  it('takes a release from the rollout that is open, from who keeps it, and from nobody for whom a person chose it', () => {
    const world = sites(61, 4)
    world.hours(2)
    const { engine, store } = world
    finish(world, 'kws-2', { devices: 'site:berlin' })
    const open = started(world, 'kws-2', { devices: 'site:munich' }, [50, 100])
    world.tick()
    engine.retarget('device-0011', 'kws-2', 'ann', 'a reference')
    const other = started(world, 'kws-bad', { devices: 'device:device-0000' }, [100])
    expect(engine.stop('kws-2', undefined, 'ann', 'it burns')).toEqual({
      ok: true,
      value: { takenBack: [open], moved: 5, refusing: 0, pinned: 1, inRollouts: 1, stranded: 0 },
    })
    expect([rollout(world, open).state, rollout(world, other).state]).toEqual(['rolled-back', 'running'])
    expect([at(world, 'berlin'), at(world, 'munich')]).toEqual([{ 'kws-1': 3, 'kws-2': 1 }, { 'kws-1': 4 }])
    expect(at(world, 'ulm')).toEqual({ 'kws-1': 3, 'kws-2': 1 })
    expect(state(world, 'kws-2')).toBe('archived')
    expect(store.cohorts.keepers(present(store.models.byName('kws-2'), 'kws-2').id)).toBe(0)
    expect(store.audit.list(1, Number.MAX_SAFE_INTEGER)).toMatchObject([
      { action: 'release.stopped', actor: 'ann', subject: 'kws-2', detail: { reason: 'it burns', moved: 5 } },
    ])
    expect(engine.stop('kws-9', undefined, 'ann', 'x')).toMatchObject({ error: { code: 'not-found' } })
  })

  it('takes production back to what was before, also where rollouts have followed; what is newer on a board stays', () => {
    const world = sites(62, 3)
    world.hours(2)
    const { engine, store } = world
    world.addRelease('hum-2', 4, 'staging', { boards: ['board-b'] })
    world.enrol(3, 'board-b', { site: 'bonn' })
    const whole = finish(world, 'kws-2')
    finish(world, 'hum-2')
    expect(engine.stop('kws-2', undefined, 'ann', 'it burns')).toMatchObject({
      value: { takenBack: [], moved: 9, stranded: 0 },
    })
    expect(rollout(world, whole).state).toBe('completed')
    expect([at(world, 'berlin'), at(world, 'bonn')]).toEqual([{ 'kws-1': 3 }, { 'hum-2': 3 }])
    expect(store.models.productionFor('default', 'board-b')?.name).toBe('hum-2')
    expect(store.models.productionFor('default', 'board-a')?.name).toBe('kws-1')
    // The last one that there is: nobody is given it, and who has it is told of.
    expect(engine.stop('kws-1', 1, 'ann', 'all of it')).toMatchObject({ value: { moved: 0, stranded: 9 } })
    world.enrol(1, 'board-a', { site: 'berlin' })
    expect(at(world, 'berlin')).toEqual({ 'kws-1': 3, none: 1 })
  })

  it('tells of devices that will refuse what is before it', () => {
    const world = sites(63, 2)
    world.hours(2)
    world.addRelease('hum-2', 4, 'staging', { securityCounter: 2 })
    const { policy } = rollout(world, started(world, 'kws-2', { devices: 'site:ulm' }))
    const request = { name: 'hum-2', percents: [100], policy, irreversible: true, devices: 'site:berlin' }
    expect(world.engine.start(request, 'ann').ok).toBe(true)
    world.tick()
    expect(world.engine.stop('hum-2', undefined, 'ann', 'x')).toMatchObject({ value: { moved: 2, refusing: 2 } })
  })
})
