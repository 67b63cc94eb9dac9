import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../../cli/story/free-port.ts'
import { expectRefusal, kinglet, Running } from './cli-process.ts'
import { until } from './gateway-harness.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-tls-'))
const path = (...parts: string[]) => join(dir, ...parts)
/** A certificate that vouches for itself: `NAME.crt` and `NAME.key`. */
const issue = (name: string) =>
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30'],
      ...['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1'],
      ...['-keyout', path(`${name}.key`), '-out', path(`${name}.crt`)],
    ],
    { stdio: 'pipe' },
  )
let port = 0
let cloud: Running
let gateway: Running | undefined
const url = () => `https://127.0.0.1:${port}`
const operator = () => ['--cloud', url(), '--token-file', path('cloud/operator.token')]
const ask = (route: string, ca: string) =>
  new Promise<{ status: number | undefined; headers: NodeJS.Dict<string | string[]>; text: string }>(
    (resolve, reject) => {
      const sent = request(url() + route, { ca: readFileSync(path(ca)), agent: false }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk
        })
        response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }))
      })
      sent.on('error', reject).end()
    },
  )
const shown = () =>
  new Promise<string>((resolve, reject) => {
    const socket: TLSSocket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN))
      socket.destroy()
    })
    socket.on('error', reject)
  })

beforeAll(async () => {
  issue('first')
  issue('second')
  execFileSync('cp', [path('first.crt'), path('in-use.crt')])
  execFileSync('cp', [path('first.key'), path('in-use.key')])
  port = await freePort()
  const files = ['--tls-cert', path('in-use.crt'), '--tls-key', path('in-use.key')]
  cloud = new Running([
    ...['cloud', 'run', '--data', path('cloud'), '--host', '0.0.0.0', '--port', String(port)],
    ...files,
  ])
  await until(
    'the cloud',
    async () => (await ask('/healthz', 'first.crt').catch(() => undefined))?.status === 200,
    40_000,
  )
})
afterAll(async () => {
  await Promise.all([gateway?.stop('SIGKILL'), cloud?.stop('SIGKILL')])
  rmSync(dir, { recursive: true, force: true })
})

describe('a cloud with a certificate', () => {
  it('speaks nothing but TLS, and tells browsers so', async () => {
    const { headers } = await ask('/', 'first.crt')
    expect(headers['strict-transport-security']).toMatch(/^max-age=\d{8}/)
    await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow()
  })

  it('is believed by whoever is given its authority, operators and gateways', async () => {
    const stranger = await kinglet('token', 'list', ...operator())
    expect([stranger.code, stranger.stderr]).toEqual([1, expect.stringContaining('does not answer')])
    const listed = await kinglet('token', 'list', ...operator(), '--ca', path('first.crt'))
    expect([listed.code, listed.stdout]).toEqual([0, expect.stringMatching(/admin {2}operator .* by the cloud/)])
    expectRefusal(await kinglet('token', 'list', ...operator(), '--ca', path('first.key')), 1, /holds no certificate/)

    await kinglet(
      ...[
        'token',
        'make',
        ...operator(),
        '--ca',
        path('first.crt'),
        '--role',
        'gateway',
        '--subject',
        'gateway-1',
        '--site',
        'lab',
        '-o',
        path('gateway.token'),
      ],
    )
    const http = await freePort()
    gateway = new Running([
      ...['gateway', 'run', '--data', path('gateway'), '--cloud', url(), '--token-file', path('gateway.token')],
      ...['--ca', path('first.crt'), '--mqtt-port', String(await freePort()), '--ws-port', String(await freePort())],
      ...['--http-port', String(http)],
    ])
    await gateway.line('it is heard', ({ msg }) => msg === 'the cloud answers')
    expect((await fetch(`http://127.0.0.1:${http}/readyz`)).status).toBe(200)
  })

  it('takes a new certificate at SIGHUP, and keeps the old one when the new one cannot be used', async () => {
    expect(await shown()).toBe('first')
    writeFileSync(path('next'), 'no certificate')
    renameSync(path('next'), path('in-use.crt'))
    cloud.child.kill('SIGHUP')
    await until('it is said', async () => (await ask('/readyz', 'first.crt')).text.includes('certificate-unusable'))
    expect(await shown()).toBe('first')
    execFileSync('cp', [path('second.key'), path('in-use.key')])
    execFileSync('cp', [path('second.crt'), path('in-use.crt')])
    cloud.child.kill('SIGHUP')
    await until('it is in use', async () => (await shown()) === 'second')
    expect((await ask('/readyz', 'second.crt')).text).not.toContain('certificate')
  })
})

describe('in the clear', () => {
  const cloudRun = (host: string, ...more: string[]) => [
    'cloud',
    'run',
    '--data',
    path('clear'),
    '--host',
    host,
    ...more,
  ]

  it('neither cloud nor gateway listens for others unless that is said', async () => {
    const refused = /^kinglet: --host 0\.0\.0\.0 .* without TLS tokens cross the network in the clear/
    expectRefusal(await kinglet(...cloudRun('0.0.0.0')), 2, refused)
    writeFileSync(path('any.token'), 'a.b.c')
    const run = ['gateway', 'run', '--data', path('g'), '--cloud', url(), '--token-file', path('any.token')]
    expectRefusal(await kinglet(...run, '--host', '0.0.0.0'), 2, refused)
  })

  it('a cloud listens at any address when that is said, and at its own machine´s anyway', async () => {
    for (const args of [cloudRun('0.0.0.0', '--insecure'), cloudRun('localhost')]) {
      const running = new Running([...args, '--port', '0'])
      await running.line('it is up', ({ msg }) => msg === 'cloud is up')
      expect((await running.stop()).code).toBe(0)
    }
  })
})
