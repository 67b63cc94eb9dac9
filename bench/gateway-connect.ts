/** What a device's connect costs a gateway, by how many assignments it holds, and how long a fleet takes to come back to one that was killed.
 *
 *      npm run build && node dist/bench/gateway-connect.js [--held 0,100000] [--connects 2000] [--fleet 10000]
 *
 *  Three processes: the gateway, the load (raw sockets: CONNECT, SUBSCRIBE to the four filters of a device, wait for CONNACK, SUBACK and, where one is
 *  held, the assignment), and this one, which also is the cloud that hands out the assignments. First the CPU time of the gateway's process per
 *  connect; the result is the ratio of the most to the fewest held. Then the gateway is killed with `--fleet` devices connected, started
 *  again, and the time is taken from when it listens until all are back; each retries as device/link/transport-mqtt.ts does.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { exportJWK, generateKeyPair, type JSONWebKeySet, SignJWT } from 'jose'
import { startGateway } from '../gateway/gateway.ts'
import { answerParent, askChild, onThisMachine } from './child-process.ts'
import { connectPacket, subscribePacket } from './gateway-load.ts'

const SITE = 'bench'
const BOARD = 'bench'
const KINDS = ['assign', 'block/+', 'verdict', 'meta']
/** As a device of this build has it: bound of the first pause, and of any, ms. */
const PAUSE = { first: 2_000, max: 12_000 }

interface Device {
  readonly name: string
  readonly token: string
}

type Request =
  | {
      readonly do: 'gateway'
      readonly cloudUrl: string
      readonly jwks: JSONWebKeySet
      readonly dataDir: string
      readonly port: number
    }
  | { readonly do: 'held' | 'usage' }
  /** connects all, one after another in `lanes`, and leaves each again */
  | { readonly do: 'connects'; readonly port: number; readonly devices: readonly Device[]; readonly held: boolean }
  /** connects all and keeps them connected, whatever happens */
  | { readonly do: 'fleet'; readonly port: number; readonly devices: readonly Device[] }
  | { readonly do: 'connected' }
type Answer = { readonly port?: number; readonly cpuMs?: number; readonly count?: number }

/** Connects as a device does. @returns the socket, when everything that a connect brings is there */
function enter(port: number, { name, token }: Device, held: boolean): Promise<ReturnType<typeof connect>> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    // CONNACK has 4 bytes and SUBACK 4 and one for each filter; an assignment is larger than both.
    const enough = held ? 200 : 4 + 4 + KINDS.length
    let bytes = 0
    const failed = (cause?: Error) => reject(cause ?? new Error('closed'))
    socket.once('error', failed)
    socket.once('close', () => failed())
    socket.once('connect', () => {
      const filters = KINDS.map((kind) => `kinglet/v1/${SITE}/${name}/${kind}`)
      socket.write(Buffer.concat([connectPacket(name, token), subscribePacket(filters)]))
    })
    socket.on('data', (chunk) => {
      bytes += chunk.length
      if (bytes >= enough) resolve(socket)
    })
  })
}

async function child(): Promise<void> {
  let held: () => number = () => 0
  let connected = 0
  const perform = async (request: Request): Promise<Answer> => {
    switch (request.do) {
      case 'gateway': {
        const { cloudUrl, jwks, dataDir, port } = request
        const gateway = await startGateway({
          ...{ dataDir, cloudUrl, jwks, mqttPort: port, serviceToken: 'bench', assignmentIdleMs: 1 },
          ...onThisMachine(),
          logger: { info() {}, warn() {}, error: console.error },
        })
        held = () => gateway.stats().messages.assignment?.published ?? 0
        return { port: gateway.mqttPort }
      }
      case 'held':
        return { count: held() }
      case 'usage': {
        const { user, system } = process.cpuUsage()
        return { cpuMs: (user + system) / 1000 }
      }
      case 'connects': {
        const { port, devices, held: waits } = request
        let next = 0
        const lane = async (): Promise<void> => {
          for (let device = devices[next++]; device !== undefined; device = devices[next++]) {
            const socket = await enter(port, device, waits)
            socket.on('error', () => undefined)
            socket.removeAllListeners('close')
            socket.destroy()
          }
        }
        await Promise.all(Array.from({ length: 16 }, lane))
        return {}
      }
      case 'fleet': {
        const { port, devices } = request
        const stay = async (device: Device): Promise<void> => {
          for (let failures = 0; ; ) {
            try {
              const socket = await enter(port, device, true)
              failures = 0
              connected++
              socket.removeAllListeners('close')
              await new Promise<void>((resolve) => socket.once('close', () => resolve()))
              connected--
            } catch {
              failures++
            }
            const bound = Math.min(PAUSE.max, PAUSE.first * 2 ** Math.max(0, failures - 1))
            await new Promise((resolve) => setTimeout(resolve, bound * Math.random()))
          }
        }
        for (const device of devices) void stay(device)
        return {}
      }
      case 'connected':
        return { count: connected }
    }
  }
  answerParent(perform)
}

const ask = (worker: ChildProcess, request: Request): Promise<Answer> => askChild(worker, request)

/** Hands out an assignment for each of so many devices. */
async function standInCloud(count: number): Promise<{ url: string; close(): void }> {
  const item = (i: number) => {
    const device = `device-${i}`
    const signed = {
      ...{ v: 1, type: 'assignment', device, site: SITE, board: BOARD, seq: 1 },
      ...{ target: { name: 'kws-1', version: 1, sha256: 'a'.repeat(64) }, rollout: null },
      ...{ issuedMs: 1, expiresMs: 4_000_000_000_000 },
    }
    return {
      site: SITE,
      device,
      board: BOARD,
      document: { signed, signatures: [{ keyId: 'b'.repeat(64), sig: 'c'.repeat(128) }] },
    }
  }
  const server = createServer((request, response) => {
    request.resume()
    request.once('end', () => {
      const url = new URL(request.url ?? '', 'http://x')
      if (url.pathname === '/v1/wake-checks') return response.writeHead(200).end('{"v":1,"checks":[]}')
      if (url.pathname !== '/v1/assignments') return response.writeHead(200).end('{"cursor":0,"items":[]}')
      const after = Number(url.searchParams.get('after'))
      if (after >= count) return undefined
      const items = Array.from({ length: Math.min(2_000, count - after) }, (_, i) => item(after + i))
      return response.writeHead(200).end(JSON.stringify({ v: 1, cursor: after + items.length, items }))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, close: () => server.closeAllConnections() }
}

const seconds = (sinceMs: number): string => ((performance.now() - sinceMs) / 1000).toFixed(1)
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const start = () => fork(fileURLToPath(import.meta.url), ['--child'])

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      held: { type: 'string', default: '0,100000' },
      connects: { type: 'string', default: '2000' },
      fleet: { type: 'string', default: '10000' },
    },
  })
  const counts = values.held.split(',').map(Number)
  const fleet = Number(values.fleet)
  const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'bench', alg: 'EdDSA' }] }
  const devices: Device[] = await Promise.all(
    Array.from({ length: Math.max(fleet, Number(values.connects)) }, async (_, i) => {
      const name = `device-${i}`
      const token = await new SignJWT({ site: SITE, board: BOARD })
        .setProtectedHeader({ alg: 'EdDSA', kid: 'bench' })
        .setSubject(name)
        .setAudience('kinglet-gateway')
        .setExpirationTime('1h')
        .sign(privateKey)
      return { name, token }
    }),
  )
  const load = start()
  const workers = [load]
  const folders: string[] = []
  const folder = () => {
    folders.push(mkdtempSync(join(tmpdir(), 'kinglet-bench-connect-')))
    return folders.at(-1)!
  }
  const gatewayWith = async (count: number, dataDir: string, port = 0) => {
    const cloud = await standInCloud(count)
    const worker = start()
    workers.push(worker)
    const { port: listens } = await ask(worker, { do: 'gateway', cloudUrl: cloud.url, jwks, dataDir, port })
    return { worker, port: listens!, dataDir }
  }
  try {
    const costs: number[] = []
    for (const count of counts) {
      const { worker, port } = await gatewayWith(count, folder())
      while ((await ask(worker, { do: 'held' })).count! < count) await pause(100)
      const those = devices.slice(0, Number(values.connects))
      const round = { do: 'connects', port, devices: those, held: count > 0 } as const
      await ask(load, { ...round, devices: those.slice(0, 200) })
      const before = await ask(worker, { do: 'usage' })
      await ask(load, round)
      const after = await ask(worker, { do: 'usage' })
      const cost = (after.cpuMs! - before.cpuMs!) / those.length
      costs.push(cost)
      console.log(`${count} held: ${cost.toFixed(2)} ms of CPU for a connect`)
      worker.kill('SIGKILL')
    }
    if (costs.length > 1) console.log(`ratio ${(costs.at(-1)! / costs[0]!).toFixed(2)} (goal ≤ 1.5)`)
    if (fleet === 0) return
    const first = await gatewayWith(fleet, folder())
    while ((await ask(first.worker, { do: 'held' })).count! < fleet) await pause(100)
    await ask(load, { do: 'fleet', port: first.port, devices: devices.slice(0, fleet) })
    while ((await ask(load, { do: 'connected' })).count! < fleet) await pause(100)
    first.worker.kill('SIGKILL')
    await pause(3_000)
    await gatewayWith(fleet, first.dataDir, first.port)
    const readyMs = performance.now()
    let count = 0
    while (count < fleet && performance.now() - readyMs < 180_000) {
      await pause(1_000)
      count = (await ask(load, { do: 'connected' })).count!
      console.log(`${seconds(readyMs)} s after it listens: ${count} of ${fleet} are back`)
    }
  } finally {
    for (const worker of workers) worker.kill('SIGKILL')
    for (const path of folders) rmSync(path, { recursive: true, force: true })
    // The stand-ins' listeners would keep this process.
    setImmediate(() => process.exit())
  }
}

await (process.argv.includes('--child') ? child() : main())
