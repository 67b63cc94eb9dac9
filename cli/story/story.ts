import { join } from 'node:path'
import type { Clock } from '../../contract/clock.ts'
import { present } from '../../contract/present.ts'
import type { SecureRandom } from '../../contract/random.ts'
import { ClockMaster } from '../../firmware-sim/clock-shared.ts'
import { SITE_NAMES } from '../../firmware-sim/fleet-plan.ts'
import { makeFolder } from '../../platform/make-folder.ts'
import { CommandFailure, fileFailure } from '../failure.ts'
import { serviceClock } from '../service-clock.ts'
import { storyBundle } from './story-bundles.ts'
import { StoryCloud } from './story-cloud.ts'
import { FAMILIES, ONE_FAMILY } from './story-families.ts'
import { figureWords } from './story-figures.ts'
import { type StoryFleet, startStoryFleet } from './story-fleet.ts'
import { storyOutcome } from './story-outcome.ts'
import { StoryRepository, storyRepositoryFolder } from './story-repository.ts'
import type { StoryResult } from './story-result.ts'
import { SCENARIOS, type Scenario } from './story-scenarios.ts'
import { type StoryServices, startServices } from './story-services.ts'
import { DRAIN_REAL_MS, StoryStage } from './story-stage.ts'

export interface StoryOptions {
  readonly scenario: Scenario
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
  /** what is being done now, or how far it is; repeated while nothing else is said */
  readonly doing: (what: string | (() => string)) => void
  /** the present state in one line, rewritten in place on a terminal */
  readonly status: (line: string) => void
}

/** A story that has been told; the services go on until `close`. */
export interface ToldStory {
  readonly result: StoryResult
  readonly pageUrl: string
  close(): Promise<void>
}

/** Chosen: a Monday at midnight, the same for every run, so that the hour of day means the same. */
const START_MS = Date.UTC(2026, 0, 5)
/** Chosen: rollouts and drift are looked at four times an hour. */
const EVALUATE_EVERY_MS = 15 * 60_000
/** Chosen: the gateway's batches leave every ten minutes of fleet time. */
const UPLINK_EVERY_MS = 10 * 60_000
/** Chosen: before the rise of the noise half a day is enough, since what follows is large; that two equal models are equal takes two days of
 *  each device's own past to show. */
const BASELINE_HOURS: Readonly<Record<Scenario, number>> = { story: 14, quiet: 50, families: 14 }
/** Chosen: the gateway's batches leave once a second while the last messages are waited for. */
const DRAIN_SPEED = 600
/** Hours in which a fleet that has just booted is not yet itself. */
const SETTLING_HOURS = 2
/** Chosen: half a day of baseline is enough for 240 devices, and the story is short. */
const DRIFT_BASELINE_HOURS = 12

/** Tells the story of a fleet from end to end: real models on real sound, a real broker, a real store. */
export async function tellStory(options: StoryOptions): Promise<ToldStory> {
  const { real, say, dir } = options
  const startedMs = real.monotonicMs()
  options.doing('preparing the data folder')
  try {
    makeFolder(dir)
  } catch (cause) {
    throw fileFailure(dir, cause)
  }
  if (!storyRepositoryFolder(dir).isEmpty) {
    throw new CommandFailure(`${dir} holds a story already`, { hint: 'give another folder with --data' })
  }
  const clockFile = join(dir, 'clock')
  /** What must be closed, the newest last. */
  const opened: (() => unknown)[] = []
  const close = async () => {
    for (const part of opened.splice(0).reverse()) await part()
  }
  const master = startClock(clockFile, options)
  opened.push(() => master.close())
  let failure: unknown
  try {
    const services = await startServices({
      dir,
      sites: SITE_NAMES,
      script: options.script,
      clockFile,
      port: options.port,
      real,
      evaluateEveryMs: EVALUATE_EVERY_MS,
      uplinkEveryMs: UPLINK_EVERY_MS,
      driftBaselineHours: DRIFT_BASELINE_HOURS,
      onGone: (gone) => {
        failure = gone
      },
      doing: options.doing,
    })
    opened.push(() => services.stop())
    // What they do before they end may wait for time.
    opened.push(() => master.grant(0))
    say(`cloud and gateway are up; status page ${services.pageUrl}`)
    options.doing('making keys and the first root')
    const repository = await StoryRepository.found({
      ...{ dir, cloudDir: services.cloudDir, api: services.api, random: options.random },
      clock: serviceClock(real, clockFile),
    })
    const cloud = new StoryCloud(services.api)
    const fleet = await startFactoryFleet(options, services, cloud, repository, master)
    opened.push(() => fleet.close())
    let stopping = false
    const running = fleet.fleet
      .runUntil(() => stopping)
      .catch((error: unknown) => {
        failure = error
      })
    const stop = async () => {
      stopping = true
      await running
    }
    opened.push(stop)
    const parts = { fleet, cloud, repository, services, real, say, status: options.status, startMs: START_MS }
    const stage = new StoryStage({ ...parts, failure: () => failure })
    const result = await play(stage, options, services, master, stop, startedMs)
    // The fleet has stopped, so its time does: else the page's hours would run on, empty.
    master.grant(master.nowMs())
    return { result, pageUrl: services.pageUrl, close }
  } catch (error) {
    await close()
    throw error
  }
}

function startClock(path: string, { real, speed }: StoryOptions): ClockMaster {
  try {
    return new ClockMaster(path, real, START_MS, speed, START_MS)
  } catch (cause) {
    throw fileFailure(path, cause)
  }
}

/** The fleet as it leaves the factory, with the model that is in production. */
async function startFactoryFleet(
  options: StoryOptions,
  { api, mqttUrl }: StoryServices,
  cloud: StoryCloud,
  repository: StoryRepository,
  master: ClockMaster,
): Promise<StoryFleet> {
  const families = options.scenario === 'families' ? FAMILIES : ONE_FAMILY
  const images = new Map<string, Uint8Array>()
  for (const { name, factory } of families) {
    options.doing(`releasing ${factory} to the image repository`)
    images.set(factory, storyBundle(factory).bytes)
    await repository.release(factory, name)
    await cloud.promote(factory, 'staging', 'factory model')
    await cloud.promote(factory, 'production', 'factory model')
  }
  const fleet = await startStoryFleet({
    ...options,
    startMs: START_MS,
    families,
    imageOf: (release) => present(images.get(release), release),
    trustRoot: repository.firstRoot,
    api,
    mqttUrl,
    master,
  })
  // Booting took real time; fleet time begins now.
  master.holdAt(START_MS)
  const sites = new Set(fleet.fleet.devices.map(({ spec }) => spec.site)).size
  const models = families.map(({ factory }) => factory).join(', ')
  options.say(`${options.devices} devices run ${models} on ${sites} sites`)
  return fleet
}

async function play(
  stage: StoryStage,
  { scenario, seed, devices, chaos, real, say, doing }: StoryOptions,
  services: StoryServices,
  master: ClockMaster,
  stopFleet: () => Promise<void>,
  startedMs: number,
): Promise<StoryResult> {
  doing(() => `hour ${Math.floor(stage.hour)} of the story`)
  await stage.wait(BASELINE_HOURS[scenario])
  const calm = await stage.figures(SETTLING_HOURS, BASELINE_HOURS[scenario])
  say(`calm: ${figureWords(calm)}`)
  const told = await SCENARIOS[scenario](stage, chaos)
  await stopFleet()
  // The devices' time has ended; what is under way still needs everybody else's to move, but not to run away.
  doing('waiting for the last messages')
  master.holdAt(stage.fleet.time.wallMs())
  master.pace(DRAIN_SPEED)
  master.grant(0)
  const holding = await stage.fleet.fleet.drain(DRAIN_REAL_MS)
  if (holding > 0) say(`${holding} devices still hold messages`)
  return storyOutcome(stage, told, calm, {
    scenario,
    seed,
    devices,
    restarts: { cloud: services.cloud.restarts, gateway: services.gateway.restarts },
    wallSeconds: () => (real.monotonicMs() - startedMs) / 1000,
  })
}
