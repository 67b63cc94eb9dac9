import { type ChildProcess, fork } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { systemClock } from '../cli/clock-system.ts'
import { secureRandom } from '../cli/random-secure.ts'
import { summaryView } from '../cloud/api/views.ts'
import { type RunningCloud, startCloud } from '../cloud/cloud.ts'
import { RolloutEngine } from '../cloud/rollout/engine.ts'
import { DEFAULT_GATE_POLICY } from '../cloud/rollout/gate-defaults.ts'
import { GateLooks } from '../cloud/rollout/gate-looks.ts'
import { packLargeInput } from '../cloud/store/packed-input.ts'
import { Store } from '../cloud/store/store.ts'
import { DriftMonitor } from '../cloud/telemetry/drift.ts'
import { DEFAULT_DRIFT_POLICY } from '../cloud/telemetry/drift-policy.ts'
import { LADDER_LEVELS } from '../contract/ladder-levels.ts'
import { COUNTER_NAMES, ENERGY_NAMES } from '../contract/messages.ts'
import { present } from '../contract/present.ts'
import { seededRandom } from '../contract/random.ts'
import type { Release } from '../contract/release.ts'
import type { ReportRow } from '../contract/uplink.ts'
import { quantile, rest } from './waits.ts'

/** What the cloud's own work costs with a large fleet, half of it in a rollout, and what a request waits meanwhile:
 *
 *      npm run build && node dist/bench/fleet-scale.js --devices 100000 --hours 24
 *
 *  Makes the database with SQL (raw reports left out, which no gate reads), then runs the real cloud on it; requests come from a process of
 *  their own. The clock of the cloud stands still but where the hour is turned by hand. */
const HOUR = 3_600_000
const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '10000' },
    hours: { type: 'string', default: '24' },
    /** devices that report before the look that is to cost what changed */
    reported: { type: 'string', default: '1000' },
    /** of the process that asks */
    url: { type: 'string' },
    token: { type: 'string' },
  },
})

/** Models of before and of the rollout. */
const FORMER = '1'.repeat(64)
const CANDIDATE = '2'.repeat(64)

interface Device {
  readonly id: number
  readonly name: string
  boot: number
  startedMs: number
  /** reports of the boot, one an hour from its first half hour on */
  reports: number
  model: string
  /** wakes an hour */
  readonly rate: number
  listeningMs: number
  activeMs: number
  wakes: number
  energyMj: number
}

async function measure(count: number, hours: number, reported: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'kinglet-scale-'))
  const dataDir = join(folder, 'cloud')
  mkdirSync(dataDir, { mode: 0o700 })
  const path = join(dataDir, 'cloud.db')
  const endMs = Math.floor(systemClock.wallMs() / HOUR) * HOUR + 10 * 60_000
  const time = { nowMs: endMs - Math.ceil(hours / 2) * HOUR }
  const clock = { ...systemClock, wallMs: () => time.nowMs }
  try {
    const store = new Store(path, time.nowMs)
    store.db.pragma('synchronous = OFF')
    const fleet = new Fleet(store, count)
    await timed('making the first half of the hours', () => fleet.live(endMs - hours * HOUR, time.nowMs))
    const engine = new RolloutEngine(store, clock, secureRandom)
    const request = { name: 'kws-2', percents: [50, 75, 100], policy: DEFAULT_GATE_POLICY, irreversible: false }
    const started = await timed('a rollout is planned and started', () => engine.start(request, 'bench'))
    if (!started.ok) throw new Error(started.error.detail)
    const { id } = started.value
    await timed('its first stage begins', () => engine.tick(id))
    await timed('making the second half of the hours', () => fleet.install(id, time.nowMs))
    await timed('', () => fleet.live(time.nowMs, endMs))
    time.nowMs = endMs
    store.db.pragma('wal_checkpoint(TRUNCATE)')
    console.log(`${count} devices, ${hours} h: ${(statSync(path).size / 2 ** 20).toFixed(0)} MiB`)

    await timed('GET /v1/fleet/summary, its view', () => summaryView(store, time.nowMs, 24))
    const drift = new DriftMonitor(store, DEFAULT_DRIFT_POLICY)
    await timed('drift, first time (baselines are made)', () => drift.evaluate(time.nowMs))
    await timed('drift, an hour later', () => drift.evaluate(time.nowMs + HOUR))
    await inPlace(store, id, time.nowMs, fleet.some(reported))
    store.close()

    await served(dataDir, clock, time, fleet, id, reported)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** A look on the thread that asks for it: what of it is reading, and what judging. */
async function inPlace(store: Store, id: string, nowMs: number, changed: readonly Device[]): Promise<void> {
  const rollout = present(store.rollouts.get(id), 'the rollout')
  const follower = store.changes.follow()
  const looks = new GateLooks(store, Number.POSITIVE_INFINITY)
  const look = () => {
    looks.note(follower.take())
    return looks.look(rollout, nowMs)
  }
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  const { input } = await timed('a look in place: everything is read', look)
  const after = process.memoryUsage()
  await timed('nothing is read, all is judged', look)
  for (const { id: device } of changed) follower.mark(device)
  const { look: last } = await timed(`${changed.length} devices are read, all is judged`, look)
  const packed = await timed('its input is packed', () => packLargeInput(input))
  store.readings.keep(id, nowMs, last.reading, rollout.policy, packed)
  await timed('nothing has changed', look)
  row('kept hours, bytes a device', (after.arrayBuffers - arrayBuffers) / rollout.plan.devices)
  row('heap with the look itself, bytes a device', (after.heapUsed - heapUsed) / rollout.plan.devices)
}

/** The cloud as it runs, with requests. */
async function served(
  dataDir: string,
  clock: typeof systemClock,
  time: { nowMs: number },
  fleet: Fleet,
  rollout: string,
  reported: number,
): Promise<void> {
  const quiet = { info: () => undefined, warn: console.error, error: console.error }
  const startedMs = performance.now()
  const cloud = await startCloud({
    ...{ dataDir, host: '127.0.0.1', port: 0, clock, machine: systemClock, secureRandom, logger: quiet },
    evaluateEveryMs: 2 ** 40,
  })
  row('the cloud starts (with a look)', performance.now() - startedMs)
  const asker = fork(fileURLToPath(import.meta.url), ['--url', cloud.url, '--token', cloud.operatorToken])
  // The longest time between two turns of the loop that should be two milliseconds apart.
  const loop = { stoodMs: 0, turnedMs: performance.now() }
  const turns = setInterval(() => {
    const nowMs = performance.now()
    loop.stoodMs = Math.max(loop.stoodMs, nowMs - loop.turnedMs - 2)
    loop.turnedMs = nowMs
  }, 2)
  console.log(
    '\n                                                 took ms   stood ms   GET p50   GET p99  longest   update p99',
  )
  /** Does something and tells what it took, how long the loop stood at most, and what requests waited. */
  const beside = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    await rest(1_500)
    await take(asker)
    loop.stoodMs = 0
    const fromMs = performance.now()
    await work()
    const tookMs = performance.now() - fromMs
    await rest(200)
    const { summary, update } = await take(asker)
    const numbers = [tookMs, loop.stoodMs, ...[0.5, 0.99, 1].map((q) => quantile(summary, q)), quantile(update, 0.99)]
    console.log(`${name.padEnd(46)}${numbers.map((ms) => ms.toFixed(1).padStart(10)).join('')}`)
  }
  const post = async (url: string, body: unknown, token = cloud.operatorToken): Promise<void> => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    const answer = await fetch(`${cloud.url}${url}`, { method: 'POST', headers, body: JSON.stringify(body) })
    if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`)
    await answer.arrayBuffer()
  }
  try {
    await beside('at rest', () => rest(3_000))
    await beside('a look, first after the start', async () => cloud.evaluate())
    for (let i = 0; i < 3; i++) await beside('a look, nothing has changed', async () => cloud.evaluate())
    await report(cloud, fleet.some(reported), time.nowMs, post)
    await beside(`a look, ${reported} devices have reported`, async () => cloud.evaluate())
    time.nowMs += HOUR
    await beside('the hour turns: look, drift, sums, ages', async () => cloud.evaluate())
    await beside('again, nothing has changed', async () => cloud.evaluate())
    await beside('the next stage begins', () => post(`/v1/rollouts/${rollout}/advance`, { reason: 'bench' }))
    await rest(20_000)
    await beside('it is rolled back', () => post(`/v1/rollouts/${rollout}/rollback`, { reason: 'bench' }))
    row('heap, MiB', process.memoryUsage().heapUsed / 2 ** 20)
    row('resident, MiB', process.memoryUsage().rss / 2 ** 20)
  } finally {
    asker.kill()
    clearInterval(turns)
    await cloud.close()
  }
}

async function report(
  cloud: RunningCloud,
  devices: readonly Device[],
  nowMs: number,
  post: (url: string, body: unknown, token: string) => Promise<void>,
): Promise<void> {
  const { token } = await cloud.tokens.mintService('gateway-1', 'gateway', 24 * HOUR)
  for (let i = 0; i < devices.length; i += 1_000) {
    const reports = devices.slice(i, i + 1_000).map((device) => rowOf(device, nowMs))
    await post('/v1/ingest', { v: 1, gateway: 'gateway-1', reports, verdicts: [], events: [], aggregates: [] }, token)
  }
}

/** The next report of a device, made now. */
function rowOf(device: Device, nowMs: number): ReportRow {
  const counters = COUNTER_NAMES.map(() => 0)
  counters[COUNTER_NAMES.indexOf('listeningMs')] = device.listeningMs + HOUR
  counters[COUNTER_NAMES.indexOf('activeMs')] = device.activeMs + HOUR / 50
  counters[COUNTER_NAMES.indexOf('wakes')] = device.wakes
  return {
    ...{ site: siteOf(device.id), device: device.name, boot: device.boot, seq: device.reports, model: device.model },
    ...{ receivedMs: nowMs, uptimeMs: nowMs - device.startedMs, wallMs: nowMs, slot: 0, level: 0, counters },
    levelMs: LADDER_LEVELS.map(() => 0),
    energyMj: ENERGY_NAMES.map((_, i) => (i === 1 ? device.energyMj + 36_000 : 0)),
    ...{ batteryPermille: 900, posteriorBins: noBins(), noiseBins: noBins(), assignmentSeq: 1 },
  }
}

const noBins = (): number[] => [0, 0, 0, 0, 0, 0, 0, 0]
const siteOf = (id: number): string => `site-${id % 50}`

/** Devices of 50 sites and three boards that report once an hour, written straight into the tables. */
class Fleet {
  readonly #store: Store
  readonly #devices: Device[] = []
  readonly #random = seededRandom(1)

  constructor(store: Store, count: number) {
    this.#store = store
    const releases = [FORMER, CANDIDATE].map((sha256, i) => {
      const content: Release = {
        ...{ v: 1, type: 'release', name: `kws-${i + 1}`, version: i + 1, sha256, bytes: 1_000, securityCounter: 1 },
        ...{ arenaBytes: 1, constantBytes: 1, featuresSha256: '0'.repeat(64), boards: [] },
      }
      store.models.putArtifact(sha256, 1_000, 0)
      const release = store.models.add(content, null, 0)
      store.models.setState(release, i === 0 ? 'production' : 'staging', 'bench', 'bench', 0)
      return release
    })
    const former = present(releases[0], 'the release of before')
    const sites = Array.from({ length: 50 }, (_, i) => siteOf(i))
    store.gateways.enrol('gateway-1', sites, null, 1)
    const addKey = store.db.prepare(
      "INSERT INTO device_keys (key_id, public_key, device, state, since_ms) VALUES (?, ?, ?, 'active', 1)",
    )
    const settle = store.db.prepare('UPDATE devices SET target = ?, dirty = 0, gap_ms = 3600000 WHERE id = ?')
    const board = (i: number): string => `board-${i % 10 === 0 ? 'c' : i % 3 === 0 ? 'b' : 'a'}`
    store.atomically(() => {
      for (let i = 1; i <= count; i++) {
        const name = `device-${String(i).padStart(7, '0')}`
        const { id } = store.devices.enrol({ name, site: siteOf(i), board: board(i), tags: [] }, 1)
        settle.run(former.id, id)
        addKey.run(`key-${id}`, String(id).padStart(64, '0'), id)
        const rate = 0.7 * -Math.log(1 - 0.98 * this.#random.next())
        this.#devices.push({
          ...{ id, name, boot: 0, startedMs: 0, reports: 0, model: FORMER.slice(0, 16), rate },
          ...{ listeningMs: 0, activeMs: 0, wakes: 0, energyMj: 0 },
        })
      }
    })
  }

  /** Every so many. */
  some(count: number): readonly Device[] {
    const every = Math.max(1, Math.floor(this.#devices.length / count))
    return this.#devices.filter((_, i) => i % every === 0).slice(0, count)
  }

  /** Canaries boot into the candidate within half an hour, and sign that they have. */
  install(rollout: string, nowMs: number): void {
    const { db, rollouts } = this.#store
    const event = db.prepare(
      `INSERT INTO events (device, boot, seq, time_ms, received_ms, code, model, assignment_seq, attested, uptime_ms)
       VALUES (?, ?, 0, ?, ?, 'install-confirmed', ?, 1, 1, 60000)`,
    )
    this.#store.atomically(() => {
      for (const { device: id, stage } of rollouts.devices(rollout)) {
        const device = this.#devices[id - 1]
        if (stage === null || device === undefined) continue
        this.#boot(device, nowMs + Math.floor(this.#random.next() * 0.5 * HOUR), CANDIDATE.slice(0, 16))
        event.run(id, device.boot, device.startedMs + 60_000, device.startedMs + 60_000, device.model)
      }
      // As they are when assignments have been signed.
      db.prepare('UPDATE rollout_devices SET first_seq = 1, since_seq = 1 WHERE stage IS NOT NULL').run()
      db.prepare('UPDATE devices SET dirty = 0').run()
    })
  }

  #boot(device: Device, startedMs: number, model: string): void {
    const empty = { listeningMs: 0, activeMs: 0, wakes: 0, energyMj: 0 }
    Object.assign(device, { boot: device.boot + 1, startedMs, reports: 0, model, ...empty })
  }

  /** Hours of reports and verdicts, up to an hour before the end. */
  live(fromMs: number, toMs: number): void {
    const { db } = this.#store
    const hour = db.prepare(`INSERT INTO device_hours VALUES (${Array(19).fill('?').join(', ')})`)
    const verdict = db.prepare("INSERT INTO verdicts VALUES (?, ?, ?, ?, 0, 'gateway-1', ?, ?, ?, 0, ?)")
    const boot = db.prepare(`INSERT OR REPLACE INTO boots VALUES (${Array(19).fill('?').join(', ')})`)
    const start = db.prepare('INSERT OR REPLACE INTO boot_starts VALUES (?, ?, ?, ?, ?)')
    const incarnation = db.prepare('INSERT OR IGNORE INTO incarnations VALUES (?, 0, 0)')
    const seen = db.prepare('UPDATE devices SET last_seen_ms = ? WHERE id = ?')
    const contact = db.prepare("INSERT OR REPLACE INTO gateway_devices VALUES ('gateway-1', ?, ?)")
    const noise = JSON.stringify([0, 0, 300, 6_000, 900, 0, 0, 0])
    this.#store.atomically(() => {
      for (const device of this.#devices) {
        if (device.boot === 0) this.#boot(device, fromMs + Math.floor(this.#random.next() * HOUR), device.model)
        const { id, model, startedMs } = device
        const base = Math.floor((startedMs + HOUR / 2) / HOUR)
        let uptimeMs = 0
        for (;;) {
          const slot = device.reports
          const nextMs = slot * HOUR + HOUR / 2
          if (startedMs + nextMs > toMs - HOUR / 2) break
          uptimeMs = nextMs
          const heard = slot === 0 ? HOUR / 2 : HOUR
          const wakes = this.#random.next() < device.rate ? 1 + Math.floor(this.#random.next() * 2) : 0
          const rejected = this.#random.next() < 0.3 ? wakes : 0
          device.listeningMs += heard
          device.activeMs += heard / 50 + wakes * 5_000
          device.wakes += wakes
          device.energyMj += heard / 100
          hour.run(
            ...[id, device.boot, slot, base + slot, slot, model, startedMs + uptimeMs, uptimeMs, device.listeningMs],
            ...[
              device.activeMs,
              device.wakes,
              device.wakes,
              device.energyMj,
              100 * slot,
              0,
              7_200 * slot,
              0,
              noise,
              null,
            ],
          )
          if (wakes > 0) {
            verdict.run(...[id, device.boot, slot, model, base + slot, wakes - rejected, rejected, wakes])
          }
          device.reports++
        }
        if (uptimeMs === 0) continue
        const atMs = startedMs + uptimeMs
        const counters = rowOf(device, atMs)
        boot.run(
          ...[id, device.boot, device.reports - 1, model, atMs, startedMs, uptimeMs, base, base + device.reports - 1],
          ...[device.listeningMs, 0, 0, 900, 1, JSON.stringify(counters.counters), JSON.stringify(counters.levelMs)],
          ...[JSON.stringify(counters.energyMj), JSON.stringify(noBins()), noise],
        )
        start.run(id, device.boot, startedMs, uptimeMs, startedMs)
        incarnation.run(id)
        seen.run(atMs, id)
        contact.run(id, atMs)
      }
    })
  }
}

interface Waited {
  readonly summary: readonly number[]
  readonly update: readonly number[]
}

/** What the asking process has waited since it was asked last. */
function take(asker: ChildProcess): Promise<Waited> {
  return new Promise((resolve) => {
    asker.once('message', (waited) => resolve(waited as Waited))
    asker.send('take')
  })
}

/** Asks for the summary ten times a second and, as gateways do, for new assignments a hundred times, until the end of the parent. */
async function ask(url: string, token: string): Promise<void> {
  const waited = { summary: [] as number[], update: [] as number[] }
  process.on('message', () => {
    process.send?.({ summary: waited.summary.splice(0), update: waited.update.splice(0) })
  })
  const headers = { authorization: `Bearer ${token}` }
  let cursor = 0
  const keep = async (path: () => string, times: number[], everyMs: number): Promise<void> => {
    while (process.connected) {
      const fromMs = performance.now()
      try {
        const answer = (await (await fetch(`${url}${path()}`, { headers })).json()) as { cursor?: number }
        cursor = answer.cursor ?? cursor
      } catch (cause) {
        // A connection that was given up on, because the cloud stood for so long.
        if (!(cause instanceof TypeError)) throw cause
      }
      times.push(performance.now() - fromMs)
      await rest(everyMs)
    }
  }
  await Promise.all([
    keep(() => '/v1/fleet/summary', waited.summary, 100),
    keep(() => `/v1/assignments?after=${cursor}`, waited.update, 10),
  ])
}

async function timed<T>(name: string, work: () => T): Promise<T> {
  const fromMs = performance.now()
  const result = await work()
  row(name, performance.now() - fromMs)
  return result
}

function row(name: string, value: number): void {
  if (name !== '') console.log(`${name.padEnd(46)}${value.toFixed(1).padStart(10)}`)
}

if (values.url !== undefined) await ask(values.url, values.token ?? '')
else await measure(Number(values.devices), Number(values.hours), Number(values.reported))
