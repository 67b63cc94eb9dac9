import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Document, type OpenAPIClient, OpenAPIClientAxios } from 'openapi-client-axios'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Store } from '../../../cloud/store/store.ts'
import { releaseOf, SHA } from '../../fixtures/cloud-world.ts'
import { IdentityWorld } from '../../fixtures/identity-world.ts'

/** A client that somebody else's library makes of the OpenAPI document: names, places and types of parameters are the document's. */
const world = new IdentityWorld()
const BOARD = 'NUCLEO-U575ZI'
let client: OpenAPIClient

beforeAll(async () => {
  const data = join(world.dir, 'cloud')
  mkdirSync(data)
  const store = new Store(join(data, 'cloud.db'), 0)
  for (const [name, version, state] of [
    ['kws-1', 1, 'production'],
    ['kws-2', 2, 'candidate'],
  ] as const) {
    store.models.putArtifact(SHA[name], 1_000, 0)
    const release = store.models.add(releaseOf(name, version, SHA[name], { boards: [BOARD] }), null, 0)
    store.models.setState(release, state, 'test', 'test', 0)
  }
  store.close()
  await world.start()
  const definition = (await world.call('GET', '/openapi.json')).json as Document
  const headers = { authorization: `Bearer ${world.cloud.operatorToken}` }
  const axiosConfigDefaults = { baseURL: world.cloud.url, headers, validateStatus: () => true }
  client = await new OpenAPIClientAxios({ definition, axiosConfigDefaults }).init()
})
afterAll(() => world.stop())

interface Answer {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: the shape is what the test checks
  readonly data: any
  readonly headers: Record<string, string>
}
type Parameters = Readonly<Record<string, string | number>> | string | null

/** Calls an operation by its name in the document. */
async function call(operation: string, parameters: Parameters = null, body?: unknown): Promise<Answer> {
  const method = client[operation] as ((...args: readonly unknown[]) => Promise<Answer>) | undefined
  if (method === undefined) throw new Error(`the document has no operation ${operation}`)
  return method(parameters, body)
}
async function done(operation: string, parameters: Parameters = null, body?: unknown): Promise<Answer['data']> {
  const { status, data } = await call(operation, parameters, body)
  expect([operation, status, status < 300 ? '' : data.detail]).toEqual([operation, 200, ''])
  return data
}

it('drives a whole rollout, from devices to a roll back', async () => {
  const rows = Array.from({ length: 8 }, (_, i) => ({
    device: `auk-${i}`,
    site: i < 4 ? 'north' : 'south',
    board: BOARD,
  }))
  expect((await done('postDevices', null, rows)).devices.length).toBe(8)
  await done('putGroupsName', 'upper', { query: 'site:north', reason: 'a test' })
  const listed = await done('getDevices', { where: 'group:upper', limit: 2 })
  expect(listed.devices.map(({ name }: { name: string }) => name)).toEqual(['auk-0', 'auk-1'])
  expect((await done('getDevices', { where: 'group:upper', limit: 2, after: listed.next })).devices.length).toBe(2)

  const early = await call('postRollouts', { 'idempotency-key': '"start-1"' }, { name: 'kws-2', percents: [25, 100] })
  expect(early.status).toBeGreaterThanOrEqual(400)
  await done('postModelsNamePromote', 'kws-2', { to: 'staging', reason: 'a test' })
  await done('postGatePolicies', null, { name: 'careful', reason: 'a test', gate: { minHours: 12 } })
  const request = { name: 'kws-2', percents: [25, 100], policy: 'careful@1' }
  expect((await done('postRolloutsPlan', null, request)).stages.length).toBe(2)
  // Twice with one key, as after an answer that was lost.
  const first = await call('postRollouts', { 'idempotency-key': '"start-1"' }, request)
  const again = await call('postRollouts', { 'idempotency-key': '"start-1"' }, request)
  expect([first.status, again.status, again.data]).toEqual([200, 200, first.data])
  expect(again.headers['idempotency-replayed']).toBe('true')
  const { id } = first.data as { id: string }
  expect((await done('getRollouts', { state: 'open' })).rollouts.length).toBe(1)

  await expect.poll(async () => (await done('getRolloutsId', id)).stage).toBe(1)
  const { etag } = await done('getRolloutsId', id)
  const paused = await done('postRolloutsIdPause', { id, 'if-match': etag }, { reason: 'a test' })
  expect(paused.state).toBe('paused')
  // Who has seen it before it was paused resumes nothing.
  expect((await call('postRolloutsIdResume', { id, 'if-match': etag }, { reason: 'a test' })).status).toBe(412)
  await done('postRolloutsIdResume', { id, 'if-match': paused.etag }, { reason: 'a test' })
  await done('patchRolloutsId', id, { minInstalledShare: 0.5, reason: 'a test' })
  await done('postRolloutsIdAdvance', id, { reason: 'a test' })
  await expect.poll(async () => (await done('getRolloutsId', id)).stage).toBe(2)
  const ended = await done('postRolloutsIdAdvance', id, { reason: 'a test', full: true })
  expect(ended.state).toBe('completed')
  const device = await done('getDevicesId', 'auk-7')
  expect([device.target.name, device.rollout]).toEqual(['kws-2', expect.anything()])

  expect((await done('postRolloutsIdRollback', id, { reason: 'a test' })).state).toBe('rolled-back')
  await expect.poll(async () => (await done('getDevicesId', 'auk-7')).target.name).toBe('kws-1')
  const { entries } = await done('getAudit', { limit: 200 })
  const actions = entries.map(({ action }: { action: string }) => action)
  for (const action of ['started', 'paused', 'resumed', 'rolled-back']) expect(actions).toContain(`rollout.${action}`)
})

it('is refused as documented: without a right, with a body that is none, of what is not there', async () => {
  const answers = [
    await call('getRolloutsId', 'r-none'),
    await call('postRollouts', null, { name: 'kws-2', percents: [50] }),
    await call('postRollouts', { 'idempotency-key': '"start-1"' }, { name: 'kws-2', percents: [100] }),
  ]
  expect(answers.map(({ status, data }) => [status, data.code])).toEqual([
    [404, 'not-found'],
    [400, 'invalid-request'],
    [422, 'idempotency-key-reused'],
  ])
})
