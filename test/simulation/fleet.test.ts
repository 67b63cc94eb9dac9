import { beforeAll, describe, expect, it } from 'vitest'
import { bytesToHex } from '../../contract/bytes.ts'
import { seededRandom } from '../../contract/random.ts'
import { PORTABLE_SCHEMES } from '../../contract/tuf/signature-scheme.ts'
import { VirtualClock } from '../../firmware-sim/clock-virtual.ts'
import { SharedEngine } from '../../firmware-sim/engine-shared.ts'
import { Fleet } from '../../firmware-sim/fleet.ts'
import { planFleet } from '../../firmware-sim/fleet-plan.ts'
import { Hearing } from '../../firmware-sim/hearing.ts'
import { Ledger } from '../../firmware-sim/ledger.ts'
import { soundSenses, soundTakes } from '../../firmware-sim/scene.ts'
import { configSample } from '../fixtures/agent.ts'
import { packKws } from '../fixtures/bundles.ts'
import { EngineFake, fewTakes, TransportRecorder } from '../fixtures/sim-world.ts'
import { syntheticBank } from '../fixtures/sound-bank.ts'
import { realClock } from './real-clock.ts'

const SEED = 20_260_105
const START_MS = Date.UTC(2026, 0, 5)
const HOUR_MS = 3_600_000
const bank = syntheticBank()
let bundle: Uint8Array
beforeAll(async () => {
  bundle = (await packKws()).bundle
})

/** Runs a fleet without a network and hashes what each device said. */
async function run(devices: number, seed: number, hours: number) {
  const random = seededRandom(seed)
  const time = new VirtualClock(START_MS)
  const ledger = new Ledger()
  const recorders = new Map<string, TransportRecorder>()
  const fleet = await Fleet.start({
    specs: planFleet(devices, START_MS, random.fork('fleet')),
    world: {
      engine: new SharedEngine(new EngineFake()),
      hearing: new Hearing(soundSenses(bank, random.fork('sounds'))),
      ledger,
      takesOf: soundTakes(fewTakes([...bank.keywords.keys()]), () =>
        Math.min(1, Math.max(0, (time.wallMs() - START_MS - HOUR_MS) / HOUR_MS)),
      ),
      trustRoot: configSample.trustRoot,
      schemes: PORTABLE_SCHEMES,
    },
    time,
    real: realClock,
    factoryImage: bundle,
    transportOf({ device }) {
      const recorder = new TransportRecorder()
      recorders.set(device, recorder)
      return recorder
    },
    random: random.fork('devices'),
  })
  await fleet.runUntil((nowMs) => nowMs >= START_MS + hours * HOUR_MS)
  const left = await fleet.drain(5_000)
  const counters = fleet.devices.map(({ host }) => host.state!.measures.counters)
  await fleet.close()
  const traces = new Map([...recorders].map(([device, { trace }]) => [device, bytesToHex(trace)]))
  const messages = [...recorders.values()].reduce((sum, recorder) => sum + recorder.messages, 0)
  return { traces, ledger, counters, left, messages }
}

describe(`a fleet (seed ${SEED})`, () => {
  it('says the same, byte for byte, with the same seed, and something else with another', async () => {
    const [one, two, other] = [await run(8, SEED, 4), await run(8, SEED, 4), await run(8, SEED + 1, 4)]
    expect(one.messages).toBeGreaterThan(8 * 4)
    expect([...two.traces]).toEqual([...one.traces])
    expect({ ...two.ledger }).toEqual({ ...one.ledger })
    for (const [device, trace] of other.traces) expect(trace).not.toBe(one.traces.get(device))
    expect(new Set(one.traces.values()).size).toBe(8)
  })

  it('counts as its ledger does, over all devices', async () => {
    const { ledger, counters, left } = await run(8, SEED, 3)
    expect(left).toBe(0)
    for (const name of ['listeningMs', 'windows', 'inferences', 'gateOpenings', 'wakes'] as const) {
      expect(
        counters.reduce((sum, each) => sum + each[name], 0),
        name,
      ).toBe(ledger[name])
    }
    // Each device has a turn every five minutes, the last of them up to five minutes before the end.
    expect(ledger.listeningMs).toBe(8 * 3 * HOUR_MS)
  })

  it('is not changed by a device more', async () => {
    const [few, more] = [await run(8, SEED, 4), await run(9, SEED, 4)]
    expect(more.traces.size).toBe(9)
    for (const [device, trace] of few.traces) expect(more.traces.get(device), device).toBe(trace)
  })
})
