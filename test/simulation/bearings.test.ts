import { readFileSync } from 'node:fs'
import { afterAll, expect, it } from 'vitest'
import { bundleEngine } from '../../cli/engines.ts'
import { bytesToHex } from '../../contract/bytes.ts'
import { wakeCodec } from '../../contract/messages.ts'
import { seededRandom } from '../../contract/random.ts'
import { PORTABLE_SCHEMES } from '../../contract/tuf/signature-scheme.ts'
import { radioNamed } from '../../device/core/power/energy.ts'
import type { Transport } from '../../device/ports/transport.ts'
import { bearingSenses, bearingTakes } from '../../firmware-sim/bearing-scene.ts'
import { VirtualClock } from '../../firmware-sim/clock-virtual.ts'
import type { DeviceSpec } from '../../firmware-sim/device-sim.ts'
import { SharedEngine } from '../../firmware-sim/engine-shared.ts'
import { Fleet } from '../../firmware-sim/fleet.ts'
import { Hearing } from '../../firmware-sim/hearing.ts'
import { Ledger } from '../../firmware-sim/ledger.ts'
import { boardNamed } from '../../model/boards.ts'
import { configSample } from '../fixtures/agent.ts'
import { TransportRecorder } from '../fixtures/sim-world.ts'
import { realClock } from './real-clock.ts'

const SEED = 20_261_130
const START_MS = Date.UTC(2026, 0, 5)
const MINUTE = 60_000
const bundle = new Uint8Array(readFileSync(new URL('../../zoo/bundles/bearing-1.kinglet', import.meta.url)))
const engine = new SharedEngine(bundleEngine())
afterAll(() => engine.close())

/** A recorder that also keeps the alarms. */
class AlarmRecorder implements Transport {
  readonly recorder = new TransportRecorder()
  readonly alarms: { readonly label: number; readonly bytes: number }[] = []
  open: Transport['open'] = (listener) => this.recorder.open(listener)
  close: Transport['close'] = () => this.recorder.close()
  publish: Transport['publish'] = (id, kind, payload) => {
    const wake = kind === 'wake' ? wakeCodec.decode(payload) : undefined
    if (wake?.ok) this.alarms.push({ label: wake.value.label, bytes: wake.value.features.length })
    return this.recorder.publish(id, kind, payload)
  }
}

/** Machines that wear out within eighty minutes, or not at all, without a network. */
async function run(minutes: number) {
  const random = seededRandom(SEED)
  const time = new VirtualClock(START_MS)
  const ledger = new Ledger()
  const recorders = new Map<string, AlarmRecorder>()
  const fleet = await Fleet.start({
    specs: ['worn', 'sound'].map(
      (device): DeviceSpec => ({
        ...{ device, site: 'lab', board: boardNamed('NUCLEO-U575ZI')!, radio: radioNamed('wifi')!, power: null },
        ...{ scene: { name: 'pump' }, governed: false, level: 'lite', busyness: 1, reportPhaseMs: MINUTE },
      }),
    ),
    world: {
      ...{ engine, ledger, hearing: new Hearing(bearingSenses(random)), schemes: PORTABLE_SCHEMES },
      ...{ trustRoot: configSample.trustRoot },
      takesOf: bearingTakes(
        random,
        (device, nowMs) => (device === 'worn' ? (nowMs - START_MS) / (80 * MINUTE) : 0),
        () => 0,
      ),
    },
    ...{ time, real: realClock, factoryImage: bundle, random },
    transportOf({ device }) {
      const recorder = new AlarmRecorder()
      recorders.set(device, recorder)
      return recorder
    },
  })
  const alarmsAt: number[] = []
  await fleet.runUntil((nowMs) => {
    alarmsAt.push(recorders.get('worn')!.alarms.length)
    return nowMs >= START_MS + minutes * MINUTE
  })
  await fleet.drain(5_000)
  const counters = fleet.devices.map(({ host }) => host.state!.measures.counters)
  await fleet.close()
  const trace = bytesToHex(recorders.get('worn')!.recorder.trace)
  return {
    ledger,
    counters,
    trace,
    alarmsAt,
    worn: recorders.get('worn')!.alarms,
    sound: recorders.get('sound')!.alarms,
  }
}

it(`bearings that wear alarm, with the window that a verifier judges, and sound ones do not (seed ${SEED})`, async () => {
  const { ledger, counters, worn, sound, alarmsAt, trace } = await run(60)
  expect(sound).toEqual([])
  expect(worn.length).toBeGreaterThan(0)
  // Whole windows of 384 values, and the one label there is.
  for (const alarm of worn) expect(alarm).toEqual({ label: 0, bytes: 384 })
  // None while it was sound: wear of 0.05 counts as the first tenth after four minutes.
  expect(alarmsAt[3]).toBe(0)
  // A state that lasts is told once for as long as it does, and not in each ten seconds of it.
  expect(worn.length).toBeLessThan((60 * MINUTE) / 10_000 / 4)
  for (const name of ['listeningMs', 'windows', 'inferences', 'wakes'] as const) {
    expect(
      counters.reduce((sum, each) => sum + each[name], 0),
      name,
    ).toBe(ledger[name])
  }
  // At this level it listens to one window in five.
  expect(ledger.listeningMs).toBe((2 * 60 * MINUTE) / 5)
  expect(ledger.falseWakes).toBe(0)
  expect((await run(10)).trace).toBe((await run(10)).trace)
  expect(trace).toMatch(/^[0-9a-f]+$/)
})
