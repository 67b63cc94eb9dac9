import { Command } from 'commander'
import { withCloud } from '../cloud-option.ts'
import { familyOption } from '../family-option.ts'
import type { AcknowledgeFlags, AlertListFlags } from './alerts.ts'

/** `kinglet alert …` */
export function alertCommand(): Command {
  const alert = new Command('alert').description('what the fleet does that somebody should look at')
  withCloud(alert.command('list'))
    .description('open alerts, newest first; docs/operations.md says what each means and what to do')
    .option('--all', 'those that are over too')
    .option('--family <NAME>', 'only those about its releases', familyOption)
    .option('--json', 'as JSON lines, with the numbers behind each')
    .action(async (flags: AlertListFlags) => (await import('./alerts.ts')).listAlerts(flags))
  withCloud(alert.command('ack'))
    .description('say that you have taken an alert on; it stays open until what it tells of is over')
    .argument('<ID>', 'of "alert list"')
    .requiredOption('--reason <TEXT>', 'what is being done, for the audit log and the others')
    .action(async (id: string, flags: AcknowledgeFlags) => (await import('./alerts.ts')).acknowledgeAlert(id, flags))
  return alert
}
