import { afterEach, describe, expect, it, vi } from 'vitest'
import { whyNotView } from '../../../../cloud/api/views.ts'
import { DEFAULT_GATE_POLICY } from '../../../../cloud/rollout/gate-defaults.ts'
import type { GatePolicy } from '../../../../cloud/store/gate-policy.ts'
import type { InstallingMax } from '../../../../cloud/store/install-turns.ts'
import { present } from '../../../../contract/present.ts'
import type { Assignment } from '../../../../contract/release.ts'
import type { Signed } from '../../../../contract/signed.ts'
import type { CloudWorld } from '../../../fixtures/cloud-world.ts'
import { closeSites, rollout, sites } from '../../../fixtures/site-fleet.ts'

// A busy machine takes its time.
vi.setConfig({ testTimeout: 60_000 })

afterEach(closeSites)

describe('devices that install at once', () => {
  const UNGATED = { ...DEFAULT_GATE_POLICY, ungated: true }
  const limited = (world: CloudWorld, installingMax: InstallingMax, policy: GatePolicy = UNGATED): string => {
    const request = { name: 'kws-2', percents: [100], policy, irreversible: false, installingMax }
    const result = world.engine.start(request, 'ann')
    if (!result.ok) throw new Error(result.error.detail)
    world.tick()
    return result.value.id
  }
  const told = (world: CloudWorld): Record<string, number> => {
    while (world.assigner.signSlice().more);
    const counts: Record<string, number> = {}
    for (const { document } of world.store.assignments.after(0, 1_000)) {
      const { site, target } = (JSON.parse(document) as Signed<Assignment>).signed
      if (target.name === 'kws-2') counts[site] = (counts[site] ?? 0) + 1
    }
    return counts
  }

  it('are as many as a rollout lets, of all and of one site; the next have their turn when these run it', () => {
    const world = sites(71, 10)
    world.hours(2)
    const id = limited(world, { fleet: 5, site: 3 })
    expect(told(world)).toEqual({ berlin: 3, munich: 2 })
    // However often it is signed, and with hours of updates that are set meanwhile.
    world.store.atomically(() => world.store.devices.setSiteWindow('ulm', '22:00-05:00 Europe/Berlin'))
    world.store.devices.markAllAssigned()
    expect(told(world)).toEqual({ berlin: 3, munich: 2 })
    expect(world.store.installTurns.count(id)).toBe(25)
    const waiting = present(world.store.devices.byName('device-0029'), 'a device')
    expect(whyNotView(world.store, waiting, world.clock.wallMs())).toMatchObject({ code: 'waits-its-turn' })
    world.hour()
    expect(world.running()).toEqual({ 'kws-1': 25, 'kws-2': 5 })
    const { prefix } = present(world.store.models.byName('kws-2'), 'kws-2')
    const done = (site: string): number =>
      world.store.devices
        .enrolled()
        .filter((device) => device.site === site && world.store.fleet.deviceBoots(device.id, 1)[0]?.model === prefix)
        .length
    for (let hours = 0; hours < 20 && world.store.installTurns.count(id) > 0; hours++) {
      const now = told(world)
      const installing = ['berlin', 'munich', 'ulm'].map((site) => (now[site] ?? 0) - done(site))
      expect(Math.max(...installing)).toBeLessThanOrEqual(3)
      expect(installing.reduce((sum, n) => sum + n, 0)).toBeLessThanOrEqual(5)
      world.hour()
    }
    world.hours(2)
    expect(world.running()).toEqual({ 'kws-2': 30 })
    expect(world.store.installTurns.count(id)).toBe(0)
  })

  it('hold up the others for a day and no longer', () => {
    const world = sites(72, 2)
    world.hours(2)
    const off = new Set(['device-0000', 'device-0001'])
    const id = limited(world, { fleet: 2, site: null })
    expect(told(world)).toEqual({ berlin: 2 })
    world.online = ({ name }) => !off.has(name)
    world.hours(23)
    expect(told(world)).toEqual({ berlin: 2 })
    world.hours(2)
    expect(told(world)).toEqual({ berlin: 2, munich: 2 })
    world.hours(3)
    expect([told(world), world.store.installTurns.count(id)]).toEqual([{ berlin: 2, munich: 2, ulm: 2 }, 0])
  })

  it('wait no longer when the rollout is paused or taken back, and wait again when it goes on', () => {
    const world = sites(73, 4)
    world.hours(2)
    const id = limited(world, { fleet: null, site: 1 })
    expect(told(world)).toEqual({ berlin: 1, munich: 1, ulm: 1 })
    world.engine.pause(id, 'ann', 'wait')
    expect([told(world), world.store.installTurns.count(id)]).toEqual([{}, 0])
    world.engine.resume(id, 'ann', 'on')
    expect(told(world)).toEqual({ berlin: 1, munich: 1, ulm: 1 })
    expect(world.store.installTurns.count(id)).toBe(9)
    world.engine.rollback(id, 'ann', 'back')
    expect([told(world), world.store.installTurns.count(id)]).toEqual([{}, 0])
  })

  it('are limited among those too that get the release at the end', () => {
    const world = sites(74, 4)
    world.hours(2)
    const withControl = { ...DEFAULT_GATE_POLICY, comparison: 'control', holdbackShare: 0.5 } as const
    const id = limited(world, { fleet: 2, site: null }, withControl)
    world.hours(14)
    expect([world.running(), world.store.installTurns.count(id)]).toEqual([{ 'kws-1': 3, 'kws-2': 9 }, 0])
    world.engine.advance(id, 'ann', 'done', false)
    expect(rollout(world, id).state).toBe('completed')
    world.hour()
    expect(world.running()).toEqual({ 'kws-1': 1, 'kws-2': 11 })
    world.hours(3)
    expect(world.running()).toEqual({ 'kws-2': 12 })
  })
})
