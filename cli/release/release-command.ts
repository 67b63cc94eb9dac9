import { Command, Option } from 'commander'
import type { Stopped } from '../../cloud/rollout/emergency-stop.ts'
import { RELEASE_RISKS, type ReleaseRisk } from '../../cloud/store/approval-store.ts'
import type { Clock } from '../../contract/clock.ts'
import { apiOf, type CloudFlags, withCloud } from '../cloud-option.ts'
import { familyOption } from '../family-option.ts'
import { offlineOptions } from '../keys/keys-command.ts'
import { integerOption, numberOption } from '../number-option.ts'
import type { ModelView } from './model-view.ts'
import type { AddFlags } from './release-add.ts'
import type { AdviseFlags } from './release-advise.ts'
import type { ApproveFlags, RiskFlags, ShowFlags } from './release-gates.ts'

interface PromoteFlags extends CloudFlags {
  readonly to: string
  readonly reason: string
  readonly risk?: ReleaseRisk
}

/** `kinglet release …` */
export function releaseCommand(clock: Clock): Command {
  const release = new Command('release').description('sign bundles and put them into the registry')
  withCloud(offlineOptions(release.command('add')))
    .description(
      'sign a bundle and its patches into the image repository, publish that, and register the release; safe to repeat',
    )
    .argument('<BUNDLE>', 'bundle file')
    .option(
      '--patch-from <BUNDLE>',
      'make a patch from this bundle and no others; may be repeated (default: from every release of the family in the cloud that is not archived)',
      (file: string, files: readonly string[]) => [...files, file],
      [],
    )
    .option('--no-patches', 'devices download the whole bundle')
    .option(
      '--family <NAME>',
      'model family that it belongs to (default: that of its name, of what its delegated role has signed, or of the bundle it was trained from; else the name of the role, or "default")',
      familyOption,
    )
    .option(
      '--verifier <BUNDLE>',
      'bundle that gateways are to judge its wakes with, signed with the release (default: the verifier that each gateway was started with)',
    )
    .addOption(riskOption())
    .action(async (file: string, flags: AddFlags) => (await import('./release-add.ts')).addRelease(file, flags, clock))
  withCloud(release.command('list'))
    .description('releases, oldest first: family, state, boards')
    .option('--family <NAME>', 'of this family', familyOption)
    .option('--json', 'as JSON lines')
    .action(async (flags: CloudFlags & { family?: string; json?: boolean }) => {
      const { models } = await apiOf(flags).get<{ models: ModelView[] }>(
        `/v1/models${flags.family === undefined ? '' : `?family=${flags.family}`}`,
      )
      if (models.length === 0 && flags.json !== true) console.log('no releases yet')
      for (const model of models) console.log(flags.json === true ? JSON.stringify(model) : releaseLine(model))
    })
  withCloud(release.command('promote'))
    .description('move a release on: candidate, staging, production, archived')
    .argument('<MODEL>', 'name of the release')
    .addOption(
      new Option('--to <STATE>', 'where to; staging before production')
        .choices(['staging', 'production', 'archived'])
        .makeOptionMandatory(),
    )
    .requiredOption('--reason <TEXT>', 'why, for the audit log')
    .addOption(riskOption())
    .action(async (model: string, { to, reason, risk, ...flags }: PromoteFlags) => {
      const api = apiOf(flags)
      const path = `/v1/models/${encodeURIComponent(model)}/promote`
      const { name, version, state } = await api.post<ModelView>(path, {
        to,
        reason,
        ...(risk !== undefined && { risk }),
      })
      console.log(`${name} ${version} is in ${state}`)
    })
  withCloud(release.command('advise'))
    .description('whether and how often training a model anew pays, by how its share of right wakes falls in the field')
    .argument('<MODEL>', 'name of the release')
    .requiredOption('--cost <AMOUNT>', 'of training and rolling out once', numberOption(1e-9, 1e12))
    .requiredOption(
      '--value <AMOUNT>',
      'what a right wake is worth more than a wrong one, in the same money',
      numberOption(1e-9, 1e12),
    )
    .option('--json', 'as JSON')
    .action(async (model: string, flags: AdviseFlags) =>
      (await import('./release-advise.ts')).adviseRelease(model, flags),
    )
  withCloud(release.command('show'))
    .description('risk of a release, who has approved it, and what it lacks before devices may get it')
    .argument('<NAME[@VERSION]>', 'of "release list"')
    .option('--json', 'as JSON')
    .action(async (model: string, flags: ShowFlags) => (await import('./release-gates.ts')).showRelease(model, flags))
  withCloud(release.command('approve'))
    .description("say that a release may go to devices: for these bytes, and never one's own")
    .argument('<NAME@VERSION>', 'of "release list"')
    .requiredOption('--reason <TEXT>', 'what was looked at, for the audit log')
    .option('--sha256 <HEX>', 'of the bundle that was looked at: refused when the release has another')
    .action(async (model: string, flags: ApproveFlags) =>
      (await import('./release-gates.ts')).approveRelease(model, flags),
    )
  withCloud(release.command('risk'))
    .description("the least risk of a family's releases; lowering it is an admin's")
    .argument('<FAMILY>', 'name of the family', familyOption)
    .addOption(
      new Option('--at-least <RISK>', 'what its releases need: docs/operations.md')
        .choices(RELEASE_RISKS)
        .makeOptionMandatory(),
    )
    .requiredOption('--reason <TEXT>', 'why, for the audit log')
    .action(async (family: string, flags: RiskFlags) =>
      (await import('./release-gates.ts')).setFamilyRisk(family, flags),
    )
  withCloud(release.command('stop'))
    .description('emergency: take a release from the whole fleet, whatever has brought it there; it is archived')
    .argument('<MODEL>', 'name of the release')
    .option('--version <N>', 'version of the release (default: the newest)', integerOption(0, 2 ** 31))
    .requiredOption('--reason <TEXT>', 'why, for the audit log')
    .action(async (model: string, { reason, version, ...flags }: StopFlags) => {
      const path = `/v1/models/${encodeURIComponent(model)}/stop`
      const body = { reason, ...(version !== undefined && { version }) }
      for (const line of stopLines(await apiOf(flags).post<Stopped>(path, body))) console.log(line)
    })
  return release
}

const riskOption = (): Option =>
  new Option(
    '--risk <RISK>',
    'how much it can do wrong: says what it needs before devices get it; never falls',
  ).choices(RELEASE_RISKS)

interface StopFlags extends CloudFlags {
  readonly reason: string
  readonly version?: number
}

function stopLines({ takenBack, moved, refusing, pinned, inRollouts, stranded }: Stopped): string[] {
  const left = (count: number, words: string): string[] => (count === 0 ? [] : [`${count} devices ${words}`])
  return [
    ...takenBack.map((id) => `rollout ${id} is taken back`),
    `${moved} devices were given another release`,
    ...left(refusing, 'of these will refuse it: its security counter is lower'),
    ...left(pinned, 'still run it: a person chose it for them (device list pinned:yes)'),
    ...left(inRollouts, 'still run it until an open rollout of another release ends (rollout list --open)'),
    ...left(stranded, 'still run it: nothing else is production for their board'),
  ]
}

const releaseLine = ({ family, name, version, state, bytes, boards, sha256 }: ModelView): string =>
  [family, `${name} ${version}`, state, `${bytes} bytes`, boards.join(', ') || 'any board', sha256.slice(0, 16)].join(
    '  ',
  )
