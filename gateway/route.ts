import type { RequestListener } from 'node:http'
import { getRequestListener, type HttpBindings } from '@hono/node-server'
import { type Context, Hono, type Next } from 'hono'
import { type ContractError, contractError } from '../contract/errors.ts'
import type { Logger } from '../platform/logger.ts'
import { problemResponse } from '../platform/problem-response.ts'

export interface HttpEnv {
  Bindings: HttpBindings
}
export type HttpApp = Hono<HttpEnv>
export type HttpContext = Context<HttpEnv>
type Answer = (c: HttpContext) => Response | Promise<Response>

/** An app that answers a bug with 500 and logs it. What no route is for, `otherwise` answers. */
export function httpApp(logger: Logger, otherwise: Answer): HttpApp {
  const app = new Hono<HttpEnv>()
  app.notFound(otherwise)
  app.onError((error, c) => {
    logger.error({ err: error, method: c.req.method, path: c.req.path }, 'request failed')
    return problemResponse(contractError('internal', 'the gateway failed; its log says why'))
  })
  return app
}

/** What a server of node:http calls. A client of HTTP/1.0 names no host, and none is needed here. */
export const listenerOf = (app: HttpApp): RequestListener => getRequestListener(app.fetch, { hostname: 'gateway' })

/** Answers GET at a path, HEAD with the same headers and no body, and any other method with 405. */
export const onGet = (app: HttpApp, path: string, answer: Answer): void =>
  onMethod(app, 'GET', 'GET, HEAD', path, answer)

export const onPost = (app: HttpApp, path: string, answer: Answer): void => onMethod(app, 'POST', 'POST', path, answer)

function onMethod(app: HttpApp, method: 'GET' | 'POST', allow: string, path: string, answer: Answer): void {
  // hono takes HEAD to the handler of GET and drops the body.
  app.on(method, path, (c: HttpContext, _next: Next) => answer(c))
  app.all(path, (c) =>
    problemResponse(contractError('invalid-request', `${c.req.method} is not for this path, ${allow} is`), {
      status: 405,
      headers: { allow },
    }),
  )
}

/** Answers for what could not be fetched from the cloud: what it sent may be at fault, and not the request. */
export function fetchProblem(error: ContractError): Response {
  const spoiled = error.code === 'hash-mismatch' || error.code === 'too-large'
  return problemResponse(error, spoiled ? { status: 502 } : {})
}
