import {
  type Advice,
  type AdviceHour,
  DAYS_MIN,
  type Decay,
  JUDGED_MIN,
  retrainingAdvice,
  STALE_HOURS,
} from '../../cloud/telemetry/retraining-advice.ts'
import { threeDigits } from '../../contract/three-digits.ts'
import { apiOf, type CloudFlags } from '../cloud-option.ts'
import { CommandFailure } from '../failure.ts'
import type { ModelView } from './model-view.ts'

export interface AdviseFlags extends CloudFlags {
  readonly cost: number
  readonly value: number
  readonly json?: boolean
}

interface Series {
  readonly atMs: number
  readonly points: readonly {
    readonly hourMs: number
    readonly models: readonly (Omit<AdviceHour, 'hourMs'> & { readonly name: string | null })[]
  }[]
}

/** All that the cloud gives at once: a month. */
const HOURS = 744
const HOUR_MS = 3_600_000

/** Says whether and how often training a model anew pays. @throws CommandFailure when nobody knows the model, or nothing can be said */
export async function adviseRelease(name: string, { cost, value, json = false, ...flags }: AdviseFlags): Promise<void> {
  const api = apiOf(flags)
  const { models: known } = await api.get<{ models: ModelView[] }>('/v1/models')
  if (!known.some((model) => model.name === name))
    throw new CommandFailure(`no release "${name}"`, { hint: '"kinglet release list" names them' })
  const { atMs, points } = await api.get<Series>(`/v1/fleet/series?hours=${HOURS}`)
  // The running hour is not full yet.
  const endMs = Math.floor(atMs / HOUR_MS) * HOUR_MS
  const full = points.filter(({ hourMs }) => hourMs < endMs)
  const hours = full.flatMap(({ hourMs, models }) =>
    models
      .filter((model) => model.name === name)
      .map(({ wakes, confirmed, rejected }) => ({ hourMs, wakes, confirmed, rejected })),
  )
  const advice = retrainingAdvice(hours, endMs, { cost, value })
  if (json) console.log(JSON.stringify({ v: 1, model: name, cost, value, ...advice }))
  if (advice.advice === 'none') throw new CommandFailure(...refusal(name, advice))
  if (!json) for (const line of adviceLines(name, advice, { cost, value })) console.log(line)
}

function refusal(name: string, { why, found }: Advice & { advice: 'none' }): [string, { hint: string }] {
  switch (why) {
    case 'stale':
      return [
        Number.isFinite(found)
          ? `no advice on ${name}: its last wake was judged ${threeDigits(found)} h ago`
          : `no advice on ${name}: no wake of it was judged in the last month`,
        { hint: `labels of the last ${STALE_HOURS} h are needed: a gateway with a verifier, and devices that run it` },
      ]
    case 'few-days':
      return [
        `no advice on ${name}: wakes were judged on ${found} whole days`,
        { hint: `a decay is looked for in ${DAYS_MIN} days or more` },
      ]
    case 'few-wakes':
      return [
        `no advice on ${name}: ${found} wakes were judged`,
        { hint: `a decay is looked for in ${JUDGED_MIN} judged wakes or more` },
      ]
    case 'unjudged':
      return [
        `no advice on ${name}: ${percent(found)} of its wakes were judged`,
        { hint: 'a verifier that knows its labels: "kinglet release add --verifier"' },
      ]
  }
}

const percent = (share: number): string => `${threeDigits(100 * share)} %`
const days = (count: number): string => `${threeDigits(count)} ${threeDigits(count) === '1' ? 'day' : 'days'}`

function adviceLines(
  name: string,
  advice: Exclude<Advice, { advice: 'none' }>,
  { cost, value }: { cost: number; value: number },
): string[] {
  const { decay } = advice
  const price = `a training that costs ${cost}, at ${value} a wrong wake,`
  const said =
    advice.advice === 'retrain'
      ? `${price} pays every ${days(advice.everyDays)} (${threeDigits(advice.betweenDays[0])} to ${advice.betweenDays[1] === null ? 'never' : days(advice.betweenDays[1])})`
      : `keep it: no decay beyond chance${advice.notBeforeDays === null ? '' : `; ${price} would not pay sooner than every ${days(advice.notBeforeDays)}`}`
  return [decayLine(name, decay), said, 'what it does not hear is measured by nothing in the field, and is not in this']
}

const decayLine = (name: string, { days: count, wakesPerDay, firstShare, lostPerDay, interval }: Decay): string =>
  `${name}: of ${threeDigits(wakesPerDay)} wakes a day over ${count} days ${percent(firstShare)} were right on the first; ${percent(lostPerDay)} of that lost each day (${percent(interval[0])} to ${percent(interval[1])})`
