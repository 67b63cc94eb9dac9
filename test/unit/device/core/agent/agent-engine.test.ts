import { describe, expect, it } from 'vitest'
import type { BundleManifest } from '../../../../../contract/manifest.ts'
import { directorOf } from '../../../../../contract/repository-target.ts'
import type { AgentEffect } from '../../../../../device/core/agent/agent-state.ts'
import { planBoot } from '../../../../../device/core/flash/boot-record.ts'
import { levelMilliwatt } from '../../../../../device/core/power/governor.ts'
import { confirmedRecord, judgeAssignment } from '../../../../../device/core/update/update.ts'
import {
  ACTIVE_SHA,
  codes,
  configSample,
  heardOf,
  ofType,
  PureAgent,
  recordSample,
  wantedRelease,
} from '../../../../fixtures/agent.ts'
import { assignmentBytes, releaseSample } from '../../../../fixtures/documents.ts'
import { pipelineSample } from '../../../../fixtures/manifest.ts'

const error = { code: 'inference-failed', detail: 'run 1' } as const
const BEFORE = { sha256: new Uint8Array(32).fill(7), bytes: 80_000 }
const withBefore = { record: { ...recordSample, images: [recordSample.images[0], BEFORE] as const } }
const fail = (agent: PureAgent, times: number) => {
  for (let i = 0; i < times; i++) agent.after(200, { type: 'engine-failed', error })
}
const levels = (agent: PureAgent) => ofType(agent.all, 'set-level').map(({ level }) => level)
const moves = (effects: readonly AgentEffect[]) =>
  ofType(effects, 'tell-event')
    .filter(({ code }) => code === 'level-changed')
    .map(({ detail }) => detail)
const SECOND = 1_000
/** So many windows due in a stretch, and how many of them were dropped. */
const stretch = (overruns: number, elapsedMs = 60 * SECOND) =>
  heardOf({ windows: 300, openWindows: 300, inferences: 300 - overruns, overruns, elapsedMs, listeningMs: elapsedMs })

describe('an engine that fails', () => {
  it('steps down to the next network, after five stretches in a row and not before', () => {
    const agent = new PureAgent()
    fail(agent, 4)
    agent.send({ type: 'heard', heard: stretch(0) })
    fail(agent, 4)
    expect(levels(agent)).toEqual([])
    fail(agent, 1)
    // "gated" runs the same network as "full".
    expect(levels(agent)).toEqual(['lite'])
    expect(moves(agent.all)).toEqual(['full to lite: the engine fails on full'])
    expect(agent.state.measures.counters.ladderMoves).toBe(1)
  })

  it('a stretch without an inference says nothing of it', () => {
    const agent = new PureAgent()
    fail(agent, 4)
    agent.send({ type: 'heard', heard: heardOf({ windows: 300, openWindows: 0, inferences: 0 }) })
    fail(agent, 1)
    expect(levels(agent)).toEqual(['lite'])
  })

  it('is not brought back by the governor, however full the battery is', () => {
    const power = { capacityMj: 1e9, horizonMs: 1_700_000_000_000 + 100 * 3_600_000 }
    const agent = new PureAgent({ batteryMj: 1e9 }, { power })
    fail(agent, 5)
    expect(levels(agent)).toEqual(['lite'])
    for (let hour = 0; hour < 10; hour++) agent.after(3_600_000)
    expect(levels(agent)).toEqual(['lite'])
  })

  it('on every level reverts: the image before goes on trial, and the failing one is not what an assignment brings back', () => {
    const agent = new PureAgent(withBefore)
    fail(agent, 10)
    const [written] = ofType(agent.all, 'write-record')
    expect(written!.record).toMatchObject({ active: 0, phase: 'pending', failedSha256: ACTIVE_SHA, failures: 2 })
    expect(ofType(agent.all, 'reboot')).toHaveLength(1)
    const plan = planBoot(written!.record, () => true)
    expect(plan.ok && [plan.value.slot, plan.value.outcome]).toEqual([1, 'trial'])
    const confirmed = confirmedRecord(plan.ok ? plan.value.record : recordSample, 0)
    expect(confirmed).toMatchObject({ active: 1, failedSha256: ACTIVE_SHA, failures: 2 })
    const { device, site, board } = configSample
    const release = { ...releaseSample, sha256: Buffer.from(ACTIVE_SHA).toString('hex') }
    const again = assignmentBytes({ seq: 9, release })
    const director = directorOf(agent.state.repository.trust.files.root)
    const judged = judgeAssignment(again, { device, site, board: board.name, director, nowMs: 0 }, confirmed)
    expect(judged.ok ? judged.value.kind : judged.error.code).toBe('penalized')
  })

  it.each([
    ['no image before it', {}],
    [
      'one before it that failed as well',
      { record: { ...withBefore.record, failedSha256: BEFORE.sha256, failures: 1 } },
    ],
  ])('on every level, with %s, goes on as far as it can', (_what, boot) => {
    const agent = new PureAgent(boot)
    fail(agent, 100)
    expect(ofType(agent.all, 'reboot')).toEqual([])
    expect(ofType(agent.all, 'write-record')).toEqual([])
    expect(levels(agent)).toEqual(['lite'])
  })
})

describe('a level that was measured to hear next to nothing', () => {
  const measures = { words: 40, hours: 1, falseWakes: 0, ramBytes: 1, millijoulePerHour: 1, board: 'xG24' }
  const manifest: BundleManifest = {
    ...pipelineSample,
    ladder: pipelineSample.ladder.map((step) => ({
      ...step,
      measured: [{ ...measures, heard: step.level === 'lite' || step.level === 'gated' ? 9 : 30 }],
    })),
  }

  it('is passed over when a network fails, and the next that hears is taken', () => {
    const agent = new PureAgent({ manifest })
    fail(agent, 5)
    expect(levels(agent)).toEqual(['sparse'])
  })

  it('is not what the governor goes to, whatever it would save', () => {
    // A battery for a good deal less than "full", and far more than "sparse".
    const full = levelMilliwatt(manifest, configSample.board, manifest.ladder[0]!, 0.1)
    const hours = 1_000
    const capacityMj = 0.7 * full * hours * 3_600
    const power = { capacityMj, horizonMs: 1_700_000_000_000 + hours * 3_600_000 }
    const governed = (of: BundleManifest) =>
      levels(new PureAgent({ manifest: of, batteryMj: capacityMj }, { power })).at(-1)
    expect(governed(manifest)).toBe('sparse')
    expect(governed(pipelineSample)).not.toBe('sparse')
  })
})

describe('an engine that is too slow', () => {
  it('steps down level by level, and reverts from the last', () => {
    const agent = new PureAgent(withBefore)
    for (let i = 0; i < 2; i++) agent.after(60 * SECOND, { type: 'heard', heard: stretch(290) })
    expect(levels(agent)).toEqual(['gated'])
    expect(codes(agent.all)).toContain('engine-failed: latency-over-budget')
    expect(moves(agent.all)).toEqual(['full to gated: too slow'])
    for (let i = 0; i < 6; i++) agent.after(60 * SECOND, { type: 'heard', heard: stretch(290) })
    expect(levels(agent)).toEqual(['gated', 'lite', 'sparse'])
    expect(ofType(agent.all, 'reboot')).toHaveLength(1)
  })

  it('on its last level while an update is under way reverts when that has ended without another image', () => {
    const agent = new PureAgent(withBefore)
    const update = {
      phase: 'checking',
      release: wantedRelease,
      slot: 1,
      artifact: null,
      deadlineMs: 1e12,
    } as const
    agent.state = { ...agent.state, update }
    for (let i = 0; i < 12; i++) agent.after(60 * SECOND, { type: 'heard', heard: stretch(290) })
    expect(levels(agent)).toEqual(['gated', 'lite', 'sparse'])
    expect(ofType(agent.all, 'reboot')).toEqual([])
    agent.state = { ...agent.state, update: { phase: 'idle' } }
    for (let i = 0; i < 2; i++) agent.after(60 * SECOND, { type: 'heard', heard: stretch(290) })
    expect(ofType(agent.all, 'reboot')).toHaveLength(1)
  })

  it('now and then keeps its level: a third of the windows dropped, or all of a few seconds', () => {
    const agent = new PureAgent(withBefore)
    for (let i = 0; i < 60; i++) agent.after(60 * SECOND, { type: 'heard', heard: stretch(100) })
    agent.after(10 * SECOND, { type: 'heard', heard: stretch(300, 10 * SECOND) })
    expect(levels(agent)).toEqual([])
  })

  it('on trial has lost its trial', () => {
    const record = { ...withBefore.record, phase: 'running' as const }
    const agent = new PureAgent({ record, slot: 1, outcome: 'trial' })
    for (let i = 0; i < 2; i++) agent.after(60 * SECOND, { type: 'heard', heard: stretch(290) })
    expect(ofType(agent.all, 'reboot')).toHaveLength(1)
    expect(levels(agent)).toEqual([])
  })
})
