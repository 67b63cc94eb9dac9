import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { IdentityWorld } from '../../fixtures/identity-world.ts'

const world = new IdentityWorld()
beforeAll(() => world.start())
afterAll(() => world.stop())

const send = (method: string, path: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(world.cloud.url + path, {
    method,
    headers: {
      authorization: `Bearer ${world.cloud.operatorToken}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
const claim = { site: 'lab', board: 'board-a' }
const policy = (name: string, minHours: number) => ({ name, reason: 'a test', gate: { minHours } })
const versionsOf = async (name: string): Promise<number[]> => {
  const { policies } = (await world.call('GET', '/v1/gate-policies')).json as {
    policies: { name: string; version: number }[]
  }
  return policies.filter((each) => each.name === name).map(({ version }) => version)
}

describe('a change with an Idempotency-Key', () => {
  it('is done once, and answered alike each time, also by those that come together', async () => {
    const key = { 'idempotency-key': '"one"' }
    const together = await Promise.all([1, 2, 3, 4, 5].map(() => send('POST', '/v1/claims', claim, key)))
    expect(together.map(({ status }) => status).sort()).toEqual([200, 409, 409, 409, 409])
    const policies = await Promise.all(
      [1, 2, 3].map(() => send('POST', '/v1/gate-policies', policy('day', 24), { 'idempotency-key': 'p-1' })),
    )
    const answers = await Promise.all(policies.map((response) => response.text()))
    expect(new Set(answers).size).toBe(1)
    expect(policies.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(policies.filter(({ headers }) => headers.get('idempotency-replayed') === 'true').length).toBe(2)
    expect((await versionsOf('day')).length).toBe(1)
  })

  it('whose answer holds a secret is not done twice, and the secret is kept nowhere', async () => {
    const key = { 'idempotency-key': '"mint"' }
    const wish = { subject: 'carla', role: 'viewer' }
    const first = await send('POST', '/v1/tokens', wish, key)
    const { token } = (await first.json()) as { token: string }
    const again = await send('POST', '/v1/tokens', wish, key)
    expect([first.status, again.status]).toEqual([200, 409])
    expect(await again.json()).toMatchObject({ code: 'conflict', detail: expect.stringContaining('secret') })
    const { tokens } = (await world.call('GET', '/v1/tokens')).json as { tokens: { subject: string }[] }
    expect(tokens.filter(({ subject }) => subject === 'carla').length).toBe(1)
    const files = readdirSync(join(world.dir, 'cloud')).filter((file) => file.startsWith('cloud.db'))
    expect(files.length).toBeGreaterThan(0)
    for (const file of files) expect(readFileSync(join(world.dir, 'cloud', file)).includes(token), file).toBe(false)
  })

  it('is refused when the key was used for another request, and free again when the first was refused', async () => {
    const key = { 'idempotency-key': '"two"' }
    expect((await send('POST', '/v1/gate-policies', { name: 'Not a name' }, key)).status).toBe(400)
    expect((await send('POST', '/v1/gate-policies', policy('night', 12), key)).status).toBe(200)
    const other = await send('POST', '/v1/gate-policies', policy('night', 13), key)
    expect([other.status, await other.json()]).toEqual([
      422,
      expect.objectContaining({ code: 'idempotency-key-reused' }),
    ])
    const elsewhere = await send('PUT', '/v1/groups/night', { query: 'site:lab', reason: 'a test' }, key)
    expect(elsewhere.status).toBe(422)
    for (const bad of ['""', 'a b', `"${'x'.repeat(256)}"`, '"a"b"']) {
      expect((await send('POST', '/v1/gate-policies', policy('x', 1), { 'idempotency-key': bad })).status, bad).toBe(
        400,
      )
    }
    expect((await versionsOf('night')).length).toBe(1)
    expect((await versionsOf('x')).length).toBe(0)
  })

  it('may be sent to every route by which people change something', async () => {
    const { paths } = (await world.call('GET', '/openapi.json')).json as {
      paths: Record<string, Record<string, { security?: unknown[]; parameters?: { in: string; name: string }[] }>>
    }
    const without = Object.entries(paths).flatMap(([path, item]) =>
      Object.entries(item)
        .filter(([method, { security, parameters = [] }]) => {
          const takesKey = parameters.some(({ in: place, name }) => place === 'header' && name === 'idempotency-key')
          return method !== 'get' && security?.length !== 0 && !takesKey
        })
        .map(([method]) => `${method} ${path}`),
    )
    expect(without.sort()).toEqual([
      // Of gateways, which know their own rows and answers again.
      'post /v1/ingest',
      // Bytes by their hash, documents by their version: the same again is the same.
      'post /v1/metadata',
      'post /v1/metadata/director-key',
      'post /v1/metadata/online-key',
      'post /v1/notices',
      // Changes nothing.
      'post /v1/rollouts/plan',
      // In the last third of a life only.
      'post /v1/tokens/renew',
      'post /v1/wake-checks/{id}',
      'put /v1/artifacts/{sha256}',
      'put /v1/models/{name}/{version}/patches/{sha256}',
    ])
  })
})

describe('a change with If-Match', () => {
  const path = '/v1/groups/hall'
  const set = (query: string, headers: Record<string, string>) =>
    send('PUT', path, { query, reason: 'a test' }, headers)

  it('is made when nothing has changed since, and refused when somebody was quicker', async () => {
    const made = await set('site:a', { 'if-none-match': '*' })
    const { etag } = (await made.json()) as { etag: string }
    expect(made.status).toBe(200)
    expect(etag).toMatch(/^"[\w-]{16}"$/)
    expect((await set('site:b', { 'if-none-match': '*' })).status).toBe(412)
    const changed = await set('site:b', { 'if-match': `"other", ${etag}` })
    expect(changed.status).toBe(200)
    const late = await set('site:c', { 'if-match': etag })
    expect([late.status, await late.json()]).toEqual([412, expect.objectContaining({ code: 'precondition-failed' })])
    expect((await send('DELETE', path, undefined, { 'if-match': etag })).status).toBe(412)
    const { groups } = (await world.call('GET', '/v1/groups')).json as { groups: { query: string; etag: string }[] }
    const hall = groups.find(({ query }) => query === 'site:b')
    expect((await send('DELETE', path, undefined, { 'if-match': hall?.etag ?? '' })).status).toBe(200)
    expect((await set('site:a', { 'if-match': '*' })).status).toBe(412)
  })
})
