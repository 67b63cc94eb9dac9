import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { secureRandom } from '../../../cli/random-secure.ts'
import { type RunningCloud, startCloud } from '../../../cloud/cloud.ts'
import { RolloutEngine } from '../../../cloud/rollout/engine.ts'
import { DEFAULT_GATE_POLICY } from '../../../cloud/rollout/gate-defaults.ts'
import { Store } from '../../../cloud/store/store.ts'
import { seededRandom } from '../../../contract/random.ts'
import { threeDigits } from '../../../contract/three-digits.ts'
import { ManualClock, releaseOf, SHA } from '../../fixtures/cloud-world.ts'
import { gatewayToken } from '../../fixtures/gateway-token.ts'
import { batchOf, HOUR, SyntheticDevice, T0 } from '../../fixtures/synthetic-fleet.ts'

/** Debian's; Playwright's own browsers are not downloaded. */
const CHROMIUM = '/usr/bin/chromium'
const FLAGS = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
]

/** The page as an operator sees it: a real browser on a real cloud. */
describe('the status page', () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'kinglet-page-'))
  const clock = new ManualClock()
  let cloud: RunningCloud
  let browser: Browser
  let page: Page
  const pageErrors: string[] = []

  const post = async (path: string, body: unknown, token: string) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    const answer = await fetch(cloud.url + path, { method: 'POST', headers, body: JSON.stringify(body) })
    expect([path, answer.status < 300 ? 'ok' : await answer.text()]).toEqual([path, 'ok'])
  }
  const tile = (name: string) => page.locator('.tile', { has: page.getByText(name, { exact: true }) })

  beforeAll(async () => {
    if (!existsSync(CHROMIUM)) throw new Error(`${CHROMIUM} is missing: apt-get install chromium`)
    const logger = { info: () => undefined, warn: () => undefined, error: (fields: object) => console.error(fields) }
    cloud = await startCloud({ dataDir, host: '127.0.0.1', port: 0, clock, logger, secureRandom })
    const gateway = await gatewayToken(cloud, 'gateway-1', ['site-1'])
    const names = ['dev-1', 'dev-2', 'dev-3']
    const board = 'NUCLEO-U575ZI'
    await post(
      '/v1/devices',
      names.map((device) => ({ device, site: 'site-1', board })),
      cloud.operatorToken,
    )
    clock.advanceTo(T0 + 6 * HOUR)
    const random = seededRandom(7)
    for (const name of names.slice(0, 2)) {
      const device = new SyntheticDevice(name, '1'.repeat(16), T0, random.fork(name))
      await post('/v1/ingest', batchOf(device.live(T0 + 6 * HOUR, { falseWakes: 0.5, verified: 1 })), gateway)
    }
    browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS })
    page = await browser.newPage()
    page.on('pageerror', (error) => pageErrors.push(String(error)))
    await page.goto(cloud.url)
  })
  afterAll(async () => {
    await browser?.close()
    await cloud?.close()
    rmSync(dataDir, { recursive: true })
  })

  it('asks for a token, and shows nothing of the fleet without the right one', async () => {
    await page.getByText('no access').waitFor()
    expect(await page.locator('main').isVisible()).toBe(false)
    await page.locator('#token').fill('wrong')
    await page.locator('#login button').click()
    await page.getByText('no access').waitFor()
    expect(await page.locator('main').isVisible()).toBe(false)
  })

  it('shows the fleet to the operator, live', async () => {
    await page.locator('#token').fill(cloud.operatorToken)
    await page.locator('#login button').click()
    await page.locator('#live').getByText('live', { exact: true }).waitFor()
    await tile('Devices').getByText('of 3').waitFor()
    expect(await tile('Devices').locator('.value').innerText()).toMatch(/^2\s+of 3$/)
    expect(await page.locator('#login').isVisible()).toBe(false)
    // Both charts have something drawn on them.
    expect(await page.locator('.chart canvas').count()).toBe(2)
    expect(await page.locator('#audit li').count()).toBeGreaterThan(0)
  })

  it('follows events: a device that is enrolled meanwhile appears by itself', async () => {
    const late = [{ device: 'dev-4', site: 'site-1', board: 'NUCLEO-U575ZI' }]
    await post('/v1/devices', late, cloud.operatorToken)
    await tile('Devices').getByText('of 4').waitFor()
  })

  it('shows each of several open rollouts with its family, and one family when it is asked to', async () => {
    const store = new Store(join(dataDir, 'cloud.db'), clock.wallMs())
    const engine = new RolloutEngine(store, clock, secureRandom)
    const add = (name: keyof typeof SHA, version: number, family: string, state: 'production' | 'staging') => {
      store.models.putArtifact(SHA[name], 1_000, T0)
      const release = store.models.add(releaseOf(name, version, SHA[name]), null, T0, { family })
      store.models.setState(release, state, 'test', 'test', T0)
    }
    add('kws-1', 1, 'wake', 'production')
    add('hum-1', 1, 'hum', 'production')
    add('kws-2', 2, 'wake', 'staging')
    add('hum-2', 2, 'hum', 'staging')
    for (const family of ['wake', 'hum'])
      for (let i = 0; i < 4; i++) {
        const device = { name: `${family}-${i}`, site: 'site-1', board: 'NUCLEO-U575ZI', tags: [], family }
        store.atomically(() => engine.admit(store.devices.enrol(device, clock.wallMs())))
      }
    const request = { percents: [50, 100], policy: DEFAULT_GATE_POLICY, irreversible: false }
    expect(engine.start({ ...request, name: 'kws-2' }, 'ann')).toMatchObject({ ok: true })
    expect(engine.start({ ...request, name: 'hum-2' }, 'ann')).toMatchObject({ ok: true })
    store.close()
    // The cloud looks at both, and says so.
    await cloud.evaluate()
    const shown = page.locator('#rollouts article')
    await expect.poll(() => shown.count(), { timeout: 10_000 }).toBe(2)
    expect(await shown.allInnerTexts()).toEqual([
      expect.stringMatching(/^hum-2\s+hum\s+running/),
      expect.stringMatching(/^kws-2\s+wake\s+running/),
    ])
    expect(await page.locator('#production').innerText()).toMatch(/^hum-1 \(hum\), kws-1 \(wake\) in production/)
    await page.locator('#family').selectOption('wake')
    await expect.poll(() => shown.count(), { timeout: 10_000 }).toBe(1)
    expect(await shown.allInnerTexts()).toEqual([expect.stringMatching(/^kws-2\s+wake/)])
    expect(await tile('Devices').locator('.value').innerText()).toMatch(/^0\s+of 4$/)
    await page.locator('#family').selectOption('')
    await tile('Devices').getByText('of 12').waitFor()
    expect(pageErrors).toEqual([])
  })

  it('writes figures as the commands do', async () => {
    const values = [0.0001, 0.0995, 0.5, 16.84, 100, 110, 168, 999.5, 12_345, 100_000]
    const written = await page.evaluate(`${JSON.stringify(values)}.map((value) => threeDigits(value))`)
    expect(written).toEqual(values.map(threeDigits))
    // Nothing on the page is rounded in another way.
    const script = await (await fetch(`${cloud.url}/console/console.js`)).text()
    expect(script).toMatch(/const \{ threeDigits, uPlot \} = globalThis/)
    expect(script).not.toMatch(/toPrecision|toFixed/)
  })

  it('says so when the cloud is gone, and keeps what it has shown', async () => {
    await cloud.close()
    await page.getByText('no connection, trying again').waitFor()
    expect(await tile('Devices').locator('.value').innerText()).toContain('of 12')
    expect(pageErrors).toEqual([])
  })
})
