import { Command } from 'commander'
import { type CloudFlags, withCloud } from '../cloud-option.ts'

/** `kinglet group …` */
export function groupCommand(): Command {
  const group = new Command('group').description('queries for devices that have a name, used as group:NAME')
  withCloud(group.command('set'))
    .description('give a query a name, or a named one another query; says how many devices it chooses now')
    .argument('<NAME>', 'the group')
    .argument('<QUERY...>', 'conditions as "kinglet device list" takes them')
    .requiredOption('--reason <TEXT>', 'why, for the audit log')
    .action(async (name: string, query: string[], flags: CloudFlags & { reason: string }) =>
      (await import('./groups.ts')).setGroup(name, query.join(' '), flags),
    )
  withCloud(group.command('list'))
    .description('groups with their queries, who set them and when')
    .option('--json', 'as JSON lines')
    .action(async (flags: CloudFlags & { json?: boolean }) => (await import('./groups.ts')).listGroups(flags))
  withCloud(group.command('remove'))
    .description('forget a group; its devices stay as they are')
    .argument('<NAME>', 'the group')
    .action(async (name: string, flags: CloudFlags) => (await import('./groups.ts')).removeGroup(name, flags))
  return group
}
