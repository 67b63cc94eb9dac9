import { present } from '../../contract/present.ts'
import type { GatePolicy } from '../store/gate-policy.ts'
import type { GateReading } from '../store/gate-reading.ts'
import type { ReleaseRecord } from '../store/model-store.ts'
import type { SlotOutcome } from '../store/outcome-store.ts'
import type { RolloutDevice, RolloutRecord } from '../store/rollout-store.ts'
import type { Store } from '../store/store.ts'
import { HOUR_MS, hourIndex, hourStartMs } from '../store/telemetry-store.ts'
import type { Spell } from './first-event.ts'
import { slicesOf } from './fleet-slices.ts'
import type { ArmOutcomes, FrozenSlice, GateInput, SignalInput } from './gate.ts'
import type { DeviceOutcome } from './log-ratio.ts'
import { manualStages } from './manual-stages.ts'
import { type DeclaredPlaces, declaredPlaces, type Signal, signalOf } from './signals.ts'

/** Collects what the gate reads. Everything is of whole hours that are known from both ends, numerator and exposure of the same hours of the
 *  same device, so what is late is missing in both and weighs nothing.
 */

const ceilHour = (ms: number): number => Math.ceil(ms / HOUR_MS) * HOUR_MS

/** When the comparison of a stage begins: the first full hour by which half of those of its canaries that were heard run the candidate. Both
 *  arms are counted from there, so that they see the same hours of the day; it depends on installs, never on outcomes.
 *  @returns undefined until half have installed
 */
function comparisonStart(
  store: Store,
  canary: readonly RolloutDevice[],
  model: string,
  stageMs: number,
): number | undefined {
  const heard = canary.filter(({ enteredMs }) => enteredMs !== null)
  const starts: number[] = []
  for (const { device } of heard) {
    const start = store.outcomes.firstStart(device, model, stageMs)
    if (start !== undefined) starts.push(start)
  }
  if (heard.length === 0 || 2 * starts.length < heard.length) return undefined
  starts.sort((a, b) => a - b)
  return ceilHour(present(starts[Math.ceil(heard.length / 2) - 1], 'the start of half of the canaries'))
}

/** Whether the device may count as running the model for the rollout: by its own signed word if it has a key, under an assignment of the
 *  rollout. A device without one is taken at its reports, which a gateway could make up. */
function mayRun(store: Store, { device, sinceSeq }: RolloutDevice, model: string): boolean {
  const { identities } = store
  if (identities.keysOf(device).length === 0) return true
  const word = identities.attestedRun(device)
  return word?.model === model && sinceSeq !== null && (word.assignmentSeq ?? 0) >= sinceSeq
}

/** One device of an arm with its hours. */
interface Member {
  readonly row: RolloutDevice
  readonly hours: readonly SlotOutcome[]
  /** of the model that it ran in them */
  readonly places: DeclaredPlaces
  /** of the fleet that it is in; undefined: the rollout has none */
  readonly slices: Spell['slices']
}

/** Weights of hours, by which both arms have listened to each hour of the day alike: where the share of devices with data differs, the
 *  arm that has more is weighed down, and an hour that one arm lacks counts for none.
 */
function balance(arms: readonly (readonly Member[])[]): readonly ((hour: number) => number)[] {
  const shares = arms.map((members) => {
    const hours = new Map<number, number>()
    for (const { hours: own } of members) {
      for (const { hour, uptimeMs } of own) {
        hours.set(hour, (hours.get(hour) ?? 0) + uptimeMs / Math.max(1, members.length))
      }
    }
    return hours
  })
  return shares.map((own) => (hour) => {
    const mine = own.get(hour) ?? 0
    const least = Math.min(...shares.map((each) => each.get(hour) ?? 0))
    return mine > 0 ? least / mine : 0
  })
}

function outcomeOf(
  signal: Signal,
  { hours, places }: Pick<Member, 'hours' | 'places'>,
  weight: (hour: number) => number = () => 1,
): DeviceOutcome | undefined {
  if (signal.ofHour === undefined) return undefined
  let y = 0
  let x = 0
  let judged = 0
  let unjudged = 0
  for (const each of hours) {
    const w = weight(each.hour)
    const [events, exposure] = signal.ofHour(each, places)
    y += w * events
    x += w * exposure
    const verdicts = signal.judged?.(each, places)
    if (verdicts === undefined) continue
    judged += w * (verdicts.confirmed + verdicts.rejected)
    unjudged += w * verdicts.unjudged
  }
  if (unjudged > 0) x *= judged / (judged + unjudged)
  return x > 0 ? { y, x } : undefined
}

type ArmsOf = (signal: Signal) => ArmOutcomes

/** Two arms in hours that both have alike; the slices of the fleet have the same hours as the whole. */
function balancedArms(canary: readonly Member[], control: readonly Member[]): ArmsOf {
  const [ofCanary, ofControl] = balance([canary, control])
  const arm = (
    signal: Signal,
    members: readonly Member[],
    weight: ((hour: number) => number) | undefined,
  ): DeviceOutcome[] =>
    members.flatMap((member) => {
      const outcome = outcomeOf(signal, member, weight)
      if (outcome === undefined) return []
      return [{ ...outcome, past: member.row.past?.[signal.name], slices: member.slices }]
    })
  return (signal) => ({ canary: arm(signal, canary, ofCanary), control: arm(signal, control, ofControl) })
}

/** The same devices after and before; only those of which both are known. */
function pairsOf(signal: Signal, members: readonly Member[]): ArmOutcomes {
  const canary: DeviceOutcome[] = []
  const control: DeviceOutcome[] = []
  for (const member of members) {
    const after = outcomeOf(signal, member)
    const before = member.row.past?.[signal.name]
    if (after === undefined || before === undefined || before[1] <= 0) continue
    canary.push(after)
    control.push({ y: before[0], x: before[1] })
  }
  return { canary, control }
}

/** First events in hours: of a device whose hours are known, from the first to the last of them. */
function spellsOfHours(signal: Signal, arm: Spell['arm'], members: readonly Member[]): Spell[] {
  const { ofHour } = signal
  if (ofHour === undefined) return []
  return members.flatMap(({ hours, places, slices }) => {
    const first = hours[0]
    const last = hours.at(-1)
    if (first === undefined || last === undefined) return []
    const event = hours.find((hour) => ofHour(hour, places)[0] > 0)
    return [{ arm, from: first.hour, to: last.hour + 1, event: event?.hour ?? null, slices }]
  })
}

/** Contact, restarts and faults are of the whole rollout, by when devices were heard and what they said. */
class LifeSpells {
  readonly #store: Store
  readonly #candidate: string
  readonly #nowMs: number

  constructor(store: Store, candidate: string, nowMs: number) {
    this.#store = store
    this.#candidate = candidate
    this.#nowMs = nowMs
  }

  of(signal: Signal, row: RolloutDevice): Spell[] {
    return signal.source === 'contact' ? this.#contact(row) : this.#event(signal, row)
  }

  #contact({ stage, sinceMs, enteredMs, controlEnteredMs, silentMs, lastSeenMs }: RolloutDevice): Spell[] {
    const spells: Spell[] = []
    if (controlEnteredMs !== null) {
      // Whoever was exposed had not fallen silent before.
      spells.push({ arm: 'control', from: hourIndex(controlEnteredMs), to: hourIndex(sinceMs), event: null })
    }
    if (enteredMs === null) return spells
    const arm = stage === null ? 'control' : 'canary'
    const from = hourIndex(enteredMs)
    // An event is when the silence is too long, so that both arms are known until now.
    const to = hourIndex(silentMs ?? Math.max(lastSeenMs, this.#nowMs)) + 1
    spells.push({ arm, from, to, event: silentMs === null ? null : hourIndex(silentMs) })
    return spells
  }

  #event(signal: Signal, { device, stage, sinceMs, enteredMs, lastSeenMs }: RolloutDevice): Spell[] {
    if (enteredMs === null) return []
    const { outcomes } = this.#store
    const entry = stage === null ? sinceMs : outcomes.firstStart(device, this.#candidate, sinceMs)
    if (entry === undefined) return []
    const at =
      signal.source === 'restarts'
        ? outcomes.restartAfter(device, entry)
        : outcomes.eventAfter(device, signal.codes ?? [], entry)
    const from = hourIndex(entry)
    const to = hourIndex(Math.max(lastSeenMs, entry)) + 1
    const event = at === undefined ? null : hourIndex(at)
    return [{ arm: stage === null ? 'control' : 'canary', from, to: Math.max(to, (event ?? 0) + 1), event }]
  }
}

/** A release as its devices report it. */
interface Model {
  readonly prefix: string
  readonly places: DeclaredPlaces
}

const toModel = (release: ReleaseRecord | undefined): Model => ({
  prefix: release?.prefix ?? '',
  places: declaredPlaces(release?.signals ?? []),
})

const signalsOf = ({ metrics }: Pick<GatePolicy, 'metrics'>): readonly Signal[] =>
  metrics.flatMap((metric) => signalOf(metric) ?? [])

/** Collects what the gate needs for the running stage. */
export function gatherEvidence(store: Store, rollout: RolloutRecord, nowMs: number): GateInput {
  const { rollouts, models, outcomes } = store
  const release = present(models.byId(rollout.release), 'the release of a rollout')
  const candidate = release.prefix
  const known = new Map<number, Model>()
  const modelOf = (id: number): Model => {
    const model = known.get(id) ?? toModel(models.byId(id))
    known.set(id, model)
    return model
  }
  const rows = rollouts.devices(rollout.id)
  const counted = rows.filter(({ late, device }) => !late && !store.gateways.isHeldOut(device))
  const exposed = counted.filter((row) => row.stage !== null && mayRun(store, row, candidate))
  const fresh = exposed.filter(({ stage }) => stage === rollout.stage)
  const control = counted.filter(({ stage }) => stage === null)
  const { comparison } = rollout.plan
  const start = comparisonStart(store, fresh, candidate, rollout.stageStartedMs)
  const end = hourStartMs(nowMs)
  const { slices = [] } = rollout.plan
  const find = slicesOf(slices)
  const sliced = new Map(slices.length === 0 ? [] : counted.map((row) => [row.device, find(row)]))
  const member = (row: RolloutDevice, { prefix, places }: Model, from: number): Member => ({
    row,
    hours: end > from ? outcomes.slots(row.device, prefix, from, end) : [],
    places,
    slices: sliced.get(row.device),
  })
  const withHours = (members: readonly Member[]): Member[] => members.filter(({ hours }) => hours.length > 0)
  const none: readonly Member[] = []
  const canaries =
    start === undefined && comparison !== 'past'
      ? none
      : withHours(
          exposed.map((row) => member(row, modelOf(release.id), comparison === 'past' ? row.sinceMs : (start ?? end))),
        )
  const controls =
    start === undefined || comparison !== 'control'
      ? none
      : withHours(control.map((row) => member(row, modelOf(row.previous), start)))
  const batch = canaries.filter(({ row }) => row.stage === rollout.stage)
  const life = new LifeSpells(store, candidate, nowMs)

  const comparable = start !== undefined && controls.length > 0
  const batchOf = comparable && comparison !== 'past' ? balancedArms(batch, controls) : null
  const laterOf = comparable && rollout.stage > 1 ? balancedArms(canaries, controls) : null
  const frozenSlices = new Map<string, FrozenSlice[]>()
  for (const { signal, ...frozen } of slices.length === 0 ? [] : rollouts.sliceEvidence(rollout.id)) {
    const known = frozenSlices.get(signal)
    if (known === undefined) frozenSlices.set(signal, [frozen])
    else known.push(frozen)
  }
  const signals: Record<string, SignalInput> = {}
  for (const metric of rollout.policy.metrics) {
    const signal = signalOf(metric)
    if (signal === undefined) continue
    const { name } = signal
    const isFirst = signal.kind === 'first'
    const frozen = frozenSlices.get(name)
    signals[name] = {
      batch: comparison === 'past' ? pairsOf(signal, canaries) : isFirst ? null : (batchOf?.(signal) ?? null),
      later: isFirst ? null : (laterOf?.(signal) ?? null),
      spells:
        signal.source === undefined
          ? [...spellsOfHours(signal, 'canary', canaries), ...spellsOfHours(signal, 'control', controls)]
          : counted.flatMap((row) => {
              const own = sliced.get(row.device)
              const spells = life.of(signal, row)
              return own === undefined ? spells : spells.map((spell) => ({ ...spell, slices: own }))
            }),
      frozen: rollouts.batches(rollout.id, name),
      frozenLater: rollouts.later(rollout.id, name),
      ...(frozen !== undefined && { frozenSlices: frozen }),
    }
  }
  const heard = (members: readonly RolloutDevice[]): number =>
    members.filter(({ enteredMs }) => enteredMs !== null).length
  const counts: GateReading['counted'] = {
    canary: [batch.length, heard(counted.filter(({ stage }) => stage === rollout.stage))],
    control: [controls.length, heard(control)],
  }
  const plan = rollout.plan.stages[rollout.stage - 1]
  return {
    stage: rollout.stage,
    isLast: rollout.stage === rollout.percents.length,
    comparison,
    decides: plan?.decides ?? true,
    ...(manualStages(rollout).includes(rollout.percents[rollout.stage - 1] ?? 0) && { manual: true }),
    elapsedHours: stageHours(rollout, nowMs),
    watchHours: watchHours(rollout),
    maxHours: rollout.policy.maxHours + rollout.grantedHours,
    signals,
    ...(slices.length > 0 && { slices }),
    installs: rollouts.installs(rollout.id, candidate, rollout.createdMs),
    exposure: rollouts.exposure(rollout.id, candidate, nowMs),
    counted: counts,
  }
}

/** A stage that is too small to decide watches a day where a later one decides, and longer where none does. */
function watchHours({ policy, plan }: RolloutRecord): number {
  return plan.stages.some(({ decides }) => decides) ? policy.minHours : policy.watchHours
}

/** Hours since the stage began, without those in which it was paused. */
export function stageHours({ stageStartedMs, pausedMs, pausedSinceMs }: RolloutRecord, nowMs: number): number {
  const paused = pausedMs + (pausedSinceMs === null ? 0 : nowMs - pausedSinceMs)
  return Math.max(0, nowMs - stageStartedMs - paused) / HOUR_MS
}

type Sums = readonly [y: number, x: number]

/** What a device did before a moment. */
export interface DevicePast {
  /** by signal, in all of the hours; signals it has no data of are left out */
  readonly past: Readonly<Record<string, Sums>>
  /** the same in two halves of those hours, where both say something: how far it wanders by itself */
  readonly halves: Readonly<Record<string, readonly [earlier: Sums, later: Sums]>>
}

/** What each signal of a policy was, of a device that ran a release in the hours before a moment. */
export function pastOf(
  store: Store,
  device: number,
  release: ReleaseRecord,
  policy: Pick<GatePolicy, 'metrics' | 'covariateHours'>,
  nowMs: number,
): DevicePast {
  const to = hourStartMs(nowMs)
  const covariateHours = Math.floor(policy.covariateHours)
  const { prefix, places } = toModel(release)
  const hours = store.outcomes.slots(device, prefix, to - covariateHours * HOUR_MS, to)
  const middle = hourIndex(to) - covariateHours / 2
  const parts = [hours, hours.filter(({ hour }) => hour < middle), hours.filter(({ hour }) => hour >= middle)]
  const past: Record<string, Sums> = {}
  const halves: Record<string, readonly [Sums, Sums]> = {}
  for (const signal of signalsOf(policy)) {
    if (signal.kind === 'first') continue
    const [whole, earlier, later] = parts.map((some) => outcomeOf(signal, { hours: some, places }))
    if (whole !== undefined) past[signal.name] = [whole.y, whole.x]
    if (earlier !== undefined && later !== undefined)
      halves[signal.name] = [
        [earlier.y, earlier.x],
        [later.y, later.x],
      ]
  }
  return { past, halves }
}

/** The devices of a rollout that is over against what they did before it, in a window after its end. */
export function gatherAfter(
  store: Store,
  rollout: RolloutRecord,
  fromMs: number,
  toMs: number,
): Readonly<Record<string, ArmOutcomes>> {
  const { prefix, places } = toModel(store.models.byId(rollout.release))
  const members = store.rollouts
    .devices(rollout.id)
    .filter(({ stage }) => stage !== null)
    .map((row) => ({ row, hours: store.outcomes.slots(row.device, prefix, fromMs, toMs), places, slices: undefined }))
  return Object.fromEntries(
    signalsOf(rollout.policy)
      .filter(({ kind }) => kind !== 'first')
      .map((signal) => [signal.name, pairsOf(signal, members)]),
  )
}
