import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { gatherEvidence } from '../../../../cloud/rollout/evidence.ts'
import { hourIndex } from '../../../../cloud/store/telemetry-store.ts'
import { lookForSilence } from '../../../../cloud/telemetry/silence.ts'
import { Challenges } from '../../../../cloud/trust/challenges.ts'
import { GatewayIdentities } from '../../../../cloud/trust/gateway-identities.ts'
import { createTokenIssuer } from '../../../../cloud/trust/tokens.ts'
import { present } from '../../../../contract/present.ts'
import { CloudWorld } from '../../../fixtures/cloud-world.ts'
import { secureRandom } from '../../../fixtures/identity-world.ts'
import { HOUR } from '../../../fixtures/synthetic-fleet.ts'

describe('a gateway in quarantine', () => {
  let dir: string
  let world: CloudWorld
  let gateways: GatewayIdentities
  /** half of the fleet is at its site */
  const LIAR = 'gw-liar'
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'kinglet-quarantine-'))
    const usual = { falseWakes: 2, verified: 10 }
    world = new CloudWorld(join(dir, 'cloud.db'), 5, { 'kws-1': usual, 'kws-2': usual, 'kws-bad': usual })
    const { store, clock } = world
    const tokens = await createTokenIssuer(secureRandom.bytes(32), clock, secureRandom, store.tokens)
    const challenges = new Challenges(secureRandom)
    gateways = new GatewayIdentities({ store, tokens, clock, random: secureRandom, challenges })
    world.addRelease('kws-1', 1, 'production')
    world.addRelease('kws-2', 2, 'staging')
    world.enrol(60)
    for (const [i, { name }] of world.fleet.entries()) {
      if (i % 2 === 1) store.devices.enrol({ name, site: 'site-2', board: 'board-a', tags: [] }, clock.wallMs())
    }
    expect(gateways.admitByToken('gateway-1', ['site-1'], 'test')).toMatchObject({ ok: true })
    expect(gateways.admitByToken(LIAR, ['site-2'], 'test')).toMatchObject({ ok: true })
    world.hours(30)
    expect(world.start('kws-2', [20, 50, 100], { comparison: 'control' })).toMatchObject({ ok: true })
    world.tick()
    world.hours(8)
  })
  afterEach(() => {
    world.store.close()
    rmSync(dir, { recursive: true })
  })
  const open = () => present(world.store.rollouts.allOpen()[0], 'the open rollout')
  const evidence = () => gatherEvidence(world.store, open(), world.clock.wallMs())
  const sizes = () => {
    const { counted, exposure, signals } = evidence()
    const { batch, spells } = present(signals.falseWakesPerHour, 'a signal of the gate')
    const life = present(signals.silent ?? signals.restarts ?? signals.contact, 'a signal of lives')
    return {
      ...{ canary: counted.canary, control: counted.control, assigned: exposure.assigned },
      ...{ batch: [batch?.canary.length, batch?.control.length], spells: spells.length, lives: life.spells.length },
    }
  }
  const figures = () => {
    const { store, clock } = world
    while (store.fleet.refresh(1_000) > 0);
    const hours = store.fleet.hours(hourIndex(clock.wallMs()) - 4, hourIndex(clock.wallMs()) - 2)
    return {
      hour: hours.reduce((sum, { devices }) => sum + devices, 0) / 2,
      counted: store.fleet.counters().devices,
      present: store.fleet.present().devices,
    }
  }

  it('leaves readings, figures and drift with what the others say, and release brings everything back', () => {
    const before = { gate: sizes(), figures: figures() }
    expect(before.figures).toEqual({ hour: 60, counted: 60, present: 60 })
    const exposed = world.store.rollouts.devices(open().id).filter(({ stage }) => stage !== null)
    const own = exposed.filter(({ device }) => world.store.devices.byId(device)?.site === 'site-1').length
    expect(own).toBeGreaterThan(0)
    expect(own).toBeLessThan(exposed.length)

    expect(gateways.quarantine(LIAR, 'it lies', 'cloud')).toMatchObject({ ok: true, value: { state: 'quarantined' } })
    const during = { gate: sizes(), figures: figures() }
    expect(during.gate).toMatchObject({ assigned: own, canary: [own, own], batch: [own, 30 - own] })
    expect(during.gate.control).toEqual([30 - own, 30 - own])
    expect(during.gate.lives).toBeLessThan(before.gate.lives)
    expect(during.figures).toEqual({ hour: 30, counted: 30, present: 30 })
    expect(world.store.alerts.open('gateway-quarantined', LIAR, '')).toBeDefined()

    expect(gateways.release(LIAR, 'it was a cable', 'olga')).toMatchObject({ ok: true, value: { state: 'active' } })
    expect({ gate: sizes(), figures: figures() }).toEqual(before)
    expect(world.store.alerts.open('gateway-quarantined', LIAR, '')).toBeUndefined()
    const actions = world.store.audit.list(10).map(({ action, actor }) => [action, actor])
    expect(actions.slice(0, 2)).toEqual([
      ['gateway.released', 'olga'],
      ['gateway.quarantined', 'cloud'],
    ])
  })

  it('makes nobody silent: neither in the rollout nor in an alert, however long its devices are not heard', () => {
    gateways.quarantine(LIAR, 'it lies', 'cloud')
    const { store } = world
    const held = new Set(store.devices.enrolled().flatMap(({ id, site }) => (site === 'site-2' ? [id] : [])))
    world.online = ({ name }) => !held.has(store.devices.byName(name)?.id ?? 0)
    world.hours(100)
    const rollout = store.rollouts.list(1)[0]
    const rows = store.rollouts.devices(present(rollout, 'the rollout').id)
    expect(rows.filter(({ device, silentMs }) => held.has(device) && silentMs !== null)).toEqual([])
    expect(lookForSilence(store, world.clock.wallMs())).toEqual([])
    gateways.release(LIAR, 'looked at', 'olga')
    expect(lookForSilence(store, world.clock.wallMs())).toMatchObject([{ metric: 'site-2', numbers: { silent: 30 } }])
  })

  it('takes the evidence of stages that ended before out too, and of none that ended without it', () => {
    const { store, clock } = world
    const { id } = open()
    const end = () => {
      store.rollouts.freeze(id, 1, 'falseWakesPerHour', { batch: { d: 0.1, variance: 0.01 }, later: 0.5 })
      store.rollouts.endStage(id, 1, clock.wallMs())
    }
    end()
    expect(store.rollouts.batches(id, 'falseWakesPerHour')).toHaveLength(1)
    clock.advanceTo(clock.wallMs() + HOUR)
    gateways.quarantine(LIAR, 'it lies', 'cloud')
    expect(store.rollouts.batches(id, 'falseWakesPerHour')).toEqual([])
    gateways.release(LIAR, 'looked at', 'olga')
    expect(store.rollouts.batches(id, 'falseWakesPerHour')).toHaveLength(1)
    gateways.quarantine(LIAR, 'it lies', 'cloud')
    clock.advanceTo(clock.wallMs() + HOUR)
    store.rollouts.endStage(id, 1, clock.wallMs())
    expect(store.rollouts.batches(id, 'falseWakesPerHour')).toHaveLength(1)
  })

  it('exposes no device of it to a model that it could not be seen to harm', () => {
    const { store } = world
    gateways.quarantine(LIAR, 'it lies', 'cloud')
    const before = store.rollouts.devices(open().id).filter(({ stage }) => stage !== null).length
    expect(world.engine.advance(open().id, 'olga', 'a test', false)).toMatchObject({ ok: true })
    world.tick()
    const rows = store.rollouts.devices(open().id).filter(({ stage }) => stage === 2)
    expect(rows.length).toBeGreaterThan(0)
    expect(before + rows.length).toBeLessThan(60)
    for (const { device } of rows) expect(store.devices.byId(device)?.site).toBe('site-1')
  })
})
