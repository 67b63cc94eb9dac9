import { afterEach, describe, expect, it, vi } from 'vitest'
import { present } from '../../contract/present.ts'
import { at, closeSites, isOver, rollout, running, sites, started, state } from '../fixtures/site-fleet.ts'

// Hundreds of simulated hours; a busy machine takes minutes for them.
vi.setConfig({ testTimeout: 300_000 })

/** Rollouts of chosen devices beside each other, and experiments. Real store, engine and gate; devices that follow their assignments. */
afterEach(closeSites)

describe('rollouts of chosen devices of one board', () => {
  it('run beside each other: the good one stays with its site, the harmful one comes back, and production is what it was', () => {
    const world = sites(41, 120)
    world.hours(26)
    const good = started(world, 'kws-2', { devices: 'site:berlin' })
    const bad = started(world, 'kws-bad', { devices: 'site:munich' })
    world.hours(600, isOver(world))
    expect(rollout(world, good)).toMatchObject({ state: 'completed', cohort: 'site:berlin' })
    expect(rollout(world, bad)).toMatchObject({ state: 'rolled-back', stage: 1 })
    world.hours(2)
    expect([running(world, 'berlin'), running(world, 'munich'), running(world, 'ulm')]).toEqual([
      { 'kws-2': 120 },
      { 'kws-1': 120 },
      { 'kws-1': 120 },
    ])
    const of = (id: string) =>
      new Set(world.store.rollouts.devices(id).map(({ device }) => world.store.devices.byId(device)?.site))
    expect([of(good), of(bad)]).toEqual([new Set(['berlin']), new Set(['munich'])])
    expect([state(world, 'kws-1'), state(world, 'kws-2'), state(world, 'kws-bad')]).toEqual([
      'production',
      'staging',
      'archived',
    ])
    // Whoever comes to the site later gets production.
    world.enrol(1, 'board-a', { site: 'berlin' })
    expect(at(world, 'berlin')).toEqual({ 'kws-2': 120, 'kws-1': 1 })
    world.engine.lookAfter()
    expect(at(world, 'berlin')).toEqual({ 'kws-2': 120, 'kws-1': 1 })
  })
})

describe('an experiment', () => {
  it('ends by its time, its devices go back, and its release is what it was; the report stays', () => {
    const world = sites(53, 60)
    world.hours(26)
    const id = started(world, 'kws-2', { experimentHours: 72, devices: 'site:berlin,munich' })
    expect(rollout(world, id)).toMatchObject({ percents: [50], plan: { comparison: 'control', holdback: 0 } })
    world.hours(2)
    expect(running(world, 'ulm')).toEqual({ 'kws-1': 60 })
    expect(world.running()).toEqual({ 'kws-1': 120, 'kws-2': 60 })
    expect(rollout(world, id).why).toMatch(/^Experiment, \d of 72 h, nothing is promoted/)
    // Whoever comes meanwhile has no part in it.
    world.enrol(1, 'board-a', { site: 'berlin' })
    const hours = world.hours(100, isOver(world))
    expect(hours).toBeGreaterThan(69)
    expect(hours).toBeLessThan(73)
    const over = rollout(world, id)
    expect(over.state).toBe('completed')
    expect(over.reading?.elapsedHours).toBeGreaterThanOrEqual(72)
    expect(over.reading?.metrics.find(({ name }) => name === 'falseWakesPerHour')?.ratio).toBeLessThan(0.7)
    world.hours(2)
    expect(world.running()).toEqual({ 'kws-1': 181 })
    expect([state(world, 'kws-1'), state(world, 'kws-2')]).toEqual(['production', 'staging'])
    world.engine.lookAfter()
    expect(world.store.models.history(present(world.store.models.byName('kws-2'), 'kws-2').id)).toHaveLength(1)
    expect(world.engine.rollback(id, 'ann', 'x')).toMatchObject({ error: { code: 'conflict' } })
    // The same release may be rolled out now, and what it said before is kept.
    const all = started(world, 'kws-2', {})
    expect(rollout(world, all).cohort).toBeNull()
    expect(rollout(world, id).reading).toEqual(over.reading)
  })

  it('ends before its time where it harms, and its release is what it was', () => {
    const world = sites(54, 60)
    world.hours(26)
    const id = started(world, 'kws-bad', { experimentHours: 240 })
    expect(world.hours(230, isOver(world))).toBeLessThan(100)
    expect(rollout(world, id).state).toBe('rolled-back')
    expect(rollout(world, id).reading?.reasons).toContainEqual({ code: 'metric-worse', metric: 'falseWakesPerHour' })
    world.hours(2)
    expect([world.running(), state(world, 'kws-bad')]).toEqual([{ 'kws-1': 180 }, 'staging'])
  })
})
