import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { secureRandom } from '../../../cli/random-secure.ts'
import { adviseRelease } from '../../../cli/release/release-advise.ts'
import { startCloud } from '../../../cloud/cloud.ts'
import { CloudWorld } from '../../fixtures/cloud-world.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-advise-'))
const quiet = () => undefined
let world: CloudWorld
let cloud: Awaited<ReturnType<typeof startCloud>>

beforeAll(async () => {
  world = new CloudWorld(join(dir, 'cloud.db'), 5, {})
  world.addRelease('kws-1', 1, 'production')
  world.addRelease('kws-2', 2, 'staging')
  world.enrol(40)
  for (let day = 0; day < 9; day++) {
    // Eleven of a hundred wakes more are wrong each day.
    world.behaviour['kws-1'] = { falseWakes: 0.3 + 0.11 * day, verified: 2.7 - 0.11 * day }
    world.hours(24)
  }
  // The cloud does it by and by.
  while (world.store.fleet.refresh(24) > 0);
  world.store.close()
  const logger = { info: quiet, warn: quiet, error: quiet }
  cloud = await startCloud({ dataDir: dir, host: '127.0.0.1', port: 0, clock: world.clock, secureRandom, logger })
})
afterAll(async () => {
  await cloud.close()
  rmSync(dir, { recursive: true })
})

async function said(model: string, json = false): Promise<string[]> {
  const log = vi.spyOn(console, 'log').mockImplementation(quiet)
  try {
    const tokenFile = join(dir, 'operator.token')
    await adviseRelease(model, { cloud: cloud.url, tokenFile, cost: 400, value: 0.05, json })
    return log.mock.calls.map(([line]) => String(line))
  } finally {
    log.mockRestore()
  }
}

describe('kinglet release advise', () => {
  it('says how often it pays, by what the cloud has summed', async () => {
    const [json = ''] = await said('kws-1', true)
    const advice = JSON.parse(json) as { decay: { firstShare: number; lostPerDay: number }; everyDays: number }
    expect(advice).toMatchObject({ v: 1, model: 'kws-1', advice: 'retrain' })
    expect(advice.decay.firstShare).toBeGreaterThan(0.84)
    expect(advice.decay.firstShare).toBeLessThan(0.94)
    expect(advice.decay.lostPerDay).toBeGreaterThan(0.032)
    expect(advice.decay.lostPerDay).toBeLessThan(0.05)
    const lines = await said('kws-1')
    expect(lines[0]).toMatch(/^kws-1: of [\d.]+ wakes a day over [89] days (8[4-9]|9[0-4])[\d.]* % were right/)
    expect(lines[1]).toMatch(/^a training that costs 400, at 0\.05 a wrong wake, pays every [\d.]+ days \(/)
    expect(lines[2]).toMatch(/does not hear/)
  })

  it('says of a model that nobody runs, or that is none, what is missing', async () => {
    await expect(said('kws-2')).rejects.toThrow(/no wake of it was judged in the last month\n.*labels of the last 48 h/)
    await expect(said('kws-9')).rejects.toThrow(/no release "kws-9"\n.*release list/)
  })

  it('gives none on labels that are stale', async () => {
    world.clock.advanceTo(world.clock.wallMs() + 60 * 3_600_000)
    await expect(said('kws-1')).rejects.toThrow(/its last wake was judged (5|6)\d h ago/)
  })
})
