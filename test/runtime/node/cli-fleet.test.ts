import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Store } from '../../../cloud/store/store.ts'
import { seededRandom } from '../../../contract/random.ts'
import { releaseOf, SHA } from '../../fixtures/cloud-world.ts'
import { gatewayToken } from '../../fixtures/gateway-token.ts'
import { IdentityWorld } from '../../fixtures/identity-world.ts'
import { batchOf, SyntheticDevice } from '../../fixtures/synthetic-fleet.ts'
import { expectRefusal, kinglet } from './cli-process.ts'

const HOUR = 3_600_000
const world = new IdentityWorld()
const data = join(world.dir, 'cloud')
const operator = () => ['--cloud', world.cloud.url, '--token-file', join(data, 'operator.token')]
const prefix = (name: keyof typeof SHA) => SHA[name].slice(0, 16)
const said = async (...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await kinglet(...args, ...operator())
  expect(code, stderr).toBe(0)
  return stdout
}

beforeAll(async () => {
  mkdirSync(data)
  const store = new Store(join(data, 'cloud.db'), 0)
  for (const [name, version, state] of [
    ['kws-1', 1, 'staging'],
    ['kws-2', 2, 'production'],
  ] as const) {
    store.models.putArtifact(SHA[name], 1_000, 0)
    store.models.setState(store.models.add(releaseOf(name, version, SHA[name]), null, 0), state, 'test', 'test', 0)
  }
  store.close()
  await world.start()
  const rows = [
    { device: 'auk-1', site: 'north', board: 'board-a', tags: ['attic'] },
    { device: 'auk-2', site: 'north', board: 'board-b' },
    { device: 'auk-3', site: 'south', board: 'board-a' },
  ]
  expect((await world.call('POST', '/v1/devices', rows)).status).toBe(200)
  const now = world.clock.wallMs()
  const auk = new SyntheticDevice('auk-1', prefix('kws-1'), now - 3 * HOUR, seededRandom(1), 'north')
  const auk3 = new SyntheticDevice('auk-3', prefix('kws-2'), now - 80 * HOUR, seededRandom(2), 'south')
  const live = auk.live(now, { falseWakes: 1, verified: 1 })
  const before = auk3.live(now - 60 * HOUR, { falseWakes: 1, verified: 1 })
  const events = Array.from({ length: 7 }, (_, i) => ({
    ...auk.event(i < 6 ? 'booted' : 'install-failed', now - (10 - i) * 60_000),
    ...(i === 6 && { model: prefix('kws-2'), error: 'golden-mismatch' }),
  }))
  const reports = [...live.reports, ...before.reports]
  const token = await gatewayToken(world.cloud, 'gateway-1', ['north', 'south'])
  const said = batchOf({ ...live, reports, events })
  expect((await world.call('POST', '/v1/ingest', said, token)).status).toBe(200)
})
afterAll(() => world.stop())

describe('what an operator sees of the fleet', () => {
  it('device list: what each runs, its level and battery, when it was heard; by site, board, model, tag and silence', async () => {
    const all = (await said('device', 'list')).trim().split('\n')
    expect(all).toHaveLength(3)
    expect(all[0]).toMatch(
      /^auk-1 {2}north {2}board-a {2}default {2}runs kws-1 {2}target kws-2 2 {2}\d+ min ago {2}full 90 % {2}no key$/,
    )
    expect(all[1]).toMatch(/^auk-2 .*runs - .*never heard/)
    expect(all[2]).toMatch(/^auk-3 .*runs kws-2 .*\d d ago/)
    const names = async (...args: string[]) =>
      (await said('device', 'list', '--json', ...args))
        .trim()
        .split('\n')
        .flatMap((line) => (line === '' ? [] : [JSON.parse(line).name]))
    expect(await names('--site', 'NORTH')).toEqual(['auk-1', 'auk-2'])
    expect(await names('--board', 'board-b')).toEqual(['auk-2'])
    expect(await names('--model', 'kws-2')).toEqual(['auk-3'])
    expect(await names('--tag', 'attic')).toEqual(['auk-1'])
    expect(await names('--silent', '2d')).toEqual(['auk-2', 'auk-3'])
    expect(await names('--silent', '2d', '--site', 'south')).toEqual(['auk-3'])
    expectRefusal(await kinglet('device', 'list', '--silent', 'long', ...operator()), 2, /--silent/)
  })

  it('device show says why it does not update, with its last events', async () => {
    const text = await said('device', 'show', 'AUK-1')
    expect(text).toMatch(/^update +It tried kws-2 2 and failed once, the last time: golden-mismatch\. \(failed\)$/m)
    expect(text).toMatch(/^runs +kws-1 at level full, 90 % of its battery$/m)
    expect(text).toMatch(/^events +\d{4}-.*install-failed {2}kws-2 {2}golden-mismatch$/m)
    expect(JSON.parse(await said('device', 'show', 'auk-3', '--json')).notUpdating).toBeNull()
    expect(JSON.parse(await said('device', 'show', 'auk-2', '--json')).notUpdating.code).toBe('never-heard')
    expectRefusal(await kinglet('device', 'show', 'nobody', ...operator()), 1, /not-found/)
  })

  it('device events: newest first, by code, and page after page without a gap', async () => {
    expect((await said('device', 'events', 'auk-1')).trim().split('\n')).toHaveLength(7)
    expect(await said('device', 'events', 'auk-1', '--code', 'install-failed')).toMatch(
      /^\S+ {2}install-failed {2}kws-2 {2}golden-mismatch\n$/,
    )
    const seen: number[] = []
    for (let before: string | null = ''; before !== null; ) {
      const page: { events: { seq: number }[]; next: string | null } = (
        await world.call('GET', `/v1/events?limit=3${before === '' ? '' : `&before=${before}`}`)
      ).json
      expect(page.events.length).toBeLessThanOrEqual(3)
      seen.push(...page.events.map(({ seq }) => seq))
      before = page.next
    }
    expect(seen).toEqual([6, 5, 4, 3, 2, 1, 0])
    expect((await world.call('GET', '/v1/events?before=x')).status).toBe(400)
    expect((await world.call('GET', '/v1/events?code=nonsense')).status).toBe(400)
  })

  it('gateway list: when each was heard, for which sites, and which are silent', async () => {
    expect(await said('gateway', 'list')).toMatch(
      /^gateway-1 {2}ok {2}last heard \S+ {2}\d+ rows {2}north, south {2}no key\n$/,
    )
    world.clock.aheadMs += 3 * HOUR
    expect(await said('gateway', 'list')).toMatch(/^gateway-1 {2}SILENT /)
    world.clock.aheadMs -= 3 * HOUR
  })

  it('device window and device remove do what the API does', async () => {
    expect(await said('device', 'window', 'Europe/Berlin 02:00-05:00', '--device', 'auk-2')).toContain('Europe/Berlin')
    expect(await said('device', 'show', 'auk-2')).toMatch(/^hours +Europe\/Berlin 02:00-05:00$/m)
    expectRefusal(await kinglet('device', 'window', 'none', ...operator()), 2, /one of --device and --site/)
    expect(await said('device', 'remove', 'auk-2', '--reason', 'scrapped')).toContain(
      'auk-2 is removed, its history stays',
    )
    expect(await said('device', 'show', 'auk-2')).toMatch(/^update +It was removed/m)
  })

  it('cloud compact refuses a database in use; --retain and --id refuse what they do not know', async () => {
    expectRefusal(await kinglet('cloud', 'compact', '--data', data), 1, /is in use: stop the cloud first/)
    expectRefusal(await kinglet('cloud', 'compact', '--data', join(world.dir, 'none')), 1, /does not exist/)
    const run = ['cloud', 'run', '--data', join(world.dir, 'other')]
    expectRefusal(await kinglet(...run, '--retain', 'hours=3'), 2, /35 to/)
    expectRefusal(await kinglet(...run, '--retain', 'dust=3'), 2, /reports, hours/)
  })
})
