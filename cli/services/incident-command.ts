import { Command, Option } from 'commander'
import { ALERT_SEVERITIES } from '../../cloud/alert-severity.ts'
import { withCloud } from '../cloud-option.ts'
import { familyOption } from '../family-option.ts'
import { idOption } from '../id-option.ts'
import { integerOption, numberOption } from '../number-option.ts'
import type { CloseFlags, IncidentListFlags, NoteFlags, OpenFlags, ShowFlags } from './incidents.ts'

/** `kinglet incident …` */
export function incidentCommand(): Command {
  const incident = new Command('incident').description('what people work on together when something is wrong')
  withCloud(incident.command('open'))
    .description('open an incident about a family, a site, a rollout or what an alert is about; else about everything')
    .argument('<TITLE>', 'what is wrong, in some words')
    .addOption(new Option('--severity <P>', 'P0 to P3 (default: that of --alert, else P2)').choices(ALERT_SEVERITIES))
    .option(
      '--alert <ID>',
      'of "alert list": it is about the same, since the same time',
      integerOption(1, 10 ** 15 - 1),
    )
    .option('--family <NAME>', 'it is about this family', familyOption)
    .option('--site <ID>', 'it is about this site', idOption)
    .option('--rollout <ID>', 'it is about this rollout')
    .option('--hours-ago <N>', 'when it began (default: when the alert was raised, else now)', numberOption(0, 720))
    .action(async (title: string, flags: OpenFlags) => (await import('./incidents.ts')).openIncident(title, flags))
  withCloud(incident.command('list'))
    .description('open incidents, newest first')
    .option('--all', 'those that are over too')
    .option('--json', 'as JSON lines')
    .action(async (flags: IncidentListFlags) => (await import('./incidents.ts')).listIncidents(flags))
  withCloud(incident.command('show'))
    .description('an incident with its timeline: alerts, audit, verdicts, states and notes')
    .argument('<ID>', 'of "incident list"')
    .option('--postmortem', 'as Markdown, with what is left to write')
    .option('--json', 'as JSON')
    .action(async (id: string, flags: ShowFlags) => (await import('./incidents.ts')).showIncident(id, flags))
  withCloud(incident.command('note'))
    .description('write into the timeline of an incident, also of one that is closed')
    .argument('<ID>', 'of "incident list"')
    .argument('<WORDS>', 'what was seen or done')
    .action(async (id: string, words: string, flags: NoteFlags) =>
      (await import('./incidents.ts')).noteIncident(id, words, flags),
    )
  withCloud(incident.command('close'))
    .description('say that an incident is over')
    .argument('<ID>', 'of "incident list"')
    .requiredOption('--outcome <TEXT>', 'what ended it')
    .action(async (id: string, flags: CloseFlags) => (await import('./incidents.ts')).closeIncident(id, flags))
  return incident
}
