import { present } from '../../contract/present.ts'
import { REISSUED } from './story-bundles.ts'
import { HARMED_BOARD } from './story-families.ts'
import { type Figures, figureWords, perHour } from './story-figures.ts'
import type { StoryCheck } from './story-result.ts'
import type { StoryStage } from './story-stage.ts'

/** What a scenario has measured, and what had to hold. */
export interface Told {
  /** under drift, before the good rollout; null where there was none */
  readonly before: Figures | null
  readonly after: Figures
  /** when the noise floor rose, Unix ms of fleet time; null: it did not */
  readonly driftMs: number | null
  readonly hoursToDrift: number | null
  /** the release that is good enough for every device */
  readonly candidate: string
  /** releases that are to be taken back */
  readonly harmful: readonly string[]
  /** models on which devices may end; default: the candidate, and where it has not come through the factory's */
  readonly ends?: readonly string[]
  readonly checks: readonly StoryCheck[]
}

const RAMP_HOURS = 2
/** Hours measured under drift before the operator acts. */
const UNDER_DRIFT_HOURS = 6
const AFTER_HOURS = 6
/** Bounds on what the story waits for; past them it has not held. */
const ALERT_HOURS_MAX = 30
const GOOD_ROLLOUT_HOURS_MAX = 220
const BAD_ROLLOUT_HOURS_MAX = 72
const RETURN_HOURS_MAX = 12

/** The noise floor rises, a good model goes out, a bad one is taken back. */
async function drift(stage: StoryStage, chaos: boolean): Promise<Told> {
  const { fleet } = stage
  const driftHour = stage.hour
  const driftMs = fleet.time.wallMs()
  fleet.raiseNoise(RAMP_HOURS)
  stage.say('the noise floor rises')
  const alerted = await stage.until(async () => (await stage.cloud.alerts()).length > 0, ALERT_HOURS_MAX)
  const hoursToDrift = alerted ? stage.hour - driftHour : null
  const first = (await stage.cloud.alerts()).at(-1)
  if (first !== undefined) {
    stage.say(
      `drift alert after ${hoursToDrift?.toFixed(1)} h: ${first.metric} of ${first.modelName} is ${first.ratio.toFixed(1)} times its baseline`,
    )
  }
  await stage.until(async () => stage.hour >= driftHour + RAMP_HOURS + UNDER_DRIFT_HOURS, ALERT_HOURS_MAX)
  const before = await stage.figures(driftHour + RAMP_HOURS, stage.hour)
  stage.say(`under noise: ${figureWords(before)}`)

  const good = await stage.rollOut('kws-2', 'fine-tuned on the noise of the field', GOOD_ROLLOUT_HOURS_MAX, chaos)
  const afterFrom = stage.hour
  await stage.wait(AFTER_HOURS)
  const after = await stage.figures(afterFrom, afterFrom + AFTER_HOURS)
  stage.say(`after the update: ${figureWords(after)}`)

  const bad = await stage.rollOut(
    'kws-regressed',
    'passed its offline check on quiet clips',
    BAD_ROLLOUT_HOURS_MAX,
    false,
  )
  // Exposed devices return to the image in their other slot: no download, one reboot each.
  const returned = await stage.until(
    async () => fleet.fleet.devices.every(({ model, diedAtMs }) => diedAtMs !== undefined || model === good?.model),
    RETURN_HOURS_MAX,
  )
  if (returned) stage.say('every device is back on kws-2')
  const before2 = perHour(before, 'rejected') ?? 0
  const after2 = perHour(after, 'rejected') ?? Number.POSITIVE_INFINITY
  return {
    before,
    after,
    driftMs,
    hoursToDrift,
    candidate: 'kws-2',
    harmful: ['kws-regressed'],
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

/** The same model under a new version, in the same field: it is to reach every device, and nothing else is to happen. With another network
 *  nobody could promise that: whether it is better in a field is what the fleet is asked. */
async function quiet(stage: StoryStage, chaos: boolean): Promise<Told> {
  // The figures are of whole hours: the one that has just begun is one of them.
  const fromHour = Math.floor(stage.hour)
  const good = await stage.rollOut(REISSUED, 'the same networks, a new version', GOOD_ROLLOUT_HOURS_MAX, chaos)
  const figures = await stage.figures(fromHour, stage.hour)
  const alerts = await stage.cloud.alerts()
  stage.say(`quiet field: ${figureWords(figures)}; ${alerts.length} alerts`)
  return {
    before: null,
    after: figures,
    driftMs: null,
    hoursToDrift: null,
    candidate: REISSUED,
    harmful: [],
    checks: [
      { what: 'no rollout was rolled back', holds: good !== undefined && good.state !== 'rolled-back' },
      {
        what: `${REISSUED}, the same networks under a new version, reached 100 %`,
        holds: good?.state === 'completed' && good.reachedPercent === 100,
      },
      { what: 'no alert was raised', holds: alerts.length === 0 },
    ],
  }
}

/** Four rollouts at once in three families: of one a good model, of one a harmful one, of one a good model for all boards but one, and a
 *  harmful one for that. Each is to end as it deserves, and none to touch a device of another. */
async function families(stage: StoryStage, chaos: boolean): Promise<Told> {
  const { fleet } = stage
  const driftMs = fleet.time.wallMs()
  fleet.raiseNoise(RAMP_HOURS)
  stage.say('the noise floor rises')
  const fromHour = stage.hour + RAMP_HOURS
  await stage.wait(RAMP_HOURS + UNDER_DRIFT_HOURS)
  const before = await stage.figures(fromHour, stage.hour)
  stage.say(`under noise: ${figureWords(before)}`)
  const reason = 'all at once'
  const ended = await stage.rollOutTogether(
    ['kws-2', 'hall-2', 'yard-2', 'yard-3'],
    reason,
    GOOD_ROLLOUT_HOURS_MAX,
    chaos,
  )
  const endOf = new Map(ended.map((rollout) => [rollout.model, rollout]))
  /** What devices of a family are to end on. */
  const meant = ({ board }: { board: { name: string } }, family: string): string => {
    if (family === 'home') return 'kws-2'
    if (family === 'hall') return 'hall-1'
    return board.name === HARMED_BOARD ? 'yard-1' : 'yard-2'
  }
  const { devices } = fleet.fleet
  const familyName = (device: string): string => present(fleet.families.get(device), device).name
  const returned = await stage.until(
    async () =>
      devices.every(
        ({ model, diedAtMs, spec }) => diedAtMs !== undefined || model === meant(spec, familyName(spec.device)),
      ),
    RETURN_HOURS_MAX,
  )
  const afterFrom = stage.hour
  await stage.wait(AFTER_HOURS)
  const after = await stage.figures(afterFrom, afterFrom + AFTER_HOURS)
  stage.say(`after the updates: ${figureWords(after)}`)
  const own: Readonly<Record<string, RegExp>> = { home: /^kws-/, hall: /^hall-/, yard: /^yard-/ }
  const strayed = devices.filter(({ modelsRun, spec }) =>
    modelsRun.some((model) => own[familyName(spec.device)]?.test(model) !== true),
  )
  const harmed = devices.filter(
    ({ modelsRun, spec }) => modelsRun.includes('yard-3') && spec.board.name !== HARMED_BOARD,
  )
  const completed = (name: string): StoryCheck => ({
    what: `${name} was released, gated and reached 100 %`,
    holds: endOf.get(name)?.state === 'completed' && endOf.get(name)?.reachedPercent === 100,
  })
  const takenBack = (name: string, where: string): StoryCheck => ({
    what: `${name} was rolled back by the gate${where}, still in canary`,
    holds: endOf.get(name)?.state === 'rolled-back' && endOf.get(name)?.stage === 1,
  })
  return {
    ...{ before, after, driftMs, hoursToDrift: null, candidate: 'kws-2' },
    harmful: ['hall-2', 'yard-3'],
    ends: ['kws-2', 'hall-1', 'yard-1', 'yard-2'],
    checks: [
      completed('kws-2'),
      takenBack('hall-2', ''),
      completed('yard-2'),
      takenBack('yard-3', ` on ${HARMED_BOARD}`),
      { what: 'every device runs what its family and board are meant to', holds: returned },
      { what: `no device ran a model of another family: ${strayed.length}`, holds: strayed.length === 0 },
      { what: `no board but ${HARMED_BOARD} ran yard-3: ${harmed.length}`, holds: harmed.length === 0 },
    ],
  }
}

export const SCENARIOS = { story: drift, quiet, families } as const
export type Scenario = keyof typeof SCENARIOS
