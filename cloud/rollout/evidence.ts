import { present } from '../../contract/present.ts'
import type { RolloutDevice, RolloutRecord } from '../store/rollout-store.ts'
import type { Store } from '../store/store.ts'
import { HOUR_MS, hourStartMs } from '../store/telemetry-store.ts'
import type { GateInput } from './gate.ts'
import type { DeviceOutcome } from './log-ratio.ts'

/** chosen: reports and verdicts of an hour may take this long to arrive; a window ends that much in the past */
const SETTLE_MS = 15 * 60_000
/** chosen: a device with less listening than this says nothing yet and is not counted in its arm */
const LISTENING_HOURS_MIN = 1

const ceilHour = (ms: number): number => Math.ceil(ms / HOUR_MS) * HOUR_MS

/** When the comparison of a stage begins: the first full hour by which half of its canaries run the candidate. Both arms are
 *  counted from there, so that they see the same hours of the day; it depends on installs, never on outcomes.
 *  @returns undefined until half have installed
 */
function comparisonStart(
  store: Store,
  canary: readonly RolloutDevice[],
  model: string,
  stageMs: number,
): number | undefined {
  const starts: number[] = []
  for (const { device } of canary) {
    const start = store.outcomes.firstStart(device, model, stageMs)
    if (start !== undefined) starts.push(start)
  }
  if (canary.length === 0 || 2 * starts.length < canary.length) return undefined
  starts.sort((a, b) => a - b)
  return ceilHour(present(starts[Math.ceil(canary.length / 2) - 1], 'the start of half of the canaries'))
}

/** Whether the device may count as running the model: by its own signed word if it has a key. A device without one is taken at its
 *  reports, which a gateway could make up. */
function mayRun(store: Store, device: number, model: string): boolean {
  const { identities } = store
  return identities.keysOf(device).length === 0 || identities.attestedRun(device)?.model === model
}

/** Collects what the gate needs for the running stage. */
export function gatherEvidence(store: Store, rollout: RolloutRecord, nowMs: number): GateInput {
  const { rollouts, models, outcomes } = store
  const candidate = present(models.byId(rollout.release), 'the release of a rollout').prefix
  const previous = present(models.byId(rollout.previous), 'the release before a rollout').prefix
  const devices = rollouts.devices(rollout.id)
  const counted = devices.filter(({ late }) => !late)
  const canary = counted.filter(({ stage, device }) => stage === rollout.stage && mayRun(store, device, candidate))
  const control = counted.filter(({ stage }) => stage === null)
  const start = comparisonStart(store, canary, candidate, rollout.stageStartedMs)
  const end = hourStartMs(nowMs - SETTLE_MS)

  const arm = (members: readonly RolloutDevice[], model: string) => {
    const falseWakes: DeviceOutcome[] = []
    const verified: DeviceOutcome[] = []
    if (start !== undefined && end > start) {
      for (const { device, zFalse, zVerified } of members) {
        const window = outcomes.window(device, model, start, end)
        if (window.listeningHours < LISTENING_HOURS_MIN) continue
        falseWakes.push({ y: window.falseWakes, x: window.listeningHours, z: zFalse ?? undefined })
        verified.push({ y: window.verifiedWakes, x: window.listeningHours, z: zVerified ?? undefined })
      }
    }
    return { falseWakes, verified }
  }
  const isLast = rollout.percents[rollout.stage - 1] === 100
  let current: GateInput['current'] = null
  if (!isLast) {
    const c = arm(canary, candidate)
    const o = arm(control, previous)
    current = {
      falseWakesPerHour: { canary: c.falseWakes, control: o.falseWakes },
      verifiedWakesPerHour: { canary: c.verified, control: o.verified },
    }
  }
  return {
    elapsedHours: (nowMs - rollout.stageStartedMs) / HOUR_MS,
    maxHours: rollout.policy.maxHours + rollout.grantedHours,
    frozen: {
      falseWakesPerHour: rollouts.batches(rollout.id, 'falseWakesPerHour'),
      verifiedWakesPerHour: rollouts.batches(rollout.id, 'verifiedWakesPerHour'),
    },
    current,
    installs: rollouts.installs(rollout.id, candidate, rollout.createdMs),
    exposure: {
      assigned: devices.filter(({ stage }) => stage !== null).length,
      installed: rollouts.installed(rollout.id, candidate),
    },
  }
}

/** Rates of a device before a stage, or null where it listened too little: the covariates of the comparison. */
export function covariatesOf(
  store: Store,
  device: number,
  model: string,
  hours: number,
  nowMs: number,
): { zFalse: number | null; zVerified: number | null } {
  const to = hourStartMs(nowMs)
  const { falseWakes, verifiedWakes, listeningHours } = store.outcomes.window(
    device,
    model,
    to - Math.floor(hours) * HOUR_MS,
    to,
  )
  if (listeningHours < LISTENING_HOURS_MIN) return { zFalse: null, zVerified: null }
  return { zFalse: falseWakes / listeningHours, zVerified: verifiedWakes / listeningHours }
}
