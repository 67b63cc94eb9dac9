import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { MqttClient } from 'mqtt'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hexToBytes } from '../../../contract/bytes.ts'
import { type Block, blockCodec, getCodec } from '../../../contract/messages.ts'
import { type Gateway, startGateway } from '../../../gateway/gateway.ts'
import { GATEWAY_LIMITS, type GatewayOptions } from '../../../gateway/gateway-options.ts'
import {
  connectDevice,
  FakeCloud,
  gatewayOptions,
  report,
  tempDir,
  tokenIssuer,
  topic,
  until,
  wake,
} from './gateway-harness.ts'

let issuer: Awaited<ReturnType<typeof tokenIssuer>>
let cloud: FakeCloud
let gateway: Gateway
let dataDir: string
const clients: MqttClient[] = []

async function start(more: Partial<GatewayOptions> = {}): Promise<void> {
  gateway = await startGateway(gatewayOptions(cloud, dataDir, { jwks: issuer.jwks, ...more }))
}
async function device(name: string): Promise<MqttClient> {
  const client = await connectDevice(`mqtt://127.0.0.1:${gateway.mqttPort}`, name, await issuer.token(name))
  client.on('error', () => {})
  clients.push(client)
  return client
}
const count = (kind: string, outcome: string): number => gateway.stats().messages[kind]?.[outcome] ?? 0

beforeEach(async () => {
  issuer = await tokenIssuer()
  cloud = await new FakeCloud().start()
  dataDir = tempDir()
})
afterEach(async () => {
  for (const client of clients.splice(0)) client.end(true)
  await gateway.close()
  await cloud.stop()
})

describe('uplink', () => {
  it('keeps rows through the absence of the cloud and its own restart, then delivers each identity', async () => {
    await cloud.stop()
    await start()
    const client = await device('d1')
    for (let seq = 0; seq < 20; seq++) await client.publishAsync(topic('d1', 'report'), report(1, seq), { qos: 1 })
    await client.publishAsync(topic('d1', 'wake'), wake(1, 1, 90), { qos: 1 })
    await until('a failed post', () => count('uplink', 'unavailable') > 0)
    expect(gateway.stats().depths.spoolReports).toBe(20)
    await gateway.close()
    await start()
    expect(gateway.stats().depths.spoolReports).toBe(20)
    // Taken but unanswered: the same rows come again and change nothing.
    let lost = 0
    cloud.ingestFault = () => (lost++ < 2 ? 599 : undefined)
    await cloud.start()
    await until('an empty spool', () => gateway.stats().depths.spoolReports === 0)
    await until('the verdict', () => cloud.verdicts.size === 1)
    expect(cloud.reports.size).toBe(20)
    expect(cloud.rowsReceived).toBeGreaterThan(20)
    expect([...cloud.aggregates.values()].map((row) => row.wakes)).toEqual([20 * 3])
    expect([...cloud.aggregates.values()][0]!.confirmed).toBe(1)
  })

  it('drops only the row that the cloud refuses', async () => {
    cloud.ingestFault = (body) => {
      const { reports } = body as { reports: { seq: number }[] }
      return reports.some(({ seq }) => seq === 5) ? 400 : undefined
    }
    await start({ uplinkIntervalMs: 100 })
    const client = await device('d1')
    await Promise.all(
      Array.from({ length: 12 }, (_, seq) => client.publishAsync(topic('d1', 'report'), report(1, seq), { qos: 1 })),
    )
    await until('the rest', () => cloud.reports.size === 11 && gateway.stats().depths.spoolReports === 0)
    expect(count('uplink', 'refused')).toBe(1)
    expect(cloud.reports.has('d1/1/5')).toBe(false)
  })

  it('gives up superseded reports first when the spool is full', async () => {
    await cloud.stop()
    await start({ limits: { spool: { ...GATEWAY_LIMITS.spool, reportsMax: 600 } } })
    // Several, since each is read from more slowly after a thousand messages.
    const names = ['d1', 'd3', 'd4']
    const clients = await Promise.all(names.map((name) => device(name)))
    // One report each of 10 boots of another device, which nothing supersedes, come first and would be the oldest.
    const other = await device('d2')
    for (let boot = 1; boot <= 10; boot++) await other.publishAsync(topic('d2', 'report'), report(boot, 0), { qos: 1 })
    const sending: Promise<unknown>[] = []
    for (let seq = 0; seq < 900; seq++)
      for (const [i, client] of clients.entries())
        sending.push(client.publishAsync(topic(names[i]!, 'report'), report(1, seq), { qos: 1 }))
    await Promise.all(sending)
    expect(gateway.stats().depths.spoolReports).toBeLessThanOrEqual(600 + 1_024)
    expect(count('spool', 'superseded')).toBeGreaterThan(1_000)
    await cloud.start()
    await until('an empty spool', () => gateway.stats().depths.spoolReports === 0)
    expect([...cloud.reports.keys()].filter((key) => key.startsWith('d2'))).toHaveLength(10)
    for (const name of names) expect(cloud.reports.get(`${name}/1/899`)).toBeDefined()
    await until('exact sums', () => [...cloud.aggregates.values()].some((row) => row.wakes === 3 * 2_700 + 10 * 3))
  })
})

describe('artifacts', () => {
  const artifact = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 31) >> 3)
  const hash = createHash('sha256').update(artifact).digest('hex')
  const ask = (client: MqttClient, name: string, offset: number, length = 4_096, sha256 = hash) => {
    const answer = new Promise<Block>((resolve) => {
      client.once('message', (at, payload) => {
        const block = blockCodec.decode(payload)
        if (!block.ok) throw new Error(block.error.code)
        expect(at).toBe(topic(name, `block/${sha256}`))
        resolve(block.value)
      })
    })
    client.publish(topic(name, 'get'), Buffer.from(getCodec.encode({ sha256: hexToBytes(sha256), offset, length })), {
      qos: 0,
    })
    return answer
  }
  const fetches = () => cloud.requests.filter((request) => request.startsWith('GET /v1/artifacts/')).length

  it('fetches once for many devices and serves every byte', async () => {
    cloud.artifacts.set(hash, artifact)
    await start()
    const names = ['d1', 'd2', 'd3', 'd4', 'd5']
    const downloads = names.map(async (name) => {
      const client = await device(name)
      await client.subscribeAsync(topic(name, `block/${hash}`))
      const parts: Uint8Array[] = []
      for (let offset = 0; offset < artifact.length; offset += 4_096) {
        const block = await ask(client, name, offset)
        expect(block).toMatchObject({ offset, totalBytes: artifact.length, error: undefined })
        parts.push(block.data!)
      }
      return Buffer.concat(parts)
    })
    for (const download of await Promise.all(downloads)) expect(download.equals(artifact)).toBe(true)
    expect(fetches()).toBe(1)
    expect(readdirSync(join(dataDir, 'artifacts'))).toEqual([hash])
    const client = clients.find(({ options }) => options.clientId === 'd1')!
    expect(await ask(client, 'd1', artifact.length)).toMatchObject({ error: 'invalid-request', data: undefined })
    expect(await ask(client, 'd1', 0, 0)).toMatchObject({ totalBytes: artifact.length, data: new Uint8Array(0) })
  })

  it('answers with codes: unknown, not what its name says, too large, cloud away, too many requests', async () => {
    const [unknown, wrong, large] = ['11', '22', '33'].map((byte) => byte.repeat(32))
    cloud.artifacts.set(wrong!, artifact)
    cloud.artifacts.set(large!, new Uint8Array(4 * 1024 * 1024 + 1))
    await start({ limits: { blocks: { concurrent: 2, perSecond: 0.001, burst: 6 } } })
    const client = await device('d1')
    await client.subscribeAsync(topic('d1', '#'))
    expect((await ask(client, 'd1', 0, 10, unknown)).error).toBe('artifact-not-found')
    expect((await ask(client, 'd1', 0, 10, unknown)).error).toBe('artifact-not-found')
    expect(fetches()).toBe(1)
    expect((await ask(client, 'd1', 0, 10, wrong)).error).toBe('hash-mismatch')
    expect((await ask(client, 'd1', 0, 10, large)).error).toBe('too-large')
    await cloud.stop()
    expect((await ask(client, 'd1', 0, 10, hash)).error).toBe('unavailable')
    await cloud.start()
    cloud.artifacts.set(hash, artifact)
    expect((await ask(client, 'd1', 0, 10, hash)).error).toBe(undefined)
    expect((await ask(client, 'd1', 0, 10, hash)).error).toBe('rate-limited')
    expect(readdirSync(join(dataDir, 'artifacts'))).toEqual([hash])
  })

  it('refuses a third request of a device while two are under way', async () => {
    cloud.artifacts.set(hash, artifact)
    await start({ limits: { blocks: { concurrent: 2, perSecond: 100, burst: 100 } } })
    const client = await device('d1')
    await client.subscribeAsync(topic('d1', '#'))
    const errors: (string | undefined)[] = []
    client.on('message', (_at, payload) => {
      const block = blockCodec.decode(payload)
      if (block.ok) errors.push(block.value.error)
    })
    for (let i = 0; i < 3; i++)
      client.publish(
        topic('d1', 'get'),
        Buffer.from(getCodec.encode({ sha256: hexToBytes(hash), offset: i, length: 1 })),
      )
    await until('three answers', () => errors.length === 3)
    expect(errors.sort()).toEqual(['rate-limited', undefined, undefined])
  })

  it('serves from disk without the cloud, and fetches anew what rotted there', async () => {
    mkdirSync(join(dataDir, 'artifacts'), { recursive: true })
    writeFileSync(join(dataDir, 'artifacts', hash), artifact)
    writeFileSync(join(dataDir, 'artifacts', `.${hash}.cut`), 'half')
    await start()
    let client = await device('d1')
    await client.subscribeAsync(topic('d1', '#'))
    expect((await ask(client, 'd1', 50, 10)).data).toEqual(artifact.slice(50, 60))
    expect(fetches()).toBe(0)
    expect(readdirSync(join(dataDir, 'artifacts'))).toEqual([hash])
    await gateway.close()
    const rotten = Buffer.from(artifact)
    rotten[77]! ^= 1
    writeFileSync(join(dataDir, 'artifacts', hash), rotten)
    cloud.artifacts.set(hash, artifact)
    await start()
    client = await device('d1')
    await client.subscribeAsync(topic('d1', '#'))
    expect((await ask(client, 'd1', 70, 10)).data).toEqual(artifact.slice(70, 80))
    expect(count('artifact', 'corrupt')).toBe(1)
    expect(readFileSync(join(dataDir, 'artifacts', hash)).equals(artifact)).toBe(true)
  })

  describe('over HTTP', () => {
    const read = async (name: string, headers: Record<string, string> = {}, sha256 = hash, method = 'GET') => {
      const url = `http://127.0.0.1:${gateway.httpPort}/v1/artifacts/${sha256}`
      const authorization = `Bearer ${await issuer.token(name)}`
      const response = await fetch(url, { method, headers: { authorization, ...headers } })
      const body = new Uint8Array(await response.arrayBuffer())
      const code = response.ok ? undefined : (JSON.parse(new TextDecoder().decode(body)) as { code: string }).code
      return { status: response.status, headers: response.headers, body, code }
    }

    it('serves the whole, ranges of it, and says what cannot be served', async () => {
      cloud.artifacts.set(hash, artifact)
      await start()
      const whole = await read('d1')
      expect(whole).toMatchObject({ status: 200, body: artifact })
      expect(whole.headers.get('etag')).toBe(`"${hash}"`)
      expect(whole.headers.get('accept-ranges')).toBe('bytes')
      for (const [range, from, to] of [
        ['bytes=0-0', 0, 1],
        ['bytes=4096-8191', 4_096, 8_192],
        ['bytes=99000-', 99_000, 100_000],
        ['bytes=99000-999999', 99_000, 100_000],
        ['bytes=-10', 99_990, 100_000],
        ['bytes=-999999', 0, 100_000],
      ] as const) {
        const part = await read('d1', { range })
        expect(part).toMatchObject({ status: 206, body: artifact.slice(from, to) })
        expect(part.headers.get('content-range')).toBe(`bytes ${from}-${to - 1}/100000`)
      }
      for (const range of ['bytes=100000-', 'bytes=-0', 'bytes=100000-100001']) {
        const none = await read('d1', { range })
        expect([none.status, none.headers.get('content-range')]).toEqual([416, 'bytes */100000'])
      }
      // Several ranges, another unit, or what is no range: the whole, as the standard allows.
      for (const range of ['bytes=0-1,5-6', 'lines=0-1', 'bytes=5-4', 'bytes=a-b', 'bytes=-']) {
        expect(await read('d1', { range })).toMatchObject({ status: 200, body: artifact })
      }
      expect((await read('d1', { range: 'bytes=5-9', 'if-range': `"${hash}"` })).status).toBe(206)
      expect((await read('d1', { range: 'bytes=5-9', 'if-range': '"another"' })).status).toBe(200)
      expect(await read('d1', {}, '11'.repeat(32))).toMatchObject({ status: 404, code: 'artifact-not-found' })
      expect(await read('d1', {}, '..%2f..%2fkeys')).toMatchObject({ status: 400 })
      expect(await read('d1', {}, hash, 'POST')).toMatchObject({ status: 405 })
      expect(fetches()).toBe(2)
    })

    it('to nobody without a token of a device', async () => {
      cloud.artifacts.set(hash, artifact)
      await start()
      const expired = await issuer.token('d1', { expSeconds: Math.floor(Date.now() / 1000) - 60 })
      const foreign = await (await tokenIssuer()).token('d1')
      for (const [authorization, code] of [
        ['', 'token-invalid'],
        ['Bearer x', 'token-invalid'],
        [`Bearer ${expired}`, 'token-expired'],
        [`Bearer ${foreign}`, 'token-invalid'],
        [`Bearer ${await issuer.token('d1', { aud: 'kinglet-cloud' })}`, 'token-invalid'],
      ] as const) {
        expect(await read('d1', { authorization })).toMatchObject({ status: 401, code })
      }
      expect(fetches()).toBe(0)
    })

    it('under the allowance of blocks: a range costs as many as it has', async () => {
      cloud.artifacts.set(hash, artifact)
      await start({ limits: { blocks: { concurrent: 2, perSecond: 0.001, burst: 30 } } })
      expect((await read('d1')).status).toBe(200)
      // 25 of 30; the next is let in and takes more than is left, and that is the end of it.
      expect((await read('d1')).status).toBe(200)
      const refused = await read('d1', { range: 'bytes=0-0' })
      expect(refused).toMatchObject({ status: 429, code: 'rate-limited' })
      expect(refused.headers.get('retry-after')).toBe('1')
      const client = await device('d1')
      await client.subscribeAsync(topic('d1', '#'))
      expect((await ask(client, 'd1', 0)).error).toBe('rate-limited')
      expect((await read('d2')).status).toBe(200)
    })

    it('one fetch for many devices, over both ways, before and after a restart', async () => {
      cloud.artifacts.set(hash, artifact)
      await start()
      const names = Array.from({ length: 20 }, (_, i) => `d${i}`)
      const client = await device('d99')
      await client.subscribeAsync(topic('d99', '#'))
      const all = await Promise.all([ask(client, 'd99', 0), ...names.map((name) => read(name))])
      expect(all.slice(1).every((answer) => 'status' in answer && answer.status === 200)).toBe(true)
      expect(fetches()).toBe(1)
      await gateway.close()
      await start()
      expect(await read('d1')).toMatchObject({ status: 200, body: artifact })
      expect(fetches()).toBe(1)
    })
  })

  it('to all devices together no more than the gateway may: bytes a second, requests at a time', async () => {
    cloud.artifacts.set(hash, artifact)
    const downloads = { concurrent: 3, bytesPerSecond: 0.001, burstBytes: 10_000 }
    await start({ limits: { downloads } })
    const [a, b] = [await device('d1'), await device('d2')]
    await a.subscribeAsync(topic('d1', '#'))
    await b.subscribeAsync(topic('d2', '#'))
    const errors: (string | undefined)[] = []
    const note = (_at: string, payload: Buffer) => {
      const block = blockCodec.decode(payload)
      if (block.ok) errors.push(block.value.error)
    }
    a.on('message', note)
    const get = Buffer.from(getCodec.encode({ sha256: hexToBytes(hash), offset: 0, length: 1 }))
    // The first ones wait for the cloud together.
    for (let i = 0; i < 4; i++) a.publish(topic('d1', 'get'), get)
    await until('four answers', () => errors.length === 4)
    expect(errors.sort()).toEqual(['rate-limited', undefined, undefined, undefined])
    a.off('message', note)
    // What is below half of what was saved up is shared out by the second, and these seconds bring nothing.
    for (let i = 0; i < 2; i++) expect((await ask(i % 2 ? a : b, i % 2 ? 'd1' : 'd2', 0)).error).toBe(undefined)
    for (const [client, name] of [
      [a, 'd1'],
      [b, 'd2'],
    ] as const) {
      expect((await ask(client, name, 0)).error).toBe('rate-limited')
    }
  })

  it('evicts the least recently used past its bytes', async () => {
    const artifacts = [1, 2, 3].map((seed) => Uint8Array.from({ length: 50_000 }, (_, i) => (i * seed) >> 2))
    const hashes = artifacts.map((content) => createHash('sha256').update(content).digest('hex'))
    artifacts.forEach((content, i) => void cloud.artifacts.set(hashes[i]!, content))
    await start({ limits: { artifacts: { totalBytes: 120_000, memoryBytes: 1, fetches: 4 } } })
    const client = await device('d1')
    await client.subscribeAsync(topic('d1', '#'))
    for (const i of [0, 1, 0, 2]) expect((await ask(client, 'd1', 0, 1, hashes[i])).error).toBe(undefined)
    expect(readdirSync(join(dataDir, 'artifacts')).sort()).toEqual([hashes[0]!, hashes[2]!].sort())
  })
})

describe('keys of device tokens', () => {
  it('that the cloud has replaced end the connections they let in, and no others', async () => {
    const second = await tokenIssuer('k2')
    cloud.jwks = { keys: [...issuer.jwks.keys, ...second.jwks.keys] }
    gateway = await startGateway(gatewayOptions(cloud, dataDir, { revocationPollMs: 50 }))
    const stays = await connectDevice(`mqtt://127.0.0.1:${gateway.mqttPort}`, 'd2', await second.token('d2'))
    clients.push(stays)
    const ended = await device('d1')
    let isIn = true
    ended.on('close', () => {
      isIn = false
    })
    cloud.jwks = second.jwks
    await until('the connection ends', () => !isIn)
    expect([stays.connected, count('connection', 'key-replaced')]).toEqual([true, 1])
    await expect(
      connectDevice(`mqtt://127.0.0.1:${gateway.mqttPort}`, 'd3', await issuer.token('d3')),
    ).rejects.toThrow()
  })
})
