import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../cli/clock-system.ts'
import { freePort } from '../cli/story/free-port.ts'
import { Store } from '../cloud/store/store.ts'
import type { Release } from '../contract/release.ts'
import { quantile, rest } from './waits.ts'

/** How long a new connection waits for /healthz while the cloud signs a whole fleet's assignments, against the same cloud at rest:
 *  `npm run build && node dist/bench/cloud-signing.js [devices]`. A gateway takes the assignments meanwhile. */
const DEVICES = Number(process.argv[2] ?? 20_000)
const REST_PROBES = 400
const SHA256 = '1'.repeat(64)

const folder = mkdtempSync(join(tmpdir(), 'kinglet-signing-'))
const data = join(folder, 'cloud')
mkdirSync(data, { mode: 0o700 })
seed(new Store(join(data, 'cloud.db'), systemClock.wallMs()))

const port = await freePort()
const script = fileURLToPath(new URL('../cli/kinglet.js', import.meta.url))
const cloud = spawn(process.execPath, [script, 'cloud', 'run', '--data', data, '--port', String(port)], {
  stdio: 'ignore',
})
try {
  while ((await probe()) === undefined) await rest(20)
  const fromMs = performance.now()
  const busy = await probesUntil(takeAll())
  const signedMs = performance.now() - fromMs
  await rest(1_000)
  const idle: number[] = []
  for (let i = 0; i < REST_PROBES; i++) idle.push((await probe()) ?? Number.NaN)
  console.log(`${DEVICES} assignments signed and taken in ${(signedMs / 1000).toFixed(1)} s`)
  console.log('a new connection’s /healthz, ms   p50      p99      most   probes')
  for (const [name, times] of [
    ['at rest', idle],
    ['while it signs', busy],
  ] as const)
    console.log(row(name, times))
  console.log(`ratio of the p99: ${(quantile(busy, 0.99) / quantile(idle, 0.99)).toFixed(1)}`)
} finally {
  cloud.kill('SIGTERM')
  await new Promise((resolve) => cloud.once('exit', resolve))
  rmSync(folder, { recursive: true })
}

/** A fleet on one model of which nobody has an assignment yet. */
function seed(store: Store): void {
  const content: Release = {
    ...{ v: 1, type: 'release', name: 'kws-1', version: 1, sha256: SHA256, bytes: 1_000, securityCounter: 1 },
    ...{ arenaBytes: 1, constantBytes: 1, featuresSha256: '0'.repeat(64), boards: [] },
  }
  store.models.putArtifact(SHA256, 1_000, 0)
  const release = store.models.add(content, null, 0)
  store.models.setState(release, 'production', 'bench', 'bench', 0)
  store.atomically(() => {
    for (let i = 0; i < DEVICES; i++) {
      const { id } = store.devices.enrol({ name: `device-${i}`, site: `site-${i % 50}`, board: 'board-a', tags: [] }, 1)
      store.devices.retarget(id, { release: release.id, rollout: null, stage: 0, arm: 'none' })
    }
  })
  store.close()
}

/** The feed to its end, as a gateway takes it. */
async function takeAll(): Promise<void> {
  const headers = { authorization: `Bearer ${readFileSync(join(data, 'operator.token'), 'utf8').trim()}` }
  const seen = new Set<string>()
  for (let after = 0; seen.size < DEVICES; ) {
    const response = await fetch(`http://127.0.0.1:${port}/v1/assignments?after=${after}&waitSeconds=5`, { headers })
    const { cursor, items } = (await response.json()) as { cursor: number; items: { device: string }[] }
    for (const { device } of items) seen.add(device)
    after = cursor
  }
}

async function probesUntil(work: Promise<void>): Promise<number[]> {
  const state = { over: false }
  const over = work.finally(() => {
    state.over = true
  })
  const times: number[] = []
  while (!state.over) {
    times.push((await probe()) ?? Number.NaN)
    await rest(2)
  }
  await over
  return times
}

/** ms of one request on a connection of its own; undefined: refused */
function probe(): Promise<number | undefined> {
  return new Promise((resolve) => {
    const fromMs = performance.now()
    const sent = get({ port, host: '127.0.0.1', path: '/healthz', agent: false }, (response) => {
      response.resume().once('end', () => resolve(performance.now() - fromMs))
    })
    sent.once('error', () => resolve(undefined))
  })
}

function row(name: string, times: readonly number[]): string {
  const numbers = [quantile(times, 0.5), quantile(times, 0.99), quantile(times, 1)].map((ms) =>
    ms.toFixed(1).padStart(8),
  )
  return `${name.padEnd(32)}${numbers.join(' ')} ${String(times.length).padStart(6)}`
}
