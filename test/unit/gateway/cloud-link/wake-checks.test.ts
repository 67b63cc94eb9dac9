import { rmSync } from 'node:fs'
import pino from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { NO_WAKES, wakeLink } from '../../../../contract/attested-report.ts'
import { bytesToHex } from '../../../../contract/bytes.ts'
import { contractError } from '../../../../contract/errors.ts'
import { wakeCodec } from '../../../../contract/messages.ts'
import { seededRandom } from '../../../../contract/random.ts'
import { err, ok } from '../../../../contract/result.ts'
import { WakeChecks } from '../../../../gateway/cloud-link/wake-checks.ts'
import { KEPT_MS, KeptWakes } from '../../../../gateway/store/kept-wakes.ts'
import { openStore, type Store } from '../../../../gateway/store/store.ts'
import { MODEL, systemClock, tempDir } from '../../../runtime/node/gateway-harness.ts'

const NOW = 1_700_000_000_000
const of = (device: string, index: number, boot = 1) => ({ device, incarnation: 5, boot, index })
const bytesOf = (...numbers: number[]): string[] => numbers.map((n) => bytesToHex(Uint8Array.of(n)))

describe('wakes that are kept for the cloud to ask for', () => {
  let dir: string
  let store: Store
  beforeEach(() => {
    dir = tempDir()
    store = openStore(dir)
  })
  afterEach(() => {
    store.close()
    rmSync(dir, { recursive: true })
  })
  const range = (kept: KeptWakes, device: string, boot = 1) =>
    kept.range({ device, incarnation: 5, boot }, 1, 100).map(bytesToHex)

  it('are those of the boot that is asked for, each once', () => {
    const kept = new KeptWakes(store)
    for (const index of [2, 1, 3, 2]) kept.add(of('a', index), NOW, Uint8Array.of(index))
    kept.add(of('a', 1, 2), NOW, Uint8Array.of(9))
    expect(range(kept, 'a')).toEqual(bytesOf(1, 2, 3))
    expect(kept.range({ device: 'a', incarnation: 5, boot: 1 }, 2, 2).map(bytesToHex)).toEqual(bytesOf(2))
    expect(range(kept, 'b')).toEqual([])
  })

  it('have a share for each device, a bound for all, and an age', () => {
    const kept = new KeptWakes(store, { device: 3, all: 5 })
    for (let index = 1; index <= 9; index++) kept.add(of('loud', index), NOW, Uint8Array.of(index))
    for (let index = 1; index <= 2; index++) kept.add(of('quiet', index), NOW + 1, Uint8Array.of(index))
    expect(range(kept, 'loud')).toEqual(bytesOf(7, 8, 9))
    expect(range(kept, 'quiet')).toEqual(bytesOf(1, 2))
    kept.add(of('quiet', 3), NOW + 1, Uint8Array.of(3))
    expect(range(kept, 'loud')).toEqual(bytesOf(8, 9))
    // The same after a restart.
    new KeptWakes(store, { device: 3, all: 5 }).forgetBefore(NOW + 1)
    expect([range(kept, 'loud'), range(kept, 'quiet')]).toEqual([[], bytesOf(1, 2, 3)])
    expect(KEPT_MS).toBeGreaterThan(26 * 3_600_000)
  })
})

describe('what the cloud asks of a gateway', () => {
  const check = { id: 7, device: 'a', incarnation: 5, boot: 1, first: 1, last: 2 }
  const wake = wakeCodec.encode({
    ...{ boot: 1, index: 1, wallMs: NOW, model: MODEL, label: 1, posteriorPermille: 900, level: 0, noiseDb: -50 },
    ...{ features: Uint8Array.of(1), incarnation: 5, uptimeMs: 1_000, previous: NO_WAKES },
  })
  const asked = (list: unknown, status?: number) => {
    const told: { path: string; body: unknown }[] = []
    const checks = new WakeChecks({
      cloud: {
        getJson: () =>
          Promise.resolve(status === undefined ? ok(list) : err({ ...contractError('not-found', ''), status })),
        postJson(path, body) {
          told.push({ path, body: JSON.parse(new TextDecoder().decode(body)) as unknown })
          return Promise.resolve(ok(undefined))
        },
      },
      store: { ask: () => Promise.resolve([wake]) as never },
      clock: systemClock,
      random: seededRandom(1),
      logger: pino({ enabled: false }),
    })
    return { checks, told }
  }

  it('is answered with what was kept', async () => {
    const { checks, told } = asked({ v: 1, checks: [check] })
    expect(await checks.look()).toBe(true)
    expect(told).toEqual([{ path: '/v1/wake-checks/7', body: { v: 1, wakes: [bytesToHex(wake)] } }])
    expect(wakeLink(wake)).toHaveLength(NO_WAKES.length)
  })

  it('a cloud of before asks nothing; one that cannot be understood is asked again', async () => {
    expect(await asked(undefined, 404).checks.look()).toBe(true)
    expect(await asked(undefined, 503).checks.look()).toBe(false)
    const { checks, told } = asked({ v: 1, checks: [{ ...check, id: -1 }] })
    expect(await checks.look()).toBe(false)
    expect(told).toEqual([])
  })
})
