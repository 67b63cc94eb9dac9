import type { Context, MiddlewareHandler } from 'hono'
import { bearerToken } from '../../contract/bearer.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { err, type Result } from '../../contract/result.ts'
import type { GatewayRecord } from '../store/gateway-store.ts'
import type { ServiceRole, ServiceToken } from '../trust/tokens.ts'
import { addressOf, type CloudEnv, type CloudServices } from './environment.ts'
import { fail } from './problem.ts'

const CHALLENGE = { 'www-authenticate': 'Bearer realm="kinglet"' }

/** Checks a token, cheap things first: its shape, then whether its address has shown too many bad ones, then its signature. A token that was right
 *  before is never held up by what others at its address do. */
export async function verifiedBearer(
  c: Context<CloudEnv>,
  services: CloudServices,
  token: string,
): Promise<Result<ServiceToken, ContractError>> {
  const { tokens, badTokens, clock } = services
  if (!tokens.couldBe(token)) return err(contractError('token-invalid', 'the token is not one of ours'))
  if (tokens.isKnown(token)) return tokens.verifyService(token)
  const address = addressOf(c)
  const wait = badTokens.waitSeconds(address, clock.monotonicMs())
  if (wait > 0) fail('rate-limited', `too many bad tokens from ${address}`, { 'retry-after': String(wait) })
  const verified = await tokens.verifyService(token)
  if (!verified.ok) badTokens.failed(address, clock.monotonicMs())
  return verified
}

/** Lets a request pass whose bearer token has one of the roles; an operator may do everything. With `publicReads`, a GET
 *  needs no token.
 */
export function requireRole(services: CloudServices, ...roles: readonly ServiceRole[]): MiddlewareHandler<CloudEnv> {
  return async (c, next) => {
    const header = c.req.header('authorization')
    if (header === undefined && services.publicReads && (c.req.method === 'GET' || c.req.method === 'HEAD')) {
      c.set('principal', { subject: 'anonymous', role: 'viewer' })
      return next()
    }
    const token = bearerToken(header)
    if (token === undefined) return fail('token-invalid', 'a bearer token is required', CHALLENGE)
    const verified = await verifiedBearer(c, services, token)
    const principal = verified.ok ? verified.value : fail(verified.error.code, verified.error.detail, CHALLENGE)
    if (principal.role !== 'operator' && !roles.includes(principal.role)) {
      return fail('not-authorized', `needs ${roles.join(' or ') || 'operator'}, the token is for ${principal.role}`)
    }
    c.set('principal', principal)
    c.set('token', principal)
    return next()
  }
}

/** The gateway that asks. To be called behind requireRole; nobody else speaks for one, an operator neither. */
export function gatewayOf({ store }: CloudServices, c: Context<CloudEnv>): GatewayRecord {
  const { role, subject } = c.get('principal')
  const gateway = role === 'gateway' ? store.gateways.byName(subject) : undefined
  return gateway ?? fail('not-authorized', `needs a gateway, the token is for ${role}`)
}

/** The sites to which what a gateway reads is limited; undefined: somebody asks who may read all. */
export const ownSites = (services: CloudServices, c: Context<CloudEnv>): readonly string[] | undefined =>
  c.get('principal').role === 'gateway' ? gatewayOf(services, c).sites : undefined
