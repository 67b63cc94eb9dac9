import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Store } from '../../../cloud/store/store.ts'
import { releaseOf, SHA } from '../../fixtures/cloud-world.ts'
import { IdentityWorld } from '../../fixtures/identity-world.ts'
import { expectRefusal, kinglet } from './cli-process.ts'

const world = new IdentityWorld()
const data = join(world.dir, 'cloud')
const operator = () => ['--cloud', world.cloud.url, '--token-file', join(data, 'operator.token')]
const said = async (...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await kinglet(...args, ...operator())
  expect(code, stderr).toBe(0)
  return stdout
}
const namesOf = (text: string): string[] =>
  text
    .trim()
    .split('\n')
    .flatMap((line) => (line === '' ? [] : [JSON.parse(line).name]))
const metric = async (name: string): Promise<string[]> => {
  const response = await fetch(`${world.cloud.url}/metrics`, {
    headers: { authorization: `Bearer ${world.cloud.operatorToken}` },
  })
  return (await response.text()).split('\n').filter((line) => line.startsWith(name))
}
const BOARD = 'NUCLEO-U575ZI'

/** A cloud with the families `wake` and `hum`: commands and API of an operator who has both. */
beforeAll(async () => {
  mkdirSync(data)
  const store = new Store(join(data, 'cloud.db'), 0)
  for (const [name, version, family, state, boards] of [
    ['kws-1', 1, 'wake', 'production', []],
    ['hum-1', 1, 'hum', 'production', [BOARD]],
    ['kws-2', 2, 'wake', 'candidate', []],
    ['hum-2', 2, 'hum', 'candidate', [BOARD]],
  ] as const) {
    store.models.putArtifact(SHA[name], 1_000, 0)
    const release = store.models.add(releaseOf(name, version, SHA[name], { boards: [...boards] }), null, 0, { family })
    store.models.setState(release, state, 'test', 'test', 0)
  }
  store.close()
  await world.start()
  const rows = [
    ...['auk-1', 'auk-2', 'auk-3'].map((device) => ({ device, site: 'north', board: BOARD, family: 'wake' })),
    ...['hen-1', 'hen-2'].map((device) => ({ device, site: 'north', board: BOARD, family: 'hum' })),
  ]
  expect((await world.call('POST', '/v1/devices', rows)).status).toBe(200)
})
afterAll(() => world.stop())

describe('families over the API', () => {
  it('a device is imported and claimed into one; which is said, or follows from its model', async () => {
    const row = { device: 'new-1', site: 'north', board: BOARD }
    const refusal = async (more: object) => {
      const { status, json } = await world.call('POST', '/v1/devices', [{ ...row, ...more }])
      return [status, json.code, json.detail]
    }
    expect(await refusal({})).toEqual([400, 'invalid-request', 'say which family: there are hum, wake'])
    expect(await refusal({ family: 'bearing' })).toEqual([
      ...[404, 'not-found', 'no release is of family "bearing"; there are hum, wake'],
    ])
    expect(await refusal({ family: 'hum', model: 'kws-1' })).toEqual([409, 'conflict', expect.stringContaining('wake')])
    expect(await refusal({ family: 'Not A Name' })).toEqual([400, 'invalid-request', expect.anything()])
    expect(await refusal({ device: 'auk-1', family: 'hum' })).toEqual([
      ...[409, 'conflict', expect.stringContaining('"kinglet device move-family" moves it')],
    ])
    const twice = [
      { ...row, family: 'hum' },
      { ...row, family: 'wake' },
    ]
    expect((await world.call('POST', '/v1/devices', twice)).json.detail).toMatch(/with another family, rows 1 and 2/)
    expect((await world.call('GET', '/v1/devices/new-1')).status).toBe(404)
    expect((await world.call('POST', '/v1/claims', { site: 'lab', board: BOARD })).status).toBe(400)

    const claim = await world.claim('wren', { board: BOARD, model: 'hum-1' })
    const device = world.device()
    expect(await device.enrol(claim)).toMatchObject({ ok: true })
    const { json } = await world.call('GET', '/v1/devices/wren')
    expect(json).toMatchObject({ family: 'hum', target: { name: 'hum-1', version: 1 } })
  })

  it('lists name it and go by it: devices, releases, figures, families', async () => {
    const names = async (path: string, of: string) =>
      (await world.call('GET', path)).json[of].map(({ name }: { name: string }) => name)
    expect(await names('/v1/devices?family=wake', 'devices')).toEqual(['auk-1', 'auk-2', 'auk-3'])
    expect(await names('/v1/models?family=hum', 'models')).toEqual(['hum-1', 'hum-2'])
    expect((await world.call('GET', '/v1/devices?family=No%20Name')).status).toBe(400)
    expect((await world.call('GET', '/v1/families')).json.families).toEqual([
      {
        ...{ name: 'hum', releases: 2, devices: 3, rollouts: [] },
        productions: [{ name: 'hum-1', version: 1, boards: [BOARD] }],
      },
      {
        ...{ name: 'wake', releases: 2, devices: 3, rollouts: [] },
        productions: [{ name: 'kws-1', version: 1, boards: [] }],
      },
    ])
    expect((await world.call('GET', '/v1/fleet/summary?family=wake')).json).toMatchObject({
      ...{ devices: { enrolled: 3 }, production: { name: 'kws-1' } },
      productions: [{ family: 'wake', name: 'kws-1', version: 1, boards: [] }],
    })
    expect((await world.call('GET', '/v1/fleet/series?family=wake')).status).toBe(200)
  })
})

describe('an operator of two families', () => {
  it('claims for one, lists by one, and starts a rollout in each', async () => {
    const out = join(world.dir, 'claim.json')
    const claim = ['device', 'claim', '--site', 'north', '--board', BOARD, '-o', out]
    expectRefusal(await kinglet(...claim, ...operator()), 1, /say which family: there are hum, wake/)
    expectRefusal(await kinglet(...claim, '--family', 'Wake!', ...operator()), 2, /lower-case letters/)
    await said(...claim, '--family', 'wake')
    expect(JSON.parse(readFileSync(out, 'utf8')).site).toBe('north')

    expect(namesOf(await said('device', 'list', '--json', '--family', 'hum'))).toEqual(['hen-1', 'hen-2', 'wren'])
    expect(await said('device', 'list', '--family', 'wake')).toMatch(/^auk-1 {2}north {2}NUCLEO-U575ZI {2}wake {2}/)
    expect(await said('device', 'show', 'auk-1')).toMatch(/^family +wake$/m)
    expect(await said('release', 'list')).toMatch(
      /^wake {2}kws-1 1 {2}production {2}1000 bytes {2}any board {2}1{16}$/m,
    )
    expect(namesOf(await said('release', 'list', '--json', '--family', 'hum'))).toEqual(['hum-1', 'hum-2'])

    // One that cannot go on holds the other up no longer than it takes to say so.
    const store = new Store(join(data, 'cloud.db'), 0)
    store.db.exec(`CREATE TRIGGER broken BEFORE INSERT ON rollout_stages
      WHEN NEW.rollout IN (SELECT o.id FROM rollouts o JOIN releases r ON r.id = o.release WHERE r.name = 'kws-2')
      BEGIN SELECT RAISE(ABORT, 'broken on purpose'); END`)
    await said('rollout', 'start', 'kws-2', '--stages', '50,100')
    await said('rollout', 'start', 'hum-2', '--stages', '50,100')
    await world.cloud.evaluate()
    expect(store.rollouts.allOpen().map(({ stage }) => stage)).toEqual([0, 1])
    store.db.exec('DROP TRIGGER broken')
    store.close()
    await world.cloud.evaluate()
    const list = await said('rollout', 'list', '--open')
    expect(list).toMatch(/^r-\w+ {2}hum {2}hum-2 {2}running at 50 %/m)
    expect(list).toMatch(/^r-\w+ {2}wake {2}kws-2 {2}running at 50 %/m)
    expect(await said('rollout', 'list', '--family', 'hum')).not.toContain('kws-2')
    expect(await metric('kinglet_rollout_open')).toEqual([
      ...['kinglet_rollout_open{family="hum"} 1', 'kinglet_rollout_open{family="wake"} 1'],
    ])
    expect(await metric('kinglet_rollout_stage')).toEqual([
      ...[expect.stringMatching(/\{family="wake",rollout="r-\w+"\} 1$/)],
      ...[expect.stringMatching(/\{family="hum",rollout="r-\w+"\} 1$/)],
    ])
    expectRefusal(
      await kinglet('rollout', 'start', 'kws-2', ...operator()),
      1,
      /rollout r-\w+ of kws-2 2 is running and has auk-1/,
    )
  })

  it('moves a device to the other when no rollout has it, and finds who did it', async () => {
    const move = ['device', 'move-family', 'auk-1', '--reason', 'it hangs at a pump']
    expectRefusal(await kinglet(...move, ...operator()), 2, /--family/)
    expectRefusal(
      await kinglet(...move, '--family', 'hum', ...operator()),
      1,
      /auk-1 takes part in rollout r-\w+ of kws-2, which is running: move it when that has ended/,
    )
    const { rollouts } = (await world.call('GET', '/v1/rollouts?family=wake&state=open')).json
    await said('rollout', 'rollback', rollouts[0].id, '--reason', 'later')
    // Into the rollout that is open there: in the arm of its hash, or on production.
    expect(await said(...move, '--family', 'hum')).toMatch(/^auk-1 follows hum: hum-[12] \d\n$/)
    expect(namesOf(await said('device', 'list', '--json', '--family', 'wake'))).toEqual(['auk-2', 'auk-3'])
    const { entries } = (await world.call('GET', '/v1/audit?limit=1')).json
    expect(entries).toMatchObject([
      {
        ...{ action: 'device.family-moved', subject: 'auk-1' },
        detail: { from: 'wake', to: 'hum', reason: 'it hangs at a pump' },
      },
    ])
    const { token } = (await world.call('POST', '/v1/tokens', { subject: 'eve', role: 'viewer' })).json
    const body = { family: 'wake', reason: 'x' }
    expect((await world.call('POST', '/v1/devices/hen-1/family', body, token)).status).toBe(403)
    expect((await world.call('POST', '/v1/devices/hen-1/family', { family: 'wake' })).status).toBe(400)
    expect((await world.call('POST', '/v1/devices/nobody/family', body)).status).toBe(404)
  })
})
