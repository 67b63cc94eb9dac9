import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { gateWords } from '../../cloud/rollout/gate-words.ts'
import { CloudWorld, SHA } from '../fixtures/cloud-world.ts'

// Hundreds of simulated hours; a busy machine takes minutes for them.
vi.setConfig({ testTimeout: 300_000 })

const BEHAVIOUR = {
  'kws-1': { falseWakes: 0.5, verified: 1 },
  'kws-2': { falseWakes: 0.2, verified: 1.1 },
  'kws-bad': { falseWakes: 1.6, verified: 1 },
}

describe('rollouts over a synthetic fleet', () => {
  const worlds: CloudWorld[] = []
  const folders: string[] = []
  afterEach(() => {
    for (const world of worlds.splice(0)) world.store.close()
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
  })
  const make = (
    seed: number,
    behaviour: ConstructorParameters<typeof CloudWorld>[2] = BEHAVIOUR,
    path = ':memory:',
  ) => {
    const world = new CloudWorld(path, seed, behaviour)
    worlds.push(world)
    world.addRelease('kws-1', 1, 'production')
    world.addRelease('kws-2', 2, 'staging')
    world.addRelease('kws-bad', 3, 'staging')
    world.enrol(240)
    world.hours(24)
    return world
  }

  it.each([1, 2, 3])('a better model reaches every device, a worse one never leaves canary (seed %i)', (seed) => {
    const world = make(seed)
    const good = world.start('kws-2')
    if (!good.ok) throw new Error(good.error.detail)
    const hours = world.hours(200, () => world.store.rollouts.get(good.value.id)!.state === 'completed')
    expect(world.store.rollouts.get(good.value.id)!.why).toContain('soaked')
    expect(hours).toBeLessThan(100)
    // Those who were held back as control of the last stage get it at its end.
    expect(world.running()).toEqual({ 'kws-2': 210, 'kws-1': 30 })
    world.hours(2)
    expect(world.running()).toEqual({ 'kws-2': 240 })
    expect(world.store.models.productionFor('default', 'board-a')!.name).toBe('kws-2')
    expect(world.store.models.byName('kws-1')!.state).toBe('archived')

    const bad = world.start('kws-bad')
    if (!bad.ok) throw new Error(bad.error.detail)
    const toDecide = world.hours(100, () => world.store.rollouts.get(bad.value.id)!.state === 'rolled-back')
    const rollout = world.store.rollouts.get(bad.value.id)!
    console.log(`seed ${seed}: ${hours} h to all, ${toDecide} h to roll back. ${gateWords(rollout.reading!)}`)
    expect(rollout.state).toBe('rolled-back')
    expect(rollout.stage).toBe(1)
    expect(rollout.reading!.reasons[0]).toEqual({ code: 'metric-worse', metric: 'falseWakesPerHour' })
    expect(toDecide).toBeLessThan(24)
    world.hours(3)
    expect(world.running()).toEqual({ 'kws-2': 240 })
    const actions = world.store.audit.list(50).map(({ action }) => action)
    expect(actions).toContain('rollout.rolled-back')
    expect(actions.filter((action) => action === 'rollout.stage-begun')).toHaveLength(4)
  })

  it('an equal model is not rolled back, and a deaf one does not pass', () => {
    const world = make(5, { ...BEHAVIOUR, 'kws-2': BEHAVIOUR['kws-1'], 'kws-bad': { falseWakes: 0, verified: 0.02 } })
    const equal = world.start('kws-2')
    if (!equal.ok) throw new Error(equal.error.detail)
    world.hours(170, () => world.store.rollouts.allOpen()[0] === undefined)
    expect(['completed', 'running', 'paused']).toContain(world.store.rollouts.get(equal.value.id)!.state)
    if (world.store.rollouts.allOpen()[0] !== undefined) world.engine.rollback(equal.value.id, 'tester', 'make room')
    world.hours(24)
    const deaf = world.start('kws-bad')
    if (!deaf.ok) throw new Error(deaf.error.detail)
    world.hours(60, () => world.store.rollouts.allOpen()[0] === undefined)
    const rollout = world.store.rollouts.get(deaf.value.id)!
    expect(rollout.state).toBe('rolled-back')
    expect(rollout.stage).toBe(1)
    expect(rollout.reading!.reasons).toContainEqual({ code: 'metric-worse', metric: 'verifiedWakesPerHour' })
  })

  it('installs that fail withdraw the candidate before it can be compared', () => {
    const world = make(6, { ...BEHAVIOUR, 'kws-2': { ...BEHAVIOUR['kws-2'], failing: 0.5 } })
    const started = world.start('kws-2')
    if (!started.ok) throw new Error(started.error.detail)
    const hours = world.hours(30, () => world.store.rollouts.allOpen()[0] === undefined)
    expect(hours).toBeLessThan(6)
    const rollout = world.store.rollouts.get(started.value.id)!
    expect(rollout.reading!.reasons).toEqual([{ code: 'installs-failing', metric: 'installFailures' }])
  })

  it('goes on where it was when the process dies between any two steps', () => {
    const folder = mkdtempSync(join(tmpdir(), 'kinglet-'))
    folders.push(folder)
    const world = make(7, BEHAVIOUR, join(folder, 'cloud.db'))
    const started = world.start('kws-2')
    if (!started.ok) throw new Error(started.error.detail)
    const { id } = started.value
    let seen = 0
    world.hours(200, () => {
      if (++seen % 5 === 0) world.reopen()
      return world.store.rollouts.get(id)!.state === 'completed'
    })
    expect(world.store.rollouts.get(id)!.state).toBe('completed')
    world.hours(2)
    expect(world.running()).toEqual({ 'kws-2': 240 })
    const begun = world.store.audit.list(100).filter(({ action }) => action === 'rollout.stage-begun')
    expect(begun).toHaveLength(3)
  })

  it('a tick that fails half way leaves nothing behind', () => {
    const world = make(8)
    const started = world.start('kws-2')
    if (!started.ok) throw new Error(started.error.detail)
    const before = JSON.stringify([world.store.rollouts.allOpen()[0], world.store.devices.page(1000).devices])
    const { audit } = world.store
    const append = audit.append.bind(audit)
    audit.append = () => {
      throw new Error('disk full')
    }
    expect(() => world.tick()).toThrow('disk full')
    expect(JSON.stringify([world.store.rollouts.allOpen()[0], world.store.devices.page(1000).devices])).toBe(before)
    audit.append = append
    expect(world.tick()!.steps).toEqual([{ kind: 'begin-stage', stage: 1, percent: 20 }])
  })

  it('one rollout at a time; pause holds it, resume lets it go on, a newcomer gets its arm', () => {
    const world = make(9)
    const started = world.start('kws-2')
    if (!started.ok) throw new Error(started.error.detail)
    const { id } = started.value
    expect(world.start('kws-bad')).toMatchObject({ ok: false, error: { code: 'conflict' } })
    world.hours(10)
    expect(world.engine.pause(id, 'ann', 'lunch').ok).toBe(true)
    world.hours(40)
    expect(world.store.rollouts.get(id)).toMatchObject({ state: 'paused', stage: 1, why: 'Paused by ann: lunch' })
    world.enrol(40)
    world.hours(3)
    // Nobody is exposed while it is paused, newcomers neither.
    const runs = (from: number) => world.fleet.slice(from).filter(({ model }) => SHA['kws-2'].startsWith(model)).length
    expect(runs(240)).toBe(0)
    expect(world.engine.resume(id, 'ann', 'back').ok).toBe(true)
    world.enrol(40)
    world.hours(3)
    // A newcomer of a running stage gets its arm, and is no evidence for it.
    const late = world.store.rollouts.devices(id).filter((row) => row.late && row.stage !== null)
    expect(late.length).toBeGreaterThan(0)
    expect(late.length).toBeLessThan(25)
    expect(runs(280)).toBe(late.length)
    world.hours(170, () => world.store.rollouts.allOpen()[0] === undefined)
    world.hours(2)
    expect(world.running()).toEqual({ 'kws-2': 320 })
  })
})
