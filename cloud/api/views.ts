import { present } from '../../contract/present.ts'
import { gateWords } from '../rollout/gate-words.ts'
import { manualStages } from '../rollout/manual-stages.ts'
import { signalWords } from '../rollout/signals.ts'
import type { AlertRecord } from '../store/alert-store.ts'
import type { DeviceRecord } from '../store/device-store.ts'
import type { EventRecord } from '../store/event-store.ts'
import type { FleetHour } from '../store/fleet-store.ts'
import type { ReleaseRecord } from '../store/model-store.ts'
import type { RolloutRecord } from '../store/rollout-store.ts'
import type { Store } from '../store/store.ts'
import { HOUR_MS, hourIndex } from '../store/telemetry-store.ts'
import { fleetFigures } from '../telemetry/fleet-figures.ts'
import { fleetNow } from '../telemetry/fleet-now.ts'
import { whyNot } from '../telemetry/why-not.ts'
import { causeName, causeOf } from './alert-groups.ts'
import { alertWords, runbookOf, severityOf } from './alert-words.ts'
import { deviceTag, rolloutTag } from './etag.ts'

/** JSON shapes of the API; times are Unix ms and end in `Ms`. */

const modelLabel = (release: ReleaseRecord | undefined): { name: string; version: number } | null =>
  release === undefined ? null : { name: release.name, version: release.version }

/** Names of models by the prefix that reports carry. */
export function modelNames(store: Store): ReadonlyMap<string, string> {
  return new Map(store.models.list().map(({ prefix, name }) => [prefix, name]))
}

export function releaseView(store: Store, release: ReleaseRecord) {
  const { content, id, ...rest } = release
  return {
    ...rest,
    securityCounter: content.securityCounter,
    boards: content.boards,
    history: store.models.history(id),
  }
}

export function deviceView(store: Store, device: DeviceRecord) {
  const { id, target, rollout, stage, arm, gapMs: _, ...rest } = device
  const release = target === null ? undefined : store.models.byId(target)
  const key = store.identities.activeKey(id)
  return {
    ...rest,
    etag: deviceTag(device),
    key: key === undefined ? null : { keyId: key.keyId, sinceMs: key.sinceMs },
    revokedMs: store.identities.revokedBefore(device.name) ?? null,
    /** false: what is known of its installs is the word of its gateway */
    attested: key !== undefined,
    attestedRun: store.identities.attestedRun(id) ?? null,
    updateWindow: store.devices.windowOf(device),
    target: modelLabel(release),
    assignmentSeq: store.assignments.lastSeq(id),
    rollout: rollout === null ? null : { id: rollout, stage, arm },
    keptBy: store.cohorts.keepOf(id)?.rollout ?? null,
  }
}

/** Newest report of a device, in the names of people; null: it never reported. */
export function latestView(store: Store, device: number, names: ReadonlyMap<string, string>) {
  const [newest] = store.fleet.deviceBoots(device, 1)
  if (newest === undefined) return null
  const { model, atMs, level, batteryPermille, assignmentSeq } = newest
  return { model, modelName: names.get(model) ?? null, atMs, level, batteryPermille, acceptedSeq: assignmentSeq }
}

/** Why the device does not run another model; null: it runs what it is to run. */
export function whyNotView(store: Store, device: DeviceRecord, nowMs: number) {
  const { id, rollout } = device
  const release = device.target === null ? undefined : store.models.byId(device.target)
  const told = rollout === null ? undefined : store.rollouts.get(rollout)
  const open = told?.endedMs === null ? told : undefined
  const keep = store.cohorts.keepOf(id)
  const production = store.models.productionFor(device.family, device.board)
  const revokedMs = store.identities.revokedBefore(device.name)
  const keys = store.identities.keysOf(id)
  return (
    whyNot({
      nowMs,
      board: device.board,
      family: device.family,
      removed: device.removedMs !== null,
      enrolled: device.enrolledMs !== null,
      revoked:
        revokedMs !== undefined &&
        (keys.length > 0
          ? keys.every(({ state }) => state === 'revoked')
          : !store.tokens.hasSince(device.name, revokedMs)),
      target: release === undefined ? null : { name: release.name, version: release.version, prefix: release.prefix },
      running: store.fleet.deviceBoots(id, 1)[0]?.model ?? null,
      lastSeenMs: device.lastSeenMs,
      signedSeq: store.assignments.signedSeq(id) ?? null,
      acceptedSeq: store.fleet.acceptedSeq(id),
      rollout:
        open === undefined
          ? null
          : { id: open.id, state: open.state, arm: device.arm, isExperiment: open.experimentHours !== null },
      waits: store.installTurns.waits(id),
      kept:
        keep === undefined || production === undefined || production.id === device.target
          ? null
          : { rollout: keep.rollout, production: `${production.name} ${production.version}` },
      events: store.events.list({ device: id }, 50).events,
    }) ?? null
  )
}

export function eventView(event: EventRecord, names: ReadonlyMap<string, string>) {
  return { ...event, modelName: event.model === null ? null : (names.get(event.model) ?? null) }
}

const EVIDENCE = { control: 'randomised', past: 'before-after', none: 'ungated' } as const

export function rolloutView(store: Store, rollout: RolloutRecord) {
  const release = present(store.models.byId(rollout.release), 'the release of a rollout')
  const previous = present(store.models.byId(rollout.previous), 'the release before a rollout')
  const end = rollout.endedMs
  return {
    id: rollout.id,
    etag: rolloutTag(rollout),
    family: release.family,
    model: release.name,
    version: release.version,
    sha256: release.sha256,
    previous: { name: previous.name, version: previous.version, sha256: previous.sha256 },
    state: rollout.state,
    percents: rollout.percents,
    stage: rollout.stage,
    stages: store.rollouts.stages(rollout.id),
    stageStartedMs: rollout.stageStartedMs,
    /** percent of the highest stage that was begun */
    reachedPercent: rollout.percents[rollout.stage - 1] ?? 0,
    /** devices that were ever told to run the candidate */
    devicesExposed: store.rollouts.exposed(rollout.id),
    /** of those, devices whose installs count by their own signed word */
    devicesAttested: store.rollouts.attestable(rollout.id),
    /** of those, devices that never had a key: what they run and report is their gateways' word alone */
    devicesUnkeyed: store.rollouts.unkeyed(rollout.id),
    createdMs: rollout.createdMs,
    createdBy: rollout.createdBy,
    endedMs: end,
    hoursToDecision: end === null ? null : (end - rollout.createdMs) / HOUR_MS,
    why: rollout.why,
    gate: rollout.reading && {
      ...rollout.reading,
      metrics: rollout.reading.metrics.map((metric) => ({
        ...metric,
        words: signalWords(metric.name),
      })),
    },
    gateWords: rollout.reading === null ? null : gateWords(rollout.reading),
    evidence: EVIDENCE[rollout.plan.comparison],
    pausedSinceMs: rollout.pausedSinceMs,
    plan: rollout.plan,
    policy: rollout.policy,
    cohort: rollout.cohort,
    experimentHours: rollout.experimentHours,
    installingMax: rollout.installingMax,
    /** devices that are not told of the candidate before it is their turn */
    devicesWaiting: store.installTurns.count(rollout.id),
    policyName: rollout.policyName,
    manualStages: manualStages(rollout),
  }
}

export function alertView(store: Store, alert: AlertRecord) {
  const release = store.models.byPrefix(alert.model)
  const [title, words] = alertWords(alert, release?.name ?? alert.model)
  return {
    ...alert,
    ...{ modelName: release?.name ?? null, family: release?.family ?? null },
    ...{ severity: severityOf(alert), runbook: runbookOf(alert.code), title, words },
    cause: causeName(causeOf(store, alert)),
  }
}

const productionViews = (store: Store, family?: string) =>
  store.models.productions(family).map(({ name, version, family: of, content }) => ({
    ...{ family: of, name, version, boards: content.boards },
  }))

/** What a family is at. */
export function familyView(store: Store, family: string) {
  return {
    name: family,
    releases: store.models.list(family).length,
    devices: store.devices.count(family).enrolled,
    productions: productionViews(store, family).map(({ family: _, ...production }) => production),
    rollouts: store.rollouts.allOpen(family).map(({ id }) => id),
  }
}

const byModel = (rows: readonly FleetHour[]): Map<string, FleetHour[]> => {
  const groups = new Map<string, FleetHour[]>()
  for (const row of rows) {
    const group = groups.get(row.model)
    if (group === undefined) groups.set(row.model, [row])
    else group.push(row)
  }
  return groups
}

/** Hours of a family's releases, or of all models. */
function hoursOf(store: Store, from: number, to: number, family?: string): readonly FleetHour[] {
  const rows = store.fleet.hours(from, to)
  if (family === undefined) return rows
  const own = new Set(store.models.list(family).map(({ prefix }) => prefix))
  return rows.filter(({ model }) => own.has(model))
}

/** @param family only its devices and releases
 *  @param now by who reads beside; default: read in place */
export function summaryView(
  store: Store,
  nowMs: number,
  hours: number,
  family?: string,
  now = fleetNow(store, family),
) {
  const end = hourIndex(nowMs)
  const rows = hoursOf(store, end - hours, end, family)
  const names = modelNames(store)
  const { present, count } = now
  return {
    atMs: nowMs,
    hours,
    devices: { ...count, reporting: present.devices },
    production: modelLabel(store.models.productions(family)[0]),
    productions: productionViews(store, family),
    batteryPermille: present.batteryPermille,
    levels: present.levels,
    running: Object.entries(present.models).map(([model, devices]) => ({
      model,
      name: names.get(model) ?? null,
      devices,
    })),
    fleet: fleetFigures(rows),
    models: [...byModel(rows)].map(([model, group]) => ({
      model,
      name: names.get(model) ?? null,
      ...fleetFigures(group),
    })),
    openAlerts: store.alerts.allOpen(family).length,
  }
}

/** @param family only its releases */
export function seriesView(store: Store, nowMs: number, hours: number, family?: string) {
  const end = hourIndex(nowMs) + 1
  const rows = hoursOf(store, end - hours, end, family)
  const names = modelNames(store)
  const points = new Map<number, FleetHour[]>()
  for (const row of rows) {
    const group = points.get(row.hour)
    if (group === undefined) points.set(row.hour, [row])
    else group.push(row)
  }
  return {
    atMs: nowMs,
    points: [...points].map(([hour, group]) => ({
      hourMs: hour * HOUR_MS,
      devices: group.reduce((sum, { devices }) => sum + devices, 0),
      ...fleetFigures(group),
      models: group.map((row) => ({
        model: row.model,
        name: names.get(row.model) ?? null,
        devices: row.devices,
        ...fleetFigures([row]),
      })),
    })),
  }
}
