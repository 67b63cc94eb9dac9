import { present } from '../../contract/present.ts'
import type { DeviceRecord } from '../store/device-store.ts'
import type { GateReading } from '../store/gate-reading.ts'
import type { ReleaseRecord } from '../store/model-store.ts'
import type { RolloutRecord } from '../store/rollout-store.ts'
import type { Store } from '../store/store.ts'
import { bucketOf, isExposed } from './cohort.ts'
import { covariatesOf } from './evidence.ts'
import type { RolloutStep } from './planner.ts'

/** What the cloud itself is called in the audit log. */
export const KINGLET = 'kinglet'

export interface StepContext {
  readonly store: Store
  readonly rollout: RolloutRecord
  readonly nowMs: number
  /** who decided, and why in one sentence */
  readonly actor: string
  readonly why: string
  readonly reading: GateReading | null
}

export const isEligible = (device: DeviceRecord, release: ReleaseRecord): boolean => {
  const { boards } = release.content
  return device.enrolledMs !== null && (boards.length === 0 || boards.includes(device.board))
}

/** Performs one step. To be called inside a transaction: a step happens as a whole or not at all. */
export function performStep(step: RolloutStep, context: StepContext): void {
  const { store, rollout, nowMs, actor, why, reading } = context
  const { rollouts } = store
  const audit = (action: string, detail: object): void =>
    store.audit.append({ atMs: nowMs, actor, action, subject: rollout.id, detail: { ...detail, why, gate: reading } })
  switch (step.kind) {
    case 'begin-stage': {
      const exposed = beginStage(step.stage, step.percent, context)
      audit('rollout.stage-begun', { stage: step.stage, percent: step.percent, newlyExposed: exposed })
      return
    }
    case 'end-stage':
      for (const { metric, d, variance } of step.freeze) rollouts.freeze(rollout.id, step.stage, metric, d, variance)
      rollouts.endStage(rollout.id, step.stage, nowMs)
      audit('rollout.stage-ended', { stage: step.stage })
      return
    case 'withdraw':
      withdraw(context)
      audit('rollout.rolled-back', { stage: rollout.stage, devicesExposed: rollouts.exposed(rollout.id) })
      return
    case 'pause':
      rollouts.setState(rollout.id, 'paused', why, null)
      audit('rollout.paused', { stage: rollout.stage })
      return
    case 'complete':
      complete(context)
      audit('rollout.completed', { devicesExposed: rollouts.exposed(rollout.id) })
      return
  }
}

/** Randomises a batch: the devices below the new percentage against those that stay in control. */
function beginStage(stage: number, percent: number, { store, rollout, nowMs }: StepContext): number {
  const { rollouts, devices, models } = store
  const candidate = present(models.byId(rollout.release), 'the release of a rollout')
  const previous = present(models.byId(rollout.previous), 'the release before a rollout')
  if (stage === 1) {
    for (const device of devices.enrolled()) {
      if (device.target !== previous.id || !isEligible(device, candidate)) continue
      rollouts.addDevice(rollout.id, device.id, bucketOf(rollout.salt, device.name), false)
    }
  }
  rollouts.beginStage(rollout.id, stage, percent, nowMs)
  let exposed = 0
  for (const { device, bucket, stage: since, late } of rollouts.devices(rollout.id)) {
    if (since !== null) continue
    const z = covariatesOf(store, device, previous.prefix, rollout.policy.covariateHours, nowMs)
    rollouts.setCovariates(rollout.id, device, z.zFalse, z.zVerified)
    if (isExposed(bucket, percent)) {
      rollouts.expose(rollout.id, device, stage)
      devices.retarget(device, { release: candidate.id, rollout: rollout.id, stage, arm: 'canary' })
      exposed++
    } else if (stage === 1 || late) {
      // Control devices learn their arm once, when they enter it: the gateway's aggregates are split by it.
      devices.retarget(device, { release: previous.id, rollout: rollout.id, stage, arm: 'control' })
    }
  }
  return exposed
}

/** Every exposed device gets an assignment back to the previous model: its image is still in the other slot. */
function withdraw({ store, rollout, nowMs, actor, why }: StepContext): void {
  const { rollouts, devices, models } = store
  const candidate = present(models.byId(rollout.release), 'the release of a rollout')
  for (const { device, stage } of rollouts.devices(rollout.id)) {
    if (stage === null) continue
    devices.retarget(device, { release: rollout.previous, rollout: null, stage: 0, arm: 'none' })
  }
  if (rollout.stage > 0) rollouts.endStage(rollout.id, rollout.stage, nowMs)
  rollouts.setState(rollout.id, 'rolled-back', why, nowMs)
  models.setState(candidate, 'archived', actor, `rollout ${rollout.id} rolled back`, nowMs)
}

function complete({ store, rollout, nowMs, actor, why }: StepContext): void {
  const { rollouts, models } = store
  rollouts.setState(rollout.id, 'completed', why, nowMs)
  const reason = `rollout ${rollout.id} completed`
  models.setState(
    present(models.byId(rollout.previous), 'the release before a rollout'),
    'archived',
    actor,
    reason,
    nowMs,
  )
  models.setState(present(models.byId(rollout.release), 'the release of a rollout'), 'production', actor, reason, nowMs)
}
