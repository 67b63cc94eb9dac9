import { expect, it } from 'vitest'
import { apiDocument, createApp } from '../../../../cloud/api/app.ts'
import type { CloudServices } from '../../../../cloud/api/environment.ts'

/** Routes are declared, none is called: nothing here needs a service. */
const app = createApp({
  machine: { monotonicMs: () => 0 },
  repository: {},
  metrics: { requests: { inc: () => undefined } },
  logger: { error: () => undefined },
} as unknown as CloudServices)

/** The status page and the document itself: files for a browser, no API. */
const isPage = (path: string): boolean => path === '/' || path === '/openapi.json' || path.startsWith('/console/')

it('the OpenAPI document has every route of the API, and no other', () => {
  const routes = app.routes
    .filter(({ method, path }) => method !== 'ALL' && !isPage(path))
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, '{$1}')}`)
  const { paths } = apiDocument(app)
  const documented = Object.entries(paths ?? {}).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, { summary }]) => {
      expect(summary, `${method} ${path}`).toMatch(/\w+ \w+/)
      return `${method.toUpperCase()} ${path}`
    }),
  )
  expect(documented.sort()).toEqual([...new Set(routes)].sort())
  expect(documented.length).toBeGreaterThan(35)
})

const operations = () =>
  Object.entries(apiDocument(app).paths ?? {}).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  )

it('every parameter of a path is declared, and required, as OpenAPI 3.1 has it', () => {
  for (const { path, method, operation } of operations()) {
    const declared = ((operation.parameters ?? []) as { in: string; name: string; required?: boolean }[])
      .filter((parameter) => parameter.in === 'path')
      .map(({ name, required }) => [name, required])
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => [name, true])
    expect([method, path, declared.sort()]).toEqual([method, path, named.sort()])
  }
})

it('every operation has an id of its own', () => {
  const ids = operations().map(({ operation }) => operation.operationId)
  expect(ids.filter((id) => !/^[a-z]+[A-Za-z0-9]+$/.test(id ?? ''))).toEqual([])
  expect(new Set(ids).size).toBe(ids.length)
  expect(ids).toContain('getDevicesId')
})

it('says of each route whether it needs a token, as the route does', async () => {
  for (const { path, method, operation } of operations()) {
    const answer = await app.request(path.replace(/\{\w+\}/g, '1'), { method: method.toUpperCase() })
    const isPublic = operation.security?.length === 0
    expect([method, path, answer.status === 401]).toEqual([method, path, !isPublic])
  }
})
