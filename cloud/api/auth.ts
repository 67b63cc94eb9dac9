import type { Context, MiddlewareHandler } from 'hono'
import { bearerToken } from '../../contract/bearer.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { err, type Result } from '../../contract/result.ts'
import type { GatewayRecord } from '../store/gateway-store.ts'
import type { ServiceToken } from '../trust/tokens.ts'
import { addressOf, type CloudEnv, type CloudServices } from './environment.ts'
import { fail } from './problem.ts'
import { may, RIGHTS, rolesFor } from './rights.ts'

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

/** Lets a request pass whose bearer token is for a role that may ask for its route (`RIGHTS`). Where reads are public, whoever comes without one
 *  is a viewer. Before everything else that costs: a body is not read for whoever may not.
 */
export function authorize(services: CloudServices): MiddlewareHandler<CloudEnv> {
  return async (c, next) => {
    // The first that matches is the one that answers.
    const route = c.req.matchedRoutes.find(({ method }) => method !== 'ALL')?.path
    if (route === undefined) return next()
    const { method } = c.req
    const isRead = method === 'GET' || method === 'HEAD'
    const roles = rolesFor(`${isRead ? 'GET' : method} ${route.replace(/:(\w+)/g, '{$1}')}`)
    if (roles === 'open') return next()
    const header = c.req.header('authorization')
    if (header === undefined && services.publicReads && isRead && roles.includes('viewer')) {
      c.set('principal', { subject: 'anonymous', role: 'viewer' })
      return next()
    }
    const token = bearerToken(header)
    if (token === undefined) return fail('token-invalid', 'a bearer token is required', CHALLENGE)
    const verified = await verifiedBearer(c, services, token)
    const principal = verified.ok ? verified.value : fail(verified.error.code, verified.error.detail, CHALLENGE)
    if (!roles.includes(principal.role)) {
      return fail('not-authorized', `needs ${roles.join(' or ')}, the token is for ${principal.role}`)
    }
    c.set('principal', principal)
    c.set('token', principal)
    return next()
  }
}

/** Refuses to let whoever takes devices in say what they run, past every rollout. @param model what a device is said to come with */
export function refuseChoice(c: Context<CloudEnv>, model: string | undefined): void {
  const { role } = c.get('principal')
  if (model === undefined || may(role, 'releases')) return
  const who = RIGHTS.releases.roles.join(' or ')
  fail(
    'not-authorized',
    `"model" chooses what a device runs, which needs ${who}: without it the device follows its family`,
  )
}

/** The gateway that asks. Nobody else speaks for one, an admin neither. */
export function gatewayOf({ store }: CloudServices, c: Context<CloudEnv>): GatewayRecord {
  const { role, subject } = c.get('principal')
  const gateway = role === 'gateway' ? store.gateways.byName(subject) : undefined
  return gateway ?? fail('not-authorized', `needs a gateway, the token is for ${role}`)
}

/** The sites to which what a gateway reads is limited; undefined: somebody asks who may read all. */
export const ownSites = (services: CloudServices, c: Context<CloudEnv>): readonly string[] | undefined =>
  c.get('principal').role === 'gateway' ? gatewayOf(services, c).sites : undefined
