import { bytesToHex } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import { parseDeviceQuery } from '../../contract/device-query.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { present } from '../../contract/present.ts'
import type { SecureRandom } from '../../contract/random.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { noFamily } from '../family.ts'
import type { AlertRecord } from '../store/alert-store.ts'
import type { ChangeFollower } from '../store/device-changes.ts'
import type { DeviceRecord } from '../store/device-store.ts'
import type { GatePolicy } from '../store/gate-policy.ts'
import type { GateReading } from '../store/gate-reading.ts'
import { type InstallingMax, NO_INSTALLING_MAX } from '../store/install-turns.ts'
import { type ReleaseRecord, shareBoards } from '../store/model-store.ts'
import { packInput } from '../store/packed-input.ts'
import type { RolloutPlan } from '../store/rollout-plan.ts'
import type { RolloutRecord } from '../store/rollout-store.ts'
import type { Store } from '../store/store.ts'
import { type HarmAfter, isFollowed, lookAfter } from './after-rollout.ts'
import { bucketOf, isExposed } from './cohort.ts'
import { resolvePolicy } from './declared-signals.ts'
import type { FleetHalves, FleetPast } from './detection.ts'
import { type Stopped, stopRelease } from './emergency-stop.ts'
import { halvesOf, stageHours } from './evidence.ts'
import { chosenFor, fits, KINGLET, type Pasts, pauseDevices, performStep, resumeDevices, takers } from './executor.ts'
import { environmentOf } from './fleet-slices.ts'
import { type GateLook, GateLooks, revisionOf } from './gate-looks.ts'
import { gateWords } from './gate-words.ts'
import { planRollout, type RolloutStep, stepsOn } from './planner.ts'
import { silenceBoundMs } from './silence-bound.ts'
import { planStages } from './stage-plan.ts'

/** chosen: of rollouts that are looked at in place; 1 000 devices with a week of hours take a ninth of it */
const KEPT_HOURS_BYTES = 64 * 1024 * 1024
/** chosen: devices whose past is read to plan a rollout; more tell no more of a fleet's mean and spread */
const PLANNED_DEVICES_MAX = 2_000

export interface RolloutRequest {
  readonly name: string
  readonly version?: number | undefined
  /** rising, at most 10, the last 100 */
  readonly percents: readonly number[]
  readonly policy: GatePolicy
  /** name@version of what it was made of */
  readonly policyName?: string | null
  /** start although the candidate raises the security counter, which makes rolling back impossible */
  readonly irreversible: boolean
  /** query of the devices that are chosen now and stay so; absent or null: whoever fits, also later */
  readonly devices?: string | null
  /** hours that it runs side by side with what devices run, in one stage; then all go back and nothing is promoted. Absent or null: none */
  readonly experimentHours?: number | null
  /** absent: any number installs at once */
  readonly installingMax?: InstallingMax
}

/** A rollout that could start. */
interface Prepared {
  readonly release: ReleaseRecord
  /** the release that most devices run */
  readonly previous: ReleaseRecord
  /** the request's, with what the release declares */
  readonly policy: GatePolicy
  readonly plan: RolloutPlan
  /** who is chosen; null: whoever fits */
  readonly chosen: ReadonlySet<number> | null
}

/** What a tick did. */
export interface TickOutcome {
  readonly rollout: RolloutRecord
  readonly steps: readonly RolloutStep[]
}

/** Bytes on the air of a device that runs another release: its patch, of two the one that agents of today take, else the compact image,
 *  else the bundle. */
function bytesToTake({ content }: ReleaseRecord, from: ReleaseRecord | undefined): number {
  const patch = (base: string | null): number | undefined => content.patches?.find((each) => each.base === base)?.bytes
  return (from === undefined ? undefined : patch(from.sha256)) ?? patch(null) ?? content.bytes
}

/** What is said before the words of a gate that does not decide alone. */
function preface({ policy, experimentHours }: RolloutRecord, { elapsedHours }: GateReading): string {
  const advisory = policy.advisory ? 'Advisory, nothing acts on it: ' : ''
  if (experimentHours === null) return advisory
  const gone = Math.min(experimentHours, Math.floor(elapsedHours))
  return `Experiment, ${gone} of ${experimentHours} h, nothing is promoted at its end. ${advisory}`
}

/** The gate of an experiment: exposed for its time, whatever is proven, and compared with a control wherever there are enough devices for one. */
function experimentPolicy(
  policy: GatePolicy,
  hours: number,
  percent: number,
  devices: number,
): Result<GatePolicy, ContractError> {
  if (policy.ungated) return err(contractError('invalid-request', 'an experiment compares: it cannot be ungated'))
  if (policy.manual !== 'none') {
    return err(contractError('invalid-request', 'an experiment ends by its time: no stage of it waits for a person'))
  }
  const smaller = (Math.min(percent, 100 - percent) / 100) * devices
  const comparison =
    policy.comparison !== 'auto' ? policy.comparison : smaller >= policy.minDevicesPerArm ? 'control' : 'past'
  return ok({
    ...{ ...policy, comparison, holdbackShare: 0, maxHours: hours },
    ...{ minHours: Math.min(policy.minHours, hours), soakHours: Math.min(policy.soakHours, hours) },
  })
}

/** Runs rollouts: reads the gate, plans, performs. Everything it knows is in the store and every tick is one transaction, so
 *  a process killed at any point goes on where it was.
 */
export class RolloutEngine {
  readonly #store: Store
  readonly #clock: Clock
  readonly #random: SecureRandom
  readonly #largeFrom: number
  readonly #looks: GateLooks
  readonly #changes: ChangeFollower
  /** the last look at each large rollout that was acted on */
  readonly #performed = new Map<string, GateLook>()

  /** @param largeFrom devices of a rollout from which on nobody looks at it in place */
  constructor(store: Store, clock: Clock, random: SecureRandom, largeFrom = Number.POSITIVE_INFINITY) {
    this.#store = store
    this.#clock = clock
    this.#random = random
    this.#largeFrom = largeFrom
    this.#looks = new GateLooks(store, KEPT_HOURS_BYTES)
    this.#changes = store.changes.follow()
  }

  /** Works out what a rollout would do: who takes part, what each stage can find. Changes nothing.
   *  @returns `not-found` | `conflict` | `wrong-board` | `security-counter-too-low`
   */
  plan(request: RolloutRequest): Result<RolloutPlan, ContractError> {
    const prepared = this.#prepare(request)
    return prepared.ok ? ok(prepared.value.plan) : prepared
  }

  #prepare(request: RolloutRequest): Result<Prepared, ContractError> {
    const { models } = this.#store
    const release = models.byName(request.name, request.version)
    if (release === undefined) return err(contractError('not-found', `no release "${request.name}"`))
    const experimentHours = request.experimentHours ?? null
    const choice = this.#choose(release, request.devices ?? (experimentHours === null ? null : ''))
    if (!choice.ok) return choice
    const chosen = choice.value
    const overlap = this.#overlap(release, chosen)
    if (overlap !== undefined) return err(contractError('conflict', overlap))
    // Devices that keep another release are brought back to production as a group too.
    const isReturn = release.state === 'production' && chosen !== null && experimentHours === null
    if (release.state !== 'staging' && !isReturn) {
      return err(contractError('conflict', `${release.name} is ${release.state}: promote it to staging first`))
    }
    if (models.productions(release.family).length === 0) {
      return err(contractError('conflict', `there is no production model of family ${release.family} to compare with`))
    }
    const now = this.#clock.wallMs()
    const { heard, unheard } = takers(this.#store, release, null, now, chosen)
    if (heard.length + unheard === 0) {
      const which = chosen === null ? 'no device' : `none of the ${chosen.size} devices that were chosen`
      return err(
        contractError(
          chosen === null ? 'wrong-board' : 'conflict',
          `${which} of family ${release.family} that runs another model has a board of ${release.name}`,
        ),
      )
    }
    if (heard.length === 0) {
      return err(contractError('conflict', `none of the ${unheard} devices that could take part has been heard lately`))
    }
    const before = new Map<number, number>()
    for (const { target } of heard) if (target !== null) before.set(target, (before.get(target) ?? 0) + 1)
    const ids = [...before].sort((a, b) => b[1] - a[1]).map(([id]) => id)
    const releases = ids.map((id) => present(models.byId(id), 'the release before a rollout'))
    const previous = present(releases[0], 'a release that some device runs')
    const lower = releases.find(({ content }) => content.securityCounter < release.content.securityCounter)
    // Of an experiment all have to go back.
    if (lower !== undefined && (!request.irreversible || experimentHours !== null)) {
      const counter = lower.content.securityCounter
      return err(
        contractError('security-counter-too-low', `${lower.name} has ${counter}: devices could not go back to it`),
      )
    }
    const wanted =
      experimentHours === null
        ? ok(request.policy)
        : experimentPolicy(request.policy, experimentHours, present(request.percents[0], 'a share'), heard.length)
    if (!wanted.ok) return wanted
    const resolved = resolvePolicy(wanted.value, release, releases)
    if (!resolved.ok) return resolved
    const policy = resolved.value
    const strange = policy.manual === 'none' || policy.manual === 'all' ? [] : policy.manual
    const unknown = strange.find((percent) => !request.percents.includes(percent))
    if (unknown !== undefined) {
      const stages = request.percents.join(', ')
      return err(contractError('invalid-request', `gate.manual: no stage of ${unknown} %; the stages are ${stages}`))
    }
    const noise = this.#store.outcomes.newestNoise()
    const traits = heard.map(({ id, board, site }) => ({
      ...{ board, site, environment: environmentOf(noise.get(id) ?? []) },
    }))
    const bytes = heard.map(({ target }) => bytesToTake(release, target === null ? undefined : models.byId(target)))
    const fleet = {
      ...{ devices: traits, unheard, pasts: this.#fleetPasts(heard, policy, now) },
      bytesPerDevice: bytes.reduce((sum, each) => sum + each, 0) / heard.length,
    }
    const plan = planStages(policy, request.percents, fleet)
    const planned = experimentHours === null ? plan : { ...plan, proposal: null }
    return ok({ release, previous, policy, plan: planned, chosen })
  }

  /** Devices that a query chooses of those that the release is for. @param query '': all of them; null: it is not asked for a choice */
  #choose(release: ReleaseRecord, query: string | null): Result<ReadonlySet<number> | null, ContractError> {
    if (query === null) return ok(null)
    const { groups, cohorts, devices } = this.#store
    const terms = parseDeviceQuery(query)
    if (!terms.ok) return terms
    const condition = groups.condition(terms.value, this.#clock.wallMs())
    if (!condition.ok) return condition
    const matching = cohorts.matching(release.family, condition.value)
    const fitting = devices.enrolled().filter((device) => matching.has(device.id) && fits(device, release))
    if (fitting.length > 0) return ok(new Set(fitting.map(({ id }) => id)))
    const of = `of family ${release.family} with a board of ${release.name}`
    return err(contractError('wrong-board', `"${query}" chooses no device ${of}`))
  }

  /** Which open rollout stands in the way of one of the release, in words: a device is in one at a time. Of two for one board a device that is
   *  enrolled meanwhile would belong to either, unless the devices of one were chosen at its start.
   *  @param chosen for the one that is to start; null: whoever fits */
  #overlap(release: ReleaseRecord, chosen: ReadonlySet<number> | null): string | undefined {
    const { models, rollouts, devices } = this.#store
    for (const open of rollouts.allOpen(release.family)) {
      const other = present(models.byId(open.release), 'the release of a rollout')
      const is = `rollout ${open.id} of ${other.name} ${other.version} is ${open.state}`
      if (!shareBoards(other, release)) continue
      const theirs = chosenFor(this.#store, open)
      const isIn = (device: DeviceRecord, of: ReadonlySet<number> | null): boolean => of?.has(device.id) ?? true
      const both = devices
        .enrolled()
        .find((device) => fits(device, other) && fits(device, release) && isIn(device, chosen) && isIn(device, theirs))
      const isWhole = chosen === null && theirs === null
      if (both === undefined && !isWhole) {
        // What one of them finds harmful is not brought to devices by the other.
        if (other.id === release.id) return `${is}: a release is in one rollout at a time`
        continue
      }
      const what =
        both === undefined
          ? 'a board of this release'
          : isWhole
            ? `${both.name} and what else has its board`
            : both.name
      return `${is} and has ${what}: a device is in one rollout at a time, so let it end or take it back first`
    }
    return undefined
  }

  /** What the devices did before now, by signal; of a large fleet that of every so many. */
  #fleetPasts(
    heard: readonly DeviceRecord[],
    policy: GatePolicy,
    nowMs: number,
  ): ReadonlyMap<string, { readonly past: FleetPast; readonly halves: FleetHalves }> {
    const every = Math.ceil(heard.length / PLANNED_DEVICES_MAX)
    const pasts = new Map<string, { past: FleetPast[number][]; halves: FleetHalves[number][] }>()
    const of = (name: string) => {
      const known = pasts.get(name) ?? { past: [], halves: [] }
      pasts.set(name, known)
      return known
    }
    for (const [i, device] of heard.entries()) {
      if (i % every !== 0 || device.target === null) continue
      const release = present(this.#store.models.byId(device.target), 'the target of a device')
      const before = halvesOf(this.#store, device.id, release, policy, nowMs)
      for (const [name, past] of Object.entries(before.past)) {
        of(name).past.push(...Array.from({ length: every }, () => past))
      }
      for (const [name, halves] of Object.entries(before.halves)) of(name).halves.push(halves)
    }
    return pasts
  }

  /** Starts a rollout of a staged release; its first stage begins at the next tick.
   *  @returns the codes of `plan`
   */
  start(request: RolloutRequest, by: string): Result<RolloutRecord, ContractError> {
    const { rollouts, audit, cohorts } = this.#store
    return this.#store.atomically(() => {
      const prepared = this.#prepare(request)
      if (!prepared.ok) return prepared
      const { release, previous, policy, plan, chosen } = prepared.value
      const now = this.#clock.wallMs()
      const id = `r-${bytesToHex(this.#random.bytes(5))}`
      const salt = bytesToHex(this.#random.bytes(16))
      const percents = plan.stages.map(({ percent }) => percent)
      const { experimentHours = null } = request
      const cohort = chosen === null ? null : (request.devices ?? '')
      rollouts.add({
        ...{
          id,
          release: release.id,
          previous: previous.id,
          percents,
          policy,
          plan,
          salt,
          createdMs: now,
          createdBy: by,
        },
        policyName: request.policyName ?? null,
        cohort,
        experimentHours,
        installingMax: request.installingMax ?? NO_INSTALLING_MAX,
        why: 'Started; the first stage begins at the next evaluation.',
      })
      if (chosen !== null) cohorts.freeze(id, chosen)
      const { policyName = null } = request
      const of = { model: release.name, version: release.version, previous: previous.name }
      const whom = { ...(cohort !== null && { cohort }), ...(experimentHours !== null && { experimentHours }) }
      const detail = { ...of, ...whom, percents, policyName, policy, plan }
      audit.append({ atMs: now, actor: by, action: 'rollout.started', subject: id, detail })
      return ok(present(rollouts.get(id), 'the rollout just changed'))
    })
  }

  /** Whether a rollout is too large to be looked at in place: `perform` is given what was read beside. */
  isLarge(rollout: RolloutRecord): boolean {
    return rollout.plan.devices >= this.#largeFrom
  }

  /** Reads the gate of an open rollout, plans and performs.
   *  @param pasts of a large one whose first stage is to begin
   *  @returns undefined when it is not open any more */
  tick(id: string, pasts?: Pasts): TickOutcome | undefined {
    const { rollouts } = this.#store
    return this.#reading(() => {
      const rollout = rollouts.get(id)
      if (rollout === undefined || rollout.endedMs !== null) return undefined
      const nowMs = this.#clock.wallMs()
      return this.#perform(rollout, this.#read(rollout, nowMs), nowMs, pasts)
    })
  }

  /** Notes the contacts of a look from one on, while the rollout is as it was looked at: a device may be in the other arm by now.
   *  @returns which comes next */
  noteContacts(look: GateLook, from: number, enough: () => boolean): number {
    const { rollouts } = this.#store
    const { contacts } = look
    return this.#store.atomically(() => {
      const rollout = from < contacts.length ? rollouts.get(look.rollout) : undefined
      if (rollout === undefined || revisionOf(rollout) !== look.revision) return contacts.length
      let next = from
      for (let contact = contacts[next]; contact !== undefined && !enough(); contact = contacts[++next]) {
        rollouts.noteContact(rollout.id, contact)
      }
      return next
    })
  }

  /** Plans and performs by what was read beside, when its contacts have been noted.
   *  @param packedInput to be kept with it; null: it is not to be kept
   *  @param pasts where it begins a stage
   *  @returns undefined when the rollout is not as it was looked at any more: look again */
  perform(look: GateLook, packedInput: Uint8Array | null, pasts?: Pasts): TickOutcome | undefined {
    const { rollouts } = this.#store
    return this.#store.atomically(() => {
      const rollout = rollouts.get(look.rollout)
      if (rollout === undefined || rollout.endedMs !== null || revisionOf(rollout) !== look.revision) return undefined
      this.#note(rollout, { ...look, contacts: [] }, packedInput)
      const outcome = this.#perform(rollout, look.reading, this.#clock.wallMs(), pasts)
      if (outcome.rollout.endedMs === null) this.#performed.set(rollout.id, look)
      else this.#performed.delete(rollout.id)
      return outcome
    })
  }

  /** Whether a stage begins by what was read. */
  beginsStage(rollout: RolloutRecord, reading: GateReading | null): boolean {
    return planRollout(rollout, reading).some(({ kind }) => kind === 'begin-stage')
  }

  #perform(rollout: RolloutRecord, reading: GateReading | null, nowMs: number, pasts?: Pasts): TickOutcome {
    const { rollouts } = this.#store
    const why = reading === null ? 'Started.' : `${preface(rollout, reading)}${gateWords(reading)}`
    const steps = planRollout(rollout, reading)
    if (reading !== null) rollouts.setReading(rollout.id, reading, rollout.state === 'paused' ? rollout.why : why)
    for (const step of steps) {
      performStep(step, { store: this.#store, rollout, nowMs, actor: KINGLET, why, reading, pasts })
    }
    return { rollout: present(rollouts.get(rollout.id), 'the rollout just changed'), steps }
  }

  /** A transaction in which gates are read in place: when it is undone, what was read in it may never have been. */
  #reading<T>(work: () => T): T {
    try {
      return this.#store.atomically(work)
    } catch (cause) {
      this.#changes.markAll()
      throw cause
    }
  }

  /** Reads the gate in place. */
  #read(rollout: RolloutRecord, nowMs: number): GateReading | null {
    if (rollout.stage === 0) return null
    this.#looks.note(this.#changes.take())
    const { look, input } = this.#looks.look(rollout, nowMs)
    this.#note(rollout, look, input === null ? null : packInput(input))
    return look.reading
  }

  /** What the gate says of the running stage to a person who ends it: of a large rollout what it said last. */
  #readNow(rollout: RolloutRecord, nowMs: number): GateReading | null {
    if (!this.isLarge(rollout) || rollout.stage === 0) return this.#read(rollout, nowMs)
    const last = this.#performed.get(rollout.id)
    // Evidence of the stage before would be frozen twice.
    if (last?.frame.stage === rollout.stage) return last.reading
    return new GateLooks(this.#store, 0).look(rollout, nowMs).look.reading
  }

  #note(rollout: RolloutRecord, { contacts, nowMs, reading }: GateLook, packedInput: Uint8Array | null): void {
    const { rollouts, readings } = this.#store
    for (const contact of contacts) rollouts.noteContact(rollout.id, contact)
    if (packedInput !== null) readings.keep(rollout.id, nowMs, reading, rollout.policy, packedInput)
  }

  /** Compares the devices of completed rollouts with their past, and gives what has nothing to run, or what has been archived,
   *  the production model of its family and board.
   *  @param found by who looks beside; undefined: it is looked at in place
   *  @returns alerts that were raised */
  lookAfter(found?: readonly HarmAfter[]): readonly AlertRecord[] {
    return this.#store.atomically(() => {
      this.#reconcile()
      this.#looks.forgetEnded()
      return lookAfter(this.#store, this.#clock.wallMs(), found)
    })
  }

  #reconcile(): void {
    const { devices, models, rollouts, cohorts } = this.#store
    const open = new Set(rollouts.allOpen().map(({ id }) => id))
    for (const device of devices.stranded()) {
      if (device.rollout !== null && open.has(device.rollout)) continue
      const production = models.productionFor(device.family, device.board)
      if (production === undefined || production.id === device.target) continue
      cohorts.end(device.id, 'archived')
      devices.retarget(device.id, { release: production.id, rollout: null, stage: 0, arm: 'none' })
    }
  }

  /** Stops a rollout from advancing and devices from downloading it; harm still withdraws it. @returns `not-found` | `conflict` */
  pause(id: string, by: string, reason: string): Result<RolloutRecord, ContractError> {
    return this.#byHand(id, ['running'], (rollout, now) => {
      pauseDevices({ store: this.#store, rollout, nowMs: now })
      this.#store.rollouts.setState(id, 'paused', `Paused by ${by}: ${reason}`, null)
      this.#audit(now, by, 'rollout.paused', rollout, reason)
    })
  }

  /** Lets a paused rollout go on, and grants the stage as many hours again as its policy allows. */
  resume(id: string, by: string, reason: string): Result<RolloutRecord, ContractError> {
    return this.#byHand(id, ['paused'], (rollout, now) => {
      const elapsedHours = stageHours(rollout, now)
      const { maxHours } = rollout.policy
      resumeDevices({ store: this.#store, rollout, nowMs: now })
      if (elapsedHours >= maxHours + rollout.grantedHours) {
        this.#store.rollouts.grant(id, elapsedHours - rollout.grantedHours)
      }
      this.#store.rollouts.setState(id, 'running', `Resumed by ${by}: ${reason}`, null)
      this.#audit(now, by, 'rollout.resumed', rollout, reason)
    })
  }

  /** Takes a rollout back by hand; also one that has completed, while no other has followed it.
   *  @returns `not-found` | `conflict` | `security-counter-too-low`: devices cannot go back */
  rollback(id: string, by: string, reason: string): Result<RolloutRecord, ContractError> {
    const { rollouts, models } = this.#store
    const rollout = rollouts.get(id)
    if (rollout?.state === 'completed') {
      if (rollout.experimentHours !== null) {
        return err(contractError('conflict', `${id} was an experiment: its devices have gone back at its end`))
      }
      if (isFollowed(this.#store, rollout)) {
        return err(
          contractError('conflict', `another rollout has followed ${id}: start one of the model to go back to`),
        )
      }
      const previous = present(models.byId(rollout.previous), 'the release before a rollout')
      const candidate = present(models.byId(rollout.release), 'the release of a rollout')
      if (candidate.content.securityCounter > previous.content.securityCounter) {
        const { securityCounter } = previous.content
        return err(
          contractError(
            'security-counter-too-low',
            `${previous.name} has ${securityCounter}: devices cannot go back to it`,
          ),
        )
      }
    }
    return this.#byHand(id, ['running', 'paused', 'completed'], (current, nowMs) => {
      const delayed = current.state === 'completed'
      const why = `Rolled back${delayed ? ' after its end' : ''} by ${by}: ${reason}`
      // Whoever takes back a large one does not wait for a look.
      const reading = delayed || this.isLarge(current) ? current.reading : this.#read(current, nowMs)
      performStep({ kind: 'withdraw' }, { store: this.#store, rollout: current, nowMs, actor: by, why, reading })
    })
  }

  /** Ends the running stage by hand, on the evidence as it is.
   *  @param full expose everybody at once
   *  @param pasts of a large rollout
   *  @returns `not-found` | `conflict` */
  advance(id: string, by: string, reason: string, full: boolean, pasts?: Pasts): Result<RolloutRecord, ContractError> {
    return this.#byHand(id, ['running', 'paused'], (rollout, nowMs) => {
      const why = `Advanced by ${by}, not by the gate: ${reason}`
      const reading = this.#readNow(rollout, nowMs)
      if (rollout.state === 'paused') resumeDevices({ store: this.#store, rollout, nowMs })
      this.#store.rollouts.setState(id, 'running', why, null)
      for (const step of stepsOn(rollout, reading, full)) {
        performStep(step, { store: this.#store, rollout, nowMs, actor: by, why, reading, pasts })
      }
      // What was said of the stage before would read as said of this one.
      const next = present(this.#store.rollouts.get(id), 'the rollout just changed')
      if (next.state === 'running') {
        this.#store.rollouts.setReading(id, this.isLarge(next) ? null : this.#read(next, nowMs), why)
      }
      this.#audit(nowMs, by, 'rollout.advanced', rollout, reason)
    })
  }

  /** Takes a release from the whole fleet: its open rollout, what devices keep, production. @returns `not-found` */
  stop(name: string, version: number | undefined, by: string, reason: string): Result<Stopped, ContractError> {
    const { models, audit } = this.#store
    return this.#reading(() => {
      const release = models.byName(name, version)
      if (release === undefined) return err(contractError('not-found', `no release "${name}"`))
      const nowMs = this.#clock.wallMs()
      const stopped = stopRelease(this.#store, release, { nowMs, actor: by, why: `Stopped by ${by}: ${reason}` })
      const detail = { ...stopped, version: release.version, from: release.state, reason }
      audit.append({ atMs: nowMs, actor: by, action: 'release.stopped', subject: release.name, detail })
      return ok(stopped)
    })
  }

  /** Changes, for a rollout that is open, what share of a stage's devices must have installed. What the gate compares stays as it was frozen.
   *  @returns `not-found` | `conflict` */
  setMinInstalledShare(id: string, share: number, by: string, reason: string): Result<RolloutRecord, ContractError> {
    return this.#byHand(id, ['running', 'paused'], (rollout, nowMs) => {
      this.#store.rollouts.setPolicy(id, { ...rollout.policy, minInstalledShare: share })
      const why = `share to install ${rollout.policy.minInstalledShare} → ${share}: ${reason}`
      this.#audit(nowMs, by, 'rollout.changed', rollout, why)
    })
  }

  /** Gives one device a model by hand, which no rollout then moves, or lets it follow production again.
   *  @param model null: the production model of its board
   *  @returns `not-found` | `wrong-board` | `conflict` */
  retarget(name: string, model: string | null, by: string, reason: string): Result<DeviceRecord, ContractError> {
    const { devices, models, audit, cohorts } = this.#store
    return this.#store.atomically(() => {
      const device = devices.byName(name)
      if (device === undefined) return err(contractError('not-found', `no device "${name}"`))
      const release = model === null ? models.productionFor(device.family, device.board) : models.byName(model)
      if (release === undefined) {
        return err(
          model === null
            ? contractError(
                'conflict',
                `no model of family ${device.family} is in production for board ${device.board}`,
              )
            : contractError('not-found', `no release "${model}"`),
        )
      }
      if (device.family !== release.family) {
        return err(
          contractError('conflict', `${release.name} is of family ${release.family}, ${name} follows ${device.family}`),
        )
      }
      if (!fits(device, release)) {
        return err(contractError('wrong-board', `${release.name} is not for board ${device.board}`))
      }
      devices.retarget(device.id, { release: release.id, rollout: null, stage: 0, arm: 'none' })
      devices.setPinned(device.id, model !== null)
      cohorts.end(device.id, 'by-hand')
      const detail = { model: release.name, pinned: model !== null, reason }
      audit.append({ atMs: this.#clock.wallMs(), actor: by, action: 'device.retargeted', subject: name, detail })
      return ok(present(devices.byName(name), 'the device just changed'))
    })
  }

  /** Has a device follow another family: its production model on the device's board, or its arm of the rollout that is open there.
   *  @returns `not-found` | `wrong-board` | `security-counter-too-low` | `conflict`: it takes part in a rollout */
  moveFamily(name: string, family: string, by: string, reason: string): Result<DeviceRecord, ContractError> {
    const { devices, models, rollouts, audit } = this.#store
    return this.#store.atomically(() => {
      const device = devices.byName(name)
      if (device === undefined || device.enrolledMs === null) {
        return err(contractError('not-found', `no device "${name}" is enrolled`))
      }
      if (device.family === family) return ok(device)
      const families = models.families()
      if (!families.includes(family)) {
        return err(contractError('not-found', noFamily(family, families)))
      }
      const open = rollouts.openOf(device.id)
      if (open !== undefined) {
        const { name: model } = present(models.byId(open.release), 'the release of a rollout')
        return err(
          contractError(
            'conflict',
            `${name} takes part in rollout ${open.id} of ${model}, which is ${open.state}: move it when that has ended`,
          ),
        )
      }
      const production = models.productionFor(family, device.board)
      if (production === undefined) {
        return err(
          contractError('wrong-board', `no model of family ${family} is in production for board ${device.board}`),
        )
      }
      // It has taken the counter of what it runs, and takes nothing below it.
      const target = device.target === null ? undefined : models.byId(device.target)
      const { securityCounter } = production.content
      if (target !== undefined && target.content.securityCounter > securityCounter) {
        const own = `${target.name} has ${target.content.securityCounter}`
        return err(
          contractError(
            'security-counter-too-low',
            `${production.name} has ${securityCounter}, ${own}: it would refuse it`,
          ),
        )
      }
      devices.moveFamily(device.id, family)
      this.admit(present(devices.byName(name), 'the device just changed'))
      const detail = { from: device.family, to: family, wasPinned: device.pinned, reason }
      audit.append({ atMs: this.#clock.wallMs(), actor: by, action: 'device.family-moved', subject: name, detail })
      return ok(present(devices.byName(name), 'the device just changed'))
    })
  }

  /** Gives a newly enrolled device its target: its arm by its hash while a rollout is open that takes whoever fits, the production model otherwise.
   *  It is no evidence before the next stage, since it was not randomised with the running one.
   *  To be called inside a transaction.
   */
  admit(device: DeviceRecord): void {
    const { models, rollouts, devices } = this.#store
    if (device.target !== null) return
    const production = models.productionFor(device.family, device.board)
    if (production === undefined) return
    const releaseOf = (rollout: RolloutRecord): ReleaseRecord =>
      present(models.byId(rollout.release), 'the release of a rollout')
    const open = rollouts
      .allOpen(device.family)
      .find((rollout) => rollout.cohort === null && fits(device, releaseOf(rollout)))
    // While a rollout is paused nobody is exposed.
    if (open?.state === 'running' && open.stage > 0) {
      const candidate = releaseOf(open)
      const bucket = bucketOf(open.salt, device.name)
      const nowMs = this.#clock.wallMs()
      const { board, site } = device
      const slices = { board, site, environment: null }
      const row = {
        ...{ device: device.id, bucket, late: true, previous: production.id, holdback: false, sinceMs: nowMs },
        ...slices,
      }
      rollouts.addDevice(open.id, { ...row, boundMs: silenceBoundMs(device) })
      if (isExposed(bucket, open.percents[open.stage - 1] ?? 0)) {
        rollouts.expose(open.id, [device.id], open.stage, nowMs)
        const tag = { rollout: open.id, stage: open.stage, arm: 'canary' as const }
        devices.retarget(device.id, { release: candidate.id, ...tag })
        return
      }
    }
    devices.retarget(device.id, { release: production.id, rollout: null, stage: 0, arm: 'none' })
  }

  #byHand(
    id: string,
    from: readonly RolloutRecord['state'][],
    change: (rollout: RolloutRecord, nowMs: number) => void,
  ): Result<RolloutRecord, ContractError> {
    const { rollouts } = this.#store
    return this.#reading(() => {
      const rollout = rollouts.get(id)
      if (rollout === undefined) return err(contractError('not-found', `no rollout "${id}"`))
      if (!from.includes(rollout.state)) return err(contractError('conflict', `rollout ${id} is ${rollout.state}`))
      change(rollout, this.#clock.wallMs())
      return ok(present(rollouts.get(id), 'the rollout just changed'))
    })
  }

  #audit(atMs: number, actor: string, action: string, rollout: RolloutRecord, reason: string): void {
    const detail = { stage: rollout.stage, why: reason, gate: rollout.reading }
    this.#store.audit.append({ atMs, actor, action, subject: rollout.id, detail })
  }
}
