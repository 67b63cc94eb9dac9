import { expect, it } from 'vitest'
import { createApp } from '../../../../cloud/api/app.ts'
import type { CloudServices } from '../../../../cloud/api/environment.ts'
import { ok } from '../../../../contract/result.ts'

/** Of a bearer token that is the name of a role. */
const tokens = {
  couldBe: () => true,
  isKnown: () => true,
  verifyService: async (role: string) => ok({ subject: 'a', role }),
}
const app = createApp({
  publicReads: true,
  tokens,
  machine: { monotonicMs: () => 0 },
  repository: {},
  metrics: { requests: { inc: () => undefined } },
  logger: { error: console.error },
  store: { groups: { list: () => [] } },
} as unknown as CloudServices)
// Before the first request: the router takes no route afterwards.
app.get('/v1/forgotten', (c) => c.text('something'))

const status = async (path: string, role?: string): Promise<number> => {
  const headers = role === undefined ? {} : { authorization: `Bearer ${role}` }
  return (await app.request(path, { headers })).status
}

it('a route that no right names is nobody’s', async () => {
  expect([await status('/v1/forgotten', 'admin'), await status('/v1/forgotten', 'gateway')]).toEqual([403, 403])
  expect(await status('/v1/forgotten')).toBe(401)
})

it('where reads are public, whoever comes without a token reads what a viewer reads', async () => {
  expect(await status('/v1/groups')).toBe(200)
  for (const path of ['/v1/assignments', '/v1/revocations', '/v1/tokens']) expect(await status(path), path).toBe(401)
})
