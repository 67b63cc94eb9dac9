import { beforeAll, describe, expect, it } from 'vitest'
import { seededRandom } from '../../../contract/random.ts'
import { PORTABLE_SCHEMES } from '../../../contract/tuf/signature-scheme.ts'
import { radioNamed } from '../../../device/core/power/energy.ts'
import type { Transport } from '../../../device/ports/transport.ts'
import { VirtualClock } from '../../../firmware-sim/clock-virtual.ts'
import { DeviceSim, type DeviceSpec } from '../../../firmware-sim/device-sim.ts'
import { SharedEngine } from '../../../firmware-sim/engine-shared.ts'
import { Hearing } from '../../../firmware-sim/hearing.ts'
import { Ledger } from '../../../firmware-sim/ledger.ts'
import { SCENES, soundSenses, soundTakes } from '../../../firmware-sim/scene.ts'
import { SILENT_TRANSPORT } from '../../../firmware-sim/transport-silent.ts'
import { boardNamed } from '../../../model/boards.ts'
import { type Packed, packBundle } from '../../../model/pack.ts'
import { configSample } from '../../fixtures/agent.ts'
import { graphFile, type KwsOptions, packInput } from '../../fixtures/bundles.ts'
import { until } from '../../fixtures/device.ts'
import { assignmentBytes, BOARD, DEVICE, ISSUED_MS, SITE } from '../../fixtures/documents.ts'
import { GatewayFake } from '../../fixtures/gateway-fake.ts'
import { EngineFake, fewTakes } from '../../fixtures/sim-world.ts'
import { syntheticBank } from '../../fixtures/sound-bank.ts'

const bank = syntheticBank()
/** Packed with the engine that will run it, so that its golden vectors hold. */
async function pack(options: KwsOptions = {}): Promise<Packed> {
  const packed = await packBundle(packInput(options), new EngineFake())
  if (!packed.ok) throw new Error(packed.error.detail)
  return packed.value
}
let first: Packed
let second: Packed
beforeAll(async () => {
  first = await pack()
  second = await pack({ name: 'kws-2', version: 2, model: 'kws-2' })
})

const specOf = (change: Partial<DeviceSpec> = {}): DeviceSpec => ({
  device: DEVICE,
  site: SITE,
  board: boardNamed(BOARD)!,
  radio: radioNamed('ble-1m')!,
  scene: SCENES[0]!,
  power: null,
  governed: false,
  level: 'full',
  busyness: 1,
  reportPhaseMs: 60_000,
  ...change,
})

async function start(spec: DeviceSpec, transport: Transport = SILENT_TRANSPORT, raisedShare = () => 0) {
  const engine = new EngineFake()
  const clock = new VirtualClock(ISSUED_MS)
  const ledger = new Ledger()
  const world = {
    clock,
    engine: new SharedEngine(engine),
    hearing: new Hearing(soundSenses(bank, seededRandom(1))),
    ledger,
    takesOf: soundTakes(fewTakes([...bank.keywords.keys()]), raisedShare),
    trustRoot: configSample.trustRoot,
    schemes: PORTABLE_SCHEMES,
  }
  const started = await DeviceSim.start(spec, world, first.bundle, transport, seededRandom(2))
  if (!started.ok) throw new Error(started.error.detail)
  const device = started.value
  const pass = (ms: number) => clock.advanceTo(clock.wallMs() + ms)
  return { device, ledger, engine, clock, pass }
}

describe('a simulated device', () => {
  it('counts in its ledger exactly what the agent counts', async () => {
    const { device, ledger, pass } = await start(specOf({ level: 'gated' }))
    for (let turn = 0; turn < 12; turn++) {
      pass(300_000)
      await device.listen(30)
    }
    const { counters } = device.host.state!.measures
    expect(ledger.listeningMs).toBe(3_600_000)
    for (const name of ['listeningMs', 'windows', 'inferences', 'gateOpenings', 'wakes'] as const) {
      expect(counters[name], name).toBe(ledger[name])
    }
    expect(ledger.wakes).toBeGreaterThan(0)
    await device.host.close()
  })

  it('resolves at once when all that it hears is remembered', async () => {
    const { device, pass } = await start(specOf())
    let waited = 0
    for (let turn = 0; turn < 60; turn++) {
      pass(300_000)
      const pending = device.listen(1)
      if (pending !== undefined) waited++
      await pending
    }
    expect(waited).toBeGreaterThan(0)
    expect(waited).toBeLessThan(60)
    await device.host.close()
  })

  it('hears the raised scene where the noise has risen', async () => {
    const level = async (share: number) => {
      const { device, pass } = await start(specOf(), SILENT_TRANSPORT, () => share)
      pass(300_000)
      await device.listen(30)
      const bins = device.host.state!.measures.noiseBins
      await device.host.close()
      return bins.reduce((sum, count, bin) => sum + bin * count, 0) / bins.reduce((a, b) => a + b, 0)
    }
    expect(await level(1)).toBeGreaterThan((await level(0)) + 1)
  })

  it('is dead when its battery is empty, and hears and counts nothing from then on', async () => {
    const { device, ledger, clock, pass } = await start(
      specOf({ power: { capacityMj: 8_000, horizonMs: ISSUED_MS + 86_400_000 } }),
    )
    for (let turn = 0; turn < 24 && device.diedAtMs === undefined; turn++) {
      pass(300_000)
      await device.listen(30)
    }
    expect(device.diedAtMs).toBe(clock.wallMs())
    const { windows } = ledger
    expect(windows).toBeGreaterThan(0)
    pass(300_000)
    expect(device.listen(30)).toBeUndefined()
    await until('the host is off', () => device.host.state === undefined)
    expect(ledger.windows).toBe(windows)
    expect(device.model).toBeUndefined()
  })

  it('loses, on both sides, what is said while it reboots into an update', async () => {
    const gateway = new GatewayFake()
    gateway.store(second.bundle)
    const { device, ledger, engine, pass } = await start(specOf(), gateway)
    await device.listen(3)
    const before = ledger.windows
    expect(before).toBe(150)
    // Fresh sound, whose inference takes until after the reboot.
    const release = engine.hold(graphFile('kws-1'))
    const pending = Promise.resolve(device.listen(30))
    gateway.release(second.release)
    gateway.assign(assignmentBytes({ release: second.release, seq: 1 }))
    await until('the update runs on trial', () => device.host.state?.update.phase === 'trial')
    expect(device.model).toBe('kws-2')
    release()
    await pending
    expect(ledger.windows).toBe(before)
    expect(device.host.state!.measures.counters.windows).toBe(0)
    // The old boot's last report waits in the spool until the new boot has a link: both boots add up to the ledger.
    await until('the last report of the first boot is there', () => gateway.reports.some(({ boot }) => boot === 1))
    const last = gateway.reports.filter(({ boot }) => boot === 1).at(-1)!
    expect(last.counters[1]).toBe(before)
    pass(300_000)
    await device.listen(30)
    const counted = device.host.state!.measures.counters.windows
    expect(counted).toBe(1_500)
    expect(ledger.windows).toBe(before + counted)
    expect(device.modelsRun).toEqual(['kws-1', 'kws-2'])
    await device.host.close()
  })

  it('does not start from what is no bundle', async () => {
    const world = {
      clock: new VirtualClock(0),
      engine: new EngineFake(),
      hearing: new Hearing(soundSenses(bank, seededRandom(1))),
      ledger: new Ledger(),
      takesOf: soundTakes(fewTakes(['go']), () => 0),
      trustRoot: configSample.trustRoot,
      schemes: PORTABLE_SCHEMES,
    }
    const started = await DeviceSim.start(specOf(), world, graphFile('kws-1'), SILENT_TRANSPORT, seededRandom(1))
    expect(started).toMatchObject({ ok: false, error: { code: 'bundle-bad-magic' } })
  })
})
