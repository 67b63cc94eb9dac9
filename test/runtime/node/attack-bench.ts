import { expect } from 'vitest'
import { sha256Hex } from '../../../contract/bytes.ts'
import type { Clock } from '../../../contract/clock.ts'
import { targetPathOf } from '../../../contract/metadata-file.ts'
import type { Release } from '../../../contract/release.ts'
import { DIRECTOR_FIELD } from '../../../contract/repository-target.ts'
import type { DeviceId, SiteId } from '../../../contract/topics.ts'
import {
  PORTABLE_SCHEMES,
  type SignatureScheme,
  type SignatureSchemes,
} from '../../../contract/tuf/signature-scheme.ts'
import type { AgentEffect } from '../../../device/core/agent/agent-state.ts'
import { readRecord } from '../../../device/core/flash/boot-record.ts'
import type { FlashLayout, SlotIndex } from '../../../device/core/flash/flash-layout.ts'
import { provision } from '../../../device/core/flash/provision.ts'
import { AgentHost } from '../../../device/core/host.ts'
import { TransportMqtt } from '../../../device/link/transport-mqtt.ts'
import { MAINS } from '../../../device/ports/battery.ts'
import type { TransportEvent } from '../../../device/ports/transport.ts'
import { VirtualClock } from '../../../firmware-sim/clock-virtual.ts'
import { FlashNor } from '../../../firmware-sim/flash-nor.ts'
import { type Gateway, startGateway } from '../../../gateway/gateway.ts'
import { EngineOrtNode } from '../../../model/engine/engine-ort-node.ts'
import type { Packed } from '../../../model/pack.ts'
import { configSample, heardOf } from '../../fixtures/agent.ts'
import { packKws } from '../../fixtures/bundles.ts'
import {
  type AssignmentChange,
  assignmentBytes,
  assignmentOf,
  BOARD,
  DEVICE,
  ISSUED_MS,
  SITE,
} from '../../fixtures/documents.ts'
import { directorKey } from '../../fixtures/keys.ts'
import { TufRepository } from '../../fixtures/tuf-repository.ts'
import { FakeCloud, gatewayOptions, systemClock, tempDir, tokenIssuer, until } from './gateway-harness.ts'
import { LyingGateway } from './lying-gateway.ts'

export const MINUTE = 60_000
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR
const FLASH_BYTES = 1_048_576
/** lowest security counter of a fresh device: what `kws-1` has */
const COUNTER = 1

let packed: { readonly first: Packed; readonly second: Packed } | undefined
/** What the factory installs, and the honest update. */
async function bundles() {
  packed ??= {
    first: await packKws({ name: 'kws-1', version: 1, model: 'kws-1', securityCounter: COUNTER }),
    second: await packKws({ name: 'kws-2', version: 2, model: 'kws-2', securityCounter: COUNTER + 1 }),
  }
  return packed
}

/** An image repository whose root and targets take two keys each, and whose root names the director. */
export function repositoryOf(releases: readonly Packed[]): TufRepository {
  const repository = new TufRepository({ nowMs: ISSUED_MS, metaHashes: true })
  for (const role of ['root', 'targets']) {
    repository.addKey(role)
    repository.thresholds[role] = 2
  }
  repository.extra.root = { [DIRECTOR_FIELD]: directorKey.role, 'x-kinglet-issued': ISSUED_MS }
  repository.extra.timestamp = { 'x-kinglet-issued': ISSUED_MS }
  for (const { bundle, release } of releases) offer(repository, bundle, release)
  const roles = ['targets', 'snapshot', 'timestamp', 'root']
  for (const role of roles) repository.restart(role)
  repository.publish(...roles)
  return repository
}

/** Puts a release into the targets, not yet published. */
export const offer = (repository: TufRepository, bundle: Uint8Array, release: Release): void =>
  repository.addTarget('targets', targetPathOf(release), bundle, { kinglet: release })

export interface BenchOptions {
  /** what stands between device and cloud: the shipping gateway, or one that lies */
  readonly gateway?: 'honest' | 'lying'
  /** the device's wall clock, from the true time, Unix ms; default: right */
  readonly wall?: (trueMs: number) => number
}

/** The device client as it ships, over MQTT, behind a gateway whose cloud belongs to the test. Time at the device stands still until
 *  a test lets it pass. */
export class AttackBench {
  readonly cloud = new FakeCloud()
  readonly flash = new FlashNor({ sizeBytes: FLASH_BYTES })
  readonly clock = new VirtualClock(ISSUED_MS)
  repository: TufRepository
  readonly first: Packed
  readonly second: Packed
  /** what the device has told: `code` or `code: error` */
  readonly told: string[] = []
  readonly effects: AgentEffect[] = []
  /** what the device got: kind, topic and payload bytes */
  readonly received: { readonly kind: string; readonly bytes: number }[] = []
  /** bytes under each signature of metadata that the device checked */
  readonly verifications: number[] = []
  readonly liar: LyingGateway
  /** told of each effect when it was performed */
  onEffect: ((effect: AgentEffect) => void) | undefined
  gateway: Gateway | undefined
  readonly #options: BenchOptions
  #layout: FlashLayout | undefined
  #host: AgentHost | undefined
  #token = ''
  #gatewaySkipMs = 0
  #lived = 0

  private constructor(options: BenchOptions, first: Packed, second: Packed) {
    this.#options = options
    this.first = first
    this.second = second
    this.repository = repositoryOf([second])
    this.cloud.artifacts.set(second.release.sha256, second.bundle)
    this.cloud.answers = (path) => this.mirror(path)
    this.liar = new LyingGateway(this.cloud.artifacts, () => this.repository)
  }

  static async start(options: BenchOptions = {}): Promise<AttackBench> {
    const { first, second } = await bundles()
    const bench = new AttackBench(options, first, second)
    const provisioned = provision(bench.flash, first.bundle, COUNTER)
    if (!provisioned.ok) throw new Error(provisioned.error.detail)
    bench.#layout = provisioned.value
    if (options.gateway === 'lying') await bench.liar.start()
    else await bench.#startGateway()
    await bench.boot()
    return bench
  }

  /** What the cloud behind the honest gateway serves; a test may put another in its place. */
  mirror: FakeCloud['answers'] & {} = (path) => {
    if (!path.startsWith('/v1/metadata/')) return undefined
    return this.repository.file(path.slice('/v1/'.length))
  }

  async #startGateway(): Promise<void> {
    const issuer = await tokenIssuer()
    this.#token = await issuer.token(DEVICE, { site: SITE, board: BOARD })
    await this.cloud.start()
    const clock: Clock = { ...systemClock, monotonicMs: () => performance.now() + this.#gatewaySkipMs }
    this.gateway = await startGateway(gatewayOptions(this.cloud, tempDir(), { jwks: issuer.jwks, clock }))
  }

  async boot(): Promise<void> {
    const { wall = (ms: number) => ms } = this.#options
    const port = this.gateway?.mqttPort ?? this.liar.mqttPort
    const url = `mqtt://127.0.0.1:${port}`
    const [site, device] = [SITE as SiteId, DEVICE as DeviceId]
    const transport = new TransportMqtt({ url, site, device, token: () => this.#token, reconnectMs: 20 })
    const open = transport.open.bind(transport)
    transport.open = (listener) =>
      open((event) => {
        this.#count(event)
        listener(event)
      })
    const clock: Clock = {
      wallMs: () => wall(this.clock.wallMs()),
      monotonicMs: () => this.clock.monotonicMs(),
      after: (delayMs, callback) => this.clock.after(delayMs, callback),
    }
    const started = await AgentHost.start({
      config: { ...configSample, trustRoot: this.repository.published.root![0]!, schemes: this.#schemes() },
      flash: this.flash,
      engine: new EngineOrtNode(),
      transport,
      battery: MAINS,
      clock,
      observe: (effect) => {
        this.effects.push(effect)
        this.onEffect?.(effect)
        if (effect.type === 'tell-event') this.told.push(effect.error ? `${effect.code}: ${effect.error}` : effect.code)
      },
    })
    if (!started.ok) throw new Error(`${started.error.code}: ${started.error.detail}`)
    this.#host = started.value
    await until('connected', () => this.host.state?.connected)
  }

  #schemes(): SignatureSchemes {
    const noted = (scheme: SignatureScheme): SignatureScheme => ({
      ...scheme,
      verify: (publicKey, message, signature) => {
        this.verifications.push(message.length)
        return scheme.verify(publicKey, message, signature)
      },
    })
    return new Map([...PORTABLE_SCHEMES].map(([name, scheme]) => [name, noted(scheme)]))
  }

  #count(event: TransportEvent): void {
    if (event.type !== 'received') return
    const { kind, payload } = event
    this.received.push({ kind, bytes: payload.length + `kinglet/v1/${SITE}/${DEVICE}/${kind}`.length })
  }

  async off(): Promise<void> {
    await this.#host?.close()
    this.#host = undefined
  }

  async close(): Promise<void> {
    await this.off()
    if (this.gateway === undefined) return this.liar.close()
    await this.gateway.close()
    await this.cloud.stop()
  }

  get host(): AgentHost {
    return this.#host!
  }

  get layout(): FlashLayout {
    return this.#layout!
  }

  get phase(): string | undefined {
    return this.#host?.state?.update.phase
  }

  record() {
    return readRecord(this.flash, this.layout)!
  }

  slot(index: SlotIndex): Uint8Array {
    return this.flash.read(this.layout.slots[index], this.record().images[index].bytes)
  }

  /** The director assigns a release: `kws-2` with sequence number 1 unless told. */
  async assign(change: AssignmentChange = {}): Promise<void> {
    const full = { release: this.second.release, ...change }
    if (this.gateway === undefined) return this.liar.say('assign', assignmentBytes(full), true)
    const document = assignmentOf(full)
    const { device, site, board } = document.signed
    const cursor = this.cloud.assignments.length + 1
    this.cloud.assignments = [{ cursor, site, device, board, document }]
  }

  /** Time passes at the device. */
  pass(ms: number): void {
    this.clock.advanceTo(this.clock.wallMs() + ms)
  }

  /** The gateway forgets what it has just heard from the cloud: that a file is missing, how the timestamp was. */
  skipGateway(ms = 2 * HOUR): void {
    this.#gatewaySkipMs += ms
  }

  async untilTold(what: string): Promise<void> {
    await until(`${what}, told was ${this.told.join(', ')}`, () => this.told.includes(what)).catch((cause) => {
      throw new Error(`${cause.message}; told in the end: ${this.told.join(', ')} in phase ${this.phase}`)
    })
  }

  /** The active slot, the counter and the model that listens are as the factory made them. */
  expectUntouched(): void {
    expect(this.record()).toMatchObject({ active: 0, phase: 'confirmed', securityCounter: COUNTER })
    expect(sha256Hex(this.slot(0))).toBe(this.first.release.sha256)
    expect(this.host.bundle?.manifest.name).toBe('kws-1')
    expect(this.told).not.toContain('trial-started')
  }

  /** Waits out delays and trials until `kws-2` is confirmed. */
  async expectHonestUpdate(): Promise<void> {
    this.skipGateway()
    await until(
      'the honest update',
      () => {
        this.#goOn()
        return this.phase === 'idle' && this.record().active === 1 && this.told.includes('install-confirmed')
      },
      20_000,
    ).catch((cause) => {
      throw new Error(`${cause.message}: ${this.told.join(', ')} in phase ${this.phase}`)
    })
    expect(this.record()).toMatchObject({ active: 1, phase: 'confirmed', securityCounter: COUNTER + 1 })
    expect(sha256Hex(this.slot(1))).toBe(this.second.release.sha256)
  }

  #goOn(): void {
    const state = this.#host?.state
    if (state === undefined) return
    const { update, record } = state
    if (update.phase === 'waiting') this.pass(Math.max(0, update.retryAtMs - this.clock.monotonicMs()))
    if (update.phase !== 'trial' || this.#lived === record.boots) return
    this.#lived = record.boots
    this.host.hear(heardOf({ windows: 120, listeningMs: 24_000, elapsedMs: 24_000 }))
    this.pass(HOUR)
  }
}
