import { existsSync } from 'node:fs'
import { Command, InvalidArgumentError } from 'commander'
import { EXPERIMENT_HOURS_MAX, type RolloutPlan } from '../../cloud/store/rollout-plan.ts'
import { parseDeviceQuery } from '../../contract/device-query.ts'
import type { CloudApi } from '../cloud-api.ts'
import { apiOf, type CloudFlags, withCloud } from '../cloud-option.ts'
import { CommandFailure } from '../failure.ts'
import { familyOption } from '../family-option.ts'
import { readJsonFile } from '../json-file.ts'
import { integerOption, numberOption } from '../number-option.ts'
import { planLines } from './rollout-plan-words.ts'
import { type RolloutReport, reportLines } from './rollout-report-words.ts'

interface RolloutView {
  readonly id: string
  readonly etag: string
  readonly family: string
  readonly model: string
  readonly state: string
  readonly reachedPercent: number
  readonly devicesExposed: number
  readonly devicesUnkeyed: number
  readonly why: string
  readonly gateWords: string | null
  readonly evidence: string
  readonly policyName: string | null
  readonly manualStages: readonly number[]
  readonly cohort: string | null
  readonly experimentHours: number | null
  readonly installingMax: { readonly fleet: number | null; readonly site: number | null }
  readonly devicesWaiting: number
  readonly plan: RolloutPlan
}

interface NamedCount {
  readonly count: number
  readonly names: readonly string[]
}

interface CohortView extends Readonly<Record<'joined' | 'departed', NamedCount | null>> {
  readonly chosen: number
  readonly out: NamedCount
  readonly keeping: number
}

interface ReadingView {
  readonly atMs: number
  readonly words: string
}

const print = (rollout: RolloutView): void => {
  const { id, family, model, state, reachedPercent, devicesExposed, devicesUnkeyed, why, gateWords, evidence } = rollout
  const unkeyed = devicesUnkeyed > 0 ? `, ${devicesUnkeyed} without a key` : ''
  console.log(
    `${id}  ${family}  ${model}  ${state} at ${reachedPercent} %, ${devicesExposed} devices exposed${unkeyed} (${evidence})`,
  )
  const { cohort, experimentHours, devicesWaiting, installingMax } = rollout
  if (devicesWaiting > 0) {
    const { fleet, site } = installingMax
    const most = [...(fleet === null ? [] : [`${fleet}`]), ...(site === null ? [] : [`${site} a site`])].join(', ')
    console.log(`  ${devicesWaiting} devices wait for their turn to install (${most} at once)`)
  }
  if (experimentHours !== null) console.log(`  experiment of ${experimentHours} h: at its end all devices go back`)
  if (cohort !== null && cohort !== '') console.log(`  for devices that were chosen at its start: ${cohort}`)
  if (why !== '') console.log(`  ${why}`)
  if (gateWords !== null && !why.endsWith(gateWords)) console.log(`  ${gateWords}`)
}

const USAGE = { exitCode: 2 } as const

function percents(text: string): number[] {
  const values = text.split(',').map(Number)
  const rising = values.every((value, i) => value > (values[i - 1] ?? 0) && value <= 100)
  if (rising && values.at(-1) === 100) return values
  throw new InvalidArgumentError('expected rising percentages that end at 100, for example 20,50,100.')
}

function deviceQuery(text: string): string {
  const query = parseDeviceQuery(text)
  if (!query.ok) throw new InvalidArgumentError(`${query.error.detail}.`)
  if (query.value.length === 0) throw new InvalidArgumentError('say which devices, for example site:berlin.')
  return text.trim()
}

/** Hours of "72h" or "14d". */
function experimentHours(text: string): number {
  const [, number, unit] = /^(\d{1,4})(h|d)$/i.exec(text) ?? []
  const hours = Number(number) * (unit?.toLowerCase() === 'd' ? 24 : 1)
  if (hours >= 1 && hours <= EXPERIMENT_HOURS_MAX) return hours
  throw new InvalidArgumentError(
    `expected hours or days, for example 72h or 14d, at most ${EXPERIMENT_HOURS_MAX / 24}d.`,
  )
}

function sharePercent(text: string): number {
  const percent = Number(text)
  if (percent > 0 && percent < 100) return percent
  throw new InvalidArgumentError('expected a percentage between 0 and 100, for example 50.')
}

interface StartFlags extends CloudFlags {
  readonly stages?: readonly number[]
  readonly devices?: string
  readonly experiment?: number
  readonly installingMax?: number
  readonly installingMaxSite?: number
  readonly share?: number
  readonly reason: string
  readonly version?: number
  readonly policy?: string
  readonly gate?: Record<string, unknown>
  readonly ungated?: boolean
  readonly advisory?: boolean
  readonly manual?: 'all' | readonly number[]
  readonly irreversible?: boolean
}

/** FIELD=VALUE of the gate's policy; a value is JSON, or text where it is none. */
function gateField(text: string, before: Record<string, unknown> = {}): Record<string, unknown> {
  const [, field, value] = /^([A-Za-z]+)=(.+)$/s.exec(text) ?? []
  if (field === undefined || value === undefined) {
    throw new InvalidArgumentError('expected FIELD=VALUE, for example maxHours=72.')
  }
  try {
    return { ...before, [field]: JSON.parse(value) as unknown }
  } catch {
    return { ...before, [field]: value }
  }
}

/** The options by which a rollout is described, for `start` and `plan` alike. */
const withRollout = (command: Command): Command =>
  withCloud(command)
    .argument('<MODEL>', 'name of the release')
    .option('--version <N>', 'version of the release (default: the newest)', integerOption(0, 2 ** 31))
    .option('--stages <LIST>', 'percentages of the fleet, the last 100 (default: 20,50,100)', percents)
    .option(
      '--devices <QUERY>',
      'only devices that fit it now, as "device list" takes it; group:NAME a saved group. They keep the release at the end',
      deviceQuery,
    )
    .option(
      '--experiment <TIME>',
      'run it beside what devices run for so long, for example 72h or 14d; then all go back and nothing is promoted',
      experimentHours,
    )
    .option('--installing-max <N>', 'let only so many devices install at once', integerOption(1, 1e9))
    .option('--installing-max-site <N>', 'let only so many of one site install at once', integerOption(1, 1e9))
    .option('--share <PERCENT>', 'of the devices of an experiment that run the release (default: 50)', sharePercent)
    .option(
      '--policy <FILE|NAME[@VERSION]>',
      'gate policy: a JSON file with the fields that differ from the default, or one that "gate policy add" has kept',
    )
    .option('--gate <FIELD=VALUE>', 'one such field, for example maxHours=72; may be repeated', gateField)
    .option('--ungated', 'compare nothing: stages follow each other unless installs fail or devices fall silent')
    .option('--advisory', 'let the gate say what it would do, and a person do it')
    .option(
      '--manual <all|LIST>',
      'stages that a person ends: all, or their percentages, for example 5,25',
      manualStages,
    )
    .option('--irreversible', 'although devices could not go back: the release raises the security counter')

function manualStages(text: string): 'all' | readonly number[] {
  if (text === 'all') return text
  const values = text.split(',').map(Number)
  if (values.every((value) => value > 0 && value <= 100)) return values
  throw new InvalidArgumentError('expected all, or percentages of stages, for example 5,25.')
}

/** Whether it is the name of a policy that the cloud keeps. A file of that name is a file. */
const isPolicyName = (text: string): boolean => /^[a-z0-9][a-z0-9-]*(@[1-9]\d*)?$/.test(text) && !existsSync(text)

function requestOf(model: string, flags: StartFlags): object {
  const kept = flags.policy !== undefined && isPolicyName(flags.policy)
  const file = flags.policy === undefined || kept ? {} : readJsonFile(flags.policy)
  if (typeof file !== 'object' || file === null || Array.isArray(file)) {
    throw new CommandFailure(`${flags.policy}: a policy is a JSON object of fields`, USAGE)
  }
  const gate = {
    ...file,
    ...flags.gate,
    ...(flags.ungated === true && { ungated: true }),
    ...(flags.advisory === true && { advisory: true }),
    ...(flags.manual !== undefined && { manual: flags.manual }),
  }
  const { stages, experiment, share, devices, installingMax, installingMaxSite } = flags
  if (experiment === undefined && share !== undefined) throw new CommandFailure('--share is of an --experiment', USAGE)
  if (experiment !== undefined && stages !== undefined) {
    throw new CommandFailure('an experiment has no stages: say --share', USAGE)
  }
  return {
    ...{ name: model, gate },
    ...(experiment === undefined
      ? { percents: stages ?? [20, 50, 100] }
      : { percents: [share ?? 50], experimentHours: experiment }),
    ...(devices !== undefined && { devices }),
    ...((installingMax !== undefined || installingMaxSite !== undefined) && {
      installingMax: { fleet: installingMax, site: installingMaxSite },
    }),
    ...(kept && { policy: flags.policy }),
    ...(flags.version !== undefined && { version: flags.version }),
    ...(flags.irreversible === true && { irreversible: true }),
  }
}

/** What was refused, with all that the release lacks, should that be why. */
async function telling<T>(api: CloudApi, model: string, version: number | undefined, answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (cause) {
    const { lackLines } = await import('./release-gates.ts')
    for (const line of await lackLines(api, model, version).catch(() => [])) console.error(line)
    throw cause
  }
}

/** Puts a candidate into staging, from where a rollout starts. */
async function stage(api: CloudApi, model: string, { version, reason }: StartFlags): Promise<void> {
  const { models } = await api.get<{ models: { name: string; version: number; state: string }[] }>('/v1/models')
  const found = models
    .filter((each) => each.name === model && (version === undefined || each.version === version))
    .at(-1)
  if (found === undefined) {
    throw new CommandFailure(`there is no release "${model}"${version === undefined ? '' : ` ${version}`}`, {
      hint: 'register one with "kinglet release add"',
    })
  }
  if (found.state !== 'candidate') return
  const wish = { to: 'staging', reason, ...(version !== undefined && { version }) }
  await api.post(`/v1/models/${encodeURIComponent(model)}/promote`, wish)
}

async function preview(api: CloudApi, request: object): Promise<void> {
  const plan = await api.postAgain<RolloutPlan>('/v1/rollouts/plan', request)
  for (const line of planLines(plan)) console.log(line)
}

/** Who was chosen, and what has changed since. */
async function printCohort(api: CloudApi, id: string): Promise<void> {
  const { chosen, joined, departed, out, keeping } = await api.get<CohortView>(`${pathOf(id)}/cohort`)
  const told = (these: NamedCount | null, words: string): string[] => {
    if (these === null) return []
    const { count, names } = these
    const more = count > names.length ? `, and ${count - names.length} more` : ''
    return count === 0 ? [] : [`${count} ${words}: ${names.join(', ')}${more}`]
  }
  const lines = [
    `${chosen} devices were chosen at the start${keeping > 0 ? `, ${keeping} keep the release by it` : ''}`,
    ...(joined === null ? ['its group is gone: nobody can say who would be chosen now'] : []),
    ...told(joined, 'fit the choice since and are not in it'),
    ...told(departed, 'fit it no longer and stay in it'),
    ...told(out, 'were removed or have another board, and are in it no more'),
  ]
  for (const line of lines) console.log(`  ${line}`)
}

const pathOf = (id: string): string => `/v1/rollouts/${encodeURIComponent(id)}`

/** `kinglet rollout …` */
export function rolloutCommand(): Command {
  const rollout = new Command('rollout').description('stage a release over the fleet and watch its gate')
  withRollout(rollout.command('start'))
    .description('promote a candidate to staging if need be and start its rollout; says what each stage can find')
    .option('--reason <TEXT>', 'why, for the audit log', 'started from the command line')
    .option('--preview', 'start nothing: say what "plan" says')
    .action(async (model: string, flags: StartFlags & { preview?: boolean }) => {
      const request = requestOf(model, flags)
      const api = apiOf(flags)
      if (flags.preview === true) return preview(api, request)
      // What an experiment is of stays what it is.
      if (flags.experiment === undefined) await stage(api, model, flags)
      const started = await telling(api, model, flags.version, api.post<RolloutView>('/v1/rollouts', request))
      print(started)
      for (const line of planLines(started.plan)) console.log(`  ${line}`)
    })
  withRollout(rollout.command('plan'))
    .description('who would take part and what each stage could find; starts nothing (the release must be in staging)')
    .action(async (model: string, flags: StartFlags) => {
      await preview(apiOf(flags), requestOf(model, flags))
    })
  withCloud(rollout.command('list'))
    .description('rollouts, newest first')
    .option('--family <NAME>', 'of this family', familyOption)
    .option('--open', 'only those that run or are paused')
    .action(async (flags: CloudFlags & { family?: string; open?: boolean }) => {
      const api = apiOf(flags)
      const query = new URLSearchParams({
        ...(flags.family !== undefined && { family: flags.family }),
        ...(flags.open === true && { state: 'open' }),
      })
      let found = 0
      for (let next: string | null = ''; next !== null; ) {
        if (next !== '') query.set('before', next)
        const page: { rollouts: RolloutView[]; next: string | null } = await api.get(`/v1/rollouts?${query}`)
        for (const each of page.rollouts) print(each)
        found += page.rollouts.length
        next = page.next
      }
      if (found === 0) console.log('no rollouts yet')
    })
  withCloud(rollout.command('show'))
    .description('one rollout: its plan, its gate, what the gate said in the last hours')
    .argument('<ID>', 'rollout id')
    .action(async (id: string, flags: CloudFlags) => {
      const api = apiOf(flags)
      const view = await api.get<RolloutView>(pathOf(id))
      print(view)
      console.log(`  tag ${view.etag}: with --if-match a change is refused when somebody, or the gate, was quicker`)
      if (view.policyName !== null) console.log(`  gate policy ${view.policyName}`)
      if (view.manualStages.length > 0) console.log(`  a person ends the stages of ${view.manualStages.join(', ')} %`)
      if (view.cohort !== null) await printCohort(api, id)
      for (const line of planLines(view.plan)) console.log(`  ${line}`)
      const { readings } = await api.get<{ readings: ReadingView[] }>(`${pathOf(id)}/readings?limit=12`)
      for (const { atMs, words } of readings) console.log(`  ${new Date(atMs).toISOString()}  ${words}`)
    })
  withCloud(rollout.command('report'))
    .description('what a rollout or an experiment has found: every signal and every slice, as of its end or of now')
    .argument('<ID>', 'rollout id')
    .option('--json', 'as JSON')
    .action(async (id: string, flags: CloudFlags & { json?: boolean }) => {
      const report = await apiOf(flags).get<RolloutReport>(`${pathOf(id)}/report`)
      if (flags.json) console.log(JSON.stringify(report))
      else for (const line of reportLines(report)) console.log(line)
    })
  const actions = {
    pause: 'stop exposing and downloading; harm still takes it back',
    resume: 'let a paused rollout go on',
    rollback: 'take a rollout back, also one that has completed while none has followed it',
  } as const
  for (const [action, description] of Object.entries(actions)) {
    withReason(rollout.command(action))
      .description(description)
      .action(async (id: string, flags: ChangeFlags) => {
        print(await apiOf(flags).post<RolloutView>(`${pathOf(id)}/${action}`, { reason: flags.reason }, flags))
      })
  }
  withReason(rollout.command('advance'))
    .description('end the running stage by hand, on the evidence as it is')
    .option('--full', 'expose everybody at once')
    .action(async (id: string, flags: ChangeFlags & { full?: boolean }) => {
      const body = { reason: flags.reason, full: flags.full === true }
      print(await apiOf(flags).post<RolloutView>(`${pathOf(id)}/advance`, body, flags))
    })
  withReason(rollout.command('set'))
    .description('change what share of a stage must have installed, for a rollout that is open')
    .requiredOption('--min-installed-share <S>', 'from 0 to 1', numberOption(0, 1))
    .action(async (id: string, flags: ChangeFlags & { minInstalledShare: number }) => {
      const { reason, minInstalledShare } = flags
      print(await apiOf(flags).patch<RolloutView>(pathOf(id), { reason, minInstalledShare }, flags))
    })
  return rollout
}

interface ChangeFlags extends CloudFlags {
  readonly reason: string
  readonly ifMatch?: string
}

const withReason = (command: Command): Command =>
  withCloud(command)
    .argument('<ID>', 'rollout id')
    .requiredOption('--reason <TEXT>', 'why, for the audit log')
    .option('--if-match <ETAG>', 'only if it is still as "rollout show" said with this tag')
