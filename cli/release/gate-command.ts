import { Command } from 'commander'
import type { GateInput } from '../../cloud/rollout/gate.ts'
import type { GatePolicy } from '../../cloud/store/gate-policy.ts'
import type { GateReading } from '../../cloud/store/gate-reading.ts'
import { apiOf, type CloudFlags, withCloud } from '../cloud-option.ts'
import { CommandFailure } from '../failure.ts'
import { integerOption } from '../number-option.ts'

interface KeptReading {
  readonly atMs: number
  readonly words: string
  readonly reading: GateReading
  readonly policy: GatePolicy
  readonly input: GateInput
}

/** `kinglet gate …` */
export function gateCommand(): Command {
  const gate = new Command('gate').description('compute again what the gate of a rollout said')
  withCloud(gate.command('eval'))
    .description('fetch what a reading was computed from, judge it here, and compare; exit code 1 where the two differ')
    .argument('<ROLLOUT>', 'rollout id')
    .option('--at <MS>', 'moment of the reading, Unix ms (default: the newest)', integerOption(0, 2 ** 53 - 1))
    .option('--json', 'print the reading, the policy and the input instead of words')
    .action(async (id: string, flags: CloudFlags & { at?: number; json?: boolean }) => {
      const { judgeStage } = await import('../../cloud/rollout/gate.ts')
      const { gateWords } = await import('../../cloud/rollout/gate-words.ts')
      const path = `/v1/rollouts/${encodeURIComponent(id)}/readings/${flags.at ?? 'latest'}`
      const kept = await apiOf(flags).get<KeptReading>(path)
      const reading = judgeStage(kept.policy, kept.input)
      if (flags.json === true) console.log(JSON.stringify({ ...kept, reading }, null, 2))
      else console.log(`${new Date(kept.atMs).toISOString()}  ${gateWords(reading)}`)
      // Through JSON, as the kept one went.
      if (JSON.stringify(reading) === JSON.stringify(kept.reading)) return
      throw new CommandFailure(`the cloud said otherwise: ${kept.words}`, {
        hint: 'it may run another release of Kinglet, or its database was changed',
      })
    })
  return gate
}
