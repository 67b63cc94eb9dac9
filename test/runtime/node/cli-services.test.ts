import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../cli/clock-system.ts'
import { freePort } from '../../../cli/story/free-port.ts'
import { ClockMaster } from '../../../firmware-sim/clock-shared.ts'
import { expectRefusal, kinglet, ROOT, Running, SCRIPT, wordClips, zooBundle } from './cli-process.ts'

/** Fleet seconds a real second. A trial takes ten minutes at most; sound for all of it is really listened to. */
const SPEED = 60
const dir = mkdtempSync(join(tmpdir(), 'kinglet-services-'))
const path = (...parts: string[]) => join(dir, ...parts)
const clock = path('clock')
// From now on: the offline keys sign by the real clock, and a device believes no time before its root was authored.
const master = new ClockMaster(clock, systemClock, systemClock.wallMs(), SPEED)
const running: Running[] = []
const start = (...args: string[]): Running => {
  const process = new Running(args)
  running.push(process)
  return process
}
let cloudUrl = ''
let mqttUrl = ''
let httpPort = 0
let cloud: Running
let gateway: Running
const offline = ['--keys', path('keys'), '--repo', path('repo'), '--passphrase-file', path('passphrase')]
const operator = () => ['--cloud', cloudUrl, '--token-file', path('cloud/operator.token')]
const cloudArgs = (data: string, port: number) => [
  ...['cloud', 'run', '--data', path(data), '--port', String(port)],
  ...['--clock', clock, '--evaluate-every-ms', '60000'],
]
const gatewayArgs = (data: string, mqttPort: number, wsPort: number, port: number, tokenFile = 'gateway.token') => [
  ...['gateway', 'run', '--data', path(data), '--cloud', cloudUrl, '--token-file', path(tokenFile), '--clock', clock],
  ...['--mqtt-port', String(mqttPort), '--ws-port', String(wsPort), '--http-port', String(port)],
  ...['--uplink-every-ms', '6000'],
]

async function healthy(url: string, process: Running): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (process.child.exitCode !== null) throw new Error(`${url}: ${(await process.ended).stderr}`)
    const response = await fetch(url).catch(() => undefined)
    if (response?.ok) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`${url} does not answer`)
}

async function api<T>(method: string, route: string, body?: unknown): Promise<T> {
  const token = readFileSync(path('cloud/operator.token'), 'utf8').trim()
  const response = await fetch(`${cloudUrl}${route}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  if (!response.ok) throw new Error(`${route}: ${await response.text()}`)
  return (await response.json()) as T
}

beforeAll(async () => {
  const port = await freePort()
  cloudUrl = `http://127.0.0.1:${port}`
  cloud = start(...cloudArgs('cloud', port))
  await healthy(`${cloudUrl}/healthz`, cloud)
  const minted = await api<{ token: string }>('POST', '/v1/tokens', {
    ...{ subject: 'gateway-1', role: 'gateway', sites: ['lab'] },
  })
  writeFileSync(path('gateway.token'), minted.token, { mode: 0o600 })
  const [mqttPort, wsPort] = [await freePort(), await freePort()]
  httpPort = await freePort()
  mqttUrl = `mqtt://127.0.0.1:${mqttPort}`
  gateway = start(...gatewayArgs('gateway', mqttPort, wsPort, httpPort))
  await healthy(`http://127.0.0.1:${httpPort}/healthz`, gateway)
})
afterAll(async () => {
  for (const process of running) process.child.kill('SIGKILL')
  await Promise.all(running.map(({ ended }) => ended))
  master.close()
  rmSync(dir, { recursive: true, force: true })
})

describe('services as processes', () => {
  it('say in one line that a port is taken, and end', async () => {
    const port = new URL(cloudUrl).port
    const second = await start(...cloudArgs('cloud-2', Number(port))).ended
    expect(second.code).toBe(1)
    expect(second.stderr).toMatch(/EADDRINUSE.*\n {2}another process has that port/)
    expect(second.stderr).not.toMatch(/^\s+at /m)
    const mqtt = Number(new URL(mqttUrl).port)
    const third = await start(...gatewayArgs('gateway-2', mqtt, await freePort(), await freePort())).ended
    expect(third.code).toBe(1)
    expect(third.stderr).toMatch(/EADDRINUSE.*\n {2}another process has that port/)
  })

  it('refuse to start with files that are not theirs', async () => {
    writeFileSync(path('no.token'), 'open sesame', { mode: 0o600 })
    writeFileSync(path('no.clock'), 'tick')
    const port = await freePort()
    expectRefusal(
      await kinglet('gateway', 'run', '--data', path('g'), '--cloud', cloudUrl, '--token-file', path('no.token')),
      1,
      /no\.token holds no token/,
    )
    expectRefusal(await kinglet(...cloudArgs('c', port), '--clock', path('no.clock')), 1, /no shared clock/)
  })

  it('end with 0 on SIGTERM, and with the process that started them however that ends', async () => {
    const port = await freePort()
    const alone = start(...cloudArgs('cloud-3', port))
    await healthy(`http://127.0.0.1:${port}/healthz`, alone)
    expect(await alone.stop('SIGTERM')).toMatchObject({ code: 0, signal: null })

    mkdirSync(path('logs'))
    const program = `
      import { Service } from '${pathToFileURL(join(ROOT, 'dist/cli/story/supervisor.js')).href}'
      import { systemClock } from '${pathToFileURL(join(ROOT, 'dist/cli/clock-system.js')).href}'
      new Service(${JSON.stringify({ name: 'cloud', args: cloudArgs('cloud-4', port), logFile: path('logs/cloud.log') })}, '${SCRIPT}', systemClock, console.error)
    `
    const parent = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'inherit' })
    await healthy(`http://127.0.0.1:${port}/healthz`, cloud)
    parent.kill('SIGKILL')
    let answers = true
    for (let i = 0; i < 200 && answers; i++) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      answers = await fetch(`http://127.0.0.1:${port}/healthz`).then(
        () => true,
        () => false,
      )
    }
    expect(answers).toBe(false)
  })
})

describe('operator commands', () => {
  it('refuse a wrong token, a wrong address and what is no cloud, in one line', async () => {
    const token = (file: string) => ['--token-file', path(file)]
    writeFileSync(path('forged.token'), 'eyJh.eyJi.c2ln', { mode: 0o600 })
    expectRefusal(
      await kinglet('rollout', 'list', '--cloud', cloudUrl, ...token('forged.token')),
      1,
      /token-invalid|not-authorized/,
    )
    expectRefusal(
      await kinglet('rollout', 'list', '--cloud', cloudUrl, ...token('gateway.token'), '--token-file', path('none')),
      1,
      /no such file/,
    )
    expectRefusal(
      await kinglet('rollout', 'list', '--cloud', 'localhost', ...token('gateway.token')),
      2,
      /no address of a cloud/,
    )
    const nobody = `http://127.0.0.1:${await freePort()}`
    expectRefusal(await kinglet('rollout', 'list', '--cloud', nobody, ...token('gateway.token')), 1, /does not answer/)
    const page = createServer((_, response) => response.end('<html>hello</html>')).listen(0, '127.0.0.1')
    await new Promise((resolve) => page.once('listening', resolve))
    const { port } = page.address() as AddressInfo
    expectRefusal(
      await kinglet('rollout', 'list', '--cloud', `http://127.0.0.1:${port}`, ...token('gateway.token')),
      1,
      /no JSON/,
    )
    page.close()
  })

  it('register releases that the offline keys signed, in one command that may be repeated, and know what is not there', async () => {
    const add = (name: string, cloud = operator()) => kinglet('release', 'add', zooBundle(name), ...offline, ...cloud)
    expectRefusal(await add('kws-1'), 1, /no repository in that folder/)
    writeFileSync(path('passphrase'), 'correct horse battery\n', { mode: 0o600 })
    const init = ['--online-key', path('cloud/keys/online.pub.json'), '--root-keys', '1', '--root-threshold', '1']
    const made = await kinglet('keys', 'init', ...init, ...offline)
    expect(made.code, made.stderr).toBe(0)
    // The first word about the time that a factory device has: without it, a clock ten years ahead outlives all metadata.
    const { signed } = JSON.parse(readFileSync(path('repo/metadata/1.root.json'), 'utf8'))
    expect(Math.abs(signed['x-kinglet-issued'] - systemClock.wallMs())).toBeLessThan(600_000)
    // Nothing is signed for a cloud that is not there, or for one whose operator this is not.
    const nobody = ['--cloud', `http://127.0.0.1:${await freePort()}`, '--token-file', path('cloud/operator.token')]
    expectRefusal(await add('kws-1', nobody), 1, /does not answer/)
    expectRefusal(await add('kws-1', ['--cloud', cloudUrl, '--token-file', path('gateway.token')]), 1, /not-authorized/)
    expect(existsSync(path('repo/metadata/2.targets.json'))).toBe(false)
    const first = await add('kws-1')
    expect(first.code, first.stderr).toBe(0)
    expect(first.stdout).toMatch(
      /^patch from +bytes +of the bundle\nno base +\d+ +\d\d\.\d %\ncomplete: 2\.targets\.json\npublished 1\.root\.json, 2\.targets\.json; .*\nkws-1 1 is registered as candidate in family default\n$/,
    )
    expect(await add('kws-1')).toMatchObject({
      code: 0,
      stdout: 'the cloud has everything already\nkws-1 1 is registered as candidate in family default\n',
    })
    const second = (await add('kws-2')).stdout
    expect(second).toMatch(/^patch from +bytes +of the bundle\nkws-1 1 +\d+ +\d\d\.\d %\nno base +\d+ +\d\d\.\d %\n/)
    expect(second).toMatch(/\nkws-2 2 is registered as candidate in family default\n$/)
    // Signed is signed: other bases, or none, change nothing.
    expect((await add('kws-2', [...operator(), '--patch-from', zooBundle('kws-regressed')])).stdout).toBe(
      'the cloud has everything already\nkws-2 2 is registered as candidate in family default\n',
    )
    expectRefusal(await add('kws-2', [...operator(), '--no-patches', '--patch-from', zooBundle('kws-1')]), 2, /exclude/)
    const listed = await api<{ patches: { base: string | null; stored: boolean; share: number }[] }>(
      'GET',
      '/v1/models/kws-2/2/patches',
    )
    expect(listed.patches.map(({ base, stored }) => [base === null, stored])).toEqual([
      [false, true],
      [true, true],
    ])
    expect(listed.patches[0]!.share).toBeLessThan(listed.patches[1]!.share)
    // Whoever has the cloud and another repository can register nothing in it.
    const other = ['--keys', path('keys-2'), '--repo', path('repo-2'), '--passphrase-file', path('passphrase')]
    await kinglet('keys', 'init', ...init, ...other)
    const foreign = await kinglet('release', 'add', zooBundle('kws-regressed'), ...other, ...operator())
    expect(foreign.code).toBe(1)
    expect(foreign.stderr).toMatch(/^kinglet: the cloud has targets 3, .* has 2\n/)
    const { models } = await api<{ models: { name: string }[] }>('GET', '/v1/models')
    expect(models.map(({ name }) => name)).toEqual(['kws-1', 'kws-2'])
    expectRefusal(await kinglet('rollout', 'start', 'kws-9', ...operator()), 1, /no release "kws-9"/)
    expectRefusal(await kinglet('rollout', 'pause', 'r-9', '--reason', 'x', ...operator()), 1, /not-found/)
    expect(await kinglet('rollout', 'list', ...operator())).toMatchObject({ code: 0, stdout: 'no rollouts yet\n' })
  }, 180_000)
})

describe('a device process', () => {
  const flags = (more: readonly string[] = []) => [
    ...['device', 'run', '--json', '--gateway', mqttUrl, '--site', 'lab', '--device', 'bird-1', '--clock', clock],
    ...[
      '--token-file',
      path('bird-1.token'),
      '--trust',
      path('repo/metadata/1.root.json'),
      '--flash',
      path('bird-1.flash'),
    ],
    ...['--bundle', zooBundle('kws-1'), ...more],
  ]
  const isEvent = (code: string) => (line: Record<string, unknown>) => line.type === 'event' && line.code === code

  it('takes an update over the air, keeps slot and boots over a restart, and rolls back without a download', async () => {
    const enrolled = await api<{ devices: { token: string }[] }>('POST', '/v1/devices', [
      { device: 'bird-1', site: 'lab', board: 'NUCLEO-U575ZI', model: 'kws-1' },
    ])
    writeFileSync(path('bird-1.token'), enrolled.devices[0]!.token, { mode: 0o600 })
    mkdirSync(path('words/go'), { recursive: true })
    wordClips('go', 3).forEach((bytes, i) => {
      writeFileSync(path('words/go', `${i}.wav`), bytes)
    })
    const audio = ['--audio', path('words')]

    const device = start(...flags(audio))
    await device.line('the link is up', ({ type, state }) => type === 'link' && state === 'connected')
    const promote = (to: string) =>
      kinglet('release', 'promote', 'kws-1', '--to', to, '--reason', 'factory', ...operator())
    expect((await promote('staging')).stdout).toBe('kws-1 1 is in staging\n')
    expect((await promote('production')).stdout).toBe('kws-1 1 is in production\n')
    const started = await kinglet('rollout', 'start', 'kws-2', '--stages', '100', ...operator())
    expect(started.code, started.stderr).toBe(0)
    const id = started.stdout.split(' ')[0]!
    for (const code of ['install-started', 'download-complete', 'trial-started', 'install-confirmed']) {
      await device.line(code, isEvent(code))
    }
    const confirmed = device.json.find(isEvent('install-confirmed'))!
    expect(confirmed).toMatchObject({ slot: 1 })
    const wake = await device.line('a wake', ({ type }) => type === 'wake')
    expect(wake).toMatchObject({ label: expect.any(String), level: 'full' })
    for (const name of ['posterior', 'latencyMs', 'energyMj']) expect(wake[name], name).toEqual(expect.any(Number))
    expect(await device.stop()).toMatchObject({ code: 0, stderr: '' })

    const again = start(...flags(audio))
    const booted = await again.line('it boots', isEvent('booted'))
    expect(booted).toMatchObject({ slot: 1, boot: (confirmed.boot as number) + 1 })
    await again.line('the link is up', ({ type, state }) => type === 'link' && state === 'connected')

    const list = await kinglet('rollout', 'list', ...operator())
    expect(list.stdout).toMatch(new RegExp(`^${id} {2}default {2}kws-2 {2}`))
    const act = (action: string, ...more: readonly string[]) =>
      kinglet('rollout', action, id, '--reason', 'a test', ...more, ...operator())
    const shown = await kinglet('rollout', 'show', id, ...operator())
    const [, tag = ''] = /^ {2}tag ("[\w-]{16}"):/m.exec(shown.stdout) ?? []
    expect((await act('pause', '--if-match', tag)).stdout).toMatch(/paused/)
    // Somebody was quicker: what is asked for was meant for what was there before.
    expectRefusal(await act('rollback', '--if-match', tag), 1, /precondition-failed: If-Match: it has changed since/)
    expect((await act('resume')).stdout).toMatch(/running/)
    expect((await act('rollback')).stdout).toMatch(/rolled-back|rolling-back/)
    await again.line('it runs the old model again', (line) => isEvent('install-confirmed')(line) && line.slot === 0)
    expect(again.json.some(isEvent('download-complete'))).toBe(false)
    expect(await again.stop('SIGINT')).toMatchObject({ code: 0 })
  })

  it('says how far it has come when it is ended', async () => {
    const device = start(...flags(['--audio', path('words')]))
    const { boot } = await device.line('it boots', isEvent('booted'))
    const reported = async () => {
      const { boots } = await api<{ boots: { boot: number; seq: number; incarnation: number }[] }>(
        'GET',
        '/v1/devices/bird-1',
      )
      return boots.find((row) => row.boot === boot)
    }
    await expect.poll(reported, { timeout: 120_000 }).toMatchObject({ seq: 0 })
    expect((await reported())?.incarnation).toBeGreaterThan(0)
    // The next report would be due in an hour of its clock.
    expect(await device.stop()).toMatchObject({ code: 0, stderr: '' })
    await expect.poll(reported, { timeout: 120_000 }).toMatchObject({ seq: 1 })
  })

  it('says that it has no connection when its token is wrong, and goes on listening', async () => {
    const device = start(
      ...flags(['--audio', path('words'), '--token-file', path('gateway.token'), '--flash', path('wrong.flash')]),
    )
    await device.line('no link', ({ type, state }) => type === 'link' && state === 'disconnected')
    await device.line('a wake', ({ type }) => type === 'wake')
    expect(await device.stop()).toMatchObject({ code: 0 })
  })

  it('refuses what it cannot run with, before it is on the air and without leaving a flash', async () => {
    const wrong = (...more: string[]) => kinglet(...flags(['--flash', path('new.flash'), ...more]))
    mkdirSync(path('noise'), { recursive: true })
    writeFileSync(path('noise/text.wav'), 'no sound')
    expectRefusal(await wrong(), 2, /needs ears/)
    expectRefusal(await wrong('--audio', path('none')), 1, /no such file/)
    const unreadable = await wrong('--audio', path('noise'))
    expect(unreadable).toMatchObject({ code: 1, stdout: '' })
    expect(unreadable.stderr).toMatch(/none of the WAV files could be read/)
    const audio = ['--audio', path('words')]
    expectRefusal(await wrong(...audio, '--trust', path('gateway.token')), 1, /not JSON/)
    writeFileSync(path('keys.json'), JSON.stringify(await api('GET', '/v1/keys')))
    expectRefusal(await wrong(...audio, '--trust', path('keys.json')), 1, /keys\.json: root: signed: /)
    expectRefusal(await wrong(...audio, '--trust', path('repo/metadata/1.targets.json')), 1, /1\.targets\.json: root: /)
    expectRefusal(await wrong(...audio, '--gateway', 'http://127.0.0.1'), 2, /no address of a gateway/)
    expectRefusal(await wrong(...audio, '--device', 'Bird 1'), 2, /an id has 1 to 64 letters/)
    expectRefusal(await wrong(...audio, '--bundle', join(ROOT, 'zoo/models/kws-1.onnx')), 1, /bundle-bad-magic/)
    expect(existsSync(path('new.flash'))).toBe(false)
  })

  it('ends when its microphone does, and when it is interrupted while nobody speaks', async () => {
    const live = start(...flags(['--audio', '-', '--flash', path('live.flash')]))
    live.child.stdin!.write(Buffer.alloc(32_000))
    await live.line('the link is up', ({ type, state }) => type === 'link' && state === 'connected')
    expect(await live.stop('SIGINT')).toMatchObject({ code: 0, stderr: '' })
    const ended = start(...flags(['--audio', '-', '--flash', path('live.flash')]))
    ended.child.stdin!.end(Buffer.alloc(32_001))
    expect(await ended.ended).toMatchObject({ code: 0, stderr: '' })
  })
})

describe('at the end', () => {
  it('both services are still healthy, and end with 0', async () => {
    await healthy(`${cloudUrl}/healthz`, cloud)
    await healthy(`http://127.0.0.1:${httpPort}/healthz`, gateway)
    expect(await gateway.stop('SIGTERM')).toMatchObject({ code: 0, signal: null })
    expect(await cloud.stop('SIGINT')).toMatchObject({ code: 0, signal: null })
  })
})
