import { OpenAPIHono } from '@hono/zod-openapi'
import { HTTPException } from 'hono/http-exception'
import { contractError } from '../../contract/errors.ts'
import { CLOUD_TIME_HEADER } from '../../contract/uplink.ts'
import { problemResponse } from '../../platform/problem-response.ts'
import { consoleRoutes } from '../console/routes.ts'
import type { CloudApp, CloudEnv, CloudServices } from './environment.ts'
import { ProblemError } from './problem.ts'
import { deviceRoutes } from './routes-devices.ts'
import { fleetRoutes } from './routes-fleet.ts'
import { identityRoutes } from './routes-identity.ts'
import { metadataRoutes } from './routes-metadata.ts'
import { modelRoutes } from './routes-models.ts'
import { rolloutRoutes } from './routes-rollouts.ts'
import { systemRoutes } from './routes-system.ts'
import { tokenRoutes } from './routes-tokens.ts'

/** The HTTP API. Every failure is problem+json with a code of the contract. */
export function createApp(services: CloudServices): CloudApp {
  const { logger, metrics, clock } = services
  const app: CloudApp = new OpenAPIHono<CloudEnv>({
    defaultHook: (result) => {
      if (result.success) return undefined
      const issue = result.error.issues[0]
      return problemResponse(
        contractError('invalid-request', `${issue?.path.join('.') || 'body'}: ${issue?.message ?? 'invalid'}`),
      )
    },
  })

  app.use(async (c, next) => {
    await next()
    c.header('x-content-type-options', 'nosniff')
    c.header(CLOUD_TIME_HEADER, String(Math.round(clock.wallMs())))
    // The pattern, not the path: a label must not have as many values as there are devices.
    const route = c.req.matchedRoutes.findLast(({ method }) => method !== 'ALL')?.path ?? 'none'
    metrics.requests.inc({ method: c.req.method, route, status: String(c.res.status) })
  })

  systemRoutes(app, services)
  deviceRoutes(app, services)
  identityRoutes(app, services)
  tokenRoutes(app, services)
  modelRoutes(app, services)
  metadataRoutes(app, services)
  rolloutRoutes(app, services)
  fleetRoutes(app, services)
  consoleRoutes(app)
  app.get('/openapi.json', (c) => c.json(apiDocument(app)))
  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
  })

  app.notFound((c) => problemResponse(contractError('not-found', `no ${c.req.method} ${c.req.path.slice(0, 200)}`)))
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
