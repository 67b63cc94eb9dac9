import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { contractError } from '../../contract/errors.ts'
import { LIMITS } from '../../contract/limits.ts'
import { present } from '../../contract/present.ts'
import { SCENES } from '../../firmware-sim/scene.ts'
import { encodeWav } from '../../model/audio/wav.ts'
import { boardNamed } from '../../model/boards.ts'
import { readBounded } from '../../platform/bounded-body.ts'
import { type Patience, patientFetch } from '../../platform/patient-fetch.ts'
import { problemResponse } from '../../platform/problem-response.ts'
import { CommandFailure } from '../failure.ts'
import { openBundleForBoard, readBundleFile } from '../open-bundle-file.ts'
import { packageRoot } from '../package-root.ts'
import { chance } from '../random-secure.ts'
import { audioPieces } from './device-audio.ts'
import { readTrustRoot } from './trust-root.ts'

export interface PageFlags {
  readonly port: number
  readonly gateway?: string
  readonly trust?: string
  readonly bundle: string
}

/** Of `scene.wav`; chosen: minutes, not hours, are rendered while somebody waits. */
const SCENE_SECONDS_MAX = 600
const SCENE_RATE_HZ = 16_000
/** chosen, of the socket: as a device waits for one answer; it tries again by itself */
const PATIENCE: Patience = { attemptsMax: 1, firstPauseMs: 0, pauseMsMax: 0, attemptMs: 30_000, totalMs: 30_000 }
/** What a device asks of its identity, see gateway/broker/identity-relay.ts. */
const IDENTITY_PATH = /^\/identity(\/v1\/(?:challenges|enrolments|devices\/[a-z0-9._~-]+\/(?:token|key)))$/

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.wasm': 'application/wasm',
}

/** Serves the agent's page on this machine until it is interrupted. */
export async function servePage(flags: PageFlags): Promise<void> {
  const server = await listening(flags)
  const { port } = server.address() as AddressInfo
  console.log(`the agent's page: http://127.0.0.1:${port}/`)
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
}

async function listening(flags: PageFlags): Promise<Server> {
  const app = await pageApp(flags)
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(flags.port, '127.0.0.1', resolve)
  }).catch((cause: unknown) => {
    const taken = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE'
    const why = taken ? 'another process has it' : String(cause)
    throw new CommandFailure(`port ${flags.port}: ${why}`, { hint: 'give another with --port', cause })
  })
  const { port } = server.address() as AddressInfo
  const hosts = [`127.0.0.1:${port}`, `localhost:${port}`]
  const listener = getRequestListener(app.fetch, { hostname: 'page' })
  server.on('request', (request, response) => {
    // A name that somebody has pointed at this machine is no way in, nor is a page of another origin. @see OWASP, "DNS rebinding"
    const { host = '', origin } = request.headers
    if (!hosts.includes(host) || (origin !== undefined && origin !== `http://${host}`)) {
      response.writeHead(403, { 'content-type': 'text/plain' }).end('this page is for this machine alone\n')
    } else void listener(request, response)
  })
  return server
}

/** What the page is made of: its files, the factory image, the root of the image repository, scenes, and the way to the gateway's side of identity. */
async function pageApp({ gateway, trust, bundle }: PageFlags): Promise<Hono> {
  const address = gateway === undefined ? undefined : gatewayAddress(gateway)
  const root = trust === undefined ? undefined : readTrustRoot(trust)
  // Opened once, for the smallest board that the page offers by itself: a bad bundle is refused here and not in somebody's browser.
  await (await openBundleForBoard(bundle, present(boardNamed('NUCLEO-U575ZI'), 'a known board'))).dispose()
  const factory = readBundleFile(bundle)
  const app = new Hono()
  app.use(async (c, next) => {
    await next()
    for (const [name, value] of Object.entries(headersOf(address?.origin))) c.res.headers.set(name, value)
  })
  for (const { name, path } of pageFiles()) {
    const headers = { 'content-type': TYPES[extname(name)] ?? 'application/octet-stream' }
    app.get(
      name === 'index.html' ? '/' : `/${name}`,
      () => new Response(new Uint8Array(readFileSync(path)), { headers }),
    )
  }
  const bytes = (content: Uint8Array) => new Response(new Uint8Array(content), { headers: BYTES })
  const scenes = SCENES.flatMap(({ name }) => [name, `${name}:raised`])
  app.get('/page.json', (c) => c.json({ gateway: gateway ?? null, trusted: root !== undefined, scenes }))
  app.get('/factory.kinglet', () => bytes(factory))
  if (root !== undefined) app.get('/trust-root.json', () => bytes(root))
  app.get('/scene.wav', (c) => {
    const { name = '', seconds = '60' } = c.req.query()
    if (
      !scenes.includes(name) ||
      !/^\d{1,3}$/.test(seconds) ||
      Number(seconds) < 1 ||
      Number(seconds) > SCENE_SECONDS_MAX
    ) {
      return c.text(`expected name, one of ${scenes.join(', ')}, and seconds, 1 to ${SCENE_SECONDS_MAX}\n`, 400)
    }
    return bytes(sceneWav(`scene:${name}:${seconds}`))
  })
  if (address !== undefined) {
    app.post('/identity/*', async (c) => {
      const [, path] = IDENTITY_PATH.exec(c.req.path) ?? []
      return path === undefined ? c.notFound() : relay(address.http + path, c.req.raw)
    })
  }
  return app
}

const BYTES = { 'content-type': 'application/octet-stream' }

/** Nothing but what is served here, and the one gateway. `wasm-unsafe-eval`: the engines are WebAssembly, which is compiled from bytes. */
const headersOf = (gateway: string | undefined) => ({
  'content-security-policy':
    `default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; img-src data:; ` +
    `connect-src 'self'${gateway === undefined ? '' : ` ${gateway}`}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'`,
  'permissions-policy': 'microphone=(self), camera=(), geolocation=()',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-cache',
})

function pageFiles(): readonly { readonly name: string; readonly path: string }[] {
  const folder = join(packageRoot(), 'dist/device/browser/page')
  if (!existsSync(join(folder, 'index.html'))) {
    throw new CommandFailure('the page is not built', { hint: 'from the sources: npm run build' })
  }
  return readdirSync(folder).map((name) => ({ name, path: join(folder, name) }))
}

function gatewayAddress(gateway: string): { readonly origin: string; readonly http: string } {
  const { protocol = '', host = '', pathname = '' } = URL.canParse(gateway) ? new URL(gateway) : {}
  if (!['ws:', 'wss:'].includes(protocol) || pathname !== '/') {
    throw new CommandFailure(`"${gateway}" is no address that a page can reach a gateway at`, {
      hint: 'a page speaks MQTT over WebSocket: for example ws://127.0.0.1:8083',
      exitCode: 2,
    })
  }
  return { origin: `${protocol}//${host}`, http: `${protocol === 'wss:' ? 'https:' : 'http:'}//${host}` }
}

function sceneWav(scene: string): Uint8Array {
  const pieces = [...audioPieces(scene, SCENE_RATE_HZ, [], () => undefined)]
  const samples = new Float32Array(pieces.reduce((sum, piece) => sum + piece.samples.length, 0))
  let at = 0
  for (const piece of pieces) {
    samples.set(piece.samples, at)
    at += piece.samples.length
  }
  return encodeWav(samples, SCENE_RATE_HZ)
}

/** Carries a request about identity to the gateway, as it is: it is signed by the device's key, and no secret is in it. */
async function relay(url: string, request: Request): Promise<Response> {
  const body = await readBounded(request.body, LIMITS.identityBytes)
  if (body === undefined) return problemResponse(contractError('too-large', `more than ${LIMITS.identityBytes} bytes`))
  try {
    const asked = {
      ...{ url, method: 'POST', headers: { 'content-type': 'application/json' }, body: new Uint8Array(body) },
      ...{ repeatable: false, ownConnection: true, redirect: 'error' as const, patience: PATIENCE, chance },
    }
    return await patientFetch(asked, async (response) => {
      const content = await readBounded(response.body, LIMITS.identityBytes)
      if (content === undefined) return problemResponse(contractError('too-large', 'the answer is too long'))
      const headers = { 'content-type': response.headers.get('content-type') ?? 'application/json' }
      return new Response(new Uint8Array(content), { status: response.status, headers })
    })
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    return problemResponse(contractError('unavailable', `the gateway does not answer (${why})`))
  }
}
