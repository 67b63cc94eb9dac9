import type { OidcPolicy } from '../../cloud/trust/oidc.ts'
import { CommandFailure } from '../failure.ts'
import { isLoopback } from './listening.ts'

export interface OidcFlags {
  readonly oidcIssuer?: string
  readonly oidcAudience?: string
  readonly oidcRoleClaim: string
  readonly oidcNameClaim: string
  readonly oidcAdmin?: readonly string[]
  readonly oidcReleaseManager?: readonly string[]
  readonly oidcOperator?: readonly string[]
  readonly oidcViewer?: readonly string[]
  readonly insecure?: boolean
}

const OF_GROUPS = '--oidc-admin, --oidc-release-manager, --oidc-operator and --oidc-viewer'

const misuse = (words: string, hint?: string): CommandFailure =>
  new CommandFailure(words, { ...(hint !== undefined && { hint }), exitCode: 2 })

/** Who says who people are; undefined: tokens of the cloud alone are taken.
 *  @throws CommandFailure with exit code 2 when something is missing, or its keys would come in the clear */
export function oidcOf(flags: OidcFlags): OidcPolicy | undefined {
  const { oidcIssuer: issuer, oidcAudience: audience, oidcRoleClaim: roleClaim, oidcNameClaim: nameClaim } = flags
  const { oidcAdmin = [], oidcReleaseManager = [], oidcOperator = [], oidcViewer = [], insecure } = flags
  const roles = { admin: oidcAdmin, 'release-manager': oidcReleaseManager, operator: oidcOperator, viewer: oidcViewer }
  const isOfNobody = Object.values(roles).every((groups) => groups.length === 0)
  if (issuer === undefined) {
    if (audience === undefined && isOfNobody) return undefined
    throw misuse(`--oidc-audience, ${OF_GROUPS} go with --oidc-issuer`)
  }
  if (audience === undefined) throw misuse('--oidc-issuer needs --oidc-audience: whose tokens are meant for this cloud')
  if (isOfNobody) throw misuse(`--oidc-issuer needs one of ${OF_GROUPS}: which group may do something here`)
  if (!/^https?:\/\/./.test(issuer) || !URL.canParse(issuer) || /[?#]/.test(issuer)) {
    throw misuse(`"${issuer}" is no issuer`, 'for example https://login.example.org/realms/fleet')
  }
  const { protocol, hostname } = new URL(issuer)
  if (protocol === 'http:' && insecure !== true && !isLoopback(hostname.replace(/^\[|\]$/g, ''))) {
    throw misuse(`the keys of ${hostname} would come over the network in the clear`, 'give an https:// address')
  }
  return { issuer, audience, roleClaim, nameClaim, roles }
}
