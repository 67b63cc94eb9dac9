import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../cli/clock-system.ts'
import { EventHub } from '../../../cloud/api/event-hub.ts'
import { Signal } from '../../../cloud/api/signal.ts'
import { EvaluationLoop } from '../../../cloud/evaluation-loop.ts'
import { LookClient } from '../../../cloud/look-client.ts'
import { LookService } from '../../../cloud/look-service.ts'
import { RolloutEngine } from '../../../cloud/rollout/engine.ts'
import { Slices } from '../../../cloud/slices.ts'
import type { Verdict } from '../../../cloud/store/gate-reading.ts'
import { Retention } from '../../../cloud/store/retention.ts'
import { DEFAULT_RETENTION } from '../../../cloud/store/retention-ages.ts'
import { DriftMonitor } from '../../../cloud/telemetry/drift.ts'
import { DEFAULT_DRIFT_POLICY } from '../../../cloud/telemetry/drift-policy.ts'
import { createMetrics } from '../../../cloud/telemetry/metrics.ts'
import { present } from '../../../contract/present.ts'
import type { Logger } from '../../../platform/logger.ts'
import { CloudWorld } from '../../fixtures/cloud-world.ts'
import { HOUR } from '../../fixtures/synthetic-fleet.ts'

let dir = ''
const opened: { close(): void }[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'kinglet-loop-'))
})
afterEach(() => {
  for (const each of opened.splice(0).reverse()) each.close()
  rmSync(dir, { recursive: true })
})

/** Answers in place, and lets something happen first. */
class Interrupted extends LookService {
  /** what happens while the next look is under way, or the next of which it has anything to say */
  meanwhile: ((verdict: Verdict | undefined) => boolean) | undefined
  readonly asked: string[] = []

  override async look(...args: Parameters<LookService['look']>): ReturnType<LookService['look']> {
    this.asked.push('look')
    const seen = await super.look(...args)
    if (this.meanwhile?.(seen?.look.reading.verdict) === true) this.meanwhile = undefined
    return seen
  }

  override pasts(...args: Parameters<LookService['pasts']>): ReturnType<LookService['pasts']> {
    this.asked.push('pasts')
    return super.pasts(...args)
  }
}

/** A fleet of 120 whose evaluation is the loop's.
 *  @param largeFrom devices from which on a rollout is looked at beside */
function worldOf(name: string, largeFrom: number, factor: number) {
  const path = join(dir, `${name}.db`)
  const usual = { falseWakes: 2, verified: 3 }
  const worse = { ...usual, falseWakes: 2 * factor }
  const world = new CloudWorld(path, 11, { 'kws-1': usual, 'kws-2': worse, 'kws-bad': usual })
  const { store, clock, assigner } = world
  world.addRelease('kws-1', 1, 'production')
  world.addRelease('kws-2', 2, 'staging')
  world.enrol(120)
  const logged: string[] = []
  const quiet = () => undefined
  const logger: Logger = { info: quiet, warn: quiet, error: ({ err }) => logged.push(String(err)) }
  const service = new Interrupted({ path, drift: DEFAULT_DRIFT_POLICY })
  const looks = new LookClient(store, { path, drift: DEFAULT_DRIFT_POLICY }, service)
  const engine = new RolloutEngine(store, clock, { bytes: (length) => new Uint8Array(length).fill(9) }, largeFrom)
  const hub = new EventHub(1)
  const loop = new EvaluationLoop({
    ...{ store, clock, engine, assigner, looks, hub, logger },
    ...{ machine: systemClock, slices: new Slices(systemClock), metrics: createMetrics(store, clock) },
    drift: new DriftMonitor(store, DEFAULT_DRIFT_POLICY),
    retention: new Retention(store.db, DEFAULT_RETENTION),
    assignmentsChanged: new Signal(clock),
    wakeAudit: undefined,
    everyMs: Number.POSITIVE_INFINITY,
  })
  opened.push(store, service, { close: () => loop.stop() })
  const hours = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      world.hour()
      await loop.evaluate()
    }
  }
  const rollout = () => present(store.rollouts.list(1)[0], 'the rollout')
  const published = () => present(hub.since(0), 'all events').filter(({ type }) => type === 'rollout').length
  return { world, loop, service, logged, hours, rollout, published }
}

async function started(name: string, largeFrom: number, factor: number) {
  const made = worldOf(name, largeFrom, factor)
  await made.hours(30)
  const policy = { minHours: 6, soakHours: 6, maxHours: 200 }
  expect(made.world.start('kws-2', [20, 50, 100], policy)).toMatchObject({ ok: true })
  await made.loop.evaluate()
  return made
}

describe('the evaluation of a large rollout', () => {
  it.each([
    ['no worse', 1, 'completed'],
    ['four times worse', 4, 'rolled-back'],
  ] as const)(
    'is beside what it would be in place, look by look and to the end, of a model that is %s',
    async (_, factor, end) => {
      const beside = await started('beside', 1, factor)
      const inPlace = await started('in-place', Number.POSITIVE_INFINITY, factor)
      expect(beside.rollout().stage).toBe(1)
      const stages = new Set<number>()
      for (let i = 0; i < 120 && inPlace.rollout().endedMs === null; i++) {
        await beside.hours(1)
        await inPlace.hours(1)
        const [here, there] = [beside.rollout(), inPlace.rollout()]
        expect(JSON.stringify({ ...here, id: '', salt: '' }), `hour ${i}`).toBe(
          JSON.stringify({ ...there, id: '', salt: '' }),
        )
        stages.add(here.stage)
      }
      expect(beside.rollout().state).toBe(end)
      if (end === 'completed') expect(stages.size).toBe(3)
      expect(beside.service.asked.filter((what) => what === 'pasts')).toHaveLength(stages.size)
      expect(inPlace.service.asked).toEqual([])
      expect(beside.logged).toEqual([])
    },
    180_000,
  )

  it('reads nothing and tells nobody where nothing but the time has changed', async () => {
    const { world, loop, service, hours, published } = await started('same', 1, 1)
    await hours(3)
    await loop.evaluate()
    const [asked, told] = [service.asked.length, published()]
    world.clock.advanceTo(world.clock.wallMs() + 60_000)
    await loop.evaluate()
    expect([service.asked.length, published()]).toEqual([asked, told])
    await hours(1)
    expect(service.asked.length).toBeGreaterThan(asked)
    expect(published()).toBeGreaterThan(told)
  })

  it('does not act on a look during which somebody has paused it', async () => {
    const { world, loop, service, hours, rollout } = await started('paused', 1, 1)
    // Until the look that would begin the second stage.
    for (let i = 0; i < 30; i++) {
      world.hour()
      const before = rollout()
      service.meanwhile = () => world.engine.pause(before.id, 'test', 'wait').ok
      await loop.evaluate()
      expect(rollout().state).toBe('paused')
      expect(rollout().stage).toBe(before.stage)
      expect(world.engine.resume(before.id, 'test', 'go on')).toMatchObject({ ok: true })
    }
    await hours(1)
    expect(rollout().stage).toBe(2)
  })

  it('looks again at once when a gateway was put into quarantine meanwhile', async () => {
    const { world, service, hours, loop, rollout } = await started('doubted', 1, 4)
    world.store.gateways.enrol('gateway-1', ['site-1'], null, world.clock.wallMs())
    let quarantined = 0
    // At the very look by which it would be taken back, on what that gateway said.
    service.meanwhile = (verdict) => {
      if (verdict !== 'rollback') return false
      world.store.gateways.quarantine('gateway-1', 'it lies', world.clock.wallMs())
      quarantined = service.asked.length
      return true
    }
    for (let i = 0; i < 40 && quarantined === 0; i++) await hours(1)
    expect(quarantined).toBeGreaterThan(0)
    expect(rollout().endedMs).toBeNull()
    // The nudge is a timer of the injected clock.
    world.clock.advanceTo(world.clock.wallMs())
    await loop.evaluate()
    expect(service.asked.length).toBeGreaterThan(quarantined)
    await hours(12)
    expect(rollout().state, 'all evidence is of the one that lies').toBe('running')
  })

  it('goes on at the next evaluation when a look has failed, and says so', async () => {
    const { world, service, hours, logged, rollout } = await started('failed', 1, 4)
    world.hour()
    service.meanwhile = () => {
      service.meanwhile = undefined
      throw new Error('no memory')
    }
    await hours(1)
    expect(logged.join('')).toContain('no memory')
    await hours(30)
    expect(rollout().state).toBe('rolled-back')
    expect(logged).toHaveLength(1)
    expect(rollout().endedMs ?? 0).toBeLessThan(world.clock.wallMs() + HOUR)
  })
})
