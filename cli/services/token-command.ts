import { Command, Option } from 'commander'
import { apiOf, type CloudFlags, withCloud } from '../cloud-option.ts'
import { CommandFailure } from '../failure.ts'
import { eachIdOption } from '../id-option.ts'
import { integerOption } from '../number-option.ts'
import { keepSecret } from '../secret-file.ts'

interface MakeFlags extends CloudFlags {
  readonly role: 'gateway' | 'viewer' | 'operator'
  readonly subject?: string
  readonly site?: readonly string[]
  readonly ttlHours: number
  readonly out: string
}

/** `kinglet token …` */
export function tokenCommand(): Command {
  const token = new Command('token').description('service tokens of gateways, viewers and operators')
  withCloud(token.command('make'))
    .description('mint a service token')
    .addOption(
      new Option('--role <ROLE>', 'what it may do').choices(['gateway', 'viewer', 'operator']).makeOptionMandatory(),
    )
    .option('--subject <ID>', 'whose it is (default: the role and -1; a gateway has a name of its own)')
    .option('--site <ID>', 'a site that a gateway without a key may speak for; may be repeated', eachIdOption)
    .option('--ttl-hours <H>', 'how long it is valid', integerOption(1, 87_600), 720)
    .requiredOption('-o, --out <FILE>', 'where to write it; a secret')
    .action(async ({ role, subject, site: sites, ttlHours, out, ...flags }: MakeFlags) => {
      if (role === 'gateway' && subject === undefined) {
        throw new CommandFailure('each gateway has a name of its own: --subject is needed', {
          hint: 'better, give it a key: "kinglet gateway claim"',
          exitCode: 2,
        })
      }
      const name = subject ?? `${role}-1`
      const wish = { subject: name, role, sites, ttlSeconds: ttlHours * 3_600 }
      const minted = await keepSecret(
        out,
        () => apiOf(flags).post<{ token: string; expiresMs: number }>('/v1/tokens', wish),
        ({ token }) => `${token}\n`,
      )
      console.log(`${out}: ${role} token for ${name}, until ${new Date(minted.expiresMs).toISOString()}`)
    })
  withCloud(token.command('revoke'))
    .description('refuse the service tokens that a subject was given until now; what is minted after that is good')
    .argument('<SUBJECT>', 'whose, as "kinglet token make --subject" named it')
    .requiredOption('--reason <TEXT>', 'why; it stands in the audit')
    .action(async (subject: string, { reason, ...flags }: CloudFlags & { reason: string }) => {
      // Twice is once: what is refused stays so.
      await apiOf(flags).postAgain('/v1/tokens/revoke', { subject, reason })
      console.log(`the service tokens of ${subject} are refused from now on`)
    })
  return token
}
