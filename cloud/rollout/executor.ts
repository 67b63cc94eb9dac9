import { present } from '../../contract/present.ts'
import type { DeviceRecord } from '../store/device-store.ts'
import type { GateReading } from '../store/gate-reading.ts'
import type { ReleaseRecord } from '../store/model-store.ts'
import type { RolloutRecord } from '../store/rollout-store.ts'
import type { Store } from '../store/store.ts'
import { hourIndex } from '../store/telemetry-store.ts'
import { bucketOf } from './cohort.ts'
import { pastOf } from './evidence.ts'
import { environmentOf } from './fleet-slices.ts'
import type { RolloutStep } from './planner.ts'
import { silenceBoundMs, UNKNOWN_BOUND_MS } from './silence-bound.ts'
import { exposedAt } from './stage-plan.ts'

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
  /** by who has read them beside; what is missing is read when it is needed */
  readonly pasts?: Pasts | undefined
}

/** What devices did before a stage, as JSON. */
export interface Pasts {
  readonly nowMs: number
  readonly texts: ReadonlyMap<number, string>
}
/** chosen: a device that is heard once an hour has had its tries within a day; who has not done it by then holds up nobody any longer */
const TURN_MS = 24 * 3_600_000
const NO_PASTS: Pasts['texts'] = new Map()

/** What the next stage has to know of those that it may expose, the dear part of its beginning. */
export function readPasts(store: Store, rollout: RolloutRecord, nowMs: number): Pasts {
  const release = present(store.models.byId(rollout.release), 'the release of a rollout')
  const texts = new Map<number, string>()
  const read = (device: number, previous: number): void => {
    if (!store.gateways.isHeldOut(device)) texts.set(device, pastText(store, device, previous, rollout, nowMs))
  }
  for (const { device, stage, previous } of store.rollouts.devices(rollout.id))
    if (stage === null) read(device, previous)
  for (const { id, target } of takers(store, release, rollout, nowMs).heard) {
    if (target !== null && !texts.has(id)) read(id, target)
  }
  return { nowMs, texts }
}

function pastText(store: Store, device: number, previous: number, { policy }: RolloutRecord, nowMs: number): string {
  const release = present(store.models.byId(previous), 'the release before a rollout')
  return JSON.stringify(pastOf(store, device, release, policy, nowMs))
}

/** Whether a release is for the device: of the family that it follows, and for its board. */
export const fits = (device: DeviceRecord, release: ReleaseRecord): boolean => {
  const { boards } = release.content
  return (
    device.enrolledMs !== null &&
    device.family === release.family &&
    (boards.length === 0 || boards.includes(device.board))
  )
}

/** Who was chosen for a rollout at its start; null: it takes whoever fits. */
export const chosenFor = (
  { cohorts }: Store,
  { id, cohort }: Pick<RolloutRecord, 'id' | 'cohort'>,
): ReadonlySet<number> | null => (cohort === null ? null : cohorts.members(id))

/** Devices that a rollout of the release may take: of its family and board, neither pinned nor revoked, on another release and in no other
 *  rollout; and, apart, those of them that were not heard for too long to be told anything. A device that has just been enrolled counts as heard.
 *  @param rollout that they are for; null: it has not begun
 *  @param chosen of one that has not begun: who is chosen for it; null: whoever fits
 */
export function takers(
  store: Store,
  release: ReleaseRecord,
  rollout: RolloutRecord | null,
  nowMs: number,
  chosen: ReadonlySet<number> | null = rollout === null ? null : chosenFor(store, rollout),
): { readonly heard: readonly DeviceRecord[]; readonly unheard: number } {
  const revoked = store.identities.revokedDevices()
  const taken = store.rollouts.takenByOthers(rollout?.id ?? null)
  const heard: DeviceRecord[] = []
  let unheard = 0
  for (const device of store.devices.enrolled()) {
    if (device.pinned || device.target === null || device.target === release.id || !fits(device, release)) continue
    if (taken.has(device.id) || chosen?.has(device.id) === false) continue
    const revokedMs = revoked.get(device.id)
    if (revokedMs !== undefined && device.lastSeenMs <= revokedMs) continue
    const silentMs = nowMs - Math.max(device.lastSeenMs, device.enrolledMs ?? 0)
    // Of one whose gateway is in quarantine nothing is known: it waits for the end, as one that cannot be heard.
    const known = silentMs <= Math.max(UNKNOWN_BOUND_MS, silenceBoundMs(device)) && !store.gateways.isHeldOut(device.id)
    if (known) heard.push(device)
    else unheard++
  }
  return { heard, unheard }
}

/** Performs one step. To be called inside a transaction: a step happens as a whole or not at all. */
export function performStep(step: RolloutStep, context: StepContext): void {
  const { store, rollout, nowMs, actor, why, reading } = context
  const { rollouts } = store
  const audit = (action: string, detail: object): void =>
    store.audit.append({ atMs: nowMs, actor, action, subject: rollout.id, detail: { ...detail, why, gate: reading } })
  switch (step.kind) {
    case 'begin-stage': {
      const { exposed, unheard } = beginStage(step.stage, step.percent, context)
      audit('rollout.stage-begun', { stage: step.stage, percent: step.percent, newlyExposed: exposed, unheard })
      return
    }
    case 'end-stage':
      for (const { signal, batch, later, slices } of step.freeze) {
        rollouts.freeze(rollout.id, step.stage, signal, { batch, later })
        slices.forEach((each, slice) => {
          rollouts.freezeSlice(rollout.id, step.stage, signal, { slice, batch: each.running, later: each.later })
        })
      }
      rollouts.endStage(rollout.id, step.stage, nowMs)
      audit('rollout.stage-ended', { stage: step.stage })
      return
    case 'withdraw':
      withdraw(context)
      audit('rollout.rolled-back', { stage: rollout.stage, devicesExposed: rollouts.exposed(rollout.id) })
      return
    case 'pause':
      pauseDevices(context)
      rollouts.setState(rollout.id, 'paused', why, null)
      audit('rollout.paused', { stage: rollout.stage })
      return
    case 'complete':
      complete(context)
      audit('rollout.completed', { devicesExposed: rollouts.exposed(rollout.id) })
      return
  }
}

/** Randomises a batch: by the order of their buckets as many more as the stage takes, against those that stay. Whoever joined the fleet, or
 *  was heard again, since the stage before takes part from now on; who cannot be heard is left in control, and out of the count by that.
 */
function beginStage(
  stage: number,
  percent: number,
  { store, rollout, nowMs, pasts }: StepContext,
): { readonly exposed: number; readonly unheard: number } {
  const { rollouts, memberTargets, models } = store
  const candidate = present(models.byId(rollout.release), 'the release of a rollout')
  const { heard, unheard } = takers(store, candidate, rollout, nowMs)
  join(heard, stage, { store, rollout, nowMs })
  rollouts.beginStage(rollout.id, stage, percent, nowMs)
  const reachable = new Set(heard.map(({ id }) => id))
  const rows = rollouts.devices(rollout.id)
  const before = rows.filter((row) => row.stage !== null).length
  const staying = rows.filter((row) => row.stage === null)
  const free = staying
    .filter(({ holdback, device, silentMs }) => !holdback && silentMs === null && reachable.has(device))
    .sort((a, b) => a.bucket - b.bucket)
  const holdback = staying.filter((row) => row.holdback).length
  const wanted = Math.max(0, exposedAt(percent, rows.length, holdback) - before)
  const fresh = free.slice(0, wanted).map(({ device }) => device)
  rollouts.expose(rollout.id, fresh, stage, nowMs)
  memberTargets.expose(rollout.id, stage, candidate.id)
  takeTurns(store, rollout)
  memberTargets.control(rollout.id, stage)
  const known = pasts !== undefined && hourIndex(pasts.nowMs) === hourIndex(nowMs) ? pasts.texts : NO_PASTS
  for (const { device, previous } of staying) {
    // What it did before is kept for the end of its gateway's quarantine.
    if (store.gateways.isHeldOut(device)) continue
    rollouts.setPast(rollout.id, device, known.get(device) ?? pastText(store, device, previous, rollout, nowMs))
  }
  return { exposed: fresh.length, unheard }
}

/** Takes devices into the rollout; of those of the first stage the last in order are held back. */
function join(
  heard: readonly DeviceRecord[],
  stage: number,
  { store, rollout, nowMs }: Pick<StepContext, 'store' | 'rollout' | 'nowMs'>,
): void {
  // Who stays as control is among those that a stage may take, and is in it already.
  const members = store.rollouts.members(rollout.id)
  const ordered = heard
    .filter(({ id }) => !members.has(id))
    .map((device) => ({ device, bucket: bucketOf(rollout.salt, device.name) }))
    .sort((a, b) => a.bucket - b.bucket)
  if (ordered.length === 0) return
  const noise = store.outcomes.newestNoise()
  const held = stage === 1 ? ordered.length - rollout.plan.holdback : ordered.length
  ordered.forEach(({ device, bucket }, i) => {
    store.rollouts.addDevice(rollout.id, {
      ...{ device: device.id, bucket, late: stage > 1, previous: present(device.target, 'the target of a taker') },
      ...{ holdback: i >= held, sinceMs: nowMs, boundMs: silenceBoundMs(device) },
      ...{ board: device.board, site: device.site, environment: environmentOf(noise.get(device.id) ?? []) },
    })
  })
}

/** Stops new downloads: who has not installed the candidate yet is told to stay on what it runs. */
export function pauseDevices({ store, rollout, nowMs }: Pick<StepContext, 'store' | 'rollout' | 'nowMs'>): void {
  const candidate = present(store.models.byId(rollout.release), 'the release of a rollout')
  store.rollouts.stopClock(rollout.id, nowMs)
  store.memberTargets.hold(rollout.id, candidate.prefix)
}

/** Undoes it. */
export function resumeDevices({ store, rollout, nowMs }: Pick<StepContext, 'store' | 'rollout' | 'nowMs'>): void {
  store.rollouts.startClock(rollout.id, nowMs)
  store.memberTargets.goOn(rollout.id, rollout.release)
  takeTurns(store, rollout)
}

/** Where a rollout has a limit, its devices are told of the candidate when it is their turn. */
function takeTurns({ models, installTurns }: Store, { id, release, installingMax }: RolloutRecord): void {
  if (installingMax.fleet === null && installingMax.site === null) return
  const { prefix } = present(models.byId(release), 'the release of a rollout')
  installTurns.wait({ rollout: id, release, model: prefix })
}

/** Gives turns to devices that wait for one, as far as the limits of their rollouts go. To be called inside a transaction. @returns how many */
export function giveTurns({ models, rollouts, installTurns }: Store, nowMs: number): number {
  let given = 0
  for (const id of installTurns.rollouts()) {
    const { release, installingMax } = present(rollouts.get(id), 'the rollout of a device that waits')
    const { prefix } = present(models.byId(release), 'the release of a rollout')
    given += installTurns.give({ rollout: id, release, model: prefix }, installingMax, nowMs - TURN_MS, nowMs)
  }
  return given
}

/** Every exposed device gets an assignment back to its previous model: its image is still in the other slot. */
function withdraw(context: StepContext): void {
  const { store, rollout, nowMs, why } = context
  const { rollouts } = store
  if (rollout.state === 'completed') withdrawCompleted(context)
  else {
    archive(context)
    store.memberTargets.takeBack(rollout.id)
    if (rollout.stage > 0) rollouts.endStage(rollout.id, rollout.stage, nowMs)
  }
  rollouts.startClock(rollout.id, nowMs)
  rollouts.setState(rollout.id, 'rolled-back', why, nowMs)
}

/** A release that was taken back is archived, and by that goes from every device that no person chose it for. Not so one that devices outside of this
 *  rollout have: by another one that has completed for them, or as production, which only devices that were chosen were to get again. An
 *  experiment leaves its release what it was. */
function archive({ store, rollout, nowMs, actor }: StepContext): void {
  const { models, cohorts } = store
  const candidate = present(models.byId(rollout.release), 'the release of a rollout')
  if (rollout.experimentHours !== null || (rollout.cohort !== null && candidate.state === 'production')) return
  const to = cohorts.keepers(candidate.id) > 0 ? 'staging' : 'archived'
  if (candidate.state !== to) models.setState(candidate, to, actor, `rollout ${rollout.id} rolled back`, nowMs)
}

/** Who got the release by the rollout or, where it had become production, joined since, goes back to what it had, kept, or to production. */
function withdrawCompleted(context: StepContext): void {
  const { store, rollout, nowMs, actor } = context
  const { rollouts, devices, models, cohorts } = store
  const before = new Map(rollouts.devices(rollout.id).map(({ device, previous }) => [device, previous]))
  const chosen = chosenFor(store, rollout)
  cohorts.undo(rollout.id)
  archive(context)
  if (chosen === null) {
    models.restore(new Set([...before.values(), rollout.previous]), actor, `rollout ${rollout.id} taken back`, nowMs)
  }
  for (const device of devices.enrolled()) {
    if (device.target !== rollout.release || device.pinned || chosen?.has(device.id) === false) continue
    const kept = cohorts.keepOf(device.id)?.release
    const release = kept ?? before.get(device.id) ?? models.productionFor(device.family, device.board)?.id
    if (release === undefined || release === rollout.release) continue
    devices.retarget(device.id, { release, rollout: null, stage: 0, arm: 'none' })
  }
}

/** Ends a rollout in which nothing was found. */
function complete(context: StepContext): void {
  const { store, rollout, nowMs, why } = context
  store.rollouts.setState(rollout.id, 'completed', why, nowMs)
  if (rollout.experimentHours !== null) {
    store.rollouts.startClock(rollout.id, nowMs)
    store.memberTargets.takeBack(rollout.id)
  } else if (rollout.cohort !== null) completeChosen(context)
  else completeWhole(context)
}

/** The candidate becomes production of its family for its boards, and everybody who may gets it: the hold-back, who could not be heard, who joined
 *  late, who kept another release. A former production stays for as long as it is the newest for some board: devices of that board run it. */
function completeWhole(context: StepContext): void {
  const { store, rollout, nowMs, actor } = context
  const { models, cohorts } = store
  const candidate = present(models.byId(rollout.release), 'the release of a rollout')
  const reason = `rollout ${rollout.id} completed`
  models.setState(candidate, 'production', actor, reason, nowMs)
  for (const former of models.superseded(candidate.family)) models.setState(former, 'archived', actor, reason, nowMs)
  cohorts.endBy(rollout.id, giveToAll(context, null))
}

/** Everybody who was chosen gets the candidate and keeps it, whatever becomes production, until a later rollout has them. Production stays what it
 *  is, and its devices follow it. */
function completeChosen(context: StepContext): void {
  const { store, rollout } = context
  const { models, cohorts } = store
  const candidate = present(models.byId(rollout.release), 'the release of a rollout')
  const given = giveToAll(context, chosenFor(store, rollout))
  if (candidate.state === 'production') cohorts.endBy(rollout.id, given)
  else cohorts.keep(rollout.id, given)
}

/** Gives the candidate to whoever may have it. @returns who has it now */
function giveToAll({ store, rollout }: StepContext, chosen: ReadonlySet<number> | null): readonly number[] {
  const { rollouts, models, devices } = store
  const candidate = present(models.byId(rollout.release), 'the release of a rollout')
  const taken = rollouts.takenByOthers(rollout.id)
  const given: number[] = []
  for (const device of devices.enrolled()) {
    if (device.pinned || device.target === null || !fits(device, candidate)) continue
    if (taken.has(device.id) || chosen?.has(device.id) === false) continue
    given.push(device.id)
    if (device.target === candidate.id) continue
    devices.retarget(device.id, { release: candidate.id, rollout: rollout.id, stage: rollout.stage, arm: 'none' })
  }
  takeTurns(store, rollout)
  return given
}
