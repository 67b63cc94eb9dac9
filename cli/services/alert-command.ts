import { Command } from 'commander'
import { type CloudFlags, withCloud } from '../cloud-option.ts'
import { familyOption } from '../family-option.ts'
import { integerOption, numberOption } from '../number-option.ts'
import type { AcknowledgeFlags, AlertListFlags, FiguresFlags, GroupsFlags, SilenceFlags } from './alerts.ts'

/** `kinglet alert …` */
export function alertCommand(): Command {
  const alert = new Command('alert').description('what the fleet does that somebody should look at')
  withCloud(alert.command('list'))
    .description('open alerts, newest first; docs/operations.md says what each means and what to do')
    .option('--all', 'those that are over too')
    .option('--family <NAME>', 'only those about its releases', familyOption)
    .option('--json', 'as JSON lines, with the numbers behind each')
    .action(async (flags: AlertListFlags) => (await import('./alerts.ts')).listAlerts(flags))
  withCloud(alert.command('groups'))
    .description(
      'open alerts by what stands behind them: the site, the gateway, the rollout or the family; the worst first',
    )
    .option('--family <NAME>', 'only those about its releases', familyOption)
    .option('--json', 'as JSON lines')
    .action(async (flags: GroupsFlags) => (await import('./alerts.ts')).alertGroups(flags))
  withCloud(alert.command('ack'))
    .description('say that you have taken an alert on; it stays open until what it tells of is over')
    .argument('<ID>', 'of "alert list"')
    .requiredOption('--reason <TEXT>', 'what is being done, for the audit log and the others')
    .action(async (id: string, flags: AcknowledgeFlags) => (await import('./alerts.ts')).acknowledgeAlert(id, flags))
  withCloud(alert.command('silence'))
    .description(
      'have nobody told of alerts like one, or of a code, for some hours; they are raised and listed as ever',
    )
    .argument('[ID]', 'of "alert list": silences its code, metric and part of the fleet')
    .option('--code <CODE>', 'instead of ID: alerts of this code, for work that is planned')
    .option('--metric <NAME>', 'with --code: only those of this metric, site or gateway')
    .option('--cohort <QUERY>', 'with --code: only those about this part of the fleet, such as site:hall-3')
    .requiredOption('--hours <N>', 'how long, a month at most', numberOption(0.01, 720))
    .requiredOption('--reason <TEXT>', 'why, for the audit log and the others')
    .action(async (id: string | undefined, flags: SilenceFlags) =>
      (await import('./alerts.ts')).silenceAlerts(id, flags),
    )
  withCloud(alert.command('silences'))
    .description('silences in force, the first to end first')
    .action(async (flags: CloudFlags) => (await import('./alerts.ts')).listSilences(flags))
  withCloud(alert.command('unsilence'))
    .description('end a silence: what is open is told')
    .argument('<ID>', 'of "alert silences"')
    .action(async (id: string, flags: CloudFlags) => (await import('./alerts.ts')).endSilence(id, flags))
  withCloud(alert.command('figures'))
    .description('how many alerts were raised, by code, and how many somebody took on')
    .option('--days <N>', 'of the last days', integerOption(1, 400), 30)
    .action(async (flags: FiguresFlags) => (await import('./alerts.ts')).alertFigures(flags))
  return alert
}
