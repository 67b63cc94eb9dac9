import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SignJWT } from 'jose'
import { connectAsync, type MqttClient } from 'mqtt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../../cli/story/free-port.ts'
import { ed25519FromSeed } from '../../../cloud/trust/ed25519.ts'
import { hexToBytes } from '../../../contract/bytes.ts'
import { kinglet, Running } from './cli-process.ts'
import { until } from './gateway-harness.ts'

/** What an operator does when a credential is stolen, with the commands, against a cloud and a gateway that run. */
const dir = mkdtempSync(join(tmpdir(), 'kinglet-ends-'))
const path = (...parts: string[]) => join(dir, ...parts)
let cloud: Running
let gateway: Running
let cloudUrl = ''
let httpUrl = ''
let mqttPort = 0
const read = (...parts: string[]) => readFileSync(path(...parts), 'utf8').trim()
const operator = (tokenFile = path('cloud/operator.token')) => ['--cloud', cloudUrl, '--token-file', tokenFile]
const status = async (token: string, route = '/v1/tokens') =>
  (await fetch(cloudUrl + route, { headers: { authorization: `Bearer ${token}` } })).status
const post = async (token: string, route: string, body: unknown) => {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const response = await fetch(cloudUrl + route, { method: 'POST', headers, body: JSON.stringify(body) })
  // biome-ignore lint/suspicious/noExplicitAny: the shape is what the tests check
  return { status: response.status, json: (await response.json()) as any }
}
const ready = async (url: string) => {
  const response = await fetch(`${url}/readyz`)
  return { status: response.status, text: await response.text() }
}
const answers = (url: string) => until(url, async () => (await fetch(url).catch(() => undefined))?.ok === true)

/** By who has the seed and needs no cloud. */
const forged = (seed: string, audience: string, subject: string, claims: object, kid: string) =>
  new SignJWT({ ...claims })
    .setProtectedHeader({ alg: 'EdDSA', kid })
    .setSubject(subject)
    .setIssuer('kinglet-cloud')
    .setAudience(audience)
    .setJti('ab'.repeat(16))
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(ed25519FromSeed(hexToBytes(seed)))
const kidOf = async () =>
  ((await (await fetch(`${cloudUrl}/v1/keys`)).json()) as { jwks: { keys: { kid: string }[] } }).jwks.keys[0]!.kid
const connect = (device: string, password: string): Promise<MqttClient> =>
  connectAsync(`mqtt://127.0.0.1:${mqttPort}`, { clientId: device, username: device, password, reconnectPeriod: 0 })

beforeAll(async () => {
  cloudUrl = `http://127.0.0.1:${await freePort()}`
  cloud = new Running(['cloud', 'run', '--data', path('cloud'), '--port', new URL(cloudUrl).port])
  await answers(`${cloudUrl}/healthz`)
  await kinglet(
    'token',
    'make',
    ...operator(),
    '--role',
    'gateway',
    '--subject',
    'gateway-1',
    '--site',
    'lab',
    '-o',
    path('gateway.token'),
  )
  mqttPort = await freePort()
  httpUrl = `http://127.0.0.1:${await freePort()}`
  gateway = new Running([
    ...['gateway', 'run', '--data', path('gateway'), '--cloud', cloudUrl, '--token-file', path('gateway.token')],
    ...['--mqtt-port', String(mqttPort), '--ws-port', String(await freePort()), '--site', 'lab'],
    ...['--http-port', new URL(httpUrl).port],
  ])
  await answers(`${httpUrl}/readyz`)
})
afterAll(async () => {
  await Promise.all([gateway?.stop('SIGKILL'), cloud?.stop('SIGKILL')])
  rmSync(dir, { recursive: true, force: true })
})

describe('a stolen operator token', () => {
  it('mints nothing that lasts longer than itself, and what it minted ends with it', async () => {
    const short = await kinglet(
      ...['token', 'make', ...operator(), '--role', 'admin', '--subject', 'anna', '--ttl-hours', '72'],
      ...['-o', path('anna.token')],
    )
    expect(short.code, short.stderr).toBe(0)
    const anna = read('anna.token')
    const long = { subject: 'mallory', role: 'admin', ttlSeconds: 10 * 365 * 86_400 }
    expect(await post(anna, '/v1/tokens', long)).toMatchObject({ status: 403, json: { code: 'not-authorized' } })
    const mallory = await post(anna, '/v1/tokens', { subject: 'mallory', role: 'admin' })
    expect(mallory.status).toBe(200)
    expect(mallory.json.expiresMs - Date.now()).toBeLessThan(72.1 * 3_600_000)
    // A viewer mints nothing.
    const viewer = (await post(anna, '/v1/tokens', { subject: 'v', role: 'viewer' })).json.token
    expect((await post(viewer, '/v1/tokens', { subject: 'w', role: 'viewer' })).status).toBe(403)

    const listed = await kinglet('token', 'list', ...operator(), '--json')
    const rows = listed.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(rows.find(({ subject }) => subject === 'mallory')).toMatchObject({ role: 'admin', parentSubject: 'anna' })
    const first = await kinglet('token', 'revoke', 'anna', ...operator(), '--reason', 'stolen')
    expect(first.stdout).toMatch(
      /tokens of anna are refused from now on\n2 that anna has minted for others are good still/,
    )
    expect([await status(anna), await status(mallory.json.token)]).toEqual([401, 200])
    await kinglet('token', 'revoke', 'anna', ...operator(), '--minted', '--reason', 'stolen')
    expect([await status(mallory.json.token), await status(viewer, '/v1/alerts')]).toEqual([401, 401])
    expect((await kinglet('token', 'list', ...operator())).stdout).not.toMatch(/anna|mallory/)
    expect((await kinglet('token', 'list', ...operator(), '--all')).stdout).toMatch(/admin {2}mallory .* REVOKED/)
  })

  it('is ended alone by its name; a name that nobody has is said', async () => {
    const [one, other] = [
      await post(read('cloud/operator.token'), '/v1/tokens', { subject: 'ben', role: 'admin' }),
      await post(read('cloud/operator.token'), '/v1/tokens', { subject: 'ben', role: 'admin' }),
    ].map(({ json }) => json.token as string)
    const { jti } = JSON.parse(Buffer.from(one!.split('.')[1]!, 'base64url').toString()) as { jti: string }
    await kinglet('token', 'revoke', jti, ...operator(), '--reason', 'lost')
    expect([await status(one!), await status(other!)]).toEqual([401, 200])
    const none = await kinglet('token', 'revoke', 'f'.repeat(32), ...operator(), '--reason', 'lost')
    expect([none.code, none.stderr]).toEqual([1, expect.stringContaining('not-found: no service token')])
  })

  it('of the cloud’s folder ends when the file is deleted and the cloud is told to look', async () => {
    const stolen = read('cloud/operator.token')
    rmSync(path('cloud/operator.token'))
    cloud.child.kill('SIGHUP')
    await until('there is another', () => {
      try {
        return read('cloud/operator.token') !== ''
      } catch {
        return false
      }
    })
    expect([await status(stolen), await status(read('cloud/operator.token'))]).toEqual([401, 200])
    // What gateways have is theirs.
    expect(await status(read('gateway.token'), '/v1/revocations')).toBe(200)
  })
})

describe('the stolen seed of all tokens', () => {
  it('makes no service token; replaced, it lets no device in anywhere, ends those that are in, and the gateway says so', async () => {
    const seed = read('cloud/keys/tokens.seed')
    const kid = await kidOf()
    expect(await status(await forged(seed, 'kinglet-cloud', 'operator', { role: 'operator' }, kid))).toBe(401)
    const place = { site: 'lab', board: 'nrf5340' }
    const device = await forged(seed, 'kinglet-gateway', 'd-1', place, kid)
    const client = await connect('d-1', device)
    let isIn = true
    client.on('close', () => {
      isIn = false
    })
    expect((await ready(httpUrl)).status).toBe(200)

    writeFileSync(path('cloud/keys/tokens.seed'), '5a'.repeat(32))
    expect((await ready(cloudUrl)).text).toContain('token-key-replaced')
    cloud.child.kill('SIGHUP')
    await until('the cloud has taken it', async () => (await kidOf()) !== kid)
    expect((await ready(cloudUrl)).text).not.toContain('token-key-replaced')
    await until('the device is out', () => !isIn)
    await expect(connect('d-1', device)).rejects.toThrow(/Connection refused/)
    await until('the gateway is not ready', async () => (await ready(httpUrl)).text.includes('token-refused'))
    expect((await ready(httpUrl)).status).toBe(503)

    await until('there is a token to mint with', async () => (await status(read('cloud/operator.token'))) === 200)
    await kinglet(
      'token',
      'make',
      ...operator(),
      '--role',
      'gateway',
      '--subject',
      'gateway-1',
      '-o',
      path('next.token'),
    )
    writeFileSync(path('gateway.token'), `${read('next.token')}\n`)
    await until('the gateway is ready', async () => (await ready(httpUrl)).status === 200)
    const fresh = await forged('5a'.repeat(32), 'kinglet-gateway', 'd-1', place, await kidOf())
    await (await connect('d-1', fresh)).endAsync()
  }, 240_000)
})
