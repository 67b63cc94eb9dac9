import { afterAll, beforeAll, expect, it } from 'vitest'
import { IdentityWorld } from '../../../fixtures/identity-world.ts'

const world = new IdentityWorld()
beforeAll(() => world.start())
afterAll(() => world.stop())
const ask = async (token: string, path = '/v1/alerts', method = 'GET') => {
  const response = await fetch(world.cloud.url + path, { method, headers: { authorization: `Bearer ${token}` } })
  await response.arrayBuffer()
  return { status: response.status, retryAfter: response.headers.get('retry-after') }
}

it('after some bad tokens of an address no other signature is checked for it; who was known there is not held up', async () => {
  // Stands: what comes back with time must not depend on how busy this machine is.
  let atMs = 1e6
  world.clock.monotonicMs = () => atMs
  const good = world.cloud.operatorToken
  const wish = { subject: 'anna', role: 'viewer' }
  const unused = (await world.call('POST', '/v1/tokens', wish)).json.token as string
  expect((await ask(good)).status).toBe(200)
  const forged = `${good.slice(0, -86)}${'A'.repeat(86)}`
  // What has not the shape of a token is refused without work, however often.
  for (let i = 0; i < 60; i++) expect((await ask('open.sesame.now')).status).toBe(401)
  const statuses: number[] = []
  for (let i = 0; i < 60; i++) statuses.push((await ask(forged)).status)
  expect(statuses.slice(0, 50)).toEqual(new Array(50).fill(401))
  expect(statuses.slice(50)).toEqual(new Array(10).fill(429))
  expect(await ask(forged, '/v1/stream')).toMatchObject({ status: 429, retryAfter: '1' })
  expect((await ask(forged, '/v1/enrolments', 'POST')).status).toBe(400)
  expect((await ask(good)).status).toBe(200)
  expect((await ask(unused)).status).toBe(429)
  atMs += 1_000
  expect((await ask(unused)).status).toBe(200)
})

it('the OpenAPI document is made once', async () => {
  const [first, second] = await Promise.all(['1', '2'].map(() => fetch(`${world.cloud.url}/openapi.json`)))
  expect(first!.headers.get('content-type')).toBe('application/json')
  expect(await first!.text()).toBe(await second!.text())
})
