import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type TLSSocket } from 'node:tls'
import { connectAsync } from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { seededRandom } from '../../../contract/random.ts'
import { type Gateway, startGateway } from '../../../gateway/gateway.ts'
import type { GatewayOptions } from '../../../gateway/gateway-options.ts'
import { IdentityWorld, secureRandom } from '../../fixtures/identity-world.ts'
import { fakeEngine, quietLogger, tempDir, until } from './gateway-harness.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const dir = mkdtempSync(join(tmpdir(), 'kinglet-life-'))
const file = (name: string) => join(dir, name)
let world: IdentityWorld
let gateway: Gateway | undefined
beforeAll(async () => {
  world = await new IdentityWorld().start()
})
afterAll(async () => {
  await world.stop()
  rmSync(dir, { recursive: true })
})
afterEach(async () => {
  await gateway?.close()
  gateway = undefined
})

async function start(more: Partial<GatewayOptions> = {}): Promise<Gateway> {
  gateway = await startGateway({
    ...{ dataDir: tempDir(), cloudUrl: world.cloud.url, clock: world.clock, secureRandom, storeInProcess: true },
    ...{ random: seededRandom(1), logger: quietLogger, uplinkIntervalMs: 20, revocationPollMs: 50 },
    ...{ assignmentWaitSeconds: 1, assignmentIdleMs: 100 },
    ...more,
  })
  return gateway
}
async function mint(name: string, days = 30, subject = 'gateway-1'): Promise<string> {
  const { json } = await world.call('POST', '/v1/tokens', {
    ...{ subject, role: 'gateway', sites: ['lab'], ttlSeconds: days * 86_400 },
  })
  writeFileSync(file(name), `${json.token}\n`, { mode: 0o600 })
  return json.token
}
const tokenIn = (name: string) => readFileSync(file(name), 'utf8').trim()
const isTaken = async (token: string) => (await world.call('GET', '/v1/revocations', undefined, token)).status === 200
const get = async (path: string) => {
  const response = await fetch(`http://127.0.0.1:${gateway!.httpPort}${path}`)
  return { status: response.status, text: await response.text() }
}
const ready = async () => JSON.parse((await get('/readyz')).text)

describe('a service token', () => {
  it('is renewed for as long as the gateway runs, in its file', async () => {
    const first = await mint('a.token')
    await start({ serviceTokenFile: file('a.token') })
    let changes = 0
    let before = first
    for (let day = 0; day < 100; day++) {
      world.clock.aheadMs += DAY
      await gateway!.reload()
      const now = tokenIn('a.token')
      if (now !== before) changes++
      before = now
      expect([day, await isTaken(now)]).toEqual([day, true])
    }
    // At 0.7 of thirty days each.
    expect(changes).toBe(4)
    expect(await isTaken(first)).toBe(false)
    expect(statSync(file('a.token')).mode & 0o777).toBe(0o600)
    const { json } = await world.call('GET', '/v1/audit')
    const renewals = json.entries.filter(({ action }: { action: string }) => action === 'token.renewed')
    expect(renewals).toHaveLength(4)
    expect(renewals[0]).toMatchObject({ actor: 'gateway-1', subject: 'gateway-1', detail: { role: 'gateway' } })
    // The clock was moved on: the cloud is heard after that.
    await until('it is ready', async () => (await ready()).ready)
    expect(await ready()).toEqual({ ready: true, reasons: [], warnings: [] })
  })

  it('is renewed in the last third of its life only, whosever it is, and while it is not revoked', async () => {
    const renew = (token: string) => world.call('POST', '/v1/tokens/renew', {}, token)
    const young = await mint('b.token', 30, 'gateway-b')
    const early = await renew(young)
    expect([early.status, early.json.code]).toEqual([409, 'conflict'])
    expect(Number(early.headers.get('retry-after'))).toBeGreaterThan(19 * 86_400)
    const viewer = (await world.call('POST', '/v1/tokens', { subject: 'v', role: 'viewer', ttlSeconds: 30 * 86_400 }))
      .json
    world.clock.aheadMs += 21 * DAY
    const { status, json } = await renew(young)
    expect(status).toBe(200)
    expect(json.expiresMs - world.clock.wallMs()).toBeGreaterThan(29.9 * DAY)
    // The old one stays good: what has it in memory must not go dark.
    expect([await isTaken(young), await isTaken(json.token)]).toEqual([true, true])
    expect((await renew(viewer.token)).status).toBe(200)
    expect((await renew(world.cloud.operatorToken)).status).toBe(409)
    const revoked = await world.call('POST', '/v1/tokens/revoke', { subject: 'gateway-b', reason: 'stolen' })
    expect(revoked.status).toBe(200)
    world.clock.aheadMs += 1
    expect([(await renew(young)).status, await isTaken(json.token)]).toEqual([401, false])
    expect(await isTaken(await mint('b2.token', 30, 'gateway-b'))).toBe(true)
  })

  it('that somebody puts into the file is in use at once, also through a link; what is no token is not', async () => {
    await mint('c.token')
    symlinkSync(file('c.token'), file('link.token'))
    await start({ serviceTokenFile: file('link.token') })
    await world.call('POST', '/v1/tokens/revoke', { subject: 'gateway-1', reason: 'test' })
    world.clock.aheadMs += 1
    await until('it is refused', async () => (await ready()).reasons[0]?.code === 'token-refused')
    writeFileSync(file('c.token'), 'not yet')
    await gateway!.reload()
    expect(await ready()).toMatchObject({ ready: false })
    await mint('d.token')
    renameSync(file('d.token'), file('c.token'))
    await until('it is ready', async () => (await ready()).ready)
  })

  it('without a file is renewed in memory; expired it is named', async () => {
    const token = await mint('e.token', 3)
    await start({ serviceToken: token })
    world.clock.aheadMs += 2.5 * DAY
    await gateway!.reload()
    world.clock.aheadMs += 1 * DAY
    expect(await isTaken(token)).toBe(false)
    await until('the cloud is heard with the new one', async () => (await ready()).ready)
    await gateway!.close()
    await start({ serviceToken: token })
    expect((await ready()).reasons).toMatchObject([{ code: 'token-expired' }])
    // Alive it is all the same.
    expect((await get('/healthz')).status).toBe(200)
    expect((await get('/readyz')).status).toBe(503)
    expect((await get('/metrics')).text).toMatch(/kinglet_expiry_seconds\{what="service-token"\} -4\d{4}/)
  })
})

describe('what was stolen of the cloud’s folder', () => {
  it('an operator token mints nothing that outlives it, and is good for nothing once its file is deleted', async () => {
    const operator = world.cloud.operatorToken
    const week = { subject: 'anna', role: 'admin', ttlSeconds: 7 * 86_400 }
    const anna = (await world.call('POST', '/v1/tokens', week)).json.token
    const wish = { subject: 'mallory', role: 'viewer' }
    const longer = await world.call('POST', '/v1/tokens', { ...wish, ttlSeconds: 8 * 86_400 }, anna)
    expect([longer.status, longer.json.code]).toEqual([403, 'not-authorized'])
    const minted = await world.call('POST', '/v1/tokens', wish, anna)
    expect([minted.status, minted.json.expiresMs - world.clock.wallMs() <= 7 * DAY]).toEqual([200, true])

    rmSync(join(world.dir, 'cloud/operator.token'))
    await world.cloud.reload()
    expect((await world.call('GET', '/v1/tokens', undefined, operator)).status).toBe(401)
    expect((await world.call('GET', '/v1/tokens', undefined, anna)).status).toBe(200)
    const { entries } = (await world.call('GET', '/v1/audit')).json
    expect(entries[0]).toMatchObject({ actor: 'kinglet', action: 'token.revoked', subject: 'operator' })
  })

  it('the seed of tokens, replaced, lets nobody in or stay in, and a gateway is not ready until it has a token', async () => {
    const [row] = (await world.call('POST', '/v1/devices', [{ device: 'd-1', site: 'lab', board: 'board-a' }])).json
      .devices
    await mint('s.token')
    await start({ serviceTokenFile: file('s.token') })
    const options = { clientId: 'd-1', username: 'd-1', password: row.token, reconnectPeriod: 0 }
    const url = `mqtt://127.0.0.1:${gateway!.mqttPort}`
    const device = await connectAsync(url, options)
    const left = new Promise<void>((resolve) => device.once('close', () => resolve()))
    writeFileSync(join(world.dir, 'cloud/keys/tokens.seed'), 'no seed')
    await expect(world.cloud.reload()).rejects.toThrow(/holds no key/)
    expect(await isTaken(tokenIn('s.token'))).toBe(true)
    writeFileSync(join(world.dir, 'cloud/keys/tokens.seed'), '5a'.repeat(32))
    await world.cloud.reload()
    await left
    await expect(connectAsync(url, options)).rejects.toThrow(/Connection refused/)
    await until('it is refused', async () => (await ready()).reasons[0]?.code === 'token-refused')
    // Answers that need no token, such as the keys that are asked for all the time, say nothing of it.
    for (let i = 0; i < 20; i++) {
      expect(await ready()).toMatchObject({ ready: false })
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await mint('s.token')
    await gateway!.reload()
    await until('it is ready', async () => (await ready()).ready)
  })
})

describe('certificates', () => {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe', cwd: dir })
  const issue = (name: string, days = '30') =>
    openssl(
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', days],
      ...['-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.pem`],
    )
  const use = (name: string) => {
    writeFileSync(file('tls.pem'), readFileSync(file(`${name}.pem`)))
    writeFileSync(file('tls.key'), readFileSync(file(`${name}.key`)))
  }
  const open = (port: number) =>
    new Promise<TLSSocket>((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => resolve(socket))
      socket.once('error', reject)
    })
  const nameAt = async (port: number) => {
    const socket = await open(port)
    const { CN } = socket.getPeerCertificate().subject
    socket.destroy()
    return CN
  }

  it('that change are in use for new connections at both ports, and no connection ends; what does not fit is refused', async () => {
    issue('old')
    issue('new')
    use('old')
    const token = await mint('f.token')
    const { mqttPort, wsPort } = await start({
      serviceToken: token,
      tlsFiles: { cert: file('tls.pem'), key: file('tls.key') },
    })
    expect([await nameAt(mqttPort), await nameAt(wsPort)]).toEqual(['old', 'old'])
    const held = await open(mqttPort)
    let ended = false
    held.once('close', () => {
      ended = true
    })
    writeFileSync(file('tls.pem'), readFileSync(file('new.pem')))
    await gateway!.reload()
    expect([await nameAt(mqttPort), (await ready()).warnings]).toMatchObject([
      'old',
      [{ code: 'certificate-unusable' }],
    ])
    use('new')
    await gateway!.reload()
    expect([await nameAt(mqttPort), await nameAt(wsPort), (await ready()).warnings]).toEqual(['new', 'new', []])
    expect(ended).toBe(false)
    held.destroy()
    expect((await get('/metrics')).text).toMatch(/kinglet_expiry_seconds\{what="certificate"\} -?\d+/)
  })

  it('that cannot be used stop a start, with file and cause', async () => {
    issue('one')
    issue('two')
    const files = { cert: file('one.pem'), key: file('two.key') }
    await expect(start({ serviceToken: 'a', tlsFiles: files })).rejects.toThrow(
      /one\.pem and .*two\.key are no certificate/,
    )
    await expect(start({ serviceToken: 'a', tlsFiles: { ...files, key: file('none.key') } })).rejects.toThrow(
      /none\.key/,
    )
  })
})

describe('readiness', () => {
  it('names a full disk, and metrics answer all the same', async () => {
    const dataDir = tempDir()
    await start({ serviceToken: await mint('g.token'), dataDir })
    symlinkSync('/dev/full', join(dataDir, '.probe'))
    expect(await ready()).toMatchObject({ ready: false, reasons: [{ code: 'disk-full' }] })
    expect((await get('/metrics')).text).toMatch(/kinglet_gateway_store_readable 1/)
  })

  it('names a verifier that fails on everything', async () => {
    const engine = fakeEngine()
    const failing = {
      ...engine,
      load: async (graph: Uint8Array) => {
        const loaded = await engine.load(graph)
        if (!loaded.ok) return loaded
        const run = async () => ({ ok: false, error: { code: 'engine-run-failed', detail: 'no' } }) as const
        return { ok: true, value: { ...loaded.value, run } } as const
      },
    }
    const { WatchedEngine } = await import('../../../gateway/verifier-watch.ts')
    const watched = new WatchedEngine(failing, world.clock)
    const session = await watched.load(Uint8Array.of(1))
    if (!session.ok) throw new Error('not loaded')
    for (let i = 0; i < 3; i++) await session.value.run(new Float32Array(490))
    expect(watched.trouble).toMatch(/3 runs failed, the last with engine-run-failed: no/)
  })

  it('names a cloud that has not answered for long, in the log at once', async () => {
    const said: string[] = []
    const logger = { ...quietLogger, warn: (_: object, message: string) => void said.push(message) }
    const nobody = 'http://127.0.0.1:1'
    await start({ serviceToken: await mint('h.token'), cloudUrl: nobody, logger })
    await until('it is said', () => said.some((line) => line.startsWith('the cloud does not answer')))
    expect(await ready()).toMatchObject({ ready: true })
    world.clock.aheadMs += 11 * 60_000
    expect((await ready()).reasons).toMatchObject([
      { code: 'cloud-unreachable', detail: expect.stringMatching(/for 11 min/) },
    ])
    await gateway!.close()
    gateway = undefined
    await expect(start({ serviceToken: 'a', cloudUrl: 'nonsense' })).rejects.toThrow(
      /"nonsense" is no address of a cloud/,
    )
  })
})
