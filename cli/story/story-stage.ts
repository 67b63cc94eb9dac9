import type { Clock } from '../../contract/clock.ts'
import { CloudUnreachable } from '../cloud-api.ts'
import { type GroundTruth, type RolloutView, type StoryCloud, truthMatches } from './story-cloud.ts'
import type { Figures } from './story-figures.ts'
import type { StoryFleet } from './story-fleet.ts'
import type { StoryRepository } from './story-repository.ts'
import type { StoryServices } from './story-services.ts'

const HOUR_MS = 3_600_000
/** Chosen: a gateway and a cloud that were killed are back long before, on a busy machine too. */
export const DRAIN_REAL_MS = 45_000
/** Hours of a rollout after which chaos kills the gateway, then the cloud. */
const CHAOS_HOURS = { gateway: 6, cloud: 12 } as const

interface Parts {
  /** fleet time at which the story begins, Unix ms */
  readonly startMs: number
  readonly fleet: StoryFleet
  readonly cloud: StoryCloud
  readonly repository: StoryRepository
  readonly services: StoryServices
  readonly real: Clock
  /** one line of progress for people */
  readonly say: (line: string) => void
  /** the present state in one line, rewritten in place on a terminal */
  readonly status: (line: string) => void
  /** why the story cannot go on, once it cannot */
  readonly failure: () => unknown
}

/** What a scenario acts with: the fleet, the operator's cloud, and waiting, in hours of fleet time. */
export class StoryStage {
  readonly #parts: Parts
  readonly fleet: StoryFleet
  readonly cloud: StoryCloud
  readonly say: (line: string) => void

  constructor(parts: Parts) {
    this.#parts = parts
    this.fleet = parts.fleet
    this.cloud = parts.cloud
    this.say = parts.say
  }

  /** hours of fleet time since the story began */
  get hour(): number {
    return (this.fleet.time.wallMs() - this.#parts.startMs) / HOUR_MS
  }

  figures(fromHour: number, toHour: number): Promise<Figures> {
    return this.cloud.figures(this.#parts.startMs, fromHour, toHour)
  }

  async wait(hours: number): Promise<void> {
    const end = this.hour + hours
    await this.until(async () => this.hour >= end, hours + 1)
  }

  /** Waits for a condition; a cloud that is restarting is asked again.
   *  @returns whether it held within `hoursMax` of fleet time */
  async until(condition: () => Promise<boolean>, hoursMax: number): Promise<boolean> {
    const end = this.hour + hoursMax
    for (;;) {
      const failure = this.#parts.failure()
      if (failure !== undefined) throw failure
      try {
        if (await condition()) return true
      } catch (error) {
        if (!(error instanceof CloudUnreachable)) throw error
      }
      if (this.hour >= end) return false
      this.#parts.status('')
      await this.#pause(150)
    }
  }

  /** Releases a model, starts its rollout and waits for the decision.
   *  @param chaos kill -9 of the gateway, later of the cloud, in mid-rollout */
  async rollOut(name: string, reason: string, hoursMax: number, chaos: boolean): Promise<RolloutView | undefined> {
    return (await this.rollOutTogether([name], reason, hoursMax, chaos))[0]
  }

  /** The same of several models at once, each in its family.
   *  @returns their rollouts as they ended, or as they are when `hoursMax` are over */
  async rollOutTogether(
    names: readonly string[],
    reason: string,
    hoursMax: number,
    chaos: boolean,
  ): Promise<readonly RolloutView[]> {
    const { say, cloud } = this
    const { repository, status } = this.#parts
    const open = new Map<string, string>()
    for (const name of names) {
      await repository.release(name)
      await cloud.promote(name, 'staging', reason)
      open.set(name, await cloud.startRollout(name))
      say(`${name} is released (${reason}); stages 20, 50, 100 %`)
    }
    const stages = new Map<string, number>()
    const newest = new Map<string, RolloutView>()
    const disturb = chaos ? this.#disturbances() : () => undefined
    await this.until(async () => {
      disturb()
      for (const [name, id] of open) {
        const last = await cloud.rollout(id)
        newest.set(name, last)
        if (last.stage !== (stages.get(name) ?? 0)) {
          stages.set(name, last.stage)
          say(`${name}: stage ${last.stage}, ${last.percents[last.stage - 1]} % of its devices`)
        }
        status(`${name} ${last.state} at ${last.reachedPercent} %: ${last.gateWords ?? last.why}`)
        if (last.state === 'running') continue
        open.delete(name)
        say(`${name}: ${last.state} at ${last.reachedPercent} %, ${last.devicesExposed} devices exposed: ${last.why}`)
      }
      return open.size === 0
    }, hoursMax)
    for (const name of open.keys()) {
      const last = newest.get(name)
      if (last !== undefined) say(`${name}: still ${last.state} at ${last.reachedPercent} %: ${last.why}`)
    }
    return [...newest.values()]
  }

  /** Kills the gateway, later the cloud, when it is asked at their times; each once. */
  #disturbances(): () => void {
    const { services } = this.#parts
    const from = this.hour
    const due = [
      { atHour: from + CHAOS_HOURS.gateway, name: 'gateway', kill: () => services.gateway.kill() },
      { atHour: from + CHAOS_HOURS.cloud, name: 'cloud', kill: () => services.cloud.kill() },
    ]
    return () => {
      const [next] = due
      if (next === undefined || this.hour < next.atHour) return
      due.shift()
      this.say(`kill -9 of the ${next.name}`)
      next.kill()
    }
  }

  /** Compares the cloud's sums with the ledger; the last messages get a while to arrive. */
  async groundTruth(): Promise<GroundTruth> {
    const deadline = this.#parts.real.monotonicMs() + DRAIN_REAL_MS
    for (;;) {
      let truth: GroundTruth | undefined
      try {
        truth = await this.cloud.groundTruth(this.fleet.ledger)
      } catch (error) {
        if (!(error instanceof CloudUnreachable)) throw error
      }
      if (truth !== undefined && (truthMatches(truth) || this.#parts.real.monotonicMs() > deadline)) return truth
      await this.#pause(200)
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#parts.real.after(ms, resolve)
    })
  }
}
