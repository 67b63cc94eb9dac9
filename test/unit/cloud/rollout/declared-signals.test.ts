import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { resolvePolicy } from '../../../../cloud/rollout/declared-signals.ts'
import { gatherEvidence } from '../../../../cloud/rollout/evidence.ts'
import { judgeStage } from '../../../../cloud/rollout/gate.ts'
import { DEFAULT_GATE_POLICY } from '../../../../cloud/rollout/gate-defaults.ts'
import { declaredPlaces, signalOf } from '../../../../cloud/rollout/signals.ts'
import type { SignalPolicy } from '../../../../cloud/store/gate-policy.ts'
import type { PipelineSignals } from '../../../../cloud/store/model-store.ts'
import { present } from '../../../../contract/present.ts'
import type { Signal } from '../../../../contract/signals.ts'
import { type Behaviour, CloudWorld } from '../../../fixtures/cloud-world.ts'

const COUNT: Signal = { kind: 'count', name: 'alarms', unit: 'alarms', harm: 'higher', per: 'listening-hour' }
const SHARE: Signal = { kind: 'ratio', name: 'unknown', unit: 'windows', harm: null }
const MEAN: Signal = { kind: 'mean', name: 'confidence', unit: 'permille', harm: 'lower', lowest: 100, step: 5 }
const BINS: Signal = { kind: 'histogram', name: 'score', unit: 'score', harm: null, edges: [1, 2] }
const verdict = (name: string, of: 'confirmed' | 'rejected'): Signal => ({
  ...{ kind: 'count', name, unit: 'wakes', per: 'listening-hour', verdict: of },
  harm: of === 'rejected' ? 'higher' : 'lower',
})
/** The candidate has them elsewhere than the release before: what is compared is the name. */
const BEFORE: readonly PipelineSignals[] = [{ id: 'bearing', signals: [COUNT, SHARE, MEAN] }]
const CANDIDATE: readonly PipelineSignals[] = [
  { id: 'hum', signals: [COUNT] },
  { id: 'bearing', signals: [BINS, MEAN, SHARE, COUNT] },
]
/** alarms; windows, of them unknown; windows, steps of their confidence */
const usual = { alarms: 2, windows: 600, unknown: 60, steps: 12_000 }
const before = ({ alarms, windows, unknown, steps }: typeof usual) => [alarms, windows, unknown, windows, steps]
const candidate = ({ alarms, windows, unknown, steps }: typeof usual) => [
  ...[9, 10, 20, 30, windows, steps, windows, unknown, alarms],
]
const gate = (name: string, more: Partial<SignalPolicy> = {}): SignalPolicy => ({
  ...{ name, alphaRollback: 0.01, alphaAdvance: 0, marginRatio: 1.25, planRatio: 1.5 },
  ...more,
})
const DEFAULTS = DEFAULT_GATE_POLICY.metrics

describe('signals that a bundle declares', () => {
  let dir: string
  let world: CloudWorld
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'kinglet-declared-'))
  })
  afterEach(() => {
    world.store.close()
    rmSync(dir, { recursive: true })
  })
  function prepare(changes: Partial<typeof usual> = {}, more: Partial<Behaviour> = {}, old = BEFORE, pastHours = 12) {
    const wakes = { falseWakes: 2, verified: 10 }
    world = new CloudWorld(join(dir, 'cloud.db'), 11, {
      'kws-1': { ...wakes, numbers: before(usual) },
      'kws-2': { ...wakes, numbers: candidate({ ...usual, ...changes }), ...more },
      'kws-bad': wakes,
    })
    world.addRelease('kws-1', 1, 'production', {}, old)
    world.addRelease('kws-2', 2, 'staging', {}, CANDIDATE)
    world.enrol(160)
    world.hours(pastHours)
  }
  const start = (...metrics: SignalPolicy[]) =>
    world.start('kws-2', [50, 100], {
      ...{ comparison: 'control', minHours: 6, soakHours: 3, covariateHours: 10 },
      metrics: [...DEFAULTS, ...metrics],
    })
  const rollout = () => present(world.store.rollouts.list(1)[0], 'the rollout')
  const reading = () => {
    const { policy } = rollout()
    const input = gatherEvidence(world.store, rollout(), world.clock.wallMs())
    return { policy, input, metrics: new Map(judgeStage(policy, input).metrics.map((each) => [each.name, each])) }
  }

  it('are read by name, whatever their place: rates, shares and means come out as the devices made them', () => {
    prepare({ alarms: 4, unknown: 120, steps: 6_000 })
    expect(start(gate('bearing/unknown', { worse: 'higher', alphaRollback: 0 }))).toMatchObject({ ok: true })
    world.hours(14)
    const { metrics } = reading()
    const of = (name: string) => present(metrics.get(name), name)
    const temper = world.fleet.reduce((sum, device) => sum + device.temper, 0) / world.fleet.length
    expect((of('bearing/alarms').control?.rate ?? 0) / (2 * temper)).toBeCloseTo(1, 0)
    expect(of('bearing/alarms').ratio).toBeGreaterThan(1.6)
    expect(of('bearing/alarms').ratio).toBeLessThan(2.4)
    expect(of('bearing/unknown').control?.rate).toBeCloseTo(0.1, 2)
    expect(of('bearing/unknown').canary?.rate).toBeCloseTo(0.2, 2)
    // Above the lowest: 100 + 5 · 20 is 200 permille, of which 100 are above it.
    expect((of('bearing/confidence').control?.rate ?? 0) / 100).toBeCloseTo(1, 1)
    expect((of('bearing/confidence').canary?.rate ?? 0) / 50).toBeCloseTo(1, 1)
    // What the release before does not have is not read.
    expect([...metrics.keys()].filter((name) => name.includes('/')).sort()).toEqual([
      ...['bearing/alarms', 'bearing/confidence', 'bearing/unknown'],
    ])
  })

  it('that a policy gives no share to are told, and neither end nor hold a rollout', () => {
    prepare({ alarms: 20, steps: 2_000 })
    expect(start()).toMatchObject({ ok: true })
    expect(rollout().policy.metrics.filter(({ name }) => name.includes('/'))).toMatchObject([
      { name: 'bearing/confidence', alphaRollback: 0, alphaAdvance: 0, declared: { worse: 'lower' } },
      { name: 'bearing/alarms', alphaRollback: 0, alphaAdvance: 0, declared: { worse: 'higher' } },
    ])
    world.hours(60, () => rollout().state !== 'running')
    expect(rollout().state).toBe('completed')
  })

  it.each([
    ['bearing/alarms', { alarms: 6 }, {}],
    ['bearing/unknown', { unknown: 150 }, { worse: 'higher' }],
    ['bearing/confidence', { steps: 6_000 }, {}],
  ] as const)('roll back what makes them worse: %s', (name, changes, more) => {
    prepare(changes)
    expect(start(gate(name, more))).toMatchObject({ ok: true })
    world.hours(60, () => rollout().state !== 'running')
    expect(rollout()).toMatchObject({ state: 'rolled-back' })
    expect(rollout().why).toContain(name)
  })

  it.each([
    ['bearing/alarms', { alarms: 1 }, {}],
    ['bearing/unknown', { unknown: 30 }, { worse: 'higher' }],
    ['bearing/confidence', { steps: 18_000 }, {}],
  ] as const)('let pass what makes them better, with the proof that was asked for: %s', (name, changes, more) => {
    prepare(changes)
    expect(start(gate(name, { ...more, alphaAdvance: 0.05 }))).toMatchObject({ ok: true })
    world.hours(60, () => rollout().state !== 'running')
    expect(rollout()).toMatchObject({ state: 'completed' })
  })

  it('can be computed again from what is kept: the policy says what they were', () => {
    prepare({ alarms: 4 })
    start(gate('bearing/alarms'))
    world.hours(6)
    const { policy, input } = reading()
    const again = judgeStage(JSON.parse(JSON.stringify(policy)), JSON.parse(JSON.stringify(input)))
    expect(again).toEqual(judgeStage(policy, input))
    expect(again.metrics.find(({ name }) => name === 'bearing/alarms')?.canary?.events).toBeGreaterThan(100)
  })

  it.each([
    ['bearing/nothing', {}, /no signal "bearing\/nothing" to gate; known: falseWakesPerHour.*bearing\/alarms/],
    ['bearing/score', {}, /bearing\/score is a histogram/],
    ['bearing/unknown', {}, /bearing\/unknown declares no direction that harms: say which/],
    ['bearing/alarms', { worse: 'lower' }, /bearing\/alarms says itself that higher harms/],
    ['energyPerHour', {}, /gates energyPerHour twice/],
    ['hum/alarms', {}, /kws-1 1, which devices run now, does not declare hum\/alarms as kws-2 2 does/],
  ] as const)('are refused where they cannot be gated: %s', (name, more, words) => {
    prepare({}, {}, BEFORE, 2)
    const started = start(gate(name, more))
    expect(started).toMatchObject({ ok: false, error: { code: 'invalid-request' } })
    expect(started.ok ? '' : started.error.detail).toMatch(words)
  })

  it('of another meaning in the release before are nothing to compare with', () => {
    prepare({}, {}, [{ id: 'bearing', signals: [{ ...COUNT, per: 'hour' }, SHARE, { ...MEAN, step: 10 }] }], 2)
    expect(start(gate('bearing/alarms'))).toMatchObject({ ok: false })
    expect(start(gate('bearing/confidence'))).toMatchObject({ ok: false })
    expect(start()).toMatchObject({ ok: true })
    expect(rollout().policy.metrics.filter(({ name }) => name.includes('/'))).toEqual([])
  })

  it('of a fixed signal the direction is fixed', () => {
    prepare({}, {}, BEFORE, 2)
    const [first, ...rest] = DEFAULTS
    const metrics = [{ ...present(first, 'a signal'), worse: 'lower' as const }, ...rest]
    expect(world.start('kws-2', [100], { metrics })).toMatchObject({ ok: false, error: { code: 'invalid-request' } })
  })

  it.each([
    ['two/false', 5, { confirmed: 3, rejected: 5, unjudged: 8 }],
    ['two/true', 3, { confirmed: 3, rejected: 5, unjudged: 8 }],
    ['one/false', 0, { confirmed: 0, rejected: 0, unjudged: 0 }],
  ] as const)(
    'that a verifier feeds are of their own pipeline, and so is what it could judge: %s',
    (name, events, sums) => {
      prepare({}, {}, BEFORE, 0)
      const pipelines = [
        { id: 'one', signals: [verdict('false', 'rejected')] },
        { id: 'two', signals: [verdict('false', 'rejected'), verdict('true', 'confirmed')] },
      ]
      const places = declaredPlaces(pipelines)
      const { signal } = present(places.get(name), 'a place')
      if (signal.kind === 'histogram') throw new Error('not of these')
      const read = present(signalOf({ name, declared: { signal, worse: signal.harm ?? 'higher' } }), 'a signal')
      const hour = {
        ...{
          hour: 1,
          endMs: 7_200_000,
          uptimeMs: 3_600_000,
          listeningMs: 1_800_000,
          activeMs: 0,
          wakes: 16,
          inferences: 0,
          inferenceMs: 0,
        },
        ...{ overruns: 0, energyMj: 0, radioBytes: 0, confirmed: 3, rejected: 5, unjudged: 8, numbers: [] },
        verdicts: new Map([[1, { confirmed: 3, rejected: 5, unjudged: 8 }]]),
      }
      expect(read.ofHour?.(hour, places)).toEqual([events, 0.5])
      expect(read.judged?.(hour, places)).toEqual(sums)
    },
  )

  it.each([
    ['of the only pipeline that wakes anybody are the gate’s own', ['wake'], ['hum/alarms']],
    ['of one of several are none of the gate’s own', ['wake', 'call'], ['wake/false', 'hum/alarms', 'call/false']],
  ])('verdicts %s, and told once', (_, waking, names) => {
    const heads = (each: string): PipelineSignals => ({ id: each, signals: [verdict('false', 'rejected')] })
    const [first, ...others] = waking.map(heads)
    const pipelines = [...(first ? [first] : []), { id: 'hum', signals: [COUNT] }, ...others]
    world = new CloudWorld(join(dir, 'cloud.db'), 11, {})
    const before = world.addRelease('kws-1', 1, 'production', {}, pipelines)
    const candidate = world.addRelease('kws-2', 2, 'staging', {}, pipelines)
    const resolved = resolvePolicy(DEFAULT_GATE_POLICY, candidate, [before])
    const told = resolved.ok ? resolved.value.metrics.map(({ name }) => name) : []
    expect(told.filter((name) => name.includes('/'))).toEqual(names)
  })

  it('verdicts are kept by pipeline, and add up', () => {
    prepare({}, {}, CANDIDATE, 4)
    const rows = world.fleet.slice(0, 1)
    const device = present(rows[0], 'a device')
    const slot = Math.floor((device.atMs - device.startedMs) / 3_600_000) - 2
    world.store.telemetry.ingest(
      {
        ...{ v: 1, gateway: 'gateway-1', reports: [], events: [], aggregates: [] },
        verdicts: [
          { site: 'site-1', device: device.name, boot: 1, model: device.model, slot, confirmed: 1, rejected: 2 },
          ...[{ pipeline: 1, confirmed: 3, rejected: 5, unjudged: 8 }].map((row) => ({
            ...{ site: 'site-1', device: device.name, boot: 1, model: device.model, slot },
            ...row,
          })),
        ],
      },
      () => null,
      world.clock.wallMs(),
    )
    const id = present(world.store.devices.byName(device.name), 'the device').id
    const hours = world.store.outcomes.slots(id, device.model, 0, world.clock.wallMs())
    const hour = present(
      hours.find(({ verdicts }) => verdicts.get(1)?.unjudged === 8),
      'the hour of the verdicts',
    )
    expect(hour.verdicts.get(1)).toEqual({ confirmed: 3, rejected: 5, unjudged: 8 })
    expect(hour.unjudged).toBe(8)
    expect(hour.rejected).toBe(5 + (hour.verdicts.get(0)?.rejected ?? 0))
  })
})
