import type { MiddlewareHandler } from 'hono'
import type { Clock } from '../../contract/clock.ts'
import { TokenBucket } from '../../platform/token-bucket.ts'
import type { CloudEnv } from './environment.ts'

/** chosen: a fleet whose token has ended, or a script with a wrong path, hears so at once; above the rate, refusals are no accident */
const REFUSALS = { burst: 500, perSecond: 100 }
/** chosen, ms: what is refused at every request asks twice a second over one connection, and not thousands of times */
const WAIT_MS = 500
/** chosen: answers that wait at once; beyond, memory is worth more than patience */
const WAITING_MAX = 5_000

/** Answers late what is refused, when that is much: whoever sends nothing but bad requests waits for each before the next, so that the one
 *  thread is left to those whose requests are good. What is granted never waits. Of all sources together, since behind a proxy, or from a net
 *  of many machines, addresses tell nothing.
 *  @param machine real time, since a simulation's may stand still */
export function refusalPace(machine: Clock): MiddlewareHandler<CloudEnv> {
  const refusals = new TokenBucket(REFUSALS, machine.monotonicMs())
  let waiting = 0
  return async (c, next) => {
    await next()
    const { status } = c.res
    // A client of update metadata asks for the next root until there is none: 404 is an answer and no refusal.
    if (status < 400 || status >= 500 || status === 404) return
    const left = refusals.left(machine.monotonicMs())
    if (left >= 1) refusals.take(1)
    else if (waiting < WAITING_MAX) {
      waiting++
      await new Promise<void>((resolve) => machine.after(WAIT_MS, resolve))
      waiting--
    }
  }
}
