import type { ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import type { Result } from '../../../../contract/result.ts'
import { CloudClient, type CloudError } from '../../../../gateway/cloud-link/cloud-client.ts'
import { localServer } from '../../../fixtures/local-server.ts'

/** A cloud that says one thing. */
async function saying(answer: (response: ServerResponse) => void) {
  const server = await localServer((_request, response) => answer(response))
  return { ...server, client: new CloudClient(`${server.url}//`, 'secret') }
}
const body =
  (status: number, text: string, type = 'application/json') =>
  (response: ServerResponse) =>
    void response.writeHead(status, { 'content-type': type }).end(text)
const errorOf = <T>(result: Result<T, CloudError>) => (result.ok ? 'ok' : [result.error.code, result.error.status])

describe('a question', () => {
  it('goes to the path with the token, and the answer is JSON', async () => {
    const { client, requests } = await saying(body(200, '{"a":[1,"ü"]}'))
    expect(await client.getJson('/v1/keys?x=1', 100)).toEqual({ ok: true, value: { a: [1, 'ü'] } })
    expect(requests).toMatchObject([
      { method: 'GET', url: '/v1/keys?x=1', headers: { authorization: 'Bearer secret' } },
    ])
  })

  it('answered with as much as is allowed is read, with a byte more it is not', async () => {
    const { client } = await saying(body(200, '"12345678"'))
    expect(await client.getJson('/', 10)).toEqual({ ok: true, value: '12345678' })
    expect(errorOf(await client.getJson('/', 9))).toEqual(['too-large', 200])
  })

  it('answered with nothing is undefined; with no JSON it is unavailable', async () => {
    const { client } = await saying(body(200, ''))
    expect(await client.getJson('/', 10)).toEqual({ ok: true, value: undefined })
    const { client: other } = await saying(body(200, '<html>'))
    expect(errorOf(await other.getJson('/', 10))).toEqual(['unavailable', 200])
  })
})

describe('a refusal', () => {
  it('of the token stays one until a request that was made after it is answered', async () => {
    const open: ServerResponse[] = []
    const server = await localServer((request, response) => {
      if (request.url === '/wait') open.push(response)
      else response.writeHead(request.url === '/no' ? 401 : 200).end()
    })
    const heard: (boolean | undefined)[] = []
    const listener = { heard: (isRefused: boolean | undefined) => heard.push(isRefused), failed: () => undefined }
    const client = new CloudClient(server.url, 'secret', () => 0.5, listener)
    // A poll that was let in before the token ended, and is answered after.
    const poll = client.getJson('/wait', 10)
    await expect.poll(() => open.length).toBe(1)
    await client.getJson('/no', 10)
    open[0]?.writeHead(200).end()
    await poll
    await client.getJson('/yes', 10)
    expect(heard).toEqual([true, undefined, false])
  })

  it.each<[number, string, string]>([
    [409, '{"code":"conflict","detail":"why"}', 'conflict'],
    // What the body says wins over the status.
    [404, '{"code":"artifact-not-found"}', 'artifact-not-found'],
    [404, '', 'not-found'],
    [401, '<html>', 'not-authorized'],
    [403, '{"code":"no code of ours"}', 'not-authorized'],
    [429, '{}', 'rate-limited'],
    [500, 'null', 'unavailable'],
    [599, '', 'unavailable'],
    [400, '', 'invalid-request'],
    [418, '[]', 'invalid-request'],
    // Larger than any problem of ours: not read.
    [409, `{"code":"conflict","detail":"${'x'.repeat(4_096)}"}`, 'invalid-request'],
  ])('of status %d with %j is %s', async (status, text, code) => {
    const { client } = await saying(body(status, text))
    expect(errorOf(await client.getJson('/', 10))).toEqual([code, status])
    expect(errorOf(await client.postJson('/', Buffer.of()))).toEqual([code, status])
    expect(errorOf(await client.stream('/'))).toEqual([code, status])
  })

  it('names the path and not its query', async () => {
    const { client } = await saying(body(503, ''))
    const answer = await client.getJson('/v1/assignments?after=7', 10)
    expect(!answer.ok && answer.error.detail).toBe('GET /v1/assignments: HTTP 503')
  })

  it('to be sent elsewhere is none: the token goes nowhere else', async () => {
    const { client, requests } = await saying((response) => {
      response.writeHead(307, { location: '/elsewhere' }).end()
    })
    expect(errorOf(await client.getJson('/a', 10))).toEqual(['unavailable', undefined])
    expect(errorOf(await client.relay('/b', Buffer.of(), 10))).toEqual(['unavailable', undefined])
    expect(requests.map(({ url }) => url)).toEqual(['/a', '/b'])
  })
})

describe('a document', () => {
  it('is sent as it is; what is said beside "taken" is of no interest', async () => {
    const { client, requests } = await saying(body(200, 'x'.repeat(10_000)))
    expect(await client.postJson('/v1/ingest', Buffer.from('{"v":1}'))).toEqual({ ok: true, value: undefined })
    expect(requests[0]).toMatchObject({
      method: 'POST',
      url: '/v1/ingest',
      headers: { authorization: 'Bearer secret', 'content-type': 'application/json' },
    })
    expect(requests[0]?.body.toString()).toBe('{"v":1}')
  })
})

describe('a request that is relayed', () => {
  it('brings back what the cloud says, whether it likes it or not', async () => {
    const { client, requests } = await saying(body(403, '{"no":1}', 'application/problem+json'))
    expect(await client.relay('/v1/enrol', Buffer.from('ask'), 8)).toEqual({
      ok: true,
      value: { status: 403, type: 'application/problem+json', body: Buffer.from('{"no":1}') },
    })
    expect(requests[0]?.body.toString()).toBe('ask')
    expect(errorOf(await client.relay('/v1/enrol', Buffer.of(), 7))).toEqual(['too-large', 403])
  })

  it('has a type where the cloud names none', async () => {
    const { client } = await saying((response) => void response.writeHead(200).end('x'))
    expect(await client.relay('/', Buffer.of(), 10)).toMatchObject({ value: { type: 'application/octet-stream' } })
  })
})

describe('a stream', () => {
  const read = async (chunks: AsyncIterable<Uint8Array>) => {
    const all: Uint8Array[] = []
    for await (const chunk of chunks) all.push(chunk)
    return Buffer.concat(all).toString()
  }

  it('is the body as it arrives; no body is unavailable', async () => {
    const { client } = await saying((response) => {
      response.write('abc')
      response.end('def')
    })
    const answer = await client.stream('/v1/artifacts/x')
    expect(answer.ok && (await read(answer.value))).toBe('abcdef')
    const { client: other } = await saying(body(204, ''))
    expect(errorOf(await other.stream('/'))).toEqual(['unavailable', 204])
  })

  it('that breaks underway throws', async () => {
    const { client } = await saying((response) => {
      response.writeHead(200, { 'content-length': '100' })
      response.write('abc', () => response.destroy())
    })
    const answer = await client.stream('/')
    await expect(answer.ok && read(answer.value)).rejects.toThrow()
  })
})

describe('nobody there', () => {
  it('is unavailable, without a status, and says what went wrong below', async () => {
    const { client, close } = await saying(body(200, ''))
    await close()
    const answer = await client.getJson('/', 10)
    expect(errorOf(answer)).toEqual(['unavailable', undefined])
    expect(!answer.ok && answer.error.detail).toContain('ECONNREFUSED')
    expect(errorOf(await client.postJson('/', Buffer.of()))).toEqual(['unavailable', undefined])
    expect(errorOf(await client.relay('/', Buffer.of(), 10))).toEqual(['unavailable', undefined])
    expect(errorOf(await client.stream('/'))).toEqual(['unavailable', undefined])
  })

  it('after the end: what is under way is aborted, later requests fail', async () => {
    let asked = (): void => undefined
    const arrived = new Promise<void>((resolve) => {
      asked = resolve
    })
    const { client, requests } = await saying(() => asked())
    const underWay = client.getJson('/', 10)
    await arrived
    client.close()
    expect(errorOf(await underWay)).toEqual(['unavailable', undefined])
    expect(errorOf(await client.getJson('/', 10))).toEqual(['unavailable', undefined])
    expect(requests).toHaveLength(1)
  })
})
