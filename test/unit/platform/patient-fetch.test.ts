import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { CloudApi } from '../../../cli/cloud-api.ts'
import { type PatientRequest, patientFetch } from '../../../platform/patient-fetch.ts'
import { localServer } from '../../fixtures/local-server.ts'

const PATIENCE = { attemptsMax: 4, firstPauseMs: 20, pauseMsMax: 2_000, attemptMs: 2_000, totalMs: 4_000 }
const ask = (url: string, more: Partial<PatientRequest> = {}) =>
  patientFetch(
    { url, method: 'GET', repeatable: true, ownConnection: true, patience: PATIENCE, chance: () => 0.5, ...more },
    async (response) => `${response.status} ${await response.text()}`,
  )

/** Ends the first `n` connections as soon as something is sent, then answers. */
async function breaking(n: number, how: 'end' | 'reset' | 'half an answer') {
  let connections = 0
  const server = createTcpServer((socket) => {
    socket.on('error', () => undefined)
    const isBroken = ++connections <= n
    socket.once('data', () => {
      if (!isBroken) socket.end('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone')
      else if (how === 'reset') socket.resetAndDestroy()
      else if (how === 'end') socket.end()
      else socket.end('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndo')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, connections: () => connections }
}

describe('what may be repeated', () => {
  it.each(['end', 'reset', 'half an answer'] as const)('is tried again after an %s, and so often', async (how) => {
    const { url, connections } = await breaking(3, how)
    expect(await ask(url)).toBe('200 done')
    expect(connections()).toBe(4)
    const worse = await breaking(4, how)
    await expect(ask(worse.url)).rejects.toThrow()
    expect(worse.connections()).toBe(4)
  })

  it('waits as long as a busy server says, and no longer than it may; other answers are answers', async () => {
    const statuses = [503, 502, 504, 200]
    const { url, requests } = await localServer((_, response) =>
      response.writeHead(statuses[requests.length - 1]!, { 'retry-after': requests.length === 1 ? '1' : 'soon' }).end(),
    )
    const startedMs = performance.now()
    expect(await ask(url)).toBe('200 ')
    expect(performance.now() - startedMs).toBeGreaterThan(1_000)
    const patient = await localServer((_, response) => response.writeHead(503, { 'retry-after': '3600' }).end('later'))
    expect(await ask(patient.url)).toBe('503 later')
    expect(patient.requests).toHaveLength(1)
    for (const status of [400, 401, 409, 429, 500]) {
      const server = await localServer((_, response) => response.writeHead(status).end())
      expect(await ask(server.url)).toBe(`${status} `)
      expect(server.requests).toHaveLength(1)
    }
  })

  it('ends within its time, and when whoever asked ends it', async () => {
    const server = await localServer(() => undefined)
    const startedMs = performance.now()
    const patience = { ...PATIENCE, attemptMs: 100, totalMs: 350, attemptsMax: 100 }
    await expect(ask(server.url, { patience })).rejects.toThrow()
    expect(performance.now() - startedMs).toBeLessThan(1_500)
    expect(server.requests.length).toBeGreaterThan(1)
    const ended = AbortSignal.abort()
    await expect(ask(server.url, { signal: ended })).rejects.toThrow()
  })

  it('is tried after pauses that double and are random', async () => {
    const { url } = await breaking(4, 'reset')
    const drawn: number[] = []
    await ask(url, { chance: () => drawn.push(0) * 0 }).catch(() => undefined)
    expect(drawn).toHaveLength(4)
  })
})

describe('what may not be repeated', () => {
  it.each(['end', 'reset', 'half an answer'] as const)('is not, after an %s', async (how) => {
    const { url, connections } = await breaking(1, how)
    await expect(ask(url, { method: 'POST', body: '{}', repeatable: false })).rejects.toThrow()
    expect(connections()).toBe(1)
    const busy = await localServer((_, response) => response.writeHead(503, { 'retry-after': '0' }).end())
    expect(await ask(busy.url, { method: 'POST', repeatable: false })).toBe('503 ')
    expect(busy.requests).toHaveLength(1)
  })

  it('is tried again while nobody listens, since nothing was sent', async () => {
    const port = await freePort()
    let server: Server | undefined
    let posts = 0
    setTimeout(() => {
      server = createServer((_, response) => response.end(String(++posts))).listen(port, '127.0.0.1')
    }, 30)
    onTestFinished(() => void server?.close())
    const request = { method: 'POST', body: '{}', repeatable: false, chance: () => 1 }
    expect(await ask(`http://127.0.0.1:${port}/`, request)).toBe('200 1')
    expect(posts).toBe(1)
  })
})

describe('a command that computes for longer than the server keeps a connection', () => {
  /** Answers at once and closes the connection 20 ms later. In a process of its own, since the command's is busy. */
  const SERVER = `
    const net = require('node:net')
    net.createServer((socket) => {
      socket.on('error', () => undefined)
      socket.on('data', () => {
        socket.write('HTTP/1.1 200 OK\\r\\ncontent-length: 17\\r\\n\\r\\n{"token":"a.b.c"}')
        setTimeout(() => socket.destroy(), 20)
      })
    }).listen(0, '127.0.0.1', function () { console.log(this.address().port) })`

  it('never writes into one that has just been closed: mints are sent once and arrive', async () => {
    const server = spawn(process.execPath, ['-e', SERVER], { stdio: ['ignore', 'pipe', 'inherit'] })
    onTestFinished(() => void server.kill())
    const [port] = (await once(server.stdout, 'data')) as [Buffer]
    const api = new CloudApi(`http://127.0.0.1:${port.toString().trim()}`, 'token')
    for (let round = 0; round < 10; round++) {
      expect(await api.get('/v1/models')).toEqual({ token: 'a.b.c' })
      // Busy, so that the end of the connection is not seen before the next request is written.
      for (const untilMs = performance.now() + 60; performance.now() < untilMs; );
      expect(await api.post('/v1/tokens', { round })).toEqual({ token: 'a.b.c' })
    }
  })
})

async function freePort(): Promise<number> {
  const server = createTcpServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise<void>((resolve) => server.close(() => resolve()))
  return port
}
