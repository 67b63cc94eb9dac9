import { readFileSync, writeFileSync } from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseWav } from '../../../model/audio/wav.ts'
import { lineOf } from '../browser/agent-page.ts'
import { expectRefusal, kinglet, Running, zooBundle } from './cli-process.ts'
import { tempDir } from './gateway-harness.ts'

/** What reached the gateway's HTTP side. */
const asked: { path: string; body: string }[] = []
let gateway: Server
let page: Running
let url = ''

beforeAll(async () => {
  gateway = createServer((incoming, response) => {
    let body = ''
    incoming.on('data', (data) => {
      body += data
    })
    incoming.on('end', () => {
      asked.push({ path: incoming.url ?? '', body })
      response.writeHead(incoming.url === '/v1/challenges' ? 200 : 403, { 'content-type': 'application/json' })
      response.end(incoming.url === '/v1/challenges' ? '{"challenge":"00"}' : 'x'.repeat(10_000))
    })
  })
  await new Promise<void>((resolve) => gateway.listen(0, '127.0.0.1', resolve))
  const { port } = gateway.address() as AddressInfo
  page = new Running(['device', 'page', '--port', '0', '--gateway', `ws://127.0.0.1:${port}`])
  ;[, url = ''] = await lineOf(page, /(http:\/\/127\.0\.0\.1:\d+)\//)
})
afterAll(async () => {
  expect(await page.stop()).toMatchObject({ code: 0 })
  gateway.close()
})

it('serves the page under a policy that names nothing but itself and the one gateway', async () => {
  const answer = await fetch(`${url}/`)
  expect(await answer.text()).toContain('<title>Kinglet agent</title>')
  const { port } = gateway.address() as AddressInfo
  const policy = answer.headers.get('content-security-policy')!.split('; ')
  expect(policy).toContain(`connect-src 'self' ws://127.0.0.1:${port}`)
  expect(policy).toContain("default-src 'none'")
  expect(policy).toContain("script-src 'self' 'wasm-unsafe-eval'")
  expect(policy.join()).not.toMatch(/'unsafe-inline'|'unsafe-eval'|\*/)
  // A worker is under the policy of its own script.
  for (const path of [
    '/agent-worker.js',
    '/microphone-worklet.js',
    '/ort-wasm-simd-threaded.wasm',
    '/page.json',
    '/nothing',
  ]) {
    const part = await fetch(url + path)
    expect([path, part.headers.get('content-security-policy')]).toEqual([
      path,
      answer.headers.get('content-security-policy'),
    ])
    expect(part.headers.get('x-content-type-options')).toBe('nosniff')
    expect([path, part.status]).toEqual([path, path === '/nothing' ? 404 : 200])
  }
})

it('gives out the factory image, scenes, and no root when it has none', async () => {
  const factory = new Uint8Array(await (await fetch(`${url}/factory.kinglet`)).arrayBuffer())
  expect(Buffer.from(factory).equals(readFileSync(zooBundle('kws-2')))).toBe(true)
  expect((await fetch(`${url}/trust-root.json`)).status).toBe(404)
  const { scenes, trusted } = (await (await fetch(`${url}/page.json`)).json()) as { scenes: string[]; trusted: boolean }
  expect([scenes.includes('office:raised'), trusted]).toEqual([true, false])
  const scene = parseWav(
    new Uint8Array(await (await fetch(`${url}/scene.wav?name=office:raised&seconds=20`)).arrayBuffer()),
  )
  expect(scene).toMatchObject({ ok: true, value: { sampleRateHz: 16_000 } })
  for (const query of [
    'name=moon',
    'name=office&seconds=0',
    'name=office&seconds=601',
    'name=office&seconds=1e2',
    '',
  ]) {
    const refused = await fetch(`${url}/scene.wav?${query}`)
    expect([query, refused.status]).toEqual([query, 400])
  }
})

it('carries the identity’s requests to the gateway, those alone, and bounded both ways', async () => {
  const post = (path: string, body: string) => fetch(`${url}${path}`, { method: 'POST', body })
  const challenge = await post('/identity/v1/challenges', '{}')
  expect([challenge.status, await challenge.json()]).toEqual([200, { challenge: '00' }])
  expect(asked).toEqual([{ path: '/v1/challenges', body: '{}' }])
  for (const path of [
    '/identity/v1/devices',
    '/identity/v1/releases',
    '/identity/v1/devices/../keys',
    '/identity/metrics',
  ]) {
    expect([path, (await post(path, '{}')).status]).toEqual([path, 404])
  }
  expect((await post('/identity/v1/enrolments', 'x'.repeat(5_000))).status).toBe(413)
  expect(asked).toHaveLength(1)
  expect((await post('/identity/v1/devices/wren-1/token', '{}')).status).toBe(413)
  expect(asked.at(-1)).toEqual({ path: '/v1/devices/wren-1/token', body: '{}' })
})

it('is for this machine alone: not by another name, nor for the page of another', async () => {
  const { port } = new URL(url)
  const status = (headers: Record<string, string>) =>
    new Promise<number | undefined>((resolve, reject) => {
      const sent = request({ host: '127.0.0.1', port, path: '/page.json', headers }, (response) => {
        response.resume()
        resolve(response.statusCode)
      })
      sent.on('error', reject).end()
    })
  expect(await status({ host: `localhost:${port}` })).toBe(200)
  expect(await status({ host: `127.0.0.1:${port}`, origin: `http://127.0.0.1:${port}` })).toBe(200)
  expect(await status({ host: `evil.example:${port}` })).toBe(403)
  expect(await status({ host: `127.0.0.1:${port}`, origin: 'https://evil.example' })).toBe(403)
})

it('says what is wrong with what it is given', async () => {
  const run = (...args: string[]) => kinglet('device', 'page', '--port', '0', ...args)
  expectRefusal(await run('--gateway', 'mqtt://127.0.0.1:1883'), 2, /no address that a page can reach a gateway at/)
  expectRefusal(await run('--gateway', 'ws://127.0.0.1/x'), 2, /no address that a page can reach/)
  const folder = tempDir()
  writeFileSync(`${folder}/root.json`, '{}')
  expectRefusal(await run('--trust', `${folder}/root.json`), 1, /root\.json/)
  expectRefusal(await run('--bundle', `${folder}/root.json`), 1, /root\.json/)
  const { port } = new URL(url)
  expectRefusal(await kinglet('device', 'page', '--port', port), 1, new RegExp(`port ${port}: another process has it`))
})
