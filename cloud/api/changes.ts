import { createHash } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import type { RequestKey } from '../store/request-store.ts'
import { bodyLimitOf } from './body-limit.ts'
import type { CloudEnv, CloudServices } from './environment.ts'
import { fail } from './problem.ts'

/** A string of a structured field, or the same without its quotes. */
const KEY_SHAPE = /^(?:"[\x20\x21\x23-\x5b\x5d-\x7e]{1,255}"|[\x21\x23-\x5b\x5d-\x7e]{1,255})$/
/** chosen: a rollout with its gate has some 50 KiB; what is longer is not kept */
const ANSWER_BYTES_MAX = 256 * 1024

/** What stands before each route by which people change something: how long the body may be, and that the same request, when it comes
 *  again, is answered as before and not done again.
 *  @param keepsAnswer false: the answer holds a secret, and is not kept
 *  @see draft-ietf-httpapi-idempotency-key-header */
export const changes = (
  services: CloudServices,
  bodyBytesMax: number,
  { keepsAnswer = true }: { readonly keepsAnswer?: boolean } = {},
): MiddlewareHandler<CloudEnv>[] => [bodyLimitOf(bodyBytesMax), onceForEachKey(services, keepsAnswer)]

function onceForEachKey({ store, machine }: CloudServices, keepsAnswer: boolean): MiddlewareHandler<CloudEnv> {
  return async (c, next) => {
    const header = c.req.header('idempotency-key')
    if (header === undefined) return next()
    if (!KEY_SHAPE.test(header)) {
      return fail('invalid-request', 'Idempotency-Key is 1 to 255 printable characters, in quotes or without spaces')
    }
    const request: RequestKey = { subject: c.get('principal').subject, key: header.replace(/^"|"$/g, '') }
    const fingerprint = createHash('sha256')
      .update(
        JSON.stringify([c.req.method, c.req.url.replace(/^[a-z]+:\/\/[^/]+/, ''), c.req.header('if-match') ?? '']),
      )
      .update(Buffer.from(await c.req.arrayBuffer()))
      .digest('hex')
    const name = JSON.stringify([request.subject, request.key])
    const { underWay } = store.requests
    // Whoever asks again before the first was answered gets the first one's answer.
    for (let first = underWay.get(name); first !== undefined; first = underWay.get(name)) {
      await first.catch(() => undefined)
    }
    // Of networks that lose answers: real time, whatever clock the fleet lives by.
    const known = store.requests.begin(request, fingerprint, machine.wallMs())
    if (known === undefined) {
      const done = doOnce()
      underWay.set(name, done)
      try {
        await done
      } finally {
        underWay.delete(name)
      }
      return undefined
    }
    if (known.fingerprint !== fingerprint) {
      return fail('idempotency-key-reused', 'this Idempotency-Key was used for another request: take a new one')
    }
    const { status, answer, atMs } = known
    if (status === null || answer === null) {
      const at = new Date(atMs).toISOString()
      const why = keepsAnswer ? 'was not kept' : 'holds a secret, which is not kept'
      return fail('conflict', `the request took effect (${at}), its answer ${why}: look at what it has changed`)
    }
    return c.body(answer, status as 200, { 'content-type': 'application/json', 'idempotency-replayed': 'true' })

    async function doOnce(): Promise<void> {
      const tookEffect = await store.requests.within(request, () => next())
      if (c.res.status < 400) {
        const text = keepsAnswer ? await c.res.clone().text() : null
        const isShort = text !== null && text.length <= ANSWER_BYTES_MAX
        store.requests.answered(request, c.res.status, isShort ? text : null)
      } else if (c.res.status < 500 || !tookEffect) store.requests.forget(request)
    }
  }
}
