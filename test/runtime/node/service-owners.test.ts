import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { IdentityWorld } from '../../fixtures/identity-world.ts'
import { until } from './gateway-harness.ts'

const ROOT = join(import.meta.dirname, '../../..')
const SCRIPT = join(ROOT, 'dist/cli/kinglet.js')
const dir = mkdtempSync(join(tmpdir(), 'kinglet-owners-'))
const path = (name: string) => join(dir, name)
const world = new IdentityWorld()
const children: ChildProcess[] = []

beforeAll(() => world.start())
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})
afterAll(async () => {
  await world.stop()
  rmSync(dir, { recursive: true })
})

function kinglet(...args: string[]) {
  const child = spawn(process.execPath, [SCRIPT, ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
  children.push(child)
  const out = { text: '' }
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (out.text += chunk.toString()))
  const ended = once(child, 'exit').then(([code]) => ({ code: code as number | null, text: out.text }))
  return { child, out, ended }
}
const CLOUD = () => ['cloud', 'run', '--data', path('cloud'), '--port', '0']
const GATEWAY = (...more: string[]) => [
  ...['gateway', 'run', '--data', path('gateway'), '--cloud', world.cloud.url, '--token-file', path('gateway.token')],
  ...['--mqtt-port', '0', '--ws-port', '0', '--http-port', '0', ...more],
]
async function token(name: string): Promise<void> {
  const body = { subject: 'gateway-1', role: 'gateway', sites: ['lab'] }
  const { json } = await world.call('POST', '/v1/tokens', body)
  writeFileSync(path(name), json.token)
}

describe('a folder and a flash have one owner', () => {
  it.each([
    ['cloud', CLOUD, 'cloud is up'],
    ['gateway', GATEWAY, 'gateway listens'],
  ] as const)(
    'a second %s is refused at once and named whom; after kill -9 the next one runs',
    async (_, args, up) => {
      await token('gateway.token')
      const first = kinglet(...args())
      await until(up, () => first.out.text.includes(up))
      const second = await kinglet(...args()).ended
      expect(second.code).toBe(1)
      expect(second.text).toMatch(new RegExp(`is in use by process ${first.child.pid} on `))
      expect(first.child.exitCode).toBe(null)
      first.child.kill('SIGKILL')
      await first.ended
      const third = kinglet(...args())
      await until(up, () => third.out.text.includes(up))
      third.child.kill('SIGTERM')
      expect((await third.ended).code).toBe(0)
    },
    120_000,
  )

  it('rotate-key and a second agent are refused while a device runs on the flash', async () => {
    writeFileSync(path('claim.json'), JSON.stringify(await world.claim('robin-1', { board: 'NUCLEO-U575ZI' })))
    const bundle = join(ROOT, 'zoo/bundles/kws-1.kinglet')
    const flash = ['--flash', path('robin.flash')]
    const claim = ['--claim-file', path('claim.json')]
    const enrolled = await kinglet(
      'device',
      'enroll',
      ...flash,
      ...claim,
      '--cloud',
      world.cloud.url,
      '--bundle',
      bundle,
    ).ended
    expect(enrolled.code, enrolled.text).toBe(0)
    writeFileSync(path('root.json'), readFileSync(await rootFile()))
    const run = () =>
      kinglet(
        ...['device', 'run', ...flash, '--gateway', 'mqtt://127.0.0.1:1', '--cloud', world.cloud.url, '--audio', '-'],
        ...['--trust', path('root.json'), '--bundle', bundle, '--json'],
      )
    const running = run()
    await until('it runs', () => running.out.text.includes('"booted"'))
    for (const refused of [kinglet('device', 'rotate-key', ...flash, '--cloud', world.cloud.url), run()]) {
      const { code, text } = await refused.ended
      expect([code, text]).toEqual([1, expect.stringMatching(`is in use by process ${running.child.pid} on `)])
    }
    running.child.kill('SIGKILL')
    await running.ended
    const rotated = await kinglet('device', 'rotate-key', ...flash, '--cloud', world.cloud.url).ended
    expect(rotated.code, rotated.text).toBe(0)
  })

  async function rootFile(): Promise<string> {
    writeFileSync(path('passphrase'), 'correct horse battery\n')
    const made = await kinglet(
      ...['keys', 'init', '--keys', path('keys'), '--repo', path('repo'), '--passphrase-file', path('passphrase')],
      ...['--online-key', join(world.dir, 'cloud/keys/online.pub.json'), '--root-keys', '1', '--root-threshold', '1'],
    ).ended
    expect(made.code, made.text).toBe(0)
    return path('repo/metadata/1.root.json')
  }
})

describe('a service token', () => {
  it('is revoked by a command; the next one is good', async () => {
    await token('gateway.token')
    writeFileSync(path('operator.token'), world.cloud.operatorToken, { mode: 0o600 })
    const old = readFileSync(path('gateway.token'), 'utf8')
    const operator = ['--cloud', world.cloud.url, '--token-file', path('operator.token')]
    const revoked = await kinglet('token', 'revoke', 'gateway-1', '--reason', 'stolen', ...operator).ended
    expect([revoked.code, revoked.text]).toEqual([0, 'the service tokens of gateway-1 are refused from now on\n'])
    await token('gateway.token')
    const status = async (bearer: string) => (await world.call('GET', '/v1/revocations', undefined, bearer)).status
    expect([await status(old), await status(readFileSync(path('gateway.token'), 'utf8'))]).toEqual([401, 200])
  })
})

describe('a service', () => {
  it('survives SIGHUP and reads its token again; a gateway without a cloud says so at once', async () => {
    await token('gateway.token')
    const cloud = kinglet(...CLOUD())
    await until('it is up', () => cloud.out.text.includes('cloud is up'))
    const gateway = kinglet(...GATEWAY())
    await until('it listens', () => gateway.out.text.includes('the cloud answers'))
    await token('gateway.token')
    for (const { child } of [cloud, gateway]) child.kill('SIGHUP')
    await until('it has the new one', () => gateway.out.text.includes('the service token was read anew'))
    for (const { child, ended } of [cloud, gateway]) {
      child.kill('SIGTERM')
      expect((await ended).code).toBe(0)
    }
    const alone = kinglet(...GATEWAY('--cloud', 'http://127.0.0.1:9'))
    await until('it is said', () => alone.out.text.includes('the cloud does not answer'))
  })

  it('does not start with an address that is none', async () => {
    await token('gateway.token')
    const { code, text } = await kinglet(...GATEWAY('--cloud', 'nonsense')).ended
    expect([code, text]).toEqual([2, expect.stringContaining('"nonsense" is no address of a cloud')])
    const site = await kinglet(...GATEWAY('--site', 'a/b')).ended
    expect([site.code, site.text]).toEqual([2, expect.stringMatching(/--site.*a\/b/)])
  })
})
