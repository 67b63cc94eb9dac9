import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bucketOf, isExposed } from '../../../../cloud/rollout/cohort.ts'
import { type GateInput, judgeStage } from '../../../../cloud/rollout/gate.ts'
import { DEFAULT_GATE_POLICY } from '../../../../cloud/rollout/gate-defaults.ts'
import { gateWords } from '../../../../cloud/rollout/gate-words.ts'
import { planRollout } from '../../../../cloud/rollout/planner.ts'

const arm = (devices: number, y: number, x = 30) =>
  Array.from({ length: devices }, (_, i) => ({ y: y + (i % 3) - 1, x }))

function input(
  changes: Partial<GateInput> & { canaryFalse?: number; canaryVerified?: number; devices?: number } = {},
): GateInput {
  const { canaryFalse = 10, canaryVerified = 30, devices = 60, ...rest } = changes
  return {
    elapsedHours: 30,
    maxHours: 168,
    frozen: { falseWakesPerHour: [], verifiedWakesPerHour: [] },
    current: {
      falseWakesPerHour: { canary: arm(devices, canaryFalse), control: arm(180, 10) },
      verifiedWakesPerHour: { canary: arm(devices, canaryVerified), control: arm(180, 30) },
    },
    installs: { started: devices, failed: 0 },
    exposure: { assigned: devices, installed: devices },
    ...rest,
  }
}
const judge = (value: GateInput) => judgeStage(DEFAULT_GATE_POLICY, value)
const codes = (value: GateInput) => judge(value).reasons.map(({ code }) => code)

describe('the gate decides', () => {
  it('advances when nothing is worse and the exposure is enough', () => {
    expect(judge(input())).toMatchObject({ verdict: 'advance', reasons: [{ code: 'not-inferior' }] })
  })
  it('rolls back at once when false wakes rise, however early', () => {
    const reading = judge(input({ canaryFalse: 30, elapsedHours: 3 }))
    expect(reading).toMatchObject({
      verdict: 'rollback',
      reasons: [{ code: 'metric-worse', metric: 'falseWakesPerHour' }],
    })
    expect(gateWords(reading)).toMatch(/^Roll back: false wakes per hour: worse than in the control arm\. False wakes/)
  })
  it('does not let a deaf model pass', () => {
    expect(judge(input({ canaryFalse: 1, canaryVerified: 3 })).verdict).toBe('rollback')
  })
  it('tolerates as little fewer verified wakes as it would let through, and not a step more', () => {
    // A tenth fewer, beyond any chance: the price of fewer false wakes, within the margin of 1.25.
    const tenth = judge(input({ canaryFalse: 5, canaryVerified: 27 }))
    expect(tenth.metrics[1]!.rollback!.logE).toBeGreaterThan(tenth.metrics[1]!.rollback!.threshold)
    expect(tenth.verdict).toBe('advance')
    expect(judge(input({ canaryFalse: 5, canaryVerified: 20 })).verdict).toBe('rollback')
    // False wakes have no such tolerance: a rise beyond chance is what the rollout is gated on.
    expect(judge(input({ canaryFalse: 11.5 })).verdict).toBe('rollback')
    const strict = DEFAULT_GATE_POLICY.metrics.map((metric) => ({ ...metric, toleranceRatio: 1 }))
    const same = input({ canaryFalse: 5, canaryVerified: 27 })
    expect(judgeStage({ ...DEFAULT_GATE_POLICY, metrics: strict }, same).verdict).toBe('rollback')
  })
  it('holds while too early, with few devices, or with few installs, and says which', () => {
    expect(codes(input({ elapsedHours: 23 }))).toEqual(['too-early'])
    expect(codes(input({ devices: 20 }))).toContain('too-few-devices')
    expect(codes(input({ exposure: { assigned: 60, installed: 40 } }))).toEqual(['too-few-installed'])
    const little = { canary: arm(60, 1, 3), control: arm(180, 1, 3) }
    const current = { falseWakesPerHour: little, verifiedWakesPerHour: little }
    expect(codes(input({ current }))).toEqual(['undecided', 'undecided'])
  })
  it('does not roll back on a batch below the minima: its variance means nothing yet', () => {
    expect(judge(input({ devices: 12, canaryFalse: 40 })).verdict).toBe('hold')
  })
  it('pauses at the longest exposure', () => {
    expect(codes(input({ devices: 20, elapsedHours: 168 }))[0]).toBe('max-exposure')
    expect(judge(input({ devices: 20, elapsedHours: 168 })).verdict).toBe('pause')
  })
  it('adds evidence over batches and never their counts', () => {
    const frozen = { falseWakesPerHour: [{ d: 0.1, variance: 0.02 }], verifiedWakesPerHour: [{ d: 0, variance: 0.01 }] }
    const [alone] = judge(input()).metrics
    const [summed] = judge(input({ frozen })).metrics
    expect(summed!.information).toBeCloseTo(alone!.information + 50, 9)
    expect(summed!.running).toEqual(alone!.running)
  })
  it('soaks the last stage without a control arm', () => {
    expect(codes(input({ current: null, elapsedHours: 10 }))).toEqual(['too-early'])
    expect(judge(input({ current: null, elapsedHours: 24 }))).toMatchObject({
      verdict: 'advance',
      reasons: [{ code: 'soaked' }],
    })
    expect(judge(input({ current: null, installs: { started: 100, failed: 12 } })).verdict).toBe('rollback')
  })
})

describe('the planner', () => {
  const running = { state: 'running' as const, percents: [20, 50, 100], stage: 1 }
  it('begins, advances with frozen evidence, completes, withdraws, pauses', () => {
    expect(planRollout({ ...running, stage: 0 }, null)).toEqual([{ kind: 'begin-stage', stage: 1, percent: 20 }])
    const [end, begin] = planRollout(running, judge(input()))
    expect(end).toMatchObject({ kind: 'end-stage', stage: 1 })
    expect(end!.kind === 'end-stage' && end!.freeze.map(({ metric }) => metric)).toEqual([
      'falseWakesPerHour',
      'verifiedWakesPerHour',
    ])
    expect(begin).toEqual({ kind: 'begin-stage', stage: 2, percent: 50 })
    expect(planRollout({ ...running, stage: 3 }, judge(input({ current: null }))).map(({ kind }) => kind)).toEqual([
      'end-stage',
      'complete',
    ])
    expect(planRollout(running, judge(input({ canaryFalse: 30 })))).toEqual([{ kind: 'withdraw' }])
    expect(planRollout(running, judge(input({ devices: 20, elapsedHours: 168 })))).toEqual([{ kind: 'pause' }])
    expect(planRollout(running, judge(input({ elapsedHours: 2 })))).toEqual([])
  })
  it('while paused does nothing but withdraw from harm; once ended, nothing', () => {
    const paused = { ...running, state: 'paused' as const }
    expect(planRollout(paused, judge(input()))).toEqual([])
    expect(planRollout(paused, judge(input({ canaryFalse: 30 })))).toEqual([{ kind: 'withdraw' }])
    expect(planRollout({ ...running, state: 'completed' }, judge(input({ canaryFalse: 30 })))).toEqual([])
  })
})

describe('cohorts', () => {
  it('are uniform, monotone in the percentage, and differ between salts', () => {
    const ids = Array.from({ length: 4_000 }, (_, i) => `device-${i}`)
    const share = ids.filter((id) => isExposed(bucketOf('salt', id), 20)).length / ids.length
    expect(Math.abs(share - 0.2)).toBeLessThan(0.02)
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.nat(100), fc.nat(100), (salt, id, a, b) => {
        const bucket = bucketOf(salt, id)
        return !isExposed(bucket, Math.min(a, b)) || isExposed(bucket, Math.max(a, b))
      }),
      { seed: 1, numRuns: 200 },
    )
    const both = ids.filter((id) => isExposed(bucketOf('a', id), 20) && isExposed(bucketOf('b', id), 20)).length
    expect(Math.abs(both / ids.length - 0.04)).toBeLessThan(0.015)
  })
})
