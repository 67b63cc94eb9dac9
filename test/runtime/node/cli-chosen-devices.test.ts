import { mkdirSync } from 'node:fs'
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
const refused = async (words: RegExp, code: 1 | 2, ...args: string[]) =>
  expectRefusal(await kinglet(...args, ...operator()), code, words)
const imported = (rows: readonly { device: string; site: string }[]) =>
  world.call(
    'POST',
    '/v1/devices',
    rows.map((row) => ({ ...row, board: 'board-a' })),
  )

/** A cloud with two sites of three devices each. */
beforeAll(async () => {
  mkdirSync(data)
  const store = new Store(join(data, 'cloud.db'), 0)
  for (const [name, version, state] of [
    ['kws-1', 1, 'production'],
    ['kws-2', 2, 'candidate'],
    ['kws-bad', 3, 'candidate'],
  ] as const) {
    store.models.putArtifact(SHA[name], 1_000, 0)
    const release = store.models.add(releaseOf(name, version, SHA[name]), null, 0)
    store.models.setState(release, state, 'test', 'test', 0)
  }
  store.close()
  await world.start()
  const rows = ['rome', 'oslo'].flatMap((site) => [1, 2, 3].map((i) => ({ device: `${site}-${i}`, site })))
  expect((await imported(rows)).status).toBe(200)
})
afterAll(() => world.stop())

const idOf = (text: string): string => /^(r-\w+) /m.exec(text)?.[1] ?? ''

describe('a rollout of chosen devices', () => {
  it('is refused where what is asked for cannot be', async () => {
    const start = ['rollout', 'start', 'kws-2']
    await refused(/not chosen by "place"/, 2, ...start, '--devices', 'place:rome')
    await refused(/say which devices/, 2, ...start, '--devices', ' ')
    await refused(/at most 90d/, 2, ...start, '--experiment', '91d')
    await refused(/at most 90d/, 2, ...start, '--experiment', 'long')
    await refused(/has no stages/, 2, ...start, '--experiment', '2d', '--stages', '100')
    await refused(/is of an --experiment/, 2, ...start, '--share', '20')
    await refused(/between 0 and 100/, 2, ...start, '--experiment', '2d', '--share', '100')
    await refused(/end at 100/, 2, ...start, '--stages', '50')
    // An experiment promotes nothing, its own release least of all.
    await refused(/kws-2 is candidate: promote it to staging first/, 1, ...start, '--experiment', '2d')
    const ask = async (body: object) => {
      const { status, json } = await world.call('POST', '/v1/rollouts/plan', { name: 'kws-2', ...body })
      return [status, json.code, json.detail]
    }
    expect(await ask({ devices: '  ' })).toEqual([400, 'invalid-request', expect.stringContaining('say which')])
    expect(await ask({ devices: 'group:nope' })).toEqual([400, 'invalid-request', 'there is no group "nope"'])
    for (const percents of [[100], [20, 50], []]) {
      expect((await ask({ experimentHours: 24, percents }))[0]).toBe(400)
    }
    for (const experimentHours of [0, -1, 2_161, 'x']) expect((await ask({ experimentHours }))[0]).toBe(400)
  })

  it('starts, says who would be chosen now, and its devices keep the release, which then may be production', async () => {
    await said('group', 'set', 'south', 'site:rome', '--reason', 'warm')
    const group = await said('rollout', 'start', 'kws-2', '--devices', 'group:south', '--stages', '50,100')
    expect(group).toContain('for devices that were chosen at its start: group:south\n')
    expect(group).toContain('  3 devices; compared with')
    const id = idOf(group)
    await refused(new RegExp(`rollout ${id} of kws-2 2 is running and has rome-1`), 1, 'rollout', 'start', 'kws-bad')
    const beside = await said('rollout', 'start', 'kws-bad', '--devices', 'site:oslo')
    await world.cloud.evaluate()
    await imported([
      { device: 'rome-4', site: 'rome' },
      { device: 'rome-1', site: 'lab' },
    ])
    const shown = await said('rollout', 'show', id)
    expect(shown).toContain('  3 devices were chosen at the start\n')
    expect(shown).toContain('  1 fit the choice since and are not in it: rome-4\n')
    expect(shown).toContain('  1 fit it no longer and stay in it: rome-1\n')
    expect((await world.call('GET', `/v1/rollouts/${idOf(beside)}/cohort`)).json).toEqual({
      ...{ query: 'site:oslo', chosen: 3, keeping: 0 },
      ...{ joined: { count: 0, names: [] }, departed: { count: 0, names: [] }, out: { count: 0, names: [] } },
    })
    await said('rollout', 'advance', id, '--full', '--reason', 'go')
    await said('rollout', 'advance', id, '--full', '--reason', 'go')
    await said('group', 'remove', 'south')
    const ended = await said('rollout', 'show', id)
    expect(ended).toContain('3 keep the release by it\n')
    expect(ended).toContain('its group is gone: nobody can say')
    const keptBy = async (device: string) => (await world.call('GET', `/v1/devices/${device}`)).json.keptBy
    expect([await keptBy('rome-1'), await keptBy('rome-4'), await keptBy('oslo-1')]).toEqual([id, null, null])

    await said('rollout', 'rollback', idOf(beside), '--reason', 'make room')
    const promote = ['release', 'promote', 'kws-2', '--to', 'production', '--reason', 'all run it']
    await refused(/kws-1 is in production: start a rollout/, 1, ...promote)
    for (const device of ['rome-4', 'oslo-1', 'oslo-2', 'oslo-3']) {
      await said('device', 'retarget', device, '--model', 'kws-2', '--reason', 'all of them')
    }
    await said(...promote)
    expect(await said('release', 'list')).toMatch(/kws-1 1 {2}archived[\s\S]*kws-2 2 {2}production/)
    expect(await keptBy('rome-1')).toBeNull()
  })

  it('one for whoever fits has nobody chosen', async () => {
    const { status, json } = await world.call('GET', '/v1/rollouts?limit=1')
    expect([status, json.rollouts[0].cohort]).toEqual([200, 'site:oslo'])
    await said('device', 'retarget', 'oslo-1', '--production', '--reason', 'done')
    await said('release', 'promote', 'kws-bad', '--to', 'staging', '--reason', 'again')
    const id = idOf(await said('rollout', 'start', 'kws-bad'))
    expect((await world.call('GET', `/v1/rollouts/${id}/cohort`)).status).toBe(404)
    expect((await world.call('GET', '/v1/rollouts/nope/cohort')).status).toBe(404)
    expect((await world.call('GET', '/v1/rollouts/nope/report')).status).toBe(404)
    expect((await world.call('GET', `/v1/rollouts/${id}/report`)).json).toMatchObject({ code: 'conflict' })
    await said('rollout', 'rollback', id, '--reason', 'make room')
  })
})

describe('an experiment', () => {
  it('is told as one, reports while it runs, and is ended by hand', async () => {
    await said('release', 'promote', 'kws-bad', '--to', 'staging', '--reason', 'again')
    await refused(/installing-max <N>.*argument '0'/, 2, 'rollout', 'start', 'kws-bad', '--installing-max', '0')
    const limits = ['--installing-max', '1', '--installing-max-site', '1']
    const id = idOf(await said('rollout', 'start', 'kws-bad', '--experiment', '2d', ...limits))
    await world.cloud.evaluate()
    await world.cloud.evaluate()
    expect(await said('rollout', 'show', id)).toMatch(
      / {2}\d devices wait for their turn to install \(1, 1 a site at once\)/,
    )
    expect((await world.call('GET', `/v1/rollouts/${id}`)).json).toMatchObject({
      ...{ experimentHours: 48, cohort: '', percents: [50], state: 'running' },
    })
    expect(await said('rollout', 'list', '--open')).toContain('  experiment of 48 h: at its end all devices go back\n')
    const report = await said('rollout', 'report', id)
    expect(report).toMatch(/experiment of 48 h: kws-bad 3 beside kws-2 2, running after/)
    expect(report).toContain('  false wakes per hour: no data\n')
    await said('rollout', 'advance', id, '--reason', 'seen enough')
    const { signals, ...ended } = JSON.parse(await said('rollout', 'report', id, '--json'))
    expect(ended).toMatchObject({ id, state: 'completed', model: { name: 'kws-bad' }, experimentHours: 48 })
    expect(signals[0]).toMatchObject({ name: 'falseWakesPerHour', finding: 'no-data', slices: [] })
    await refused(/its devices have gone back at its end/, 1, 'rollout', 'rollback', id, '--reason', 'x')
    expect(await said('release', 'list')).toMatch(/kws-bad 3 {2}staging/)
  })
})
