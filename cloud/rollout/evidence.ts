import { present } from '../../contract/present.ts'
import type { GatePolicy } from '../store/gate-policy.ts'
import type { GateReading } from '../store/gate-reading.ts'
import type { ReleaseRecord } from '../store/model-store.ts'
import type { SlotOutcome } from '../store/outcome-store.ts'
import type { RolloutDevice, RolloutRecord } from '../store/rollout-store.ts'
import type { Store } from '../store/store.ts'
import { HOUR_MS, hourIndex, hourStartMs } from '../store/telemetry-store.ts'
import { type DeviceEvidence, KeptHours, type Model, RolloutEvidence } from './device-evidence.ts'
import { type DeviceHours, outcomeOf, type Weights } from './device-hours.ts'
import type { Spell } from './first-event.ts'
import { slicesOf } from './fleet-slices.ts'
import type { ArmOutcomes, FrozenSlice, GateFrame, GateInput, SignalInput } from './gate-input.ts'
import type { DeviceOutcome } from './log-ratio.ts'
import { manualStages } from './manual-stages.ts'
import { type DeclaredPlaces, declaredPlaces, type Signal, signalOf } from './signals.ts'

/** Collects what the gate reads. Everything is of whole hours that are known from both ends, numerator and exposure of the same hours of the
 *  same device, so what is late is missing in both and weighs nothing.
 */

const ceilHour = (ms: number): number => Math.ceil(ms / HOUR_MS) * HOUR_MS

/** What is read of hours. */
interface Reading {
  readonly signals: readonly Signal[]
  /** end of the hours that count, a number of an hour */
  readonly end: number
}

/** When the comparison of a stage begins: the first full hour by which half of those of its canaries that were heard run the candidate. Both
 *  arms are counted from there, so that they see the same hours of the day; it depends on installs, never on outcomes.
 *  @returns undefined until half have installed
 */
function comparisonStart(canary: readonly Counted[], model: Model, stageMs: number): number | undefined {
  const heard = canary.filter(({ row }) => row.enteredMs !== null)
  const starts: number[] = []
  for (const { evidence } of heard) {
    const start = evidence.firstStart(model, stageMs)
    if (start !== undefined) starts.push(start)
  }
  if (heard.length === 0 || 2 * starts.length < heard.length) return undefined
  starts.sort((a, b) => a - b)
  return ceilHour(present(starts[Math.ceil(heard.length / 2) - 1], 'the start of half of the canaries'))
}

/** A device that counts, with its row as of the look. */
interface Counted {
  readonly evidence: DeviceEvidence
  readonly row: RolloutDevice
  /** of the fleet that it is in; undefined: the rollout has none */
  readonly slices: Spell['slices']
}

/** One device of an arm with its hours. */
interface Member extends Pick<Counted, 'row' | 'slices'> {
  readonly hours: DeviceHours
}

/** Weights of hours, by which both arms have listened to each hour of the day alike: where the share of devices with data differs, the
 *  arm that has more is weighed down, and an hour that one arm lacks counts for none.
 */
function balance(arms: readonly (readonly Member[])[], end: number): readonly Weights[] {
  const shares = arms.map((members) => {
    const counts = new Map<number, number>()
    for (const { hours } of members) hours.each(end, (hour) => counts.set(hour, (counts.get(hour) ?? 0) + 1))
    const each = HOUR_MS / Math.max(1, members.length)
    return new Map([...counts].map(([hour, count]) => [hour, timesAdded(each, count)]))
  })
  const all = shares.flatMap((own) => [...own.keys()])
  const from = all.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY)
  const to = all.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
  return shares.map((own) => {
    const values = new Float64Array(Math.max(0, to - from + 1))
    for (const [hour, mine] of own) {
      values[hour - from] = Math.min(...shares.map((each) => each.get(hour) ?? 0)) / mine
    }
    return { from, values }
  })
}

/** The sum of a number with itself, added one by one: rounded as a sum over devices is, in whichever order they come. */
function timesAdded(value: number, times: number): number {
  let sum = 0
  for (let i = 0; i < times; i++) sum += value
  return sum
}

type ArmsOf = (signal: Signal) => ArmOutcomes

/** Two arms in hours that both have alike; the slices of the fleet have the same hours as the whole. */
function balancedArms({ signals, end }: Reading, canary: readonly Member[], control: readonly Member[]): ArmsOf {
  const [ofCanary, ofControl] = balance([canary, control], end)
  const arm = (signal: Signal, members: readonly Member[], weights: Weights | undefined): DeviceOutcome[] => {
    const index = signals.indexOf(signal)
    const outcomes: DeviceOutcome[] = []
    for (const { hours, row, slices } of members) {
      const outcome = hours.outcome(index, end, weights)
      if (outcome !== undefined) outcomes.push({ ...outcome, past: row.past?.[signal.name], slices })
    }
    return outcomes
  }
  return (signal) => ({ canary: arm(signal, canary, ofCanary), control: arm(signal, control, ofControl) })
}

/** The same devices after and before; only those of which both are known. */
function pairsOf<M extends Pick<Member, 'row'>>(
  { name }: Signal,
  members: readonly M[],
  after: (member: M) => DeviceOutcome | undefined,
): ArmOutcomes {
  const canary: DeviceOutcome[] = []
  const control: DeviceOutcome[] = []
  for (const member of members) {
    const outcome = after(member)
    const before = member.row.past?.[name]
    if (outcome === undefined || before === undefined || before[1] <= 0) continue
    canary.push(outcome)
    control.push({ y: before[0], x: before[1] })
  }
  return { canary, control }
}

/** First events in hours: of a device whose hours are known, from the first to the last of them. */
function spellsOfHours(
  { signals, end }: Reading,
  signal: Signal,
  arm: Spell['arm'],
  members: readonly Member[],
): Spell[] {
  if (signal.ofHour === undefined) return []
  const index = signals.indexOf(signal)
  const spells: Spell[] = []
  for (const { hours, slices } of members) {
    const spell = hours.spell(index, end)
    if (spell !== undefined) spells.push({ arm, from: spell.first, to: spell.last + 1, event: spell.event, slices })
  }
  return spells
}

/** Contact, restarts and faults are of the whole rollout, by when devices were heard and what they said. */
function lifeSpells(signal: Signal, { row, evidence }: Counted, candidate: Model, nowMs: number): Spell[] {
  return signal.source === 'contact' ? contactSpells(row, nowMs) : eventSpells(signal, evidence, row, candidate)
}

function contactSpells(row: RolloutDevice, nowMs: number): Spell[] {
  const { stage, sinceMs, enteredMs, controlEnteredMs, silentMs, lastSeenMs } = row
  const spells: Spell[] = []
  if (controlEnteredMs !== null) {
    // Whoever was exposed had not fallen silent before.
    spells.push({ arm: 'control', from: hourIndex(controlEnteredMs), to: hourIndex(sinceMs), event: null })
  }
  if (enteredMs === null) return spells
  const arm = stage === null ? 'control' : 'canary'
  const from = hourIndex(enteredMs)
  // An event is when the silence is too long, so that both arms are known until now.
  const to = hourIndex(silentMs ?? Math.max(lastSeenMs, nowMs)) + 1
  spells.push({ arm, from, to, event: silentMs === null ? null : hourIndex(silentMs) })
  return spells
}

function eventSpells(signal: Signal, evidence: DeviceEvidence, row: RolloutDevice, candidate: Model): Spell[] {
  const { stage, sinceMs, enteredMs, lastSeenMs } = row
  if (enteredMs === null) return []
  const entry = stage === null ? sinceMs : evidence.firstStart(candidate, sinceMs)
  if (entry === undefined) return []
  const at = evidence.eventAfter(signal, entry)
  const from = hourIndex(entry)
  const to = hourIndex(Math.max(lastSeenMs, entry)) + 1
  const event = at === undefined ? null : hourIndex(at)
  return [{ arm: stage === null ? 'control' : 'canary', from, to: Math.max(to, (event ?? 0) + 1), event }]
}

const toModel = (release: ReleaseRecord | undefined): Model => ({
  prefix: release?.prefix ?? '',
  places: declaredPlaces(release?.signals ?? []),
})

const signalsOf = ({ metrics }: Pick<GatePolicy, 'metrics'>): readonly Signal[] =>
  metrics.flatMap((metric) => signalOf(metric) ?? [])

/** What a device's row says of its contact, brought up to a moment. Whoever was heard in its arm is in it, and whoever was silent for too long
 *  stays so: a device that comes back was lost all the same, for as long as it takes to say so. */
function brought(evidence: DeviceEvidence, nowMs: number): RolloutDevice {
  const { row } = evidence
  const { sinceMs, lastSeenMs, boundMs } = row
  const enteredMs = row.enteredMs ?? (lastSeenMs > sinceMs ? lastSeenMs : null)
  const isLost = enteredMs !== null && row.silentMs === null && lastSeenMs + boundMs < nowMs && !evidence.isHeldOut
  const silentMs = isLost ? lastSeenMs + boundMs : row.silentMs
  return enteredMs === row.enteredMs && silentMs === row.silentMs ? row : { ...row, enteredMs, silentMs }
}

/** What a look has collected. */
export interface Gathered {
  readonly input: GateInput
  /** rows of devices whose contact is to be noted */
  readonly contacts: readonly Pick<RolloutDevice, 'device' | 'enteredMs' | 'silentMs'>[]
  /** from when on a device that is heard no more is silent; without a change and within the hour the input is the same until then, but for
   *  the hours that have elapsed */
  readonly sameUntilMs: number
}

/** Collects what the gate needs for the running stage, with nothing kept from before. */
export function gatherEvidence(store: Store, rollout: RolloutRecord, nowMs: number): GateInput {
  const evidence = new RolloutEvidence(store, rollout, new KeptHours(0))
  return gather(store, rollout, evidence, nowMs).input
}

/** Collects what the gate needs for the running stage.
 *  @param evidence of the rollout's devices, as fresh as the store */
export function gather(store: Store, rollout: RolloutRecord, evidence: RolloutEvidence, nowMs: number): Gathered {
  const { rollouts, models } = store
  const release = present(models.byId(rollout.release), 'the release of a rollout')
  const candidate = toModel(release)
  const known = new Map<number, Model>()
  const modelOf = (id: number): Model => {
    const model = known.get(id) ?? toModel(models.byId(id))
    known.set(id, model)
    return model
  }
  const { slices = [] } = rollout.plan
  const find = slicesOf(slices)
  const counted: Counted[] = []
  const contacts: Gathered['contacts'][number][] = []
  let sameUntilMs = Number.POSITIVE_INFINITY
  for (const each of evidence.devices) {
    const row = brought(each, nowMs)
    const { device, enteredMs, silentMs } = row
    if (row !== each.row) contacts.push({ device, enteredMs, silentMs })
    const silentFromMs = row.lastSeenMs + row.boundMs
    if (silentFromMs >= nowMs) sameUntilMs = Math.min(sameUntilMs, silentFromMs)
    if (row.late || each.isHeldOut) continue
    counted.push({ evidence: each, row, slices: slices.length === 0 ? undefined : find(row) })
  }
  const exposed = counted.filter(({ row, evidence }) => row.stage !== null && evidence.mayRun(candidate))
  const fresh = exposed.filter(({ row }) => row.stage === rollout.stage)
  const control = counted.filter(({ row }) => row.stage === null)
  const { comparison } = rollout.plan
  const start = comparisonStart(fresh, candidate, rollout.stageStartedMs)
  const endMs = hourStartMs(nowMs)
  const reading: Reading = { signals: signalsOf(rollout.policy), end: hourIndex(endMs) }
  const none: readonly Member[] = []
  const withHours = (
    members: readonly Counted[],
    model: (row: RolloutDevice) => Model,
    past: boolean,
  ): readonly Member[] => {
    const found: Member[] = []
    for (const { evidence, row, slices } of members) {
      const fromMs = past ? row.sinceMs : (start ?? endMs)
      if (endMs <= fromMs) continue
      const hours = evidence.hours(reading.signals, model(row), fromMs)
      if (hours.has(reading.end)) found.push({ row, slices, hours })
    }
    return found
  }
  const canaries =
    start === undefined && comparison !== 'past' ? none : withHours(exposed, () => candidate, comparison === 'past')
  const controls =
    start === undefined || comparison !== 'control'
      ? none
      : withHours(control, ({ previous }) => modelOf(previous), false)
  const batch = canaries.filter(({ row }) => row.stage === rollout.stage)

  const comparable = start !== undefined && controls.length > 0
  const batchOf = comparable && comparison !== 'past' ? balancedArms(reading, batch, controls) : null
  const laterOf = comparable && rollout.stage > 1 ? balancedArms(reading, canaries, controls) : null
  const frozenSlices = new Map<string, FrozenSlice[]>()
  for (const { signal, ...frozen } of slices.length === 0 ? [] : rollouts.sliceEvidence(rollout.id)) {
    const known = frozenSlices.get(signal)
    if (known === undefined) frozenSlices.set(signal, [frozen])
    else known.push(frozen)
  }
  const signals: Record<string, SignalInput> = {}
  for (const [index, signal] of reading.signals.entries()) {
    const { name } = signal
    const isFirst = signal.kind === 'first'
    const frozen = frozenSlices.get(name)
    signals[name] = {
      batch:
        comparison === 'past'
          ? pairsOf(signal, canaries, ({ hours }) => hours.outcome(index, reading.end))
          : isFirst
            ? null
            : (batchOf?.(signal) ?? null),
      later: isFirst ? null : (laterOf?.(signal) ?? null),
      spells:
        signal.source === undefined
          ? [
              ...spellsOfHours(reading, signal, 'canary', canaries),
              ...spellsOfHours(reading, signal, 'control', controls),
            ]
          : counted.flatMap((each) => {
              const spells = lifeSpells(signal, each, candidate, nowMs)
              return each.slices === undefined ? spells : spells.map((spell) => ({ ...spell, slices: each.slices }))
            }),
      frozen: rollouts.batches(rollout.id, name),
      frozenLater: rollouts.later(rollout.id, name),
      ...(frozen !== undefined && { frozenSlices: frozen }),
    }
  }
  const heard = (members: readonly Counted[]): number => members.filter(({ row }) => row.enteredMs !== null).length
  const counts: GateReading['counted'] = {
    canary: [batch.length, heard(counted.filter(({ row }) => row.stage === rollout.stage))],
    control: [controls.length, heard(control)],
  }
  return {
    input: {
      ...stageFrame(rollout, nowMs),
      signals,
      ...(slices.length > 0 && { slices }),
      installs: rollouts.installs(rollout.id, candidate.prefix, rollout.createdMs),
      exposure: rollouts.exposure(rollout.id, candidate.prefix, nowMs),
      counted: counts,
    },
    contacts,
    sameUntilMs,
  }
}

/** What the rollout itself and the time say of the running stage. */
export function stageFrame(
  rollout: RolloutRecord,
  nowMs: number,
): Omit<GateFrame, 'slices' | 'installs' | 'exposure' | 'counted'> {
  const plan = rollout.plan.stages[rollout.stage - 1]
  return {
    stage: rollout.stage,
    isLast: rollout.stage === rollout.percents.length,
    comparison: rollout.plan.comparison,
    decides: plan?.decides ?? true,
    ...(manualStages(rollout).includes(rollout.percents[rollout.stage - 1] ?? 0) && { manual: true }),
    elapsedHours: stageHours(rollout, nowMs),
    watchHours: watchHours(rollout),
    maxHours: rollout.policy.maxHours + rollout.grantedHours,
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

/** What each signal of a policy was, of a device that ran a release in the hours before a moment: in all of them; signals it has no data of are
 *  left out. */
export function pastOf(
  store: Store,
  device: number,
  release: ReleaseRecord,
  policy: Pick<GatePolicy, 'metrics' | 'covariateHours'>,
  nowMs: number,
): Readonly<Record<string, Sums>> {
  const { slots, places } = slotsBefore(store, device, release, policy, nowMs)
  return sumsOf(policy, slots, places)
}

/** The same, and in two halves of those hours, where both say something: how far it wanders by itself. */
export function halvesOf(
  store: Store,
  device: number,
  release: ReleaseRecord,
  policy: Pick<GatePolicy, 'metrics' | 'covariateHours'>,
  nowMs: number,
): {
  readonly past: Readonly<Record<string, Sums>>
  readonly halves: Readonly<Record<string, readonly [earlier: Sums, later: Sums]>>
} {
  const { slots, places, to, hours } = slotsBefore(store, device, release, policy, nowMs)
  const middle = hourIndex(to) - hours / 2
  const later = sumsOf(
    policy,
    slots.filter(({ hour }) => hour >= middle),
    places,
  )
  const earlier = Object.entries(
    sumsOf(
      policy,
      slots.filter(({ hour }) => hour < middle),
      places,
    ),
  )
  const both = earlier.flatMap(([name, sums]) =>
    later[name] === undefined ? [] : [[name, [sums, later[name]]] as const],
  )
  return { past: sumsOf(policy, slots, places), halves: Object.fromEntries(both) }
}

function slotsBefore(
  store: Store,
  device: number,
  release: ReleaseRecord,
  { covariateHours }: Pick<GatePolicy, 'covariateHours'>,
  nowMs: number,
) {
  const to = hourStartMs(nowMs)
  const hours = Math.floor(covariateHours)
  const { prefix, places } = toModel(release)
  return { slots: store.outcomes.slots(device, prefix, to - hours * HOUR_MS, to), places, to, hours }
}

function sumsOf(
  policy: Pick<GatePolicy, 'metrics'>,
  slots: readonly SlotOutcome[],
  places: DeclaredPlaces,
): Readonly<Record<string, Sums>> {
  const sums: Record<string, Sums> = {}
  for (const signal of signalsOf(policy)) {
    const outcome = signal.kind === 'first' ? undefined : outcomeOf(signal, slots, places)
    if (outcome !== undefined) sums[signal.name] = [outcome.y, outcome.x]
  }
  return sums
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
    .map((row) => ({ row, slots: store.outcomes.slots(row.device, prefix, fromMs, toMs) }))
  return Object.fromEntries(
    signalsOf(rollout.policy)
      .filter(({ kind }) => kind !== 'first')
      .map((signal) => [signal.name, pairsOf(signal, members, ({ slots }) => outcomeOf(signal, slots, places))]),
  )
}
