import { Assigner } from '../../../cloud/rollout/assigner.ts'
import { RolloutEngine } from '../../../cloud/rollout/engine.ts'
import { DEFAULT_GATE_POLICY } from '../../../cloud/rollout/gate-policy.ts'
import { Store } from '../../../cloud/store/store.ts'
import { createDirector } from '../../../cloud/trust/director.ts'
import type { Clock } from '../../../contract/clock.ts'
import { type SecureRandom, type SeededRandom, seededRandom } from '../../../contract/random.ts'
import type { Assignment, Release } from '../../../contract/release.ts'
import type { Signed } from '../../../contract/signed.ts'
import type { IngestBatch } from '../../../contract/uplink.ts'
import { batchOf, HOUR, SyntheticDevice, T0 } from './synthetic-fleet.ts'

/** A clock that stands until it is set; timers fire when time passes them. */
export class ManualClock implements Clock {
  #nowMs: number
  #timers: { atMs: number; callback: () => void }[] = []
  constructor(nowMs = T0) {
    this.#nowMs = nowMs
  }
  wallMs(): number {
    return this.#nowMs
  }
  monotonicMs(): number {
    return this.#nowMs - T0
  }
  after(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + delayMs, callback }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }
  advanceTo(nowMs: number): void {
    while (true) {
      const due = this.#timers.filter(({ atMs }) => atMs <= nowMs).sort((a, b) => a.atMs - b.atMs)[0]
      if (due === undefined) break
      this.#timers = this.#timers.filter((other) => other !== due)
      this.#nowMs = Math.max(this.#nowMs, due.atMs)
      due.callback()
    }
    this.#nowMs = nowMs
  }
}

/** Predictable bytes, for tests only. */
export const testRandom = (random: SeededRandom): SecureRandom => ({
  bytes: (length) => Uint8Array.from({ length }, () => Math.floor(random.next() * 256)),
})

export const releaseOf = (
  name: string,
  version: number,
  sha256: string,
  overrides: Partial<Release> = {},
): Release => ({
  v: 1,
  type: 'release',
  name,
  version,
  sha256,
  bytes: 1000,
  securityCounter: 1,
  arenaBytes: 1,
  constantBytes: 1,
  featuresSha256: '0'.repeat(64),
  boards: [],
  ...overrides,
})

export const SHA = { 'kws-1': '1'.repeat(64), 'kws-2': '2'.repeat(64), 'kws-bad': 'b'.repeat(64) } as const

export interface Behaviour {
  readonly falseWakes: number
  readonly verified: number
  /** share of devices whose install fails */
  readonly failing?: number
}

/** A cloud without HTTP and a fleet of synthetic devices that follow their assignments. */
export class CloudWorld {
  readonly clock: ManualClock
  readonly random: SeededRandom
  readonly fleet: SyntheticDevice[] = []
  store: Store
  engine: RolloutEngine
  assigner: Assigner
  readonly path: string
  readonly behaviour: Record<string, Behaviour>
  #cursor = 0

  constructor(path: string, seed: number, behaviour: Record<string, Behaviour>) {
    this.path = path
    this.clock = new ManualClock()
    this.random = seededRandom(seed)
    this.behaviour = behaviour
    this.store = new Store(path, T0)
    this.engine = undefined as never
    this.assigner = undefined as never
    this.#wire()
  }

  #wire(): void {
    const director = createDirector(new Uint8Array(32).fill(7))
    this.engine = new RolloutEngine(this.store, this.clock, testRandom(this.random.fork('secure')))
    this.assigner = new Assigner(this.store, { current: director }, this.clock, 30 * 24 * HOUR)
  }

  /** Drops the process's state and opens the file again, as after a crash. */
  reopen(): void {
    this.store.close()
    this.store = new Store(this.path, this.clock.wallMs())
    this.#wire()
  }

  addRelease(
    name: keyof typeof SHA,
    version: number,
    state: 'staging' | 'production',
    overrides: Partial<Release> = {},
  ) {
    const { models } = this.store
    models.putArtifact(SHA[name], 1000, T0)
    const release = releaseOf(name, version, SHA[name], overrides)
    const record = models.add(release, null, T0)
    models.setState(record, state, 'test', 'test', T0)
  }

  enrol(count: number, board = 'board-a'): void {
    for (let i = 0; i < count; i++) {
      const name = `device-${String(this.fleet.length).padStart(4, '0')}`
      const device = new SyntheticDevice(name, SHA['kws-1'].slice(0, 16), this.clock.wallMs(), this.random.fork(name))
      this.fleet.push(device)
      this.store.atomically(() =>
        this.engine.admit(this.store.devices.enrol({ name, site: 'site-1', board, tags: [] }, this.clock.wallMs())),
      )
    }
  }

  /** One hour of the whole system. */
  hour(): void {
    const now = this.clock.wallMs() + HOUR
    while (this.assigner.signSlice().more);
    const batch = this.#deliver(now)
    for (const device of this.fleet) {
      const name = Object.entries(SHA).find(([, sha]) => sha.startsWith(device.model))![0]
      const { reports, verdicts } = device.live(now, this.behaviour[name]!)
      batch.reports.push(...reports)
      batch.verdicts.push(...verdicts)
    }
    this.store.telemetry.ingest(batch)
    this.clock.advanceTo(now)
  }

  hours(count: number, each?: () => boolean | undefined): number {
    for (let i = 1; i <= count; i++) {
      this.hour()
      this.engine.tick()
      if (each?.() === true) return i
    }
    return count
  }

  #deliver(now: number): IngestBatch {
    const batch = batchOf({})
    const items = this.store.assignments.after(this.#cursor, 10_000)
    for (const { device: name, document, seq, cursor } of items) {
      this.#cursor = cursor
      const device = this.fleet.find((candidate) => candidate.name === name)!
      if (seq <= device.assignmentSeq) throw new Error('replayed assignment')
      device.assignmentSeq = seq
      const { target } = (JSON.parse(document) as Signed<Assignment>).signed
      const prefix = target.sha256.slice(0, 16)
      if (prefix === device.model) continue
      const behaviour = this.behaviour[target.name]!
      const at = now - HOUR + device.random.next() * 0.5 * HOUR
      const last = device.live(Math.max(device.atMs, at), this.behaviour[target.name]!)
      const old = device.model
      device.model = prefix
      const events = [device.event('install-started', Math.round(at))]
      if (device.random.next() < (behaviour.failing ?? 0)) {
        events.push(device.event('install-failed', Math.round(at)))
        device.model = old
      } else {
        device.model = old
        device.reboot(prefix, Math.max(device.atMs, Math.round(at)))
        events.push(device.event('install-confirmed', Math.round(at)))
      }
      batch.reports.push(...last.reports)
      batch.verdicts.push(...last.verdicts)
      batch.events.push(...events)
    }
    return batch
  }

  start(name: string, percents: readonly number[] = [20, 50, 100]) {
    return this.engine.start({ name, percents, policy: DEFAULT_GATE_POLICY, irreversible: false }, 'tester')
  }

  /** Names of the models that devices run, by count. */
  running(): Record<string, number> {
    const counts: Record<string, number> = {}
    for (const device of this.fleet) {
      const name = Object.entries(SHA).find(([, sha]) => sha.startsWith(device.model))![0]
      counts[name] = (counts[name] ?? 0) + 1
    }
    return counts
  }
}
