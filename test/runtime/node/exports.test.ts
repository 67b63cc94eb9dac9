import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exportStream } from '../../../cloud/api/export-text.ts'
import { Store } from '../../../cloud/store/store.ts'
import { IdentityWorld } from '../../fixtures/identity-world.ts'
import { T0 } from '../../fixtures/synthetic-fleet.ts'

const world = new IdentityWorld()
let store: Store
const HOUR = 3_600_000
const DEVICES = 250
const HOURS = 200
beforeAll(async () => {
  await world.start()
  store = new Store(join(world.dir, 'cloud/cloud.db'), T0)
  const rows = Array.from({ length: DEVICES }, (_, i) => ({
    ...{ device: `d-${String(i).padStart(3, '0')}`, site: i % 10 === 0 ? 'berlin' : 'hall-3', board: 'board-a' },
    ...{ tags: i === 0 ? ['=cmd()', 'a,"b"'] : [] },
  }))
  expect((await world.call('POST', '/v1/devices', rows)).status).toBe(200)
  const insert = store.db.prepare(
    `INSERT INTO device_hours (device, boot, slot, hour, seq, model, received_ms, uptime_ms, listening_ms, active_ms, wakes, gate_openings,
       energy_mj, radio_bytes, overruns, inferences, inference_ms, noise_bins) VALUES (?, 1, ?, ?, 1, 'ff', 0, 1, 1, 1, ?, 0, 0, 0, 0, 0, 0, '[]')`,
  )
  store.db.transaction(() => {
    for (const { id } of store.devices.enrolled()) {
      for (let slot = 0; slot < HOURS; slot++) insert.run(id, slot, T0 / HOUR + slot, slot)
    }
  })()
})
afterAll(async () => {
  store.close()
  await world.stop()
})

const headers = () => ({ authorization: `Bearer ${world.cloud.operatorToken}` })
const text = async (path: string): Promise<string> => {
  const response = await fetch(world.cloud.url + path, { headers: headers() })
  expect(response.status, path).toBe(200)
  return response.text()
}
const lines = async (path: string): Promise<Record<string, unknown>[]> =>
  (await text(path))
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)

describe('an export', () => {
  it('has every row that its query chooses, once, over as many pages as it takes', async () => {
    const devices = await lines('/v1/export/devices')
    expect(devices.map(({ device }) => device)).toEqual(
      Array.from({ length: DEVICES }, (_, i) => `d-${String(i).padStart(3, '0')}`),
    )
    expect((await lines('/v1/export/devices?where=site:berlin')).length).toBe(25)
    const hours = await lines('/v1/export/hours?where=d-00*')
    expect(hours.length).toBe(10 * HOURS)
    expect(new Set(hours.map(({ device, slot }) => `${device} ${slot}`)).size).toBe(10 * HOURS)
    // Pages of which nothing is chosen are not the end.
    const last = `fromMs=${T0 + 11 * HOUR}&untilMs=${T0 + 12 * HOUR}`
    const chosen = await lines(`/v1/export/hours?where=d-249&${last}`)
    expect(chosen).toMatchObject([{ device: 'd-249', site: 'hall-3', hour_ms: T0 + 11 * HOUR, wakes: 11 }])
    const { entries } = (await world.call('GET', '/v1/audit?limit=1000')).json
    const audit = await lines('/v1/export/audit')
    expect(audit.map(({ hash }) => hash)).toEqual(entries.map(({ hash }: { hash: string }) => hash).reverse())
    expect(await lines('/v1/export/verdicts')).toEqual([])
  })

  it('as CSV has its columns first, quotes what it has to, and nothing that a spreadsheet computes', async () => {
    const [head, first, ...others] = (await text('/v1/export/devices?format=csv')).split('\r\n')
    expect(head).toMatch(/^device,site,board,family,tags,enrolled_ms,/)
    expect(first).toMatch(/^d-000,berlin,board-a,default,"'=cmd\(\) a,""b""",\d+,/)
    expect(others.length).toBe(DEVICES)
    expect(await text('/v1/export/verdicts?format=csv')).toBe('rollout,family,model,version,at_ms,verdict,words\r\n')
  })

  it('is refused before its first byte where its query is wrong, and to whoever has two under way', async () => {
    for (const wrong of [
      'devices?format=xml',
      'devices?where=silent>x',
      'hours?fromMs=x',
      'devices?where=group:none',
    ]) {
      expect((await world.call('GET', `/v1/export/${wrong}`)).json, wrong).toMatchObject({ code: 'invalid-request' })
    }
    expect((await world.call('GET', '/v1/export/verdicts?rollout=r-9')).status).toBe(404)
    const abort = new AbortController()
    const start = () => fetch(`${world.cloud.url}/v1/export/hours`, { headers: headers(), signal: abort.signal })
    await Promise.all([start(), start()])
    // Nobody reads them, and no socket holds so much.
    const third = await world.call('GET', '/v1/export/audit')
    expect([third.status, third.json.code]).toEqual([503, 'unavailable'])
    const viewer = (await world.call('POST', '/v1/tokens', { subject: 'v', role: 'viewer' })).json.token as string
    const others = await fetch(`${world.cloud.url}/v1/export/audit`, { headers: { authorization: `Bearer ${viewer}` } })
    expect([others.status, (await others.text()).length > 0]).toEqual([200, true])
    abort.abort()
    await expect
      .poll(async () => (await fetch(`${world.cloud.url}/v1/export/audit`, { headers: headers() })).status)
      .toBe(200)
  })

  it('reads a page when it is asked for one, and stops when nobody reads it any more', async () => {
    let pages = 0
    let ended = 0
    const read = (after: string) => ({ rows: [{ n: pages++ }], next: `${after}x` })
    const reader = exportStream('ndjson', ['n'], read, () => ended++).getReader()
    expect(pages).toBe(0)
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('{"n":0}\n')
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect([pages, ended]).toEqual([1, 0])
    await reader.cancel()
    expect([pages, ended]).toEqual([1, 1])
    const fails = exportStream(
      'csv',
      ['n'],
      () => {
        throw new Error('the disk')
      },
      () => ended++,
    ).getReader()
    await expect(fails.read()).rejects.toThrow('the disk')
    expect(ended).toBe(2)
  })
})
