import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { IdentityWorld } from '../../../fixtures/identity-world.ts'

interface Operation {
  readonly operationId?: string
  readonly parameters?: readonly { in: string; name: string; required?: boolean; schema?: object }[]
  readonly responses: Record<string, { description?: string }>
  readonly requestBody?: { content: object }
}
const world = new IdentityWorld()
beforeAll(() => world.start())
afterAll(() => world.stop())
const send = (method: string, path: string, headers: Record<string, string> = {}, body?: string) =>
  fetch(world.cloud.url + path, {
    method,
    headers: { authorization: `Bearer ${world.cloud.operatorToken}`, ...headers },
    ...(body !== undefined && { body }),
  })

describe('what HTTP has a status for', () => {
  it.each([
    ['POST', '/v1/alerts', 'GET, HEAD'],
    ['PATCH', '/v1/devices/auk-1', 'DELETE, GET, HEAD'],
    ['GET', '/v1/ingest', 'POST'],
    ['GET', '/v1/rollouts/r-1/pause', 'POST'],
    ['DELETE', '/healthz', 'GET, HEAD'],
    ['POST', '/v1/sites/lab/window', 'PUT'],
  ])('%s %s is 405 and names the methods', async (method, path, allow) => {
    const response = await send(method, path)
    expect([response.status, response.headers.get('allow')]).toEqual([405, allow])
    expect(await response.json()).toMatchObject({ code: 'invalid-request', status: 405 })
  })

  it('a path that nothing serves is 404 with every method', async () => {
    for (const method of ['GET', 'POST', 'DELETE']) expect((await send(method, '/v1/nothing')).status).toBe(404)
    expect((await send('GET', '/v1/devices/a/b/c')).status).toBe(404)
  })

  it('a body of another media type is 415, one of the right type is read, whatever its parameters', async () => {
    const body = JSON.stringify({ site: 'lab', board: 'board-a' })
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx']) {
      const response = await send('POST', '/v1/claims', { 'content-type': type }, body)
      expect([response.status, response.headers.get('accept')], type).toEqual([415, 'application/json'])
    }
    const right = await send('POST', '/v1/claims', { 'content-type': 'Application/JSON; charset=utf-8' }, body)
    expect(right.status).toBe(200)
    const broken = await send('POST', '/v1/claims', { 'content-type': 'application/json' }, '{')
    expect(broken.status).toBe(400)
  })
})

describe('lists', () => {
  it('of alerts and of the audit log go on page after page, without a gap and within a bound', async () => {
    const db = new Database(join(world.dir, 'cloud', 'cloud.db'))
    const alert = db.prepare(
      "INSERT INTO alerts (code, metric, model, state, since_ms, resolved_ms, ratio, numbers) VALUES ('x', ?, '', 'resolved', 0, 0, 1, '{}')",
    )
    const entry = db.prepare("INSERT INTO audit (at_ms, actor, action, subject, detail) VALUES (0, 'a', 'b', ?, '{}')")
    for (let i = 0; i < 25; i++) {
      alert.run(`m-${i}`)
      entry.run(`s-${i}`)
    }
    db.close()
    for (const [path, field] of [
      ['/v1/alerts', 'alerts'],
      ['/v1/audit', 'entries'],
    ] as const) {
      const ids: number[] = []
      let pages = 0
      for (let before: number | null = 1e9; before !== null; pages++) {
        const json: Record<string, unknown> = (await world.call('GET', `${path}?limit=10&before=${before}`)).json
        ids.push(...(json[field] as { id: number }[]).map(({ id }) => id))
        before = json.next as number | null
      }
      expect(pages).toBeGreaterThanOrEqual(3)
      expect(ids.length).toBeGreaterThanOrEqual(25)
      expect(ids).toEqual([...new Set(ids)].sort((a, b) => b - a))
      expect((await world.call('GET', `${path}?limit=100000`)).status).toBe(400)
    }
  })
})

describe('the OpenAPI document', () => {
  it('is whole: parameters of paths are declared and required, operations and references are unique and there', async () => {
    const document = (await world.call('GET', '/openapi.json')).json
    expect(document.openapi).toMatch(/^3\.1\./)
    const operations: string[] = []
    for (const [path, item] of Object.entries<Record<string, Operation>>(document.paths)) {
      const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
      for (const [method, operation] of Object.entries(item)) {
        const where = `${method} ${path}`
        operations.push(operation.operationId ?? '')
        const parameters = operation.parameters ?? []
        const ofPath = parameters.filter((parameter) => parameter.in === 'path')
        expect(ofPath.map(({ name }) => name).sort(), where).toEqual([...named].sort())
        for (const parameter of ofPath) expect(parameter.required, `${where} ${parameter.name}`).toBe(true)
        for (const parameter of parameters) expect(parameter.schema, `${where} ${parameter.name}`).toBeDefined()
        const keys = parameters.map((parameter) => `${parameter.in} ${parameter.name}`)
        expect(new Set(keys).size, where).toBe(keys.length)
        expect(Object.keys(operation.responses).length, where).toBeGreaterThan(0)
        for (const response of Object.values(operation.responses)) {
          expect(response.description, where).toBeTypeOf('string')
        }
        if (operation.requestBody !== undefined)
          expect(Object.keys(operation.requestBody.content), where).not.toEqual([])
      }
    }
    expect(operations.filter((id) => !/^[a-z][A-Za-z0-9]*$/.test(id))).toEqual([])
    expect(new Set(operations).size).toBe(operations.length)
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map(
      ([, name]) => name!,
    )
    expect(references.filter((name) => document.components.schemas[name] === undefined)).toEqual([])
    expect(references.length).toBeGreaterThan(5)
  })
})
