import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OPEN_ROUTES, RIGHTS } from '../../../cloud/api/rights.ts'
import { SERVICE_ROLES, type ServiceRole } from '../../../cloud/store/roles.ts'
import { IdentityWorld } from '../../fixtures/identity-world.ts'

const world = new IdentityWorld()
const tokens = new Map<ServiceRole, string>()
beforeAll(async () => {
  await world.start()
  for (const role of SERVICE_ROLES) {
    const wish = { subject: `a-${role}`, role, ...(role === 'gateway' && { sites: ['lab'] }) }
    tokens.set(role, (await world.call('POST', '/v1/tokens', wish)).json.token)
  }
})
afterAll(() => world.stop())

interface Answer {
  readonly status: number
  readonly code: string | undefined
  readonly detail: string
}

/** Asks for a route with nothing that it could do: names of nobody, an empty body. */
async function ask(route: string, token: string | undefined): Promise<Answer> {
  const [method = '', pattern = ''] = route.split(' ')
  const path = pattern
    .replace('{version}', '1')
    .replace('{sha256}', 'f'.repeat(64))
    .replace('{file}', '1.root.json')
    .replace('{at}', 'latest')
    .replace(/\{\w+\}/, /alerts|silences|incidents|wake-checks/.test(pattern) ? '99' : 'nobody')
  const isRead = method === 'GET' || method === 'DELETE'
  const abort = new AbortController()
  const response = await fetch(world.cloud.url + path, {
    method,
    headers: {
      'idempotency-key': randomUUID(),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(!isRead && { 'content-type': 'application/json' }),
    },
    signal: abort.signal,
    ...(!isRead && { body: '{}' }),
  })
  // The live stream does not end.
  const isProblem = response.headers.get('content-type')?.includes('problem') === true
  const { code, detail = '' } = isProblem ? ((await response.json()) as { code: string; detail: string }) : {}
  if (!isProblem) abort.abort()
  return { status: response.status, code, detail }
}

const isRefused = ({ code, detail }: Answer, role: string): boolean =>
  code === 'not-authorized' && detail.startsWith('needs ') && detail.endsWith(`the token is for ${role}`)

/** Every route of the document, as the cloud itself serves it. */
async function documented(): Promise<string[]> {
  const { paths } = (await world.call('GET', '/openapi.json')).json as { paths: Record<string, object> }
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  )
}

describe('roles', () => {
  it('every route has one line in the table of rights, and every line a route', async () => {
    const listed = [...Object.values(RIGHTS).flatMap(({ routes }) => routes), ...OPEN_ROUTES]
    const pages = ['GET /', 'GET /openapi.json']
    expect(listed.filter((route, i) => listed.indexOf(route) !== i)).toEqual([])
    expect([...listed].filter((route) => !pages.includes(route)).sort()).toEqual((await documented()).sort())
  })

  it('may ask for what the table says and for nothing else, on every route', async () => {
    const wrong: string[] = []
    for (const route of await documented()) {
      const right = Object.values(RIGHTS).find(({ routes }) => (routes as readonly string[]).includes(route))
      const without = await ask(route, undefined)
      if ((without.status === 401) !== (right !== undefined)) wrong.push(`nobody: ${route} ${without.status}`)
      for (const [role, token] of tokens) {
        const answer = await ask(route, token)
        const mayAsk = right === undefined || (right.roles as readonly string[]).includes(role)
        if (isRefused(answer, role) === mayAsk) wrong.push(`${role}: ${route} ${answer.status} ${answer.detail}`)
      }
    }
    expect(wrong).toEqual([])
  })

  it('say who stops, who releases and who lets people in', async () => {
    const can = async (role: ServiceRole, route: string) => !isRefused(await ask(route, tokens.get(role)), role)
    const matrix = [
      ['POST /v1/rollouts/{id}/rollback', [false, true, true, true, false]],
      ['POST /v1/rollouts', [false, false, true, true, false]],
      ['POST /v1/devices/{id}/target', [false, false, true, true, false]],
      ['POST /v1/claims', [false, true, false, true, false]],
      ['POST /v1/tokens', [false, false, false, true, false]],
      ['POST /v1/gateways/{id}/release', [false, false, false, true, false]],
      ['POST /v1/ingest', [false, false, false, false, true]],
    ] as const
    for (const [route, expected] of matrix) {
      const found: boolean[] = []
      for (const role of SERVICE_ROLES) found.push(await can(role, route))
      expect([route, found]).toEqual([route, expected])
    }
  })

  it('an operator takes devices in and does not say what they run', async () => {
    const device = { device: 'wren', site: 'lab', board: 'board-a' }
    const operator = tokens.get('operator') ?? ''
    const choice = { status: 403, json: { code: 'not-authorized', detail: expect.stringContaining('"model" chooses') } }
    expect(await world.call('POST', '/v1/devices', [{ ...device, model: 'kws-2' }], operator)).toMatchObject(choice)
    expect(await world.call('POST', '/v1/claims', { ...device, model: 'kws-2' }, operator)).toMatchObject(choice)
    expect((await world.call('POST', '/v1/devices', [device], operator)).status).toBe(200)
  })
})
