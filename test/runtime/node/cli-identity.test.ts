import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freePort } from '../../../cli/story/free-port.ts'
import { expectRefusal, kinglet, Running, wordClips, zooBundle } from './cli-process.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-identity-cli-'))
const path = (...parts: string[]) => join(dir, ...parts)
const running: Running[] = []
let cloudUrl = ''
let gatewayUrl = ''
let mqttUrl = ''
const operator = () => ['--cloud', cloudUrl, '--token-file', path('cloud/operator.token')]

async function healthy(url: string): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if ((await fetch(url).catch(() => undefined))?.ok) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`${url} does not answer`)
}

beforeAll(async () => {
  const [port, mqttPort, wsPort, httpPort] = [await freePort(), await freePort(), await freePort(), await freePort()]
  cloudUrl = `http://127.0.0.1:${port}`
  gatewayUrl = `http://127.0.0.1:${wsPort}`
  mqttUrl = `mqtt://127.0.0.1:${mqttPort}`
  running.push(new Running(['cloud', 'run', '--data', path('cloud'), '--port', String(port)]))
  await healthy(`${cloudUrl}/healthz`)
  const out = ['-o', path('gateway.claim')]
  const made = await kinglet('gateway', 'claim', 'gw-lab', '--site', 'lab', '--site', 'yard', ...out, ...operator())
  expect(made.stdout, made.stderr).toMatch(/gateway\.claim: claim for gateway gw-lab at lab, yard, until /)
  running.push(
    new Running([
      ...['gateway', 'run', '--data', path('gateway'), '--cloud', cloudUrl, '--claim', path('gateway.claim')],
      ...['--mqtt-port', String(mqttPort), '--ws-port', String(wsPort), '--http-port', String(httpPort)],
      ...['--uplink-every-ms', '50'],
    ]),
  )
  await healthy(`http://127.0.0.1:${httpPort}/healthz`)
  writeFileSync(path('passphrase'), 'correct horse battery\n', { mode: 0o600 })
  writeFileSync(path('keys.json'), await (await fetch(`${cloudUrl}/v1/keys`)).text())
  const init = await kinglet(
    ...['keys', 'init', '--online-key', path('keys.json'), '--root-keys', '1', '--root-threshold', '1'],
    ...['--keys', path('keys'), '--repo', path('repo'), '--passphrase-file', path('passphrase')],
  )
  expect(init.code, init.stderr).toBe(0)
  mkdirSync(path('words/go'), { recursive: true })
  wordClips('go', 3).forEach((bytes, i) => {
    writeFileSync(path('words/go', `${i}.wav`), bytes)
  })
})
afterAll(async () => {
  for (const process of running) process.child.kill('SIGKILL')
  await Promise.all(running.map(({ ended }) => ended))
  rmSync(dir, { recursive: true, force: true })
})

it('a gateway: shown, in quarantine and out of it, revoked; without a claim it is told how to come by one', async () => {
  const said = async (...args: string[]) => {
    const { code, stdout, stderr } = await kinglet('gateway', ...args, ...operator())
    expect(code, stderr).toBe(0)
    return stdout
  }
  expect(JSON.parse(await said('show', 'gw-lab'))).toMatchObject({
    state: 'active',
    sites: ['lab', 'yard'],
    refused: 0,
  })
  expect(await said('quarantine', 'gw-lab', '--reason', 'it lies')).toContain('gw-lab is in quarantine')
  expect(await said('list')).toMatch(/^gw-lab {2}QUARANTINED .* lab, yard\n$/)
  expect(await said('release', 'gw-lab', '--reason', 'it was a cable')).toContain('out of quarantine')
  expect(await said('list')).toMatch(/^gw-lab {2}ok /)
  expect(await said('claim', 'gw-roof', '--site', 'roof', '-o', path('roof.claim'))).toContain('gw-roof at roof')
  const run = (...more: string[]) =>
    kinglet('gateway', 'run', '--data', path('roof'), '--cloud', cloudUrl, '--http-port', '0', ...more)
  expectRefusal(await run(), 2, /the cloud does not know this gateway/)
  expectRefusal(await run('--claim', path('keys.json')), 1, /is no claim of a gateway/)
  const unnamed = await kinglet('token', 'make', '--role', 'gateway', '-o', path('x.token'), ...operator())
  expectRefusal(unnamed, 2, /--subject is needed/)
  const again = await kinglet('gateway', 'claim', 'gw-lab', '--site', 'lab', '-o', path('y.claim'), ...operator())
  expectRefusal(again, 1, /is enrolled; say that it is to be replaced/)
  expectRefusal(await kinglet('gateway', 'revoke', 'gw-none', '--reason', 'x', ...operator()), 1, /no gateway/)
})

it('a device from its claim to its revocation, through the gateway', async () => {
  const claimed = await kinglet(
    ...['device', 'claim', '--site', 'lab', '--board', 'NUCLEO-U575ZI', '--device', 'wren-1'],
    ...['-o', path('wren-1.claim'), ...operator()],
  )
  expect(claimed.stdout, claimed.stderr).toMatch(/claim for wren-1 at lab/)
  expect(statSync(path('wren-1.claim')).mode & 0o777).toBe(0o600)
  const enroll = (claim: string, flash: string) =>
    kinglet('device', 'enroll', '--flash', path(flash), '--claim-file', path(claim), '--cloud', gatewayUrl)
  const enrolled = await enroll('wren-1.claim', 'wren-1.flash')
  expect(enrolled.stdout, enrolled.stderr).toMatch(/^wren-1 at lab is enrolled with key [0-9a-f]{16}\n$/)
  // The same command again finds that it is done; another flash finds the claim used, and is not left behind.
  const again = await enroll('wren-1.claim', 'wren-1.flash')
  expect([again.stdout, again.code], again.stderr).toEqual([enrolled.stdout, 0])
  const clone = await enroll('wren-1.claim', 'clone.flash')
  expectRefusal(clone, 1, /claim-used/)
  expect(clone.stderr).toMatch(/another with "kinglet device claim"/)
  expect(clone.stderr).not.toMatch(/given again/)
  expect(existsSync(path('clone.flash'))).toBe(false)
  expectRefusal(await enroll('keys.json', 'other.flash'), 1, /is no claim/)
  expect(existsSync(path('other.flash'))).toBe(false)
  const stranger = ['--cloud', gatewayUrl, '--trust', path('repo/metadata/1.root.json'), '--flash', path('other.flash')]
  const unknown = kinglet('device', 'run', '--gateway', mqttUrl, '--audio', path('words'), ...stranger)
  expectRefusal(await unknown, 1, /holds no identity/)
  expect(existsSync(path('other.flash'))).toBe(false)

  const run = new Running([
    ...[
      'device',
      'run',
      '--json',
      '--gateway',
      mqttUrl,
      '--cloud',
      gatewayUrl,
      '--trust',
      path('repo/metadata/1.root.json'),
    ],
    ...['--flash', path('wren-1.flash'), '--audio', path('words'), '--bundle', zooBundle('kws-2')],
  ])
  running.push(run)
  await run.line('the link is up', ({ type, state }) => type === 'link' && state === 'connected')
  for (let i = 0; ; i++) {
    const list = await kinglet('device', 'list', '--json', ...operator())
    const row = JSON.parse(list.stdout) as { attested: boolean; attestedRun: unknown }
    if (row.attestedRun !== null) {
      expect(row).toMatchObject({ name: 'wren-1', site: 'lab', attested: true })
      break
    }
    expect(i).toBeLessThan(50)
  }
  const revoked = await kinglet('device', 'revoke', 'wren-1', '--reason', 'stolen', ...operator())
  expect(revoked.stdout, revoked.stderr).toMatch(/is revoked/)
  await run.line('it is cut off', ({ type, state }) => type === 'link' && state === 'disconnected')
  await run.line('it gets no token', ({ type, code }) => type === 'token' && code === 'device-revoked')
  expect(await run.stop()).toMatchObject({ code: 0 })
  const list = await kinglet('device', 'list', ...operator())
  expect(list.stdout).toMatch(/^wren-1 {2}lab {2}NUCLEO-U575ZI {2}.* {2}no target {2}.* {2}revoked\n$/)
})

it('a claim and a token are asked for only where they can be kept', async () => {
  const made = async (action: string) => {
    const token = readFileSync(path('cloud/operator.token'), 'utf8').trim()
    const answer = await fetch(`${cloudUrl}/v1/audit?limit=200`, { headers: { authorization: `Bearer ${token}` } })
    return (await answer.text()).split(`"${action}"`).length - 1
  }
  const before = [await made('device.claimed'), await made('token.minted')]
  writeFileSync(path('taken'), 'mine')
  symlinkSync(path('nowhere'), path('dangling'))
  for (const out of [path('taken'), path('none/x'), path('dangling'), dir, '/proc/x']) {
    const claim = await kinglet('device', 'claim', '--site', 'lab', '--board', 'xG24', '-o', out, ...operator())
    expect([claim.code, claim.stdout], claim.stderr).toEqual([1, ''])
    const token = await kinglet('token', 'make', '--role', 'viewer', '-o', out, ...operator())
    expect([token.code, token.stdout], token.stderr).toEqual([1, ''])
  }
  expect([await made('device.claimed'), await made('token.minted')]).toEqual(before)
  expect(readFileSync(path('taken'), 'utf8')).toBe('mine')
  // What the cloud refuses leaves no file.
  const refused = ['--device', 'wren-1', '--model', 'no-such-model', '-o', path('refused.claim')]
  expectRefusal(
    await kinglet('device', 'claim', '--site', 'lab', '--board', 'xG24', ...refused, ...operator()),
    1,
    /no/,
  )
  expect(readdirSync(dir).filter((name) => name.startsWith('refused') || name.endsWith('.partial'))).toEqual([])
})

it('a wrong passphrase leaves no change that waits, and no key', async () => {
  writeFileSync(path('wrong'), 'incorrect horse\n', { mode: 0o600 })
  const keys = (...args: string[]) => kinglet('keys', ...args, '--keys', path('keys'), '--repo', path('repo'))
  const files = () => readdirSync(path('keys')).sort()
  const before = files()
  for (const args of [['renew'], ['rotate', 'targets'], ['delegate', 'kws', 'kws-*/*']]) {
    expectRefusal(await keys(...args, '--passphrase-file', path('wrong')), 1, /wrong passphrase/)
    expect((await keys('discard')).stdout).toBe('nothing was waiting\n')
    expect(files()).toEqual(before)
  }
  const renewed = await keys('renew', '--passphrase-file', path('passphrase'))
  expect(renewed.code, renewed.stderr).toBe(0)
})

it('keys of a repository that cannot be written are not made', async () => {
  const init = ['keys', 'init', '--online-key', path('keys.json'), '--keys', path('lost-keys'), '--repo', '/proc/x']
  expectRefusal(await kinglet(...init, '--passphrase-file', path('passphrase')), 1, /proc/)
  expect(existsSync(path('lost-keys')) ? readdirSync(path('lost-keys')) : []).toEqual([])
})

it('a key is changed by the device, and an identity is needed for it', async () => {
  const claim = ['device', 'claim', '--site', 'lab', '--board', 'NUCLEO-U575ZI', '-o', path('any.claim')]
  const claimed = await kinglet(...claim, ...operator())
  const name = /claim for (d-[0-9a-f]{12}) at lab/.exec(claimed.stdout)![1]!
  const at = ['--flash', path('any.flash'), '--cloud', cloudUrl]
  const first = await kinglet('device', 'enroll', '--claim-file', path('any.claim'), ...at)
  const second = await kinglet('device', 'rotate-key', ...at)
  expect(second.stdout, second.stderr).toMatch(new RegExp(`^${name} has key [0-9a-f]{16} now\n$`))
  expect(second.stdout.match(/[0-9a-f]{16}/)![0]).not.toBe(first.stdout.match(/key ([0-9a-f]{16})/)![1])
  expectRefusal(await kinglet('device', 'rotate-key', '--flash', path('none'), '--cloud', cloudUrl), 1, /no such file/)
  expectRefusal(await kinglet(...claim, ...operator()), 1, /exists; a secret is never overwritten/)
  expect(readFileSync(path('any.flash')).length).toBeGreaterThan(100_000)
})

/** What holds a secret, by its name or because a token is in it: all that any command of this file has made. */
function secrets(folder = dir): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const file = join(folder, entry.name)
    if (entry.isDirectory()) return secrets(file)
    if (!entry.isFile()) return []
    if (/\.(flash|seed|key|claim|token)$|^identity\.json$/.test(entry.name)) return [file]
    return /eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}/.test(readFileSync(file, 'latin1')) ? [file] : []
  })
}
const modeOf = (file: string) => (statSync(file).mode & 0o777).toString(8)

it('every file with a key or a token is for its owner alone', () => {
  const found = secrets()
  const names = found.map((file) => file.slice(dir.length + 1).replace(/-[0-9a-f]{16}/, ''))
  expect(names).toEqual(
    expect.arrayContaining([
      ...['any.claim', 'any.flash', 'cloud/keys/director.seed', 'cloud/keys/online.seed', 'cloud/keys/tokens.seed'],
      ...[
        'cloud/operator.token',
        'gateway.claim',
        'gateway/identity.json',
        'keys/root.key',
        'keys/targets.key',
        'wren-1.claim',
        'wren-1.flash',
      ],
    ]),
  )
  expect(found.map((file) => `${modeOf(file)} ${file}`).filter((line) => !line.startsWith('600 '))).toEqual([])
})

it('one that is open to others is taken from them, and that is said', async () => {
  const wide = (...names: string[]) => {
    for (const name of names) chmodSync(path(name), 0o644)
    return names
  }
  const says = (text: string, names: readonly string[]) => {
    for (const name of names) {
      expect(text).toContain(
        `${path(name)} holds a secret, and others could get at it (mode 0644): it is mode 0600 now`,
      )
      expect([name, modeOf(path(name))]).toEqual([name, '600'])
    }
  }
  const device = wide('wren-1.flash', 'wren-1.claim')
  const enrol = ['--flash', path('wren-1.flash'), '--claim-file', path('wren-1.claim'), '--cloud', gatewayUrl]
  says((await kinglet('device', 'enroll', ...enrol)).stderr, device)
  const flash = wide('any.flash')
  says((await kinglet('device', 'rotate-key', '--flash', path('any.flash'), '--cloud', cloudUrl)).stderr, flash)
  const operators = wide('cloud/operator.token')
  says((await kinglet('device', 'list', ...operator())).stderr, operators)
  const keys = wide(
    'passphrase',
    ...readdirSync(path('keys')).flatMap((name) => (/key$/.test(name) ? [`keys/${name}`] : [])),
  )
  const at = ['--keys', path('keys'), '--repo', path('repo'), '--passphrase-file', path('passphrase')]
  says((await kinglet('keys', 'renew', ...at)).stderr, keys)
  const [cloud, gateway] = running
  const cloudFiles = wide('cloud/operator.token', 'cloud/keys/director.seed', 'cloud/keys/tokens.seed')
  cloud!.child.kill('SIGHUP')
  for (const name of cloudFiles) await cloud!.line(`the cloud tells of ${name}`, (line) => line.path === path(name))
  says(cloud!.lines.join('\n'), cloudFiles)
  const key = wide('gateway/identity.json')
  gateway!.child.kill('SIGHUP')
  await gateway!.line(
    'the gateway tells of its key',
    (line) => line.path === path('gateway/identity.json') && line.level === 40,
  )
  says(gateway!.lines.join('\n'), key)
})
