import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../cli/clock-system.ts'
import { type RunningCloud, startCloud } from '../../../cloud/cloud.ts'
import { Slices } from '../../../cloud/slices.ts'
import { Store } from '../../../cloud/store/store.ts'
import type { Clock } from '../../../contract/clock.ts'
import { ManualClock, releaseOf, SHA } from '../../fixtures/cloud-world.ts'
import { secureRandom } from '../../fixtures/identity-world.ts'
import { T0 } from '../../fixtures/synthetic-fleet.ts'

describe('slices', () => {
  it('hold the thread for about 8 ms and then leave it for as long as they took', () => {
    const clock = new ManualClock()
    let realMs = 0
    // Work takes the machine's time; the pause is waited for on the same.
    const machine: Clock = {
      wallMs: () => 0,
      monotonicMs: () => realMs,
      after: (ms, callback) => clock.after(ms, callback),
    }
    const slices = new Slices(machine)
    let left = 10
    let ended = 0
    const work = (enough: () => boolean): boolean => {
      while (left-- > 1) {
        realMs += 3
        if (enough()) return true
      }
      return false
    }
    slices.run(work, (cause) => {
      expect(cause).toBeUndefined()
      ended++
    })
    expect(left).toBe(7)
    clock.advanceTo(T0 + 8)
    expect(left).toBe(7)
    clock.advanceTo(T0 + 9)
    expect(left).toBe(4)
    clock.advanceTo(T0 + 100)
    expect(left).toBe(0)
    expect(ended).toBe(1)
  })

  it('work that throws, and work that a stop cuts off, ends once and with the reason', async () => {
    const clock = new ManualClock()
    const slices = new Slices(clock)
    await expect(
      slices.whole(() => {
        throw new Error('no disk')
      }),
    ).rejects.toThrow('no disk')
    let runs = 0
    const endless = slices.whole(() => ++runs > 0)
    slices.stop()
    await expect(endless).rejects.toThrow('the service stops')
    clock.advanceTo(T0 + 1_000)
    expect(runs).toBe(1)
    await expect(slices.whole(() => true)).rejects.toThrow('the service stops')
  })
})

describe('a cloud at work', () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'kinglet-slices-'))
  const logger = { info: () => undefined, warn: () => undefined, error: (fields: object) => console.error(fields) }
  let cloud: RunningCloud
  const DEVICES = 4_000

  const call = async (method: string, path: string, body?: unknown) => {
    const headers = { authorization: `Bearer ${cloud.operatorToken}`, 'content-type': 'application/json' }
    const response = await fetch(cloud.url + path, {
      method,
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    return { status: response.status, text: await response.text() }
  }
  const metric = async (name: string): Promise<number> =>
    Number(new RegExp(`^${name} (\\d+)$`, 'm').exec((await call('GET', '/metrics')).text)?.[1])
  /** Longest time for which nothing else ran while something was awaited, and how long that took. */
  const longestStandstill = async (work: () => Promise<unknown>): Promise<{ longestMs: number; tookMs: number }> => {
    const state = { over: false }
    const fromMs = performance.now()
    const done = work().finally(() => {
      state.over = true
    })
    let longestMs = 0
    for (let lastMs = performance.now(); !state.over; ) {
      await turn()
      const nowMs = performance.now()
      longestMs = Math.max(longestMs, nowMs - lastMs)
      lastMs = nowMs
    }
    await done
    return { longestMs, tookMs: performance.now() - fromMs }
  }
  const signed = async (count: number): Promise<void> => {
    while ((await metric('kinglet_assignments_signed_total')) < count)
      await new Promise((resolve) => setTimeout(resolve, 20))
  }

  beforeAll(async () => {
    const store = new Store(join(dataDir, 'cloud.db'), systemClock.wallMs())
    store.models.putArtifact(SHA['kws-1'], 1_000, T0)
    const record = store.models.add(releaseOf('kws-1', 1, SHA['kws-1']), null, T0)
    store.models.setState(record, 'production', 'test', 'test', T0)
    store.close()
    cloud = await startCloud({ dataDir, host: '127.0.0.1', port: 0, clock: systemClock, secureRandom, logger })
  })
  afterAll(async () => {
    await cloud.close()
    rmSync(dataDir, { recursive: true })
  })

  it('an import is stored and signed without a look at the gate, and nobody waits for the whole of it', async () => {
    const ticks = await metric('kinglet_evaluation_seconds_count')
    expect(ticks).toBeGreaterThanOrEqual(1)
    const rows = (from: number) =>
      Array.from({ length: 2_000 }, (_, i) => ({
        ...{ device: `d-${from + i}`, site: 'lab', board: 'board-a' },
        publicKey: (from + i).toString(16).padStart(64, '0'),
      }))
    const { longestMs, tookMs } = await longestStandstill(async () => {
      for (let from = 0; from < DEVICES; from += 2_000) {
        expect((await call('POST', '/v1/devices', rows(from))).status).toBe(200)
      }
      await signed(DEVICES)
    })
    console.info(
      `${DEVICES} devices imported and signed in ${Math.round(tookMs)} ms, longest standstill ${Math.round(longestMs)} ms`,
    )
    expect(longestMs).toBeLessThan(tookMs / 3)
    expect(await metric('kinglet_evaluation_seconds_count')).toBe(ticks)
  })
})

it('a service whose own clock stands still imports a fleet and signs for it all the same', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'kinglet-slices-'))
  const still: Clock = { wallMs: () => T0, monotonicMs: () => 0, after: () => () => undefined }
  const logger = { info: () => undefined, warn: () => undefined, error: console.error }
  const cloud = await startCloud({
    ...{
      dataDir: join(dir, 'cloud'),
      host: '127.0.0.1',
      port: 0,
      clock: still,
      machine: systemClock,
      secureRandom,
      logger,
    },
  })
  const devices = Array.from({ length: 500 }, (_, i) => ({ device: `d-${i}`, site: 'lab', board: 'board-a' }))
  const answer = await fetch(`${cloud.url}/v1/devices`, {
    method: 'POST',
    headers: { authorization: `Bearer ${cloud.operatorToken}`, 'content-type': 'application/json' },
    body: JSON.stringify(devices),
    signal: AbortSignal.timeout(30_000),
  })
  expect(answer.status).toBe(200)
  await cloud.close()
  rmSync(dir, { recursive: true })
})
