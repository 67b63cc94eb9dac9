import { expect, it } from 'vitest'
import { createApp } from '../../../../cloud/api/app.ts'
import type { CloudServices } from '../../../../cloud/api/environment.ts'

/** Routes are declared, none is called: nothing here needs a service. */
const app = createApp({ repository: {} } as unknown as CloudServices)

/** The status page and the document itself: files for a browser, no API. */
const isPage = (path: string): boolean => path === '/' || path === '/openapi.json' || path.startsWith('/console/')

it('the OpenAPI document has every route of the API, and no other', () => {
  const routes = app.routes
    .filter(({ method, path }) => method !== 'ALL' && !isPage(path))
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, '{$1}')}`)
  const { paths } = app.getOpenAPI31Document({ openapi: '3.1.0', info: { title: 'test', version: '1' } })
  const documented = Object.entries(paths ?? {}).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, { summary }]) => {
      expect(summary, `${method} ${path}`).toMatch(/\w+ \w+/)
      return `${method.toUpperCase()} ${path}`
    }),
  )
  expect(documented.sort()).toEqual([...new Set(routes)].sort())
  expect(documented.length).toBeGreaterThan(35)
})
