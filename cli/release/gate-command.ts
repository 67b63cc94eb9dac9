import { existsSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { Command } from 'commander'
import type { GateInput } from '../../cloud/rollout/gate-input.ts'
import type { GatePolicy } from '../../cloud/store/gate-policy.ts'
import type { GateReading } from '../../cloud/store/gate-reading.ts'
import { readBounded } from '../bounded-file.ts'
import { apiOf, CA_WORDS, type CloudFlags, withCloud } from '../cloud-option.ts'
import { CommandFailure } from '../failure.ts'
import { firstIssue, parseJson, readJsonFile } from '../json-file.ts'
import { integerOption } from '../number-option.ts'

/** chosen: 100 000 devices with ten signals take half of it */
const READING_BYTES_MAX = 256 * 1024 * 1024

interface EvalFlags extends Partial<CloudFlags> {
  readonly at?: number
  readonly json?: boolean
}

interface KeptReading {
  readonly atMs: number
  readonly reading: GateReading
  readonly policy: GatePolicy
  readonly input: GateInput
}

/** `kinglet gate …` */
export function gateCommand(): Command {
  const gate = new Command('gate').description(
    'what the gates of rollouts said, computed again; their policies by name',
  )
  gate
    .command('eval')
    .description('judge here what a reading was computed from, and compare; exit code 1 where the two differ')
    .argument('<ROLLOUT|FILE>', 'rollout id, whose reading the cloud is asked for; or a file that --json has made')
    .option('--cloud <URL>', 'address of the cloud, for a rollout')
    .option(
      '--token-file <FILE>',
      'for a rollout: file with a token: operator.token of the cloud, or another that may do this',
    )
    .option('--ca <FILE>', CA_WORDS)
    .option('--at <MS>', 'moment of the reading, Unix ms (default: the newest)', integerOption(0, 2 ** 53 - 1))
    .option('--json', 'print the reading, the policy and the input instead of words')
    .action(async (what: string, flags: EvalFlags) => {
      const { judgeStage } = await import('../../cloud/rollout/gate.ts')
      const { gateWords } = await import('../../cloud/rollout/gate-words.ts')
      const kept = existsSync(what) ? await keptIn(what) : await keptBy(what, flags)
      const reading = judgeStage(kept.policy, kept.input)
      if (flags.json === true) console.log(JSON.stringify({ ...kept, reading }, null, 2))
      else console.log(`${new Date(kept.atMs).toISOString()}  ${gateWords(reading)}`)
      // Through JSON, as the kept one went.
      if (isDeepStrictEqual(JSON.parse(JSON.stringify(reading)), kept.reading)) return
      throw new CommandFailure(`what was kept says otherwise: ${gateWords(kept.reading)}`, {
        hint: 'it may be of another release of Kinglet, or what was kept was changed',
      })
    })
  gate.addCommand(policyCommand())
  return gate
}

/** From a file, whose content may be anything. */
async function keptIn(path: string): Promise<KeptReading> {
  const { keptReadingSchema } = await import('../../cloud/rollout/gate-input.ts')
  const parsed = keptReadingSchema.safeParse(parseJson(path, readBounded(path, READING_BYTES_MAX)))
  if (parsed.success) return parsed.data
  throw new CommandFailure(`${path}: no reading of a gate: ${firstIssue(parsed.error)}`, {
    hint: '"kinglet gate eval ROLLOUT --json" prints one',
  })
}

async function keptBy(id: string, { cloud, tokenFile, at }: EvalFlags): Promise<KeptReading> {
  if (cloud === undefined || tokenFile === undefined) {
    throw new CommandFailure(`there is no file ${id}, and a rollout needs --cloud and --token-file`, { exitCode: 2 })
  }
  const path = `/v1/rollouts/${encodeURIComponent(id)}/readings/${at ?? 'latest'}`
  return apiOf({ cloud, tokenFile }).get<KeptReading>(path)
}

interface PolicyView {
  readonly name: string
  readonly version: number
  readonly createdMs: number
  readonly createdBy: string
  readonly reason: string
}

const printPolicy = ({ name, version, createdMs, createdBy, reason }: PolicyView): void =>
  console.log(`${name}@${version}  ${new Date(createdMs).toISOString()} by ${createdBy}: ${reason}`)

/** `kinglet gate policy …` */
function policyCommand(): Command {
  const policy = new Command('policy').description('gate policies under names, each in versions that never change')
  withCloud(policy.command('add'))
    .description('keep a policy as the next version of its name')
    .argument('<NAME>', 'name of the policy')
    .argument('<FILE>', 'JSON file with the fields that differ from the default')
    .requiredOption('--reason <TEXT>', 'why, for the audit log')
    .action(async (name: string, file: string, flags: CloudFlags & { reason: string }) => {
      const body = { name, gate: readJsonFile(file), reason: flags.reason }
      const added = await apiOf(flags).post<PolicyView & { created: boolean }>('/v1/gate-policies', body)
      printPolicy(added)
      if (!added.created) console.log('  it is the newest version already')
    })
  withCloud(policy.command('list'))
    .description('all policies, the newest version first')
    .action(async (flags: CloudFlags) => {
      const { policies } = await apiOf(flags).get<{ policies: PolicyView[] }>('/v1/gate-policies')
      if (policies.length === 0) console.log('no policies yet: rollouts have the default')
      for (const each of policies) printPolicy(each)
    })
  withCloud(policy.command('show'))
    .description('one policy with all its fields')
    .argument('<NAME[@VERSION]>', 'the newest version where none is named')
    .action(async (reference: string, flags: CloudFlags) => {
      const path = `/v1/gate-policies/${encodeURIComponent(reference)}`
      const shown = await apiOf(flags).get<PolicyView & { policy: unknown }>(path)
      printPolicy(shown)
      console.log(JSON.stringify(shown.policy, null, 2))
    })
  return policy
}
