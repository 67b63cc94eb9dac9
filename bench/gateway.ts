/** Messages per second of QoS 1 reports through the whole gateway, against bare aedes.
 *
 *      npm run build && node dist/bench/gateway.js [--devices 64] [--window 8] [--messages 400] [--rounds 7] [--commit-window 2]
 *
 *  Four processes: a broker host with bare aedes (no authentication, nobody subscribed), a broker host with the gateway (tokens, topic
 *  rights, packet bounds, CBOR, aggregation, SQLite with synchronous = FULL before each PUBACK, uplink), a load generator, and this
 *  one, which also stands for the cloud that the gateway forwards to. Only one of the brokers works at a time; with two cores
 *  it has one, the generator the other. The generator sends the same bytes to both: raw sockets, packets made before the
 *  clock starts (`gateway-load.ts`), so that the broker is what is measured; the last column shows how busy its core was.
 *  Rounds alternate between the two and the first of each is thrown away; the ratio is the median over the rounds of gateway to
 *  aedes of the same round. Every message of the gateway is new (its own boot and sequence number), none is a duplicate.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Aedes } from 'aedes'
import { exportJWK, generateKeyPair, type JSONWebKeySet, SignJWT } from 'jose'
import { seededRandom } from '../contract/random.ts'
import { GATEWAY_LIMITS, type GatewayStats, startGateway } from '../gateway/gateway.ts'
import { type LoadPlan, runLoad } from './gateway-load.ts'

const SITE = 'bench'
const GOAL = 0.8

type Request =
  | { readonly do: 'aedes' }
  | {
      readonly do: 'gateway'
      readonly cloudUrl: string
      readonly jwks: JSONWebKeySet
      readonly dataDir: string
      readonly commitWindowMs: number
    }
  | { readonly do: 'load'; readonly plan: LoadPlan }
  | { readonly do: 'usage' }
type Answer = {
  readonly port?: number
  readonly elapsedMs?: number
  readonly cpuMs?: number
  readonly messages?: unknown
}

async function child(): Promise<void> {
  let stats: () => unknown = () => undefined
  const perform = async (request: Request): Promise<Answer> => {
    switch (request.do) {
      case 'aedes': {
        const aedes = await Aedes.createBroker()
        const server = createTcpServer({ noDelay: true }, (socket) => void aedes.handle(socket))
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
        return { port: (server.address() as AddressInfo).port }
      }
      case 'gateway': {
        const { cloudUrl, jwks, dataDir, commitWindowMs } = request
        const logger = { info() {}, warn: console.error, error: console.error }
        const gateway = await startGateway({
          dataDir,
          cloudUrl,
          jwks,
          commitWindowMs,
          serviceToken: 'bench',
          clock: {
            wallMs: () => Date.now(),
            monotonicMs: () => performance.now(),
            after: (delayMs, callback) => {
              const timer = setTimeout(callback, delayMs)
              return () => clearTimeout(timer)
            },
          },
          random: seededRandom(1),
          secureRandom: { bytes: (length) => new Uint8Array(randomBytes(length)) },
          logger,
          limits: { spool: { ...GATEWAY_LIMITS.spool, reportsMax: 20_000 } },
        })
        stats = () => gateway.stats()
        return { port: gateway.mqttPort }
      }
      case 'load':
        return { elapsedMs: await runLoad(request.plan) }
      case 'usage': {
        const { user, system } = process.cpuUsage()
        return { cpuMs: (user + system) / 1000, messages: stats() }
      }
    }
  }
  process.on('message', (request: Request) => {
    perform(request).then(
      (answer) => process.send!(answer),
      (cause: unknown) => {
        console.error(cause)
        process.exit(1)
      },
    )
  })
}

const ask = (worker: ChildProcess, request: Request): Promise<Answer> =>
  new Promise((resolve, reject) => {
    worker.once('exit', reject)
    worker.once('message', (answer) => {
      worker.off('exit', reject)
      resolve(answer as Answer)
    })
    worker.send(request)
  })

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!

/** Takes and forgets what the gateway forwards. */
async function standInCloud(): Promise<{ url: string; rows(): number; close(): void }> {
  let posts = 0
  const server = createServer((request, response) => {
    request.resume()
    request.once('end', () => {
      if (request.url === '/v1/ingest') posts++
      // The feed waits, as the cloud's does.
      if (request.url?.startsWith('/v1/assignments')) return
      response.writeHead(200).end('{}')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    rows: () => posts,
    close: () => server.closeAllConnections(),
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      devices: { type: 'string', default: '64' },
      window: { type: 'string', default: '8' },
      messages: { type: 'string', default: '400' },
      rounds: { type: 'string', default: '7' },
      'commit-window': { type: 'string', default: '2' },
    },
  })
  const [deviceCount, window, messagesPerDevice, rounds] = [
    values.devices,
    values.window,
    values.messages,
    values.rounds,
  ].map(Number) as [number, number, number, number]
  const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'bench', alg: 'EdDSA' }] }
  const devices = await Promise.all(
    Array.from({ length: deviceCount }, async (_, i) => {
      const name = `device-${i}`
      const token = await new SignJWT({ site: SITE, board: 'bench' })
        .setProtectedHeader({ alg: 'EdDSA', kid: 'bench' })
        .setSubject(name)
        .setAudience('kinglet-gateway')
        .setExpirationTime('1h')
        .sign(privateKey)
      return { name, token }
    }),
  )
  const cloud = await standInCloud()
  const dataDir = mkdtempSync(join(tmpdir(), 'kinglet-bench-gateway-'))
  const workers = ['aedes', 'gateway', 'load'].map(() => fork(fileURLToPath(import.meta.url), ['--child']))
  const [bare, full, load] = workers as [ChildProcess, ChildProcess, ChildProcess]
  try {
    const { port: barePort } = await ask(bare, { do: 'aedes' })
    const commitWindowMs = Number(values['commit-window'])
    const { port: fullPort } = await ask(full, { do: 'gateway', cloudUrl: cloud.url, jwks, dataDir, commitWindowMs })
    const total = deviceCount * messagesPerDevice
    const round = async (worker: ChildProcess, port: number, boot: number) => {
      const before = await ask(worker, { do: 'usage' })
      const plan = { port, site: SITE, devices, boot, messagesPerDevice, window }
      const { elapsedMs } = await ask(load, { do: 'load', plan })
      const after = await ask(worker, { do: 'usage' })
      return { perSecond: (total * 1000) / elapsedMs!, cpuMicros: ((after.cpuMs! - before.cpuMs!) * 1000) / total }
    }
    console.log(`${deviceCount} devices × ${messagesPerDevice} reports, ${window} unacknowledged each, QoS 1`)
    const ratios: number[] = []
    const speeds: { aedes: number; gateway: number }[] = []
    for (let i = 0; i <= rounds; i++) {
      const aedes = await round(bare, barePort!, i)
      const gateway = await round(full, fullPort!, i)
      const ratio = gateway.perSecond / aedes.perSecond
      const line = `aedes ${aedes.perSecond.toFixed(0)}/s (${aedes.cpuMicros.toFixed(1)} µs CPU each)  gateway ${gateway.perSecond.toFixed(0)}/s (${gateway.cpuMicros.toFixed(1)} µs CPU each)  ratio ${ratio.toFixed(2)}`
      console.log(i === 0 ? `warm-up  ${line}` : `round ${i}  ${line}`)
      if (i === 0) continue
      ratios.push(ratio)
      speeds.push({ aedes: aedes.perSecond, gateway: gateway.perSecond })
    }
    const { messages } = await ask(full, { do: 'usage' })
    const { messages: counts, commits } = messages as Pick<GatewayStats, 'messages' | 'commits'>
    const accepted = counts.report ?? {}
    if (accepted.accepted !== total * (rounds + 1))
      throw new Error(`not every report was counted: ${JSON.stringify(accepted)}`)
    console.log(
      `median   aedes ${median(speeds.map((s) => s.aedes)).toFixed(0)}/s  gateway ${median(speeds.map((s) => s.gateway)).toFixed(0)}/s`,
    )
    console.log(
      `ratio    ${median(ratios).toFixed(2)} (goal ≥ ${GOAL}); ${(commits.works / commits.commits).toFixed(0)} messages a commit, ${cloud.rows()} batches forwarded meanwhile`,
    )
    if (median(ratios) < GOAL) process.exitCode = 1
  } finally {
    for (const worker of workers) worker.kill('SIGKILL')
    cloud.close()
    rmSync(dataDir, { recursive: true, force: true })
    // The stand-in's listener would keep this process.
    setImmediate(() => process.exit())
  }
}

await (process.argv.includes('--child') ? child() : main())
