import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bucketOf, isExposed } from '../../../../cloud/rollout/cohort.ts'
import type { Spell } from '../../../../cloud/rollout/first-event.ts'
import { judgeStage } from '../../../../cloud/rollout/gate.ts'
import { DEFAULT_GATE_POLICY } from '../../../../cloud/rollout/gate-defaults.ts'
import type { GateInput, SignalInput } from '../../../../cloud/rollout/gate-input.ts'
import { gateWords } from '../../../../cloud/rollout/gate-words.ts'
import { planRollout } from '../../../../cloud/rollout/planner.ts'

const arm = (devices: number, y: number, x = 30) =>
  Array.from({ length: devices }, (_, i) => ({ y: y + (i % 3) - 1, x }))

const NOTHING: SignalInput = { batch: null, later: null, spells: [], frozen: [], frozenLater: [] }
const spells = (arm: Spell['arm'], devices: number, withEvent: number): Spell[] =>
  Array.from({ length: devices }, (_, i) => ({ arm, from: 0, to: 30, event: i < withEvent ? i % 20 : null }))

interface Changes extends Partial<Omit<GateInput, 'signals'>> {
  canaryFalse?: number
  canaryVerified?: number
  devices?: number
  signals?: Record<string, Partial<SignalInput>>
}

function input(changes: Changes = {}): GateInput {
  const { canaryFalse = 10, canaryVerified = 30, devices = 60, signals = {}, ...rest } = changes
  const all: Record<string, Partial<SignalInput>> = {
    falseWakesPerHour: { batch: { canary: arm(devices, canaryFalse), control: arm(180, 10) } },
    verifiedWakesPerHour: { batch: { canary: arm(devices, canaryVerified), control: arm(180, 30) } },
    ...signals,
  }
  return {
    ...{
      stage: 1,
      isLast: false,
      comparison: 'control',
      decides: true,
      elapsedHours: 30,
      watchHours: 96,
      maxHours: 168,
    },
    signals: Object.fromEntries(Object.entries(all).map(([name, some]) => [name, { ...NOTHING, ...some }])),
    installs: { started: devices, failed: 0 },
    exposure: { assigned: devices, heard: devices, installed: devices, silent: 0 },
    counted: { canary: [devices, devices], control: [180, 180] },
    ...rest,
  }
}
const RUNNING = { state: 'running' as const, percents: [20, 50, 100], stage: 1, policy: { advisory: false } }
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
    expect(gateWords(reading)).toMatch(/^Roll back: false wakes per hour: worse than the margin allows\. False wakes/)
  })
  it('does not let a deaf model pass', () => {
    expect(judge(input({ canaryFalse: 1, canaryVerified: 3 })).verdict).toBe('rollback')
  })
  it('has one margin: harm within it never withdraws however sure, harm beyond it does', () => {
    // A fifth more, beyond any chance: within the margin of 1.25.
    const fifth = judge(input({ canaryFalse: 12.4 }))
    expect(fifth.metrics[0]!.interval![0]).toBeGreaterThan(1.1)
    expect(fifth.verdict).not.toBe('rollback')
    expect(judge(input({ canaryFalse: 15 })).verdict).toBe('rollback')
    expect(judge(input({ canaryFalse: 5, canaryVerified: 27 })).verdict).toBe('advance')
    expect(judge(input({ canaryFalse: 5, canaryVerified: 20 })).verdict).toBe('rollback')
    const strict = DEFAULT_GATE_POLICY.metrics.map((metric) => ({ ...metric, marginRatio: 1 }))
    expect(judgeStage({ ...DEFAULT_GATE_POLICY, metrics: strict }, input({ canaryFalse: 12.4 })).verdict).toBe(
      'rollback',
    )
  })
  it('speaks of a model that never wakes and of one that never errs, without a minimum of events', () => {
    const deaf = input({
      signals: {
        verifiedWakesPerHour: {
          batch: { canary: arm(40, 0).map(({ x }) => ({ y: 0, x })), control: arm(160, 190) },
          spells: [...spells('canary', 40, 0), ...spells('control', 160, 155)],
        },
      },
    })
    expect(judge({ ...deaf, elapsedHours: 4 }).reasons).toEqual([
      { code: 'metric-worse', metric: 'verifiedWakesPerHour' },
    ])
    const silent = input({
      signals: {
        falseWakesPerHour: {
          batch: { canary: arm(48, 0).map(({ x }) => ({ y: 0, x })), control: arm(192, 10) },
          spells: [...spells('canary', 48, 0), ...spells('control', 192, 180)],
        },
      },
    })
    expect(judge(silent)).toMatchObject({ verdict: 'advance', reasons: [{ code: 'not-inferior' }] })
  })
  it('withdraws what makes devices fall silent, and not for the silence that both arms share', () => {
    const contact = (canary: number, control: number) =>
      judge(
        input({
          signals: { contact: { spells: [...spells('canary', 100, canary), ...spells('control', 1900, control)] } },
        }),
      )
    expect(contact(10, 0).reasons).toEqual([{ code: 'metric-worse', metric: 'contact' }])
    expect(contact(20, 380).verdict).toBe('advance')
  })
  it('withdraws what costs energy or listens less, whatever its wakes say', () => {
    const amount = (canary: number) => ({
      batch: { canary: arm(60, canary * 100, 30), control: arm(180, 3_000, 30) },
    })
    expect(judge(input({ signals: { energyPerHour: amount(90) } })).reasons).toEqual([
      { code: 'metric-worse', metric: 'energyPerHour' },
    ])
    expect(judge(input({ signals: { listeningShare: amount(3) } })).reasons).toEqual([
      { code: 'metric-worse', metric: 'listeningShare' },
    ])
    expect(judge(input({ signals: { energyPerHour: amount(33) } })).verdict).toBe('advance')
  })
  it('does not advance on those that are left when canaries without data are too many', () => {
    expect(codes(input({ counted: { canary: [36, 60], control: [178, 180] } }))).toEqual(['lost-canaries'])
    expect(judge(input({ counted: { canary: [57, 60], control: [178, 180] } })).verdict).toBe('advance')
  })
  it('holds while too early, with few devices, or with few installs, and says which', () => {
    expect(codes(input({ elapsedHours: 23 }))).toEqual(['too-early'])
    expect(codes(input({ devices: 20 }))).toContain('too-few-devices')
    const exposure = { assigned: 60, heard: 60, installed: 40, silent: 0 }
    expect(codes(input({ exposure }))).toEqual(['too-few-installed'])
    // Who was not heard since is no failure to install, as long as half were.
    expect(codes(input({ exposure: { ...exposure, heard: 40 } }))).toEqual(['not-inferior'])
    expect(codes(input({ exposure: { ...exposure, heard: 20, installed: 20 } }))).toEqual(['too-few-installed'])
    const little = { canary: arm(60, 1, 3), control: arm(180, 1, 3) }
    const signals = { falseWakesPerHour: { batch: little }, verifiedWakesPerHour: { batch: little } }
    expect(codes(input({ signals }))).toEqual(['undecided', 'undecided'])
  })
  it('does not roll back on a batch below the minima: its variance means nothing yet', () => {
    expect(judge(input({ devices: 12, canaryFalse: 40 })).verdict).toBe('hold')
  })
  it('pauses at the longest exposure', () => {
    expect(codes(input({ devices: 20, elapsedHours: 168 }))[0]).toBe('max-exposure')
    expect(judge(input({ devices: 20, elapsedHours: 168 })).verdict).toBe('pause')
  })
  it('adds evidence over batches and never their counts', () => {
    const [alone] = judge(input()).metrics
    const batch = { canary: arm(60, 10), control: arm(180, 10) }
    const frozen = [{ d: 0.1, variance: 0.02 }]
    const [summed] = judge(input({ signals: { falseWakesPerHour: { batch, frozen } } })).metrics
    expect(summed!.information).toBeCloseTo(alone!.information + 50, 9)
    expect(summed!.running).toEqual(alone!.running)
  })
  it('soaks the last stage, still against those that were held back', () => {
    const last = { stage: 3, isLast: true }
    expect(codes(input({ ...last, elapsedHours: 10 }))).toEqual(['too-early'])
    expect(judge(input({ ...last, elapsedHours: 24 }))).toMatchObject({
      verdict: 'advance',
      reasons: [{ code: 'soaked' }],
    })
    expect(judge(input({ ...last, installs: { started: 100, failed: 12 } })).verdict).toBe('rollback')
    const later = { canary: arm(200, 50), control: arm(30, 10) }
    expect(judge(input({ ...last, signals: { falseWakesPerHour: { later } } })).reasons).toEqual([
      { code: 'metric-worse', metric: 'falseWakesPerHour' },
    ])
  })
  it('a first stage of everybody has to prove itself', () => {
    const all = { stage: 1, isLast: true }
    expect(codes(input({ ...all, devices: 20 }))).toContain('too-few-devices')
    expect(judge(input(all)).reasons).toEqual([{ code: 'not-inferior' }])
  })
  it('a stage that is too small to prove anything watches and says so; what it could not prove it does not claim', () => {
    const small = { devices: 12, decides: false }
    expect(judge(input({ ...small, elapsedHours: 90 })).verdict).toBe('hold')
    expect(judge(input({ ...small, elapsedHours: 96 }))).toMatchObject({
      verdict: 'advance',
      reasons: [{ code: 'watched' }],
    })
    const pause = { ...DEFAULT_GATE_POLICY, undecided: 'pause' as const }
    expect(judgeStage(pause, input({ ...small, elapsedHours: 168 })).verdict).toBe('pause')
    const on = { ...DEFAULT_GATE_POLICY, undecided: 'advance' as const }
    expect(judgeStage(on, input({ ...small, elapsedHours: 168 }))).toMatchObject({
      verdict: 'advance',
      reasons: [{ code: 'not-proven' }],
    })
  })
  it('a stage that a person ends waits when it is ready, goes back when it harms, and pauses where nothing is certain', () => {
    const manual = { manual: true }
    const ready = judge(input(manual))
    expect(ready).toMatchObject({ verdict: 'hold', reasons: [{ code: 'waits-for-person' }, { code: 'not-inferior' }] })
    expect(gateWords(ready)).toMatch(/^Hold: ready to go on; a person must end this stage \(kinglet rollout advance\)/)
    expect(planRollout({ ...RUNNING, percents: [20, 100] }, ready)).toEqual([])
    expect(judge(input({ ...manual, elapsedHours: 500 })).verdict).toBe('hold')
    expect(judge(input({ ...manual, canaryFalse: 30 })).verdict).toBe('rollback')
    expect(judge(input({ ...manual, devices: 20, elapsedHours: 168 })).verdict).toBe('pause')
  })
  it('an advisory signal is told, and neither ends nor holds', () => {
    const advisory = DEFAULT_GATE_POLICY.metrics.map((metric) =>
      metric.name === 'verifiedWakesPerHour' ? { ...metric, advisory: true } : metric,
    )
    const policy = { ...DEFAULT_GATE_POLICY, metrics: advisory }
    const deaf = input({ canaryFalse: 5, canaryVerified: 3 })
    const reading = judgeStage(policy, deaf)
    expect(judge(deaf).verdict).toBe('rollback')
    expect(reading).toMatchObject({ verdict: 'advance', reasons: [{ code: 'not-inferior' }] })
    expect(reading.advice).toEqual([{ code: 'metric-worse', metric: 'verifiedWakesPerHour' }])
    expect(reading.metrics.find(({ name }) => name === 'verifiedWakesPerHour')?.rollback?.alpha).toBe(0.008)
    expect(gateWords(reading)).toMatch(
      /Advisory, nothing acts on it: verified wakes per hour: worse than the margin allows\.$/,
    )
  })
  it('an ungated rollout is called so, and still ends where installs fail', () => {
    const ungated = { ...DEFAULT_GATE_POLICY, ungated: true }
    const none = { comparison: 'none' as const, canaryFalse: 100 }
    expect(judgeStage(ungated, input(none))).toMatchObject({ verdict: 'advance', reasons: [{ code: 'ungated' }] })
    expect(judgeStage(ungated, input({ ...none, installs: { started: 60, failed: 12 } })).verdict).toBe('rollback')
  })
})

describe('slices of the fleet', () => {
  const SLICES = [
    { by: 'board' as const, value: 'a', devices: 200, weight: 0.1 },
    { by: 'board' as const, value: 'b', devices: 40, weight: 0.1 },
  ]
  /** Devices of two boards; those of b have so many false wakes among the canaries. */
  const sliced = (ofB: number, canariesOfB = 15, changes: Changes = {}): GateInput => ({
    ...input({
      ...changes,
      signals: {
        falseWakesPerHour: {
          batch: {
            canary: [
              ...arm(100, 10).map((each) => ({ ...each, slices: [0] })),
              ...arm(canariesOfB, ofB).map((each) => ({ ...each, slices: [1] })),
            ],
            control: [
              ...arm(150, 10).map((each) => ({ ...each, slices: [0] })),
              ...arm(24, 10).map((each) => ({ ...each, slices: [1] })),
            ],
          },
        },
      },
    }),
    slices: SLICES,
  })
  const falseWakes = (value: GateInput) => judge(value).metrics[0]!

  it('share the error probability with the whole: weights of one, a mean of e-values', () => {
    const { parts, rollback, slices } = falseWakes(sliced(14))
    expect(parts.map(({ kind, weight }) => [kind, weight])).toEqual([
      ['ratio', 0.4],
      ['later', 0.2],
      ['first', 0.2],
      ['slices', 0.2],
    ])
    const whole = parts.filter(({ kind }) => kind !== 'slices')
    const e =
      whole.reduce((sum, { weight, logE }) => sum + weight * Math.exp(logE), 0) +
      SLICES.reduce((sum, { weight }, i) => sum + weight * Math.exp(slices![i]!.logE), 0)
    expect(rollback!.logE).toBeCloseTo(Math.log(e), 9)
    expect(rollback!.threshold).toBeCloseTo(Math.log(1 / 0.015), 9)
  })

  it('are compared each by its own devices, with a variance for few: Student’s', () => {
    const [, b] = falseWakes(sliced(40)).slices!
    expect(b).toMatchObject({ canary: { devices: 15, events: 600 }, control: { devices: 24, events: 240 } })
    const alone = judge(
      input({ signals: { falseWakesPerHour: { batch: { canary: arm(39, 40), control: arm(39, 10) } } } }),
    )
    // The whole of as many devices has the normal one.
    expect(alone.metrics[0]!.running!.variance).toBeCloseTo(1 / 1560.5 + 1 / 390.5, 9)
    const normal = 1 / 600.5 + 1 / 240.5
    const distance = (Math.log(600.5 / 450 / (240.5 / 720)) - Math.log(1.25)) ** 2 / normal
    const wallace = (113 / 115) ** 2 * 14 * Math.log1p(distance / 14)
    expect(b!.running!.variance).toBeCloseTo((normal * distance) / wallace, 9)
    expect(b!.ratio).toBeCloseTo(600.5 / 450 / (240.5 / 720), 9)
    // Fewer than ten in an arm say nothing by their rates.
    expect(falseWakes(sliced(40, 9)).slices![1]).toMatchObject({ ratio: null, running: null })
  })

  it('are named where they harm, in words and reasons; the whole only where it does', () => {
    const reading = judge(sliced(40))
    expect(reading.reasons).toEqual([
      { code: 'metric-worse', metric: 'falseWakesPerHour', slice: { by: 'board', value: 'b' } },
    ])
    expect(gateWords(reading)).toMatch(
      /^Roll back: false wakes per hour in board b: worse than the margin allows\. .*; board b 1\.33 against 0\.334, ratio 4, 15 canaries; /,
    )
    expect(judge({ ...sliced(40), slices: [] }).verdict).not.toBe('rollback')
    // All of them worse: it is no board's fault.
    const everywhere = sliced(30)
    const { batch } = everywhere.signals.falseWakesPerHour!
    const canary = batch!.canary.map((each) => ({ ...each, y: 30 }))
    const all = { ...everywhere.signals, falseWakesPerHour: { ...NOTHING, batch: { ...batch!, canary } } }
    expect(judge({ ...everywhere, signals: all }).reasons).toEqual([
      { code: 'metric-worse', metric: 'falseWakesPerHour' },
    ])
  })

  it('hold an advance where one looks worse than chance makes the worst of so many', () => {
    const looks = Array.from({ length: 30 }, (_, i) => judge(sliced(12 + i)))
    const suspect = looks.find(({ reasons }) => reasons.some(({ code }) => code === 'slice-suspect'))
    expect(suspect).toMatchObject({
      verdict: 'hold',
      reasons: [{ code: 'slice-suspect', metric: 'falseWakesPerHour', slice: { by: 'board', value: 'b' } }],
    })
    expect(judge(sliced(12))).toMatchObject({ verdict: 'advance' })
  })

  it('have what stages froze of them, which is added as that of the whole is', () => {
    const later = sliced(10)
    const frozen = [{ slice: 1, stage: 1, batch: { d: 1.2, variance: 0.02 }, later: 0 }]
    const signals = {
      ...later.signals,
      falseWakesPerHour: { ...later.signals.falseWakesPerHour!, frozenSlices: frozen },
    }
    const [a, b] = falseWakes({ ...later, stage: 2, signals }).slices!
    expect(a!.ratio).toBeCloseTo(falseWakes(later).slices![0]!.ratio!, 9)
    expect(b!.ratio).toBeGreaterThan(1.5)
    expect(b!.logE).toBeGreaterThan(falseWakes(later).slices![1]!.logE)
  })

  it('are left out of a comparison with the past, where a site may have changed by itself', () => {
    const past = judge({ ...sliced(40), comparison: 'past' as const })
    expect(past.metrics[0]!.slices).toBeUndefined()
    expect(past.metrics[0]!.parts.map(({ weight }) => weight)).toEqual([1])
  })
})

describe('the planner', () => {
  const running = RUNNING
  it('begins, advances with frozen evidence, completes, withdraws, pauses', () => {
    expect(planRollout({ ...running, stage: 0 }, null)).toEqual([{ kind: 'begin-stage', stage: 1, percent: 20 }])
    const [end, begin] = planRollout(running, judge(input()))
    expect(end).toMatchObject({ kind: 'end-stage', stage: 1 })
    const frozen = end!.kind === 'end-stage' ? end!.freeze.filter(({ batch }) => batch !== null) : []
    expect(frozen.map(({ signal }) => signal)).toEqual(['falseWakesPerHour', 'verifiedWakesPerHour'])
    expect(begin).toEqual({ kind: 'begin-stage', stage: 2, percent: 50 })
    expect(
      planRollout({ ...running, stage: 3 }, judge(input({ stage: 3, isLast: true }))).map(({ kind }) => kind),
    ).toEqual(['end-stage', 'complete'])
    expect(planRollout(running, judge(input({ canaryFalse: 30 })))).toEqual([{ kind: 'withdraw' }])
    expect(planRollout(running, judge(input({ devices: 20, elapsedHours: 168 })))).toEqual([{ kind: 'pause' }])
    expect(planRollout(running, judge(input({ elapsedHours: 2 })))).toEqual([])
  })
  it('while paused does nothing but withdraw from harm; once ended, nothing', () => {
    const paused = { ...running, state: 'paused' as const }
    expect(planRollout(paused, judge(input()))).toEqual([])
    expect(planRollout(paused, judge(input({ canaryFalse: 30 })))).toEqual([{ kind: 'withdraw' }])
    const advisory = { ...running, policy: { advisory: true } }
    expect(planRollout(advisory, judge(input({ canaryFalse: 30 })))).toEqual([])
    expect(planRollout(advisory, judge(input()))).toEqual([])
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
