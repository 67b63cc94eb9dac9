import { Command } from 'commander'
import { apiOf, type CloudFlags, withCloud } from '../cloud-option.ts'
import { CommandFailure } from '../failure.ts'

interface RolloutView {
  readonly id: string
  readonly model: string
  readonly state: string
  readonly reachedPercent: number
  readonly devicesExposed: number
  readonly why: string
  readonly gateWords: string | null
}

const print = (rollout: RolloutView): void => {
  const { id, model, state, reachedPercent, devicesExposed, why, gateWords } = rollout
  console.log(`${id}  ${model}  ${state} at ${reachedPercent} %, ${devicesExposed} devices exposed`)
  if (why !== '') console.log(`  ${why}`)
  if (gateWords !== null && gateWords !== why) console.log(`  ${gateWords}`)
}

function percents(text: string): number[] {
  const values = text.split(',').map(Number)
  const rising = values.every((value, i) => value > (values[i - 1] ?? 0) && value <= 100)
  if (rising && values.at(-1) === 100) return values
  throw new CommandFailure(`--stages ${text}: expected rising percentages that end at 100, for example 20,50,100`, {
    exitCode: 2,
  })
}

/** `kinglet rollout …` */
export function rolloutCommand(): Command {
  const rollout = new Command('rollout').description('stage a release over the fleet and watch its gate')
  withCloud(rollout.command('start'))
    .description('promote a candidate to staging if need be and start its rollout')
    .argument('<MODEL>', 'name of the release')
    .option('--stages <LIST>', 'percentages of the fleet, the last 100', '20,50,100')
    .option('--reason <TEXT>', 'why, for the audit log', 'started from the command line')
    .action(async (model: string, flags: CloudFlags & { stages: string; reason: string }) => {
      const stages = percents(flags.stages)
      const api = apiOf(flags)
      const { models } = await api.get<{ models: { name: string; state: string }[] }>('/v1/models')
      const found = models.filter(({ name }) => name === model).at(-1)
      if (found === undefined) {
        throw new CommandFailure(`there is no release "${model}"`, { hint: 'register one with "kinglet release add"' })
      }
      if (found.state === 'candidate')
        await api.post(`/v1/models/${encodeURIComponent(model)}/promote`, { to: 'staging', reason: flags.reason })
      print(await api.post<RolloutView>('/v1/rollouts', { name: model, percents: stages }))
    })
  withCloud(rollout.command('list'))
    .description('all rollouts, newest first')
    .action(async (flags: CloudFlags) => {
      const { rollouts } = await apiOf(flags).get<{ rollouts: RolloutView[] }>('/v1/rollouts')
      if (rollouts.length === 0) console.log('no rollouts yet')
      for (const each of rollouts) print(each)
    })
  for (const action of ['pause', 'resume', 'rollback'] as const) {
    withCloud(rollout.command(action))
      .description(`${action === 'rollback' ? 'roll back' : action} a rollout`)
      .argument('<ID>', 'rollout id')
      .requiredOption('--reason <TEXT>', 'why, for the audit log')
      .action(async (id: string, flags: CloudFlags & { reason: string }) => {
        print(
          await apiOf(flags).post<RolloutView>(`/v1/rollouts/${encodeURIComponent(id)}/${action}`, {
            reason: flags.reason,
          }),
        )
      })
  }
  return rollout
}
