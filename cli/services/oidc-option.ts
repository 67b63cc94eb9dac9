import type { OidcPolicy } from '../../cloud/trust/oidc.ts'
import { CommandFailure } from '../failure.ts'
import { isLoopback } from './listening.ts'

export interface OidcFlags {
  readonly oidcIssuer?: string
  readonly oidcAudience?: string
  readonly oidcRoleClaim: string
  readonly oidcNameClaim: string
  readonly oidcOperator?: readonly string[]
  readonly oidcViewer?: readonly string[]
  readonly insecure?: boolean
}

const misuse = (words: string, hint?: string): CommandFailure =>
  new CommandFailure(words, { ...(hint !== undefined && { hint }), exitCode: 2 })

/** Who says who people are; undefined: tokens of the cloud alone are taken.
 *  @throws CommandFailure with exit code 2 when something is missing, or its keys would come in the clear */
export function oidcOf(flags: OidcFlags): OidcPolicy | undefined {
  const { oidcIssuer: issuer, oidcAudience: audience, oidcRoleClaim: roleClaim, oidcNameClaim: nameClaim } = flags
  const { oidcOperator: operators = [], oidcViewer: viewers = [], insecure } = flags
  if (issuer === undefined) {
    if (audience === undefined && operators.length + viewers.length === 0) return undefined
    throw misuse('--oidc-audience, --oidc-operator and --oidc-viewer go with --oidc-issuer')
  }
  if (audience === undefined) throw misuse('--oidc-issuer needs --oidc-audience: whose tokens are meant for this cloud')
  if (operators.length + viewers.length === 0) {
    throw misuse('--oidc-issuer needs --oidc-operator or --oidc-viewer: which group may do something here')
  }
  if (!/^https?:\/\/./.test(issuer) || !URL.canParse(issuer) || /[?#]/.test(issuer)) {
    throw misuse(`"${issuer}" is no issuer`, 'for example https://login.example.org/realms/fleet')
  }
  const { protocol, hostname } = new URL(issuer)
  if (protocol === 'http:' && insecure !== true && !isLoopback(hostname.replace(/^\[|\]$/g, ''))) {
    throw misuse(`the keys of ${hostname} would come over the network in the clear`, 'give an https:// address')
  }
  return { issuer, audience, roleClaim, nameClaim, operators, viewers }
}
