import type { GatePolicy } from '../store/gate-policy.ts'
import type { GateReading, Verdict } from '../store/gate-reading.ts'
import { exactLogE } from './exact-test.ts'
import type { GateFrame, GateInput } from './gate-input.ts'
import { decided, testAt } from './signal-tests.ts'
import { type Read, readStage, type StageRead } from './stage-read.ts'

/** The gate of a rollout: what the devices with the candidate measured against what the others measured, looked at as often as one
 *  likes. Pure: `kinglet gate eval` computes the same from the inputs that were kept.
 */

/** chosen: share of canaries with data may lag behind the control's by so much, or by what chance makes of it */
const LOST_SHARE = 0.1
const LOST_Z = 3.3

/** Whether canaries without data are too many for chance: the comparison would then be one of those that were left. */
function lostCanaries({ canary: [c, ofC], control: [o, ofO] }: GateReading['counted']): boolean {
  if (ofC === 0 || ofO === 0) return false
  const gap = o / ofO - c / ofC
  const p = (c + o) / (ofC + ofO)
  const error = Math.sqrt(p * (1 - p) * (1 / ofC + 1 / ofO))
  return gap > LOST_SHARE && gap > LOST_Z * error
}

type Reasons = GateReading['reasons']

/** Judges a stage as it stands.
 *  @returns roll back as soon as one test has decided (Σ alpha over them is the false-rollback probability); advance when
 *    every signal that is asked for a proof has given it and the minimum exposure is met; pause at maximum exposure; otherwise hold
 */
export function judgeStage(policy: GatePolicy, input: GateInput): GateReading {
  return judgeRead(policy, input, readStage(policy, input))
}

/** The verdict on what was read, at the time that the frame says. */
export function judgeRead(policy: GatePolicy, input: GateFrame, all: StageRead): GateReading {
  const reads = all.filter(({ advisory }) => !advisory)
  const { started, failed } = input.installs
  const { p0, alpha } = policy.installFailures
  const installs = { ...testAt(exactLogE(Math.min(failed, started), started, p0), alpha), started, failed, p0 }
  const harmful: Reasons = [
    ...(alpha > 0 && decided(installs) ? [{ code: 'installs-failing', metric: 'installFailures' } as const] : []),
    ...reads.flatMap(harmOf),
  ]
  const advice = all.filter(({ advisory }) => advisory).flatMap(harmOf)
  const kind = stageKind(policy, input)
  const hours = hoursOf(policy, input, kind)
  const [verdict, reasons] = byHand(input, choose(policy, input, kind, hours, harmful, reads))
  return {
    ...{ verdict, reasons, comparison: input.comparison, elapsedHours: input.elapsedHours, minHours: hours },
    ...(advice.length > 0 && { advice }),
    maxHours: Math.max(hours, input.maxHours),
    metrics: all.map(({ reading }) => reading),
    ...(input.slices !== undefined && input.slices.length > 0 && { slices: input.slices }),
    installs,
    exposure: { ...input.exposure, minShare: policy.minInstalledShare },
    counted: input.counted,
  }
}

/** Why a signal takes the candidate back, if it does. */
function harmOf({ reading, wholeHarmed, harmed }: Read): Reasons {
  if (!decided(reading.rollback)) return []
  const reason = { code: 'metric-worse', metric: reading.name } as const
  return [...(wholeHarmed ? [reason] : []), ...harmed.map((slice) => ({ ...reason, slice }))]
}

/** A stage that a person ends is ready instead of over. */
const byHand = (
  { manual = false }: GateFrame,
  [verdict, reasons]: readonly [Verdict, Reasons],
): readonly [Verdict, Reasons] =>
  manual && verdict === 'advance' ? ['hold', [{ code: 'waits-for-person' }, ...reasons]] : [verdict, reasons]

/** What a stage is for: `prove` that the candidate is no worse, `watch` for harm since it cannot prove, `soak` at the end. */
type StageKind = 'prove' | 'watch' | 'soak' | 'ungated'

function stageKind(policy: GatePolicy, input: GateFrame): StageKind {
  if (policy.ungated) return 'ungated'
  if (input.isLast && input.stage > 1) return 'soak'
  return input.decides || policy.undecided !== 'auto' ? 'prove' : 'watch'
}

function hoursOf(policy: GatePolicy, input: GateFrame, kind: StageKind): number {
  if (kind === 'soak' || kind === 'ungated') return policy.soakHours
  return input.isLast ? Math.max(policy.minHours, policy.soakHours) : policy.minHours
}

function choose(
  policy: GatePolicy,
  input: GateFrame,
  kind: StageKind,
  hours: number,
  harmful: Reasons,
  reads: readonly Read[],
): readonly [Verdict, Reasons] {
  if (harmful.length > 0) return ['rollback', harmful]
  const { assigned, heard, installed } = input.exposure
  const early: Reasons = input.elapsedHours < hours ? [{ code: 'too-early' }] : []
  // Half of those that were told must have been heard, or what is measured is who could be reached.
  const installs: Reasons =
    2 * heard < assigned || installed < policy.minInstalledShare * heard ? [{ code: 'too-few-installed' }] : []
  const doubts: Reasons = [
    ...(input.comparison === 'control' && kind !== 'soak' && lostCanaries(input.counted)
      ? [{ code: 'lost-canaries' } as const]
      : []),
    ...reads
      .filter(({ suspect, reading }) => suspect && !decided(reading.advance) && kind !== 'ungated')
      .map(({ reading }) => ({ code: 'suspect', metric: reading.name }) as const),
    ...reads.flatMap(
      ({ reading, sliceSuspect }): Reasons =>
        sliceSuspect === null ? [] : [{ code: 'slice-suspect', metric: reading.name, slice: sliceSuspect }],
    ),
  ]
  const unproven: Reasons = reads
    .filter(({ reading }) => reading.advance !== null && !decided(reading.advance))
    .flatMap(
      ({ reading, missing }): Reasons =>
        missing.length > 0
          ? missing.map((code) => ({ code, metric: reading.name }))
          : [{ code: 'undecided', metric: reading.name }],
    )
  const blocking = [...early, ...installs, ...doubts]
  if (kind === 'soak' || kind === 'ungated') {
    if (blocking.length === 0) return ['advance', [{ code: kind === 'soak' ? 'soaked' : 'ungated' }]]
  } else {
    if (blocking.length === 0 && unproven.length === 0) return ['advance', [{ code: 'not-inferior' }]]
    blocking.push(...unproven)
    if (installs.length === 0 && doubts.length === 0) {
      if (kind === 'watch' && input.elapsedHours >= input.watchHours) return ['advance', [{ code: 'watched' }]]
      // A small fleet could wait for ever: no harm was found, nothing is proven, and it goes on under that name.
      const goesOn = policy.undecided === 'advance' || (policy.undecided === 'auto' && input.comparison === 'past')
      if (goesOn && input.elapsedHours >= input.maxHours) {
        return ['advance', [{ code: 'not-proven' }]]
      }
    }
  }
  if (input.elapsedHours >= Math.max(hours, input.maxHours)) {
    return ['pause', [{ code: 'max-exposure' }, ...blocking]]
  }
  return ['hold', blocking]
}
