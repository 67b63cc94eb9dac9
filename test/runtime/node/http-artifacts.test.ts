import { createHash, randomBytes } from 'node:crypto'
import { request } from 'node:http'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningCloud, startCloud } from '../../../cloud/cloud.ts'
import { ArtifactFolder } from '../../../cloud/registry/artifact-folder.ts'
import { type Gateway, startGateway } from '../../../gateway/gateway.ts'
import { RANGE_BYTES, RANGE_CASES, type RangeCase, rangeCaseName } from '../../fixtures/range-cases.ts'
import { FakeCloud, gatewayOptions, quietLogger, systemClock, tempDir, tokenIssuer, until } from './gateway-harness.ts'

const artifact = Uint8Array.from({ length: RANGE_BYTES }, (_, i) => (i * 37) >> 2)
const sha256Of = (content: Uint8Array): string => createHash('sha256').update(content).digest('hex')
const hash = sha256Of(artifact)
const secureRandom = { bytes: (length: number) => new Uint8Array(randomBytes(length)) }

interface Answer {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly body: Buffer
}
/** With node:http, which sends any header and reports what came for HEAD. */
const ask = (url: string, headers: Record<string, string>, method = 'GET'): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const sent = request(url, { method, headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () =>
        resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks) }),
      )
    })
    sent.on('error', reject).end()
  })

let cloud: RunningCloud
let cloudDir: string
let fake: FakeCloud
let gateway: Gateway
let issuer: Awaited<ReturnType<typeof tokenIssuer>>
beforeAll(async () => {
  cloudDir = tempDir()
  const cloudOptions = { dataDir: cloudDir, host: '127.0.0.1', port: 0, clock: systemClock, secureRandom }
  cloud = await startCloud({ ...cloudOptions, logger: quietLogger })
  await fetch(`${cloud.url}/v1/artifacts/${hash}`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${cloud.operatorToken}` },
    body: Buffer.from(artifact),
  })
  issuer = await tokenIssuer()
  fake = await new FakeCloud().start()
  fake.artifacts.set(hash, artifact)
  const blocks = { concurrent: 2, perSecond: 1_000, burst: 100_000 }
  gateway = await startGateway(gatewayOptions(fake, tempDir(), { jwks: issuer.jwks, limits: { blocks } }))
})
afterAll(async () => {
  await gateway.close()
  await fake.stop()
  await cloud.close()
})
const gatewayUrl = (path: string): string => `http://127.0.0.1:${gateway.httpPort}${path}`
const servers = {
  cloud: async () => ({ url: `${cloud.url}/v1/artifacts/${hash}`, token: cloud.operatorToken }),
  gateway: async () => ({ url: gatewayUrl(`/v1/artifacts/${hash}`), token: await issuer.token('d1') }),
}

describe.each(Object.entries(servers))('artifacts of the %s', (_, serverOf) => {
  const askFor = async ({ range, ifRange }: RangeCase, method = 'GET'): Promise<Answer> => {
    const { url, token } = await serverOf()
    const condition = ifRange === undefined ? {} : { 'if-range': ifRange.replace('E', `"${hash}"`) }
    return ask(url, { authorization: `Bearer ${token}`, range, ...condition }, method)
  }

  it.each(RANGE_CASES.map((each) => [rangeCaseName(each), each] as const))('%s', async (_name, each) => {
    const { status, headers, body } = await askFor(each)
    if (each.served === 'none') {
      expect([status, headers['content-range']]).toEqual([416, `bytes */${RANGE_BYTES}`])
      expect(JSON.parse(body.toString())).toMatchObject({ status: 416, code: 'invalid-request' })
      return
    }
    const [start, end] = each.served === 'whole' ? [0, RANGE_BYTES] : each.served
    expect(status).toBe(each.served === 'whole' ? 200 : 206)
    expect(body).toEqual(Buffer.from(artifact.slice(start, end)))
    expect(headers['content-range']).toBe(
      each.served === 'whole' ? undefined : `bytes ${start}-${end - 1}/${RANGE_BYTES}`,
    )
    expect(headers).toMatchObject({ 'accept-ranges': 'bytes', etag: `"${hash}"`, 'content-length': `${end - start}` })
  })

  it('who has it already is told so, and nothing is sent', async () => {
    const { url, token } = await serverOf()
    const authorization = `Bearer ${token}`
    for (const method of ['GET', 'HEAD']) {
      const { status, headers, body } = await ask(url, { authorization, 'if-none-match': `"x", "${hash}"` }, method)
      expect([method, status, headers.etag, body.length]).toEqual([method, 304, `"${hash}"`, 0])
    }
    expect((await ask(url, { authorization, 'if-none-match': '"x"' })).status).toBe(200)
  })

  it('HEAD has the headers of the whole, whatever range it names, and no body', async () => {
    for (const range of ['bytes=4-9', 'bytes=5000-']) {
      const { status, headers, body } = await askFor({ range, served: 'whole' }, 'HEAD')
      expect([status, body.length]).toEqual([200, 0])
      expect(headers).toMatchObject({ etag: `"${hash}"`, 'content-length': `${RANGE_BYTES}` })
      expect(headers['content-range']).toBeUndefined()
    }
  })
})

it('the cloud opens no file for HEAD', async () => {
  const { stream } = ArtifactFolder.prototype
  let opened = 0
  ArtifactFolder.prototype.stream = function (...args) {
    opened++
    return stream.apply(this, args)
  }
  try {
    const { url, token } = await servers.cloud()
    const headers = { authorization: `Bearer ${token}` }
    expect((await ask(url, headers, 'HEAD')).status).toBe(200)
    expect(opened).toBe(0)
    expect((await ask(url, headers)).status).toBe(200)
    expect(opened).toBe(1)
  } finally {
    ArtifactFolder.prototype.stream = stream
  }
})

describe('the gateway´s HTTP listener', () => {
  const file = new Uint8Array(300).fill(7)
  beforeAll(() => void fake.artifacts.set('/v1/metadata/1.root.json', file))
  const paths = ['/healthz', '/metrics', '/metadata/1.root.json', `/v1/artifacts/${hash}`]
  const authorized = async () => ({ authorization: `Bearer ${await issuer.token('d2')}` })

  it.each(paths)('answers HEAD of %s as GET, without a body', async (path) => {
    const [got, head] = [
      await ask(gatewayUrl(path), await authorized()),
      await ask(gatewayUrl(path), await authorized(), 'HEAD'),
    ]
    expect([got.status, head.status, head.body.length]).toEqual([200, 200, 0])
    expect(got.body.length).toBeGreaterThan(0)
    expect(head.headers['content-type']).toBe(got.headers['content-type'])
    expect(head.headers['cache-control']).toBe(got.headers['cache-control'])
  })

  it.each(paths)('refuses other methods at %s and says which there are', async (path) => {
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      const { status, headers, body } = await ask(gatewayUrl(path), await authorized(), method)
      expect([status, headers.allow, headers['content-type']]).toEqual([405, 'GET, HEAD', 'application/problem+json'])
      expect(JSON.parse(body.toString())).toMatchObject({ status: 405, code: 'invalid-request' })
    }
  })

  it('says what there is to whoever asks for something else', async () => {
    for (const path of ['/', '/healthz/', '/v1/artifacts', '/v1/artifacts/a/b', '/console']) {
      const { status, body } = await ask(gatewayUrl(path), {})
      expect([path, status, JSON.parse(body.toString()).code]).toEqual([path, 404, 'not-found'])
    }
  })

  it('answers a client of HTTP/1.0, which names no host', async () => {
    const socket = connect(gateway.httpPort, '127.0.0.1')
    socket.end('GET /metadata/1.root.json HTTP/1.0\r\n\r\n')
    const chunks: Buffer[] = []
    for await (const chunk of socket) chunks.push(chunk as Buffer)
    expect(Buffer.concat(chunks).toString('latin1')).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
  })

  it('refuses what is no name of a file or an artifact, however it is written', async () => {
    for (const path of [
      '/metadata/',
      '/metadata/a/b.json',
      '/metadata/..%2f..%2fetc%2fpasswd',
      '/metadata/%',
      '/v1/artifacts/x',
    ]) {
      expect([path, (await ask(gatewayUrl(path), {})).status]).toEqual([path, 400])
    }
  })

  it('counts a response as under way until its client has read it or is gone', async () => {
    // More than sockets hold, so that the response is under way while its client does not read.
    const large = Uint8Array.from({ length: 4 * 1024 * 1024 }, (_, i) => i >> 8)
    const largeHash = sha256Of(large)
    fake.artifacts.set(largeHash, large)
    const headers = { authorization: `Bearer ${await issuer.token('d3')}` }
    const path = `/v1/artifacts/${largeHash}`
    const status = async () => (await ask(gatewayUrl(path), { ...headers, range: 'bytes=0-0' })).status
    expect(await status()).toBe(206)
    const hold = () => {
      const socket = connect(gateway.httpPort, '127.0.0.1')
      socket.pause()
      socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: ${headers.authorization}\r\n\r\n`)
      return socket
    }
    const served = () => gateway.stats().messages['artifact-get']?.served ?? 0
    const before = served()
    const sockets = [hold(), hold()]
    await until('both are served', () => served() === before + 2)
    expect(await status()).toBe(429)
    // One goes away, one reads to the end.
    sockets[0]!.destroy()
    await until('its place is free', async () => (await status()) === 206)
    const third = hold()
    await until('it is served', async () => (await status()) === 429)
    let read = 0
    sockets[1]!.on('data', (chunk) => {
      read += chunk.length
    })
    sockets[1]!.resume()
    await until('all is read', () => read > large.length)
    await until('its place is free', async () => (await status()) === 206)
    for (const socket of [sockets[1]!, third]) socket.destroy()
  })

  it('frees the place of a client that went away before there was anything to send', async () => {
    const late = Uint8Array.of(1, 2, 3)
    const lateHash = sha256Of(late)
    let answer: () => void = () => undefined
    fake.answers = (path) => (path.endsWith(lateHash) ? (response) => (answer = () => response.end(late)) : undefined)
    const headers = { authorization: `Bearer ${await issuer.token('d4')}` }
    const ofLate = () => ask(gatewayUrl(`/v1/artifacts/${lateHash}`), headers)
    const sent = [0, 1].map(() => request(gatewayUrl(`/v1/artifacts/${lateHash}`), { headers }).on('error', () => {}))
    for (const each of sent) each.end()
    await until('both are under way', async () => (await ofLate()).status === 429)
    for (const each of sent) each.destroy()
    // The listener hears of it before the cloud answers.
    await new Promise((resolve) => setTimeout(resolve, 50))
    answer()
    fake.answers = undefined
    await until('a place is free', async () => (await ofLate()).status === 200)
    expect((await Promise.all([ofLate(), ofLate()])).map(({ status }) => status)).toEqual([200, 200])
  })
})
