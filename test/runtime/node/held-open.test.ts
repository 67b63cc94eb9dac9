import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../../cli/story/free-port.ts'
import { createApp } from '../../../cloud/api/app.ts'
import type { CloudServices } from '../../../cloud/api/environment.ts'
import { Store } from '../../../cloud/store/store.ts'
import { releaseOf } from '../../fixtures/cloud-world.ts'
import { Running } from './cli-process.ts'
import { until } from './gateway-harness.ts'

/** More than the cloud's bound of live streams, so that one left open by each request would be missed. */
const TIMES = 130
const dir = mkdtempSync(join(tmpdir(), 'kinglet-held-open-'))
const path = (...parts: string[]) => join(dir, ...parts)
/** More than a socket's buffers hold: whoever does not read it has it half sent. */
const artifact = randomBytes(4 * 1024 * 1024)
/** Of a size that a device may ask for some times a second. */
const small = randomBytes(16 * 1024)
const hashOf = (content: Uint8Array): string => createHash('sha256').update(content).digest('hex')
const sha256 = hashOf(artifact)
let cloud: Running
let gateway: Running
let cloudUrl = ''
let httpUrl = ''
let wsUrl = ''
let deviceToken = ''
const operatorToken = () => readFileSync(path('cloud/operator.token'), 'utf8').trim()
const answers = (url: string) => until(url, async () => (await fetch(url).catch(() => undefined))?.ok === true, 40_000)

beforeAll(async () => {
  // A gateway fetches what devices of its sites may need, as what is in production is.
  mkdirSync(path('cloud'))
  const store = new Store(path('cloud/cloud.db'), 0)
  store.models.putArtifact(hashOf(small), small.length, 0)
  const release = store.models.add(releaseOf('kws-1', 1, hashOf(small), { boards: ['nrf5340'] }), null, 0)
  store.models.setState(release, 'production', 'test', 'test', 0)
  store.close()
  cloudUrl = `http://127.0.0.1:${await freePort()}`
  cloud = new Running(['cloud', 'run', '--data', path('cloud'), '--port', new URL(cloudUrl).port])
  await answers(`${cloudUrl}/healthz`)
  const call = async <T>(method: string, route: string, body: unknown): Promise<T> => {
    const headers = { authorization: `Bearer ${operatorToken()}`, 'content-type': 'application/json' }
    const response = await fetch(cloudUrl + route, { method, headers, body: JSON.stringify(body) })
    return (await response.json()) as T
  }
  for (const body of [artifact, small]) {
    const headers = { authorization: `Bearer ${operatorToken()}` }
    await fetch(`${cloudUrl}/v1/artifacts/${hashOf(body)}`, { method: 'PUT', headers, body })
  }
  const enrolled = await call<{ devices: { token: string }[] }>('POST', '/v1/devices', [
    { device: 'd-1', site: 'lab', board: 'nrf5340' },
  ])
  deviceToken = enrolled.devices[0]!.token
  const { token } = await call<{ token: string }>('POST', '/v1/tokens', {
    subject: 'gateway-1',
    role: 'gateway',
    sites: ['lab'],
  })
  writeFileSync(path('gateway.token'), token, { mode: 0o600 })
  const ports = [await freePort(), await freePort(), await freePort()].map(String)
  httpUrl = `http://127.0.0.1:${ports[2]}`
  wsUrl = `http://127.0.0.1:${ports[1]}`
  gateway = new Running([
    ...['gateway', 'run', '--data', path('gateway'), '--cloud', cloudUrl, '--token-file', path('gateway.token')],
    ...['--mqtt-port', ports[0]!, '--ws-port', ports[1]!, '--http-port', ports[2]!, '--site', 'lab'],
  ])
  await answers(`${httpUrl}/healthz`)
}, 90_000)
afterAll(async () => {
  await Promise.all([gateway?.stop('SIGKILL'), cloud?.stop('SIGKILL')])
  rmSync(dir, { recursive: true, force: true })
})

/** How a client leaves. read: not before the end. heard: as soon as it has heard the headers. sent: as soon as it has asked. */
type Leaving = 'read' | 'heard' | 'sent'
/** @returns the status; undefined when the client left before it heard it */
const ask = (
  url: string,
  method: string,
  token: string,
  leaving: Leaving,
  more: Record<string, string> = {},
): Promise<{ status: number | undefined; bytes: number }> =>
  new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, ...more }
    const leave = (asked: ClientRequest, status: number | undefined) => {
      asked.destroy()
      resolve({ status, bytes: 0 })
    }
    const heard = (response: IncomingMessage) => {
      const { statusCode: status } = response
      // A live stream has no end: one event is all there is to read.
      const isEndless = response.headers['content-type']?.startsWith('text/event-stream') === true && method === 'GET'
      if (leaving === 'heard') return leave(asked, status)
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (isEndless) leave(asked, status)
      })
      response.on('end', () => resolve({ status, bytes }))
      response.on('error', () => undefined)
    }
    const asked = request(url, { method, headers, agent: false }, heard)
    asked.on('error', (cause) => (leaving === 'read' ? reject(cause) : undefined))
    asked.end(() => {
      if (leaving === 'sent') setImmediate(() => leave(asked, undefined))
    })
  })

/** What a process has open, but for the sockets of clients that are about to go: files by name. */
function openOf({ child }: Running): { files: string[]; count: number } {
  const folder = `/proc/${child.pid}/fd`
  const names = readdirSync(folder).flatMap((fd) => {
    try {
      return [readlinkSync(join(folder, fd))]
    } catch {
      // Closed in between.
      return []
    }
  })
  return { files: names.filter((name) => name.startsWith('/')).sort(), count: names.length }
}

async function readersOf(url: string): Promise<string[]> {
  const response = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${operatorToken()}` } })
  return (await response.text()).split('\n').filter((line) => line.startsWith('kinglet_live_readers{'))
}

/** The router's own list: a route that somebody adds is walked too. Routes are declared, none is called. */
const cloudPaths = () => {
  const app = createApp({
    ...{ repository: {}, machine: { monotonicMs: () => 0 } },
    metrics: { requests: { inc: () => undefined } },
  } as unknown as CloudServices)
  const value: Record<string, string> = { sha256, file: '1.root.json', id: 'd-1', name: 'kws', version: '1' }
  const gets = app.routes.filter(({ method }) => method === 'GET').map(({ path }) => path)
  return [...new Set(gets)].map((pattern) => {
    const filled = pattern.replace(/:(\w+)(\{[^}]*\})?/g, (_, name: string) => value[name] ?? 'none')
    // A poll that waits is held open, and so is what nobody reads.
    return filled === '/v1/assignments' ? `${filled}?waitSeconds=25&after=999999` : filled
  })
}

const WAYS = [
  ['HEAD', 'read', {}],
  ['HEAD', 'sent', {}],
  ['GET', 'heard', {}],
  ['GET', 'sent', {}],
  ['GET', 'heard', { range: 'bytes=1000-4000000' }],
  ['HEAD', 'read', { range: 'bytes=1000-4000000' }],
] as const

async function walk(url: string, token: string, times: number): Promise<void> {
  for (const [method, leaving, headers] of WAYS) {
    // A poll is answered when it has waited: who leaves it leaves before.
    if (leaving === 'heard' && url.includes('waitSeconds')) continue
    for (let done = 0; done < times; done += 10) {
      const asked = await Promise.all(
        Array.from({ length: Math.min(10, times - done) }, () => ask(url, method, token, leaving, headers)),
      )
      // No end of streams, no 503 for want of descriptors, and no body for HEAD.
      for (const { status, bytes } of asked) {
        if (status !== undefined && url.includes('readyz') === false) expect([url, status < 500]).toEqual([url, true])
        if (method === 'HEAD') expect([url, bytes]).toEqual([url, 0])
      }
    }
  }
}

describe('what clients leave behind', () => {
  it('is nothing at the cloud, whatever route they asked and however they left', async () => {
    const paths = cloudPaths()
    expect(paths).toEqual(expect.arrayContaining(['/', '/v1/stream', `/v1/artifacts/${sha256}`, '/openapi.json']))
    expect(paths.length).toBeGreaterThan(25)
    for (const each of paths) await walk(cloudUrl + each, operatorToken(), 1)
    const before = openOf(cloud)
    const readers = await readersOf(cloudUrl)
    for (const each of paths) {
      const holds = /stream|artifacts|assignments/.test(each)
      await walk(cloudUrl + each, operatorToken(), holds ? TIMES : 10)
    }
    await until('everything is closed', () => openOf(cloud).count <= before.count)
    expect(openOf(cloud).files).toEqual(before.files)
    // The gateway's poll may be between two questions.
    const streams = (lines: string[]) => lines.filter((line) => line.includes('stream'))
    await until('nobody listens', async () => (await readersOf(cloudUrl)).join().includes('{kind="stream"} 0'))
    expect(streams(await readersOf(cloudUrl))).toEqual(streams(readers))
    expect(Number((await readersOf(cloudUrl)).find((line) => line.includes('feed'))?.split(' ')[1])).toBeLessThan(2)
    // As many as there may be, at once.
    const open = await Promise.all(
      Array.from({ length: 128 }, () => ask(`${cloudUrl}/v1/stream`, 'GET', operatorToken(), 'read')),
    )
    expect(open.map(({ status }) => status)).toEqual(Array.from({ length: 128 }, () => 200))
  })

  it('is nothing at a gateway', async () => {
    const urls = [
      '/healthz',
      '/readyz',
      '/metrics',
      '/metadata/1.root.json',
      `/v1/artifacts/${hashOf(small)}`,
      '/none',
    ].map((each) => httpUrl + each)
    urls.push(`${wsUrl}/v1/challenges`, `${wsUrl}/`)
    for (const each of urls) await walk(each, deviceToken, 1)
    const before = openOf(gateway)
    for (const each of urls) await walk(each, deviceToken, each.includes('artifacts') ? 60 : 10)
    await until('everything is closed', () => openOf(gateway).count <= before.count)
    expect(openOf(gateway).files).toEqual(before.files)
    // The device's share of downloads was given back each time.
    await until('it may download', async () => {
      const { status, bytes } = await ask(`${httpUrl}/v1/artifacts/${hashOf(small)}`, 'GET', deviceToken, 'read')
      return status === 200 && bytes === small.length
    })
  })
})
