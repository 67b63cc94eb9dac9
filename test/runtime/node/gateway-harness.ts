import { randomBytes } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportJWK, generateKeyPair, type JSONWebKeySet, SignJWT } from 'jose'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import type { Clock } from '../../../contract/clock.ts'
import { reportCodec, wakeCodec } from '../../../contract/messages.ts'
import { seededRandom } from '../../../contract/random.ts'
import { err, ok } from '../../../contract/result.ts'
import {
  type AggregateRow,
  type EventRow,
  ingestBatchSchema,
  type ReportRow,
  type VerdictRow,
} from '../../../contract/uplink.ts'
import type { GatewayOptions } from '../../../gateway/gateway-options.ts'
import type { Engine } from '../../../model/engine/engine.ts'

export const SITE = 'lab'
export const BOARD = 'nrf5340'
export const MODEL = new Uint8Array(8).fill(0xab)
export const MODEL_HEX = 'ab'.repeat(8)

export const tempDir = (): string => mkdtempSync(join(tmpdir(), 'kinglet-gateway-'))
export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    return () => clearTimeout(timer)
  },
}

export async function until<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  ms = 120_000,
): Promise<T> {
  const end = performance.now() + ms
  for (;;) {
    const value = await probe()
    if (value !== undefined && value !== false) return value
    if (performance.now() > end) throw new Error(`timed out: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Issues device tokens as the cloud does. */
export async function tokenIssuer(kid = 'k1') {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  const jwks: JSONWebKeySet = { keys: [{ ...(await exportJWK(publicKey)), kid, alg: 'EdDSA' }] }
  const token = (device: string, claims: { site?: string; aud?: string; board?: string; expSeconds?: number } = {}) =>
    new SignJWT({ site: claims.site ?? SITE, board: claims.board ?? BOARD })
      .setProtectedHeader({ alg: 'EdDSA', kid })
      .setSubject(device)
      .setAudience(claims.aud ?? 'kinglet-gateway')
      .setExpirationTime(claims.expSeconds ?? Math.floor(Date.now() / 1000) + 3_600)
      .sign(privateKey)
  return { jwks, token }
}

/** Posteriors from the features themselves: label features[0] has features[1] percent. Counts its runs. */
export function fakeEngine(elements = 490): Engine & { runs: number } {
  const io = { name: 'x', elementType: 'float32', dims: [1, 1, 49, 10], elements, quantization: null } as const
  const engine = {
    name: 'fake',
    runs: 0,
    async load(graph: Uint8Array) {
      if (graph.length === 0) return err({ code: 'engine-load-failed', detail: 'empty' } as const)
      return ok({
        input: io,
        output: { ...io, dims: [1, 12], elements: 12 },
        async run(window: Float32Array | Int8Array | Uint8Array) {
          engine.runs++
          const posteriors = new Float32Array(12).fill(0)
          posteriors[window[0]!] = window[1]! / 100
          return ok(posteriors)
        },
        async dispose() {},
      })
    },
  }
  return engine
}

const VERIFIER = {
  graph: Uint8Array.of(1),
  labels: ['silence', 'unknown', 'down', 'go', 'left', 'no', 'off', 'on', 'right', 'stop', 'up', 'yes'],
  featureQuantization: { scale: 1, zeroPoint: 0 },
}

/** The cloud as a gateway sees it: keeps rows by identity as the contract says, and can go away and come back on its port. */
export class FakeCloud {
  readonly reports = new Map<string, ReportRow>()
  readonly verdicts = new Map<string, VerdictRow>()
  readonly events = new Map<string, EventRow>()
  readonly aggregates = new Map<string, AggregateRow>()
  readonly artifacts = new Map<string, Uint8Array>()
  readonly requests: string[] = []
  jwks: JSONWebKeySet = { keys: [] }
  assignments: { cursor: number; site: string; device: string; board: string; document: unknown }[] = []
  /** answers in place of the right ones, by path: bytes, a status, or whatever it writes itself; undefined: the right one */
  answers: ((path: string) => Uint8Array | number | ((response: ServerResponse) => unknown) | undefined) | undefined
  /** what it says of the time with each answer, Unix ms */
  timeMs: number | undefined
  /** status for the next ingest posts, when it returns one */
  ingestFault: ((body: unknown) => number | undefined) | undefined
  posts = 0
  rowsReceived = 0
  #server: Server | undefined
  #port = 0

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  async start(): Promise<this> {
    const answer = async (request: IncomingMessage, response: ServerResponse) => {
      const url = new URL(request.url!, 'http://x')
      this.requests.push(`${request.method} ${url.pathname}`)
      if (this.timeMs !== undefined) response.setHeader('kinglet-time', String(this.timeMs))
      const json = (status: number, body: unknown) =>
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
      if (request.headers.authorization !== 'Bearer service') return json(401, {})
      const given = this.answers?.(url.pathname)
      if (typeof given === 'function') return given(response)
      if (typeof given === 'number') return json(given, {})
      if (given !== undefined) return response.writeHead(200).end(given)
      if (url.pathname === '/v1/keys') return json(200, { jwks: this.jwks })
      if (url.pathname === '/v1/ingest') {
        const chunks: Buffer[] = []
        for await (const chunk of request) chunks.push(chunk as Buffer)
        return this.#ingest(JSON.parse(Buffer.concat(chunks).toString()), json)
      }
      if (url.pathname === '/v1/assignments') {
        const after = Number(url.searchParams.get('after'))
        const wait = performance.now() + Number(url.searchParams.get('waitSeconds')) * 1000
        let newer = this.assignments.filter(({ cursor }) => cursor > after)
        while (newer.length === 0 && performance.now() < wait && !request.destroyed) {
          await new Promise((resolve) => setTimeout(resolve, 10))
          newer = this.assignments.filter(({ cursor }) => cursor > after)
        }
        const cursor = Math.max(after, ...newer.map((item) => item.cursor))
        return json(200, { v: 1, cursor, items: newer.map(({ cursor: _, ...item }) => item) })
      }
      const artifact = this.artifacts.get(url.pathname.replace('/v1/artifacts/', ''))
      if (artifact === undefined) return json(404, { code: 'artifact-not-found' })
      // Slow enough that requests of many devices overlap.
      await new Promise((resolve) => setTimeout(resolve, 30))
      return response.writeHead(200).end(artifact)
    }
    const server = createServer((request, response) => void answer(request, response))
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve))
    this.#server = server
    this.#port = (server.address() as AddressInfo).port
    return this
  }

  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    server?.closeAllConnections()
    await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())))
  }

  #ingest(body: unknown, json: (status: number, body: unknown) => unknown): unknown {
    this.posts++
    const status = this.ingestFault?.(body)
    if (status !== undefined && status !== 599) return json(status, { code: 'invalid-request' })
    const batch = ingestBatchSchema.parse(body)
    for (const row of batch.reports) this.reports.set(`${row.device}/${row.boot}/${row.seq}`, row)
    for (const row of batch.verdicts)
      this.verdicts.set([row.device, row.incarnation, row.boot, row.slot ?? row.hourMs, row.model].join('/'), row)
    for (const row of batch.events) this.events.set(`${row.device}/${row.boot}/${row.seq}`, row)
    for (const row of batch.aggregates) {
      const { hourMs, model, board, site, rollout, stage, arm } = row
      const key = [batch.gateway, hourMs, model, board, site, rollout, stage, arm].join('/')
      if ((this.aggregates.get(key)?.revision ?? -1) < row.revision) this.aggregates.set(key, row)
    }
    this.rowsReceived += batch.reports.length + batch.events.length
    // 599: taken, but the answer is lost.
    return status === 599 ? json(503, {}) : json(200, { ok: true })
  }
}

export const quietLogger = { info() {}, warn() {}, error() {} }

export const gatewayOptions = (
  cloud: FakeCloud,
  dataDir: string,
  more: Partial<GatewayOptions> = {},
): GatewayOptions => ({
  dataDir,
  cloudUrl: cloud.url,
  serviceToken: 'service',
  clock: systemClock,
  random: seededRandom(1),
  secureRandom: { bytes: (length) => new Uint8Array(randomBytes(length)) },
  logger: quietLogger,
  engine: fakeEngine(),
  verifier: VERIFIER,
  uplinkIntervalMs: 20,
  assignmentWaitSeconds: 1,
  assignmentIdleMs: 10,
  // vitest runs the sources; the thread of its own is tried in processes (gateway-kill, cli-services).
  storeInProcess: true,
  ...more,
})

export const connectDevice = (
  url: string,
  device: string,
  token: string,
  more: IClientOptions = {},
): Promise<MqttClient> =>
  mqtt.connectAsync(url, {
    clientId: device,
    username: device,
    password: token,
    protocolVersion: 4,
    keepalive: 60,
    reconnectPeriod: 0,
    connectTimeout: 5_000,
    ...more,
  })

export const topic = (device: string, kind: string, site = SITE): string => `kinglet/v1/${site}/${device}/${kind}`

/** A report whose counters are all multiples of `seq + 1`. */
export function report(boot: number, seq: number, more: { assignmentSeq?: number; model?: Uint8Array } = {}): Buffer {
  const n = seq + 1
  return Buffer.from(
    reportCodec.encode({
      boot,
      seq,
      uptimeMs: n * 3_600_000,
      wallMs: 0,
      model: more.model ?? MODEL,
      slot: 0,
      level: 0,
      // listeningMs, windows, inferences, gateOpenings, wakes, activeMs, …, radioRx, radioTx, …
      counters: [n * 3_600_000, n * 100, n * 90, n * 7, n * 3, n * 1_000, 0, 0, n * 10, n * 20, 0, 0, 0, 0],
      levelMs: [n * 3_600_000, 0, 0, 0, 0],
      energyMj: [n, n, n, n, 0],
      batteryPermille: 900,
      posteriorBins: [n, 0, 0, 0, 0, 0, 0, 0],
      noiseBins: [n, 0, 0, 0, 0, 0, 0, 0],
      assignmentSeq: more.assignmentSeq ?? 0,
    }),
  )
}

/** A wake of label 3 that the fake engine gives `percent` of posterior. `salt` makes the features distinct. */
export function wake(boot: number, index: number, percent: number, salt = index): Buffer {
  const features = new Uint8Array(490)
  features.set([3, percent, salt & 0x7f, (salt >> 7) & 0x7f])
  return Buffer.from(
    wakeCodec.encode({
      boot,
      index,
      wallMs: 0,
      model: MODEL,
      label: 3,
      posteriorPermille: 900,
      level: 0,
      features,
      noiseDb: -50,
    }),
  )
}
