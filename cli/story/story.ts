import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../contract/clock.ts'
import { present } from '../../contract/present.ts'
import type { SecureRandom } from '../../contract/random.ts'
import { ClockMaster } from '../../firmware-sim/clock-shared.ts'
import { CloudUnreachable } from '../cloud-api.ts'
import { CommandFailure } from '../failure.ts'
import { zooFile } from '../package-root.ts'
import { serviceClock } from '../service-clock.ts'
import { type GroundTruth, type RolloutView, StoryCloud, truthMatches } from './story-cloud.ts'
import { dutyCycle, type Figures, figureWords, perHour } from './story-figures.ts'
import { type StoryFleet, startStoryFleet } from './story-fleet.ts'
import { StoryRepository, storyRepositoryFolder } from './story-repository.ts'
import type { StoryResult } from './story-result.ts'
import { type StoryServices, startServices } from './story-services.ts'

export interface StoryOptions {
  readonly scenario: 'story' | 'quiet'
  readonly seed: number
  readonly devices: number
  /** virtual seconds per real second */
  readonly speed: number
  /** kill -9 the gateway, later the cloud, in mid-rollout */
  readonly chaos: boolean
  readonly dir: string
  readonly port: number
  /** folder of WAV files for the scenes, laid out as zoo/bank */
  readonly bankDir: string
  /** entry file of the command, for the services */
  readonly script: string
  readonly real: Clock
  readonly random: SecureRandom
  /** one line of progress for people */
  readonly say: (line: string) => void
  /** the present state in one line, rewritten in place on a terminal */
  readonly status: (line: string) => void
}

/** A story that has been told; the services go on until `close`. */
export interface ToldStory {
  readonly result: StoryResult
  readonly pageUrl: string
  close(): Promise<void>
}

const HOUR_MS = 3_600_000
/** Chosen: a Monday at midnight, the same for every run, so that the hour of day means the same. */
const START_MS = Date.UTC(2026, 0, 5)
/** Chosen: rollouts and drift are looked at four times an hour. */
const EVALUATE_EVERY_MS = 15 * 60_000
/** Chosen: the gateway's batches leave every ten minutes of fleet time. */
const UPLINK_EVERY_MS = 10 * 60_000
const BASELINE_HOURS = 14
/** Chosen: half a day of baseline is enough for 240 devices, and the story is short. */
const DRIFT_BASELINE_HOURS = 12
const RAMP_HOURS = 2
/** Hours measured under drift before the operator acts. */
const UNDER_DRIFT_HOURS = 6
const AFTER_HOURS = 6
/** Bounds on what the story waits for; past them it has not held. */
const ALERT_HOURS_MAX = 30
const GOOD_ROLLOUT_HOURS_MAX = 220
const BAD_ROLLOUT_HOURS_MAX = 72
const QUIET_HOURS = 60
const DRAIN_REAL_MS = 45_000

/** Tells the story of a fleet from end to end: real models on real sound, a real broker, a real store. */
export async function tellStory(options: StoryOptions): Promise<ToldStory> {
  const { real, say, dir } = options
  const startedMs = real.monotonicMs()
  mkdirSync(dir, { recursive: true })
  if (!storyRepositoryFolder(dir).isEmpty) {
    throw new CommandFailure(`${dir} holds a story already`, { hint: 'give another folder with --data' })
  }
  const clockFile = join(dir, 'clock')
  const master = new ClockMaster(clockFile, real, START_MS, options.speed, START_MS)
  let gone: string | undefined
  const services = await startServices({
    dir,
    script: options.script,
    clockFile,
    port: options.port,
    real,
    evaluateEveryMs: EVALUATE_EVERY_MS,
    uplinkEveryMs: UPLINK_EVERY_MS,
    driftBaselineHours: DRIFT_BASELINE_HOURS,
    onGone: (reason) => {
      gone = reason
    },
  })
  let story: Teller | undefined
  try {
    say(`cloud and gateway are up; status page ${services.pageUrl}`)
    const repository = await StoryRepository.found({
      ...{ dir, cloudDir: services.cloudDir, api: services.api, random: options.random },
      clock: serviceClock(real, clockFile),
    })
    story = new Teller(options, services, repository, master, () => gone)
    const result = await story.tell(startedMs)
    const told = story
    return {
      result,
      pageUrl: services.pageUrl,
      async close() {
        await told.close()
        await services.stop()
        master.close()
      },
    }
  } catch (error) {
    await story?.close()
    await services.stop()
    master.close()
    throw error
  }
}

class Teller {
  readonly #options: StoryOptions
  readonly #services: StoryServices
  readonly #cloud: StoryCloud
  readonly #repository: StoryRepository
  readonly #master: ClockMaster
  readonly #gone: () => string | undefined
  #fleet: StoryFleet | undefined
  #running: Promise<void> = Promise.resolve()
  #stop = false
  #fleetError: unknown

  constructor(
    options: StoryOptions,
    services: StoryServices,
    repository: StoryRepository,
    master: ClockMaster,
    gone: () => string | undefined,
  ) {
    this.#options = options
    this.#services = services
    this.#cloud = new StoryCloud(services.api)
    this.#repository = repository
    this.#master = master
    this.#gone = gone
  }

  async close(): Promise<void> {
    this.#stop = true
    await this.#running
    await this.#fleet?.close()
  }

  async tell(startedMs: number): Promise<StoryResult> {
    const { say, real, seed, devices, scenario } = this.#options
    await this.#repository.release('kws-1')
    await this.#cloud.promote('kws-1', 'staging', 'factory model')
    await this.#cloud.promote('kws-1', 'production', 'factory model')
    this.#fleet = await startStoryFleet({
      ...this.#options,
      startMs: START_MS,
      factoryImage: readFileSync(zooFile('bundles', 'kws-1.kinglet')),
      factoryModel: 'kws-1',
      trustRoot: this.#repository.firstRoot,
      api: this.#services.api,
      mqttUrl: this.#services.mqttUrl,
      master: this.#master,
    })
    const story = this.#fleet
    // Booting took real time; fleet time begins now.
    this.#master.holdAt(START_MS)
    this.#running = story.fleet
      .runUntil(() => this.#stop)
      .catch((error: unknown) => {
        this.#fleetError = error
      })
    say(`${devices} devices run kws-1 on ${new Set(story.fleet.devices.map(({ spec }) => spec.site)).size} sites`)
    await this.#hours(BASELINE_HOURS)
    const calm = await this.#figures(2, BASELINE_HOURS)
    say(`calm: ${figureWords(calm)}`)

    const told = scenario === 'story' ? await this.#drift() : await this.#quiet()
    this.#stop = true
    await this.#running
    // The devices' time has ended; what is under way still needs everybody else's to move.
    this.#master.holdAt(story.time.wallMs())
    this.#master.grant(0)
    const holding = await story.fleet.drain(DRAIN_REAL_MS)
    if (holding > 0) say(`${holding} devices still hold messages`)
    const { ledger } = story
    const groundTruth = await this.#groundTruth()
    const groundTruthMatches = truthMatches(groundTruth)
    const rollouts = await this.#cloud.rollouts()
    const alerts = await this.#cloud.alerts()
    const counters = await this.#cloud.counters()
    const total = (counters.counters.radioRxBytes ?? 0) + (counters.counters.radioTxBytes ?? 0)
    const sum = (values: Readonly<Record<string, number>>) => Object.values(values).reduce((a, b) => a + b, 0)
    const deviceDays = sum(counters.levelMs) / (24 * HOUR_MS)
    const endModels = new Map<string, number>()
    for (const { model } of story.fleet.devices)
      endModels.set(model ?? 'none', (endModels.get(model ?? 'none') ?? 0) + 1)
    const wanted = rollouts.some(({ model, state }) => model === 'kws-2' && state === 'completed')
      ? ['kws-2']
      : ['kws-1', 'kws-2']
    const checks = [
      ...told.checks,
      {
        what: `every device ends on an intended model: ${[...endModels].map(([model, n]) => `${n} on ${model}`).join(', ')}`,
        holds: [...endModels.keys()].every((model) => wanted.includes(model)),
      },
      {
        what: `updates went out as patches: ${ledger.patchDownloads} of ${ledger.downloads} downloads`,
        holds: ledger.downloads === 0 || ledger.patchDownloads > 0,
      },
      { what: "the cloud's counters equal the simulator's ground truth", holds: groundTruthMatches },
    ]
    return {
      ok: checks.every(({ holds }) => holds),
      scenario,
      seed,
      devices,
      wallSeconds: (real.monotonicMs() - startedMs) / 1000,
      virtualHours: (story.time.wallMs() - START_MS) / HOUR_MS,
      rollouts: rollouts.map(({ model, state, reachedPercent, devicesExposed, hoursToDecision, why }) => ({
        model,
        state,
        reachedPercent,
        devicesExposed,
        hoursToDecision,
        why,
      })),
      falseWakesPerHour: {
        calm: perHour(calm, 'rejected'),
        before: perHour(told.before, 'rejected'),
        after: perHour(told.after, 'rejected'),
      },
      dutyCycle: { calm: dutyCycle(calm), before: dutyCycle(told.before), after: dutyCycle(told.after) },
      wakesPerHour: {
        calm: perHour(calm, 'wakes'),
        before: perHour(told.before, 'wakes'),
        after: perHour(told.after, 'wakes'),
      },
      bytesOnAir: { total, perDevice: total / devices },
      downloads: {
        count: ledger.downloads,
        patches: ledger.patchDownloads,
        bytes: ledger.downloadBytes,
        asBundlesBytes: ledger.bundleBytes,
      },
      energyJoulePerDeviceDay: sum(counters.energyMj) / 1000 / Math.max(deviceDays, 1e-9),
      alerts: alerts.map(({ code, metric, modelName, ratio, sinceMs }) => ({
        code,
        metric,
        model: modelName,
        ratio,
        hoursAfterDrift: told.driftMs === null ? null : (sinceMs - told.driftMs) / HOUR_MS,
      })),
      hoursToDetect: {
        drift: told.hoursToDrift,
        badModel: rollouts.find(({ model }) => model === 'kws-regressed')?.hoursToDecision ?? null,
      },
      devicesEverOnBadModel: story.fleet.devices.filter(({ modelsRun }) => modelsRun.includes('kws-regressed')).length,
      restarts: { cloud: this.#services.cloud.restarts, gateway: this.#services.gateway.restarts },
      groundTruthMatches,
      groundTruth,
      windowsInferred: story.hearing.inferred,
      checks,
    }
  }

  async #drift() {
    const { say } = this.#options
    const story = present(this.#fleet, 'the fleet')
    const driftMs = story.time.wallMs()
    story.raiseNoise(RAMP_HOURS)
    say('the noise floor rises')
    const alerted = await this.#until(async () => (await this.#cloud.alerts()).length > 0, ALERT_HOURS_MAX)
    const hoursToDrift = alerted ? (story.time.wallMs() - driftMs) / HOUR_MS : null
    const first = (await this.#cloud.alerts()).at(-1)
    if (first !== undefined) {
      say(
        `drift alert after ${hoursToDrift?.toFixed(1)} h: ${first.metric} of ${first.modelName} is ${first.ratio.toFixed(1)} times its baseline`,
      )
    }
    await this.#until(
      async () => story.time.wallMs() >= driftMs + (RAMP_HOURS + UNDER_DRIFT_HOURS) * HOUR_MS,
      ALERT_HOURS_MAX,
    )
    const before = await this.#figures(
      (driftMs - START_MS) / HOUR_MS + RAMP_HOURS,
      (story.time.wallMs() - START_MS) / HOUR_MS,
    )
    say(`under noise: ${figureWords(before)}`)

    const good = await this.#rollOut(
      'kws-2',
      'fine-tuned on the noise of the field',
      GOOD_ROLLOUT_HOURS_MAX,
      this.#options.chaos,
    )
    const afterFrom = (story.time.wallMs() - START_MS) / HOUR_MS
    await this.#hours(AFTER_HOURS)
    const after = await this.#figures(afterFrom, afterFrom + AFTER_HOURS)
    say(`after the update: ${figureWords(after)}`)

    const bad = await this.#rollOut(
      'kws-regressed',
      'passed its offline check on quiet clips',
      BAD_ROLLOUT_HOURS_MAX,
      false,
    )
    // Exposed devices return to the image in their other slot: no download, one reboot each.
    const returned = await this.#until(
      async () => story.fleet.devices.every(({ model, diedAtMs }) => diedAtMs !== undefined || model === good?.model),
      12,
    )
    if (returned) say('every device is back on kws-2')
    const before2 = perHour(before, 'rejected') ?? 0
    const after2 = perHour(after, 'rejected') ?? Number.POSITIVE_INFINITY
    return {
      before,
      after,
      driftMs,
      hoursToDrift,
      checks: [
        { what: 'the rise of the noise floor raised a drift alert', holds: alerted },
        {
          what: 'kws-2 was released, gated and reached 100 %',
          holds: good?.state === 'completed' && good.reachedPercent === 100,
        },
        {
          what: `false wakes fell from ${before2.toFixed(2)} to ${after2.toFixed(2)} an hour`,
          holds: after2 < before2,
        },
        {
          what: 'kws-regressed was rolled back by the gate, still in canary',
          holds: bad?.state === 'rolled-back' && bad.stage === 1,
        },
        { what: 'every exposed device went back', holds: returned },
      ],
    }
  }

  async #quiet() {
    const { say } = this.#options
    const good = await this.#rollOut('kws-2', 'the same field, a newer model', QUIET_HOURS, this.#options.chaos)
    const figures = await this.#figures(
      BASELINE_HOURS,
      (present(this.#fleet, 'the fleet').time.wallMs() - START_MS) / HOUR_MS,
    )
    const alerts = await this.#cloud.alerts()
    say(`quiet field: ${figureWords(figures)}; ${alerts.length} alerts`)
    return {
      before: null,
      after: figures,
      driftMs: null,
      hoursToDrift: null,
      checks: [
        { what: 'no rollout was rolled back', holds: good !== undefined && good.state !== 'rolled-back' },
        { what: 'no alert was raised', holds: alerts.length === 0 },
      ],
    }
  }

  /** Releases a model, starts its rollout and waits for the decision. */
  async #rollOut(name: string, reason: string, hoursMax: number, chaos: boolean): Promise<RolloutView | undefined> {
    const { say } = this.#options
    await this.#repository.release(name)
    await this.#cloud.promote(name, 'staging', reason)
    const id = await this.#cloud.startRollout(name)
    say(`${name} is released (${reason}); stages 20, 50, 100 %`)
    let stage = 0
    let last: RolloutView | undefined
    const chaosAt = { gateway: this.#nowHours() + 6, cloud: this.#nowHours() + 12, done: chaos ? 0 : 2 }
    await this.#until(async () => {
      const now = this.#nowHours()
      if (chaosAt.done === 0 && now >= chaosAt.gateway) {
        chaosAt.done = 1
        say('kill -9 of the gateway')
        this.#services.gateway.kill()
      }
      if (chaosAt.done === 1 && now >= chaosAt.cloud) {
        chaosAt.done = 2
        say('kill -9 of the cloud')
        this.#services.cloud.kill()
      }
      last = await this.#cloud.rollout(id)
      if (last.stage !== stage) {
        stage = last.stage
        say(`${name}: stage ${stage}, ${last.percents[stage - 1]} % of the fleet`)
      }
      this.#options.status(`${name} ${last.state} at ${last.reachedPercent} %: ${last.gateWords ?? last.why}`)
      return last.state !== 'running'
    }, hoursMax)
    if (last !== undefined)
      say(`${name}: ${last.state} at ${last.reachedPercent} %, ${last.devicesExposed} devices exposed: ${last.why}`)
    return last
  }

  #nowHours(): number {
    return (present(this.#fleet, 'the fleet').time.wallMs() - START_MS) / HOUR_MS
  }

  async #hours(count: number): Promise<void> {
    const end = this.#nowHours() + count
    await this.#until(async () => this.#nowHours() >= end, count + 1)
  }

  /** Waits for a condition; a cloud that is restarting is asked again.
   *  @returns whether it held within `hoursMax` of fleet time */
  async #until(condition: () => Promise<boolean>, hoursMax: number): Promise<boolean> {
    const end = this.#nowHours() + hoursMax
    for (;;) {
      const gone = this.#gone()
      if (gone !== undefined) throw new CommandFailure(gone)
      if (this.#fleetError !== undefined) throw this.#fleetError
      try {
        if (await condition()) return true
      } catch (error) {
        if (!(error instanceof CloudUnreachable)) throw error
      }
      if (this.#nowHours() >= end) return false
      this.#options.status('')
      await this.#pause(150)
    }
  }

  async #figures(fromHour: number, toHour: number): Promise<Figures> {
    return this.#cloud.figures(START_MS, fromHour, toHour)
  }

  /** Compares the cloud's sums with the ledger; the last messages get a while to arrive. */
  async #groundTruth(): Promise<GroundTruth> {
    const deadline = this.#options.real.monotonicMs() + DRAIN_REAL_MS
    for (;;) {
      let truth: GroundTruth | undefined
      try {
        truth = await this.#cloud.groundTruth(present(this.#fleet, 'the fleet').ledger)
      } catch (error) {
        if (!(error instanceof CloudUnreachable)) throw error
      }
      if (truth !== undefined && (truthMatches(truth) || this.#options.real.monotonicMs() > deadline)) return truth
      await this.#pause(200)
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#options.real.after(ms, resolve)
    })
  }
}
