import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { BROKER_LIMITS } from '../../../gateway/broker/broker.ts'
import { type Gateway, startGateway } from '../../../gateway/gateway.ts'
import { GATEWAY_LIMITS, type GatewayOptions } from '../../../gateway/gateway-options.ts'
import { connectDevice, FakeCloud, gatewayOptions, tempDir, tokenIssuer, until } from './gateway-harness.ts'

/** Addresses that attackers come from; honest devices come from the first, too. */
const ADDRESSES = Array.from({ length: 8 }, (_, i) => `127.0.0.${i + 1}`)
const HONEST = 100
const WEBSOCKET = [
  ...['Host: gateway', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
  ...['Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', 'Sec-WebSocket-Protocol: mqtt'],
].join('\r\n')
const post = (path: string) => `POST ${path} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 700\r\n\r\n{`

interface Attack {
  readonly what: string
  readonly port: (gateway: Gateway) => number
  /** what a connection begins with */
  readonly begins: string
  /** what it goes on with, again and again, a second apart; empty: nothing */
  readonly goesOn: string
}
const ATTACKS: readonly Attack[] = [
  { what: 'requests whose bodies never end', port: (g) => g.wsPort, begins: post('/v1/challenges'), goesOn: ' ' },
  {
    what: 'bodies that never begin',
    port: (g) => g.wsPort,
    begins: post('/v1/devices/d1/token').slice(0, -1),
    goesOn: '',
  },
  { what: 'slow headers', port: (g) => g.wsPort, begins: 'POST /v1/challenges HTTP/1.1\r\nX: ', goesOn: 'x' },
  {
    what: 'WebSockets that say nothing',
    port: (g) => g.wsPort,
    begins: `GET / HTTP/1.1\r\n${WEBSOCKET}\r\n\r\n`,
    goesOn: '',
  },
  { what: 'half of a WebSocket', port: (g) => g.wsPort, begins: `GET / HTTP/1.1\r\n${WEBSOCKET}`, goesOn: '' },
  { what: 'silence on the WebSocket port', port: (g) => g.wsPort, begins: '', goesOn: '' },
  { what: 'silence on the MQTT port', port: (g) => g.mqttPort, begins: '', goesOn: '' },
  { what: 'a CONNECT a byte at a time', port: (g) => g.mqttPort, begins: '\x10\x7f\x00\x04MQTT\x04', goesOn: '\x02' },
  {
    what: 'slow headers on the HTTP port',
    port: (g) => g.httpPort,
    begins: 'GET /metrics HTTP/1.1\r\nX: ',
    goesOn: 'x',
  },
  { what: 'a body for the HTTP port', port: (g) => g.httpPort, begins: post('/metrics'), goesOn: ' ' },
  { what: 'silence on the HTTP port', port: (g) => g.httpPort, begins: '', goesOn: '' },
]

const cloud = new FakeCloud()
let issuer: Awaited<ReturnType<typeof tokenIssuer>>
let gateway: Gateway
let sockets: Socket[] = []
let timers: NodeJS.Timeout[] = []
const dir = mkdtempSync(join(tmpdir(), 'kinglet-strangers-'))

beforeAll(async () => {
  issuer = await tokenIssuer()
  cloud.answers = (path) => {
    if (path !== '/v1/challenges' && !path.endsWith('/token')) return undefined
    return (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{"token":"granted"}')
  }
  await cloud.start()
})
afterEach(async () => {
  for (const timer of timers) clearInterval(timer)
  for (const socket of sockets) socket.destroy()
  sockets = []
  timers = []
  await gateway.close()
})
afterAll(async () => {
  await cloud.stop()
  rmSync(dir, { recursive: true })
})

async function start(more: Partial<GatewayOptions> = {}): Promise<void> {
  gateway = await startGateway(gatewayOptions(cloud, tempDir(), { jwks: issuer.jwks, ...more }))
}

/** Opens a connection that keeps its place for as long as it is let. */
async function hold({ port, begins, goesOn }: Attack, localAddress: string): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: port(gateway), localAddress })
  sockets.push(socket)
  socket.on('error', () => {}).resume()
  await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve))
  socket.write(begins, 'latin1')
  if (goesOn !== '') timers.push(setInterval(() => socket.writable && socket.write(goesOn, 'latin1'), 1_000))
  return socket
}

/** What a device does once an hour: two requests by a connection of its own. */
async function renews(device: string): Promise<boolean> {
  const ask = (path: string) =>
    new Promise<number | undefined>((resolve) => {
      const options = { host: '127.0.0.1', port: gateway.wsPort, path, method: 'POST', agent: false as const }
      const asked = request(options, (answer) => answer.resume().once('end', () => resolve(answer.statusCode)))
      asked.once('error', () => resolve(undefined)).end('{}')
    })
  return (await ask('/v1/challenges')) === 200 && (await ask(`/v1/devices/${device}/token`)) === 200
}

async function countOf(act: (i: number) => Promise<boolean>): Promise<number> {
  let done = 0
  for (let i = 0; i < HONEST; i++) if (await act(i)) done++
  return done
}
const connects = async (i: number): Promise<boolean> => {
  const url = i % 2 === 0 ? `mqtt://127.0.0.1:${gateway.mqttPort}` : `ws://127.0.0.1:${gateway.wsPort}`
  const client = await connectDevice(url, `d${i}`, await issuer.token(`d${i}`)).catch(() => undefined)
  await client?.endAsync()
  return client !== undefined
}
const scrapes = async (i: number): Promise<boolean> =>
  (await fetch(`http://127.0.0.1:${gateway.httpPort}${i % 10 === 0 ? '/metrics' : '/healthz'}`)).ok

describe('hundreds of connections without credentials, from eight addresses,', () => {
  it('do not keep one honest device from its token, from MQTT, or a scraper from its page; each ends in time', async () => {
    await start()
    for (let round = 0; round < 8; round++) {
      await Promise.all(ATTACKS.flatMap((attack) => ADDRESSES.map((address) => hold(attack, address))))
    }
    expect(sockets.length).toBe(704)
    const held = sockets.filter(({ destroyed }) => !destroyed).length
    expect(held).toBeGreaterThan(600)
    expect(await countOf((i) => renews(`d${i}`))).toBe(HONEST)
    expect(await countOf(connects)).toBe(HONEST)
    expect(await countOf(scrapes)).toBe(HONEST)
    // Headers, a CONNECT and a WebSocket have ten seconds, a whole request twenty.
    await until('none has its place any more', () => sockets.every(({ destroyed }) => destroyed), 90_000)
  }, 180_000)

  it.each(ATTACKS)(
    '$what: more than there are places for',
    async (attack) => {
      const few = { strangersMax: 64, strangersPerAddressMax: 32 }
      await start({ limits: { ...GATEWAY_LIMITS, broker: { ...BROKER_LIMITS, ...few } } })
      for (let round = 0; round < 4; round++) {
        for (let i = 0; i < 4; i++) await Promise.all(ADDRESSES.map((address) => hold(attack, address)))
        for (let i = 0; i < 5; i++)
          expect([round, i, await renews('d1'), await connects(i)]).toEqual([round, i, true, true])
      }
      const { connection } = gateway.stats().messages
      if (attack.port(gateway) !== gateway.httpPort) expect(connection!['given-up']).toBeGreaterThan(0)
      expect(connection!['too-many']).toBeUndefined()
    },
    60_000,
  )

  it('are bounded before their TLS handshake, and by certificate nothing else gets in', async () => {
    const pem = (name: string) => readFileSync(join(dir, name))
    const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' })
    const certificate = (name: string, cn: string) =>
      openssl(
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
        ...[
          '-subj',
          `/CN=${cn}`,
          '-addext',
          'subjectAltName=DNS:localhost',
          '-keyout',
          `${name}.key`,
          '-out',
          `${name}.pem`,
        ],
      )
    certificate('server', 'localhost')
    certificate('device', 'd1')
    const few = { strangersMax: 64, strangersPerAddressMax: 32 }
    await start({
      limits: { ...GATEWAY_LIMITS, broker: { ...BROKER_LIMITS, ...few } },
      tls: { cert: pem('server.pem'), key: pem('server.key'), clientCa: pem('device.pem') },
    })
    const silent = (port: Attack['port'], begins: string): Attack => ({ what: '', port, begins, goesOn: '' })
    const attacks = [(g: Gateway) => g.mqttPort, (g: Gateway) => g.wsPort].flatMap((port) => [
      silent(port, ''),
      silent(port, '\x16\x03\x01\x02\x00\x01'),
    ])
    const own = { ca: pem('server.pem'), cert: pem('device.pem'), key: pem('device.key') }
    const urls = () => [`mqtts://localhost:${gateway.mqttPort}`, `wss://localhost:${gateway.wsPort}`]
    const token = await issuer.token('d1')
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 3; i++)
        await Promise.all(attacks.flatMap((a) => ADDRESSES.map((address) => hold(a, address))))
      for (const url of urls()) {
        const client = await connectDevice(url, 'd1', token, own)
        await client.endAsync()
      }
    }
    await until('places are given up', () => sockets.filter(({ destroyed }) => !destroyed).length <= 64)
    expect(gateway.stats().messages.connection!['given-up']).toBeGreaterThan(300)
    // Without a certificate there is no request, whatever it would say.
    for (const url of urls()) await expect(connectDevice(url, 'd1', token, { ca: own.ca })).rejects.toThrow()
  })
})
