import { isIP } from 'node:net'
import type { Context } from 'hono'
import { bearerToken } from '../../contract/bearer.ts'
import { DEVICE_ADDRESS_HEADER } from '../../contract/enrolment.ts'
import type { ContractError } from '../../contract/errors.ts'
import type { Result } from '../../contract/result.ts'
import { AttemptLimit } from '../trust/attempt-limit.ts'
import { verifiedBearer } from './auth.ts'
import { addressOf, type CloudEnv, type CloudServices } from './environment.ts'
import { fail, unwrap } from './problem.ts'

/** chosen: a person who mistypes gets through; what guesses gets three tries in ten seconds */
const ADDRESS_LIMITS = { burst: 20, perSecond: 0.3 }
/** chosen: of one name at one address, a third of the address's rate, so that one device that has lost its key leaves the others there room */
const NAME_LIMITS = { burst: 20, perSecond: 0.1 }
/** chosen: all that fail behind one gateway; each of its devices' addresses has a limit of its own */
const GATEWAY_LIMITS = { burst: 200, perSecond: 3 }

/** One bound that a failed proof counts against. */
interface Bound {
  readonly limit: AttemptLimit
  readonly source: string
}

/** Bounds failed proofs by who carries them, by the address that they come from, and by whom they are of at that address. What one gateway,
 *  one address or one name uses up is missing to nobody else: a name alone is no source, since anybody may say one. */
export class ProofLimits {
  readonly #services: CloudServices
  readonly #gateways = new AttemptLimit(GATEWAY_LIMITS)
  readonly #addresses = new AttemptLimit(ADDRESS_LIMITS)
  readonly #names = new AttemptLimit(NAME_LIMITS)

  constructor(services: CloudServices) {
    this.#services = services
  }

  /** Runs a proof within the limits of failed ones.
   *  @param name of whom it is */
  async proven<T>(
    c: Context<CloudEnv>,
    name: string,
    proof: () => Result<T, ContractError> | Promise<Result<T, ContractError>>,
  ): Promise<T> {
    const { clock } = this.#services
    const bounds = await this.#boundsOf(c, name)
    for (const { limit, source } of bounds) {
      const wait = limit.waitSeconds(source, clock.monotonicMs())
      if (wait > 0) fail('rate-limited', `too many failed proofs from ${source}`, { 'retry-after': String(wait) })
    }
    const result = await proof()
    if (!result.ok) for (const { limit, source } of bounds) limit.failed(source, clock.monotonicMs())
    return unwrap(result)
  }

  async #boundsOf(c: Context<CloudEnv>, name: string): Promise<readonly Bound[]> {
    const bearer = bearerToken(c.req.header('authorization'))
    const principal = bearer === undefined ? undefined : await verifiedBearer(c, this.#services, bearer)
    if (!principal?.ok || principal.value.role !== 'gateway') return this.#at(addressOf(c), name)
    // Only an enrolled gateway is believed about whom it carries a request for, and only under its own name.
    const told = c.req.header(DEVICE_ADDRESS_HEADER)
    const { subject } = principal.value
    const address = told !== undefined && isIP(told) !== 0 ? told : 'unknown'
    return [{ limit: this.#gateways, source: subject }, ...this.#at(`${subject} ${address}`, name)]
  }

  #at(address: string, name: string): readonly Bound[] {
    return [
      { limit: this.#addresses, source: address },
      { limit: this.#names, source: `${address} ${name}` },
    ]
  }
}
