import { type ContractError, contractError } from '../../contract/errors.ts'
import { LIMITS } from '../../contract/limits.ts'
import { err, type Result } from '../../contract/result.ts'
import { readBounded } from '../../platform/bounded-body.ts'
import { type Patience, patientFetch } from '../../platform/patient-fetch.ts'
import { type IdentityExchange, IdentityProtocol, identityAnswer } from '../link/identity-protocol.ts'

/** chosen, of the socket: a slow radio and a sleeping gateway get room, a dead one is noticed. Times of one request; what failed is tried
 *  again as a whole, with another challenge, since a challenge is good once. */
const PATIENCE: Patience = { attemptsMax: 1, firstPauseMs: 0, pauseMsMax: 0, attemptMs: 30_000, totalMs: 30_000 }

/** Enrolment, tokens and key rotation over HTTP, to the cloud or to a gateway that relays. */
export class IdentityClient extends IdentityProtocol {
  /** @param to of the cloud, or of a gateway's WebSocket port with http: or https:; or another way there
   *  @param chance uniform in [0, 1), for the pauses before what failed is tried again */
  constructor(to: string | IdentityExchange, chance: () => number = () => 0.5) {
    super(typeof to === 'string' ? overHttp(to.replace(/\/+$/, ''), chance) : to, chance)
  }
}

const overHttp =
  (baseUrl: string, chance: () => number): IdentityExchange =>
  async (path, body): Promise<Result<unknown, ContractError>> => {
    try {
      const request = {
        ...{ url: baseUrl + path, method: 'POST', headers: { 'content-type': 'application/json' } },
        ...{ body: JSON.stringify(body), repeatable: false, ownConnection: true, redirect: 'error' as const },
        ...{ patience: PATIENCE, chance },
      }
      const [response, content] = await patientFetch(
        request,
        async (got) => [got, await readBounded(got.body, LIMITS.identityBytes)] as const,
      )
      if (content === undefined)
        return err(contractError('too-large', `answer of more than ${LIMITS.identityBytes} bytes`))
      return identityAnswer(response.status, content.toString('utf8'))
    } catch (cause) {
      return err(contractError('unavailable', cause instanceof Error ? cause.message : String(cause)))
    }
  }
