import { OpenAPIHono } from '@hono/zod-openapi'
import type { MiddlewareHandler } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { contractError } from '../../contract/errors.ts'
import { problemResponse } from '../../platform/problem-response.ts'
import { consoleRoutes } from '../console/routes.ts'
import { authorize } from './auth.ts'
import type { CloudApp, CloudEnv, CloudServices } from './environment.ts'
import { ProblemError } from './problem.ts'
import { ProofLimits } from './proof-limits.ts'
import { refusalPace } from './refusal-pace.ts'
import { alertRoutes } from './routes-alerts.ts'
import { deviceRoutes } from './routes-devices.ts'
import { exportRoutes } from './routes-exports.ts'
import { fleetRoutes } from './routes-fleet.ts'
import { gatePolicyRoutes } from './routes-gate-policies.ts'
import { gatewayRoutes } from './routes-gateways.ts'
import { groupRoutes } from './routes-groups.ts'
import { identityRoutes } from './routes-identity.ts'
import { incidentRoutes } from './routes-incidents.ts'
import { metadataRoutes } from './routes-metadata.ts'
import { modelRoutes } from './routes-models.ts'
import { rolloutRoutes } from './routes-rollouts.ts'
import { systemRoutes } from './routes-system.ts'
import { tokenRoutes } from './routes-tokens.ts'
import { wakeCheckRoutes } from './routes-wake-checks.ts'

/** chosen: a year, as preload lists ask for at least. @see RFC 6797 section 6.1 */
const HSTS = 'max-age=31536000'

/** The HTTP API. Every failure is problem+json with a code of the contract. */
export function createApp(services: CloudServices): CloudApp {
  const { logger, metrics } = services
  const app: CloudApp = new OpenAPIHono<CloudEnv>({
    defaultHook: (result) => {
      if (result.success) return undefined
      const issue = result.error.issues[0]
      return problemResponse(
        contractError('invalid-request', `${issue?.path.join('.') || 'body'}: ${issue?.message ?? 'invalid'}`),
      )
    },
  })

  app.use(refusalPace(services.machine))
  app.use(async (c, next) => {
    await next()
    c.header('x-content-type-options', 'nosniff')
    if (services.isEncrypted) c.header('strict-transport-security', HSTS)
    // The pattern, not the path: a label must not have as many values as there are devices.
    const route = c.req.matchedRoutes.findLast(({ method }) => method !== 'ALL')?.path ?? 'none'
    metrics.requests.inc({ method: c.req.method, route, status: String(c.res.status) })
  })

  // hono answers HEAD with the handler of GET and drops the body as it is: what a body reads from stays open then, for good.
  app.use(async (c, next) => {
    await next()
    if (c.req.method === 'HEAD') await c.res.body?.cancel()
  })
  app.use(requireMediaType(app))
  app.use(authorize(services))
  systemRoutes(app, services)
  deviceRoutes(app, services)
  const limits = new ProofLimits(services)
  identityRoutes(app, services, limits)
  gatewayRoutes(app, services, limits)
  tokenRoutes(app, services)
  modelRoutes(app, services)
  metadataRoutes(app, services)
  groupRoutes(app, services)
  alertRoutes(app, services)
  incidentRoutes(app, services)
  rolloutRoutes(app, services)
  gatePolicyRoutes(app, services)
  fleetRoutes(app, services)
  exportRoutes(app, services)
  wakeCheckRoutes(app, services)
  consoleRoutes(app)
  // Made once: it takes milliseconds, and anybody may ask for it.
  let document: Buffer<ArrayBuffer> | undefined
  app.get('/openapi.json', (c) => {
    document ??= Buffer.from(JSON.stringify(apiDocument(app)))
    return c.body(document, 200, { 'content-type': 'application/json' })
  })
  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
  })

  app.notFound((c) => {
    const { method, path } = c.req
    const allowed = methodsOf(app, path)
    if (allowed.length === 0) return problemResponse(contractError('not-found', `no ${method} ${path.slice(0, 200)}`))
    const allow = allowed.join(', ')
    const error = contractError('invalid-request', `${path.slice(0, 200)} takes ${allow}, not ${method}`)
    return problemResponse(error, { status: 405, headers: { allow } })
  })
  app.onError((error, c) => {
    if (error instanceof ProblemError) return problemResponse(error.problem, { headers: error.headers })
    // hono itself refuses bodies that are not JSON, or do not say that they are.
    if (error instanceof HTTPException && error.status < 500) {
      return problemResponse(contractError(error.status === 400 ? 'malformed' : 'invalid-request', error.message))
    }
    logger.error({ err: error, method: c.req.method, path: c.req.path }, 'request failed')
    return problemResponse(contractError('internal', 'the cloud failed; its log says why'))
  })
  return app
}

/** Methods with which a path is served. @see RFC 9110 section 15.5.6: a 405 names them */
function methodsOf(app: CloudApp, path: string): readonly string[] {
  const segments = path.split('/')
  const serves = (pattern: string): boolean => {
    const parts = pattern.split('/')
    return parts.length === segments.length && parts.every((part, i) => part.startsWith(':') || part === segments[i])
  }
  const methods = new Set(
    app.routes.filter(({ method, path: pattern }) => method !== 'ALL' && serves(pattern)).map(({ method }) => method),
  )
  if (methods.has('GET')) methods.add('HEAD')
  return [...methods].sort()
}

/** Refuses a body of another media type than the route takes, where that is JSON. @see RFC 9110 section 15.5.16 */
function requireMediaType(app: CloudApp): MiddlewareHandler<CloudEnv> {
  let json: ReadonlySet<string> | undefined
  return async (c, next) => {
    json ??= new Set(app.openAPIRegistry.definitions.flatMap((definition) => jsonRouteOf(definition)))
    const path = c.req.matchedRoutes.findLast(({ method }) => method !== 'ALL')?.path
    const type = c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase()
    const hasBody = type !== undefined || Number(c.req.header('content-length') ?? 0) > 0
    if (path !== undefined && hasBody && json.has(`${c.req.method} ${path}`) && type !== 'application/json') {
      const error = contractError(
        'invalid-request',
        `the body is to be application/json, not ${type?.slice(0, 100) ?? 'of no type'}`,
      )
      return problemResponse(error, { status: 415, headers: { accept: 'application/json' } })
    }
    return next()
  }
}

function jsonRouteOf(definition: CloudApp['openAPIRegistry']['definitions'][number]): string[] {
  if (definition.type !== 'route') return []
  const { method, path, request } = definition.route
  if (request?.body?.content['application/json'] === undefined) return []
  return [`${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`]
}

const METHODS = ['get', 'put', 'post', 'delete', 'patch'] as const

/** The OpenAPI document. Operations are named by what they do and where (`getDevicesId`), so that generated clients have stable names. */
export function apiDocument(app: CloudApp): ReturnType<CloudApp['getOpenAPI31Document']> {
  const document = app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: { title: 'Kinglet cloud', version: '1', description: 'Registry, rollouts and telemetry of a fleet.' },
    security: [{ bearer: [] }],
  })
  for (const [path, item] of Object.entries(document.paths ?? {})) {
    for (const method of METHODS) {
      const operation = item[method]
      if (operation !== undefined) operation.operationId ??= operationIdOf(method, path)
    }
  }
  return document
}

const operationIdOf = (method: string, path: string): string =>
  method +
  path
    .replace(/^\/v1/, '')
    .split(/[^A-Za-z0-9]+/)
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('')
