import { Command, Option } from 'commander'
import { SERVICE_ROLES, type ServiceRole } from '../../cloud/store/roles.ts'
import { apiOf, type CloudFlags, withCloud } from '../cloud-option.ts'
import { CommandFailure } from '../failure.ts'
import { eachIdOption } from '../id-option.ts'
import { integerOption } from '../number-option.ts'
import { keepSecret } from '../secret-file.ts'
import type { ListFlags } from './token-list.ts'

interface MakeFlags extends CloudFlags {
  readonly role: ServiceRole
  readonly subject?: string
  readonly site?: readonly string[]
  readonly ttlHours?: number
  readonly out: string
}

interface RevokeFlags extends CloudFlags {
  readonly reason: string
  readonly minted?: boolean
}

/** as the cloud names tokens */
const JTI = /^[0-9a-f]{32}$/

/** `kinglet token …` */
export function tokenCommand(): Command {
  const token = new Command('token').description('service tokens of people and gateways')
  withCloud(token.command('make'))
    .description('mint a service token')
    .addOption(
      new Option('--role <ROLE>', 'what it may do: docs/security.md#who-may-do-what')
        .choices(SERVICE_ROLES)
        .makeOptionMandatory(),
    )
    .option('--subject <ID>', 'whose it is (default: the role and -1; a gateway has a name of its own)')
    .option('--site <ID>', 'a site that a gateway without a key may speak for; may be repeated', eachIdOption)
    .option(
      '--ttl-hours <H>',
      'how long it is valid, no longer than the token that asks (default: 720, or what is left of that)',
      integerOption(1, 87_600),
    )
    .requiredOption('-o, --out <FILE>', 'where to write it; a secret')
    .action(async ({ role, subject, site: sites, ttlHours, out, ...flags }: MakeFlags) => {
      if (role === 'gateway' && subject === undefined) {
        throw new CommandFailure('each gateway has a name of its own: --subject is needed', {
          hint: 'better, give it a key: "kinglet gateway claim"',
          exitCode: 2,
        })
      }
      const name = subject ?? `${role}-1`
      const wish = { subject: name, role, sites, ...(ttlHours !== undefined && { ttlSeconds: ttlHours * 3_600 }) }
      const minted = await keepSecret(
        out,
        () => apiOf(flags).post<{ token: string; expiresMs: number }>('/v1/tokens', wish),
        ({ token }) => `${token}\n`,
      )
      console.log(`${out}: ${role} token for ${name}, until ${new Date(minted.expiresMs).toISOString()}`)
    })
  withCloud(token.command('list'))
    .description(
      'service tokens that are good: name, role, whose, from and until when, and by whose token it was minted',
    )
    .option('--all', 'those that ended or were revoked too, for as long as the cloud remembers them')
    .option('--json', 'as JSON lines')
    .action(async (flags: ListFlags) => (await import('./token-list.ts')).listTokens(flags))
  withCloud(token.command('renew'))
    .description('put the successor of the token in --token-file into its place; from two thirds of its life on')
    .action(async (flags: CloudFlags) => (await import('./token-renew.ts')).renewToken(flags))
  withCloud(token.command('revoke'))
    .description('refuse a service token and what it was renewed to, or all that a subject was given until now')
    .argument(
      '<JTI|SUBJECT>',
      'name of a token ("kinglet token list"), or whose, as "kinglet token make --subject" named it',
    )
    .option('--minted', 'with a subject: also what its tokens have minted for others, and what those have')
    .requiredOption('--reason <TEXT>', 'why; it stands in the audit')
    .action(async (named: string, { reason, minted, ...flags }: RevokeFlags) => {
      const which = JTI.test(named) ? { jti: named } : { subject: named }
      // Twice is once: what is refused stays so.
      const { mintedStill } = await apiOf(flags).postAgain<{ mintedStill: number }>('/v1/tokens/revoke', {
        ...{ ...which, reason },
        ...(minted === true && { minted }),
      })
      const what = 'jti' in which ? `the service token ${named} is` : `the service tokens of ${named} are`
      console.log(`${what} refused from now on`)
      if (mintedStill > 0) {
        console.log(`${mintedStill} that ${named} has minted for others are good still: "--minted" ends them too`)
      }
    })
  return token
}
