import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Store } from '../../../cloud/store/store.ts'
import { releaseOf, SHA } from '../../fixtures/cloud-world.ts'
import { IdentityWorld } from '../../fixtures/identity-world.ts'
import { T0 } from '../../fixtures/synthetic-fleet.ts'

const world = new IdentityWorld()
beforeAll(() => world.start())
afterAll(() => world.stop())

it('a rollout of a release that lacks something is refused with all that it lacks; of low risk it is as ever', async () => {
  const store = new Store(join(world.dir, 'cloud/cloud.db'), T0)
  for (const name of ['kws-1', 'kws-2'] as const) {
    const { models } = store
    models.putArtifact(SHA[name], 1000, T0)
    const record = models.add(releaseOf(name, name === 'kws-1' ? 1 : 2, SHA[name]), null, T0)
    models.record(record.id, null, 'candidate', 'ann', 'registered', T0)
    models.setState(record, name === 'kws-1' ? 'production' : 'staging', 'ann', 'test', T0)
  }
  store.close()
  const start = () => world.call('POST', '/v1/rollouts', { name: 'kws-2' })
  // It comes as far as its devices, of which there are none.
  expect((await start()).json).toMatchObject({ code: 'wrong-board' })

  const risk = { risk: 'medium', reason: 'doors listen to it' }
  expect((await world.call('PUT', '/v1/families/default/risk', risk)).json).toMatchObject({
    risk: 'medium',
    by: 'operator',
  })
  const refused = await start()
  expect(refused.json).toMatchObject({
    code: 'conflict',
    detail: expect.stringContaining('kws-2 2 is of medium risk and lacks'),
  })
  const gates = await world.call('GET', '/v1/models/kws-2/2/gates')
  expect(gates.json).toMatchObject({ risk: 'medium', needed: 1, approvals: [], lacks: [{ gate: 'bundle' }] })

  const mint = async (subject: string, role: string) =>
    (await world.call('POST', '/v1/tokens', { subject, role })).json.token as string
  const carla = await mint('carla', 'release-manager')
  const approve = (token?: string) =>
    world.call('POST', '/v1/models/kws-2/approve', { reason: 'heard it', version: 2 }, token)
  expect((await approve(await mint('otto', 'operator'))).status).toBe(403)
  expect((await approve(carla)).json.approvals).toMatchObject([{ by: 'carla', reason: 'heard it' }])
  const lower = { risk: 'low', reason: 'in a hurry' }
  expect((await world.call('PUT', '/v1/families/default/risk', lower, carla)).json).toMatchObject({
    code: 'not-authorized',
  })
  expect((await world.call('PUT', '/v1/families/default/risk', lower)).status).toBe(200)
  expect((await start()).json).toMatchObject({ code: 'wrong-board' })
})
