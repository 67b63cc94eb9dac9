import { Command } from 'commander'
import { withCloud } from '../cloud-option.ts'
import { integerOption } from '../number-option.ts'
import type { ListFlags } from './audit-list.ts'
import type { VerifyFlags } from './audit-verify.ts'

/** `kinglet audit …` */
export function auditCommand(): Command {
  const audit = new Command('audit').description(
    'who did what in the cloud, when and why; and whether that log is whole',
  )
  withCloud(audit.command('list'))
    .description('entries of the audit log, newest first')
    .option('--limit <N>', 'how many', integerOption(1, 1_000_000), 100)
    .option('--actor <NAME>', 'only of this one: the subject of a token, or "kinglet"')
    .option('--action <WORD>', 'only actions that begin with this, such as "rollout." or "token.revoked"')
    .option('--subject <NAME>', 'only about this device, gateway, release or rollout')
    .option('--json', 'as JSON lines, with their hashes')
    .action(async (flags: ListFlags) => (await import('./audit-list.ts')).listAudit(flags))
  withCloud(audit.command('verify'))
    .description('compute the chain of the whole audit log anew: whether an entry was changed, taken out or put in')
    .option(
      '--checkpoint <FILE>',
      'the end of the log as it was found the last time, kept where the cloud cannot write: the log must still hold it; then it is written anew',
    )
    .action(async (flags: VerifyFlags) => (await import('./audit-verify.ts')).verifyAudit(flags))
  return audit
}
