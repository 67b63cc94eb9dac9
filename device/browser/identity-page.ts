import { contractError } from '../../contract/errors.ts'
import { LIMITS } from '../../contract/limits.ts'
import { err } from '../../contract/result.ts'
import { type IdentityExchange, identityAnswer } from '../link/identity-protocol.ts'

/** chosen: as a device on Node waits for one answer */
const PATIENCE_MS = 30_000

/** The identity's requests to the page's own server, which carries them to the gateway: a gateway answers no page of another origin.
 *  @param base address of that relay */
export const identityOverFetch =
  (base: string): IdentityExchange =>
  async (path, body) => {
    try {
      const response = await fetch(base + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        redirect: 'error',
        signal: AbortSignal.timeout(PATIENCE_MS),
      })
      const text = await response.text()
      if (text.length > LIMITS.identityBytes) {
        return err(contractError('too-large', `answer of more than ${LIMITS.identityBytes} bytes`))
      }
      return identityAnswer(response.status, text)
    } catch (cause) {
      return err(contractError('unavailable', cause instanceof Error ? cause.message : String(cause)))
    }
  }
