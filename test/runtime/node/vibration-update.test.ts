import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { CloudApi } from '../../../cli/cloud-api.ts'
import { bundleEngine } from '../../../cli/engines.ts'
import { publishRepository } from '../../../cli/keys/repository-publish.ts'
import { publishRelease } from '../../../cli/release/release-publication.ts'
import type { SignalFigure } from '../../../cloud/telemetry/signal-figures.ts'
import { readManifest } from '../../../contract/manifest.ts'
import { seededRandom } from '../../../contract/random.ts'
import { parseDeviceId, parseSiteId } from '../../../contract/topics.ts'
import { PORTABLE_SCHEMES } from '../../../contract/tuf/signature-scheme.ts'
import { radioNamed } from '../../../device/core/power/energy.ts'
import { TransportMqtt } from '../../../device/link/transport-mqtt.ts'
import { type BearingTake, bearingSenses, bearingTakes } from '../../../firmware-sim/bearing-scene.ts'
import { VirtualClock } from '../../../firmware-sim/clock-virtual.ts'
import type { DeviceSpec } from '../../../firmware-sim/device-sim.ts'
import { SharedEngine } from '../../../firmware-sim/engine-shared.ts'
import { Fleet } from '../../../firmware-sim/fleet.ts'
import { Hearing } from '../../../firmware-sim/hearing.ts'
import { Ledger } from '../../../firmware-sim/ledger.ts'
import { type Gateway, startGateway } from '../../../gateway/gateway.ts'
import { boardNamed } from '../../../model/boards.ts'
import { releaseOf } from '../../../model/pack.ts'
import { gatewayToken } from '../../fixtures/gateway-token.ts'
import { IdentityWorld, secureRandom } from '../../fixtures/identity-world.ts'
import { operatorMachine } from '../../fixtures/operator-machine.ts'
import { realClock } from '../../simulation/real-clock.ts'
import { zooBundle } from './cli-process.ts'
import { quietLogger, until } from './gateway-harness.ts'

const MINUTE = 60_000
const SEED = 11
/** What is to wear: two of the three. */
const WORN = ['pump-1', 'pump-2']
const SOUND = ['pump-3']
const BOARD = boardNamed('NUCLEO-U575ZI')!

const dir = mkdtempSync(join(tmpdir(), 'kinglet-vibration-'))
const world = new IdentityWorld()
const ledger = new Ledger()
const engine = new SharedEngine(bundleEngine())
let api: CloudApi
let gateway: Gateway
let fleet: Fleet<BearingTake>
let time: VirtualClock
const bundleOf = (name: string) => new Uint8Array(readFileSync(zooBundle(name)))
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

beforeAll(async () => {
  await world.start()
  api = new CloudApi(world.cloud.url, world.cloud.operatorToken)
  const { lifecycle, repository } = operatorMachine(dir, world.clock)
  await lifecycle.init({
    ...{ cloudKeyFile: join(world.dir, 'cloud/keys/online.pub.json'), rootKeyFiles: [] },
    ...{ rootKeys: 1, rootThreshold: 1, targetsKeys: 1 },
  })
  await publishRepository(repository, api)
  const verifier = bundleOf('bearing-verifier')
  for (const name of ['bearing-1', 'bearing-2']) {
    const bundle = bundleOf(name)
    const manifest = readManifest(bundle)
    if (!manifest.ok) throw new Error(manifest.error.detail)
    const content = releaseOf(bundle, manifest.value)
    await publishRelease(bundle, content, {
      ...{ api, repository, lifecycle, verifier, patchFrom: 'cloud', print: () => undefined },
    })
    await api.post(`/v1/models/${name}/promote`, { to: 'staging', reason: 'for the test' })
  }
  await api.post('/v1/models/bearing-1/promote', { to: 'production', reason: 'for the test' })
  const token = await gatewayToken(world.cloud, 'gateway-1', ['lab'])
  const graph = readFileSync('zoo/models/verifier.onnx')
  gateway = await startGateway({
    ...{ dataDir: join(dir, 'gateway'), cloudUrl: world.cloud.url, serviceToken: token, clock: world.clock },
    ...{ secureRandom, random: seededRandom(1), logger: quietLogger, uplinkIntervalMs: 20, revocationPollMs: 50 },
    ...{ assignmentWaitSeconds: 1, assignmentIdleMs: 50, storeInProcess: true, engine: bundleEngine() },
    // What a gateway of keyword spotters has: it knows nothing of bearings, whose releases bring their own.
    verifier: {
      ...{ graph, labels: ['silence'], featureQuantization: { scale: 0.5, zeroPoint: 78 }, labelsOfModel: 'bundles' },
    },
  })
  time = new VirtualClock(world.clock.wallMs())
  const startMs = time.wallMs()
  const tokens = new Map<string, string>()
  for (const device of [...WORN, ...SOUND]) {
    const row = { device, site: 'lab', board: BOARD.name, model: 'bearing-1' }
    const made = await api.post<{ devices: { token: string }[] }>('/v1/devices', [row])
    tokens.set(device, made.devices[0]!.token)
  }
  const random = seededRandom(SEED)
  const wearOf = (device: string, nowMs: number) => (WORN.includes(device) ? (nowMs - startMs) / (100 * MINUTE) : 0)
  fleet = await Fleet.start<BearingTake>({
    specs: [...WORN, ...SOUND].map(
      (device, i): DeviceSpec => ({
        ...{ device, site: 'lab', board: BOARD, radio: radioNamed('wifi')!, scene: { name: 'pump' }, power: null },
        ...{ governed: false, level: 'lite', busyness: 1, reportPhaseMs: (i + 1) * MINUTE },
      }),
    ),
    world: {
      ...{ engine, ledger, hearing: new Hearing(bearingSenses(random)) },
      ...{ takesOf: bearingTakes(random, wearOf, () => 0), schemes: PORTABLE_SCHEMES },
      trustRoot: new Uint8Array(readFileSync(join(repository.path, 'metadata/1.root.json'))),
    },
    ...{ time, real: realClock, factoryImage: bundleOf('bearing-1'), random },
    transportOf({ device, site }) {
      const ids = { device: parseDeviceId(device), site: parseSiteId(site) }
      if (!ids.device.ok || !ids.site.ok) throw new Error('bad id')
      return new TransportMqtt({
        ...{ url: `mqtt://127.0.0.1:${gateway.mqttPort}`, device: ids.device.value, site: ids.site.value },
        ...{ token: () => tokens.get(device)!, reconnectMs: 100, chance: () => random.next() },
      })
    },
  })
}, 300_000)
afterAll(async () => {
  await fleet?.close()
  await engine.close()
  await gateway?.close()
  await world.stop()
  rmSync(dir, { recursive: true, force: true })
})

/** Minutes of the fleet's time, which cloud and gateway go along with; the network has its turns between them. */
async function pass(minutes: number, isOver: () => boolean = () => false): Promise<void> {
  for (let i = 0; i < minutes && !isOver(); i++) {
    world.clock.aheadMs = time.wallMs() + MINUTE - Date.now()
    const end = time.wallMs() + MINUTE
    await fleet.runUntil((nowMs) => nowMs >= end)
    await pause(30)
  }
}
const models = () => fleet.devices.map(({ model }) => model)
const figures = async (name: string) => {
  const { version } = releaseOf(bundleOf(name), readManifestOf(name))
  const answer = await api.get<{ signals: SignalFigure[] }>(`/v1/models/${name}/${version}/signals`)
  return new Map(answer.signals.map((figure) => [figure.name, figure]))
}
const readManifestOf = (name: string) => {
  const manifest = readManifest(bundleOf(name))
  if (!manifest.ok) throw new Error(manifest.error.detail)
  return manifest.value
}

it('bearings that wear get the better model over the air; its alarms are confirmed by its own verifier, and the sums are what happened', async () => {
  await until('connected', () => fleet.devices.every(({ host }) => host.state?.connected))
  await pass(10)
  expect(models()).toEqual(['bearing-1', 'bearing-1', 'bearing-1'])
  for (const { spec } of fleet.devices) {
    await api.post(`/v1/devices/${spec.device}/target`, { model: 'bearing-2', reason: 'for the test' })
  }
  const isOver = () =>
    fleet.devices.every(({ model, host }) => model === 'bearing-2' && host.state?.record.phase === 'confirmed')
  await pass(120, isOver)
  expect(isOver()).toBe(true)
  expect(ledger).toMatchObject({ installsStarted: 3, installsConfirmed: 3, downloads: 3, patchDownloads: 3 })
  // Until the worn ones are far worn.
  await pass(60)
  expect(await fleet.drain(20_000)).toBe(0)
  const alarmed = new Map(fleet.devices.map(({ spec, host }) => [spec.device, host.state!.measures.counters.wakes]))
  for (const device of WORN) expect(alarmed.get(device), device).toBeGreaterThan(0)
  expect(alarmed.get(SOUND[0]!)).toBe(0)
  // What the devices did, by the simulator's own ledger, is what the cloud says that their models counted.
  const total = async (name: string) =>
    (await Promise.all(['bearing-1', 'bearing-2'].map(figures))).reduce((sum, all) => sum + all.get(name)!.count, 0)
  await until('all verdicts', async () => (await total('true-alarms')) + (await total('false-alarms')) === ledger.wakes)
  await until('all windows', async () => (await total('score')) === ledger.inferences, 20_000)
  expect(await total('alarms')).toBe(ledger.wakes)
  const second = await figures('bearing-2')
  expect(second.get('alarms')!.count).toBeGreaterThan(0)
  const [alarms, confirmed, rejected] = ['alarms', 'true-alarms', 'false-alarms'].map((name) => second.get(name)!.count)
  expect(confirmed! + rejected!).toBe(alarms)
  // Only worn ones have alarmed; the verifier sees one window, which may lie between two impacts.
  expect(confirmed!).toBeGreaterThan(0.8 * alarms!)
  expect(second.get('alarms')!.value).toBeGreaterThan(0)
}, 300_000)
