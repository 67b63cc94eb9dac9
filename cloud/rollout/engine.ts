import { bytesToHex } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { present } from '../../contract/present.ts'
import type { SecureRandom } from '../../contract/random.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { DeviceRecord } from '../store/device-store.ts'
import type { GatePolicy } from '../store/gate-policy.ts'
import type { GateReading } from '../store/gate-reading.ts'
import type { RolloutRecord } from '../store/rollout-store.ts'
import type { Store } from '../store/store.ts'
import { bucketOf, isExposed } from './cohort.ts'
import { gatherEvidence } from './evidence.ts'
import { isEligible, KINGLET, performStep } from './executor.ts'
import { judgeStage } from './gate.ts'
import { gateWords } from './gate-words.ts'
import { planRollout, type RolloutStep } from './planner.ts'

export interface RolloutRequest {
  readonly name: string
  readonly version?: number | undefined
  /** rising, at most 10, the last 100 */
  readonly percents: readonly number[]
  readonly policy: GatePolicy
  /** start although the candidate raises the security counter, which makes rolling back impossible */
  readonly irreversible: boolean
}

/** What a tick did. */
export interface TickOutcome {
  readonly rollout: RolloutRecord
  readonly steps: readonly RolloutStep[]
}

/** Runs rollouts: reads the gate, plans, performs. Everything it knows is in the store and every tick is one transaction, so
 *  a process killed at any point goes on where it was.
 */
export class RolloutEngine {
  readonly #store: Store
  readonly #clock: Clock
  readonly #random: SecureRandom

  constructor(store: Store, clock: Clock, random: SecureRandom) {
    this.#store = store
    this.#clock = clock
    this.#random = random
  }

  /** Starts a rollout of a staged release; its first stage begins at the next tick.
   *  @returns `not-found` | `conflict` | `wrong-board` | `security-counter-too-low`
   */
  start(request: RolloutRequest, by: string): Result<RolloutRecord, ContractError> {
    const { models, rollouts, devices, audit } = this.#store
    return this.#store.atomically(() => {
      const release = models.byName(request.name, request.version)
      if (release === undefined) return err(contractError('not-found', `no release "${request.name}"`))
      const open = rollouts.open()
      if (open !== undefined) return err(contractError('conflict', `rollout ${open.id} is ${open.state}`))
      if (release.state !== 'staging') {
        return err(contractError('conflict', `${release.name} is ${release.state}: promote it to staging first`))
      }
      const previous = models.production()
      if (previous === undefined) return err(contractError('conflict', 'there is no production model to compare with'))
      if (!devices.enrolled().some((device) => device.target === previous.id && isEligible(device, release))) {
        return err(contractError('wrong-board', `no device on ${previous.name} has a board of ${release.name}`))
      }
      const counter = previous.content.securityCounter
      if (release.content.securityCounter > counter && !request.irreversible) {
        return err(
          contractError('security-counter-too-low', `${previous.name} has ${counter}: devices could not go back to it`),
        )
      }
      const now = this.#clock.wallMs()
      const id = `r-${bytesToHex(this.#random.bytes(5))}`
      const salt = bytesToHex(this.#random.bytes(16))
      const { percents, policy } = request
      rollouts.add({
        ...{ id, release: release.id, previous: previous.id, percents, policy, salt, createdMs: now, createdBy: by },
        why: 'Started; the first stage begins at the next evaluation.',
      })
      const detail = { model: release.name, version: release.version, previous: previous.name, percents, policy }
      audit.append({ atMs: now, actor: by, action: 'rollout.started', subject: id, detail })
      return ok(present(rollouts.get(id), 'the rollout just changed'))
    })
  }

  /** Reads the gate of the open rollout, plans and performs. @returns undefined when no rollout is open */
  tick(): TickOutcome | undefined {
    const { rollouts } = this.#store
    if (rollouts.open() === undefined) return undefined
    return this.#store.atomically(() => {
      const rollout = present(rollouts.open(), 'the open rollout')
      const nowMs = this.#clock.wallMs()
      const reading = this.#read(rollout, nowMs)
      const why = reading === null ? 'Started.' : gateWords(reading)
      const steps = planRollout(rollout, reading)
      if (reading !== null) rollouts.setReading(rollout.id, reading, rollout.state === 'paused' ? rollout.why : why)
      for (const step of steps) {
        performStep(step, { store: this.#store, rollout, nowMs, actor: KINGLET, why, reading })
      }
      return { rollout: present(rollouts.get(rollout.id), 'the rollout just changed'), steps }
    })
  }

  #read(rollout: RolloutRecord, nowMs: number): GateReading | null {
    return rollout.stage === 0 ? null : judgeStage(rollout.policy, gatherEvidence(this.#store, rollout, nowMs))
  }

  /** Stops a rollout from advancing; harm still withdraws it. @returns `not-found` | `conflict` */
  pause(id: string, by: string, reason: string): Result<RolloutRecord, ContractError> {
    return this.#byHand(id, ['running'], (rollout, now) => {
      this.#store.rollouts.setState(id, 'paused', `Paused by ${by}: ${reason}`, null)
      this.#audit(now, by, 'rollout.paused', rollout, reason)
    })
  }

  /** Lets a paused rollout go on, and grants the stage as many hours again as its policy allows. */
  resume(id: string, by: string, reason: string): Result<RolloutRecord, ContractError> {
    return this.#byHand(id, ['paused'], (rollout, now) => {
      const elapsedHours = (now - rollout.stageStartedMs) / 3_600_000
      const { maxHours } = rollout.policy
      if (elapsedHours >= maxHours + rollout.grantedHours) {
        this.#store.rollouts.grant(id, elapsedHours - rollout.grantedHours)
      }
      this.#store.rollouts.setState(id, 'running', `Resumed by ${by}: ${reason}`, null)
      this.#audit(now, by, 'rollout.resumed', rollout, reason)
    })
  }

  /** Takes an open rollout back by hand. */
  rollback(id: string, by: string, reason: string): Result<RolloutRecord, ContractError> {
    return this.#byHand(id, ['running', 'paused'], (rollout, nowMs) => {
      const why = `Rolled back by ${by}: ${reason}`
      const reading = this.#read(rollout, nowMs)
      performStep({ kind: 'withdraw' }, { store: this.#store, rollout, nowMs, actor: by, why, reading })
    })
  }

  /** Gives a newly enrolled device its target: its arm by its hash while a rollout is open, the production model otherwise.
   *  It is no evidence before the next stage, since it was not randomised with the running one.
   *  To be called inside a transaction.
   */
  admit(device: DeviceRecord): void {
    const { models, rollouts, devices } = this.#store
    if (device.target !== null) return
    const production = models.production()
    if (production === undefined || !isEligible(device, production)) return
    const open = rollouts.open()
    const candidate = open && present(models.byId(open.release), 'the release of a rollout')
    if (open !== undefined && candidate !== undefined && open.stage > 0 && isEligible(device, candidate)) {
      const bucket = bucketOf(open.salt, device.name)
      rollouts.addDevice(open.id, device.id, bucket, true)
      if (isExposed(bucket, open.percents[open.stage - 1] ?? 0)) {
        rollouts.expose(open.id, device.id, open.stage)
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
    return this.#store.atomically(() => {
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
