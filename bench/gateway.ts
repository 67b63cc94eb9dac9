/** Messages per second of QoS 1 reports through the whole gateway, against bare aedes.
 *
 *      npm run build && node dist/bench/gateway.js [--devices 1000] [--window 1] [--messages 50] [--rounds 7] [--commit-window 2]
 *
 *  Four processes: a broker host with bare aedes (no authentication, nobody subscribed), a broker host with the gateway (tokens, topic
 *  rights, packet bounds, CBOR, aggregation, each message on the medium before its PUBACK, uplink), a load generator, and this one,
 *  which also stands for the cloud that the gateway forwards to. Only one of the brokers works at a time; with two cores it has
 *  one, the generator the other. The generator sends the same bytes to both: raw sockets, packets made before the clock starts
 *  (`gateway-load.ts`), so that the broker is what is measured. As devices do, each waits for its PUBACK before the next message
 *  (`--window 1`). Every message is new to the gateway, and its spool is small and full: each also costs the pruning of another.
 *
 *  Rounds alternate between the two, the first of each is thrown away; the result is the median over the rounds of gateway to
 *  aedes of the same round. Beside the ratio of throughputs there is the ratio of CPU time per message on the broker's own thread,
 *  which says the same on a machine that is busy with other things, where the throughputs are mostly noise, and the CPU time of all
 *  threads: with two cores the gateway's store shares one of them with the load generator.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Aedes } from 'aedes'
import { exportJWK, generateKeyPair, type JSONWebKeySet, SignJWT } from 'jose'
import { type GatewayStats, startGateway } from '../gateway/gateway.ts'
import { GATEWAY_LIMITS } from '../gateway/gateway-options.ts'
import { answerParent, askChild, onThisMachine } from './child-process.ts'
import { type Load, type LoadPlan, prepareLoad } from './gateway-load.ts'

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
  | { readonly do: 'run' | 'usage' }
type Answer = {
  readonly port?: number
  readonly elapsedMs?: number
  readonly cpuMs?: number
  readonly processMs?: number
  readonly messages?: unknown
}

/** CPU time of the thread that runs the broker; the thread pool waits for the medium on another core. Linux tells it by thread,
 *  elsewhere it is that of the process. */
function mainThreadMs(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6
  } catch {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  }
}

async function child(): Promise<void> {
  let stats: () => unknown = () => undefined
  let load: Load | undefined
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
          ...onThisMachine(),
          logger,
          limits: { spool: { ...GATEWAY_LIMITS.spool, reportsMax: 20_000 } },
        })
        stats = () => gateway.stats()
        return { port: gateway.mqttPort }
      }
      case 'load':
        load = await prepareLoad(request.plan)
        return {}
      case 'run':
        return { elapsedMs: await load!.run() }
      case 'usage': {
        const { user, system } = process.cpuUsage()
        return { cpuMs: mainThreadMs(), processMs: (user + system) / 1000, messages: stats() }
      }
    }
  }
  answerParent(perform)
}

const ask = (worker: ChildProcess, request: Request): Promise<Answer> => askChild(worker, request)

interface Measured {
  readonly perSecond: number
  /** CPU time of the broker's thread per message, µs */
  readonly coreMicros: number
  /** of all threads of its process: the store's, the thread pool's and the collector's too */
  readonly processMicros: number
}
const describe = ({ perSecond, coreMicros, processMicros }: Measured): string =>
  `${perSecond.toFixed(0)}/s (${coreMicros.toFixed(1)} µs of its core each, ${processMicros.toFixed(1)} of all threads)`

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
      response.writeHead(200).end(request.url?.startsWith('/v1/revocations') ? '{"cursor":0,"items":[]}' : '{}')
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
      devices: { type: 'string', default: '1000' },
      window: { type: 'string', default: '1' },
      messages: { type: 'string', default: '50' },
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
    const round = async (worker: ChildProcess, port: number, boot: number): Promise<Measured> => {
      await ask(load, { do: 'load', plan: { port, site: SITE, devices, boot, messagesPerDevice, window } })
      const before = await ask(worker, { do: 'usage' })
      const { elapsedMs } = await ask(load, { do: 'run' })
      const after = await ask(worker, { do: 'usage' })
      return {
        perSecond: (total * 1000) / elapsedMs!,
        coreMicros: ((after.cpuMs! - before.cpuMs!) * 1000) / total,
        processMicros: ((after.processMs! - before.processMs!) * 1000) / total,
      }
    }
    console.log(`${deviceCount} devices × ${messagesPerDevice} reports, ${window} unacknowledged each, QoS 1`)
    const results: { aedes: Measured; gateway: Measured }[] = []
    for (let i = 0; i <= rounds; i++) {
      const aedes = await round(bare, barePort!, i)
      const gateway = await round(full, fullPort!, i)
      const name = i === 0 ? 'warm-up' : `round ${i}`
      const ratio = (gateway.perSecond / aedes.perSecond).toFixed(2)
      console.log(`${name}  aedes ${describe(aedes)}  gateway ${describe(gateway)}  ratio ${ratio}`)
      if (i > 0) results.push({ aedes, gateway })
    }
    const { messages } = await ask(full, { do: 'usage' })
    const { messages: counts, commits } = messages as Pick<GatewayStats, 'messages' | 'commits'>
    const accepted = counts.report ?? {}
    if (accepted.accepted !== total * (rounds + 1))
      throw new Error(`not every report was counted: ${JSON.stringify(accepted)}`)
    const ratio = median(results.map(({ aedes, gateway }) => gateway.perSecond / aedes.perSecond))
    const coreRatio = median(results.map(({ aedes, gateway }) => aedes.coreMicros / gateway.coreMicros))
    const micros = (of: 'aedes' | 'gateway', what: 'coreMicros' | 'processMicros'): string =>
      median(results.map((result) => result[of][what])).toFixed(1)
    for (const of of ['aedes', 'gateway'] as const)
      console.log(`${of}: median µs a message ${micros(of, 'coreMicros')} core, ${micros(of, 'processMicros')} process`)
    const perCommit = commits.works / commits.commits
    console.log(`${perCommit.toFixed(0)} messages a commit, ${cloud.rows()} batches forwarded meanwhile`)
    console.log(`ratio of messages per second                 ${ratio.toFixed(2)} (goal ≥ ${GOAL})`)
    console.log(`ratio of messages per second of broker core  ${coreRatio.toFixed(2)}`)
    if (ratio < GOAL) process.exitCode = 1
  } finally {
    for (const worker of workers) worker.kill('SIGKILL')
    cloud.close()
    rmSync(dataDir, { recursive: true, force: true })
    // The stand-in's listener would keep this process.
    setImmediate(() => process.exit())
  }
}

await (process.argv.includes('--child') ? child() : main())
